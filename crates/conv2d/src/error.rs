//! Why a convolution is refused.

use std::error::Error;
use std::fmt;

use tensor_ops::TensorError;

/// Why a convolution refused its configuration or its arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Conv2dError {
    /// A shape or an option is wrong.
    Tensor(TensorError),
    /// The groups do not divide a number of channels.
    Groups {
        /// `input channels` or `output channels`.
        axis: &'static str,
        /// The number of channels.
        channels: usize,
        /// The number of groups.
        groups: usize,
    },
    /// The configuration and the layer disagree on whether there is a bias.
    Bias {
        /// Whether the configuration has a bias.
        expected: bool,
    },
    /// The memory of a result cannot be had.
    Memory {
        /// The result.
        result: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
}

impl fmt::Display for Conv2dError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(error) => error.fmt(f),
            Self::Groups { axis, channels, groups } => {
                write!(f, "Conv2d: {axis}: expected a multiple of {groups} groups, found {channels}")
            }
            Self::Bias { expected: true } => f.write_str("Conv2d: bias: expected one, found none"),
            Self::Bias { expected: false } => f.write_str("Conv2d: bias: expected none, found one"),
            Self::Memory { result, shape } => write!(f, "Conv2d: {result}: no memory for shape {shape:?}"),
        }
    }
}

impl Error for Conv2dError {}

impl From<TensorError> for Conv2dError {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}
