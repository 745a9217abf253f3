//! Which frames a reducer teaches.

use ndarray::Axis;
use tensor_ops::loss::{CrossEntropyConfig, cross_entropy_with_gradient};

use super::TaskError;
use super::maps::Maps;
use crate::model::{ActionModel, ModelError, Temporal};
use crate::random::{Purpose, generator};

/// Which part of the gradient of the maps goes where.
#[derive(Clone, Copy, Debug)]
pub(super) struct GradientShares {
    /// The part of the frames that receive any.
    pub(super) frames: f64,
    /// The part of the sum of all magnitudes that goes to the frames with the digit.
    pub(super) digit: f64,
}

/// The shares over the first `count` of `clips` for a model that pools features; 0 for another model.
pub(super) fn gradient_shares(
    model: &ActionModel<f32>,
    clips: &Maps<'_>,
    count: usize,
) -> Result<GradientShares, TaskError> {
    let Temporal::Pooling(part) = &model.temporal else { return Ok(GradientShares { frames: 0.0, digit: 0.0 }) };
    let (mut frames, mut reached) = (0, 0);
    let (mut whole, mut digit) = (0.0, 0.0);
    // Nothing is drawn: there is no dropout in pooling.
    let rng = &mut generator(0, Purpose::Dropout, 0, 0);
    for (position, clip) in clips.clips().iter().take(count).enumerate() {
        let batch = clips.batch(&[position]);
        let maps = batch.frames.insert_axis(Axis(0));
        let (scores, trace) = part.layers.forward_training(maps.view(), None, rng).map_err(ModelError::from)?;
        let loss = cross_entropy_with_gradient(scores.view(), &batch.labels, &CrossEntropyConfig::default())?;
        let gradient = part.layers.backward(&trace, loss.gradient.view()).map_err(ModelError::from)?.input;
        for (of_frame, shown) in gradient.index_axis(Axis(0), 0).outer_iter().zip(&clip.shown) {
            let magnitude: f64 = of_frame.iter().map(|&value| f64::from(value.abs())).sum();
            frames += 1;
            reached += usize::from(magnitude > 0.0);
            whole += magnitude;
            digit += if shown.is_some() { magnitude } else { 0.0 };
        }
    }
    let digit = if whole > 0.0 { digit / whole } else { 0.0 };
    Ok(GradientShares { frames: reached as f64 / frames as f64, digit })
}
