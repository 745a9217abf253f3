//! Convolution by tiles of the column matrix and matrix products, for CPUs without register kernels, and for the weights'
//! gradient of 1×1 convolutions everywhere.
//!
//! With the column matrix X of an image and a group: y = W X, ∂L/∂X = Wᵀ g and ∂L/∂W = g Xᵀ. A 1×1 convolution is its
//! own column matrix.

use ndarray::{Array2, ArrayView2, ArrayView3, ArrayView4, ArrayViewMut2, ArrayViewMut3, ArrayViewMut4, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Element, Start, col2im, gemm_serial, im2col, with_scratch};

use crate::Conv2dError;
use crate::sizes::{Sizes, for_each_task};

/// Output positions of a tile.
const TILE_POSITIONS: usize = 256;

/// Elements of a tile of the column matrix, a part of L2.
const TILE_ELEMENTS: usize = 1 << 16;

/// Parts of the batch that the gradient of the weight is summed over by themselves.
const MAX_CHUNKS: usize = 8;

/// One group of one image, and how it is unrolled.
struct Unrolled<'a, T> {
    sizes: &'a Sizes,
    image: ArrayView3<'a, T>,
    group: usize,
}

impl<T: Element> Unrolled<'_, T> {
    /// Calls `work` with the rows of the column matrix from a row on, for the positions of a tile.
    fn for_each_block(
        &self,
        first_position: usize,
        positions: usize,
        mut work: impl FnMut(usize, ArrayView2<'_, T>) -> Result<(), Conv2dError>,
    ) -> Result<(), Conv2dError> {
        let Sizes { group_in, window, .. } = self.sizes;
        let group = self.group * group_in..(self.group + 1) * group_in;
        let end = first_position + positions;
        if self.sizes.is_pointwise() {
            let pixels = (self.image.dim().0, self.image.dim().1 * self.image.dim().2);
            if let Ok(columns) = self.image.into_shape_with_order(pixels) {
                return work(0, columns.slice(s![group, first_position..end]));
            }
        }
        let taps = self.sizes.taps();
        let block = block_channels(self.sizes, positions);
        with_scratch(block * taps * positions, |scratch| {
            for channel in group.clone().step_by(block) {
                let channels = channel..group.end.min(channel + block);
                let rows = channels.len() * taps;
                let columns = &mut scratch[..rows * positions];
                im2col(self.image, window, channels, first_position..end, columns)?;
                work((channel - group.start) * taps, view(columns, rows, positions))?;
            }
            Ok(())
        })
    }
}

/// Channels of which a tile fits its memory.
fn block_channels(sizes: &Sizes, positions: usize) -> usize {
    (TILE_ELEMENTS / (sizes.taps() * positions).max(1)).clamp(1, sizes.group_in)
}

fn view<T>(elements: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), elements).expect("as many elements as the caller cut")
}

/// The weight, per group K-major: the order in which `matrixmultiply` packs it by copying.
pub(crate) fn k_major<T: Element>(sizes: &Sizes, weight: ArrayView4<'_, T>) -> Vec<Array2<T>> {
    let Sizes { group_in, group_out, .. } = *sizes;
    let depth = group_in * sizes.taps();
    let rows = Array2::from_shape_vec((sizes.out_channels, depth), weight.iter().copied().collect())
        .expect("the weight has its shape");
    (0..sizes.groups)
        .map(|group| {
            rows.slice(s![group * group_out..(group + 1) * group_out, ..]).t().as_standard_layout().into_owned()
        })
        .collect()
}

pub(crate) fn convolve<T: Element>(
    sizes: &Sizes,
    weight: ArrayView4<'_, T>,
    bias: Option<&[T]>,
    bounds: Option<[T; 2]>,
    input: ArrayView4<'_, T>,
    mut output: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    if !output.is_standard_layout() {
        let mut standard = output.as_standard_layout().into_owned();
        convolve(sizes, weight, bias, bounds, input, standard.view_mut())?;
        output.assign(&standard);
        return Ok(());
    }
    let weights = k_major(sizes, weight);
    let input = input.as_standard_layout();
    let matrices = (sizes.batch, sizes.out_channels, sizes.positions());
    let mut output = output.into_shape_with_order(matrices).expect("the output is in standard layout");
    let mut tasks = Vec::new();
    for (image, mut output) in input.outer_iter().zip(output.outer_iter_mut()) {
        let mut first_position = 0;
        while first_position < sizes.positions() {
            let positions = TILE_POSITIONS.min(sizes.positions() - first_position);
            let (tile, rest) = output.split_at(Axis(1), positions);
            output = rest;
            tasks.push((image, first_position, tile));
            first_position += positions;
        }
    }
    for_each_task(sizes.is_parallel(), tasks, |(image, first_position, mut tile)| {
        multiply_tile(sizes, &weights, image, first_position, false, tile.view_mut())?;
        finish(&mut tile, bias, bounds);
        Ok(())
    })
}

/// The products of all groups at a tile of output positions, added to `tile` or written to it.
fn multiply_tile<T: Element>(
    sizes: &Sizes,
    weights: &[Array2<T>],
    image: ArrayView3<'_, T>,
    first_position: usize,
    add: bool,
    mut tile: ArrayViewMut2<'_, T>,
) -> Result<(), Conv2dError> {
    let positions = tile.ncols();
    for (group, weight) in weights.iter().enumerate() {
        let mut tile = tile.slice_mut(s![group * sizes.group_out..(group + 1) * sizes.group_out, ..]);
        Unrolled { sizes, image, group }.for_each_block(first_position, positions, |row, columns| {
            let weight = weight.slice(s![row..row + columns.nrows(), ..]);
            let beta = if row == 0 && !add { T::zero() } else { T::one() };
            Ok(gemm_serial(T::one(), weight.t(), columns, beta, tile.view_mut())?)
        })?;
    }
    Ok(())
}

/// The rows of a band of [`convolve_band`] that make a tile.
pub(crate) fn band_rows(sizes: &Sizes) -> usize {
    (TILE_POSITIONS / sizes.output[1].max(1)).clamp(1, sizes.output[0].max(1))
}

/// Computes a band of output rows; the caller has checked all shapes.
pub(crate) fn convolve_band<T: Element>(
    sizes: &Sizes,
    weights: &[Array2<T>],
    image: ArrayView3<'_, T>,
    first_row: usize,
    start: Start<'_, T>,
    mut band: ArrayViewMut3<'_, T>,
) -> Result<(), Conv2dError> {
    let (channels, rows, width) = band.dim();
    let standard = image.as_standard_layout();
    let multiply =
        |tile: ArrayViewMut2<'_, T>, add| multiply_tile(sizes, weights, standard.view(), first_row * width, add, tile);
    let add = !matches!(start, Start::Zero);
    if let Start::Bias(bias) = start {
        band.outer_iter_mut().zip(bias).for_each(|(mut rows, &bias)| rows.fill(bias));
    }
    if let Ok(tile) = band.view_mut().into_shape_with_order((channels, rows * width)) {
        return multiply(tile, add);
    }
    with_scratch(channels * rows * width, |scratch| {
        let mut tile = ArrayViewMut3::from_shape((channels, rows, width), scratch).expect("the shape of the band");
        if add {
            tile.assign(&band);
        }
        let matrix = tile.view_mut().into_shape_with_order((channels, rows * width)).expect("a new array");
        multiply(matrix, add)?;
        band.assign(&tile);
        Ok(())
    })
}

/// Adds the bias and applies the activation; NaN passes.
fn finish<T: Element>(tile: &mut ArrayViewMut2<'_, T>, bias: Option<&[T]>, bounds: Option<[T; 2]>) {
    for (channel, mut row) in tile.outer_iter_mut().enumerate() {
        if let Some(bias) = bias {
            row += bias[channel];
        }
        if let Some([low, high]) = bounds {
            row.mapv_inplace(|value| {
                let bounded = if low > value { low } else { value };
                if high < bounded { high } else { bounded }
            });
        }
    }
}

pub(crate) fn backward_input<T: Element>(
    sizes: &Sizes,
    weight: ArrayView4<'_, T>,
    grad_output: ArrayView4<'_, T>,
    mut grad_input: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let weights = k_major(sizes, weight);
    let grad_output = grad_output.as_standard_layout();
    let gradients = matrices(sizes, &grad_output.view());
    let tasks = gradients.outer_iter().zip(grad_input.outer_iter_mut()).collect();
    for_each_task(sizes.is_parallel(), tasks, |(gradient, grad_image)| {
        add_gradient(sizes, &weights, gradient, grad_image)
    })
}

/// [`add_gradient`] for a gradient with any strides.
pub(crate) fn backward_image<T: Element>(
    sizes: &Sizes,
    weights: &[Array2<T>],
    gradient: ArrayView3<'_, T>,
    grad_image: ArrayViewMut3<'_, T>,
) -> Result<(), Conv2dError> {
    let standard = gradient.as_standard_layout();
    let shape = (sizes.out_channels, sizes.positions());
    let gradient = standard.view().into_shape_with_order(shape).expect("a standard layout");
    add_gradient(sizes, weights, gradient, grad_image)
}

/// Adds the gradient of an image, for the gradient `[channels, positions]` of its output.
fn add_gradient<T: Element>(
    sizes: &Sizes,
    weights: &[Array2<T>],
    gradient: ArrayView2<'_, T>,
    mut grad_image: ArrayViewMut3<'_, T>,
) -> Result<(), Conv2dError> {
    let taps = sizes.taps();
    for (group, weight) in weights.iter().enumerate() {
        let rows = group * sizes.group_out..(group + 1) * sizes.group_out;
        for first in (0..sizes.positions()).step_by(TILE_POSITIONS) {
            let end = sizes.positions().min(first + TILE_POSITIONS);
            let gradient = gradient.slice(s![rows.clone(), first..end]);
            let block = block_channels(sizes, end - first);
            with_scratch(block * taps * (end - first), |scratch| {
                for channel in (0..sizes.group_in).step_by(block) {
                    let channels = channel..sizes.group_in.min(channel + block);
                    let weight = weight.slice(s![channels.start * taps..channels.end * taps, ..]);
                    let columns = &mut scratch[..channels.len() * taps * (end - first)];
                    let target = ArrayViewMut2::from_shape((channels.len() * taps, end - first), &mut *columns)
                        .expect("as many elements as were cut");
                    gemm_serial(T::one(), weight, gradient, T::zero(), target)?;
                    let offset = group * sizes.group_in;
                    let channels = channels.start + offset..channels.end + offset;
                    col2im(columns, &sizes.window, channels, first..end, grad_image.view_mut())?;
                }
                Ok::<_, Conv2dError>(())
            })?;
        }
    }
    Ok(())
}

/// The most parts of the batch whose gradients of the weights are summed by themselves.
pub(crate) fn chunks(sizes: &Sizes) -> usize {
    MAX_CHUNKS.min(sizes.batch)
}

pub(crate) fn backward_weight<T: Element>(
    sizes: &Sizes,
    pairs: &[(ArrayView3<'_, T>, ArrayView3<'_, T>)],
    mut grad_weight: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let depth = sizes.group_in * sizes.taps();
    let chunk_images = sizes.batch.div_ceil(chunks(sizes));
    let chunks: Vec<_> = (0..sizes.batch).step_by(chunk_images).collect();
    let sum_chunk = |first_image: usize| -> Result<Array2<T>, Conv2dError> {
        let mut sum = Array2::zeros((sizes.out_channels, depth));
        for (image, gradient) in &pairs[first_image..sizes.batch.min(first_image + chunk_images)] {
            let (image, gradient) = (image.as_standard_layout(), gradient.as_standard_layout());
            let shape = (sizes.out_channels, sizes.positions());
            let gradient = gradient.view().into_shape_with_order(shape).expect("a standard layout");
            for group in 0..sizes.groups {
                let rows = group * sizes.group_out..(group + 1) * sizes.group_out;
                for first in (0..sizes.positions()).step_by(TILE_POSITIONS) {
                    let end = sizes.positions().min(first + TILE_POSITIONS);
                    let gradient = gradient.slice(s![rows.clone(), first..end]);
                    let unrolled = Unrolled { sizes, image: image.view(), group };
                    unrolled.for_each_block(first, end - first, |row, columns| {
                        let target = sum.slice_mut(s![rows.clone(), row..row + columns.nrows()]);
                        Ok(gemm_serial(T::one(), gradient, columns.t(), T::one(), target)?)
                    })?;
                }
            }
        }
        Ok(sum)
    };
    let sums: Vec<_> = if sizes.is_parallel() {
        chunks.into_par_iter().map(sum_chunk).collect::<Result<_, _>>()?
    } else {
        chunks.into_iter().map(sum_chunk).collect::<Result<_, _>>()?
    };
    for sum in &sums {
        let sum = sum.view().into_shape_with_order(grad_weight.raw_dim()).expect("the sums are in standard layout");
        grad_weight += &sum;
    }
    Ok(())
}

/// An output-sized array in standard layout as `[batch, channels, positions]`.
fn matrices<'a, T>(sizes: &Sizes, array: &ArrayView4<'a, T>) -> ArrayView3<'a, T> {
    let shape = (sizes.batch, sizes.out_channels, sizes.positions());
    array.into_shape_with_order(shape).expect("the array is in standard layout")
}
