//! Errors of models.

use attention::AttentionError;
use conv2d::Conv2dError;
use convlstm::ConvLstmError;
use lstm::LstmError;
use pooling::PoolingError;
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
    /// A stack of LSTM layers on maps cannot be built or run.
    #[error(transparent)]
    ConvLstm(#[from] ConvLstmError),
    /// A layer with attention cannot be built or run.
    #[error(transparent)]
    Attention(#[from] AttentionError),
    /// Feature pooling cannot be built or run.
    #[error(transparent)]
    Pooling(#[from] PoolingError),
}
