//! Action recognition, from recipe to run directory and back.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::recipe::ActionRecipe;
//! use pipeline::run::RunDirectory;
//! use pipeline::{actions, report};
//!
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "actions")?;
//! let results = actions::train(&ActionRecipe::default(), &directory, &mut |_| {})?;
//! print!("{}", report::summary(&results));
//! assert_eq!(actions::evaluate(&directory, &mut |_| {})?, results);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod finished;

use thiserror::Error;

use crate::data::{DataError, FirActions, Protocol, SplitConfig, split};
use crate::model::ModelError;
use crate::recipe::ActionRecipe;
use crate::run::{EpochRecord, FoldResults, RunDirectory, RunError, RunResults, WeightsError, save_model};
use crate::training::{TrainingError, TrainingEvent, train_fold};

pub use finished::FinishedFold;

/// Why a run could not be trained or evaluated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ActionsError {
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model cannot be trained.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A file of the run cannot be written or read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A model cannot be saved or loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A model does not take the clips.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The files of a run do not belong together.
    #[error("{}: {problem}", path.display())]
    Inconsistent {
        /// The run directory.
        path: std::path::PathBuf,
        /// What does not fit.
        problem: &'static str,
    },
}

/// Trains the models of `recipe`, one per person tested on, and keeps them with their figures in `directory`.
///
/// # Errors
/// [`ActionsError`] if the recipe cannot be used or a file cannot be written.
pub fn train(
    recipe: &ActionRecipe,
    directory: &RunDirectory,
    observer: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<RunResults, ActionsError> {
    recipe.validate().map_err(TrainingError::from)?;
    let actions = FirActions::bundled()?;
    directory.write_recipe(recipe)?;
    let results = match recipe.data.protocol {
        Protocol::Single => vec![train_person(&actions, recipe, directory, observer)?],
        Protocol::LeaveOnePersonOut => {
            let train_one = |person| {
                let recipe = recipe_for(recipe, person);
                let directory = RunDirectory::create(directory.path(), &RunDirectory::fold_name(person))?;
                directory.write_recipe(&recipe)?;
                let results = train_person(&actions, &recipe, &directory, observer)?;
                directory.write_results(&run_results(vec![results.clone()]))?;
                Ok(results)
            };
            recipe.data.test_people().into_iter().map(train_one).collect::<Result<_, ActionsError>>()?
        }
    };
    let results = run_results(results);
    directory.write_results(&results)?;
    Ok(results)
}

/// Computes the figures of a run anew from its configuration and weights; `observer` hears of each fold.
///
/// How long training took cannot be computed and is taken from the recorded figures.
///
/// # Errors
/// [`ActionsError`] if a file is missing or damaged, or the files do not belong together. Nothing is written.
pub fn evaluate(directory: &RunDirectory, observer: &mut dyn FnMut(&FoldResults)) -> Result<RunResults, ActionsError> {
    let (recipe, actions) = (directory.read_recipe()?, FirActions::bundled()?);
    let mut folds = Vec::new();
    visit_folds(directory, &recipe, &actions, &mut |fold| {
        folds.push(fold.evaluate(&actions, recipe.evaluation.symmetries())?);
        if recipe.data.protocol == Protocol::LeaveOnePersonOut {
            observer(&folds[folds.len() - 1]);
        }
        Ok::<(), ActionsError>(())
    })?;
    Ok(run_results(folds))
}

/// Hands each model of the run in `directory` to `visit`, one after another, so that no two are in memory.
///
/// # Errors
/// [`ActionsError`] if a file is missing or damaged, or the files do not belong together; or the first error of `visit`.
pub fn visit_folds<E: From<ActionsError>>(
    directory: &RunDirectory,
    recipe: &ActionRecipe,
    actions: &FirActions,
    visit: &mut dyn FnMut(FinishedFold) -> Result<(), E>,
) -> Result<(), E> {
    match recipe.data.protocol {
        Protocol::Single => visit(FinishedFold::open(directory.clone(), recipe, actions)?),
        Protocol::LeaveOnePersonOut => {
            for person in recipe.data.test_people() {
                let path = directory.path().join(RunDirectory::fold_name(person));
                let directory = RunDirectory::open(&path).map_err(ActionsError::from)?;
                visit(FinishedFold::open(directory, &recipe_for(recipe, person), actions)?)?;
            }
            Ok(())
        }
    }
}

/// The recipe of the fold tested on `person`, a run by itself.
fn recipe_for(recipe: &ActionRecipe, person: usize) -> ActionRecipe {
    let data = SplitConfig { protocol: Protocol::Single, test_person: person, ..recipe.data.clone() };
    ActionRecipe { data, ..recipe.clone() }
}

fn run_results(folds: Vec<FoldResults>) -> RunResults {
    RunResults::new(FirActions::LABELS.map(str::to_owned).to_vec(), folds)
}

fn train_person(
    actions: &FirActions,
    recipe: &ActionRecipe,
    directory: &RunDirectory,
    observer: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<FoldResults, ActionsError> {
    let fold = split(actions.clips(), recipe.data.test_person, &recipe.data, recipe.seed);
    let mut epochs: Vec<EpochRecord> = Vec::new();
    let trained = train_fold(actions, &fold, recipe, &mut |event| {
        if let TrainingEvent::EpochDone(record) = &event {
            epochs.push((*record).clone());
            directory.write_metrics(&epochs)?;
        }
        observer(event);
        Ok(())
    })?;
    save_model(&directory.model_path(), &trained.description, &trained.model)?;
    Ok(trained.results)
}
