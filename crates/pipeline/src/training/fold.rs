//! The training of one model, from its first weights to its final figures.

use std::time::Instant;

use ndarray_rand::rand::seq::SliceRandom;
use tensor_ops::{Parameters, TensorError};
use thiserror::Error;

use super::evaluate::evaluate;
use super::fitter::FailedStep;
use super::stepper::Stepper;
use crate::data::{Batch, FirActions, Fold, NormalizedClips, Symmetry};
use crate::model::{ActionModel, ModelError};
use crate::random::{Purpose, generator};
use crate::recipe::{ActionRecipe, RecipeError};
use crate::run::{EpochRecord, FORMAT_VERSION, FoldResults, ModelDescription, RunError};

/// Why training ended without a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The optimiser refused a step.
    #[error(transparent)]
    Step(#[from] FailedStep),
    /// The loss or the schedule refused its arguments.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// There is nothing to train or to test with.
    #[error("person {test_person}: no clips for {part}")]
    NoClips {
        /// The person tested on.
        test_person: usize,
        /// The part of the fold that is empty.
        part: &'static str,
    },
    /// What came of training cannot be kept.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// How far training has come.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// The training of a model begins.
    FoldStarted {
        /// The clips it is trained and tested on.
        fold: &'a Fold,
        /// The number of weights.
        parameters: usize,
        /// The number of epochs.
        epochs: usize,
        /// The number of steps of an epoch.
        steps: usize,
    },
    /// A step is done.
    StepDone {
        /// The epoch, from 1.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
        /// The mean loss of its clips.
        loss: f64,
    },
    /// An epoch is done.
    EpochDone(&'a EpochRecord),
    /// A model is trained and tested.
    FoldDone(&'a FoldResults),
}

/// A trained model and its figures.
#[derive(Clone, Debug)]
pub struct TrainedFold {
    /// What is needed to use the model.
    pub description: ModelDescription,
    /// The model.
    pub model: ActionModel<f32>,
    /// The final figures.
    pub results: FoldResults,
}

/// Trains a model on the training clips of `fold` and tests it on the test clips.
///
/// The test clips take no part before training has ended. `observer` hears of every step; its error ends training.
///
/// # Errors
/// [`TrainingError`] if the recipe cannot be used, the fold has nothing to train or test with, a gradient is not finite,
/// or `observer` returns an error.
///
/// # Panics
/// If `fold` names clips that the data set lacks.
pub fn train_fold(
    actions: &FirActions,
    fold: &Fold,
    recipe: &ActionRecipe,
    observer: &mut dyn FnMut(TrainingEvent<'_>) -> Result<(), RunError>,
) -> Result<TrainedFold, TrainingError> {
    recipe.validate()?;
    for (part, clips) in [("training", &fold.training), ("test", &fold.test)] {
        if clips.is_empty() {
            return Err(TrainingError::NoClips { test_person: fold.test_person, part });
        }
    }
    let start = Instant::now();
    let clips = NormalizedClips::new(actions, &recipe.preprocessing);
    let description = describe(recipe);
    let mut rng = generator(recipe.seed, Purpose::Weights, 0, fold.test_person);
    let model = description.initial_model(&mut rng)?;
    let parameters = model.parameter_count();
    let (epochs, steps) = (recipe.training.epochs, fold.training.len().div_ceil(recipe.training.batch_size));
    observer(TrainingEvent::FoldStarted { fold, parameters, epochs, steps })?;

    let mut stepper = Stepper::new(model, &recipe.training, steps)?;
    for epoch in 1..=epochs {
        let record = train_epoch(&mut stepper, &clips, fold, recipe, [epoch, steps], observer)?;
        observer(TrainingEvent::EpochDone(&record))?;
    }

    let model = stepper.into_model();
    let training_seconds = start.elapsed().as_secs_f64();
    let symmetries = recipe.evaluation.symmetries();
    let test = evaluate(&model, &clips, &fold.test, symmetries)?;
    let test = test.ok_or(TrainingError::NoClips { test_person: fold.test_person, part: "test" })?;
    let validation = evaluate(&model, &clips, &fold.validation, symmetries)?;
    let results = FoldResults { test_person: fold.test_person, test, validation, parameters, training_seconds };
    observer(TrainingEvent::FoldDone(&results))?;
    Ok(TrainedFold { description, model, results })
}

/// One pass over the training clips in `steps` steps, then a look at the validation clips.
fn train_epoch(
    stepper: &mut Stepper,
    clips: &NormalizedClips,
    fold: &Fold,
    recipe: &ActionRecipe,
    [epoch, steps]: [usize; 2],
    observer: &mut dyn FnMut(TrainingEvent<'_>) -> Result<(), RunError>,
) -> Result<EpochRecord, TrainingError> {
    let start = Instant::now();
    let mut order = fold.training.clone();
    order.shuffle(&mut generator(recipe.seed, Purpose::Order, epoch, 0));
    let (mut loss, mut correct) = (0.0, 0);
    let clips_of = |step| &order[part_of(order.len(), steps, step)];
    let batch_of = |step| Batch::augmented(clips, clips_of(step), &recipe.augmentation, recipe.seed, epoch);
    let mut batch = batch_of(0);
    for step in 0..steps {
        // The next batch is made while this one trains: the parts of a step that one thread does leave others free.
        let mut dropout = generator(recipe.seed, Purpose::Dropout, epoch, step);
        let train = || stepper.step(&batch, &mut dropout);
        let (outcome, next) = rayon::join(train, || (step + 1 < steps).then(|| batch_of(step + 1)));
        let outcome = outcome?;
        loss += outcome.loss * clips_of(step).len() as f64;
        correct += outcome.correct;
        observer(TrainingEvent::StepDone { epoch, step: step + 1, loss: outcome.loss })?;
        batch = next.unwrap_or(batch);
    }
    let validation = evaluate(stepper.model(), clips, &fold.validation, &[Symmetry::IDENTITY])?;
    Ok(EpochRecord {
        epoch,
        learning_rate: stepper.learning_rate(),
        training_loss: loss / order.len() as f64,
        training_accuracy: correct as f64 / order.len() as f64,
        validation_loss: validation.as_ref().map(|validation| validation.loss),
        validation_accuracy: validation.as_ref().map(|validation| validation.accuracy),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// What is needed to use a model trained by `recipe`.
fn describe(recipe: &ActionRecipe) -> ModelDescription {
    ModelDescription {
        format_version: FORMAT_VERSION,
        recipe: recipe.recipe,
        labels: FirActions::LABELS.map(str::to_owned).to_vec(),
        preprocessing: recipe.preprocessing.clone(),
        input_size: [FirActions::SIZE; 2],
        model: recipe.model.clone(),
    }
}

/// The `part`-th of `parts` nearly equal parts of `length` entries.
pub(crate) fn part_of(length: usize, parts: usize, part: usize) -> std::ops::Range<usize> {
    length * part / parts..length * (part + 1) / parts
}
