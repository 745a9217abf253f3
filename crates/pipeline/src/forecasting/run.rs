//! What the jobs of forecasting share: training, events, errors, and what is kept with the weights.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array4, Axis};
use ndarray_rand::rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tensor_ops::{Parameters, TensorError};
use thiserror::Error;

use super::loss::LossConfig;
use super::network::{ForecastNetwork, FrameOutput, NetworkConfig};
use super::recipe::ForecastTrainingConfig;
use super::stepper::{ForecastBatch, ForecastStepper};
use crate::data::{DataError, DigitsError, FrameFileError};
use crate::estimate::{Calibration, Estimate};
use crate::forecast::ForecastError;
use crate::interrupt::Interrupt;
use crate::metrics::frames::MetricError;
use crate::pictures::PictureError;
use crate::random::{Purpose, generator};
use crate::recipe::{RecipeError, RecipeKind};
use crate::run::{
    FORMAT_VERSION, RunDirectory, RunError, WeightsError, load_checkpoint, load_with, save_checkpoint, save_parameters,
};
use crate::training::{CHECKPOINT_INTERVAL, FailedStep};

/// Why frames cannot be forecast, or a network cannot be trained or tested.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForecastingError {
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The bundled data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The bundled digits cannot be read.
    #[error(transparent)]
    Digits(#[from] DigitsError),
    /// A file of frames cannot be used.
    #[error(transparent)]
    Frames(#[from] FrameFileError),
    /// A file of frames is too short to train and test with.
    #[error("{}: {found} frames in {sequences} sequences: too few to train on and to test with windows of {window} frames", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// The number of sequences.
        sequences: usize,
        /// The number of frames of a sequence.
        found: usize,
        /// The number of frames read and forecast together.
        window: usize,
    },
    /// The network does not fit the frames.
    #[error(transparent)]
    Network(#[from] convlstm::ConvLstmError),
    /// Frames cannot be extrapolated or compared.
    #[error(transparent)]
    Forecast(#[from] ForecastError),
    /// Frames cannot be compared.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The optimiser refused a step.
    #[error(transparent)]
    Step(#[from] FailedStep),
    /// Training was stopped; what it had learnt is kept.
    #[error("stopped; what was learnt is kept, and `vidrnn resume {}` goes on", path.display())]
    Interrupted {
        /// The run directory.
        path: PathBuf,
    },
    /// A picture cannot be written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A file of the run cannot be written or read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The weights cannot be saved or loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// What happens while a network is trained.
#[derive(Debug)]
#[non_exhaustive]
pub enum ForecastingEvent<'a> {
    /// Training begins, and takes about this.
    Started(&'a Estimate),
    /// A step is done, counted from 1.
    StepDone {
        /// The number of the step.
        step: usize,
        /// The number of all steps.
        steps: usize,
        /// Its loss.
        loss: f64,
    },
    /// Training is done, and the test begins.
    Testing,
}

/// The figures of some steps of training: one line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The last of the steps.
    pub step: usize,
    /// The learning rate of that step.
    pub learning_rate: f64,
    /// The mean loss of the steps.
    pub loss: f64,
    /// The time that they took.
    pub seconds: f64,
}

/// Everything needed to use a network, apart from its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastDescription {
    /// The version of the file format.
    pub format_version: u32,
    /// What the network was trained for.
    pub recipe: RecipeKind,
    /// The number of frames that were read in training.
    pub context: usize,
    /// The number of frames that were forecast in training.
    pub horizon: usize,
    /// The height and the width of the frames in training.
    pub frame_size: [usize; 2],
    /// What its output means.
    pub output: FrameOutput,
    /// Its parts and their sizes.
    pub network: NetworkConfig,
}

impl ForecastDescription {
    pub(super) fn new(
        recipe: RecipeKind,
        [context, horizon]: [usize; 2],
        frame_size: [usize; 2],
        output: FrameOutput,
        network: &NetworkConfig,
    ) -> Self {
        let network = network.clone();
        Self { format_version: FORMAT_VERSION, recipe, context, horizon, frame_size, output, network }
    }
}

/// Steps whose figures are kept together.
const STEPS_PER_RECORD: usize = 10;

/// What training needs beside the batches.
pub(super) struct Training<'a> {
    pub(super) seed: u64,
    pub(super) loss: &'a LossConfig,
    pub(super) config: &'a ForecastTrainingConfig,
    pub(super) description: &'a ForecastDescription,
    pub(super) directory: &'a RunDirectory,
    /// The whole recipe as text; training that was stopped goes on with no other.
    pub(super) recipe: &'a str,
    pub(super) interrupt: &'a Interrupt,
}

/// How far training has come: everything that changes from step to step, apart from the weights and the optimiser.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    /// The steps that are done.
    steps: usize,
    records: Vec<TrainingRecord>,
    /// The sum of the losses of the steps after the last record.
    loss: f64,
    /// The time that those took.
    record_seconds: f64,
    /// The time that all of it took.
    seconds: f64,
}

impl Training<'_> {
    /// Trains a network and saves it, from the beginning or from where training was stopped; the network and the time that its training took. `windows_of` makes the frames of a
    /// step, those that are read and those that are forecast: `[sequences, time, height, width]`.
    pub(super) fn run(
        &self,
        windows_of: impl Fn(usize) -> Array4<f32> + Sync,
        observer: &mut dyn FnMut(ForecastingEvent<'_>),
    ) -> Result<(ForecastNetwork, f64), ForecastingError> {
        let ForecastDescription { context, horizon, output, network: sizes, .. } = self.description;
        let batch_of = |step: usize| -> Result<ForecastBatch, ForecastingError> {
            let windows = windows_of(step);
            let (known, truth) = windows.view().split_at(Axis(1), *context);
            let guide = sizes.guide(known, *horizon)?;
            Ok(ForecastBatch { context: known.to_owned(), guide, truth: truth.to_owned() })
        };
        let network = ForecastNetwork::new(sizes, *output, &mut generator(self.seed, Purpose::Weights, 0, 0))?;
        let mut stepper = ForecastStepper::new(network, self.loss, self.config)?;
        let checkpoint = self.directory.checkpoint_path();
        let mut progress = Progress::default();
        if let Some(kept) = load_checkpoint(&checkpoint, self.recipe, stepper.fitter_mut())? {
            progress = kept;
        }
        let keep = |progress: &Progress, stepper: &ForecastStepper| {
            save_checkpoint(&checkpoint, self.recipe, progress, stepper.fitter())
        };
        let steps = self.config.steps;
        let mut next = (progress.steps < steps).then(|| batch_of(progress.steps)).transpose()?;
        if let Some(batch) = &next {
            observer(ForecastingEvent::Started(&self.estimate(&stepper, batch, steps - progress.steps)?));
        }
        let (mut since, mut kept) = (Instant::now(), Instant::now());
        while let Some(batch) = next {
            let step = progress.steps;
            let learning_rate = stepper.learning_rate();
            // The next batch is made while this one trains.
            let following = || (step + 1 < steps).then(|| batch_of(step + 1)).transpose();
            let (outcome, following) = rayon::join(|| stepper.step(&batch), following);
            let outcome = outcome?;
            progress.steps += 1;
            progress.loss += outcome;
            let seconds = since.elapsed().as_secs_f64();
            since = Instant::now();
            progress.record_seconds += seconds;
            progress.seconds += seconds;
            observer(ForecastingEvent::StepDone { step: step + 1, steps, loss: outcome });
            let of_record = step % STEPS_PER_RECORD + 1;
            if of_record == STEPS_PER_RECORD || step + 1 == steps {
                let (loss, seconds) = (progress.loss / of_record as f64, progress.record_seconds);
                progress.records.push(TrainingRecord { step: step + 1, learning_rate, loss, seconds });
                self.directory.write_metrics(&progress.records)?;
                (progress.loss, progress.record_seconds) = (0.0, 0.0);
            }
            if self.interrupt.requested() {
                keep(&progress, &stepper)?;
                return Err(ForecastingError::Interrupted { path: self.directory.path().to_owned() });
            }
            if kept.elapsed() >= CHECKPOINT_INTERVAL || step + 1 == steps {
                keep(&progress, &stepper)?;
                kept = Instant::now();
            }
            next = following?;
        }
        let network = stepper.into_network();
        save_parameters(&self.directory.model_path(), self.description, &network)?;
        Ok((network, progress.seconds))
    }

    /// What `steps` steps of training take, their time measured on a copy of `stepper`.
    fn estimate(
        &self,
        stepper: &ForecastStepper,
        batch: &ForecastBatch,
        steps: usize,
    ) -> Result<Estimate, ForecastingError> {
        let ForecastDescription { context, horizon, frame_size, network: sizes, .. } = self.description;
        let mut trial = stepper.clone();
        let step_time = Calibration::default().measure(|| trial.step(batch).map(|_| ()))?;
        let (layers, parameters) = (sizes.encoder_forecaster(), stepper.network().parameter_count() as u64);
        let pass = layers.training_memory::<f32>(self.config.batch_size, *context, *horizon, *frame_size)?;
        // Adam keeps two moments of every parameter.
        let moments = 2 * parameters * size_of::<f32>() as u64;
        Ok(Estimate {
            parameters,
            multiply_adds: layers.multiply_adds(*context, *horizon, *frame_size)?,
            memory: pass.saturating_add(moments),
            steps: steps as u64,
            step_time,
        })
    }
}

/// Which items a step sees: every epoch goes through all in an order of its own.
///
/// The items of a step, by epoch: `(epoch, items)`.
pub(super) fn items_of_step(seed: u64, count: usize, batch_size: usize, step: usize) -> Vec<(usize, Vec<usize>)> {
    let (first, end) = (step * batch_size, (step + 1) * batch_size);
    let epochs = first / count..=(end - 1) / count;
    let of_epoch = |epoch: usize| {
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut generator(seed, Purpose::Order, epoch, 0));
        let start = epoch * count;
        (epoch, order[first.max(start) - start..end.min(start + count) - start].to_vec())
    };
    epochs.map(of_epoch).collect()
}

/// Reads the network of a run.
pub(super) fn load_network(path: &Path, kind: RecipeKind) -> Result<ForecastNetwork, ForecastingError> {
    let at = || path.to_owned();
    let (_, network) = load_with(path, |description: &ForecastDescription| {
        if description.recipe != kind {
            return Err(WeightsError::Kind { path: at(), expected: kind.name(), found: description.recipe.name() });
        }
        let rng = &mut generator(0, Purpose::Weights, 0, 0);
        let network = ForecastNetwork::new(&description.network, description.output, rng);
        network.map_err(|source| WeightsError::Network { path: at(), source })
    })?;
    Ok(network)
}

impl From<TensorError> for ForecastingError {
    fn from(error: TensorError) -> Self {
        Self::Forecast(error.into())
    }
}
