//! Errors of wrong shapes and options, and the checks that raise them.

use std::fmt;

/// Why an operation refused its arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TensorError {
    /// An axis has another size than the operation needs.
    AxisSize {
        /// The operation or layer that was called.
        operation: &'static str,
        /// The argument and axis, such as `input channels`.
        axis: &'static str,
        /// The size it must have.
        expected: usize,
        /// The size it has.
        found: usize,
    },
    /// An axis that must have at least one entry has none.
    EmptyAxis {
        /// The operation or layer that was called.
        operation: &'static str,
        /// The argument and axis, such as `input batch`.
        axis: &'static str,
    },
    /// An option has a value that the operation does not allow.
    InvalidOption {
        /// The operation or layer that was called.
        operation: &'static str,
        /// The name of the option.
        option: &'static str,
        /// What it must be, completing the sentence "must be …".
        requirement: &'static str,
        /// The value it has.
        found: String,
    },
    /// The length of a sequence is not in `1..=max`.
    SequenceLength {
        /// The operation or layer that was called.
        operation: &'static str,
        /// The position of the sequence in the batch.
        item: usize,
        /// The length given.
        found: usize,
        /// The number of time steps of the batch.
        max: usize,
    },
    /// An index, such as a class, is not below the number of entries it selects from.
    IndexOutOfRange {
        /// The operation or layer that was called.
        operation: &'static str,
        /// What the index selects, such as `class`.
        index: &'static str,
        /// The position of the index in its array.
        item: usize,
        /// The index given.
        found: usize,
        /// The number of entries.
        end: usize,
    },
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AxisSize { operation, axis, expected, found } => {
                write!(f, "{operation}: {axis}: expected size {expected}, found {found}")
            }
            Self::EmptyAxis { operation, axis } => {
                write!(f, "{operation}: {axis}: expected at least 1 entry, found 0")
            }
            Self::InvalidOption { operation, option, requirement, found } => {
                write!(f, "{operation}: option `{option}` must be {requirement}, found {found}")
            }
            Self::SequenceLength { operation, item, found, max } => {
                write!(f, "{operation}: length of sequence {item}: expected 1 to {max} time steps, found {found}")
            }
            Self::IndexOutOfRange { operation, index, item, found, end } => {
                write!(f, "{operation}: {index} of item {item}: expected less than {end}, found {found}")
            }
        }
    }
}

impl std::error::Error for TensorError {}

/// Checks that an axis has the size `expected`.
///
/// # Errors
/// [`TensorError::AxisSize`] if it has not.
///
/// ```
/// let error = tensor_ops::check_axis("Linear", "input features", 8, 5).unwrap_err();
/// assert_eq!(error.to_string(), "Linear: input features: expected size 8, found 5");
/// ```
pub fn check_axis(
    operation: &'static str,
    axis: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), TensorError> {
    if expected == found { Ok(()) } else { Err(TensorError::AxisSize { operation, axis, expected, found }) }
}

/// Checks that an axis has at least one entry.
///
/// # Errors
/// [`TensorError::EmptyAxis`] if it has none.
pub fn check_not_empty(operation: &'static str, axis: &'static str, found: usize) -> Result<(), TensorError> {
    if found > 0 { Ok(()) } else { Err(TensorError::EmptyAxis { operation, axis }) }
}

/// Checks that `lengths`, where given, has one entry per sequence and every entry is in `1..=time`.
///
/// # Errors
/// [`TensorError::AxisSize`] for another number of entries, [`TensorError::SequenceLength`] for a wrong entry.
pub fn check_lengths(
    operation: &'static str,
    lengths: Option<&[usize]>,
    batch: usize,
    time: usize,
) -> Result<(), TensorError> {
    let Some(lengths) = lengths else { return Ok(()) };
    check_axis(operation, "lengths", batch, lengths.len())?;
    match lengths.iter().position(|length| !(1..=time).contains(length)) {
        Some(item) => Err(TensorError::SequenceLength { operation, item, found: lengths[item], max: time }),
        None => Ok(()),
    }
}
