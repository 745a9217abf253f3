//! The forward pass.

use ndarray::{ArrayView1, ArrayView4, ArrayViewMut4, Axis};
use tensor_ops::{Correlation, Depthwise, Element, Isa, Start, Taps};

use crate::config::NAME;
use crate::correlated::Correlated;
use crate::narrow::is_narrow;
use crate::sizes::{Sizes, flat_size, for_each_task};
use crate::{Conv2dConfig, Conv2dError, narrow, unrolled};

/// Convolves a batch of images, and applies the activation.
///
/// - `weight`: `[out_channels, in_channels / groups, kernel height, kernel width]`
/// - `bias`: `[out_channels]`, where the configuration has one
/// - `input`: `[batch, in_channels, height, width]`, any strides
/// - `output`: `[batch, out_channels, output height, output width]`, any strides; its values are not read
///
/// # Errors
/// [`Conv2dError`] if the configuration is invalid or a shape does not fit.
///
/// ```
/// use conv2d::{Conv2dConfig, convolve_into};
/// use ndarray::{Array4, array};
///
/// let config = Conv2dConfig { kernel: [1, 2], bias: false, ..Conv2dConfig::default() };
/// let weight = array![[[[1.0, -1.0]]]];
/// let mut output = Array4::zeros((1, 1, 1, 3));
/// convolve_into(&config, weight.view(), None, array![[[[1.0, 4.0, 9.0, 16.0]]]].view(), output.view_mut())?;
/// assert_eq!(output, array![[[[-3.0, -5.0, -7.0]]]]);
/// # Ok::<(), conv2d::Conv2dError>(())
/// ```
pub fn convolve_into<T: Element>(
    config: &Conv2dConfig,
    weight: ArrayView4<'_, T>,
    bias: Option<ArrayView1<'_, T>>,
    input: ArrayView4<'_, T>,
    output: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    convolve_into_on(Isa::selected(), config, weight, bias, input, output)
}

/// [`convolve_into`] with the kernels of `isa`.
pub(crate) fn convolve_into_on<T: Element>(
    isa: Isa,
    config: &Conv2dConfig,
    weight: ArrayView4<'_, T>,
    bias: Option<ArrayView1<'_, T>>,
    input: ArrayView4<'_, T>,
    output: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let sizes = Sizes::check(config, &weight, [0, 1, 2, 3].map(|axis| input.shape()[axis]))?;
    sizes.check_bias(config, bias.as_ref())?;
    sizes.check_output(["output batch", "output channels", "output height", "output width"], output.shape())?;
    let weight = weight.as_standard_layout();
    let bias = bias.as_ref().map(|bias| bias.as_standard_layout());
    let bias = bias.as_ref().and_then(|bias| bias.as_slice());
    let bounds = config.activation.bounds();
    if is_narrow::<T>(isa, &sizes) {
        narrow::convolve(isa, &sizes, weight.as_slice().unwrap_or_default(), bias, bounds, input, output)
    } else if uses_correlation(isa, &sizes) {
        correlate(isa, &sizes, weight.view(), bias, bounds, input, output)
    } else {
        unrolled::convolve(&sizes, weight.view(), bias, bounds, input, output)
    }
}

/// Channels that a task convolves by themselves.
const TASK_CHANNELS: usize = 8;

/// Rows times columns that one output position may span for the register kernels, whose buffer holds them.
const MAX_SPAN: usize = 1 << 26;

/// Whether the register kernels serve this CPU and shape; products through `matrixmultiply` serve the others, which would
/// waste them on groups of one channel.
pub(crate) fn uses_correlation(isa: Isa, sizes: &Sizes) -> bool {
    let Sizes { window, input, output, .. } = sizes;
    let Ok([height, width]) = window.effective_kernel() else { return false };
    let [rows, columns] = [height + window.stride[0].min(MAX_SPAN), width + window.stride[1].min(MAX_SPAN)];
    let span = rows.saturating_mul(columns.saturating_add(input[1]).saturating_add(output[1]));
    span <= MAX_SPAN && (isa != Isa::Portable || sizes.group_out == 1)
}

fn correlate<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: ArrayView4<'_, T>,
    bias: Option<&[T]>,
    bounds: Option<[T; 2]>,
    input: ArrayView4<'_, T>,
    mut output: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    if sizes.group_in == 1 && sizes.group_out == 1 && sizes.groups > 1 {
        return depthwise(isa, sizes, weight, bias, bounds, input, output);
    }
    if let Some((sizes, input, output)) = flatten_pointwise(sizes, &input, &mut output) {
        return correlate_images(isa, &sizes, weight, bias, bounds, input, output);
    }
    correlate_images(isa, sizes, weight, bias, bounds, input, output)
}

/// Channels by themselves, each in one piece of work.
fn depthwise<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: ArrayView4<'_, T>,
    bias: Option<&[T]>,
    bounds: Option<[T; 2]>,
    input: ArrayView4<'_, T>,
    mut output: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let plan = Depthwise::new(isa, Taps::of_window(NAME, &sizes.window, sizes.input)?);
    let weight = weight.as_slice().unwrap_or_default();
    let mut tasks = Vec::new();
    for (mut image, mut output) in input.outer_iter().zip(output.outer_iter_mut()) {
        for first in (0..sizes.groups).step_by(TASK_CHANNELS) {
            let channels = TASK_CHANNELS.min(sizes.groups - first);
            let (source, other_images) = image.split_at(Axis(0), channels);
            let (target, other_outputs) = output.split_at(Axis(0), channels);
            (image, output) = (other_images, other_outputs);
            tasks.push((first..first + channels, source, target));
        }
    }
    for_each_task(sizes.is_parallel(), tasks, |(channels, source, target)| {
        let kernels = &weight[channels.start * sizes.taps()..channels.end * sizes.taps()];
        Ok(plan.convolve(kernels, bias.map(|bias| &bias[channels]), bounds, source, target)?)
    })
}

/// Views of other height and width: to a 1×1 convolution an image is a row of pixels, best cut into whole vectors.
fn flatten_pointwise<'a, T: Element>(
    sizes: &Sizes,
    input: &ArrayView4<'a, T>,
    output: &'a mut ArrayViewMut4<'_, T>,
) -> Option<(Sizes, ArrayView4<'a, T>, ArrayViewMut4<'a, T>)> {
    let [height, width] = sizes.is_pointwise().then(|| flat_size(sizes.input))?;
    let input = input.into_shape_with_order((sizes.batch, sizes.in_channels, height, width)).ok()?;
    let output = output.view_mut().into_shape_with_order((sizes.batch, sizes.out_channels, height, width)).ok()?;
    Some((sizes.flattened(), input, output))
}

fn correlate_images<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: ArrayView4<'_, T>,
    bias: Option<&[T]>,
    bounds: Option<[T; 2]>,
    input: ArrayView4<'_, T>,
    mut output: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let weight = weight.as_slice().unwrap_or_default();
    let kernels = Correlated::new(isa, sizes, weight, &input.strides()[1..], Correlation::new)?;
    let images = input.outer_iter().zip(output.outer_iter_mut()).collect();
    kernels.convolve_images(images, bias.map_or(Start::Zero, Start::Bias), bounds)
}
