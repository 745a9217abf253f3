//! The error of this crate.

use std::fmt;

use lstm::LstmError;
use tensor_ops::{ParameterError, TensorError};

/// Why an operation of this crate refused its arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AttentionError {
    /// A shape, a length or an option is wrong.
    Tensor(TensorError),
    /// Named parameters do not fit the configuration.
    Parameter(ParameterError),
    /// The LSTM inside a recurrent model refused its arguments.
    Lstm(LstmError),
    /// A parameter array that the configuration asks for is missing, or one stands where it asks for none.
    Parts {
        /// The layer.
        layer: &'static str,
        /// The name of the array.
        part: &'static str,
        /// What the configuration asks for.
        expected: &'static str,
    },
    /// A stream was asked of a temporal attention over all frames, which needs the end of the clip first.
    GlobalStream,
}

impl fmt::Display for AttentionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(error) => error.fmt(f),
            Self::Parameter(error) => error.fmt(f),
            Self::Lstm(error) => error.fmt(f),
            Self::Parts { layer, part, expected } => {
                write!(f, "{layer}: {part}: the configuration asks for {expected}")
            }
            Self::GlobalStream => f.write_str(
                "TemporalAttention: a stream needs a window: without one every step attends to the last frame",
            ),
        }
    }
}

impl std::error::Error for AttentionError {}

impl From<TensorError> for AttentionError {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}

impl From<ParameterError> for AttentionError {
    fn from(error: ParameterError) -> Self {
        Self::Parameter(error)
    }
}

impl From<LstmError> for AttentionError {
    fn from(error: LstmError) -> Self {
        match error {
            LstmError::Tensor(error) => Self::Tensor(error),
            LstmError::Parameter(error) => Self::Parameter(error),
            other => Self::Lstm(other),
        }
    }
}

/// The error of an option.
pub(crate) fn invalid(
    operation: &'static str,
    option: &'static str,
    requirement: &'static str,
    found: impl ToString,
) -> TensorError {
    TensorError::InvalidOption { operation, option, requirement, found: found.to_string() }
}

/// Checks that an optional array stands where it must and only there.
pub(crate) fn check_part(
    layer: &'static str,
    part: &'static str,
    expected: bool,
    found: bool,
) -> Result<(), AttentionError> {
    if expected == found {
        return Ok(());
    }
    let expected = if expected { "this array" } else { "no such array" };
    Err(AttentionError::Parts { layer, part, expected })
}
