//! What a training run leaves on disk.

pub(crate) mod atomic;
mod checkpoint;
mod directory;
mod records;
mod weights;

pub(crate) use checkpoint::{load_checkpoint, remove_checkpoint, save_checkpoint};
pub use directory::{RunDirectory, RunError};
pub use records::{EpochRecord, Evaluation, FoldResults, RunResults};
pub use weights::{
    FORMAT_VERSION, ModelDescription, WeightsError, load_model, load_weights, load_with, read_kind,
    read_model_description, save_model, save_parameters,
};
