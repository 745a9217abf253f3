//! What changes the weights of any model from step to step: clipping, the schedule, the optimiser.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD};
use tensor_ops::optim::{
    Adam, AdamConfig, Constant, Cosine, OneCycle, OneCycleConfig, Optimizer, OptimizerError, ParameterGroup, Schedule,
    clip_global_norm,
};
use tensor_ops::{Parameters, TensorError};
use thiserror::Error;

use super::config::{ScheduleKind, TrainingConfig};

/// A step of training failed, for instance because a gradient is not finite.
#[derive(Debug, Error)]
#[error("step {step}: {source}")]
pub struct FailedStep {
    /// The number of the step, from 1.
    pub step: u64,
    /// What the optimiser says.
    pub source: OptimizerError,
}

/// A model with its optimiser.
#[derive(Clone, Debug)]
pub(crate) struct Fitter<M> {
    model: M,
    optimizer: Adam<f32>,
    schedule: Arc<dyn Schedule + Send + Sync>,
    max_gradient_norm: f64,
    steps_done: u64,
}

impl<M: Parameters<f32>> Fitter<M> {
    /// Starts from `model`. Gradients are clipped to `max_gradient_norm`, unless it is 0.
    pub(crate) fn new(
        model: M,
        optimizer: Adam<f32>,
        schedule: Arc<dyn Schedule + Send + Sync>,
        max_gradient_norm: f64,
    ) -> Self {
        Self { model, optimizer, schedule, max_gradient_norm, steps_done: 0 }
    }

    /// Starts from `model`, for `steps` steps in all.
    pub(crate) fn of_config(model: M, config: &TrainingConfig, steps: usize) -> Result<Self, TensorError> {
        let optimizer = Adam::new(AdamConfig {
            weight_decay: config.weight_decay,
            groups: vec![ParameterGroup::without_decay("*bias*")],
            ..AdamConfig::decoupled()
        })?;
        let (max_learning_rate, total_steps) = (config.learning_rate, steps as u64);
        let schedule: Arc<dyn Schedule + Send + Sync> = match config.schedule {
            ScheduleKind::Constant => Arc::new(Constant::new(max_learning_rate)?),
            ScheduleKind::Cosine => Arc::new(Cosine::new(max_learning_rate, 0.0, total_steps)?),
            ScheduleKind::OneCycle => Arc::new(OneCycle::new(OneCycleConfig {
                max_learning_rate,
                total_steps,
                warm_up_fraction: config.warm_up,
                ..OneCycleConfig::default()
            })?),
        };
        Ok(Self::new(model, optimizer, schedule, config.max_gradient_norm))
    }

    pub(crate) fn model(&self) -> &M {
        &self.model
    }

    pub(crate) fn into_model(self) -> M {
        self.model
    }

    pub(crate) fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    /// The number of steps taken.
    pub(crate) fn steps_done(&self) -> u64 {
        self.steps_done
    }

    /// What the optimiser keeps between steps, by name.
    pub(crate) fn optimizer_state(&self) -> Vec<(String, ArrayViewD<'_, f32>)> {
        self.optimizer.state()
    }

    /// Goes on where a fitter of the same configuration had taken `steps` steps, its model being this one's now.
    pub(crate) fn restore(&mut self, steps: u64, state: &[(String, ArrayD<f32>)]) -> Result<(), OptimizerError> {
        self.optimizer.load_state(&self.model, steps, state)?;
        self.steps_done = steps;
        Ok(())
    }

    /// The learning rate of the next step.
    pub(crate) fn next_learning_rate(&self) -> f64 {
        self.schedule.learning_rate(self.steps_done)
    }

    /// The learning rate of the last step, or of the first before it.
    pub(crate) fn last_learning_rate(&self) -> f64 {
        self.schedule.learning_rate(self.steps_done.saturating_sub(1))
    }

    /// Changes the weights by `gradients`.
    pub(crate) fn step(&mut self, mut gradients: M) -> Result<(), FailedStep> {
        let learning_rate = self.next_learning_rate();
        self.steps_done += 1;
        let failed = |source| FailedStep { step: self.steps_done, source };
        if self.max_gradient_norm > 0.0 {
            clip_global_norm(&mut gradients, self.max_gradient_norm).map_err(failed)?;
        }
        self.optimizer.step(&mut self.model, &gradients, learning_rate).map_err(failed)
    }
}
