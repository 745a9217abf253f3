//! Training that was stopped, as a safetensors file from which it goes on.
//!
//! The arrays are those of the model, `model.…`, and those that the optimiser keeps, `optimizer.…`; how far training had
//! come stands in the metadata. All random numbers are drawn anew from the seed, the epoch and the item, so that nothing else is
//! needed to go on as if training had never stopped.

use std::fs;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tensor_ops::{Parameters, load_parameters};

use super::weights::{read_arrays, write_arrays};
use super::{FORMAT_VERSION, WeightsError};
use crate::training::Fitter;

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointDescription<P> {
    format_version: u32,
    /// The recipe of the run, as text: a checkpoint goes on with no other.
    recipe: String,
    steps_done: u64,
    progress: P,
}

/// Writes what `fitter` has learnt and `progress` to the file `path`, which is complete when it appears.
pub(crate) fn save_checkpoint<M: Parameters<f32>>(
    path: &Path,
    recipe: &str,
    progress: &impl Serialize,
    fitter: &Fitter<M>,
) -> Result<(), WeightsError> {
    let steps_done = fitter.steps_done();
    let description =
        CheckpointDescription { format_version: FORMAT_VERSION, recipe: recipe.to_owned(), steps_done, progress };
    let mut arrays: Vec<(String, ArrayViewD<'_, f32>)> = Vec::new();
    for (prefix, named) in [(MODEL, fitter.model().named()), (OPTIMIZER, fitter.optimizer_state())] {
        arrays.extend(named.into_iter().map(|(name, values)| (format!("{prefix}{name}"), values)));
    }
    write_arrays(path, &description, arrays)
}

/// Reads the file `path` into `fitter`, which must be of the same recipe; how far training had come. `None` if there is no such
/// file.
pub(crate) fn load_checkpoint<M: Parameters<f32>, P: DeserializeOwned>(
    path: &Path,
    recipe: &str,
    fitter: &mut Fitter<M>,
) -> Result<Option<P>, WeightsError> {
    if !path.is_file() {
        return Ok(None);
    }
    let (description, arrays) = read_arrays::<CheckpointDescription<P>>(path)?;
    if description.recipe != recipe {
        return Err(WeightsError::OtherRecipe { path: path.to_owned() });
    }
    let mut model: Vec<(String, ArrayD<f32>)> = Vec::new();
    let mut optimizer = Vec::new();
    for (name, values) in arrays {
        if let Some(name) = name.strip_prefix(OPTIMIZER) {
            optimizer.push((name.to_owned(), values));
        } else {
            model.push((name.strip_prefix(MODEL).unwrap_or(&name).to_owned(), values));
        }
    }
    let wrong = |source| WeightsError::Parameters { path: path.to_owned(), source };
    load_parameters(fitter.model_mut(), &model).map_err(wrong)?;
    let restored = fitter.restore(description.steps_done, &optimizer);
    restored.map_err(|source| WeightsError::Optimizer { path: path.to_owned(), source })?;
    Ok(Some(description.progress))
}

/// Removes the file `path` where it exists.
pub(crate) fn remove_checkpoint(path: &Path) -> Result<(), WeightsError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(WeightsError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
