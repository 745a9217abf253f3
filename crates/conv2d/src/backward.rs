//! The backward pass.
//!
//! With g = ∂L/∂y · f′, where f is the activation:
//!
//! - `∂L/∂b[m] = Σ_{n, i, j} g[n, m, i, j]`
//! - `∂L/∂w[m, c, k, l] = Σ_{n, i, j} g[n, m, i, j] · x[n, c, i·s_y + k·d_y − top, j·s_x + l·d_x − left]`
//! - `∂L/∂x[n, c, y, x] = Σ_{m, k, l} w[m, c, k, l] · g[n, m, (y + top − k·d_y)/s_y, (x + left − l·d_x)/s_x]` over the
//!   kernel positions that make both quotients integral: a correlation of g for each remainder of y and x modulo the
//!   stride.

use ndarray::{Array1, Array4, ArrayView2, ArrayView3, ArrayView4, ArrayViewMut4, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Correlation, Element, Isa, Start, Taps, check_axis};

use crate::config::NAME;
use crate::forward::uses_correlation;
use crate::narrow::is_narrow;
use crate::packed::{band_rows, pack_phases, run_phases};
use crate::sizes::{Sizes, flat_size, for_each_task, zeros};
use crate::{Conv2dConfig, Conv2dError, narrow, unrolled};

/// The parts of the batch that are summed by themselves, at most.
const MAX_CHUNKS: usize = 16;

/// The sums of all parts take at most this many elements where that leaves more than [`MIN_CHUNKS`].
const MAX_SUMS: usize = 1 << 22;
const MIN_CHUNKS: usize = 8;

/// Sums at the points of tiles are read and written for every image; more of them than this leave the cache, and have fewer chunks.
const LARGE_SUMS: usize = 1 << 20;
const MIN_CHUNKS_OF_LARGE: usize = 2;

/// The least channels of a part whose sums are at the points of tiles.
const TILED_SPLIT_CHANNELS: usize = 64;

/// With fewer parts, threads are left without work, and channels are split as far as plain sums allow.
const MIN_PARTS: usize = 4;

const GRADIENT_AXES: [&str; 4] =
    ["grad_output batch", "grad_output channels", "grad_output height", "grad_output width"];

/// The gradient of the input, for a gradient of the output before the activation.
///
/// - `weight`: `[out_channels, in_channels / groups, kernel height, kernel width]`
/// - `input_size`: height and width of the input
/// - `grad_output`: `[batch, out_channels, output height, output width]`, any strides
///
/// # Errors
/// [`Conv2dError`] if the configuration is invalid or a shape does not fit.
pub fn convolve_backward_input<T: Element>(
    config: &Conv2dConfig,
    weight: ArrayView4<'_, T>,
    input_size: [usize; 2],
    grad_output: ArrayView4<'_, T>,
) -> Result<Array4<T>, Conv2dError> {
    backward_input_on(Isa::selected(), config, weight, input_size, grad_output)
}

/// The gradients of weight and bias, for a gradient of the output before the activation.
///
/// - `input`: `[batch, in_channels, height, width]`, any strides
/// - `grad_output`: `[batch, out_channels, output height, output width]`, any strides
///
/// # Errors
/// [`Conv2dError`] if the configuration is invalid or a shape does not fit.
pub fn convolve_backward_parameters<T: Element>(
    config: &Conv2dConfig,
    input: ArrayView4<'_, T>,
    grad_output: ArrayView4<'_, T>,
) -> Result<(Array4<T>, Option<Array1<T>>), Conv2dError> {
    backward_parameters_on(Isa::selected(), config, input, grad_output)
}

pub(crate) fn backward_input_on<T: Element>(
    isa: Isa,
    config: &Conv2dConfig,
    weight: ArrayView4<'_, T>,
    [height, width]: [usize; 2],
    grad_output: ArrayView4<'_, T>,
) -> Result<Array4<T>, Conv2dError> {
    let batch = grad_output.dim().0;
    let sizes = Sizes::check(config, &weight, [batch, config.in_channels, height, width])?;
    sizes.check_output(GRADIENT_AXES, grad_output.shape())?;
    let mut grad_input = zeros("gradient of the input", sizes.input_shape())?;
    let weight = weight.as_standard_layout();
    if !uses_correlation(isa, &sizes) {
        unrolled::backward_input(&sizes, weight.view(), grad_output, grad_input.view_mut())?;
        return Ok(grad_input);
    }
    let weight = weight.as_slice().unwrap_or_default();
    if is_narrow::<T>(isa, &sizes) {
        narrow::backward_input(isa, &sizes, weight, grad_output, grad_input.view_mut())?;
        return Ok(grad_input);
    }
    if let Some((flat, grad_output)) = flatten_pointwise(&sizes, &grad_output) {
        let [height, width] = flat.input;
        let target = grad_input.view_mut().into_shape_with_order((batch, sizes.in_channels, height, width));
        if let Ok(target) = target {
            correlate_phases(isa, &flat, weight, grad_output, target)?;
            return Ok(grad_input);
        }
    }
    correlate_phases(isa, &sizes, weight, grad_output, grad_input.view_mut())?;
    Ok(grad_input)
}

fn flatten_pointwise<'a, T: Element>(sizes: &Sizes, array: &ArrayView4<'a, T>) -> Option<(Sizes, ArrayView4<'a, T>)> {
    let [height, width] = sizes.is_pointwise().then(|| flat_size(sizes.input))?;
    let array = array.into_shape_with_order((sizes.batch, array.dim().1, height, width)).ok()?;
    Some((sizes.flattened(), array))
}

fn correlate_phases<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    grad_output: ArrayView4<'_, T>,
    mut grad_input: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let phases = pack_phases(isa, sizes, weight, &grad_output.strides()[1..])?;
    let band_rows = band_rows(sizes, &phases);
    let mut tasks = Vec::new();
    for (gradient, target) in grad_output.outer_iter().zip(grad_input.outer_iter_mut()) {
        let mut rest = target;
        for first_row in (0..sizes.input[0]).step_by(band_rows) {
            let rows = band_rows.min(sizes.input[0] - first_row);
            let (band, following) = rest.split_at(Axis(1), rows);
            rest = following;
            tasks.push((gradient, first_row, band));
        }
    }
    for_each_task(sizes.is_parallel(), tasks, |(gradient, first_row, band)| {
        run_phases(sizes, &phases, gradient, first_row, Start::Zero, band)
    })
}

/// The gradient of the weight, summed over pairs of an image and the gradient of its output, before the activation.
///
/// The images need not lie in one array: a recurrent layer pairs the states of all steps with the gradients of the steps
/// that follow. With no pairs, the gradient is zero.
///
/// - `input_size`: height and width of the images
/// - `pairs`: `[in_channels, height, width]` and `[out_channels, output height, output width]`, any strides
///
/// # Errors
/// [`Conv2dError`] if the configuration is invalid or a shape does not fit.
///
/// ```
/// use conv2d::{Conv2dConfig, convolve_backward_weight};
/// use ndarray::{Array4, array};
///
/// let config = Conv2dConfig { bias: false, ..Conv2dConfig::default() };
/// let (images, gradients) = ([array![[[2.0]]], array![[[5.0]]]], array![[[1.0]]]);
/// let pairs = [(images[0].view(), gradients.view()), (images[1].view(), gradients.view())];
/// assert_eq!(convolve_backward_weight(&config, [1, 1], &pairs)?, Array4::from_elem((1, 1, 1, 1), 7.0));
/// # Ok::<(), conv2d::Conv2dError>(())
/// ```
pub fn convolve_backward_weight<T: Element>(
    config: &Conv2dConfig,
    input_size: [usize; 2],
    pairs: &[(ArrayView3<'_, T>, ArrayView3<'_, T>)],
) -> Result<Array4<T>, Conv2dError> {
    backward_weight_on(Isa::selected(), config, input_size, pairs)
}

/// [`convolve_backward_weight`] with the kernels of `isa`.
#[doc(hidden)]
pub fn backward_weight_on<T: Element>(
    isa: Isa,
    config: &Conv2dConfig,
    [height, width]: [usize; 2],
    pairs: &[(ArrayView3<'_, T>, ArrayView3<'_, T>)],
) -> Result<Array4<T>, Conv2dError> {
    let mut weight = zeros("gradient of the weight", config.weight_shape()?)?;
    let sizes = Sizes::check(config, &weight.view(), [pairs.len().max(1), config.in_channels, height, width])?;
    let input_axes = ["input channels", "input height", "input width"];
    for (input, gradient) in pairs {
        for axis in 0..3 {
            check_axis(NAME, input_axes[axis], sizes.input_shape()[axis + 1], input.shape()[axis])?;
            check_axis(NAME, GRADIENT_AXES[axis + 1], sizes.output_shape()[axis + 1], gradient.shape()[axis])?;
        }
    }
    if pairs.is_empty() {
        return Ok(weight);
    }
    if unrolls_sums(isa, &sizes) {
        unrolled::backward_weight(&sizes, pairs, weight.view_mut())?;
    } else {
        correlate_transposed(isa, &sizes, pairs, &mut weight)?;
    }
    Ok(weight)
}

/// Whether the gradient of the weight is a product with the column matrix: that of a 1×1 convolution is the image.
fn unrolls_sums(isa: Isa, sizes: &Sizes) -> bool {
    !uses_correlation(isa, sizes) || (sizes.is_pointwise() && sizes.group_out > 1)
}

pub(crate) fn backward_parameters_on<T: Element>(
    isa: Isa,
    config: &Conv2dConfig,
    input: ArrayView4<'_, T>,
    grad_output: ArrayView4<'_, T>,
) -> Result<(Array4<T>, Option<Array1<T>>), Conv2dError> {
    let mut weight = zeros("gradient of the weight", config.weight_shape()?)?;
    let sizes = Sizes::check(config, &weight.view(), [0, 1, 2, 3].map(|axis| input.shape()[axis]))?;
    sizes.check_output(GRADIENT_AXES, grad_output.shape())?;
    if is_narrow::<T>(isa, &sizes) {
        narrow::backward_weight(isa, &sizes, input, grad_output.view(), &mut weight)?;
    } else {
        let pairs: Vec<_> = input.outer_iter().zip(grad_output.outer_iter()).collect();
        weight = backward_weight_on(isa, config, sizes.input, &pairs)?;
    }
    let bias = config.bias.then(|| backward_bias(&sizes, grad_output));
    Ok((weight, bias))
}

/// The division of the sums of the weight's gradient: one part per chunk of the batch, group and range of channels of the
/// group.
struct Parts {
    taps: Taps,
    chunks: usize,
    chunk_images: usize,
    split_channels: usize,
    splits: usize,
    /// Of all parts.
    count: usize,
    /// Elements of a part.
    len: usize,
}

impl Parts {
    fn new<T: Element>(isa: Isa, sizes: &Sizes) -> Result<Self, Conv2dError> {
        let Sizes { group_in, group_out, groups, batch, .. } = *sizes;
        let taps = Taps::of_window(NAME, &sizes.window, sizes.input)?;
        let len = |channels: usize| Correlation::<T>::transposed_sums_len(isa, &taps, channels, group_out);
        let whole = len(group_in).saturating_mul(groups);
        let is_tiled = Correlation::<T>::transposed_is_tiled(isa, &taps, group_in, group_out);
        let least = if is_tiled && whole > LARGE_SUMS { MIN_CHUNKS_OF_LARGE } else { MIN_CHUNKS };
        let chunks = batch.min((MAX_SUMS / whole.max(1)).clamp(least, MAX_CHUNKS));
        let chunk_images = batch.div_ceil(chunks);
        let chunks = batch.div_ceil(chunk_images);
        let split = (MAX_CHUNKS / chunks.saturating_mul(groups).max(1)).clamp(1, group_in);
        // Each range of channels transforms all gradients anew.
        let tiled_split = split.min(group_in / TILED_SPLIT_CHANNELS).max(1);
        let is_tiled = is_tiled && chunks.saturating_mul(groups).saturating_mul(tiled_split) >= MIN_PARTS;
        let split = if is_tiled { tiled_split } else { split };
        let split_channels = group_in.div_ceil(split);
        let splits = group_in.div_ceil(split_channels);
        let count = chunks.saturating_mul(groups).saturating_mul(splits);
        Ok(Self { chunks, chunk_images, split_channels, splits, count, len: len(split_channels), taps })
    }
}

/// The elements that the sums of the weight's gradient take.
pub(crate) fn sums_len<T: Element>(isa: Isa, sizes: &Sizes) -> Result<usize, Conv2dError> {
    if unrolls_sums(isa, sizes) {
        return Ok(sizes.weights().saturating_mul(unrolled::chunks(sizes)));
    }
    let parts = Parts::new::<T>(isa, sizes)?;
    Ok(parts.count.saturating_mul(parts.len))
}

fn correlate_transposed<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    pairs: &[(ArrayView3<'_, T>, ArrayView3<'_, T>)],
    weight: &mut Array4<T>,
) -> Result<(), Conv2dError> {
    let Sizes { group_in, group_out, groups, batch, .. } = *sizes;
    let parts = Parts::new::<T>(isa, sizes)?;
    let Parts { taps, chunks, chunk_images, split_channels, splits, count, len: part_len } = parts;
    let plan = Correlation::transposed(isa, taps, split_channels, group_out);
    let mut sums: Array1<T> = zeros("sums of the gradient of the weight", [count.saturating_mul(part_len)])?;
    let sums = sums.as_slice_mut().unwrap_or_default();
    let parts: Vec<_> = sums.chunks_exact_mut(part_len).enumerate().collect();
    for_each_task(sizes.is_parallel(), parts, |(part, sums)| {
        let (chunk, group, split) = (part / (groups * splits), part / splits % groups, part % splits);
        let channels = group * group_in + split * split_channels..;
        let channels = channels.start..((group + 1) * group_in).min(channels.start + split_channels);
        for (image, gradient) in &pairs[chunk * chunk_images..batch.min((chunk + 1) * chunk_images)] {
            let source = image.slice(s![channels.clone(), .., ..]);
            let gradient = gradient.slice(s![group * group_out..(group + 1) * group_out, .., ..]);
            plan.multiply_transposed(source, gradient, sums)?;
        }
        Ok(())
    })?;

    let kernels: Vec<_> = weight.outer_iter_mut().enumerate().collect();
    for_each_task(sizes.weights() * chunks >= 1 << 18, kernels, |(channel, mut kernel)| {
        let (group, row) = (channel / group_out, channel % group_out);
        let Some(kernel) = kernel.as_slice_mut() else { return Ok(()) };
        for chunk in 0..chunks {
            for (split, target) in kernel.chunks_mut(split_channels * sizes.taps()).enumerate() {
                let part = (chunk * groups + group) * splits + split;
                plan.add_sums(&sums[part * part_len..][..part_len], group_out, row, target)?;
            }
        }
        Ok(())
    })
}

/// Images are summed by themselves, then added up in order.
fn backward_bias<T: Element>(sizes: &Sizes, grad_output: ArrayView4<'_, T>) -> Array1<T> {
    let sum_image = |gradient: ArrayView3<'_, T>| gradient.outer_iter().map(sum_plane).collect::<Array1<T>>();
    let images: Vec<_> = grad_output.outer_iter().collect();
    let sums: Vec<Array1<T>> = if sizes.is_parallel() {
        images.into_par_iter().map(sum_image).collect()
    } else {
        images.into_iter().map(sum_image).collect()
    };
    sums.iter().fold(Array1::zeros(sizes.out_channels), |total, sum| total + sum)
}

/// The sum of a plane in row-major order, in interleaved parts whatever the strides are.
fn sum_plane<T: Element>(plane: ArrayView2<'_, T>) -> T {
    // Enough sums at a time to hide the latency of additions.
    const PARTS: usize = 32;
    let mut parts = [T::zero(); PARTS];
    if let Some(values) = plane.as_slice() {
        let chunks = values.chunks_exact(PARTS);
        let rest = chunks.remainder();
        for chunk in chunks {
            for part in 0..PARTS {
                parts[part] += chunk[part];
            }
        }
        parts.iter_mut().zip(rest).for_each(|(part, &value)| *part += value);
    } else {
        plane.iter().enumerate().for_each(|(index, &value)| parts[index % PARTS] += value);
    }
    parts.into_iter().sum()
}
