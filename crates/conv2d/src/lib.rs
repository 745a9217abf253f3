//! Two-dimensional convolution on the CPU, for inference and for training.
//!
//! ```
//! use conv2d::{Activation, Conv2d, Conv2dConfig};
//! use ndarray::Array4;
//! use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
//! use tensor_ops::Padding;
//!
//! let config = Conv2dConfig {
//!     in_channels: 3,
//!     out_channels: 8,
//!     kernel: [3, 3],
//!     padding: Padding::symmetric(1, 1),
//!     activation: Activation::Relu,
//!     ..Conv2dConfig::default()
//! };
//! let layer = Conv2d::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
//! let images = Array4::ones((2, 3, 16, 16)); // [batch, channels, height, width]
//! let (output, trace) = layer.forward_training(images.view())?;
//! assert_eq!(output.dim(), (2, 8, 16, 16));
//! let gradients = layer.backward(&trace, output.view())?;
//! assert_eq!(gradients.input.dim(), (2, 3, 16, 16));
//! assert_eq!(gradients.parameters.weight.dim(), (8, 3, 3, 3));
//! # Ok::<(), conv2d::Conv2dError>(())
//! ```
//!
//! The layer computes what PyTorch's `Conv2d` computes, a correlation over the channels of a group:
//!
//! `y[n, m, i, j] = f(b[m] + Σ_{c, k, l} w[m, c, k, l] · x[n, c, i·s_y + k·d_y − top, j·s_x + l·d_x − left])`
//!
//! with zeros outside of the image, per-axis kernel, stride and dilation, padding that may differ on all four sides, groups
//! up to depthwise, and an activation that is applied while the sums are in registers. The parameters have PyTorch's names
//! and axes. Inputs may be views with any strides.
//!
//! Results do not depend on the number of threads, nor on the other images of the batch, bit for bit: work is divided by
//! shape alone, and every sum has a fixed order. They do depend on the instruction set (see [`tensor_ops::Isa`]), and 3×3
//! and 5×5 kernels over many channels go through fewer products (see [`tensor_ops::WINOGRAD_VARIABLE`]).
//!
//! Out of scope: padding by anything but zeros, transposed convolution as a layer, and integer weights.

mod backward;
mod config;
mod correlated;
mod error;
mod forward;
mod inverted_residual;
mod layer;
mod memory;
mod narrow;
mod packed;
mod packed_layer;
mod sizes;
mod unrolled;

#[doc(hidden)]
pub use backward::backward_weight_on;
pub use backward::{convolve_backward_input, convolve_backward_parameters, convolve_backward_weight};
pub use config::{Activation, Conv2dConfig};
pub use error::Conv2dError;
pub use forward::convolve_into;
pub use inverted_residual::{InvertedResidual, PackedInvertedResidual};
pub use layer::{Conv2d, Conv2dGradients, Conv2dTrace};
pub use memory::WorkingMemory;
pub use packed::{PackedConv2d, PackedConv2dBackward};
pub use packed_layer::PackedLayer;
