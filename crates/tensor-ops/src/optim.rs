//! Optimisers, clipping of gradients and learning-rate schedules.
//!
//! An [`Optimizer`] changes the parameters of a model by its gradients, which are visited in the same order under the
//! same names (see [`crate::Parameters`]). The learning rate is an argument of every step; a [`Schedule`] is a pure
//! function of the number of the step. Nothing else is kept between steps than [`Optimizer::state`], so that training
//! resumed from saved parameters and state continues bit for bit.
//!
//! All updates are those of `torch.optim`, value by value.
//!
//! ```
//! use ndarray::array;
//! use tensor_ops::{Linear, Parameters};
//! use tensor_ops::optim::{Adam, AdamConfig, Cosine, Optimizer, ParameterGroup, Schedule, clip_global_norm};
//!
//! let mut model = Linear { weight: array![[1.0, -1.0]], bias: Some(array![0.5]) };
//! let config = AdamConfig { groups: vec![ParameterGroup::without_decay("*bias*")], ..AdamConfig::decoupled() };
//! let mut optimizer = Adam::new(config)?;
//! let schedule = Cosine::new(1e-2, 1e-4, 100)?;
//! for step in 0..100 {
//!     let mut gradients = model.clone(); // of the sum of squares of all parameters, over 2
//!     let norm = clip_global_norm(&mut gradients, 1.0)?;
//!     assert!(norm <= 1.5);
//!     optimizer.step(&mut model, &gradients, schedule.learning_rate(step))?;
//! }
//! assert!(model.weight[[0, 0]] < 0.6 && model.weight[[0, 1]] > -0.6);
//! # Ok::<(), tensor_ops::optim::OptimizerError>(())
//! ```

use ndarray::{ArrayD, ArrayViewD};

use crate::{Element, Parameters};

mod adam;
mod clip;
mod error;
mod group;
mod one_cycle;
mod rmsprop;
mod schedule;
mod sgd;
mod state;
mod update;

pub use adam::{Adam, AdamConfig};
pub use clip::{clip_global_norm, clip_values, global_norm};
pub use error::OptimizerError;
pub use group::ParameterGroup;
pub use one_cycle::{Anneal, OneCycle, OneCycleConfig};
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use schedule::{Constant, Cosine, LinearWarmUp, Schedule, StepDecay};
pub use sgd::{Sgd, SgdConfig};
pub use state::OptimizerState;

/// A rule that changes the parameters of a model by their gradients.
///
/// [`OptimizerState`] shows an optimiser of your own.
pub trait Optimizer<T: Element>: std::fmt::Debug + Send {
    /// Changes every parameter of `model` by its gradient.
    ///
    /// Parameters and gradients are paired by their order and must agree in name and shape. Everything is checked
    /// before anything is changed: after an error, model and state are as they were.
    ///
    /// # Errors
    /// [`OptimizerError`] for gradients or a state of another model, for a NaN or an infinity among the gradients, for
    /// a learning rate that is negative or not finite, and for a [`ParameterGroup`] that selects no parameter.
    fn step(
        &mut self,
        model: &mut dyn Parameters<T>,
        gradients: &dyn Parameters<T>,
        learning_rate: f64,
    ) -> Result<(), OptimizerError>;

    /// What is kept between steps.
    fn kept(&self) -> &OptimizerState<T>;

    /// What is kept between steps, to be changed.
    fn kept_mut(&mut self) -> &mut OptimizerState<T>;

    /// The number of steps taken.
    fn step_count(&self) -> u64 {
        self.kept().step_count()
    }

    /// The arrays kept between steps, named `kind.parameter` with the kinds of PyTorch, such as
    /// `exp_avg_sq.encoder.weight`; each has the shape of its parameter. Empty before the first step.
    fn state(&self) -> Vec<(String, ArrayViewD<'_, T>)> {
        self.kept().named()
    }

    /// Continues from what [`Self::step_count`] and [`Self::state`] gave, in an optimiser of the same configuration.
    ///
    /// The order of the arrays does not matter. After an error the optimiser is as it was.
    ///
    /// # Errors
    /// [`OptimizerError::State`] if an array is missing, is left over, has another shape than its parameter in `model`
    /// or holds a value that is not finite.
    fn load_state(
        &mut self,
        model: &dyn Parameters<T>,
        step_count: u64,
        arrays: &[(String, ArrayD<T>)],
    ) -> Result<(), OptimizerError> {
        self.kept_mut().load(model, step_count, arrays)
    }
}
