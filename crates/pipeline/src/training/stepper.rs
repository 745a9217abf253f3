//! One step of training: loss, gradients, clipping, update.

use ndarray_rand::rand::Rng;
use tensor_ops::TensorError;
use tensor_ops::loss::{CrossEntropyConfig, cross_entropy_with_gradient};
use tensor_ops::optim::{
    Adam, AdamConfig, Constant, Cosine, OneCycle, OneCycleConfig, Optimizer, ParameterGroup, Schedule, clip_global_norm,
};

use super::config::{ScheduleKind, TrainingConfig};
use super::evaluate::largest;
use super::fold::TrainingError;
use crate::data::Batch;
use crate::model::ActionModel;

/// A model with what changes it from step to step.
#[derive(Debug)]
pub(crate) struct Stepper {
    model: ActionModel<f32>,
    optimizer: Adam<f32>,
    schedule: Box<dyn Schedule + Send>,
    label_smoothing: f64,
    max_gradient_norm: f64,
    steps_done: u64,
}

/// How the clips of a step did, before the weights changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    pub(crate) correct: usize,
}

impl Stepper {
    /// Starts from `model`, for `steps` steps in each epoch.
    pub(crate) fn new(model: ActionModel<f32>, config: &TrainingConfig, steps: usize) -> Result<Self, TrainingError> {
        let optimizer = Adam::new(AdamConfig {
            weight_decay: config.weight_decay,
            groups: vec![ParameterGroup::without_decay("*bias*")],
            ..AdamConfig::decoupled()
        })?;
        Ok(Self {
            model,
            optimizer,
            schedule: schedule(config, (config.epochs * steps) as u64)?,
            label_smoothing: config.label_smoothing,
            max_gradient_norm: config.max_gradient_norm,
            steps_done: 0,
        })
    }

    /// Changes the weights by the gradient of the loss of `batch`; `rng` draws what dropout drops.
    pub(crate) fn step(&mut self, batch: &Batch, rng: &mut impl Rng) -> Result<Outcome, TrainingError> {
        let (scores, trace) = self.model.forward_training(batch.frames.view(), &batch.lengths, rng)?;
        let config = CrossEntropyConfig { label_smoothing: self.label_smoothing, ..CrossEntropyConfig::default() };
        let loss = cross_entropy_with_gradient(scores.view(), &batch.labels, &config)?;
        let mut gradients = self.model.backward(&trace, loss.gradient.view())?;
        let learning_rate = self.schedule.learning_rate(self.steps_done);
        self.steps_done += 1;
        let failed = |source| TrainingError::Step { step: self.steps_done, source };
        if self.max_gradient_norm > 0.0 {
            clip_global_norm(&mut gradients, self.max_gradient_norm).map_err(failed)?;
        }
        self.optimizer.step(&mut self.model, &gradients, learning_rate).map_err(failed)?;
        let correct =
            scores.rows().into_iter().zip(&batch.labels).filter(|(row, label)| largest(row.view()) == **label);
        Ok(Outcome { loss: f64::from(loss.value + trace.penalty()), correct: correct.count() })
    }

    pub(crate) fn model(&self) -> &ActionModel<f32> {
        &self.model
    }

    pub(crate) fn into_model(self) -> ActionModel<f32> {
        self.model
    }

    /// The learning rate of the last step, or of the first before it.
    pub(crate) fn learning_rate(&self) -> f64 {
        self.schedule.learning_rate(self.steps_done.saturating_sub(1))
    }
}

/// The learning rate over `total_steps` steps.
pub(crate) fn schedule(config: &TrainingConfig, total_steps: u64) -> Result<Box<dyn Schedule + Send>, TensorError> {
    let max_learning_rate = config.learning_rate;
    Ok(match config.schedule {
        ScheduleKind::Constant => Box::new(Constant::new(max_learning_rate)?),
        ScheduleKind::Cosine => Box::new(Cosine::new(max_learning_rate, 0.0, total_steps)?),
        ScheduleKind::OneCycle => Box::new(OneCycle::new(OneCycleConfig {
            max_learning_rate,
            total_steps,
            warm_up_fraction: config.warm_up,
            ..OneCycleConfig::default()
        })?),
    })
}
