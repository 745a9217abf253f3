//! The figures of a run, as its files hold them.

use serde::{Deserialize, Serialize};

use crate::metrics::{ConfusionMatrix, Summary};

/// What one epoch of training gave: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// The mean loss of the varied training clips, each at the step that it took part in.
    pub training_loss: f64,
    /// The accuracy on the same.
    pub training_accuracy: f64,
    /// The mean cross-entropy of the validation clips after the epoch: clips of the training people, from recordings
    /// that are held out. `None` if none are.
    pub validation_loss: Option<f64>,
    /// The accuracy on the same.
    pub validation_accuracy: Option<f64>,
    /// How long the epoch took.
    pub seconds: f64,
}

/// How a model does on some clips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The number of clips.
    pub clips: usize,
    /// The mean cross-entropy, −ln of the probability given to the right class.
    pub loss: f64,
    /// The part of the clips that were taken for what they are.
    pub accuracy: f64,
    /// The same among the clips of each class; `None` for a class without clips.
    pub recall: Vec<Option<f64>>,
    /// How many clips of each class (rows) were taken for each class (columns).
    pub confusion: ConfusionMatrix,
}

impl Evaluation {
    /// The figures of at least one clip.
    ///
    /// # Panics
    /// If `confusion` counts no clip.
    pub fn new(loss: f64, confusion: ConfusionMatrix) -> Self {
        Self {
            clips: confusion.total(),
            loss,
            accuracy: confusion.accuracy().expect("an evaluation counts at least one clip"),
            recall: (0..confusion.classes()).map(|class| confusion.recall(class)).collect(),
            confusion,
        }
    }
}

/// The final figures of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldResults {
    /// The person tested on.
    pub test_person: usize,
    /// The figures on that person.
    pub test: Evaluation,
    /// The figures on the recordings held out from training, of the people trained on.
    pub validation: Option<Evaluation>,
    /// The number of weights.
    pub parameters: usize,
    /// How long training took.
    pub training_seconds: f64,
}

/// The final figures of a run: `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// The names of the classes.
    pub labels: Vec<String>,
    /// The accuracy on the people tested on, over the folds.
    pub accuracy: Summary,
    /// The figures of each fold.
    pub folds: Vec<FoldResults>,
}

impl RunResults {
    /// The figures of at least one fold.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(labels: Vec<String>, folds: Vec<FoldResults>) -> Self {
        let accuracies: Vec<f64> = folds.iter().map(|fold| fold.test.accuracy).collect();
        let accuracy = Summary::of(&accuracies).expect("a run has at least one fold");
        Self { labels, accuracy, folds }
    }

    /// The confusion matrices of all folds in one.
    pub fn confusion(&self) -> ConfusionMatrix {
        let mut all = ConfusionMatrix::new(self.labels.len());
        for fold in &self.folds {
            all.merge(&fold.test.confusion);
        }
        all
    }
}
