//! What a training run leaves on disk.

pub(crate) mod atomic;
mod directory;
mod records;
mod weights;

pub use directory::{RunDirectory, RunError};
pub use records::{EpochRecord, Evaluation, FoldResults, RunResults};
pub use weights::{FORMAT_VERSION, ModelDescription, WeightsError, load_model, load_with, save_model, save_parameters};
