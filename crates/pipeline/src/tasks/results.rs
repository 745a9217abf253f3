//! The figures of a task.

use serde::{Deserialize, Serialize};

use super::{TaskModel, TaskName, TaskPart, TaskRecipe};
use crate::metrics::Summary;

/// What one epoch of one model gave: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The seed.
    pub seed: u64,
    /// The number of frames of a clip.
    pub frames: usize,
    /// The model.
    pub model: TaskModel,
    /// The epoch, from 1.
    pub epoch: usize,
    /// The mean loss of the training clips, each at the step that it took part in.
    pub loss: f64,
    /// The time that the epoch took.
    pub seconds: f64,
}

/// A figure of a model, once for every seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskFigure {
    /// What it says.
    pub name: String,
    /// A part of a whole, from 0 to 1, for every seed.
    pub values: Vec<f64>,
    /// Their mean and spread.
    pub summary: Summary,
}

/// The figures of one model for clips of one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// The model.
    pub model: TaskModel,
    /// The number of frames of a clip.
    pub frames: usize,
    /// The number of weights.
    pub parameters: usize,
    /// How long training took, the mean over the seeds.
    pub seconds: f64,
    /// The figures.
    pub figures: Vec<TaskFigure>,
}

/// The final figures of a task: `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResults {
    /// The task.
    pub task: TaskName,
    /// The digits of the test clips.
    pub test_on: TaskPart,
    /// The number of test clips.
    pub test_clips: usize,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// For every length all models, in the order of the recipe.
    pub rows: Vec<TaskRow>,
}

/// What training and testing one model gave.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) parameters: usize,
    pub(super) seconds: f64,
    pub(super) records: Vec<TaskRecord>,
    pub(super) figures: Vec<(String, f64)>,
}

impl TaskResults {
    /// The figures of `outcomes`, one per seed, then per length, then per model of `recipe`.
    pub(super) fn new(recipe: &TaskRecipe, seeds: &[u64], outcomes: &[Vec<Outcome>]) -> Self {
        let cells =
            recipe.data.frames.iter().flat_map(|&frames| recipe.models.iter().map(move |&model| (frames, model)));
        let row = |(cell, (frames, model)): (usize, (usize, TaskModel))| {
            let of_seeds: Vec<&Outcome> = outcomes.iter().map(|outcomes| &outcomes[cell]).collect();
            let figure = |(position, (name, _)): (usize, &(String, f64))| {
                let values: Vec<f64> = of_seeds.iter().map(|outcome| outcome.figures[position].1).collect();
                let summary = Summary::of(&values).expect("a task has at least one seed");
                TaskFigure { name: name.clone(), values, summary }
            };
            let seconds = of_seeds.iter().map(|outcome| outcome.seconds).sum::<f64>() / of_seeds.len() as f64;
            let figures = of_seeds[0].figures.iter().enumerate().map(figure).collect();
            TaskRow { model, frames, parameters: of_seeds[0].parameters, seconds, figures }
        };
        Self {
            task: recipe.task,
            test_on: recipe.test_on,
            test_clips: recipe.data.test_clips,
            seeds: seeds.to_vec(),
            rows: cells.enumerate().map(row).collect(),
        }
    }

    /// The figure `name` of `model` for clips of `frames` frames, if there is one.
    pub fn figure(&self, model: TaskModel, frames: usize, name: &str) -> Option<&TaskFigure> {
        let row = self.rows.iter().find(|row| row.model == model && row.frames == frames)?;
        row.figures.iter().find(|figure| figure.name == name)
    }
}
