//! Adam, `AdamW` and `AMSGrad`.
//!
//! At step t, with weight decay λ:
//!
//! ```text
//! g ← g + λ θ                              decoupled: θ ← (1 − η λ) θ
//! m ← m + (1 − β₁) (g − m)
//! v ← β₂ v + (1 − β₂) g²
//! u = v                                    AMSGrad: u ← max(u, v)
//! θ ← θ − η / (1 − β₁ᵗ) · m / (√u / √(1 − β₂ᵗ) + ε)
//!   = θ − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√u + ε √(1 − β₂ᵗ))
//! ```
//!
//! Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; Reddi et al., "On the convergence of Adam
//! and beyond", ICLR 2018; Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.

use super::error::{check_decay_rate, check_not_negative, check_positive};
use super::group::{Options, check_groups};
use super::update::{Rule, Step};
use super::{Optimizer, OptimizerError, OptimizerState, ParameterGroup};
use crate::{Element, Parameters, TensorError};

/// Options of [`Adam`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdamConfig {
    /// β₁, the decay of the mean gradient, in 0..1.
    pub beta1: f64,
    /// β₂, the decay of the mean square, in 0..1.
    pub beta2: f64,
    /// ε, added to the root; greater than 0.
    pub epsilon: f64,
    /// λ
    pub weight_decay: f64,
    /// Decays the parameters themselves (`AdamW`) instead of adding λ θ to the gradient.
    pub decoupled: bool,
    /// Divides by the largest mean square so far.
    pub amsgrad: bool,
    /// Options for parameters selected by name.
    pub groups: Vec<ParameterGroup>,
}

impl Default for AdamConfig {
    /// Adam without weight decay.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            amsgrad: false,
            groups: Vec::new(),
        }
    }
}

impl AdamConfig {
    /// `AdamW`: decoupled weight decay of 0.01.
    pub fn decoupled() -> Self {
        Self { weight_decay: 0.01, decoupled: true, ..Self::default() }
    }
}

/// Adam; `AdamW` and `AMSGrad` by configuration.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::Linear;
/// use tensor_ops::optim::{Adam, AdamConfig, Optimizer};
///
/// let mut model = Linear { weight: array![[1.0, 1.0_f64]], bias: None };
/// let gradients = Linear { weight: array![[30.0, -0.2]], bias: None };
/// let mut optimizer = Adam::new(AdamConfig::default())?;
/// optimizer.step(&mut model, &gradients, 0.1)?;
/// assert!((model.weight[[0, 0]] - 0.9).abs() < 1e-7 && (model.weight[[0, 1]] - 1.1).abs() < 1e-7);
/// # Ok::<(), tensor_ops::optim::OptimizerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adam<T> {
    config: AdamConfig,
    state: OptimizerState<T>,
}

impl<T: Element> Adam<T> {
    /// An optimiser before its first step.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for a number out of its range.
    pub fn new(config: AdamConfig) -> Result<Self, TensorError> {
        let operation = "Adam";
        check_decay_rate(operation, "beta1", config.beta1)?;
        check_decay_rate(operation, "beta2", config.beta2)?;
        check_positive(operation, "epsilon", config.epsilon)?;
        check_not_negative(operation, "weight_decay", config.weight_decay)?;
        check_groups(operation, &config.groups)?;
        let max_exp_avg_sq = config.amsgrad.then_some("max_exp_avg_sq");
        let kinds = [Some("exp_avg"), Some("exp_avg_sq"), max_exp_avg_sq];
        Ok(Self { config, state: OptimizerState::new(operation, kinds) })
    }
}

impl<T: Element> Optimizer<T> for Adam<T> {
    fn step(
        &mut self,
        model: &mut dyn Parameters<T>,
        gradients: &dyn Parameters<T>,
        learning_rate: f64,
    ) -> Result<(), OptimizerError> {
        let Self { config, state } = self;
        let step = Step { model, gradients, learning_rate, groups: &config.groups, weight_decay: config.weight_decay };
        let time = (state.step_count() + 1) as f64;
        if config.amsgrad {
            step.apply(state, rule::<T, true>(config, time))
        } else {
            step.apply(state, rule::<T, false>(config, time))
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
struct AdamRule<T, const AMSGRAD: bool> {
    /// λ of the coupled form.
    gradient_decay: T,
    /// 1 − η λ of the decoupled form.
    value_factor: T,
    /// η √(1 − β₂ᵗ) / (1 − β₁ᵗ)
    step_size: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    /// ε √(1 − β₂ᵗ)
    epsilon: T,
}

/// The rule of each parameter at step `time`.
fn rule<T: Element, const AMSGRAD: bool>(
    config: &AdamConfig,
    time: f64,
) -> impl Fn(Options, f64) -> AdamRule<T, AMSGRAD> {
    let correction = (1.0 - config.beta2.powf(time)).sqrt();
    let step_factor = correction / (1.0 - config.beta1.powf(time));
    move |options, learning_rate| {
        let (gradient_decay, value_decay) =
            if config.decoupled { (0.0, options.weight_decay) } else { (options.weight_decay, 0.0) };
        AdamRule {
            gradient_decay: T::from_f64(gradient_decay),
            value_factor: T::from_f64(1.0 - learning_rate * value_decay),
            step_size: T::from_f64(learning_rate * step_factor),
            one_minus_beta1: T::from_f64(1.0 - config.beta1),
            beta2: T::from_f64(config.beta2),
            one_minus_beta2: T::from_f64(1.0 - config.beta2),
            epsilon: T::from_f64(config.epsilon * correction),
        }
    }
}

impl<T: Element, const AMSGRAD: bool> Rule<T, 3> for AdamRule<T, AMSGRAD> {
    const USED: [bool; 3] = [true, true, AMSGRAD];

    #[inline(always)]
    fn apply(self, value: T, gradient: T, [mean, mean_square, largest]: [T; 3]) -> (T, [T; 3]) {
        let gradient = gradient + self.gradient_decay * value;
        let value = self.value_factor * value;
        let mean = mean + self.one_minus_beta1 * (gradient - mean);
        let mean_square = self.beta2 * mean_square + self.one_minus_beta2 * (gradient * gradient);
        let largest = if !AMSGRAD || mean_square > largest { mean_square } else { largest };
        let direction = mean / (largest.sqrt() + self.epsilon);
        (value - self.step_size * direction, [mean, mean_square, largest])
    }
}
