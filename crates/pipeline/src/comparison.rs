//! Several models of action recognition under the same conditions.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::comparison::{self, ComparisonRecipe};
//! use pipeline::model::ModelName;
//! use pipeline::run::RunDirectory;
//!
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "comparison")?;
//! let recipe = ComparisonRecipe { models: vec![ModelName::ConvPooling, ModelName::Lstm], ..Default::default() };
//! let results = comparison::train(&recipe, &directory, &mut |_| {})?;
//! print!("{}", comparison::summary(&results));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Instant;

use crate::actions::{self, ActionsError};
use crate::data::{Batch, FirActions, NormalizedClips, Symmetry};
use crate::recipe::ActionRecipe;
use crate::run::{FoldResults, RunDirectory, RunResults};
use crate::training::TrainingEvent;

mod recipe;
mod results;
mod table;

pub use recipe::ComparisonRecipe;
pub use results::{ComparedRun, ComparisonResults, ModelFigures};
pub use table::summary;

/// Clips whose time is taken one by one, at most.
const TIMED_CLIPS: usize = 50;

/// What happens during a comparison.
#[derive(Debug)]
#[non_exhaustive]
pub enum ComparisonEvent<'a> {
    /// The training of one model with one seed begins; its run directory has this name.
    RunStarted(&'a str),
    /// Something happened in it.
    Training(TrainingEvent<'a>),
    /// It is done.
    RunDone(&'a ComparedRun),
}

/// Trains every model of `recipe` with every seed, each in a run directory of its own inside `directory`.
///
/// # Errors
/// [`ActionsError`] if the recipe cannot be used or a file cannot be written; the runs that were done before stay.
pub fn train(
    recipe: &ComparisonRecipe,
    directory: &RunDirectory,
    observer: &mut dyn FnMut(ComparisonEvent<'_>),
) -> Result<ComparisonResults, ActionsError> {
    recipe.validate().map_err(crate::training::TrainingError::from)?;
    directory.write_config(&recipe.to_toml())?;
    let data = FirActions::bundled()?;
    let mut runs = Vec::new();
    for (model, seed) in recipe.runs() {
        let name = ComparisonRecipe::run_name(model, seed);
        observer(ComparisonEvent::RunStarted(&name));
        let run = RunDirectory::create(directory.path(), &name)?;
        let actions = recipe.recipe_of(model, seed);
        let results = actions::train(&actions, &run, &mut |event| observer(ComparisonEvent::Training(event)))?;
        let clip_milliseconds = clip_milliseconds(&data, &actions, &run)?;
        let epoch_seconds = epoch_seconds(&results, actions.training.epochs);
        runs.push(ComparedRun { model, seed, epoch_seconds, clip_milliseconds, results });
        directory.write_metrics(&runs)?;
        observer(ComparisonEvent::RunDone(&runs[runs.len() - 1]));
    }
    let results = ComparisonResults::new(runs);
    directory.write_results(&results)?;
    Ok(results)
}

/// Computes the accuracies of a comparison anew from the weights of its runs; `observer` hears of each fold.
///
/// Times cannot be computed and are taken from the recorded figures.
///
/// # Errors
/// [`ActionsError`] if a file is missing or damaged, or the files do not belong together. Nothing is written.
pub fn evaluate(
    directory: &RunDirectory,
    observer: &mut dyn FnMut(&FoldResults),
) -> Result<ComparisonResults, ActionsError> {
    let recorded: ComparisonResults = directory.read_results()?;
    let again = |run: ComparedRun| {
        let path = directory.path().join(ComparisonRecipe::run_name(run.model, run.seed));
        let results = actions::evaluate(&RunDirectory::open(&path)?, observer)?;
        Ok(ComparedRun { results, ..run })
    };
    let runs = recorded.models.into_iter().flat_map(|model| model.runs).map(again);
    Ok(ComparisonResults::new(runs.collect::<Result<_, ActionsError>>()?))
}

fn epoch_seconds(results: &RunResults, epochs: usize) -> f64 {
    let seconds: f64 = results.folds.iter().map(|fold| fold.training_seconds).sum();
    seconds / (results.folds.len() * epochs) as f64
}

/// The median time that a model of the run takes for one clip, from its normalised frames to the scores.
fn clip_milliseconds(data: &FirActions, recipe: &ActionRecipe, run: &RunDirectory) -> Result<f64, ActionsError> {
    let clips = NormalizedClips::new(data, &recipe.preprocessing);
    let mut times = Vec::new();
    actions::visit_folds(run, recipe, data, &mut |fold| {
        for &clip in fold.clips.test.iter().take(TIMED_CLIPS.saturating_sub(times.len())) {
            let batch = Batch::recorded(&clips, &[clip], Symmetry::IDENTITY);
            let start = Instant::now();
            fold.model.forward(batch.frames.view(), &batch.lengths)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok::<(), ActionsError>(())
    })?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied().unwrap_or(0.0))
}
