//! Where the frames and their labels stand.

use ndarray::{Array2, Axis};

use super::canvas::{Canvas, LETTER_WIDTH, LINE_HEIGHT};
use super::{Panel, PictureError, PictureStyle};

/// The space between frames, and around the picture.
const GAP: usize = 4;
/// The height of the bar with the colours.
const BAR_HEIGHT: usize = 8;
/// The smallest width of the bar with the colours, so that its labels fit.
const MIN_BAR_WIDTH: usize = 240;

/// All frames of each panel beside each other, the panels below each other, and the colours with their values.
pub(super) fn strip(panels: &[Panel<'_>], style: &PictureStyle) -> Result<Canvas, PictureError> {
    check(panels, style)?;
    let label_width = panels.iter().map(|panel| text_width(panel.label)).fold(0, usize::max);
    let left = GAP + label_width + GAP;
    let size = |panel: &Panel<'_>| {
        let (time, height, width) = panel.frames.dim();
        [height, width]
            .map(|size| size.saturating_mul(style.magnification))
            .into_iter()
            .chain([time])
            .collect::<Vec<_>>()
    };
    let sizes: Vec<Vec<usize>> = panels.iter().map(size).collect();
    let width_of = |size: &Vec<usize>| size[2].saturating_mul(size[1].saturating_add(GAP));
    let frames_width = sizes.iter().map(width_of).fold(MIN_BAR_WIDTH, usize::max);
    let heights = sizes.iter().map(|size| size[0].saturating_add(LINE_HEIGHT + GAP));
    let frames_height = heights.fold(0, usize::saturating_add);
    let height = frames_height.saturating_add(GAP + BAR_HEIGHT + 2 + LINE_HEIGHT);
    let mut canvas = Canvas::new(height, frames_width.saturating_add(left + GAP))?;
    let mut top = GAP;
    for (panel, size) in panels.iter().zip(&sizes) {
        let middle = top + LINE_HEIGHT + (size[0] / 2).saturating_sub(LINE_HEIGHT / 2);
        canvas.text(panel.label, middle, GAP);
        for (position, frame) in panel.frames.axis_iter(Axis(0)).enumerate() {
            let column = left + position * (size[1] + GAP);
            if let Some(caption) = panel.captions.get(position) {
                canvas.centred_text(caption, top, column + size[1] / 2);
            }
            canvas.frame(frame, top + LINE_HEIGHT, column, style.magnification);
        }
        top += size[0] + LINE_HEIGHT + GAP;
    }
    colour_bar(&mut canvas, style, top, left, frames_width - GAP);
    Ok(canvas)
}

/// The frame at `position` of each panel, beside each other, below the labels.
pub(super) fn moment(panels: &[Panel<'_>], position: usize, style: &PictureStyle) -> Result<Canvas, PictureError> {
    let (_, height, width) = panels[0].frames.dim();
    let [height, width] = [height, width].map(|size| size.saturating_mul(style.magnification));
    // A column is wide enough for its label and its captions.
    let texts = |panel: &Panel<'_>| {
        panel.captions.iter().map(|text| text_width(text)).fold(text_width(panel.label), usize::max)
    };
    let column = panels.iter().map(texts).fold(width, usize::max);
    let total = panels.len().saturating_mul(column.saturating_add(GAP)).saturating_add(GAP);
    let mut canvas = Canvas::new(height.saturating_add(2 * LINE_HEIGHT + 2 * GAP), total)?;
    for (index, panel) in panels.iter().enumerate() {
        let left = GAP + index * (column + GAP);
        let middle = left + column / 2;
        canvas.centred_text(panel.label, GAP, middle);
        if let Some(caption) = panel.captions.get(position) {
            canvas.centred_text(caption, GAP + LINE_HEIGHT, middle);
        }
        let frame = panel.frames.index_axis(Axis(0), position);
        canvas.frame(frame, GAP + 2 * LINE_HEIGHT, left + (column - width) / 2, style.magnification);
    }
    Ok(canvas)
}

/// Checks that there is something to show.
pub(super) fn check(panels: &[Panel<'_>], style: &PictureStyle) -> Result<(), PictureError> {
    let not_empty = |what, count: usize| if count > 0 { Ok(()) } else { Err(PictureError::Empty { what }) };
    not_empty("panels", panels.len())?;
    not_empty("magnification", style.magnification)?;
    for panel in panels {
        let (time, height, width) = panel.frames.dim();
        not_empty("frames of a panel", time)?;
        not_empty("height of frames", height)?;
        not_empty("width of frames", width)?;
    }
    Ok(())
}

fn colour_bar(canvas: &mut Canvas, style: &PictureStyle, top: usize, left: usize, width: usize) {
    let bar = Array2::from_shape_fn((BAR_HEIGHT, width), |(_, x)| x as f32 / (width - 1) as f32);
    canvas.frame(bar.view(), top, left, 1);
    for (value, label) in style.colours.marks() {
        let column = left + (value * (width - 1) as f32).round() as usize;
        canvas.centred_text(&label, top + BAR_HEIGHT + 2, column);
    }
    canvas.text(style.colours.unit(), top, GAP);
}

fn text_width(text: &str) -> usize {
    text.chars().count().saturating_mul(LETTER_WIDTH)
}
