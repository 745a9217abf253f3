//! Average pooling.
//!
//! `y[n, c, i, j] = 1/a[i, j] · Σ x[n, c, i·s_y + k − top, j·s_x + l − left]` over the kernel positions (k, l) that meet
//! the image. The divisor a is the number of pixels that the window covers, and those of the padding with
//! `count_include_pad`; what `ceil_mode` adds beyond the padding never counts.

use ndarray::{Array4, ArrayView4};
use tensor_ops::{Element, Padding, Window};

use super::planes::{for_each_plane, shape_of, slice_of};
use super::sizes::{Axis, axes, check_gradient, check_images};
use crate::PoolingError;
use crate::error::zeros;

const NAME: &str = "AvgPool2d";

/// Average pooling over windows of images; pairs are `[vertical, horizontal]`.
///
/// ```
/// use ndarray::array;
/// use pooling::AvgPool2d;
///
/// let pool = AvgPool2d::new([2, 2]);
/// let images = array![[[[1.0, 2.0, 5.0, 6.0], [3.0, 4.0, 8.0, 7.0]]]];
/// assert_eq!(pool.forward(images.view())?, array![[[[2.5, 6.5]]]]);
/// let gradient = pool.backward([2, 4], array![[[[1.0, 2.0]]]].view())?;
/// assert_eq!(gradient, array![[[[0.25, 0.25, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]]]]);
/// # Ok::<(), pooling::PoolingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool2d {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Rows and columns between neighbouring output positions.
    pub stride: [usize; 2],
    /// Zeros around the image. Every window must meet the image.
    pub padding: Padding,
    /// Whether a last window may reach beyond the padded image, if it starts inside of the image or the padding before
    /// it.
    pub ceil_mode: bool,
    /// Whether the padding counts in the divisor.
    pub count_include_pad: bool,
}

impl Default for AvgPool2d {
    /// [`Self::new`] with windows of one pixel.
    fn default() -> Self {
        Self::new([1, 1])
    }
}

impl AvgPool2d {
    /// Windows of `kernel` height and width side by side, without padding; padding would count.
    pub fn new(kernel: [usize; 2]) -> Self {
        Self { kernel, stride: kernel, padding: Padding::ZERO, ceil_mode: false, count_include_pad: true }
    }

    /// Height and width of the output for an input of `[height, width]`.
    ///
    /// # Errors
    /// [`PoolingError::Tensor`] if an option is 0, the window does not fit or some window would meet padding alone.
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2], PoolingError> {
        Ok(self.axes(input)?.map(|axis| axis.output))
    }

    fn axes(&self, input: [usize; 2]) -> Result<[Axis; 2], PoolingError> {
        let window = Window { stride: self.stride, padding: self.padding, ..Window::new(self.kernel) };
        axes(NAME, &window, self.ceil_mode, input)
    }

    /// The output `[batch, channels, output height, output width]` of `input` `[batch, channels, height, width]`, of any
    /// strides.
    ///
    /// # Errors
    /// [`PoolingError`] for an empty axis, as [`Self::output_size`], or where there is no memory for the output.
    pub fn forward<T: Element>(&self, input: ArrayView4<'_, T>) -> Result<Array4<T>, PoolingError> {
        let shape = shape_of(&input);
        check_images(NAME, shape)?;
        let axes = self.axes([shape[2], shape[3]])?;
        let [height, width] = [axes[0].output, axes[1].output];
        let mut output = zeros(NAME, "output", [shape[0], shape[1], height, width])?;
        let (runs, factors) = (axes[1].runs(), self.factors::<T>(&axes));
        for_each_plane(input, slice_of(&mut output), self.work(&axes), |plane, output| {
            for (row, sums) in output.chunks_exact_mut(width).enumerate() {
                for tap in axes[0].taps(row) {
                    let pixels = &plane[axes[0].pixel(row, tap) * shape[3]..][..shape[3]];
                    for run in &runs {
                        let pixels = pixels.iter().skip(run.first).step_by(axes[1].stride());
                        sums[run.outputs.clone()].iter_mut().zip(pixels).for_each(|(sum, &pixel)| *sum += pixel);
                    }
                }
                sums.iter_mut().zip(&factors[row * width..]).for_each(|(sum, &factor)| *sum *= factor);
            }
        });
        Ok(output)
    }

    /// The gradient of an input of `input_size` = `[height, width]` for `grad_output`
    /// `[batch, channels, output height, output width]`, of any strides.
    ///
    /// # Errors
    /// [`PoolingError`] if `grad_output` has an empty axis or another size than the output for `input_size`.
    pub fn backward<T: Element>(
        &self,
        input_size: [usize; 2],
        grad_output: ArrayView4<'_, T>,
    ) -> Result<Array4<T>, PoolingError> {
        let [batch, channels, ..] = shape_of(&grad_output);
        check_images(NAME, [batch, channels, input_size[0], input_size[1]])?;
        let axes = self.axes(input_size)?;
        let [height, width] = [axes[0].output, axes[1].output];
        check_gradient(NAME, [batch, channels, height, width], grad_output.shape())?;
        let mut grad_input = zeros(NAME, "gradient of the input", [batch, channels, input_size[0], input_size[1]])?;
        let (runs, factors) = (axes[1].runs(), self.factors::<T>(&axes));
        for_each_plane(grad_output, slice_of(&mut grad_input), self.work(&axes), |gradient, target| {
            for (row, gradient) in gradient.chunks_exact(width).enumerate() {
                for tap in axes[0].taps(row) {
                    let pixels = &mut target[axes[0].pixel(row, tap) * input_size[1]..][..input_size[1]];
                    for run in &runs {
                        let shares = gradient.iter().zip(&factors[row * width..]).skip(run.outputs.start);
                        let pixels = pixels.iter_mut().skip(run.first).step_by(axes[1].stride());
                        let shares = shares.take(run.outputs.len());
                        pixels.zip(shares).for_each(|(pixel, (&value, &factor))| *pixel += value * factor);
                    }
                }
            }
        });
        Ok(grad_input)
    }

    /// 1/a for every output position.
    fn factors<T: Element>(&self, axes: &[Axis; 2]) -> Vec<T> {
        let count = |axis: usize, output| axes[axis].count(output, self.count_include_pad);
        let rows = 0..axes[0].output;
        rows.flat_map(|row| (0..axes[1].output).map(move |column| (row, column)))
            .map(|(row, column)| T::from_f64(1.0 / (count(0, row) as f64 * count(1, column) as f64)))
            .collect()
    }

    /// Products of output and kernel positions of a plane.
    fn work(&self, axes: &[Axis; 2]) -> usize {
        let sizes = [axes[0].output, axes[1].output, self.kernel[0], self.kernel[1]];
        sizes.into_iter().fold(1, usize::saturating_mul)
    }
}
