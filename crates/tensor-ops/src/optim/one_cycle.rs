//! The one-cycle schedule: a warm-up to the largest learning rate, then a long descent.

use super::error::{check_option, check_positive};
use super::schedule::{Schedule, check_steps, cosine_between, linear_between};
use crate::TensorError;

/// The shape of the transitions between two learning rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anneal {
    /// Half a period of a cosine.
    #[default]
    Cosine,
    /// A line.
    Linear,
}

/// Options of [`OneCycle`], with the defaults of PyTorch's `OneCycleLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycleConfig {
    /// The largest learning rate.
    pub max_learning_rate: f64,
    /// The number of steps of the whole cycle.
    pub total_steps: u64,
    /// The part of the steps in which the learning rate rises, in 0..=1.
    pub warm_up_fraction: f64,
    /// The largest learning rate over the one of step 0.
    pub initial_divisor: f64,
    /// The learning rate of step 0 over the last one.
    pub final_divisor: f64,
    /// The shape of both transitions.
    pub anneal: Anneal,
}

impl Default for OneCycleConfig {
    fn default() -> Self {
        Self {
            max_learning_rate: 1e-3,
            total_steps: 1_000,
            warm_up_fraction: 0.3,
            initial_divisor: 25.0,
            final_divisor: 1e4,
            anneal: Anneal::Cosine,
        }
    }
}

/// A rise from a small to the largest learning rate and a descent to a much smaller one, which is then kept.
///
/// The values of PyTorch's `OneCycleLR` with two phases.
///
/// Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
///
/// ```
/// use tensor_ops::optim::{OneCycle, OneCycleConfig, Schedule};
/// let schedule = OneCycle::new(OneCycleConfig {
///     max_learning_rate: 0.5,
///     total_steps: 100,
///     ..OneCycleConfig::default()
/// })?;
/// assert_eq!(schedule.learning_rate(0), 0.02);
/// assert_eq!(schedule.learning_rate(29), 0.5);
/// assert_eq!(schedule.learning_rate(99), 2e-6);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycle {
    config: OneCycleConfig,
}

impl OneCycle {
    /// A cycle of the given options.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for 0 steps, for a fraction outside 0..=1, for a divisor that is not positive and
    /// for a learning rate that is not positive or not finite.
    pub fn new(config: OneCycleConfig) -> Result<Self, TensorError> {
        let operation = "OneCycle";
        check_steps(operation, "total_steps", config.total_steps)?;
        for (option, value) in [
            ("max_learning_rate", config.max_learning_rate),
            ("initial_divisor", config.initial_divisor),
            ("final_divisor", config.final_divisor),
        ] {
            check_positive(operation, option, value)?;
        }
        let fraction = config.warm_up_fraction;
        check_option(operation, "warm_up_fraction", "in 0..=1", fraction, (0.0..=1.0).contains(&fraction))?;
        Ok(Self { config })
    }
}

impl Schedule for OneCycle {
    fn learning_rate(&self, step: u64) -> f64 {
        let OneCycleConfig { max_learning_rate, total_steps, warm_up_fraction, .. } = self.config;
        let initial = max_learning_rate / self.config.initial_divisor;
        let last = initial / self.config.final_divisor;
        let between = match self.config.anneal {
            Anneal::Cosine => cosine_between,
            Anneal::Linear => linear_between,
        };
        let step = step as f64;
        // The largest learning rate is at the last step of the warm-up, which need not be a whole number.
        let peak = warm_up_fraction * total_steps as f64 - 1.0;
        let end = (total_steps - 1) as f64;
        if step <= peak {
            // A warm-up of a single step is its end.
            between(initial, max_learning_rate, if peak > 0.0 { step / peak } else { 1.0 })
        } else {
            between(max_learning_rate, last, if end > peak { (step - peak) / (end - peak) } else { 1.0 })
        }
    }
}
