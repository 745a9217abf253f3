//! A model on clips whose actions are known.

use ndarray::{Array2, ArrayView1, s};
use tensor_ops::{Element, softmax};

use crate::data::{Batch, NormalizedClips, Symmetry};
use crate::metrics::ConfusionMatrix;
use crate::model::{ActionModel, ModelError};
use crate::run::Evaluation;

/// So many clips go through the model at once; the result does not depend on it.
const BATCH_SIZE: usize = 64;

/// The probabilities of the classes, `[clips, classes]`, for the clips at `positions` in the data set: the mean over
/// `symmetries` of each clip.
///
/// # Errors
/// [`ModelError`] if the model is made for another input.
///
/// # Panics
/// If `positions` holds one that the data set lacks.
pub fn probabilities(
    model: &ActionModel<f32>,
    clips: &NormalizedClips,
    positions: &[usize],
    symmetries: &[Symmetry],
) -> Result<Array2<f32>, ModelError> {
    let mut mean = Array2::zeros((positions.len(), model.classes()));
    for (batch, start) in positions.chunks(BATCH_SIZE).zip((0..).step_by(BATCH_SIZE)) {
        let mut mean = mean.slice_mut(s![start..start + batch.len(), ..]);
        for &symmetry in symmetries {
            let batch = Batch::recorded(clips, batch, symmetry);
            let scores = model.forward(batch.frames.view(), &batch.lengths)?;
            mean += &softmax(scores.view(), 1, None)?;
        }
    }
    mean /= symmetries.len() as f32;
    Ok(mean)
}

/// The figures of a model on the clips at `positions` in the data set; `None` if there are none.
///
/// # Errors
/// [`ModelError`] if the model is made for another input.
///
/// # Panics
/// If `positions` holds one that the data set lacks.
pub fn evaluate(
    model: &ActionModel<f32>,
    clips: &NormalizedClips,
    positions: &[usize],
    symmetries: &[Symmetry],
) -> Result<Option<Evaluation>, ModelError> {
    if positions.is_empty() {
        return Ok(None);
    }
    let probabilities = probabilities(model, clips, positions, symmetries)?;
    let mut confusion = ConfusionMatrix::new(model.classes());
    let mut loss = 0.0;
    for (&position, probabilities) in positions.iter().zip(probabilities.rows()) {
        let label = clips.label(position);
        confusion.add(label, largest(probabilities));
        loss -= f64::from(probabilities[label].max(f32::MIN_POSITIVE)).ln();
    }
    Ok(Some(Evaluation::new(loss / positions.len() as f64, confusion)))
}

/// The position of the largest value, the first of several.
pub(crate) fn largest<T: Element>(values: ArrayView1<'_, T>) -> usize {
    let mut largest = 0;
    for (position, &value) in values.iter().enumerate() {
        if value > values[largest] {
            largest = position;
        }
    }
    largest
}
