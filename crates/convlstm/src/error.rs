//! Why a recurrent layer of maps is refused.

use std::error::Error;
use std::fmt;

use conv2d::Conv2dError;
use tensor_ops::TensorError;

/// Why a configuration, an input or a parameter is refused.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConvLstmError {
    /// A size or an option.
    Tensor(TensorError),
    /// A convolution of input or state.
    Convolution(Conv2dError),
    /// A parameter array that the configuration asks for is missing, or one stands where it asks for none.
    Parts {
        /// The name of the array.
        part: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A stream of a bidirectional layer: its reverse direction starts at the end.
    BidirectionalStream,
    /// Memory that cannot be had.
    Memory {
        /// What it was for.
        part: &'static str,
        /// The shape that was asked for.
        shape: Vec<usize>,
    },
}

impl fmt::Display for ConvLstmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(error) => error.fmt(f),
            Self::Convolution(error) => error.fmt(f),
            Self::Parts { part, expected } => write!(f, "convlstm: {part}: expected {expected}"),
            Self::BidirectionalStream => {
                f.write_str("convlstm: a stream needs a forward direction only, as the reverse one starts at the end")
            }
            Self::Memory { part, shape } => write!(f, "convlstm: {part}: no memory for shape {shape:?}"),
        }
    }
}

impl Error for ConvLstmError {}

impl From<TensorError> for ConvLstmError {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}

impl From<Conv2dError> for ConvLstmError {
    fn from(error: Conv2dError) -> Self {
        match error {
            Conv2dError::Tensor(error) => Self::Tensor(error),
            other => Self::Convolution(other),
        }
    }
}
