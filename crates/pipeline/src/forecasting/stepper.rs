//! One step of training: loss, gradients, update.

use std::sync::Arc;

use ndarray::{Array4, ArrayView4};
use tensor_ops::optim::{Adam, AdamConfig, OneCycle, OneCycleConfig};

use super::ForecastingError;
use super::loss::LossConfig;
use super::network::ForecastNetwork;
use super::recipe::ForecastTrainingConfig;
use crate::training::Fitter;

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
    fitter: Fitter<ForecastNetwork>,
    loss: LossConfig,
}

impl ForecastStepper {
    pub(super) fn new(
        network: ForecastNetwork,
        loss: &LossConfig,
        config: &ForecastTrainingConfig,
    ) -> Result<Self, ForecastingError> {
        let schedule = OneCycle::new(OneCycleConfig {
            max_learning_rate: config.learning_rate,
            total_steps: config.steps as u64,
            warm_up_fraction: config.warm_up,
            ..OneCycleConfig::default()
        })?;
        let optimizer = Adam::new(AdamConfig::default())?;
        let fitter = Fitter::new(network, optimizer, Arc::new(schedule), config.max_gradient_norm);
        Ok(Self { fitter, loss: loss.clone() })
    }

    /// Changes the weights by the gradient of the loss of `batch`, which it returns.
    pub(super) fn step(&mut self, batch: &ForecastBatch) -> Result<f64, ForecastingError> {
        let guide: Option<ArrayView4<'_, f32>> = batch.guide.as_ref().map(|guide| guide.view());
        let horizon = batch.truth.dim().1;
        let network = self.fitter.model();
        let (output, trace) = network.output_training(batch.context.view(), guide, horizon)?;
        let (loss, gradient) = self.loss.evaluate(output.view(), batch.truth.view())?;
        let gradients = network.backward(&trace, gradient)?;
        self.fitter.step(gradients)?;
        Ok(loss)
    }

    /// The learning rate of the next step.
    pub(super) fn learning_rate(&self) -> f64 {
        self.fitter.next_learning_rate()
    }

    pub(super) fn network(&self) -> &ForecastNetwork {
        self.fitter.model()
    }

    pub(super) fn fitter(&self) -> &Fitter<ForecastNetwork> {
        &self.fitter
    }

    pub(super) fn fitter_mut(&mut self) -> &mut Fitter<ForecastNetwork> {
        &mut self.fitter
    }

    pub(super) fn into_network(self) -> ForecastNetwork {
        self.fitter.into_model()
    }
}
