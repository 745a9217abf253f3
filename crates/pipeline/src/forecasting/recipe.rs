//! The recipes of forecasting.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::loss::LossConfig;
use super::network::{Guide, LayerSize, NetworkConfig, PeepholeKind};
use crate::data::{MovingMnistConfig, SequenceVariationConfig};
use crate::recipe::{RecipeError, RecipeKind, require};

/// How a network is trained: Adam on batches of sequences, with a learning rate that rises and falls once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForecastTrainingConfig {
    /// The number of steps. Default: 250.
    pub steps: usize,
    /// The number of sequences of a step. Default: 8.
    pub batch_size: usize,
    /// The largest learning rate. Default: 0.002.
    pub learning_rate: f64,
    /// The part of the steps over which the learning rate rises. Default: 0.1.
    pub warm_up: f64,
    /// Gradients with a larger norm over all weights are scaled down to it; 0 for no limit. Default: 1.
    pub max_gradient_norm: f64,
}

impl Default for ForecastTrainingConfig {
    fn default() -> Self {
        Self { steps: 250, batch_size: 8, learning_rate: 2e-3, warm_up: 0.1, max_gradient_norm: 1.0 }
    }
}

impl ForecastTrainingConfig {
    fn validate(&self) -> Result<(), RecipeError> {
        let steps = self.steps;
        require((1..=100_000_000).contains(&steps), "training.steps", "1 to 100000000", steps)?;
        require((1..=4096).contains(&self.batch_size), "training.batch_size", "1 to 4096", self.batch_size)?;
        let rate = self.learning_rate;
        require(rate.is_finite() && rate > 0.0, "training.learning_rate", "a number above 0", rate)?;
        require(
            self.warm_up > 0.0 && self.warm_up < 1.0,
            "training.warm_up",
            "a number between 0 and 1",
            self.warm_up,
        )?;
        let norm = self.max_gradient_norm;
        require(norm.is_finite() && norm >= 0.0, "training.max_gradient_norm", "a finite number, not negative", norm)
    }
}

/// The sequences of a nowcast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrameDataConfig {
    /// An `.npy` file of frames, `[sequences, time, height, width]` or `[time, height, width]`, u8 or f32 from 0 to 1; the
    /// bundled radar if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The part of a file that is held out for the test: the last sequences, or the last frames of the only one. Default: 0.2.
    pub test_fraction: f64,
    /// The number of frames that are read. Default: 10.
    pub context: usize,
    /// The number of frames that are forecast. Default: 10.
    pub horizon: usize,
}

impl Default for FrameDataConfig {
    fn default() -> Self {
        Self { path: None, test_fraction: 0.2, context: 10, horizon: 10 }
    }
}

/// The recipe of nowcasting: the continuation of radar, or of a person's own frames.
///
/// ```
/// use pipeline::forecasting::NowcastRecipe;
///
/// let recipe = NowcastRecipe::from_toml("seed = 7\n[training]\nsteps = 3")?;
/// assert_eq!((recipe.seed, recipe.training.steps), (7, 3));
/// assert_eq!(NowcastRecipe::from_toml(&recipe.to_toml())?, recipe);
/// # Ok::<(), pipeline::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NowcastRecipe {
    /// The kind of recipe: `nowcast`.
    pub recipe: RecipeKind,
    /// Decides everything random; below 2⁶³. Default: 1.
    pub seed: u64,
    /// The sequences.
    pub data: FrameDataConfig,
    /// The random variations of training sequences.
    pub variation: SequenceVariationConfig,
    /// The parts of the network and their sizes.
    pub network: NetworkConfig,
    /// How forecasts are compared with the truth in training.
    pub loss: LossConfig,
    /// The optimiser and its schedule.
    pub training: ForecastTrainingConfig,
}

impl Default for NowcastRecipe {
    fn default() -> Self {
        Self {
            recipe: RecipeKind::Nowcast,
            seed: 1,
            data: FrameDataConfig::default(),
            variation: SequenceVariationConfig::default(),
            network: NetworkConfig::default(),
            loss: LossConfig::default(),
            training: ForecastTrainingConfig::default(),
        }
    }
}

impl NowcastRecipe {
    /// Reads a recipe; what it does not name keeps its default. Values are checked by [`Self::validate`], not here.
    ///
    /// # Errors
    /// [`RecipeError::Syntax`] if the text is no TOML, names an unknown field or gives a field another type.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        Ok(toml::from_str(text)?)
    }

    /// The recipe with every field, in the format that [`Self::from_toml`] reads.
    ///
    /// # Panics
    /// If the seed is 2⁶³ or more, which TOML cannot hold and [`Self::validate`] rejects.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe consists of tables, numbers, booleans and names")
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`RecipeError::Value`] for the first one that is not allowed.
    pub fn validate(&self) -> Result<(), RecipeError> {
        require(self.recipe == RecipeKind::Nowcast, "recipe", "`nowcast`", self.recipe.name())?;
        require(i64::try_from(self.seed).is_ok(), "seed", "below 2^63", self.seed)?;
        let FrameDataConfig { test_fraction, context, horizon, .. } = self.data;
        let fraction = test_fraction > 0.0 && test_fraction < 1.0;
        require(fraction, "data.test_fraction", "a number between 0 and 1", test_fraction)?;
        require((2..=1000).contains(&context), "data.context", "2 to 1000", context)?;
        require((1..=1000).contains(&horizon), "data.horizon", "1 to 1000", horizon)?;
        let weighted = matches!(self.loss, LossConfig::Weighted(_));
        require(weighted, "loss", "`weighted` for a nowcast", "`cross-entropy`")?;
        self.network.validate()?;
        self.loss.validate(&self.network)?;
        self.training.validate()
    }
}

/// A size of the Moving-MNIST job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MovingMnistPreset {
    /// Minutes on two cores.
    Tiny,
    /// Hours on two cores.
    Small,
    /// The network of Shi et al. (2015) on as many sequences: weeks on two cores.
    Paper,
}

/// The recipe of Moving-MNIST: the continuation of frames in which two digits move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovingMnistRecipe {
    /// The kind of recipe: `moving-mnist`.
    pub recipe: RecipeKind,
    /// Decides everything random; below 2⁶³.
    pub seed: u64,
    /// The digits and how they move. `frames` is the number of frames read and forecast.
    pub data: MovingMnistConfig,
    /// The number of frames that are read.
    pub context: usize,
    /// The number of different training sequences; 0 for new ones at every step.
    pub training_sequences: usize,
    /// The number of test sequences.
    pub test_sequences: usize,
    /// The parts of the network and their sizes.
    pub network: NetworkConfig,
    /// How forecasts are compared with the truth in training.
    pub loss: LossConfig,
    /// The optimiser and its schedule.
    pub training: ForecastTrainingConfig,
}

impl MovingMnistRecipe {
    /// The recipe of `preset` with the seed 1.
    pub fn preset(preset: MovingMnistPreset) -> Self {
        let layer = |channels, kernel| LayerSize { channels, input_kernel: kernel, state_kernel: kernel };
        let (layers, steps, batch_size, learning_rate, training_sequences) = match preset {
            MovingMnistPreset::Tiny => (vec![layer(32, 3), layer(32, 3)], 1000, 8, 2e-3, 0),
            MovingMnistPreset::Small => (vec![layer(64, 5), layer(64, 5)], 20_000, 16, 1e-3, 10_000),
            MovingMnistPreset::Paper => (vec![layer(128, 5), layer(64, 5), layer(64, 5)], 125_000, 16, 1e-3, 10_000),
        };
        Self {
            recipe: RecipeKind::MovingMnist,
            seed: 1,
            data: MovingMnistConfig::default(),
            context: 10,
            training_sequences,
            test_sequences: if preset == MovingMnistPreset::Tiny { 200 } else { 3000 },
            network: NetworkConfig {
                layers,
                peepholes: PeepholeKind::PerChannel,
                guide: Guide::None,
                ..NetworkConfig::default()
            },
            loss: LossConfig::CrossEntropy,
            training: ForecastTrainingConfig { steps, batch_size, learning_rate, ..ForecastTrainingConfig::default() },
        }
    }

    /// The number of frames that are forecast.
    pub fn horizon(&self) -> usize {
        self.data.frames.saturating_sub(self.context)
    }

    /// Reads a recipe, in which every field must stand.
    ///
    /// # Errors
    /// [`RecipeError::Syntax`] if the text is no TOML, lacks a field, names an unknown one or gives one another type.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        Ok(toml::from_str(text)?)
    }

    /// The recipe with every field.
    ///
    /// # Panics
    /// If the seed is 2⁶³ or more, which TOML cannot hold and [`Self::validate`] rejects.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe consists of tables, numbers, booleans and names")
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`RecipeError::Value`] for the first one that is not allowed.
    pub fn validate(&self) -> Result<(), RecipeError> {
        require(self.recipe == RecipeKind::MovingMnist, "recipe", "`moving-mnist`", self.recipe.name())?;
        require(i64::try_from(self.seed).is_ok(), "seed", "below 2^63", self.seed)?;
        let context = self.context;
        require((2..self.data.frames).contains(&context), "context", "at least 2 and below data.frames", context)?;
        let test = self.test_sequences;
        require((1..=1_000_000).contains(&test), "test_sequences", "1 to 1000000", test)?;
        require(
            self.training_sequences <= 1_000_000,
            "training_sequences",
            "at most 1000000",
            self.training_sequences,
        )?;
        self.data.validate()?;
        self.network.validate()?;
        self.loss.validate(&self.network)?;
        self.training.validate()
    }
}
