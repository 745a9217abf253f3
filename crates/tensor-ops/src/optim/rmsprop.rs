//! `RMSprop`.
//!
//! With weight decay λ, smoothing α and momentum μ:
//!
//! ```text
//! g ← g + λ θ
//! v ← α v + (1 − α) g²
//! a ← a + (1 − α) (g − a)          if centred, else a = 0
//! d = g / (√(v − a²) + ε)
//! b ← μ b + d;  θ ← θ − η b        without momentum: θ ← θ − η d
//! ```
//!
//! Tieleman and Hinton, "Lecture 6.5: rmsprop", 2012; the centred form is that of Graves, "Generating sequences with
//! recurrent neural networks", 2013, with ε outside the root as in `torch.optim.RMSprop`. Where rounding makes v − a²
//! negative, it counts as 0.

use super::error::{check_decay_rate, check_not_negative, check_positive};
use super::group::{Options, check_groups};
use super::update::{Rule, Step};
use super::{Optimizer, OptimizerError, OptimizerState, ParameterGroup};
use crate::{Element, Parameters, TensorError};

/// Options of [`RmsProp`].
#[derive(Clone, Debug, PartialEq)]
pub struct RmsPropConfig {
    /// α, the decay of the mean square, in 0..1.
    pub alpha: f64,
    /// ε, added to the root; greater than 0.
    pub epsilon: f64,
    /// μ, in 0..1.
    pub momentum: f64,
    /// Divides by the estimated standard deviation of the gradient instead of its root mean square.
    pub centered: bool,
    /// λ, added to the gradient as λ θ.
    pub weight_decay: f64,
    /// Options for parameters selected by name.
    pub groups: Vec<ParameterGroup>,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self { alpha: 0.99, epsilon: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0, groups: Vec::new() }
    }
}

/// `RMSprop`, with momentum and in the centred form where configured.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::Linear;
/// use tensor_ops::optim::{Optimizer, RmsProp, RmsPropConfig};
///
/// let mut model = Linear { weight: array![[1.0_f64]], bias: None };
/// let gradients = Linear { weight: array![[-4.0]], bias: None };
/// let mut optimizer = RmsProp::new(RmsPropConfig { alpha: 0.75, ..RmsPropConfig::default() })?;
/// optimizer.step(&mut model, &gradients, 0.5)?;
/// assert!((model.weight[[0, 0]] - 2.0).abs() < 1e-7); // the mean square is 0.25 · 4²
/// # Ok::<(), tensor_ops::optim::OptimizerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RmsProp<T> {
    config: RmsPropConfig,
    state: OptimizerState<T>,
}

impl<T: Element> RmsProp<T> {
    /// An optimiser before its first step.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for a number out of its range.
    pub fn new(config: RmsPropConfig) -> Result<Self, TensorError> {
        let operation = "RmsProp";
        check_decay_rate(operation, "alpha", config.alpha)?;
        check_positive(operation, "epsilon", config.epsilon)?;
        check_decay_rate(operation, "momentum", config.momentum)?;
        check_not_negative(operation, "weight_decay", config.weight_decay)?;
        check_groups(operation, &config.groups)?;
        let grad_avg = config.centered.then_some("grad_avg");
        let momentum_buffer = (config.momentum > 0.0).then_some("momentum_buffer");
        Ok(Self { config, state: OptimizerState::new(operation, [Some("square_avg"), grad_avg, momentum_buffer]) })
    }
}

impl<T: Element> Optimizer<T> for RmsProp<T> {
    fn step(
        &mut self,
        model: &mut dyn Parameters<T>,
        gradients: &dyn Parameters<T>,
        learning_rate: f64,
    ) -> Result<(), OptimizerError> {
        let Self { config, state } = self;
        let step = Step { model, gradients, learning_rate, groups: &config.groups, weight_decay: config.weight_decay };
        match (config.centered, config.momentum > 0.0) {
            (false, false) => step.apply(state, rule::<T, false, false>(config)),
            (false, true) => step.apply(state, rule::<T, false, true>(config)),
            (true, false) => step.apply(state, rule::<T, true, false>(config)),
            (true, true) => step.apply(state, rule::<T, true, true>(config)),
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
struct RmsPropRule<T, const CENTERED: bool, const MOMENTUM: bool> {
    weight_decay: T,
    learning_rate: T,
    alpha: T,
    one_minus_alpha: T,
    epsilon: T,
    momentum: T,
}

/// The rule of each parameter.
fn rule<T: Element, const CENTERED: bool, const MOMENTUM: bool>(
    config: &RmsPropConfig,
) -> impl Fn(Options, f64) -> RmsPropRule<T, CENTERED, MOMENTUM> {
    |options, learning_rate| RmsPropRule {
        weight_decay: T::from_f64(options.weight_decay),
        learning_rate: T::from_f64(learning_rate),
        alpha: T::from_f64(config.alpha),
        one_minus_alpha: T::from_f64(1.0 - config.alpha),
        epsilon: T::from_f64(config.epsilon),
        momentum: T::from_f64(config.momentum),
    }
}

impl<T: Element, const CENTERED: bool, const MOMENTUM: bool> Rule<T, 3> for RmsPropRule<T, CENTERED, MOMENTUM> {
    const USED: [bool; 3] = [true, CENTERED, MOMENTUM];

    #[inline(always)]
    fn apply(self, value: T, gradient: T, [mean_square, mean, buffer]: [T; 3]) -> (T, [T; 3]) {
        let gradient = gradient + self.weight_decay * value;
        let mean_square = self.alpha * mean_square + self.one_minus_alpha * (gradient * gradient);
        let mean = if CENTERED { mean + self.one_minus_alpha * (gradient - mean) } else { mean };
        let variance = mean_square - mean * mean;
        let variance = if variance > T::zero() { variance } else { T::zero() };
        let direction = gradient / (variance.sqrt() + self.epsilon);
        let buffer = if MOMENTUM { self.momentum * buffer + direction } else { direction };
        (value - self.learning_rate * buffer, [mean_square, mean, buffer])
    }
}
