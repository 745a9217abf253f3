//! The recipe of a task.

use serde::{Deserialize, Serialize};

use super::{SmallDigits, TaskModel, TaskName, TaskPart};
use crate::model::{ConvolutionConfig, EncoderConfig, ModelConfig};
use crate::recipe::{RecipeError, RecipeKind, override_defaults, require};
use crate::training::TrainingConfig;

/// The largest number of pixels of all training clips of one length, which are in memory together.
const MAX_PIXELS: usize = 1 << 30;

/// Everything that decides what a task trains, on what, and how it is tested. Every field has a default, which depends on
/// the task; a file needs to name only what differs.
///
/// ```
/// use pipeline::tasks::{TaskName, TaskRecipe};
///
/// let recipe = TaskRecipe::from_toml(TaskName::Reading, "seeds = 1\n[training]\nepochs = 3")?;
/// assert_eq!((recipe.seeds, recipe.training.epochs), (1, 3));
/// assert_eq!(recipe.data, TaskRecipe::new(TaskName::Reading).data);
/// assert_eq!(TaskRecipe::from_toml(TaskName::Reading, &recipe.to_toml())?, recipe);
/// # Ok::<(), pipeline::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecipe {
    /// The kind of recipe: `task`.
    pub recipe: RecipeKind,
    /// The task.
    pub task: TaskName,
    /// The first seed; below 2⁶². Default: 1.
    pub seed: u64,
    /// The number of seeds, one after the other from the first on. Every figure is a mean over them. Default: 3.
    pub seeds: usize,
    /// The digits that the models are tested on. Default: `test`; `validation` for the choice of other values.
    pub test_on: TaskPart,
    /// The models. Default: all of the task.
    pub models: Vec<TaskModel>,
    /// The number of test clips that are drawn with what a model attends to, for each model that does. Default: 2.
    pub pictures: usize,
    /// The clips.
    pub data: TaskClipConfig,
    /// The sizes of the models.
    pub model: TaskModelConfig,
    /// The optimiser and its schedule. An epoch goes through the training clips once.
    pub training: TrainingConfig,
}

/// The clips of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskClipConfig {
    /// The height and the width of a frame in pixels; a digit has 12.
    pub canvas: usize,
    /// The numbers of frames of a clip that are compared: every model is trained and tested for each of them.
    pub frames: Vec<usize>,
    /// The number of frames that show a digit: for `reducers` and `when` of the whole clip, for `reading` of each digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<usize>,
    /// The number of frames from one digit to the next, for `reading`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_per_digit: Option<usize>,
    /// How far the digit moves from frame to frame in pixels, for `order` and `where`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The number of pieces of digits that lie about in every frame.
    pub clutter: usize,
    /// The brightness of the brightest noise, from 0 to 1.
    pub noise: f64,
    /// The number of training clips of each length.
    pub training_clips: usize,
    /// The number of test clips of each length.
    pub test_clips: usize,
}

/// The sizes of the models of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskModelConfig {
    /// The convolutions that every frame goes through.
    pub encoder: EncoderConfig,
    /// The number of features of a frame.
    pub features: usize,
    /// The number of units of recurrent layers, per direction, and of decoders; that of channels for `convlstm`.
    pub hidden: usize,
    /// The number of single frames from which the encoder learns to tell the digits, before the models learn from clips.
    pub encoder_frames: usize,
    /// How often it sees each of them.
    pub encoder_epochs: usize,
}

impl TaskRecipe {
    /// The recipe of `task` with the defaults.
    pub fn new(task: TaskName) -> Self {
        let data = TaskClipConfig::new(task);
        let convolution = |channels| ConvolutionConfig { channels, kernel: 4, stride: 2, padding: 1 };
        let mut convolutions = vec![convolution(12), convolution(24)];
        if task == TaskName::Where {
            // A place of the maps sees 18 pixels, so that it can tell a digit of 12.
            convolutions.push(ConvolutionConfig { channels: 32, kernel: 3, stride: 1, padding: 1 });
        }
        let encoder = EncoderConfig { convolutions, dropout: 0.0 };
        let hidden = if task == TaskName::Order { 24 } else { 48 };
        let model = TaskModelConfig { encoder, features: 32, hidden, encoder_frames: 10_000, encoder_epochs: 4 };
        let training = TrainingConfig {
            epochs: if matches!(task, TaskName::Order | TaskName::Reading) { 6 } else { 8 },
            batch_size: if task == TaskName::Reading { 32 } else { 16 },
            learning_rate: 5e-3,
            weight_decay: 0.0,
            label_smoothing: 0.0,
            ..TrainingConfig::default()
        };
        Self {
            recipe: RecipeKind::Task,
            task,
            seed: 1,
            seeds: 3,
            test_on: TaskPart::Test,
            models: task.models().to_vec(),
            pictures: 2,
            data,
            model,
            training,
        }
    }

    /// Reads the recipe of `task`; what it does not name keeps its default. Values are checked by [`Self::validate`], not
    /// here.
    ///
    /// # Errors
    /// [`RecipeError::Syntax`] if the text is no TOML, names an unknown field or gives a field another type;
    /// [`RecipeError::Value`] if it names another task.
    pub fn from_toml(task: TaskName, text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = override_defaults(&Self::new(task).to_toml(), text)?;
        require(recipe.task == task, "task", "the task that is run", recipe.task.name())?;
        Ok(recipe)
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
        require(self.recipe == RecipeKind::Task, "recipe", "`task`", self.recipe.name())?;
        require(self.seed < 1 << 62, "seed", "below 2^62", self.seed)?;
        require((1..=1000).contains(&self.seeds), "seeds", "from 1 to 1000", self.seeds)?;
        require(!self.models.is_empty(), "the number of models", "at least 1", 0)?;
        for (position, model) in self.models.iter().enumerate() {
            require(self.task.models().contains(model), "models", of_task(self.task), model.name())?;
            let first = !self.models[..position].contains(model);
            require(first, "models", "a list without repetitions", model.name())?;
        }
        require(self.pictures <= 100, "pictures", "at most 100", self.pictures)?;
        self.data.validate(self.task)?;
        let TaskModelConfig { encoder, features, hidden, encoder_frames, encoder_epochs } = &self.model;
        require((1..=4096).contains(features), "model.features", "from 1 to 4096", features)?;
        require((1..=4096).contains(hidden), "model.hidden", "from 1 to 4096", hidden)?;
        require((1..=1_000_000).contains(encoder_frames), "model.encoder_frames", "from 1 to 1000000", encoder_frames)?;
        require((1..=1000).contains(encoder_epochs), "model.encoder_epochs", "from 1 to 1000", encoder_epochs)?;
        ModelConfig { encoder: encoder.clone(), ..ModelConfig::default() }.validate()?;
        self.training.validate()
    }
}

/// The requirement that a model is one that the task compares.
fn of_task(task: TaskName) -> &'static str {
    match task {
        TaskName::Reducers => "max, top-k, softmax, mean or sum for `reducers`",
        TaskName::Order => "max, mean, lstm or convlstm for `order`",
        TaskName::Where => "average, location-attention or spatial-attention for `where`",
        TaskName::When => "mean, lstm, temporal-attention or attention-pooling for `when`",
        TaskName::Reading => "without-attention, luong or bahdanau for `reading`",
    }
}

/// Checks that a value is given where it is needed and nowhere else.
fn has(option: &'static str, value: Option<usize>, needed: bool) -> Result<(), RecipeError> {
    match value {
        Some(value) => require(needed, option, "left out for this task", value),
        None => require(!needed, option, "given for this task", "none"),
    }
}

impl TaskClipConfig {
    /// The clips of `task` by default.
    pub fn new(task: TaskName) -> Self {
        let base = Self {
            canvas: 16,
            frames: vec![8, 16, 32, 64],
            shown: None,
            frames_per_digit: None,
            step: None,
            clutter: 2,
            noise: 0.2,
            training_clips: match task {
                TaskName::Reading => 3000,
                TaskName::Where => 2000,
                TaskName::Reducers | TaskName::Order | TaskName::When => 1000,
            },
            test_clips: 500,
        };
        match task {
            TaskName::Reducers => Self { shown: Some(2), ..base },
            TaskName::Order => Self { canvas: 28, frames: vec![8, 16], step: Some(1), clutter: 0, ..base },
            TaskName::Where => Self { canvas: 32, frames: vec![8], step: Some(3), clutter: 6, ..base },
            TaskName::When => Self { shown: Some(1), ..base },
            TaskName::Reading => {
                Self { frames: vec![12, 24, 36], frames_per_digit: Some(6), shown: Some(2), clutter: 1, ..base }
            }
        }
    }

    /// The value of [`Self::shown`] once it is checked.
    pub(super) fn shown(&self) -> usize {
        self.shown.unwrap_or(1)
    }

    /// The value of [`Self::frames_per_digit`] once it is checked.
    pub(super) fn frames_per_digit(&self) -> usize {
        self.frames_per_digit.unwrap_or(2)
    }

    /// The value of [`Self::step`] once it is checked.
    pub(super) fn step(&self) -> usize {
        self.step.unwrap_or(0)
    }

    pub(super) fn validate(&self, task: TaskName) -> Result<(), RecipeError> {
        let Self { canvas, frames, clutter, noise, training_clips, test_clips, .. } = self;
        require((16..=128).contains(canvas), "data.canvas", "from 16 to 128 pixels", canvas)?;
        require((1..=16).contains(&frames.len()), "the number of data.frames", "from 1 to 16", frames.len())?;
        for (position, length) in frames.iter().enumerate() {
            require((2..=1000).contains(length), "data.frames", "from 2 to 1000", length)?;
            require(!frames[..position].contains(length), "data.frames", "a list without repetitions", length)?;
        }
        require(*clutter <= 1000, "data.clutter", "at most 1000", clutter)?;
        require((0.0..=1.0).contains(noise), "data.noise", "a number from 0 to 1", noise)?;
        require((1..=1_000_000).contains(training_clips), "data.training_clips", "from 1 to 1000000", training_clips)?;
        require((1..=1_000_000).contains(test_clips), "data.test_clips", "from 1 to 1000000", test_clips)?;
        let longest = frames.iter().copied().max().unwrap_or(0);
        let pixels = longest * canvas * canvas * training_clips.max(test_clips);
        require(pixels <= MAX_PIXELS, "the number of pixels of all clips of a length", "at most 2^30", pixels)?;
        self.validate_for(task)
    }

    /// Checks the values that some tasks have and others have not.
    fn validate_for(&self, task: TaskName) -> Result<(), RecipeError> {
        let (shown, slot, step) = ("data.shown", "data.frames_per_digit", "data.step");
        let moves = matches!(task, TaskName::Order | TaskName::Where);
        has(shown, self.shown, !moves)?;
        has(slot, self.frames_per_digit, task == TaskName::Reading)?;
        has(step, self.step, moves)?;
        let (longest, shortest) = (self.frames.iter().max(), self.frames.iter().min());
        let (longest, shortest) = (longest.copied().unwrap_or(0), shortest.copied().unwrap_or(0));
        match task {
            TaskName::Reducers | TaskName::When => {
                let fits = (1..=shortest).contains(&self.shown());
                require(fits, shown, "from 1 to the number of frames", self.shown())
            }
            TaskName::Order => {
                let freedom = self.canvas - SmallDigits::SIZE;
                let fits = self.step().checked_mul(longest - 1).is_some_and(|length| length <= freedom);
                require(fits, step, "so small that the digit stays on the canvas", self.step())
            }
            TaskName::Where => {
                let fits = self.step() <= self.canvas - SmallDigits::SIZE;
                require(fits, step, "so small that the digit stays on the canvas", self.step())
            }
            TaskName::Reading => {
                let (per_digit, shown_frames) = (self.frames_per_digit(), self.shown());
                require((2..=1000).contains(&per_digit), slot, "from 2 to 1000", per_digit)?;
                let fits = (1..per_digit).contains(&shown_frames);
                require(fits, shown, "at least 1 and below data.frames_per_digit", shown_frames)?;
                let wrong = self.frames.iter().find(|frames| !frames.is_multiple_of(per_digit));
                let wrong = wrong.copied();
                require(wrong.is_none(), "data.frames", "multiples of data.frames_per_digit", wrong.unwrap_or(0))
            }
        }
    }
}
