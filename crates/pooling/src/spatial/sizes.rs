//! Output sizes, and which pixels the window of an output position meets.

use std::ops::Range;

use tensor_ops::{TensorError, Window, check_axis, check_not_empty};

use crate::PoolingError;

/// The windows of one axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    stride: usize,
    before: usize,
    after: usize,
    kernel: usize,
    dilation: usize,
}

/// Neighbouring output positions that meet neighbouring pixels, a stride apart, through one kernel position.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The output positions.
    pub(crate) outputs: Range<usize>,
    /// The pixel that the first of them meets.
    pub(crate) first: usize,
}

impl Axis {
    /// The kernel positions through which output position `output` meets a pixel.
    pub(crate) fn taps(&self, output: usize) -> Range<usize> {
        let start = output * self.stride;
        let end = (self.before + self.input).saturating_sub(start).div_ceil(self.dilation);
        self.before.saturating_sub(start).div_ceil(self.dilation)..end.min(self.kernel)
    }

    /// The pixel that output position `output` meets through the kernel position `tap`, one of [`Self::taps`].
    pub(crate) fn pixel(&self, output: usize, tap: usize) -> usize {
        output * self.stride + tap * self.dilation - self.before
    }

    /// For every kernel position through which some output position meets a pixel, those that do.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let least = self.before.saturating_sub((self.output - 1) * self.stride).div_ceil(self.dilation);
        let end = (self.before + self.input).div_ceil(self.dilation).min(self.kernel);
        (least..end)
            .map(|tap| {
                let offset = tap * self.dilation;
                let first = self.before.saturating_sub(offset).div_ceil(self.stride);
                let end = (self.before + self.input).saturating_sub(offset).div_ceil(self.stride).min(self.output);
                let first = first.min(end);
                let pixel = (first * self.stride + offset).saturating_sub(self.before);
                Run { outputs: first..end, first: pixel }
            })
            .collect()
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The pixels of the window of `output`, without those beyond the padding; with the padding if `padded`.
    pub(crate) fn count(&self, output: usize, padded: bool) -> usize {
        if padded {
            let start = output * self.stride;
            self.kernel.min(self.before + self.input + self.after - start)
        } else {
            self.taps(output).len()
        }
    }
}

/// The windows of both axes of images of `input` = `[height, width]`.
///
/// With n the padded input, k the dilated kernel and s the stride, there are ⌊(n − k)/s⌋ + 1 output positions; with
/// `ceil_mode` ⌈(n − k)/s⌉ + 1, less a last one whose window would start behind the input.
pub(crate) fn axes(
    operation: &'static str,
    window: &Window,
    ceil_mode: bool,
    input: [usize; 2],
) -> Result<[Axis; 2], PoolingError> {
    let mut extended = *window;
    if ceil_mode {
        // A last window may reach beyond the padding by less than a stride; one that meets nothing changes nothing.
        let reach = |axis: usize, before: usize, after: usize| {
            let kernel = window.kernel[axis].saturating_mul(window.dilation[axis]);
            let bound = input[axis].saturating_add(before).saturating_add(after).saturating_add(kernel);
            after.saturating_add(window.stride[axis].saturating_sub(1).min(bound))
        };
        extended.padding.bottom = reach(0, window.padding.top, window.padding.bottom);
        extended.padding.right = reach(1, window.padding.left, window.padding.right);
    }
    let output = extended.output_size_of(operation, input)?;
    let padding = &window.padding;
    let sides = [(padding.top, padding.bottom), (padding.left, padding.right)];
    let axis = |index: usize| {
        let (before, after) = sides[index];
        let mut axis = Axis {
            input: input[index],
            output: output[index],
            stride: window.stride[index],
            before,
            after,
            kernel: window.kernel[index],
            dilation: window.dilation[index],
        };
        if ceil_mode && (axis.output - 1).saturating_mul(axis.stride) >= axis.input + before {
            axis.output -= 1;
        }
        let is_empty = |output: &usize| axis.taps(*output).is_empty();
        // Between a first and a last window that meet the input, only a dilation can jump over all of it.
        let ends = [0, axis.output - 1];
        let inner = if axis.dilation > axis.input { 0..axis.output } else { 0..0 };
        match ends.into_iter().chain(inner).find(is_empty) {
            None => Ok(axis),
            Some(position) => Err(TensorError::InvalidOption {
                operation,
                option: "padding",
                requirement: "such that every window meets the input",
                found: format!(
                    "{before} and {after}, where output {} {position} meets nothing",
                    ["row", "column"][index]
                ),
            }),
        }
    };
    Ok([axis(0)?, axis(1)?])
}

/// Checks that images `[batch, channels, height, width]` have entries and pixels that `u32` can count.
pub(crate) fn check_images(operation: &'static str, shape: [usize; 4]) -> Result<(), PoolingError> {
    for (axis, size) in ["input batch", "input channels", "input height", "input width"].into_iter().zip(shape) {
        check_not_empty(operation, axis, size)?;
    }
    if shape[2].checked_mul(shape[3]).is_none_or(|pixels| u32::try_from(pixels).is_err()) {
        let (requirement, found) = ("of at most 2³² − 1 pixels", format!("{} x {}", shape[2], shape[3]));
        return Err(TensorError::InvalidOption { operation, option: "input", requirement, found }.into());
    }
    Ok(())
}

/// Checks the shape of the gradient of the output.
pub(crate) fn check_gradient<const N: usize>(
    operation: &'static str,
    expected: [usize; N],
    found: &[usize],
) -> Result<(), PoolingError> {
    let axes = ["grad_output batch", "grad_output channels", "grad_output height", "grad_output width"];
    for ((axis, expected), &found) in axes.into_iter().zip(expected).zip(found) {
        check_axis(operation, axis, expected, found)?;
    }
    Ok(())
}
