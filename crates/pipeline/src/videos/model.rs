//! A trained model of videos.

use std::path::Path;

use ndarray::{Array1, Array4, Axis};
use ndarray_rand::rand::Rng;
use serde::{Deserialize, Serialize};
use tensor_ops::softmax;
use video_input::{OpenOptions, Sampling, ShortClip};

use super::cache::{network, store_video};
use super::clips::{ClipReader, batch};
use super::recipe::validate_clips;
use super::store::StoredVideo;
use super::{InputConfig, StoreError, VideoRecipe, VideosError};
use crate::features::EfficientNetLite0;
use crate::interrupt::Interrupt;
use crate::model::{ActionModel, ModelConfig, ModelError};
use crate::random::{Purpose, generator};
use crate::recipe::{RecipeKind, require};
use crate::run::{FORMAT_VERSION, RunDirectory, WeightsError, load_with};

/// Everything needed to use a model of videos, apart from its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoModelDescription {
    /// The version of the file format.
    pub format_version: u32,
    /// What the model was trained for: `videos`.
    pub recipe: RecipeKind,
    /// The names of the classes, in the order of the scores.
    pub labels: Vec<String>,
    /// What it sees of a frame.
    pub input: InputConfig,
    /// Which frames make a clip.
    pub sampling: Sampling,
    /// What becomes of a video with fewer frames than a clip.
    pub short_clips: ShortClip,
    /// The number of clips of a video whose probabilities are averaged.
    pub test_clips: usize,
    /// The number of frames that a prediction in a stream looks back on: as many as half of the training videos have.
    pub window: usize,
    /// Its parts and their sizes.
    pub model: ModelConfig,
}

impl VideoModelDescription {
    pub(super) fn new(recipe: &VideoRecipe, labels: &[String], window: usize) -> Self {
        let VideoRecipe { input, sampling, short_clips, test_clips, model, .. } = recipe.clone();
        let (format_version, labels) = (FORMAT_VERSION, labels.to_vec());
        Self { format_version, recipe: recipe.recipe, labels, input, sampling, short_clips, test_clips, window, model }
    }

    /// Checks what a file says before memory is taken for it.
    fn validate(&self) -> Result<(), ModelError> {
        self.input.validate()?;
        validate_clips(&self.sampling, self.test_clips)?;
        Ok(require(self.window > 0, "window", "at least 1 frame", self.window)?)
    }

    /// The model with random weights.
    ///
    /// # Errors
    /// [`ModelError`] if a value is not allowed or the parts do not fit together.
    pub fn initial_model(&self, rng: &mut impl Rng) -> Result<ActionModel<f32>, ModelError> {
        self.validate()?;
        let [channels, height, width] = self.input.step_shape();
        ActionModel::new(&self.model, channels, [height, width], self.labels.len(), rng)
    }
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedLabel {
    /// The name of the class.
    pub label: String,
    /// Its probability.
    pub probability: f32,
}

/// What a model says of a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The class with the largest probability.
    pub label: String,
    /// Its probability.
    pub probability: f32,
    /// The five classes with the largest probabilities, or all where there are fewer; the most probable first.
    pub top: Vec<RankedLabel>,
}

/// A trained model and what it needs to look at videos.
#[derive(Debug)]
pub struct VideoModel {
    /// What the model is.
    pub description: VideoModelDescription,
    /// The model.
    pub model: ActionModel<f32>,
    network: Option<EfficientNetLite0>,
}

impl VideoModel {
    /// The model of a finished run.
    ///
    /// # Errors
    /// [`VideosError`] if a file of the run is missing or damaged.
    pub fn open(directory: &RunDirectory) -> Result<Self, VideosError> {
        Self::load(&directory.existing_model()?)
    }

    /// The model in the file `path`.
    ///
    /// # Errors
    /// [`VideosError::Weights`] if the file is missing, truncated, foreign, of a newer version or of another kind of model.
    pub fn load(path: &Path) -> Result<Self, VideosError> {
        let (description, model) = load_with(path, |description: &VideoModelDescription| {
            let (expected, found) = (RecipeKind::Videos.name(), description.recipe.name());
            if description.recipe != RecipeKind::Videos {
                return Err(WeightsError::Kind { path: path.to_owned(), expected, found });
            }
            let model = description.initial_model(&mut generator(0, Purpose::Weights, 0, 0));
            model.map_err(|source| WeightsError::Model { path: path.to_owned(), source })
        })?;
        Self::new(description, model)
    }

    pub(super) fn new(description: VideoModelDescription, model: ActionModel<f32>) -> Result<Self, VideosError> {
        let network = network(&description.input)?;
        Ok(Self { description, model, network })
    }

    pub(super) fn network(&self) -> Option<&EfficientNetLite0> {
        self.network.as_ref()
    }

    pub(super) fn reader(&self) -> ClipReader<'_> {
        ClipReader { input: &self.description.input }
    }

    /// How videos are opened for this model.
    pub fn open_options(&self) -> OpenOptions {
        self.description.input.open_options()
    }

    /// Decodes the video `path` into a file in `folder`.
    ///
    /// # Errors
    /// [`VideosError`] if it cannot be read or has no frames.
    pub fn store(&self, path: &Path, folder: &Path) -> Result<StoredVideo, VideosError> {
        let (input, file) = (&self.description.input, folder.join("frames.safetensors"));
        store_video(path, &file, input, self.network(), &Interrupt::default())?;
        Ok(StoredVideo::open(&file, &input.key(), input.stored_shape())?)
    }

    /// What the model says of the video `path`, whatever its length.
    ///
    /// # Errors
    /// [`VideosError`] if it cannot be read or has no frames.
    pub fn predict(&self, path: &Path) -> Result<Prediction, VideosError> {
        let folder = temporary_folder()?;
        self.predict_stored(&self.store(path, folder.path())?)
    }

    /// What the model says of stored frames.
    ///
    /// # Errors
    /// [`VideosError::Store`] if they cannot be read.
    pub fn predict_stored(&self, video: &StoredVideo) -> Result<Prediction, VideosError> {
        let probabilities = self.probabilities(video.frames(), |positions| Ok(video.read(positions)?))?;
        Ok(self.prediction(&probabilities))
    }

    /// The probabilities of the classes for a video of `frames` stored frames, of which `read` gives those at positions.
    pub(super) fn probabilities(
        &self,
        frames: usize,
        read: impl Fn(&[usize]) -> Result<Array4<f32>, VideosError>,
    ) -> Result<Array1<f32>, VideosError> {
        let VideoModelDescription { sampling, short_clips, test_clips, .. } = &self.description;
        let clips = sampling.test(frames, *test_clips, *short_clips);
        let clips = clips.iter().map(|positions| self.reader().steps(positions, &read));
        let clips = clips.collect::<Result<Vec<_>, VideosError>>()?;
        mean_probabilities(&self.model, &clips)
    }

    pub(super) fn prediction(&self, probabilities: &Array1<f32>) -> Prediction {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        // Stable: of equal probabilities, the first class comes first.
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let ranked = |&class: &usize| RankedLabel {
            label: self.description.labels[class].clone(),
            probability: probabilities[class],
        };
        let top: Vec<RankedLabel> = order.iter().take(5).map(ranked).collect();
        Prediction { label: top[0].label.clone(), probability: top[0].probability, top }
    }
}

/// The mean of the probabilities of some clips of one video.
pub(super) fn mean_probabilities(model: &ActionModel<f32>, clips: &[Array4<f32>]) -> Result<Array1<f32>, VideosError> {
    let batch = batch(clips, Vec::new());
    let scores = model.forward(batch.frames.view(), &batch.lengths)?;
    let probabilities = softmax(scores.view(), 1, None)?;
    Ok(probabilities.sum_axis(Axis(0)) / clips.len() as f32)
}

/// A folder that is removed when it is dropped.
pub(super) fn temporary_folder() -> Result<tempfile::TempDir, StoreError> {
    tempfile::tempdir().map_err(|source| StoreError::Io { path: std::env::temp_dir(), source })
}
