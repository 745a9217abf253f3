//! The recipe of recognition in videos of one's own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use video_input::{Sampling, ShortClip};

use super::{CollectionConfig, InputConfig, InputKind, VideoAugmentationConfig};
use crate::model::{ConvolutionConfig, EncoderConfig, HeadConfig, ModelConfig};
use crate::recipe::{RecipeError, RecipeKind, override_defaults, require};
use crate::training::TrainingConfig;

/// The most frames that a clip may have; a file that asks for more is damaged or hostile.
const MAX_STEPS: usize = 4096;

/// The recipe of recognition in videos. Every field has a default, which depends on the kind of input; a file needs to name
/// only what differs, and where the videos are.
///
/// ```
/// use pipeline::videos::{InputKind, VideoRecipe};
///
/// let recipe = VideoRecipe::from_toml("[data]\npath = 'clips'\n[input]\nkind = 'pixels'")?;
/// assert_eq!(recipe.input.kind, InputKind::Pixels);
/// assert_eq!(recipe.model.encoder.convolutions.len(), 4);
/// assert_eq!(VideoRecipe::from_toml(&recipe.to_toml())?, recipe);
/// # Ok::<(), pipeline::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoRecipe {
    /// The kind of recipe: `videos`.
    pub recipe: RecipeKind,
    /// Decides everything random; below 2⁶³. Default: 1.
    pub seed: u64,
    /// What becomes of a video with fewer frames than a clip. Default: `repeat-last`.
    pub short_clips: ShortClip,
    /// The number of clips of a video whose probabilities are averaged in a test. Default: 1.
    pub test_clips: usize,
    /// A safetensors file of the weights that training begins with, by the names of this model's parameters: of another run,
    /// or written by PyTorch. Default: random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_weights: Option<PathBuf>,
    /// Where the videos are, and which are held out.
    pub data: CollectionConfig,
    /// What a model sees of a frame.
    pub input: InputConfig,
    /// Which frames make a clip. Default: one of each of 16 equal parts of the video.
    pub sampling: Sampling,
    /// The random variations of pixels.
    pub augmentation: VideoAugmentationConfig,
    /// The parts of the model and their sizes. Default: for pixels four convolutions, for features none; a bidirectional
    /// LSTM.
    pub model: ModelConfig,
    /// The loss, the optimiser and its schedule. Default: 30 epochs of batches of 32.
    pub training: TrainingConfig,
}

impl Default for VideoRecipe {
    fn default() -> Self {
        Self::of_kind(InputKind::Features)
    }
}

impl VideoRecipe {
    /// The defaults for a kind of input.
    pub fn of_kind(kind: InputKind) -> Self {
        let strided = |channels| ConvolutionConfig { channels, kernel: 3, stride: 2, padding: 1 };
        let convolutions = match kind {
            InputKind::Pixels => vec![
                ConvolutionConfig { channels: 16, kernel: 5, stride: 2, padding: 2 },
                strided(32),
                strided(64),
                strided(64),
            ],
            InputKind::Features | InputKind::FeatureMaps => Vec::new(),
        };
        Self {
            recipe: RecipeKind::Videos,
            seed: 1,
            short_clips: ShortClip::RepeatLast,
            test_clips: 1,
            initial_weights: None,
            data: CollectionConfig::default(),
            input: InputConfig::of_kind(kind),
            sampling: Sampling::Segments { segments: 16 },
            augmentation: VideoAugmentationConfig::default(),
            model: ModelConfig {
                encoder: EncoderConfig { convolutions, dropout: 0.2 },
                head: HeadConfig::default(),
                ..ModelConfig::default()
            },
            training: TrainingConfig { epochs: 30, batch_size: 32, ..TrainingConfig::default() },
        }
    }

    /// Reads a recipe; what it does not name keeps the default of its kind of input. Values are checked by
    /// [`Self::validate`], not here.
    ///
    /// # Errors
    /// [`RecipeError::Syntax`] if the text is no TOML, names an unknown field or gives a field another type.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(default)]
            input: Input,
        }
        #[derive(Default, Deserialize)]
        struct Input {
            kind: Option<InputKind>,
        }
        let kind = toml::from_str::<Kind>(text)?.input.kind.unwrap_or(InputKind::Features);
        override_defaults(&Self::of_kind(kind).to_toml(), text)
    }

    /// The recipe with every field, in the format that [`Self::from_toml`] reads.
    ///
    /// # Panics
    /// If the seed is 2⁶³ or more, which TOML cannot hold and [`Self::validate`] rejects, or a path is not Unicode.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe consists of tables, numbers, booleans and names")
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`RecipeError::Value`] for the first one that is not allowed.
    pub fn validate(&self) -> Result<(), RecipeError> {
        require(self.recipe == RecipeKind::Videos, "recipe", "`videos`", self.recipe.name())?;
        require(i64::try_from(self.seed).is_ok(), "seed", "below 2^63", self.seed)?;
        validate_clips(&self.sampling, self.test_clips)?;
        let unicode = self.data.path.to_str().is_some();
        require(unicode, "data.path", "Unicode", self.data.path.display())?;
        self.data.validate()?;
        self.input.validate()?;
        self.augmentation.validate()?;
        self.model.validate()?;
        self.training.validate()
    }
}

/// Checks which frames make a clip, and how many clips a test looks at.
pub(super) fn validate_clips(sampling: &Sampling, test_clips: usize) -> Result<(), RecipeError> {
    require((1..=64).contains(&test_clips), "test_clips", "1 to 64", test_clips)?;
    let steps = sampling.length();
    require((1..=MAX_STEPS).contains(&steps), "sampling", "1 to 4096 frames of a clip", steps)?;
    require(sampling.check().is_ok(), "sampling", "frames, strides and steps of at least 1", format!("{sampling:?}"))
}
