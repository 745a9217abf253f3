//! The error of this crate.

use std::fmt;

use tensor_ops::{ParameterError, TensorError};

/// Why an operation of this crate refused its arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LstmError {
    /// A shape, a length or an option is wrong.
    Tensor(TensorError),
    /// Named parameters do not fit the configuration.
    Parameter(ParameterError),
    /// A stream was asked of a bidirectional LSTM, whose reverse direction needs the end of the sequence first.
    BidirectionalStream,
    /// The parameters are not those of the configuration: another number of layers, or biases or peepholes too many or
    /// too few.
    Parts {
        /// What is wrong, such as `bias_hh_l0`.
        part: String,
        /// What the configuration asks for.
        expected: &'static str,
    },
}

impl fmt::Display for LstmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(error) => error.fmt(f),
            Self::Parameter(error) => error.fmt(f),
            Self::BidirectionalStream => f.write_str(
                "Lstm: a bidirectional LSTM cannot run as a stream: its reverse direction starts at the end",
            ),
            Self::Parts { part, expected } => write!(f, "Lstm: {part}: the configuration asks for {expected}"),
        }
    }
}

impl std::error::Error for LstmError {}

impl From<TensorError> for LstmError {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}

impl From<ParameterError> for LstmError {
    fn from(error: ParameterError) -> Self {
        Self::Parameter(error)
    }
}
