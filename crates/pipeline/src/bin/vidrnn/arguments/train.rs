//! The arguments of `vidrnn train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pipeline::forecasting::{MovingMnistPreset, MovingMnistRecipe, NowcastRecipe};
use pipeline::model::{ModelConfig, ModelName, PoolingReducer, TemporalConfig};
use pipeline::recipe::ActionRecipe;
use pipeline::videos::VideoRecipe;

use super::videos::VideoArguments;
use super::{CommonArguments, NewRunArguments, ProtocolName, configured, model_name, reducer, set};

/// What to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecipeName {
    /// Recognise seven actions of people in the bundled thermal video.
    Actions,
    /// Forecast the next frames of the bundled rain radar, or of a file of frames.
    Nowcast,
    /// Forecast the next frames of two moving digits.
    MovingMnist,
    /// Recognise the classes of your own videos: the folder that --data names.
    Videos,
}

/// A size of the job `moving-mnist`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PresetName {
    /// Minutes on two cores.
    Tiny,
    /// Hours on two cores.
    Small,
    /// The network of Shi et al. (2015).
    Paper,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// What to train. Default: `videos` where --data names a folder, `actions` elsewhere.
    #[arg(value_enum)]
    recipe: Option<RecipeName>,
    /// A TOML file with the options that differ from the defaults; the flags below override it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// How often every training clip takes part.
    #[arg(long)]
    epochs: Option<usize>,
    /// The number of clips of a step.
    #[arg(long)]
    batch_size: Option<usize>,
    /// The largest learning rate.
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Whom to test on.
    #[arg(long, value_enum)]
    protocol: Option<ProtocolName>,
    /// The person to test on under the protocol `single`, 1 to 8.
    #[arg(long, value_name = "N")]
    test_person: Option<usize>,
    /// Use only so many clips of each person, for a quick trial.
    #[arg(long, value_name = "N")]
    clips_per_person: Option<usize>,
    /// What joins the steps of a clip.
    #[arg(long, value_parser = model_name())]
    model: Option<ModelName>,
    /// How a pooling model makes one of several steps.
    #[arg(long, value_parser = reducer())]
    reducer: Option<PoolingReducer>,
    /// The number of training steps, for `nowcast` and `moving-mnist`.
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// For `videos` a folder with one folder of videos per class, or with `train` and `val` of such; for `nowcast` an .npy
    /// file of frames: u8 or f32 from 0 to 1, [sequences, time, height, width] or [time, height, width].
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The size of `moving-mnist`.
    #[arg(long, value_enum, value_name = "SIZE")]
    preset: Option<PresetName>,
    #[command(flatten)]
    videos: VideoArguments,
    #[command(flatten)]
    pub(crate) run: NewRunArguments,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

impl TrainArguments {
    /// What to train.
    pub(crate) fn recipe(&self) -> RecipeName {
        self.recipe.unwrap_or(match &self.data {
            Some(data) if data.is_dir() => RecipeName::Videos,
            _ => RecipeName::Actions,
        })
    }

    /// Refuses flags that another recipe has.
    fn refuse(&self, flags: &[(&str, bool)]) -> anyhow::Result<()> {
        match flags.iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                let recipe = self.recipe().to_possible_value();
                let recipe = recipe.as_ref().map_or("this recipe", |value| value.get_name());
                anyhow::bail!("--{flag} is no option of `{recipe}`")
            }
            None => Ok(()),
        }
    }

    fn classifier_flags(&self) -> [(&'static str, bool); 3] {
        [("model", self.model.is_some()), ("reducer", self.reducer.is_some()), ("epochs", self.epochs.is_some())]
    }

    fn action_flags(&self) -> [(&'static str, bool); 3] {
        [
            ("protocol", self.protocol.is_some()),
            ("test-person", self.test_person.is_some()),
            ("clips-per-person", self.clips_per_person.is_some()),
        ]
    }

    /// The recipe of the file, or the defaults, with what the flags override.
    pub(crate) fn nowcast_recipe(&self) -> anyhow::Result<NowcastRecipe> {
        self.refuse(&self.classifier_flags())?;
        self.refuse(&self.action_flags())?;
        self.refuse(&self.videos.flags())?;
        self.refuse(&[("preset", self.preset.is_some())])?;
        let mut recipe = configured(self.config.as_ref(), NowcastRecipe::from_toml)?.unwrap_or_default();
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.training.steps, self.steps);
        set(&mut recipe.training.batch_size, self.batch_size);
        set(&mut recipe.training.learning_rate, self.learning_rate);
        if self.data.is_some() {
            recipe.data.path.clone_from(&self.data);
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe of the file or of the preset, with what the flags override.
    pub(crate) fn moving_mnist_recipe(&self) -> anyhow::Result<MovingMnistRecipe> {
        self.refuse(&self.classifier_flags())?;
        self.refuse(&self.action_flags())?;
        self.refuse(&self.videos.flags())?;
        self.refuse(&[("data", self.data.is_some()), ("preset", self.preset.is_some() && self.config.is_some())])?;
        let preset = match self.preset.unwrap_or(PresetName::Tiny) {
            PresetName::Tiny => MovingMnistPreset::Tiny,
            PresetName::Small => MovingMnistPreset::Small,
            PresetName::Paper => MovingMnistPreset::Paper,
        };
        let configured = configured(self.config.as_ref(), MovingMnistRecipe::from_toml)?;
        let mut recipe = configured.unwrap_or_else(|| MovingMnistRecipe::preset(preset));
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.training.steps, self.steps);
        set(&mut recipe.training.batch_size, self.batch_size);
        set(&mut recipe.training.learning_rate, self.learning_rate);
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe of the file, or the defaults, with what the flags override.
    pub(crate) fn action_recipe(&self) -> anyhow::Result<ActionRecipe> {
        let others = [("steps", self.steps.is_some()), ("data", self.data.is_some())];
        self.refuse(&others)?;
        self.refuse(&self.videos.flags())?;
        self.refuse(&[("preset", self.preset.is_some())])?;
        let mut recipe = configured(self.config.as_ref(), ActionRecipe::from_toml)?.unwrap_or_default();
        self.set_model(&mut recipe.model)?;
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.training.epochs, self.epochs);
        set(&mut recipe.training.batch_size, self.batch_size);
        set(&mut recipe.training.learning_rate, self.learning_rate);
        set(&mut recipe.data.test_person, self.test_person);
        set(&mut recipe.data.protocol, self.protocol.map(ProtocolName::protocol));
        if self.clips_per_person.is_some() {
            recipe.data.clips_per_person = self.clips_per_person;
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe of the file, or the defaults of the kind of input, with what the flags override.
    pub(crate) fn video_recipe(&self) -> anyhow::Result<VideoRecipe> {
        self.refuse(&self.action_flags())?;
        self.refuse(&[("steps", self.steps.is_some()), ("preset", self.preset.is_some())])?;
        let mut recipe = self.videos.recipe(self.config.as_ref(), self.data.as_ref())?;
        self.set_model(&mut recipe.model)?;
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.training.epochs, self.epochs);
        set(&mut recipe.training.batch_size, self.batch_size);
        set(&mut recipe.training.learning_rate, self.learning_rate);
        recipe.validate()?;
        Ok(recipe)
    }

    fn set_model(&self, config: &mut ModelConfig) -> anyhow::Result<()> {
        if let Some(model) = self.model {
            config.temporal = model.temporal();
        }
        if let Some(reducer) = self.reducer {
            let TemporalConfig::Pooling(pooling) = &mut config.temporal else {
                anyhow::bail!("--reducer needs a pooling model, such as --model conv-pooling");
            };
            pooling.reducer = reducer;
        }
        Ok(())
    }
}
