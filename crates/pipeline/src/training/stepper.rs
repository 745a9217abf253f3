//! One step of training a classifier of clips: loss, gradients, update.

use ndarray_rand::rand::Rng;
use tensor_ops::loss::{CrossEntropyConfig, cross_entropy_with_gradient};

use super::config::TrainingConfig;
use super::evaluate::largest;
use super::fitter::Fitter;
use super::fold::TrainingError;
use crate::data::Batch;
use crate::model::ActionModel;

/// A classifier with what changes it from step to step.
#[derive(Debug)]
pub(crate) struct Stepper {
    fitter: Fitter<ActionModel<f32>>,
    label_smoothing: f64,
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
        let fitter = Fitter::of_config(model, config, config.epochs * steps)?;
        Ok(Self { fitter, label_smoothing: config.label_smoothing })
    }

    /// Changes the weights by the gradient of the loss of `batch`; `rng` draws what dropout drops.
    pub(crate) fn step(&mut self, batch: &Batch, rng: &mut impl Rng) -> Result<Outcome, TrainingError> {
        let model = self.fitter.model();
        let (scores, trace) = model.forward_training(batch.frames.view(), &batch.lengths, rng)?;
        let config = CrossEntropyConfig { label_smoothing: self.label_smoothing, ..CrossEntropyConfig::default() };
        let loss = cross_entropy_with_gradient(scores.view(), &batch.labels, &config)?;
        let gradients = model.backward(&trace, loss.gradient.view())?;
        self.fitter.step(gradients)?;
        let correct =
            scores.rows().into_iter().zip(&batch.labels).filter(|(row, label)| largest(row.view()) == **label);
        Ok(Outcome { loss: f64::from(loss.value + trace.penalty()), correct: correct.count() })
    }

    pub(crate) fn model(&self) -> &ActionModel<f32> {
        self.fitter.model()
    }

    pub(crate) fn fitter(&self) -> &Fitter<ActionModel<f32>> {
        &self.fitter
    }

    pub(crate) fn fitter_mut(&mut self) -> &mut Fitter<ActionModel<f32>> {
        &mut self.fitter
    }

    pub(crate) fn into_model(self) -> ActionModel<f32> {
        self.fitter.into_model()
    }

    /// The learning rate of the last step, or of the first before it.
    pub(crate) fn learning_rate(&self) -> f64 {
        self.fitter.last_learning_rate()
    }
}
