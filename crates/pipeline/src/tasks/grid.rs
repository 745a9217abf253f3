//! The run of a task: all models, for all lengths of clips and all seeds.

use std::path::PathBuf;
use std::time::Instant;

use ndarray_rand::rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::TaskResults;
use super::classify;
use super::encoder::TaskEncoder;
use super::reading;
use super::results::Outcome;
use super::{ClipMaker, SmallDigits, TaskClip, TaskError, TaskModel, TaskName, TaskPart, TaskRecipe, TaskRecord};
use crate::random::{Purpose, generator};
use crate::run::RunDirectory;
use crate::training::part_of;

/// How far a task has come.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TaskEvent<'a> {
    /// The clips of a seed are made, and what all models share is trained.
    Preparing {
        /// The seed.
        seed: u64,
    },
    /// A model is through all training clips once more.
    EpochDone {
        /// What the epoch gave.
        record: &'a TaskRecord,
        /// The number of epochs of all models, lengths and seeds.
        all_epochs: usize,
    },
}

/// What the training of one model needs.
pub(super) struct Cell<'a> {
    pub(super) recipe: &'a TaskRecipe,
    pub(super) seed: u64,
    pub(super) frames: usize,
    pub(super) model: TaskModel,
    pub(super) training: &'a [TaskClip],
    pub(super) test: &'a [TaskClip],
    /// Where pictures are drawn, if they are.
    pub(super) pictures: Option<PathBuf>,
    pub(super) observer: &'a (dyn Fn(TaskEvent<'_>) + Sync),
}

impl Cell<'_> {
    /// The number of steps of an epoch.
    pub(super) fn steps(&self) -> usize {
        self.training.len().div_ceil(self.recipe.training.batch_size)
    }

    /// The generator of the initial weights.
    pub(super) fn weights_generator(&self) -> ChaCha8Rng {
        generator(self.seed, Purpose::Weights, 1, self.frames << 8 | self.model as usize)
    }

    /// Goes through the training clips once more: `step` gets the positions of a batch and what draws its dropout, and
    /// returns the mean loss of the batch. Reports the epoch and keeps its figures.
    pub(super) fn train_epoch(
        &self,
        records: &mut Vec<TaskRecord>,
        mut step: impl FnMut(&[usize], &mut ChaCha8Rng) -> Result<f64, TaskError>,
    ) -> Result<(), TaskError> {
        let (epoch, recipe, start) = (records.len() + 1, self.recipe, Instant::now());
        let (clips, steps) = (self.training.len(), self.steps());
        let mut order: Vec<usize> = (0..clips).collect();
        order.shuffle(&mut generator(self.seed, Purpose::Order, epoch, self.frames));
        let mut sum = 0.0;
        for position in 0..steps {
            let batch = &order[part_of(clips, steps, position)];
            sum += step(batch, &mut generator(self.seed, Purpose::Dropout, epoch, position))? * batch.len() as f64;
        }
        let (loss, seconds) = (sum / clips as f64, start.elapsed().as_secs_f64());
        let record = TaskRecord { seed: self.seed, frames: self.frames, model: self.model, epoch, loss, seconds };
        let all_epochs = recipe.seeds * recipe.data.frames.len() * recipe.models.len() * recipe.training.epochs;
        (self.observer)(TaskEvent::EpochDone { record: &record, all_epochs });
        records.push(record);
        Ok(())
    }
}

/// The clips of one length.
struct ClipSet {
    training: Vec<TaskClip>,
    test: Vec<TaskClip>,
}

/// Trains and tests all models of `recipe` and keeps the figures in `directory`: `config.toml`, `metrics.jsonl`,
/// `results.json` and, where a model attends, `pictures` of the first seed. `observer` is called by several threads.
///
/// # Errors
/// [`TaskError`] if the recipe cannot be used, a gradient is not finite, or a file cannot be written.
pub fn run(
    recipe: &TaskRecipe,
    directory: &RunDirectory,
    observer: &(dyn Fn(TaskEvent<'_>) + Sync),
) -> Result<TaskResults, TaskError> {
    recipe.validate()?;
    let (training, test) = (SmallDigits::bundled(TaskPart::Training)?, SmallDigits::bundled(recipe.test_on)?);
    directory.write_config(&recipe.to_toml())?;
    let pictures = if recipe.pictures > 0 && recipe.models.iter().any(|model| model.attends()) {
        Some(directory.subdirectory("pictures")?)
    } else {
        None
    };
    let seeds: Vec<u64> = (0..recipe.seeds as u64).map(|position| recipe.seed + position).collect();
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    for &seed in &seeds {
        observer(TaskEvent::Preparing { seed });
        let maker = |digits| ClipMaker::new(recipe.task, &recipe.data, digits, seed);
        let (training, test) = (maker(&training)?, maker(&test)?);
        let make = |&frames: &usize| ClipSet {
            training: training.clips(frames, recipe.data.training_clips),
            test: test.clips(frames, recipe.data.test_clips),
        };
        let sets: Vec<ClipSet> = recipe.data.frames.iter().map(make).collect();
        let encoder = TaskEncoder::fit(recipe, seed, &training)?;
        let cells: Vec<Cell<'_>> = (recipe.data.frames.iter().zip(&sets))
            .flat_map(|(&frames, set)| recipe.models.iter().map(move |&model| (frames, set, model)))
            .map(|(frames, set, model)| Cell {
                recipe,
                seed,
                frames,
                model,
                training: &set.training,
                test: &set.test,
                pictures: pictures.clone().filter(|_| seed == seeds[0]),
                observer,
            })
            .collect();
        let train = |cell: &Cell<'_>| match recipe.task {
            TaskName::Reading => reading::train(cell, &encoder),
            _ => classify::train(cell, &encoder),
        };
        let of_seed = cells.par_iter().with_max_len(1).map(train).collect::<Result<Vec<_>, _>>()?;
        outcomes.push(of_seed);
        let records: Vec<&TaskRecord> = outcomes.iter().flatten().flat_map(|outcome| &outcome.records).collect();
        directory.write_metrics(&records)?;
    }
    let results = TaskResults::new(recipe, &seeds, &outcomes);
    directory.write_results(&results)?;
    Ok(results)
}
