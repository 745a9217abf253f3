//! Stochastic gradient descent with momentum.
//!
//! With weight decay λ, momentum μ and dampening τ:
//!
//! ```text
//! g ← g + λ θ
//! b ← μ b + (1 − τ) g          first step: b ← g
//! θ ← θ − η b                  Nesterov: θ ← θ − η (g + μ b)
//! ```
//!
//! Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, in the form of
//! `torch.optim.SGD`.

use super::error::{check_decay_rate, check_not_negative, check_option};
use super::group::check_groups;
use super::update::{Rule, Step};
use super::{Optimizer, OptimizerError, OptimizerState, ParameterGroup};
use crate::{Element, Parameters, TensorError};

/// Options of [`Sgd`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SgdConfig {
    /// μ, in 0..1; 0 keeps no state.
    pub momentum: f64,
    /// τ, in 0..=1; 0 without momentum.
    pub dampening: f64,
    /// Looks ahead by one step of the momentum.
    pub nesterov: bool,
    /// λ, added to the gradient as λ θ.
    pub weight_decay: f64,
    /// Options for parameters selected by name.
    pub groups: Vec<ParameterGroup>,
}

/// Stochastic gradient descent, with momentum, Nesterov's momentum and weight decay.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::Linear;
/// use tensor_ops::optim::{Optimizer, Sgd, SgdConfig};
///
/// let mut model = Linear { weight: array![[1.0, 2.0]], bias: None };
/// let gradients = Linear { weight: array![[0.5, -0.5]], bias: None };
/// let mut optimizer = Sgd::new(SgdConfig { momentum: 0.5, ..SgdConfig::default() })?;
/// optimizer.step(&mut model, &gradients, 1.0)?;
/// optimizer.step(&mut model, &gradients, 1.0)?;
/// assert_eq!(model.weight, array![[-0.25, 3.25]]);
/// # Ok::<(), tensor_ops::optim::OptimizerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sgd<T> {
    config: SgdConfig,
    state: OptimizerState<T>,
}

impl<T: Element> Sgd<T> {
    /// An optimiser before its first step.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for a number out of its range, for `nesterov` or dampening without momentum, and
    /// for both together.
    pub fn new(config: SgdConfig) -> Result<Self, TensorError> {
        let operation = "Sgd";
        check_decay_rate(operation, "momentum", config.momentum)?;
        let dampening = config.dampening;
        let end = if config.momentum > 0.0 { 1.0 } else { 0.0 };
        let within = (0.0..=end).contains(&dampening);
        check_option(operation, "dampening", "in 0..=1, and 0 without momentum", dampening, within)?;
        check_not_negative(operation, "weight_decay", config.weight_decay)?;
        let holds = !config.nesterov || (config.momentum > 0.0 && dampening == 0.0);
        check_option(operation, "nesterov", "used with momentum and without dampening", true, holds)?;
        check_groups(operation, &config.groups)?;
        let kind = (config.momentum > 0.0).then_some("momentum_buffer");
        Ok(Self { config, state: OptimizerState::new(operation, [kind]) })
    }
}

impl<T: Element> Optimizer<T> for Sgd<T> {
    fn step(
        &mut self,
        model: &mut dyn Parameters<T>,
        gradients: &dyn Parameters<T>,
        learning_rate: f64,
    ) -> Result<(), OptimizerError> {
        let SgdConfig { momentum, dampening, nesterov, weight_decay, groups } = &self.config;
        let step = Step { model, gradients, learning_rate, groups, weight_decay: *weight_decay };
        let first = self.state.step_count() == 0;
        let momentum = T::from_f64(*momentum);
        let gradient_weight = T::from_f64(if first { 1.0 } else { 1.0 - dampening });
        if momentum == T::zero() {
            step.apply(&mut self.state, |options, learning_rate| Plain {
                weight_decay: T::from_f64(options.weight_decay),
                learning_rate: T::from_f64(learning_rate),
            })
        } else {
            step.apply(&mut self.state, |options, learning_rate| Momentum {
                weight_decay: T::from_f64(options.weight_decay),
                learning_rate: T::from_f64(learning_rate),
                momentum,
                gradient_weight,
                nesterov: *nesterov,
            })
        }
    }

    fn kept(&self) -> &OptimizerState<T> {
        &self.state
    }

    fn kept_mut(&mut self) -> &mut OptimizerState<T> {
        &mut self.state
    }
}

#[derive(Clone, Copy)]
struct Plain<T> {
    weight_decay: T,
    learning_rate: T,
}

impl<T: Element> Rule<T, 1> for Plain<T> {
    const USED: [bool; 1] = [false];

    #[inline(always)]
    fn apply(self, value: T, gradient: T, state: [T; 1]) -> (T, [T; 1]) {
        (value - self.learning_rate * (gradient + self.weight_decay * value), state)
    }
}

#[derive(Clone, Copy)]
struct Momentum<T> {
    weight_decay: T,
    learning_rate: T,
    momentum: T,
    gradient_weight: T,
    nesterov: bool,
}

impl<T: Element> Rule<T, 1> for Momentum<T> {
    const USED: [bool; 1] = [true];

    #[inline(always)]
    fn apply(self, value: T, gradient: T, [buffer]: [T; 1]) -> (T, [T; 1]) {
        let gradient = gradient + self.weight_decay * value;
        let buffer = self.momentum * buffer + self.gradient_weight * gradient;
        let direction = if self.nesterov { gradient + self.momentum * buffer } else { buffer };
        (value - self.learning_rate * direction, [buffer])
    }
}
