//! Average pooling to an output of a given size.
//!
//! Output row i is the mean of the input rows ⌊i·h/H⌋ … ⌈(i + 1)·h/H⌉ − 1, for h input and H output rows; columns
//! likewise. Neighbouring windows overlap where H does not divide h.

use std::ops::Range;

use ndarray::{Array4, ArrayView4};
use tensor_ops::{Element, TensorError};

use super::planes::{for_each_plane, shape_of, slice_of};
use super::sizes::{check_gradient, check_images};
use crate::PoolingError;
use crate::error::zeros;

const NAME: &str = "AdaptiveAvgPool2d";

/// Average pooling of images of any size to `output` height and width.
///
/// ```
/// use ndarray::array;
/// use pooling::AdaptiveAvgPool2d;
///
/// let pool = AdaptiveAvgPool2d { output: [1, 2] };
/// let images = array![[[[1.0, 2.0, 6.0]]]];
/// assert_eq!(pool.forward(images.view())?, array![[[[1.5, 4.0]]]]);
/// assert_eq!(pool.backward([1, 3], array![[[[2.0, 4.0]]]].view())?, array![[[[1.0, 3.0, 2.0]]]]);
/// # Ok::<(), pooling::PoolingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptiveAvgPool2d {
    /// Height and width of the output; they may be larger than those of the input.
    pub output: [usize; 2],
}

impl AdaptiveAvgPool2d {
    /// The output `[batch, channels, output height, output width]` of `input` `[batch, channels, height, width]`, of any
    /// strides.
    ///
    /// # Errors
    /// [`PoolingError`] for an empty axis, an output size of 0, or where there is no memory for the output.
    pub fn forward<T: Element>(&self, input: ArrayView4<'_, T>) -> Result<Array4<T>, PoolingError> {
        let shape = shape_of(&input);
        let [rows, columns] = self.windows(shape)?;
        let mut output = zeros(NAME, "output", [shape[0], shape[1], rows.len(), columns.len()])?;
        for_each_plane(input, slice_of(&mut output), work(&rows, &columns), |plane, output| {
            for (window_row, output) in rows.iter().zip(output.chunks_exact_mut(columns.len())) {
                for pixels in plane[window_row.start * shape[3]..window_row.end * shape[3]].chunks_exact(shape[3]) {
                    for (window, sum) in columns.iter().zip(&mut *output) {
                        pixels[window.clone()].iter().for_each(|&pixel| *sum += pixel);
                    }
                }
                for (window, sum) in columns.iter().zip(output) {
                    *sum *= share(window_row, window);
                }
            }
        });
        Ok(output)
    }

    /// The gradient of an input of `input_size` = `[height, width]` for `grad_output`
    /// `[batch, channels, output height, output width]`, of any strides.
    ///
    /// # Errors
    /// [`PoolingError`] if `grad_output` has an empty axis or another size than the output.
    pub fn backward<T: Element>(
        &self,
        input_size: [usize; 2],
        grad_output: ArrayView4<'_, T>,
    ) -> Result<Array4<T>, PoolingError> {
        let [batch, channels, ..] = shape_of(&grad_output);
        let shape = [batch, channels, input_size[0], input_size[1]];
        let [rows, columns] = self.windows(shape)?;
        check_gradient(NAME, [batch, channels, rows.len(), columns.len()], grad_output.shape())?;
        let mut grad_input = zeros(NAME, "gradient of the input", shape)?;
        for_each_plane(grad_output, slice_of(&mut grad_input), work(&rows, &columns), |gradient, target| {
            for (window_row, gradient) in rows.iter().zip(gradient.chunks_exact(columns.len())) {
                for pixels in target[window_row.start * shape[3]..window_row.end * shape[3]].chunks_exact_mut(shape[3])
                {
                    for (window, &value) in columns.iter().zip(gradient) {
                        let value = value * share(window_row, window);
                        pixels[window.clone()].iter_mut().for_each(|pixel| *pixel += value);
                    }
                }
            }
        });
        Ok(grad_input)
    }

    /// The windows of rows and columns.
    fn windows(&self, shape: [usize; 4]) -> Result<[Vec<Range<usize>>; 2], PoolingError> {
        check_images(NAME, shape)?;
        if self.output.contains(&0) {
            let (requirement, found) = ("at least 1 on both axes", format!("{:?}", self.output));
            return Err(TensorError::InvalidOption { operation: NAME, option: "output", requirement, found }.into());
        }
        // The memory for the ranges is bounded by that for the output, which is had first.
        let _: Array4<u8> = crate::error::filled(NAME, "output", [1, 1, self.output[0], self.output[1]], 0)?;
        let windows = |input: usize, output: usize| {
            let bound = |index: usize| index as u128 * input as u128;
            (0..output)
                .map(|i| (bound(i) / output as u128) as usize..bound(i + 1).div_ceil(output as u128) as usize)
                .collect()
        };
        Ok([windows(shape[2], self.output[0]), windows(shape[3], self.output[1])])
    }
}

/// The part of a pixel in the mean of a window.
fn share<T: Element>(rows: &Range<usize>, columns: &Range<usize>) -> T {
    T::from_f64(1.0 / (rows.len() as f64 * columns.len() as f64))
}

/// The pixels that the windows of a plane meet.
fn work(rows: &[Range<usize>], columns: &[Range<usize>]) -> usize {
    let pixels = |windows: &[Range<usize>]| windows.iter().map(Range::len).sum::<usize>();
    pixels(rows).saturating_mul(pixels(columns))
}
