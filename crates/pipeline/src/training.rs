//! Fitting a model to the training clips of a fold.

mod config;
mod evaluate;
mod fitter;
mod fold;
mod stepper;

use std::time::Duration;

pub use config::{EvaluationConfig, ScheduleKind, TrainingConfig};
pub(crate) use evaluate::largest;
pub use evaluate::{evaluate, probabilities};
pub use fitter::FailedStep;
pub(crate) use fitter::Fitter;
pub(crate) use fold::part_of;
pub use fold::{TrainedFold, TrainingError, TrainingEvent, train_fold};
pub(crate) use stepper::Stepper;

/// Training that can be stopped is kept after this time.
pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(20);
