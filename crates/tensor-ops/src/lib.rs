//! The numerical base of the vidrnn crates, on the CPU and over `ndarray`.
//!
//! ```
//! use ndarray::array;
//! use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
//! use tensor_ops::loss::{CrossEntropyConfig, cross_entropy_with_gradient};
//! use tensor_ops::optim::{Adam, AdamConfig, Optimizer};
//! use tensor_ops::{Linear, LinearConfig};
//!
//! let config = LinearConfig { in_features: 2, out_features: 3, ..LinearConfig::default() };
//! let mut layer = Linear::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
//! let mut optimizer = Adam::new(AdamConfig::default())?;
//! let (features, classes) = (array![[0.1, 0.9], [0.8, 0.3]], [2, 0]);
//! for _ in 0..100 {
//!     let (logits, trace) = layer.forward_training(features.view())?;
//!     let loss = cross_entropy_with_gradient(logits.view(), &classes, &CrossEntropyConfig::default())?;
//!     let gradients = layer.backward(&trace, loss.gradient.view())?;
//!     optimizer.step(&mut layer, &gradients.parameters, 0.05)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is here
//!
//! - Matrix products: [`gemm`] over views with any strides, and [`PackedMatrix`] for an operand that is used many times.
//! - Convolution: [`Window`] and [`Padding`] say which pixels an output position sees; [`im2col`] and [`col2im`] unroll
//!   a tile of positions; [`Correlation`] and [`Depthwise`] do without a column matrix.
//! - Recurrent steps: [`lstm_step`] is fused with its product; [`lstm_maps`] and [`gru_maps`] are the gates of recurrent
//!   layers whose states are maps.
//! - Element by element: [`vecmath`]; over an axis: [`softmax`]; [`loss`] functions with their gradients.
//! - Parts of models that need no crate of their own: [`Linear`], [`LayerNorm`], [`Dropout`],
//!   [`fold_batch_norm`].
//! - Training: [`init`], named [`Parameters`], optimisers and schedules in [`optim`].
//! - Threads: [`on_pool`] for work of many parts.
//! - For tests of layers, behind the feature `testing`: comparisons, gradient checks, fixtures.
//!
//! # What holds everywhere
//!
//! Elements are `f32` or `f64` ([`Element`]). Kernels use the widest instructions of the CPU that runs them ([`Isa`]).
//! Results do not depend on the number of threads: work is divided by shape alone, and every sum has a fixed order. Bad
//! arguments give a [`TensorError`] that names the axis or option, what was expected and what was found.
//!
//! # What is not here
//!
//! A tensor type (arrays are `ndarray`'s), automatic differentiation, and element types other than `f32` and `f64`.

mod batch_norm;
mod correlation;
mod dropout;
mod element;
mod error;
mod gate_maps;
mod gemm;
mod im2col;
pub mod init;
mod layer_norm;
mod linear;
pub mod loss;
pub mod optim;
mod packed;
mod parameters;
mod pool;
mod simd;
mod softmax;
#[cfg(feature = "testing")]
pub mod testing;
pub mod vecmath;
mod window;

pub use batch_norm::{BatchNorm, fold_batch_norm};
pub use correlation::{
    Correlation, CorrelationWeights, Depthwise, PhaseTaps, Start, Taps, WINOGRAD_VARIABLE, winograd_from_environment,
    with_scratch,
};
pub use dropout::{Dropout, DropoutTrace};
pub use element::Element;
pub use error::{TensorError, check_axis, check_lengths, check_not_empty};
pub use gate_maps::{
    GruMaps, GruMapsBackward, LstmMaps, LstmMapsBackward, MapPeepholes, gru_maps, gru_maps_backward, gru_reset_maps,
    gru_reset_maps_backward, lstm_maps, lstm_maps_backward,
};
pub use gemm::{gemm, gemm_serial};
pub use im2col::{col2im, col2im_reference, im2col, im2col_reference};
pub use layer_norm::{LayerNorm, LayerNormGradients, LayerNormTrace};
pub use linear::{Linear, LinearConfig, LinearGradients, LinearTrace, linear_backward, linear_into};
pub use packed::{
    CELL_GATE, FORGET_GATE, GATES, GateLayout, INPUT_GATE, LstmStep, LstmStepBackward, OUTPUT_GATE, PackedMatrix,
    ProductStart, Run, lstm_step, lstm_step_backward, multiply_unpacked,
};
pub use parameters::{ParameterError, Parameters, load_parameters, visit_part, visit_part_mut};
pub use pool::on_pool;
pub use simd::{ISA_VARIABLE, Isa, prefetch};
pub use softmax::{log_softmax, log_softmax_backward, softmax, softmax_backward, softmax_row, softmax_row_backward};
pub use window::{Padding, Window};
