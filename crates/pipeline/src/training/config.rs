//! The loss, the optimiser and its schedule.

use serde::{Deserialize, Serialize};

use crate::data::Symmetry;
use crate::recipe::{RecipeError, require};

/// How a model is trained: Adam with decoupled weight decay, on the cross-entropy of batches of clips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// How often every training clip takes part. Default: 25.
    pub epochs: usize,
    /// The number of clips of a step. Default: 64.
    pub batch_size: usize,
    /// The largest learning rate. Default: 0.003.
    pub learning_rate: f64,
    /// How the learning rate changes over the steps. Default: `one-cycle`.
    pub schedule: ScheduleKind,
    /// The part of the steps over which the learning rate rises, for `one-cycle`. Default: 0.2.
    pub warm_up: f64,
    /// By which part of itself times the learning rate every weight shrinks at a step; biases do not. Default: 0.02.
    pub weight_decay: f64,
    /// The part of the target that is spread evenly over all classes. Default: 0.1.
    pub label_smoothing: f64,
    /// Gradients with a larger norm over all weights are scaled down to it; 0 for no limit. Default: 1.
    pub max_gradient_norm: f64,
}

/// How the learning rate changes over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// It does not.
    Constant,
    /// It falls from the largest value to 0 along half a cosine.
    Cosine,
    /// It rises to the largest value and falls to nearly 0, both along half a cosine.
    OneCycle,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 25,
            batch_size: 64,
            learning_rate: 3e-3,
            schedule: ScheduleKind::OneCycle,
            warm_up: 0.2,
            weight_decay: 0.02,
            label_smoothing: 0.1,
            max_gradient_norm: 1.0,
        }
    }
}

impl TrainingConfig {
    pub(crate) fn validate(&self) -> Result<(), RecipeError> {
        let at_least_1 = |option, value| require(value >= 1, option, "at least 1", value);
        let not_negative = |option, value: f64| {
            require(value.is_finite() && value >= 0.0, option, "a finite number, not negative", value)
        };
        let below_1 = |option, value| require((0.0..1.0).contains(&value), option, "a number from 0 to below 1", value);
        at_least_1("training.epochs", self.epochs)?;
        at_least_1("training.batch_size", self.batch_size)?;
        let rate = self.learning_rate;
        require(rate.is_finite() && rate > 0.0, "training.learning_rate", "a number above 0", rate)?;
        let warm_up = self.warm_up;
        require(warm_up > 0.0 && warm_up < 1.0, "training.warm_up", "a number between 0 and 1", warm_up)?;
        not_negative("training.weight_decay", self.weight_decay)?;
        below_1("training.label_smoothing", self.label_smoothing)?;
        not_negative("training.max_gradient_norm", self.max_gradient_norm)
    }
}

/// How a model is tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Whether the probabilities are averaged over the eight flips and quarter turns of a clip. Default: true.
    pub average_symmetries: bool,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self { average_symmetries: true }
    }
}

impl EvaluationConfig {
    /// The symmetries that probabilities are averaged over.
    pub fn symmetries(&self) -> &'static [Symmetry] {
        if self.average_symmetries { &Symmetry::ALL } else { &[Symmetry::IDENTITY] }
    }
}
