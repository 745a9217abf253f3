//! Pictures as files.

use std::path::Path;

use super::layout::{check, moment, strip};
use super::{Panel, PictureError, PictureStyle};
use crate::run::atomic;

/// Writes a PNG file: a row for each of `panels` with all its frames from left to right, and below them the colours with
/// the values they stand for.
///
/// # Errors
/// [`PictureError`] if there is no panel, a panel has no frames or no pixels, the picture would have more than 16384 pixels
/// along an axis, or the file cannot be written.
pub fn write_strip(path: &Path, panels: &[Panel<'_>], style: &PictureStyle) -> Result<(), PictureError> {
    let canvas = strip(panels, style)?;
    let (height, width) = canvas.pixels.dim();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(style.colours.palette());
    let pixels: Vec<u8> = canvas.pixels.into_iter().collect();
    let encoded = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&pixels)?;
        writer.finish()
    });
    encoded.map_err(|source| PictureError::Png { path: path.to_owned(), source })?;
    atomic::write(path, &bytes).map_err(|source| PictureError::Io { path: path.to_owned(), source })
}

/// Writes a GIF file that runs again and again: `panels` beside each other, all at the same time.
///
/// # Errors
/// [`PictureError`] if there is no panel, the panels differ in their number of frames or in the size of these, one is 0,
/// the picture would have more than 16384 pixels along an axis, or the file cannot be written.
pub fn write_animation(path: &Path, panels: &[Panel<'_>], style: &PictureStyle) -> Result<(), PictureError> {
    check(panels, style)?;
    for panel in panels {
        for (axis, name) in ["number of frames", "height", "width"].into_iter().enumerate() {
            let (expected, found) = (panels[0].frames.shape()[axis], panel.frames.shape()[axis]);
            if expected != found {
                return Err(PictureError::Size { label: panel.label.to_owned(), axis: name, expected, found });
            }
        }
    }
    let canvases = (0..panels[0].frames.dim().0).map(|position| moment(panels, position, style));
    let bytes = encode_animation(canvases, style, path)?;
    atomic::write(path, &bytes).map_err(|source| PictureError::Io { path: path.to_owned(), source })
}

fn encode_animation(
    canvases: impl Iterator<Item = Result<super::canvas::Canvas, PictureError>>,
    style: &PictureStyle,
    path: &Path,
) -> Result<Vec<u8>, PictureError> {
    let failed = |source| PictureError::Gif { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let mut encoder: Option<gif::Encoder<&mut Vec<u8>>> = None;
    let mut target = Some(&mut bytes);
    for canvas in canvases {
        let canvas = canvas?;
        let (height, width) = canvas.pixels.dim();
        let [height, width] =
            [height, width].map(|size| u16::try_from(size).expect("a canvas has at most 16384 pixels"));
        if let Some(target) = target.take() {
            let mut first = gif::Encoder::new(target, width, height, &style.colours.palette()).map_err(failed)?;
            first.set_repeat(gif::Repeat::Infinite).map_err(failed)?;
            encoder = Some(first);
        }
        let pixels: Vec<u8> = canvas.pixels.into_iter().collect();
        let mut frame = gif::Frame::from_indexed_pixels(width, height, pixels, None);
        frame.delay = style.frame_hundredths;
        if let Some(encoder) = &mut encoder {
            encoder.write_frame(&frame).map_err(failed)?;
        }
    }
    drop(encoder);
    Ok(bytes)
}
