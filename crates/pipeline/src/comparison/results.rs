//! The figures of a comparison.

use serde::{Deserialize, Serialize};

use crate::metrics::{ConfusionMatrix, Summary};
use crate::model::ModelName;
use crate::run::RunResults;

/// One model with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedRun {
    /// The model.
    pub model: ModelName,
    /// The seed.
    pub seed: u64,
    /// How long an epoch took, the mean over all epochs and people.
    pub epoch_seconds: f64,
    /// How long one clip takes from its normalised frames to the scores, the median of several clips one by one.
    pub clip_milliseconds: f64,
    /// The figures of all people.
    pub results: RunResults,
}

/// One model with all its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// The model.
    pub model: ModelName,
    /// The accuracy over all people and seeds.
    pub accuracy: Summary,
    /// The number of weights.
    pub parameters: usize,
    /// How long an epoch took, the mean.
    pub epoch_seconds: f64,
    /// How long one clip takes, the mean.
    pub clip_milliseconds: f64,
    /// One run per seed.
    pub runs: Vec<ComparedRun>,
}

impl ModelFigures {
    /// How many clips of each class were taken for each, over all people and seeds.
    pub fn confusion(&self) -> ConfusionMatrix {
        let classes = self.runs.first().map_or(0, |run| run.results.labels.len());
        let mut all = ConfusionMatrix::new(classes);
        for run in &self.runs {
            all.merge(&run.results.confusion());
        }
        all
    }
}

/// The figures of a comparison: `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonResults {
    /// The names of the classes.
    pub labels: Vec<String>,
    /// The models, in the order of the recipe.
    pub models: Vec<ModelFigures>,
}

impl ComparisonResults {
    /// The figures of `runs`, put together by model.
    pub fn new(runs: Vec<ComparedRun>) -> Self {
        let labels = runs.first().map(|run| run.results.labels.clone()).unwrap_or_default();
        let mut by_model: Vec<Vec<ComparedRun>> = Vec::new();
        for run in runs {
            match by_model.iter_mut().find(|others| others[0].model == run.model) {
                Some(others) => others.push(run),
                None => by_model.push(vec![run]),
            }
        }
        Self { labels, models: by_model.into_iter().filter_map(figures).collect() }
    }
}

/// The figures of the runs of one model; `None` without any.
fn figures(runs: Vec<ComparedRun>) -> Option<ModelFigures> {
    let folds: Vec<_> = runs.iter().flat_map(|run| &run.results.folds).collect();
    let accuracies: Vec<f64> = folds.iter().map(|fold| fold.test.accuracy).collect();
    let mean = |figure: fn(&ComparedRun) -> f64| runs.iter().map(figure).sum::<f64>() / runs.len() as f64;
    Some(ModelFigures {
        model: runs.first()?.model,
        accuracy: Summary::of(&accuracies)?,
        parameters: folds.first()?.parameters,
        epoch_seconds: mean(|run| run.epoch_seconds),
        clip_milliseconds: mean(|run| run.clip_milliseconds),
        runs,
    })
}
