//! Pictures as files.

use std::path::Path;

use ndarray::ArrayView3;

use super::canvas::Canvas;
use super::layout::{check, moment, strip};
use super::{ColourScale, Panel, PictureError, PictureStyle};
use crate::run::atomic;

/// Writes a PNG file: a row for each of `panels` with all its frames from left to right, and below them the colours with
/// the values they stand for.
///
/// # Errors
/// [`PictureError`] if there is no panel, a panel has no frames or no pixels, the picture would have more than 16384 pixels
/// along an axis, or the file cannot be written.
pub fn write_strip(path: &Path, panels: &[Panel<'_>], style: &PictureStyle) -> Result<(), PictureError> {
    let canvas = strip(panels, style)?;
    let bytes = encode_png(canvas, style.colours);
    let bytes = bytes.map_err(|source| PictureError::Png { path: path.to_owned(), source })?;
    atomic::write(path, &bytes).map_err(|source| PictureError::Io { path: path.to_owned(), source })
}

/// A PNG file of `frames`, `[time, height, width]`, beside each other without any space between them, each of their pixels a
/// pixel of the picture: what a page can enlarge, and move under a window of one frame to play them.
///
/// # Errors
/// [`PictureError`] if there are no frames, these have no pixels, or the picture would have more than 16384 pixels along an
/// axis.
///
/// ```
/// use ndarray::Array3;
/// use pipeline::pictures::{ColourScale, encode_reel};
///
/// let bytes = encode_reel(Array3::zeros((5, 16, 16)).view(), ColourScale::Heat)?;
/// assert_eq!(&bytes[1..4], b"PNG");
/// # Ok::<(), pipeline::pictures::PictureError>(())
/// ```
pub fn encode_reel(frames: ArrayView3<'_, f32>, colours: ColourScale) -> Result<Vec<u8>, PictureError> {
    let style = PictureStyle { colours, magnification: 1, ..PictureStyle::default() };
    check(&[Panel::new("reel", frames)], &style)?;
    let (time, height, width) = frames.dim();
    let mut canvas = Canvas::new(height, time.saturating_mul(width))?;
    for (position, frame) in frames.outer_iter().enumerate() {
        canvas.frame(frame, 0, position * width, 1);
    }
    encode_png(canvas, colours).map_err(|source| PictureError::Encoding { source })
}

fn encode_png(canvas: Canvas, colours: ColourScale) -> Result<Vec<u8>, png::EncodingError> {
    let (height, width) = canvas.pixels.dim();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours.palette());
    let pixels: Vec<u8> = canvas.pixels.into_iter().collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// A PNG file of the reds, greens and blues `pixels`, `[height, width, 3]`.
pub(crate) fn encode_rgb(pixels: ArrayView3<'_, u8>) -> Result<Vec<u8>, png::EncodingError> {
    let (height, width, _) = pixels.dim();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels: Vec<u8> = pixels.iter().copied().collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes)
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
    canvases: impl Iterator<Item = Result<Canvas, PictureError>>,
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
