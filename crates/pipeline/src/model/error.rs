//! Errors of models.

use conv2d::Conv2dError;
use lstm::LstmError;
use tensor_ops::TensorError;
use thiserror::Error;

use crate::recipe::RecipeError;

/// Why a model cannot be built or run.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A size in the configuration is not allowed.
    #[error(transparent)]
    Config(#[from] RecipeError),
    /// The sizes do not fit.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A convolution cannot be built or run.
    #[error(transparent)]
    Convolution(#[from] Conv2dError),
    /// An LSTM cannot be built or run.
    #[error(transparent)]
    Lstm(#[from] LstmError),
}
