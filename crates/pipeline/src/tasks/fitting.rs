//! Models that are no classifiers, and what changes them from step to step.

use tensor_ops::Parameters;
use tensor_ops::optim::{Adam, AdamConfig, Optimizer, ParameterGroup, Schedule, clip_global_norm};

use super::TaskError;
use crate::training::{TrainingConfig, schedule};

/// A model with its optimiser.
#[derive(Debug)]
pub(super) struct Fitter<M> {
    model: M,
    optimizer: Adam<f32>,
    schedule: Box<dyn Schedule + Send>,
    max_gradient_norm: f64,
    steps_done: usize,
}

impl<M: Parameters<f32>> Fitter<M> {
    /// Starts from `model`, for `steps` steps in all.
    pub(super) fn new(model: M, config: &TrainingConfig, steps: usize) -> Result<Self, TaskError> {
        let optimizer = Adam::new(AdamConfig {
            weight_decay: config.weight_decay,
            groups: vec![ParameterGroup::without_decay("*bias*")],
            ..AdamConfig::decoupled()
        })?;
        let schedule = schedule(config, steps as u64)?;
        Ok(Self { model, optimizer, schedule, max_gradient_norm: config.max_gradient_norm, steps_done: 0 })
    }

    pub(super) fn model(&self) -> &M {
        &self.model
    }

    pub(super) fn into_model(self) -> M {
        self.model
    }

    /// Changes the weights by `gradients`.
    pub(super) fn step(&mut self, mut gradients: M) -> Result<(), TaskError> {
        let learning_rate = self.schedule.learning_rate(self.steps_done as u64);
        self.steps_done += 1;
        let failed = |source| TaskError::Step { step: self.steps_done, source };
        if self.max_gradient_norm > 0.0 {
            clip_global_norm(&mut gradients, self.max_gradient_norm).map_err(failed)?;
        }
        self.optimizer.step(&mut self.model, &gradients, learning_rate).map_err(failed)
    }
}
