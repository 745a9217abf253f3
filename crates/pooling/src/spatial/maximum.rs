//! Maximum pooling.
//!
//! `y[n, c, i, j] = max x[n, c, i·s_y + k·d_y − top, j·s_x + l·d_x − left]` over the kernel positions (k, l) that meet
//! the image: padding is never the maximum. The gradient of y goes to the first pixel, row by row, that has the maximum.
//! A NaN is larger than all numbers.

use ndarray::{Array4, ArrayView4};
use tensor_ops::{Element, Padding, Window, with_scratch};

use super::planes::{for_each_plane, for_each_plane_at, shape_of, slice_of};
use super::sizes::{Axis, Run, axes, check_gradient, check_images};
use crate::PoolingError;
use crate::error::{filled, zeros};
use crate::ordering::exceeds;

const NAME: &str = "MaxPool2d";

/// Maximum pooling over windows of images; pairs are `[vertical, horizontal]`.
///
/// ```
/// use ndarray::array;
/// use pooling::MaxPool2d;
///
/// let pool = MaxPool2d::new([2, 2]);
/// let images = array![[[[1.0, 2.0, 5.0, 6.0], [3.0, 4.0, 8.0, 7.0]]]];
/// let (output, trace) = pool.forward_training(images.view())?;
/// assert_eq!(output, array![[[[4.0, 8.0]]]]);
/// let gradient = pool.backward(&trace, array![[[[1.0, 2.0]]]].view())?;
/// assert_eq!(gradient, array![[[[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0]]]]);
/// # Ok::<(), pooling::PoolingError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MaxPool2d {
    /// Kernel, stride, padding on four sides and dilation. Every window must meet the image.
    pub window: Window,
    /// Whether a last window may reach beyond the padded image, if it starts inside of the image or the padding before
    /// it.
    pub ceil_mode: bool,
}

/// What [`MaxPool2d::backward`] needs of a forward pass: where the maxima are.
#[derive(Clone, Debug)]
pub struct MaxPool2dTrace {
    input: [usize; 4],
    /// For every output the pixel of its plane.
    pixels: Array4<u32>,
}

impl MaxPool2d {
    /// Windows of `kernel` height and width side by side, without padding.
    pub fn new(kernel: [usize; 2]) -> Self {
        Self { window: Window { stride: kernel, padding: Padding::ZERO, ..Window::new(kernel) }, ceil_mode: false }
    }

    /// Height and width of the output for an input of `[height, width]`.
    ///
    /// # Errors
    /// [`PoolingError::Tensor`] if an option is 0, the window does not fit or some window would meet padding alone.
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2], PoolingError> {
        Ok(axes(NAME, &self.window, self.ceil_mode, input)?.map(|axis| axis.output))
    }

    /// The output `[batch, channels, output height, output width]` of `input` `[batch, channels, height, width]`, of any
    /// strides.
    ///
    /// # Errors
    /// [`PoolingError`] for an empty axis, as [`Self::output_size`], or where there is no memory for the output.
    pub fn forward<T: Element>(&self, input: ArrayView4<'_, T>) -> Result<Array4<T>, PoolingError> {
        let shape = shape_of(&input);
        check_images(NAME, shape)?;
        let axes = axes(NAME, &self.window, self.ceil_mode, [shape[2], shape[3]])?;
        let mut output = zeros(NAME, "output", [shape[0], shape[1], axes[0].output, axes[1].output])?;
        let (columns, runs) = (first_pixels(&axes[1]), axes[1].runs());
        for_each_plane(input, slice_of(&mut output), work(&axes), |plane, output| {
            for (row, values) in output.chunks_exact_mut(axes[1].output).enumerate() {
                maxima(&axes, &columns, &runs, plane, row, values);
            }
        });
        Ok(output)
    }

    /// As [`Self::forward`], with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training<T: Element>(
        &self,
        input: ArrayView4<'_, T>,
    ) -> Result<(Array4<T>, MaxPool2dTrace), PoolingError> {
        let shape = shape_of(&input);
        check_images(NAME, shape)?;
        let axes = axes(NAME, &self.window, self.ceil_mode, [shape[2], shape[3]])?;
        let output_shape = [shape[0], shape[1], axes[0].output, axes[1].output];
        let mut pixels: Array4<u32> = filled(NAME, "positions of the maxima", output_shape, 0)?;
        let (columns, runs) = (first_pixels(&axes[1]), axes[1].runs());
        for_each_plane(input, slice_of(&mut pixels), work(&axes), |plane, pixels| {
            with_scratch(axes[1].output, |values| {
                for (row, pixels) in pixels.chunks_exact_mut(axes[1].output).enumerate() {
                    positions(&axes, &columns, &runs, plane, row, values, pixels);
                }
            });
        });
        let mut output = zeros(NAME, "output", output_shape)?;
        let planes = pixels.as_slice().unwrap_or_default().chunks_exact(axes[0].output * axes[1].output);
        let planes: Vec<&[u32]> = planes.collect();
        for_each_plane_at(input, slice_of(&mut output), work(&axes), |index, plane, output| {
            for (value, &pixel) in output.iter_mut().zip(planes[index]) {
                *value = plane[pixel as usize];
            }
        });
        Ok((output, MaxPool2dTrace { input: shape, pixels }))
    }

    /// The gradient of the input for `grad_output` of the shape of the output, of any strides.
    ///
    /// # Errors
    /// [`PoolingError`] if `grad_output` has another shape than the output of the trace, or there is no memory for the
    /// result.
    pub fn backward<T: Element>(
        &self,
        trace: &MaxPool2dTrace,
        grad_output: ArrayView4<'_, T>,
    ) -> Result<Array4<T>, PoolingError> {
        check_gradient(NAME, shape_of(&trace.pixels.view()), grad_output.shape())?;
        let mut grad_input = zeros(NAME, "gradient of the input", trace.input)?;
        let plane = trace.pixels.dim().2 * trace.pixels.dim().3;
        let planes: Vec<&[u32]> = trace.pixels.as_slice().unwrap_or_default().chunks_exact(plane).collect();
        for_each_plane_at(grad_output, slice_of(&mut grad_input), plane, |index, gradient, target| {
            for (&value, &pixel) in gradient.iter().zip(planes[index]) {
                target[pixel as usize] += value;
            }
        });
        Ok(grad_input)
    }
}

/// Products of output and kernel positions of a plane.
fn work(axes: &[Axis; 2]) -> usize {
    let positions = axes[0].output.saturating_mul(axes[1].output);
    positions.saturating_mul(axes[0].taps(0).len().max(1)).saturating_mul(axes[1].taps(0).len().max(1))
}

/// The first pixel of the axis that each output position meets.
fn first_pixels(axis: &Axis) -> Vec<usize> {
    (0..axis.output).map(|output| axis.pixel(output, axis.taps(output).start)).collect()
}

/// The maxima of an output row.
fn maxima<T: Element>(
    axes: &[Axis; 2],
    first_columns: &[usize],
    runs: &[Run],
    plane: &[T],
    row: usize,
    values: &mut [T],
) {
    let (taps, width, stride) = (axes[0].taps(row), axes[1].input, axes[1].stride());
    let first = &plane[axes[0].pixel(row, taps.start) * width..][..width];
    values.iter_mut().zip(first_columns).for_each(|(value, &column)| *value = first[column]);
    for tap in taps {
        let pixels = &plane[axes[0].pixel(row, tap) * width..][..width];
        for run in runs {
            let values = &mut values[run.outputs.clone()];
            let pixels = &pixels[run.first.min(width)..];
            let larger = |value: &mut T, &pixel: &T| {
                *value = if exceeds(pixel, *value) { pixel } else { *value };
            };
            if stride == 1 {
                values.iter_mut().zip(pixels).for_each(|(value, pixel)| larger(value, pixel));
            } else {
                values.iter_mut().zip(pixels.iter().step_by(stride)).for_each(|(value, pixel)| larger(value, pixel));
            }
        }
    }
}

/// The maxima of an output row and their pixels.
fn positions<T: Element>(
    axes: &[Axis; 2],
    first_columns: &[usize],
    runs: &[Run],
    plane: &[T],
    row: usize,
    values: &mut [T],
    positions: &mut [u32],
) {
    let (taps, width, stride) = (axes[0].taps(row), axes[1].input, axes[1].stride());
    let first = axes[0].pixel(row, taps.start) * width;
    for ((value, position), &column) in values.iter_mut().zip(&mut *positions).zip(first_columns) {
        (*value, *position) = (plane[first + column], (first + column) as u32);
    }
    for tap in taps {
        let start = axes[0].pixel(row, tap) * width;
        for run in runs {
            let first = (start + run.first) as u32;
            let pixels = plane[..start + width].iter().skip(start + run.first).step_by(stride);
            let outputs = run.outputs.clone();
            let targets = values[outputs.clone()].iter_mut().zip(&mut positions[outputs]);
            for ((index, &pixel), (value, position)) in (0_u32..).zip(pixels).zip(targets) {
                let larger = exceeds(pixel, *value);
                *value = if larger { pixel } else { *value };
                *position = if larger { first + index * stride as u32 } else { *position };
            }
        }
    }
}
