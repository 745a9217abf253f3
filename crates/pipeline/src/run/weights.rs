//! Models as safetensors files.
//!
//! The weights are stored as f32 under the names that [`Parameters`] visits them by. What is needed to use them stands
//! in the metadata under the one key `vidrnn`, as JSON: one key, because the order of several would differ from file to
//! file, and the same training gives the same bytes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayViewD};
use ndarray_rand::rand::Rng;
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tensor_ops::optim::OptimizerError;
use tensor_ops::{ParameterError, Parameters, load_parameters};
use thiserror::Error;

use super::atomic;
use crate::data::PreprocessingConfig;
use crate::model::{ActionModel, ModelConfig, ModelError};
use crate::random::{Purpose, generator};
use crate::recipe::RecipeKind;

/// The version of the files that are written; those of newer versions are refused.
pub const FORMAT_VERSION: u32 = 1;

const METADATA_KEY: &str = "vidrnn";

/// Why a model cannot be saved or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is no safetensors file, or only a part of one.
    #[error("{}: not a complete safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: SafeTensorError,
    },
    /// The file was not written by this program.
    #[error("{}: a safetensors file without the metadata of a vidrnn model", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version of this program.
    #[error("{}: format version {found}; this program reads versions up to {FORMAT_VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: u32,
    },
    /// The model was trained for something else.
    #[error("{}: a model of the recipe `{found}`, expected one of `{expected}`", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The recipe that was asked for.
        expected: &'static str,
        /// The recipe of the model.
        found: &'static str,
    },
    /// The metadata do not describe a model.
    #[error("{}: metadata: {source}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The model that the metadata describe cannot be built.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The network that the metadata describe cannot be built.
    #[error("{}: {source}", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: convlstm::ConvLstmError,
    },
    /// An array has another type of element.
    #[error("{}: parameter `{name}`: expected type F32, found {found:?}", path.display())]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The name of the array.
        name: String,
        /// The type of the array.
        found: Dtype,
    },
    /// A checkpoint was written under another recipe than the one that is to go on.
    #[error("{}: training was stopped under another recipe than config.toml has now", path.display())]
    OtherRecipe {
        /// The file.
        path: PathBuf,
    },
    /// The arrays of the optimiser are not those of the model.
    #[error("{}: {source}", path.display())]
    Optimizer {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: OptimizerError,
    },
    /// The arrays are not those of the model.
    #[error("{}: {source}", path.display())]
    Parameters {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: ParameterError,
    },
}

/// An array and its name.
type NamedArray = (String, ArrayD<f32>);

/// Everything needed to use a model, apart from its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDescription {
    /// The version of the file format, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// What the model was trained for.
    pub recipe: RecipeKind,
    /// The names of the classes, in the order of the scores.
    pub labels: Vec<String>,
    /// How clips become its input.
    pub preprocessing: PreprocessingConfig,
    /// The height and the width of its input.
    pub input_size: [usize; 2],
    /// Its parts and their sizes.
    pub model: ModelConfig,
}

impl ModelDescription {
    /// The model with random weights.
    ///
    /// # Errors
    /// [`ModelError`] if the parts do not fit together.
    pub fn initial_model(&self, rng: &mut impl Rng) -> Result<ActionModel<f32>, ModelError> {
        ActionModel::new(&self.model, self.preprocessing.channels(), self.input_size, self.labels.len(), rng)
    }
}

/// Writes `model` to the file `path`, which is complete when it appears.
///
/// # Errors
/// [`WeightsError::Io`] if the file cannot be written.
pub fn save_model(path: &Path, description: &ModelDescription, model: &ActionModel<f32>) -> Result<(), WeightsError> {
    save_parameters(path, description, model)
}

/// Writes the parameters of `model`, with `description` as metadata, to the file `path`, which is complete when it appears.
///
/// # Errors
/// [`WeightsError::Io`] if the file cannot be written.
pub fn save_parameters(
    path: &Path,
    description: &impl Serialize,
    model: &impl Parameters<f32>,
) -> Result<(), WeightsError> {
    write_arrays(path, description, model.named())
}

/// Writes named arrays, with `description` as metadata, to the file `path`, which is complete when it appears.
pub(super) fn write_arrays(
    path: &Path,
    description: &impl Serialize,
    arrays: Vec<(String, ArrayViewD<'_, f32>)>,
) -> Result<(), WeightsError> {
    let wrong_metadata = |source| WeightsError::Metadata { path: path.to_owned(), source };
    let wrong_format = |source| WeightsError::Format { path: path.to_owned(), source };
    let metadata = serde_json::to_string(description).map_err(wrong_metadata)?;
    let arrays: Vec<(String, Vec<usize>, Vec<u8>)> = arrays
        .into_iter()
        .map(|(name, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, values.shape().to_vec(), bytes)
        })
        .collect();
    let views = arrays
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(wrong_format)?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(wrong_format)?;
    atomic::write(path, &bytes).map_err(|source| WeightsError::Io { path: path.to_owned(), source })
}

/// Reads the model in the file `path`.
///
/// # Errors
/// [`WeightsError`] if the file is missing, truncated, no model of this program, of a newer version, or holds other
/// arrays than its own description asks for.
pub fn load_model(path: &Path) -> Result<(ModelDescription, ActionModel<f32>), WeightsError> {
    load_with(path, |description: &ModelDescription| {
        if description.recipe != RecipeKind::Actions {
            let (expected, found) = (RecipeKind::Actions.name(), description.recipe.name());
            return Err(WeightsError::Kind { path: path.to_owned(), expected, found });
        }
        let model = description.initial_model(&mut generator(0, Purpose::Weights, 0, 0));
        model.map_err(|source| WeightsError::Model { path: path.to_owned(), source })
    })
}

/// What the model in the file `path` was trained for.
///
/// # Errors
/// [`WeightsError`] if the file is missing, truncated, no model of this program or of a newer version.
pub fn read_kind(path: &Path) -> Result<RecipeKind, WeightsError> {
    /// The field that every description has.
    #[derive(Deserialize)]
    struct Kind {
        recipe: RecipeKind,
    }
    Ok(read_model_description::<Kind>(path)?.recipe)
}

/// Everything needed to use the model in the file `path`, apart from its weights.
///
/// # Errors
/// As [`read_kind`].
pub fn read_model_description<D: DeserializeOwned>(path: &Path) -> Result<D, WeightsError> {
    Ok(read_arrays(path)?.0)
}

/// Reads the description in the file `path`, has `initial` make the model that it describes, and fills in its parameters.
///
/// # Errors
/// As [`load_model`], and those of `initial`.
pub fn load_with<D: DeserializeOwned, M: Parameters<f32>>(
    path: &Path,
    initial: impl FnOnce(&D) -> Result<M, WeightsError>,
) -> Result<(D, M), WeightsError> {
    let (description, arrays) = read_arrays(path)?;
    let mut model = initial(&description)?;
    let loaded = load_parameters(&mut model, &arrays);
    loaded.map_err(|source| WeightsError::Parameters { path: path.to_owned(), source })?;
    Ok((description, model))
}

/// Fills the parameters of `model` by name from a safetensors file of any origin, such as one that PyTorch wrote; metadata are
/// not looked at.
///
/// # Errors
/// [`WeightsError`] if the file is missing or truncated, an array is not of type F32, or the arrays are not those of the
/// model; the model is then as it was.
pub fn load_weights(path: &Path, model: &mut impl Parameters<f32>) -> Result<(), WeightsError> {
    let bytes = fs::read(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
    let loaded = load_parameters(model, &arrays_of(path, &bytes)?);
    loaded.map_err(|source| WeightsError::Parameters { path: path.to_owned(), source })
}

/// Reads the description and the arrays in the file `path`.
pub(super) fn read_arrays<D: DeserializeOwned>(path: &Path) -> Result<(D, Vec<NamedArray>), WeightsError> {
    let at = || path.to_owned();
    let bytes = fs::read(path).map_err(|source| WeightsError::Io { path: at(), source })?;
    let wrong_format = |source| WeightsError::Format { path: at(), source };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(wrong_format)?;
    let description = read_description(path, &header)?;
    Ok((description, arrays_of(path, &bytes)?))
}

fn arrays_of(path: &Path, bytes: &[u8]) -> Result<Vec<NamedArray>, WeightsError> {
    let at = || path.to_owned();
    let tensors = SafeTensors::deserialize(bytes).map_err(|source| WeightsError::Format { path: at(), source })?;
    let mut arrays = Vec::new();
    for (name, tensor) in tensors.tensors() {
        if tensor.dtype() != Dtype::F32 {
            return Err(WeightsError::ElementType { path: at(), name, found: tensor.dtype() });
        }
        let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let array = ArrayD::from_shape_vec(tensor.shape().to_vec(), values);
        arrays.push((name, array.expect("the parser has compared the shape with the number of bytes")));
    }
    Ok(arrays)
}

fn read_description<D: DeserializeOwned>(path: &Path, header: &Metadata) -> Result<D, WeightsError> {
    /// The one field that every version of the format has.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let wrong_metadata = |source| WeightsError::Metadata { path: path.to_owned(), source };
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY));
    let text = text.ok_or_else(|| WeightsError::Foreign { path: path.to_owned() })?;
    let Version { format_version } = serde_json::from_str(text).map_err(wrong_metadata)?;
    if format_version > FORMAT_VERSION {
        return Err(WeightsError::Newer { path: path.to_owned(), found: format_version });
    }
    serde_json::from_str(text).map_err(wrong_metadata)
}
