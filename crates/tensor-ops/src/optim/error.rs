//! Errors of optimisers.

use std::fmt;

use crate::{ParameterError, TensorError};

/// Why an optimiser, a schedule or a clipping refused its arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OptimizerError {
    /// An option or the learning rate has a value that is not allowed.
    Tensor(TensorError),
    /// The gradients are more or fewer than the parameters.
    GradientCount {
        /// The number of parameters.
        expected: usize,
        /// The number of gradients.
        found: usize,
    },
    /// A gradient has another name than the parameter at its position.
    GradientName {
        /// The position in the visit.
        position: usize,
        /// The name of the parameter.
        expected: String,
        /// The name of the gradient.
        found: String,
    },
    /// A gradient has another shape than its parameter.
    GradientShape {
        /// The name of the parameter.
        name: String,
        /// The shape of the parameter.
        expected: Vec<usize>,
        /// The shape of the gradient.
        found: Vec<usize>,
    },
    /// A gradient holds a NaN or an infinity.
    GradientNotFinite {
        /// The name of the parameter.
        name: String,
        /// The position of the first such value, in row-major order.
        position: usize,
    },
    /// The global norm overflows, though every gradient is finite.
    NormNotFinite,
    /// The state does not fit the parameters of the model.
    State(ParameterError),
    /// A parameter group selects no parameter of the model.
    UnmatchedGroup {
        /// The pattern of the group.
        pattern: String,
    },
}

impl fmt::Display for OptimizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(error) => error.fmt(f),
            Self::GradientCount { expected, found } => {
                write!(f, "gradients: expected one for each of {expected} parameters, found {found}")
            }
            Self::GradientName { position, expected, found } => {
                write!(f, "gradient {position}: expected the name `{expected}`, found `{found}`")
            }
            Self::GradientShape { name, expected, found } => {
                write!(f, "gradient of `{name}`: expected shape {expected:?}, found {found:?}")
            }
            Self::GradientNotFinite { name, position } => {
                write!(f, "gradient of `{name}`: the value at position {position} is not finite")
            }
            Self::NormNotFinite => write!(f, "gradients: their global norm is not finite"),
            Self::State(error) => write!(f, "optimiser state: {error}"),
            Self::UnmatchedGroup { pattern } => write!(f, "parameter group `{pattern}`: no parameter has such a name"),
        }
    }
}

impl std::error::Error for OptimizerError {}

impl From<TensorError> for OptimizerError {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}

/// Checks that an option is finite and at least 0.
pub(super) fn check_not_negative(operation: &'static str, option: &'static str, value: f64) -> Result<(), TensorError> {
    check_option(operation, option, "finite and not negative", value, value.is_finite() && value >= 0.0)
}

/// Checks that an option is finite and greater than 0.
pub(super) fn check_positive(operation: &'static str, option: &'static str, value: f64) -> Result<(), TensorError> {
    check_option(operation, option, "finite and greater than 0", value, value.is_finite() && value > 0.0)
}

/// Checks that an option is in 0..1.
pub(super) fn check_decay_rate(operation: &'static str, option: &'static str, value: f64) -> Result<(), TensorError> {
    check_option(operation, option, "at least 0 and less than 1", value, (0.0..1.0).contains(&value))
}

/// The error that an option is not what it must be, unless it `holds`.
pub(super) fn check_option(
    operation: &'static str,
    option: &'static str,
    requirement: &'static str,
    value: impl fmt::Display,
    holds: bool,
) -> Result<(), TensorError> {
    if holds {
        Ok(())
    } else {
        Err(TensorError::InvalidOption { operation, option, requirement, found: value.to_string() })
    }
}
