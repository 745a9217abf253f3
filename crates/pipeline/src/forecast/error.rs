//! Errors of forecasts.

use ndarray::{ArrayView, Dimension, IntoDimension};
use tensor_ops::{TensorError, check_not_empty};
use thiserror::Error;

use crate::recipe::RecipeError;

/// The most frames that a forecast without a model goes ahead.
const MAX_LEADS: usize = 10_000;

/// Why frames cannot be forecast or compared.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ForecastError {
    /// The sizes do not fit.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An option of the motion has a value that is not allowed.
    #[error(transparent)]
    Config(#[from] RecipeError),
    /// A value is infinite or no number.
    #[error("{operation}: {argument} at {index:?}: expected a finite number, found {found}")]
    NotFinite {
        /// The function that was called.
        operation: &'static str,
        /// The argument.
        argument: &'static str,
        /// The position of the value in the argument.
        index: Vec<usize>,
        /// The value.
        found: f32,
    },
}

/// Checks that all values of `array` are finite.
pub(super) fn check_finite<D: Dimension>(
    operation: &'static str,
    argument: &'static str,
    array: &ArrayView<'_, f32, D>,
) -> Result<(), ForecastError> {
    if array.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    for (index, &found) in array.indexed_iter() {
        if !found.is_finite() {
            let index = index.into_dimension().slice().to_vec();
            return Err(ForecastError::NotFinite { operation, argument, index, found });
        }
    }
    Ok(())
}

/// Checks that a forecast goes at least one frame ahead, and not so far that it cannot be kept.
pub(super) fn check_leads(operation: &'static str, leads: usize) -> Result<(), TensorError> {
    let requirement = "from 1 to 10000";
    if (1..=MAX_LEADS).contains(&leads) {
        return Ok(());
    }
    Err(TensorError::InvalidOption { operation, option: "leads", requirement, found: leads.to_string() })
}

/// Checks that frames have at least one pixel.
pub(super) fn check_size(operation: &'static str, height: usize, width: usize) -> Result<(), TensorError> {
    check_not_empty(operation, "height", height)?;
    check_not_empty(operation, "width", width)
}
