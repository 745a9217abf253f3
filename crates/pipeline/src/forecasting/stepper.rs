//! One step of training: loss, gradients, clipping, update.

use ndarray::{Array4, ArrayView4};
use tensor_ops::optim::{Adam, AdamConfig, OneCycle, OneCycleConfig, Optimizer, Schedule, clip_global_norm};

use super::ForecastingError;
use super::loss::LossConfig;
use super::network::ForecastNetwork;
use super::recipe::ForecastTrainingConfig;

/// Sequences to learn from: `[sequences, time, height, width]`.
#[derive(Clone, Debug)]
pub(super) struct ForecastBatch {
    pub(super) context: Array4<f32>,
    pub(super) guide: Option<Array4<f32>>,
    pub(super) truth: Array4<f32>,
}

/// A network with what changes it from step to step.
#[derive(Clone, Debug)]
pub(super) struct ForecastStepper {
    network: ForecastNetwork,
    optimizer: Adam<f32>,
    schedule: OneCycle,
    loss: LossConfig,
    max_gradient_norm: f64,
    steps_done: u64,
}

impl ForecastStepper {
    pub(super) fn new(
        network: ForecastNetwork,
        loss: &LossConfig,
        config: &ForecastTrainingConfig,
    ) -> Result<Self, ForecastingError> {
        Ok(Self {
            network,
            optimizer: Adam::new(AdamConfig::default())?,
            schedule: OneCycle::new(OneCycleConfig {
                max_learning_rate: config.learning_rate,
                total_steps: config.steps as u64,
                warm_up_fraction: config.warm_up,
                ..OneCycleConfig::default()
            })?,
            loss: loss.clone(),
            max_gradient_norm: config.max_gradient_norm,
            steps_done: 0,
        })
    }

    /// Changes the weights by the gradient of the loss of `batch`, which it returns.
    pub(super) fn step(&mut self, batch: &ForecastBatch) -> Result<f64, ForecastingError> {
        let guide: Option<ArrayView4<'_, f32>> = batch.guide.as_ref().map(|guide| guide.view());
        let horizon = batch.truth.dim().1;
        let (output, trace) = self.network.output_training(batch.context.view(), guide, horizon)?;
        let (loss, gradient) = self.loss.evaluate(output.view(), batch.truth.view())?;
        let mut gradients = self.network.backward(&trace, gradient)?;
        let learning_rate = self.learning_rate();
        self.steps_done += 1;
        let failed = |source| ForecastingError::Step { step: self.steps_done, source };
        if self.max_gradient_norm > 0.0 {
            clip_global_norm(&mut gradients, self.max_gradient_norm).map_err(failed)?;
        }
        self.optimizer.step(&mut self.network, &gradients, learning_rate).map_err(failed)?;
        Ok(loss)
    }

    /// The learning rate of the next step.
    pub(super) fn learning_rate(&self) -> f64 {
        self.schedule.learning_rate(self.steps_done)
    }

    pub(super) fn network(&self) -> &ForecastNetwork {
        &self.network
    }

    pub(super) fn into_network(self) -> ForecastNetwork {
        self.network
    }
}
