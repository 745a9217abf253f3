//! The backward pass.
//!
//! With g = ∂L/∂y · f′, where f is the activation:
//!
//! - `∂L/∂b[m] = Σ_{n, i, j} g[n, m, i, j]`
//! - `∂L/∂w[m, c, k, l] = Σ_{n, i, j} g[n, m, i, j] · x[n, c, i·s_y + k·d_y − top, j·s_x + l·d_x − left]`
//! - `∂L/∂x[n, c, y, x] = Σ_{m, k, l} w[m, c, k, l] · g[n, m, (y + top − k·d_y)/s_y, (x + left − l·d_x)/s_x]` over the
//!   kernel positions that make both quotients integral: a correlation of g for each remainder of y and x modulo the
//!   stride.

use ndarray::{Array1, Array4, ArrayView2, ArrayView3, ArrayView4, ArrayViewMut3, ArrayViewMut4, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Correlation, CorrelationWeights, Element, Isa, PhaseTaps, Start, Taps};

use crate::config::NAME;
use crate::forward::{flat_size, uses_correlation};
use crate::narrow::is_narrow;
use crate::sizes::{Sizes, for_each_task, zeros};
use crate::{Conv2dConfig, Conv2dError, narrow, unrolled};

/// The parts of the batch that are summed by themselves, at most.
const MAX_CHUNKS: usize = 16;

/// The sums of all parts take at most this many elements where that leaves more than [`MIN_CHUNKS`].
const MAX_SUMS: usize = 1 << 22;
const MIN_CHUNKS: usize = 8;

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
    if !sizes.is_pointwise() {
        return None;
    }
    let [height, width] = flat_size(sizes.input);
    let array = array.into_shape_with_order((sizes.batch, array.dim().1, height, width)).ok()?;
    Some((Sizes { input: [height, width], output: [height, width], ..*sizes }, array))
}

/// A phase of the input and its weights, packed per group.
struct Phase<T> {
    rows: usize,
    columns: usize,
    plan: Correlation<T>,
    packed: Vec<CorrelationWeights<T>>,
}

fn correlate_phases<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    grad_output: ArrayView4<'_, T>,
    mut grad_input: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let [stride_y, stride_x] = sizes.window.stride;
    let mut phases = Vec::new();
    for rows in 0..stride_y.min(sizes.input[0]) {
        for columns in 0..stride_x.min(sizes.input[1]) {
            phases.extend(pack_phase(isa, sizes, weight, [rows, columns], grad_output.strides())?);
        }
    }
    // One phase of all rows: bands of it. Else the phases of an image, whose gradient is still in cache for the next.
    let mut tasks = Vec::new();
    for (gradient, target) in grad_output.outer_iter().zip(grad_input.outer_iter_mut()) {
        let band_rows = match phases.as_slice() {
            [phase] if stride_y == 1 => phase.plan.band_rows(),
            _ => sizes.input[0],
        };
        let mut rest = target;
        for first_row in (0..sizes.input[0]).step_by(band_rows) {
            let rows = band_rows.min(sizes.input[0] - first_row);
            let (band, following) = rest.split_at(Axis(1), rows);
            rest = following;
            tasks.push((gradient, first_row, band));
        }
    }
    for_each_task(sizes.is_parallel(), tasks, |(gradient, first_row, mut band)| {
        for phase in &phases {
            let mut pixels = band.slice_mut(s![.., phase.rows..; stride_y, phase.columns..; stride_x]);
            for row in (0..pixels.dim().1).step_by(phase.plan.band_rows()) {
                let end = (row + phase.plan.band_rows()).min(pixels.dim().1);
                phase.multiply(sizes, gradient, first_row + row, pixels.slice_mut(s![.., row..end, ..]))?;
            }
        }
        Ok(())
    })
}

/// `None` for pixels that no output position meets: their gradient is 0.
fn pack_phase<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    [rows, columns]: [usize; 2],
    strides: &[isize],
) -> Result<Option<Phase<T>>, Conv2dError> {
    let Sizes { group_in, group_out, .. } = *sizes;
    let PhaseTaps { taps, kernel_rows, kernel_columns } =
        PhaseTaps::of_window(NAME, &sizes.window, sizes.input, [rows, columns])?;
    if taps.count() == 0 {
        return Ok(None);
    }
    let kernel_width = sizes.window.kernel[1];
    let tap_offsets: Vec<usize> =
        kernel_rows.iter().flat_map(|k| kernel_columns.iter().map(move |l| k * kernel_width + l)).collect();
    let plan = Correlation::new(isa, taps, group_out, group_in, sizes.batch).with_source_strides(&strides[1..]);
    let packed = (0..sizes.groups)
        .map(|group| {
            let weight = &weight[group * group_out * group_in * sizes.taps()..];
            CorrelationWeights::pack(&plan, group_in, weight, sizes.taps(), group_in * sizes.taps(), &tap_offsets)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Phase { rows, columns, plan, packed }))
}

impl<T: Element> Phase<T> {
    fn multiply(
        &self,
        sizes: &Sizes,
        gradient: ArrayView3<'_, T>,
        first_row: usize,
        mut target: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        let Sizes { group_in, group_out, .. } = *sizes;
        for (group, weights) in self.packed.iter().enumerate() {
            let source = gradient.slice(s![group * group_out..(group + 1) * group_out, .., ..]);
            let target = target.slice_mut(s![group * group_in..(group + 1) * group_in, .., ..]);
            self.plan.multiply(weights, source, first_row, Start::Zero, None, target)?;
        }
        Ok(())
    }
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
    } else if !uses_correlation(isa, &sizes) {
        unrolled::backward_weight(&sizes, input, grad_output.view(), weight.view_mut())?;
    } else if let (Some((flat, input)), Some((_, grad_output))) =
        (flatten_pointwise(&sizes, &input), flatten_pointwise(&sizes, &grad_output))
    {
        correlate_transposed(isa, &flat, input, grad_output, &mut weight)?;
    } else {
        correlate_transposed(isa, &sizes, input, grad_output.view(), &mut weight)?;
    }
    let bias = config.bias.then(|| backward_bias(&sizes, grad_output));
    Ok((weight, bias))
}

/// The sums of the weight's gradient: one part per chunk of the batch, group and range of channels of the group.
fn correlate_transposed<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    input: ArrayView4<'_, T>,
    grad_output: ArrayView4<'_, T>,
    weight: &mut Array4<T>,
) -> Result<(), Conv2dError> {
    let Sizes { group_in, group_out, groups, batch, .. } = *sizes;
    let weight_len = sizes.out_channels * group_in * sizes.taps();
    let chunks = batch.min((MAX_SUMS / weight_len.max(1)).clamp(MIN_CHUNKS, MAX_CHUNKS));
    let chunk_images = batch.div_ceil(chunks);
    let chunks = batch.div_ceil(chunk_images);
    let split = (MAX_CHUNKS / (chunks * groups).max(1)).clamp(1, group_in);
    let split_channels = group_in.div_ceil(split);
    let splits = group_in.div_ceil(split_channels);

    let taps = Taps::of_window(NAME, &sizes.window, sizes.input)?;
    let plan = Correlation::transposed(isa, taps, split_channels);
    let part_len = plan.sums_len(group_out);
    let mut sums: Array1<T> = zeros("sums of the gradient of the weight", [chunks * groups * splits * part_len])?;
    let sums = sums.as_slice_mut().unwrap_or_default();
    let parts: Vec<_> = sums.chunks_exact_mut(part_len).enumerate().collect();
    for_each_task(sizes.is_parallel(), parts, |(part, sums)| {
        let (chunk, group, split) = (part / (groups * splits), part / splits % groups, part % splits);
        let channels = group * group_in + split * split_channels..;
        let channels = channels.start..((group + 1) * group_in).min(channels.start + split_channels);
        for image in chunk * chunk_images..batch.min((chunk + 1) * chunk_images) {
            let source = input.slice(s![image, channels.clone(), .., ..]);
            let gradient = grad_output.slice(s![image, group * group_out..(group + 1) * group_out, .., ..]);
            plan.multiply_transposed(source, gradient, sums)?;
        }
        Ok(())
    })?;

    let kernels: Vec<_> = weight.outer_iter_mut().enumerate().collect();
    for_each_task(weight_len * chunks >= 1 << 18, kernels, |(channel, mut kernel)| {
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
