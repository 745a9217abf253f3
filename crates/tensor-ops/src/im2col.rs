//! Unrolling of the windows of an image into columns, and the adjoint of it, tile by tile.
//!
//! The column matrix of an image `[channels, height, width]` has one row per channel and kernel position
//! `(channel, k_y, k_x)` and one column per output position `(i, j)`, both in row-major order; zeros stand for the
//! padding. A convolution is the product of the weights `[out, channels · k_h · k_w]` with it. The matrix is
//! `k_h · k_w` times the image, so it is made in tiles: some channels at some output positions.

use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut3};

use crate::{Element, TensorError, Window, check_axis};

mod reference;

pub use reference::{col2im_reference, im2col_reference};

/// Writes the tile of the column matrix of `image` that belongs to `channels` and to output `positions`.
///
/// - `image`: `[channels, height, width]`; fastest in standard layout
/// - `positions`: of the output, counted row by row
/// - `columns`: `[channels.len() · k_h · k_w, positions.len()]` in row-major order; every element is written
///
/// # Errors
/// [`TensorError`] if the window does not fit the image, a range exceeds its axis or `columns` has another length.
///
/// ```
/// use ndarray::Array3;
/// use tensor_ops::{Padding, Window, im2col};
///
/// let image = Array3::from_shape_fn((1, 2, 3), |(_, i, j)| (3 * i + j) as f32 + 1.0);
/// let window = Window { padding: Padding { left: 1, ..Padding::ZERO }, ..Window::new([1, 2]) };
/// let mut columns = [0.0; 12];
/// im2col(image.view(), &window, 0..1, 0..6, &mut columns)?;
/// assert_eq!(columns, [0.0, 1.0, 2.0, 0.0, 4.0, 5.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn im2col<T: Element>(
    image: ArrayView3<'_, T>,
    window: &Window,
    channels: Range<usize>,
    positions: Range<usize>,
    columns: &mut [T],
) -> Result<(), TensorError> {
    let size = check_tile("im2col", image.dim(), window, &channels, &positions, columns.len())?;
    let image = image.as_standard_layout();
    let image = image.as_slice().unwrap_or_default();
    for_each_segment(window, size, channels, positions, |segment| {
        let target = &mut columns[segment.column..][..segment.length];
        target[..segment.before].fill(T::zero());
        target[segment.before + segment.inside..].fill(T::zero());
        let target = &mut target[segment.before..][..segment.inside];
        if segment.inside == 0 {
            return;
        }
        if segment.step == 1 {
            target.copy_from_slice(&image[segment.pixel..][..segment.inside]);
        } else {
            let pixels = image[segment.pixel..].iter().step_by(segment.step);
            target.iter_mut().zip(pixels).for_each(|(value, &pixel)| *value = pixel);
        }
    });
    Ok(())
}

/// Adds a tile of columns to the pixels they stand for: the adjoint of [`im2col`].
///
/// The arguments are those of [`im2col`]; elements that stand for padding are dropped. Pixels are added to in the order
/// of the rows of `columns`.
///
/// # Errors
/// As [`im2col`].
pub fn col2im<T: Element>(
    columns: &[T],
    window: &Window,
    channels: Range<usize>,
    positions: Range<usize>,
    mut image: ArrayViewMut3<'_, T>,
) -> Result<(), TensorError> {
    let size = check_tile("col2im", image.dim(), window, &channels, &positions, columns.len())?;
    let Some(pixels) = image.as_slice_mut() else {
        let mut standard = image.as_standard_layout().into_owned();
        col2im(columns, window, channels, positions, standard.view_mut())?;
        image.assign(&standard);
        return Ok(());
    };
    for_each_segment(window, size, channels, positions, |segment| {
        if segment.inside == 0 {
            return;
        }
        let source = &columns[segment.column + segment.before..][..segment.inside];
        if segment.step == 1 {
            let pixels = &mut pixels[segment.pixel..][..segment.inside];
            pixels.iter_mut().zip(source).for_each(|(pixel, &value)| *pixel += value);
        } else {
            let pixels = pixels[segment.pixel..].iter_mut().step_by(segment.step);
            pixels.zip(source).for_each(|(pixel, &value)| *pixel += value);
        }
    });
    Ok(())
}

/// A run of output positions in one row of the output, for one row of the column matrix.
struct Segment {
    /// Where the run starts in the tile.
    column: usize,
    length: usize,
    /// Positions at the start of the run that see padding.
    before: usize,
    /// Positions after them that see pixels.
    inside: usize,
    /// The pixel that the first of these sees.
    pixel: usize,
    /// Pixels from one position to the next.
    step: usize,
}

fn for_each_segment(
    window: &Window,
    [height, width]: [usize; 2],
    channels: Range<usize>,
    positions: Range<usize>,
    mut visit: impl FnMut(Segment),
) {
    let Ok([_, output_width]) = window.output_size([height, width]) else { return };
    let [kernel_height, kernel_width] = window.kernel;
    let [stride_y, stride_x] = window.stride;
    let mut column = 0;
    for channel in channels {
        for k_y in 0..kernel_height {
            for k_x in 0..kernel_width {
                let [offset_y, offset_x] = [k_y * window.dilation[0], k_x * window.dilation[1]];
                // The output columns that see pixels: 0 ≤ j · stride + offset − left < width.
                let first_inside = window.padding.left.saturating_sub(offset_x).div_ceil(stride_x);
                let end_inside = (width + window.padding.left).saturating_sub(offset_x).div_ceil(stride_x);
                let mut position = positions.start;
                while position < positions.end {
                    let (i, j) = (position / output_width, position % output_width);
                    let length = (output_width - j).min(positions.end - position);
                    let row = (i * stride_y + offset_y).checked_sub(window.padding.top).filter(|&row| row < height);
                    let start = first_inside.clamp(j, j + length);
                    let end = end_inside.clamp(start, j + length);
                    let (inside, pixel) = match row {
                        Some(row) if end > start => {
                            let x = start * stride_x + offset_x - window.padding.left;
                            (end - start, (channel * height + row) * width + x)
                        }
                        _ => (0, 0),
                    };
                    visit(Segment { column, length, before: start - j, inside, pixel, step: stride_x });
                    column += length;
                    position += length;
                }
            }
        }
    }
}

fn check_tile(
    operation: &'static str,
    (image_channels, height, width): (usize, usize, usize),
    window: &Window,
    channels: &Range<usize>,
    positions: &Range<usize>,
    found: usize,
) -> Result<[usize; 2], TensorError> {
    let [output_height, output_width] = window.output_size_of(operation, [height, width])?;
    let check_end = |index, range: &Range<usize>, end| {
        if range.start <= range.end && range.end <= end {
            Ok(())
        } else {
            Err(TensorError::IndexOutOfRange { operation, index, item: 0, found: range.start.max(range.end), end })
        }
    };
    check_end("channel", channels, image_channels)?;
    check_end("output position", positions, output_height.saturating_mul(output_width))?;
    let rows = channels.len().saturating_mul(window.kernel[0].saturating_mul(window.kernel[1]));
    check_axis(operation, "columns", rows.saturating_mul(positions.len()), found)?;
    Ok([height, width])
}
