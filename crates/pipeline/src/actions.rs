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

use thiserror::Error;

use crate::data::{DataError, FirActions, NormalizedClips, Protocol, SplitConfig, split};
use crate::model::ModelError;
use crate::recipe::ActionRecipe;
use crate::run::{
    EpochRecord, FoldResults, ModelDescription, RunDirectory, RunError, RunResults, WeightsError, load_model,
    save_model,
};
use crate::training::{self, TrainingError, TrainingEvent, train_fold};

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
    let recipe = directory.read_recipe()?;
    let actions = FirActions::bundled()?;
    let folds = match recipe.data.protocol {
        Protocol::Single => vec![evaluate_person(&actions, &recipe, directory)?],
        Protocol::LeaveOnePersonOut => {
            let mut folds = Vec::new();
            for person in recipe.data.test_people() {
                let fold = RunDirectory::open(&directory.path().join(RunDirectory::fold_name(person)))?;
                folds.push(evaluate_person(&actions, &recipe_for(&recipe, person), &fold)?);
                observer(&folds[folds.len() - 1]);
            }
            folds
        }
    };
    Ok(run_results(folds))
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

fn evaluate_person(
    actions: &FirActions,
    recipe: &ActionRecipe,
    directory: &RunDirectory,
) -> Result<FoldResults, ActionsError> {
    let (description, model) = load_model(&directory.existing_model()?)?;
    let recorded: RunResults = directory.read_results()?;
    let inconsistent = |problem| ActionsError::Inconsistent { path: directory.path().to_owned(), problem };
    let ModelDescription { preprocessing, labels, .. } = &description;
    if labels[..] != FirActions::LABELS {
        return Err(inconsistent("the model was trained for other classes than the data set has"));
    }
    let test_person = recipe.data.test_person;
    let recorded = recorded.folds.iter().find(|fold| fold.test_person == test_person);
    let recorded = recorded.ok_or_else(|| inconsistent("results.json is about another person than config.toml"))?;
    let fold = split(actions.clips(), test_person, &recipe.data, recipe.seed);
    let symmetries = recipe.evaluation.symmetries();
    let clips = NormalizedClips::new(actions, preprocessing);
    let evaluate = |positions: &[usize]| training::evaluate(&model, &clips, positions, symmetries);
    Ok(FoldResults {
        test: evaluate(&fold.test)?.ok_or_else(|| inconsistent("config.toml leaves no clips to test on"))?,
        validation: evaluate(&fold.validation)?,
        parameters: tensor_ops::Parameters::parameter_count(&model),
        ..recorded.clone()
    })
}
