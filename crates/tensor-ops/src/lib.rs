//! Matrix products, im2col, vector mathematics, losses, initialisers and optimisers: the base of the vidrnn crates.

mod batch_norm;
mod correlation;
mod dropout;
mod element;
mod error;
mod gemm;
mod im2col;
pub mod init;
mod linear;
pub mod loss;
pub mod optim;
mod packed;
mod parameters;
mod simd;
mod softmax;
#[cfg(feature = "testing")]
pub mod testing;
pub mod vecmath;
mod window;

pub use batch_norm::{BatchNorm, fold_batch_norm};
pub use correlation::{Correlation, CorrelationWeights, PhaseTaps, Start, Taps, with_scratch};
pub use dropout::{Dropout, DropoutTrace};
pub use element::Element;
pub use error::{TensorError, check_axis, check_lengths, check_not_empty};
pub use gemm::{gemm, gemm_serial};
pub use im2col::{col2im, col2im_reference, im2col, im2col_reference};
pub use linear::{Linear, LinearConfig, LinearGradients, LinearTrace, linear_backward, linear_into};
pub use packed::{
    CELL_GATE, FORGET_GATE, GATES, GateLayout, INPUT_GATE, LstmStep, LstmStepBackward, OUTPUT_GATE, PackedMatrix,
    ProductStart, Run, lstm_step, lstm_step_backward,
};
pub use parameters::{ParameterError, Parameters, load_parameters, visit_part, visit_part_mut};
pub use simd::{ISA_VARIABLE, Isa};
pub use softmax::{log_softmax, log_softmax_backward, softmax, softmax_backward, softmax_row, softmax_row_backward};
pub use window::{Padding, Window};
