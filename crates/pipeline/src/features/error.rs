//! Errors of the feature network.

use std::io;

use conv2d::Conv2dError;
use safetensors::{Dtype, SafeTensorError};
use tensor_ops::TensorError;
use thiserror::Error;

/// Why features cannot be computed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is larger than the weights of the network can be.
    #[error("{file}: expected at most {most} bytes, found {found}")]
    TooLarge {
        /// The file.
        file: String,
        /// The most bytes that are read.
        most: u64,
        /// The bytes it has.
        found: u64,
    },
    /// The file is no safetensors file, or only a part of one.
    #[error("{file}: not a complete safetensors file: {source}")]
    Format {
        /// The file.
        file: String,
        /// What the parser says.
        source: SafeTensorError,
    },
    /// The file lacks an array.
    #[error("{file}: no array `{name}`: not the weights of EfficientNet-Lite0")]
    Missing {
        /// The file.
        file: String,
        /// The name of the array.
        name: String,
    },
    /// The file has an array that the network lacks.
    #[error("{file}: unknown array `{name}`: not the weights of EfficientNet-Lite0")]
    Unexpected {
        /// The file.
        file: String,
        /// The name of the array.
        name: String,
    },
    /// An array has another shape.
    #[error("{file}: array `{name}`: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The file.
        file: String,
        /// The name of the array.
        name: String,
        /// The shape it must have.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// An array has another type of element.
    #[error("{file}: array `{name}`: expected type F16 or F32, found {found:?}")]
    ElementType {
        /// The file.
        file: String,
        /// The name of the array.
        name: String,
        /// The type of the array.
        found: Dtype,
    },
    /// An array has a value that is not a number, or infinite.
    #[error("{file}: array `{name}`: expected finite values, found {found} at position {position}")]
    NotFinite {
        /// The file.
        file: String,
        /// The name of the array.
        name: String,
        /// The position among the values of the array, from 0.
        position: usize,
        /// The value.
        found: f32,
    },
    /// A batch normalisation cannot be folded into the convolution before it.
    #[error("{file}: normalisation `{name}`: {source}")]
    Normalisation {
        /// The file.
        file: String,
        /// The prefix of its arrays.
        name: String,
        /// What is wrong with it.
        source: TensorError,
    },
    /// The images have a height or width that the network cannot halve five times.
    #[error("image {axis}: expected a multiple of {multiple}, at least {multiple}, found {found}")]
    ImageSize {
        /// `height` or `width`.
        axis: &'static str,
        /// What divides the size.
        multiple: usize,
        /// The size.
        found: usize,
    },
    /// The images do not fit the network.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A convolution refused its input, or there is no memory for its output.
    #[error(transparent)]
    Convolution(#[from] Conv2dError),
}
