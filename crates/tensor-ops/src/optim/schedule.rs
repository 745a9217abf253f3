//! Learning rates as functions of the number of the step.

use std::f64::consts::PI;
use std::fmt;

use super::error::{check_not_negative, check_option};
use crate::TensorError;

/// A learning rate for every step.
///
/// Steps are counted from 0. The value depends on the step alone, so a resumed run needs no state of the schedule.
pub trait Schedule: fmt::Debug + Send + Sync {
    /// The learning rate of the step.
    fn learning_rate(&self, step: u64) -> f64;
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn learning_rate(&self, step: u64) -> f64 {
        (**self).learning_rate(step)
    }
}

/// The same learning rate at every step.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    learning_rate: f64,
}

impl Constant {
    /// A constant learning rate.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] if it is negative or not finite.
    pub fn new(learning_rate: f64) -> Result<Self, TensorError> {
        check_not_negative("Constant", "learning_rate", learning_rate)?;
        Ok(Self { learning_rate })
    }
}

impl Schedule for Constant {
    fn learning_rate(&self, _step: u64) -> f64 {
        self.learning_rate
    }
}

/// A learning rate that is multiplied by a factor at regular intervals: η₀ · factor^⌊step / interval⌋.
///
/// The values of PyTorch's `StepLR`.
///
/// ```
/// use tensor_ops::optim::{Schedule, StepDecay};
/// let schedule = StepDecay::new(0.8, 30, 0.5)?;
/// assert_eq!([0, 29, 30, 60].map(|step| schedule.learning_rate(step)), [0.8, 0.8, 0.4, 0.2]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StepDecay {
    initial: f64,
    interval: u64,
    factor: f64,
}

impl StepDecay {
    /// Starts at `initial` and multiplies by `factor` every `interval` steps.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for an interval of 0 and for a number that is negative or not finite.
    pub fn new(initial: f64, interval: u64, factor: f64) -> Result<Self, TensorError> {
        let operation = "StepDecay";
        check_not_negative(operation, "initial", initial)?;
        check_steps(operation, "interval", interval)?;
        check_not_negative(operation, "factor", factor)?;
        Ok(Self { initial, interval, factor })
    }
}

impl Schedule for StepDecay {
    fn learning_rate(&self, step: u64) -> f64 {
        self.initial * self.factor.powf((step / self.interval) as f64)
    }
}

/// Half a period of a cosine from the initial to the final learning rate, which is then kept.
///
/// η = η₁ + (η₀ − η₁) (1 + cos(π · step / steps)) / 2: within `steps`, the values of PyTorch's `CosineAnnealingLR`.
///
/// Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.
///
/// ```
/// use tensor_ops::optim::{Cosine, Schedule};
/// let schedule = Cosine::new(0.1, 0.0, 10)?;
/// assert!((schedule.learning_rate(5) - 0.05).abs() < 1e-15);
/// assert_eq!(schedule.learning_rate(1_000), 0.0);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Cosine {
    initial: f64,
    last: f64,
    steps: u64,
}

impl Cosine {
    /// Goes from `initial` to `last` within `steps`.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for 0 steps and for a learning rate that is negative or not finite.
    pub fn new(initial: f64, last: f64, steps: u64) -> Result<Self, TensorError> {
        let operation = "Cosine";
        check_not_negative(operation, "initial", initial)?;
        check_not_negative(operation, "last", last)?;
        check_steps(operation, "steps", steps)?;
        Ok(Self { initial, last, steps })
    }
}

impl Schedule for Cosine {
    fn learning_rate(&self, step: u64) -> f64 {
        let progress = step.min(self.steps) as f64 / self.steps as f64;
        cosine_between(self.initial, self.last, progress)
    }
}

/// A linear rise to the first learning rate of another schedule, which then follows from its step 0 on.
///
/// The values of PyTorch's `LinearLR` and the other schedule joined by `SequentialLR`.
///
/// ```
/// use tensor_ops::optim::{Constant, LinearWarmUp, Schedule};
/// let schedule = LinearWarmUp::new(4, 0.0, Constant::new(1.0)?)?;
/// assert_eq!([0, 1, 2, 3, 4, 5].map(|step| schedule.learning_rate(step)), [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearWarmUp<S> {
    steps: u64,
    start_factor: f64,
    then: S,
}

impl<S: Schedule> LinearWarmUp<S> {
    /// Rises from `start_factor` times the first learning rate of `then` within `steps`.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for 0 steps and for a factor outside 0..=1.
    pub fn new(steps: u64, start_factor: f64, then: S) -> Result<Self, TensorError> {
        let operation = "LinearWarmUp";
        check_steps(operation, "steps", steps)?;
        let within = (0.0..=1.0).contains(&start_factor);
        check_option(operation, "start_factor", "in 0..=1", start_factor, within)?;
        Ok(Self { steps, start_factor, then })
    }
}

impl<S: Schedule> Schedule for LinearWarmUp<S> {
    fn learning_rate(&self, step: u64) -> f64 {
        if step < self.steps {
            let progress = step as f64 / self.steps as f64;
            self.then.learning_rate(0) * linear_between(self.start_factor, 1.0, progress)
        } else {
            self.then.learning_rate(step - self.steps)
        }
    }
}

/// The value at `progress` in 0..=1 on half a period of a cosine from `start` to `end`, exact at both.
pub(super) fn cosine_between(start: f64, end: f64, progress: f64) -> f64 {
    linear_between(start, end, (1.0 - (PI * progress.clamp(0.0, 1.0)).cos()) / 2.0)
}

/// The value at `progress` in 0..=1 on a line from `start` to `end`, exact at both.
pub(super) fn linear_between(start: f64, end: f64, progress: f64) -> f64 {
    if progress >= 1.0 { end } else { start + (end - start) * progress }
}

pub(super) fn check_steps(operation: &'static str, option: &'static str, steps: u64) -> Result<(), TensorError> {
    check_option(operation, option, "at least 1", steps, steps > 0)
}
