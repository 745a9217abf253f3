//! The steps of training, kept so that they can go on.

use std::time::Instant;

use ndarray_rand::rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tensor_ops::Parameters;

use super::clips::VideoClips;
use super::model::mean_probabilities;
use super::training::Observer;
use super::{VideoEvent, VideoRecipe, VideosError};
use crate::interrupt::Interrupt;
use crate::metrics::ConfusionMatrix;
use crate::model::ActionModel;
use crate::random::{Purpose, generator};
use crate::run::{EpochRecord, Evaluation, RunDirectory, load_checkpoint, save_checkpoint};
use crate::training::{CHECKPOINT_INTERVAL, Stepper, largest, part_of};

/// The videos of a run, ready to be read.
pub(super) struct Prepared<'a> {
    pub(super) clips: VideoClips<'a>,
    pub(super) training: Vec<usize>,
    pub(super) validation: Vec<usize>,
    /// The position in the collection of each video.
    pub(super) positions: Vec<usize>,
    pub(super) left_out: Vec<String>,
}

/// How far training has come: everything that changes from step to step, apart from the weights and the optimiser.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    /// The epochs that are done.
    epochs: Vec<EpochRecord>,
    /// The steps of the next epoch that are done.
    steps: usize,
    /// The sum of the losses of their clips.
    loss: f64,
    /// The clips of them that were recognised.
    correct: usize,
    /// The time that all of it took.
    seconds: f64,
    /// The part of that time that belongs to the next epoch.
    epoch_seconds: f64,
}

/// Trains one model.
pub(super) struct Trainer<'a> {
    pub(super) recipe: &'a VideoRecipe,
    pub(super) prepared: &'a Prepared<'a>,
    pub(super) directory: &'a RunDirectory,
    progress: Progress,
    /// When training was last kept.
    kept: Instant,
}

impl<'a> Trainer<'a> {
    pub(super) fn new(recipe: &'a VideoRecipe, prepared: &'a Prepared<'a>, directory: &'a RunDirectory) -> Self {
        Self { recipe, prepared, directory, progress: Progress::default(), kept: Instant::now() }
    }

    /// How long training took.
    pub(super) fn seconds(&self) -> f64 {
        self.progress.seconds
    }

    /// Trains from the beginning, or from where training was kept.
    pub(super) fn train(
        &mut self,
        model: ActionModel<f32>,
        interrupt: &Interrupt,
        observer: Observer<'_>,
    ) -> Result<ActionModel<f32>, VideosError> {
        let config = &self.recipe.training;
        let steps = self.prepared.training.len().div_ceil(config.batch_size);
        let mut stepper = Stepper::new(model, config, steps)?;
        let path = self.directory.checkpoint_path();
        if let Some(progress) = load_checkpoint(&path, &self.recipe.to_toml(), stepper.fitter_mut())? {
            self.progress = progress;
        }
        let done = self.progress.epochs.len() * steps + self.progress.steps;
        let (parameters, epochs) = (stepper.model().parameter_count(), config.epochs);
        observer(VideoEvent::Started { parameters, epochs, steps, done });
        while self.progress.epochs.len() < epochs {
            self.train_epoch(&mut stepper, steps, interrupt, observer)?;
        }
        Ok(stepper.into_model())
    }

    /// What is left of an epoch, then a look at the videos held out.
    fn train_epoch(
        &mut self,
        stepper: &mut Stepper,
        steps: usize,
        interrupt: &Interrupt,
        observer: Observer<'_>,
    ) -> Result<(), VideosError> {
        let Prepared { clips, training, validation, .. } = self.prepared;
        let (seed, epoch) = (self.recipe.seed, self.progress.epochs.len() + 1);
        let mut order = training.clone();
        order.shuffle(&mut generator(seed, Purpose::Order, epoch, 0));
        let clips_of = |step| &order[part_of(order.len(), steps, step)];
        let batch_of = |step| clips.training_batch(clips_of(step), epoch);
        let mut since = Instant::now();
        let mut next = (self.progress.steps < steps).then(|| batch_of(self.progress.steps)).transpose()?;
        while let Some(batch) = next {
            let step = self.progress.steps;
            let mut dropout = generator(seed, Purpose::Dropout, epoch, step);
            // The next batch is made while this one trains.
            let following = || (step + 1 < steps).then(|| batch_of(step + 1)).transpose();
            let (outcome, following) = rayon::join(|| stepper.step(&batch, &mut dropout), following);
            let outcome = outcome?;
            self.progress.steps += 1;
            self.progress.loss += outcome.loss * clips_of(step).len() as f64;
            self.progress.correct += outcome.correct;
            self.count_time(&mut since);
            observer(VideoEvent::StepDone { epoch, step: step + 1, loss: outcome.loss });
            if interrupt.requested() {
                self.keep(stepper)?;
                return Err(VideosError::Interrupted { path: self.directory.path().to_owned() });
            }
            if self.kept.elapsed() >= CHECKPOINT_INTERVAL {
                self.keep(stepper)?;
            }
            next = following?;
        }
        let evaluation = evaluate_part(stepper.model(), clips, validation)?.0;
        self.count_time(&mut since);
        let record = EpochRecord {
            epoch,
            learning_rate: stepper.learning_rate(),
            training_loss: self.progress.loss / order.len() as f64,
            training_accuracy: self.progress.correct as f64 / order.len() as f64,
            validation_loss: Some(evaluation.loss),
            validation_accuracy: Some(evaluation.accuracy),
            seconds: self.progress.epoch_seconds,
        };
        observer(VideoEvent::EpochDone(&record));
        self.progress.epochs.push(record);
        let (epochs, seconds) = (std::mem::take(&mut self.progress.epochs), self.progress.seconds);
        self.progress = Progress { epochs, seconds, ..Progress::default() };
        self.directory.write_metrics(&self.progress.epochs)?;
        self.keep(stepper)
    }

    fn count_time(&mut self, since: &mut Instant) {
        let seconds = since.elapsed().as_secs_f64();
        *since = Instant::now();
        self.progress.seconds += seconds;
        self.progress.epoch_seconds += seconds;
    }

    fn keep(&mut self, stepper: &Stepper) -> Result<(), VideosError> {
        save_checkpoint(&self.directory.checkpoint_path(), &self.recipe.to_toml(), &self.progress, stepper.fitter())?;
        self.kept = Instant::now();
        Ok(())
    }
}

/// The figures of a model on some videos, and what it takes each of them for, with the probability of that.
pub(super) fn evaluate_part(
    model: &ActionModel<f32>,
    clips: &VideoClips<'_>,
    videos: &[usize],
) -> Result<(Evaluation, Vec<(usize, f32)>), VideosError> {
    let said = videos.par_iter().map(|&video| mean_probabilities(model, &clips.test_clips(video)?));
    let said = said.collect::<Result<Vec<_>, VideosError>>()?;
    let mut confusion = ConfusionMatrix::new(model.classes());
    let (mut loss, mut predictions) = (0.0, Vec::new());
    for (&video, probabilities) in videos.iter().zip(said) {
        let (label, predicted) = (clips.labels[video], largest(probabilities.view()));
        confusion.add(label, predicted);
        loss -= f64::from(probabilities[label].max(f32::MIN_POSITIVE)).ln();
        predictions.push((predicted, probabilities[predicted]));
    }
    Ok((Evaluation::new(loss / videos.len() as f64, confusion), predictions))
}
