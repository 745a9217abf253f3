//! Pictures of clips with the weights of what a model attends to.

use std::path::Path;

use ndarray::{Array3, ArrayView1, ArrayView3};

use super::{TaskClip, TaskError};
use crate::pictures::{Panel, PictureStyle, write_strip};

/// The height of a row of weights in pixels of a frame.
const ROW_HEIGHT: usize = 6;

/// Writes a strip of the frames of `clip`, and below each frame its weight in every one of `rows`, whose labels say what
/// was said with it.
pub(super) fn draw_frame_weights(
    path: &Path,
    clip: &TaskClip,
    rows: &[(String, ArrayView1<'_, f32>)],
) -> Result<(), TaskError> {
    let frames = clip.pixels.mapv(|pixel| f32::from(pixel) / 255.0);
    let (time, _, width) = frames.dim();
    let weights: Vec<Array3<f32>> = rows
        .iter()
        .map(|(_, weights)| Array3::from_shape_fn((time, ROW_HEIGHT, width), |(frame, _, _)| weights[frame]))
        .collect();
    let mut panels = vec![Panel::new("clip", frames.view())];
    panels.extend(rows.iter().zip(&weights).map(|((label, _), weights)| Panel::new(label, weights.view())));
    Ok(write_strip(path, &panels, &PictureStyle::default())?)
}

/// Writes a strip of the frames of `clip`, and below each its `weights`, `[time, height, width]` from 0 to 1.
pub(super) fn draw_place_weights(path: &Path, clip: &TaskClip, weights: ArrayView3<'_, f32>) -> Result<(), TaskError> {
    let frames = clip.pixels.mapv(|pixel| f32::from(pixel) / 255.0);
    let panels = [Panel::new("clip", frames.view()), Panel::new("weights", weights)];
    Ok(write_strip(path, &panels, &PictureStyle::default())?)
}
