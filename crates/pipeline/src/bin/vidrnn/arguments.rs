//! The command line.

mod train;
mod videos;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use pipeline::comparison::ComparisonRecipe;
use pipeline::data::Protocol;
use pipeline::model::{ModelName, PoolingReducer};
use pipeline::recipe::RecipeError;
use pipeline::run::RunDirectory;
use pipeline::tasks::{TaskName, TaskPart, TaskRecipe};

pub(crate) use train::{RecipeName, TrainArguments};
pub(crate) use videos::{
    CollectionArguments, DataArguments, DataCommand, InfoArguments, PredictArguments, ResumeArguments, StreamArguments,
};

/// Train and evaluate recurrent video models on the CPU.
#[derive(Debug, Parser)]
#[command(name = "vidrnn", version, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model and test it; everything is kept in a new run directory.
    Train(TrainArguments),
    /// Train several models of action recognition under the same conditions and print one table.
    Compare(CompareArguments),
    /// Compute the figures of a run anew from its files.
    Evaluate(EvaluateArguments),
    /// Make the page about a run anew from its files.
    Report(ReportArguments),
    /// Go on with training that was stopped, as if it had never been.
    Resume(ResumeArguments),
    /// Say what a trained model sees in videos: one line of JSON per video.
    Predict(PredictArguments),
    /// Say what a trained model sees while a video runs: one line of JSON per frame.
    Stream(StreamArguments),
    /// Decode the videos of a folder and keep the frames or features that training reads.
    Features(CollectionArguments),
    /// Look at the videos of a folder.
    Data(DataArguments),
    /// Say what a trained model is and what it costs.
    Info(InfoArguments),
    /// Train and compare the models of a small task that isolates one claim; the table is kept in a new run directory.
    Task(TaskArguments),
}

/// A small task on handwritten digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskChoice {
    /// Maximum or average? A digit stands in few of many frames.
    Reducers,
    /// What needs the order of the frames? A digit moves.
    Order,
    /// Does spatial attention find a digit among clutter?
    Where,
    /// Does temporal attention find the frame with the digit?
    When,
    /// Does attention read longer sequences of digits?
    Reading,
}

/// Whom to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolName {
    /// Train one model and test it on one person.
    Single,
    /// Train one model per person, each tested on that person.
    LeaveOnePersonOut,
}

impl ProtocolName {
    fn protocol(self) -> Protocol {
        match self {
            Self::Single => Protocol::Single,
            Self::LeaveOnePersonOut => Protocol::LeaveOnePersonOut,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// The models, separated by commas. Default: all.
    #[arg(long, value_name = "MODELS", value_delimiter = ',', value_parser = model_name())]
    models: Vec<ModelName>,
    /// The seeds that every model is trained with, separated by commas.
    #[arg(long, value_name = "SEEDS", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// A TOML file with the options that differ from the defaults; the flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How pooling models make one of several steps.
    #[arg(long, value_parser = reducer())]
    reducer: Option<PoolingReducer>,
    /// How often every training clip takes part.
    #[arg(long)]
    epochs: Option<usize>,
    /// Whom to test on.
    #[arg(long, value_enum)]
    protocol: Option<ProtocolName>,
    /// Use only so many clips of each person, for a quick trial.
    #[arg(long, value_name = "N")]
    clips_per_person: Option<usize>,
    /// How many of the latest frames a step shows; with more than one it shows what moves.
    #[arg(long, value_name = "N")]
    stacked_frames: Option<usize>,
    #[command(flatten)]
    pub(crate) run: NewRunArguments,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

impl CompareArguments {
    /// The recipe of the file, or the defaults, with what the flags override.
    pub(crate) fn recipe(&self) -> anyhow::Result<ComparisonRecipe> {
        let mut recipe = configured(self.config.as_ref(), ComparisonRecipe::from_toml)?.unwrap_or_default();
        if !self.models.is_empty() {
            recipe.models.clone_from(&self.models);
        }
        if !self.seeds.is_empty() {
            recipe.seeds.clone_from(&self.seeds);
        }
        set(&mut recipe.reducer, self.reducer);
        set(&mut recipe.actions.training.epochs, self.epochs);
        set(&mut recipe.actions.data.protocol, self.protocol.map(ProtocolName::protocol));
        set(&mut recipe.actions.preprocessing.stacked_frames, self.stacked_frames);
        if self.clips_per_person.is_some() {
            recipe.actions.data.clips_per_person = self.clips_per_person;
        }
        recipe.validate()?;
        Ok(recipe)
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// The run directory.
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The run directory.
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct TaskArguments {
    /// The task.
    #[arg(value_enum)]
    task: TaskChoice,
    /// A TOML file with the options that differ from the defaults of the task; the flags below override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The first seed.
    #[arg(long)]
    seed: Option<u64>,
    /// The number of seeds; every figure is a mean over them.
    #[arg(long, value_name = "N")]
    seeds: Option<usize>,
    /// How often every training clip takes part.
    #[arg(long)]
    epochs: Option<usize>,
    /// The largest learning rate.
    #[arg(long)]
    learning_rate: Option<f64>,
    /// The numbers of frames of a clip that are compared, such as 8,16,32.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    frames: Option<Vec<usize>>,
    /// Test on digits that neither train nor test, to choose options with.
    #[arg(long)]
    validate: bool,
    #[command(flatten)]
    pub(crate) run: NewRunArguments,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

impl TaskArguments {
    /// The recipe of the file, or the defaults, with what the flags override.
    pub(crate) fn recipe(&self) -> anyhow::Result<TaskRecipe> {
        let task = match self.task {
            TaskChoice::Reducers => TaskName::Reducers,
            TaskChoice::Order => TaskName::Order,
            TaskChoice::Where => TaskName::Where,
            TaskChoice::When => TaskName::When,
            TaskChoice::Reading => TaskName::Reading,
        };
        let configured = configured(self.config.as_ref(), |text| TaskRecipe::from_toml(task, text))?;
        let mut recipe = configured.unwrap_or_else(|| TaskRecipe::new(task));
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.seeds, self.seeds);
        set(&mut recipe.training.epochs, self.epochs);
        set(&mut recipe.training.learning_rate, self.learning_rate);
        set(&mut recipe.data.frames, self.frames.clone());
        if self.validate {
            recipe.test_on = TaskPart::Validation;
        }
        recipe.validate()?;
        Ok(recipe)
    }
}

/// Where a new run is kept.
#[derive(Debug, Args)]
pub(crate) struct NewRunArguments {
    /// Where run directories are made.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    run_dir: PathBuf,
    /// The name of the run directory; it must not exist. Default: the kind of run and a number.
    #[arg(long)]
    name: Option<String>,
}

impl NewRunArguments {
    /// The new run directory, of the name asked for or `kind` and a number.
    pub(crate) fn create(&self, kind: &str) -> anyhow::Result<RunDirectory> {
        Ok(match &self.name {
            Some(name) => RunDirectory::create(&self.run_dir, name)?,
            None => RunDirectory::create_numbered(&self.run_dir, kind)?,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct CommonArguments {
    /// The number of threads; the results do not depend on it. Default: one per core.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Print the final figures only.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Takes the name of a model.
pub(crate) fn model_name() -> impl TypedValueParser<Value = ModelName> {
    let values = ModelName::ALL.map(|model| PossibleValue::new(model.name()).help(model.description()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<ModelName>())
}

/// Takes the name of a reducer.
fn reducer() -> impl TypedValueParser<Value = PoolingReducer> {
    PossibleValuesParser::new(PoolingReducer::ALL.map(PoolingReducer::name))
        .try_map(|name| name.parse::<PoolingReducer>())
}

impl CommonArguments {
    /// Runs `work` with the number of threads asked for.
    pub(crate) fn with_threads<R: Send>(&self, work: impl FnOnce() -> R + Send) -> anyhow::Result<R> {
        let Some(threads) = self.threads else { return Ok(work()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build();
        Ok(pool.with_context(|| format!("cannot start {threads} threads"))?.install(work))
    }
}

/// The recipe in the file, if one is given.
fn configured<R>(
    path: Option<&PathBuf>,
    parse: impl FnOnce(&str) -> Result<R, RecipeError>,
) -> anyhow::Result<Option<R>> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(Some(parse(&text).with_context(|| path.display().to_string())?))
}

fn set<V>(field: &mut V, flag: Option<V>) {
    if let Some(value) = flag {
        *field = value;
    }
}
