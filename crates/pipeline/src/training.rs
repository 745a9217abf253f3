//! Fitting a model to the training clips of a fold.

mod config;

mod evaluate;
mod fold;
mod stepper;

pub use config::{EvaluationConfig, ScheduleKind, TrainingConfig};
pub(crate) use evaluate::largest;
pub use evaluate::{evaluate, probabilities};
pub(crate) use fold::part_of;
pub use fold::{TrainedFold, TrainingError, TrainingEvent, train_fold};
pub(crate) use stepper::{Stepper, schedule};
