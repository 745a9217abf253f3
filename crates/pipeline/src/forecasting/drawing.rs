//! Pictures of forecasts.

use std::path::Path;

use ndarray::{ArrayView4, Axis};

use super::run::ForecastingError;
use crate::pictures::{Panel, PictureStyle, write_animation, write_strip};

/// Writes a strip and an animation of each sequence to `folder`: its input `known`, and below it the frames of `rows` by their
/// labels, all `[sequences, time, height, width]`. With the `minutes` between frames, the time stands above them.
pub(super) fn draw_sequences(
    folder: &Path,
    sequences: &[usize],
    known: ArrayView4<'_, f32>,
    rows: &[(&str, ArrayView4<'_, f32>)],
    minutes: Option<f64>,
    style: &PictureStyle,
) -> Result<(), ForecastingError> {
    let context = known.len_of(Axis(1)) as f64;
    for (position, sequence) in sequences.iter().enumerate() {
        let panel = |label, frames: ArrayView4<'_, f32>, first: f64| {
            let frames = frames.index_axis(Axis(0), position).to_owned();
            (label, frames, minutes.map(|minutes| (first * minutes, minutes)))
        };
        let mut frames = vec![panel("input", known, 1.0 - context)];
        frames.extend(rows.iter().map(|&(label, frames)| panel(label, frames, 1.0)));
        let panels: Vec<_> = frames
            .iter()
            .map(|(label, frames, times)| {
                let panel = Panel::new(label, frames.view());
                times.map_or(panel.clone(), |(first, step)| panel.with_minutes(first, step))
            })
            .collect();
        write_strip(&folder.join(format!("sequence-{sequence:03}.png")), &panels, style)?;
        write_animation(&folder.join(format!("sequence-{sequence:03}.gif")), &panels[1..], style)?;
    }
    Ok(())
}
