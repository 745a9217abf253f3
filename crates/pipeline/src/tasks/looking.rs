//! Where and when a classifier looks.

use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, Axis};

use super::drawing::{draw_frame_weights, draw_place_weights};
use super::grid::Cell;
use super::maps::Maps;
use super::{SmallDigits, TaskError};
use crate::model::{ActionModel, AttentionWeights};
use crate::training::largest;

/// How often the largest weight is on the digit.
#[derive(Clone, Copy, Debug)]
pub(super) struct HitRates {
    /// The part of the frames, or of the clips, where it is.
    pub(super) hits: f64,
    /// The part for a place or a frame drawn evenly.
    pub(super) chance: f64,
}

/// Where a place of the maps with `[height, width]` is hit: its middle lies in the digit of a frame of `canvas` pixels.
fn is_on_digit(place: [usize; 2], size: [usize; 2], canvas: usize, corner: [usize; 2]) -> bool {
    (0..2).all(|axis| {
        // In half pixels, so that the middle of a place is a whole number where it can be.
        let middle = (2 * place[axis] + 1) * canvas;
        let (first, end) = (2 * corner[axis], 2 * (corner[axis] + SmallDigits::SIZE));
        middle >= first * size[axis] && middle < end * size[axis]
    })
}

/// The rates over `clips`: per frame with a digit for weights over places, per clip for weights over frames.
pub(super) fn hit_rates(model: &ActionModel<f32>, clips: &Maps<'_>, canvas: usize) -> Result<HitRates, TaskError> {
    let (mut hits, mut chance, mut count) = (0.0, 0.0, 0);
    for positions in clips.parts() {
        let inputs = clips.batch(&positions);
        let part = positions.iter().map(|&position| &clips.clips()[position]);
        match model.attention(inputs.frames.view(), &inputs.lengths)? {
            Some(AttentionWeights::Places(weights)) => {
                for (clip, weights) in part.zip(&weights) {
                    for (weights, shown) in weights.outer_iter().zip(&clip.shown) {
                        let Some(shown) = shown else { continue };
                        let (hit, share) = place_hit(weights, canvas, shown.corner);
                        (hits, chance, count) = (hits + f64::from(u8::from(hit)), chance + share, count + 1);
                    }
                }
            }
            Some(AttentionWeights::Steps(weights)) => {
                for (clip, weights) in part.zip(&weights) {
                    let frame = largest(over_steps(weights).row(0));
                    let shown = clip.shown.iter().filter(|shown| shown.is_some()).count();
                    hits += f64::from(u8::from(clip.shown[frame].is_some()));
                    (chance, count) = (chance + shown as f64 / clip.shown.len() as f64, count + 1);
                }
            }
            _ => {}
        }
    }
    let count = f64::from(count.max(1));
    Ok(HitRates { hits: hits / count, chance: chance / count })
}

/// Whether the largest of the `weights` of a frame is on its digit, and the part of all places that are.
fn place_hit(weights: ArrayView2<'_, f32>, canvas: usize, corner: [usize; 2]) -> (bool, f64) {
    let (height, width) = weights.dim();
    let flat: Vec<f32> = weights.iter().copied().collect();
    let best = largest(ArrayView1::from(&flat));
    let on_digit = |place: usize| is_on_digit([place / width, place % width], [height, width], canvas, corner);
    let all = (0..flat.len()).filter(|&place| on_digit(place)).count();
    (on_digit(best), all as f64 / flat.len() as f64)
}

/// The mean of the weights `[steps, frames]` over the steps, as one row.
fn over_steps(weights: &Array2<f32>) -> Array2<f32> {
    let mean = weights.mean_axis(Axis(0)).unwrap_or_default();
    mean.insert_axis(Axis(0))
}

/// Draws the first test clips of `cell` with the weights of the model.
pub(super) fn pictures(cell: &Cell<'_>, model: &ActionModel<f32>, clips: &Maps<'_>) -> Result<(), TaskError> {
    let Some(folder) = &cell.pictures else { return Ok(()) };
    for (position, clip) in cell.test.iter().take(cell.recipe.pictures).enumerate() {
        let batch = clips.batch(&[position]);
        let path = folder.join(format!("{}-{:03}-frames-{position}.png", cell.model.name(), cell.frames));
        match model.attention(batch.frames.view(), &batch.lengths)? {
            Some(AttentionWeights::Places(weights)) => {
                draw_place_weights(&path, clip, enlarged(weights[0].view(), cell.recipe.data.canvas).view())?;
            }
            Some(AttentionWeights::Steps(weights)) => {
                draw_frame_weights(&path, clip, &[("weights".to_owned(), over_steps(&weights[0]).row(0))])?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Weights `[time, height, width]` on a square canvas, each frame with its largest as 1.
fn enlarged(weights: ArrayView3<'_, f32>, canvas: usize) -> Array3<f32> {
    let (time, height, width) = weights.dim();
    Array3::from_shape_fn((time, canvas, canvas), |(frame, row, column)| {
        let weights = weights.index_axis(Axis(0), frame);
        let most = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        weights[[row * height / canvas, column * width / canvas]] / most
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_place_is_on_the_digit_if_its_middle_is() {
        // Four places of eight pixels along each axis of a canvas of 32, with middles at 4, 12, 20 and 28.
        let rows = |corner| -> Vec<usize> {
            (0..4).filter(|&row| is_on_digit([row, row], [4, 4], 32, [corner, corner])).collect()
        };
        assert_eq!(rows(0), [0]);
        assert_eq!(rows(1), [0, 1]);
        assert_eq!(rows(4), [0, 1]);
        assert_eq!(rows(5), [1]);
        assert_eq!(rows(20), [2, 3]);
        assert!(!is_on_digit([0, 2], [4, 4], 32, [0, 0]));
    }

    #[test]
    fn the_largest_weight_and_chance_are_counted() {
        let weights = array![[0.1, 0.2], [0.6, 0.1]];
        assert_eq!(place_hit(weights.view(), 24, [12, 0]), (true, 0.25));
        assert_eq!(place_hit(weights.view(), 24, [0, 12]), (false, 0.25));
        assert_eq!(over_steps(&array![[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]), array![[0.5, 0.25, 0.25]]);
    }

    #[test]
    fn drawn_weights_cover_the_canvas() {
        let weights = array![[[0.1, 0.4], [0.2, 0.3]]];
        let drawn = enlarged(weights.view(), 5);
        assert_eq!(drawn.dim(), (1, 5, 5));
        assert_eq!((drawn[[0, 0, 0]], drawn[[0, 0, 4]], drawn[[0, 4, 0]]), (0.25, 1.0, 0.5));
    }
}
