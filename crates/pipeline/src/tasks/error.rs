//! Errors of tasks.

use attention::AttentionError;
use lstm::LstmError;
use tensor_ops::TensorError;
use thiserror::Error;

use crate::data::DigitsError;
use crate::model::ModelError;
use crate::pictures::PictureError;
use crate::recipe::RecipeError;
use crate::run::RunError;
use crate::training::{FailedStep, TrainingError};

/// Why a task cannot be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The bundled digits cannot be read.
    #[error(transparent)]
    Digits(#[from] DigitsError),
    /// A model does not fit the clips.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A classifier cannot be trained.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A decoder with attention does not fit the clips.
    #[error(transparent)]
    Attention(#[from] AttentionError),
    /// An LSTM does not fit the clips.
    #[error(transparent)]
    Lstm(#[from] LstmError),
    /// Values do not fit together.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The optimiser refused a step.
    #[error(transparent)]
    Step(#[from] FailedStep),
    /// A picture cannot be written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A file of the run cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
}
