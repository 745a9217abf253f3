//! Matrix products, im2col, vector mathematics, losses, initialisers and optimisers: the base of the vidrnn crates.

mod element;
mod error;
mod gemm;
mod parameters;
mod simd;
#[cfg(feature = "testing")]
pub mod testing;

pub use element::Element;
pub use error::{TensorError, check_axis, check_lengths, check_not_empty};
pub use gemm::{gemm, gemm_serial};
pub use parameters::{ParameterError, Parameters, load_parameters, visit_part, visit_part_mut};
pub use simd::{ISA_VARIABLE, Isa};
