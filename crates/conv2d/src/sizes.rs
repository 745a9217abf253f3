//! The sizes of one convolution, checked against each other.

use std::ops::Range;

use ndarray::{Array, ArrayView1, ArrayView4, Dimension, IntoDimension};
use rayon::prelude::*;
use tensor_ops::{Element, Window, check_axis, check_not_empty};

use crate::config::NAME;
use crate::{Conv2dConfig, Conv2dError};

/// Work below this many products stays on the calling thread.
const MIN_PARALLEL_PRODUCTS: usize = 1 << 18;

/// Rows that a 1×1 convolution takes an image to have, at least this wide where that divides it.
const POINTWISE_WIDTH: usize = 64;

/// The sizes of a convolution over a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) groups: usize,
    /// Channels of a group.
    pub(crate) group_in: usize,
    pub(crate) group_out: usize,
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) window: Window,
}

impl Sizes {
    /// Checks the configuration, the weight and the input.
    pub(crate) fn check<T>(
        config: &Conv2dConfig,
        weight: &ArrayView4<'_, T>,
        input: [usize; 4],
    ) -> Result<Self, Conv2dError> {
        let axes = ["weight output channels", "weight input channels", "weight height", "weight width"];
        for ((axis, expected), &found) in axes.into_iter().zip(config.weight_shape()?).zip(weight.shape()) {
            check_axis(NAME, axis, expected, found)?;
        }
        Self::of_images(config, input)
    }

    /// Checks the configuration and the input.
    pub(crate) fn of_images(config: &Conv2dConfig, input: [usize; 4]) -> Result<Self, Conv2dError> {
        config.weight_shape()?;
        let [batch, channels, height, width] = input;
        check_not_empty(NAME, "input batch", batch)?;
        check_axis(NAME, "input channels", config.in_channels, channels)?;
        let output = config.output_size([height, width])?;
        let Conv2dConfig { in_channels, out_channels, groups, .. } = *config;
        Ok(Self {
            batch,
            in_channels,
            out_channels,
            groups,
            group_in: in_channels / groups,
            group_out: out_channels / groups,
            input: [height, width],
            output,
            window: config.window(),
        })
    }

    /// Checks that there is a bias of the right length if the configuration says so.
    pub(crate) fn check_bias<T>(
        &self,
        config: &Conv2dConfig,
        bias: Option<&ArrayView1<'_, T>>,
    ) -> Result<(), Conv2dError> {
        match bias {
            Some(bias) if config.bias => Ok(check_axis(NAME, "bias", self.out_channels, bias.len())?),
            None if !config.bias => Ok(()),
            _ => Err(Conv2dError::Bias { expected: config.bias }),
        }
    }

    /// Checks the shape of the output or its gradient.
    pub(crate) fn check_output(&self, axes: [&'static str; 4], found: &[usize]) -> Result<(), Conv2dError> {
        let expected = self.output_shape();
        for axis in 0..4 {
            check_axis(NAME, axes[axis], expected[axis], found[axis])?;
        }
        Ok(())
    }

    pub(crate) fn output_shape(&self) -> [usize; 4] {
        [self.batch, self.out_channels, self.output[0], self.output[1]]
    }

    pub(crate) fn input_shape(&self) -> [usize; 4] {
        [self.batch, self.in_channels, self.input[0], self.input[1]]
    }

    /// Kernel positions.
    pub(crate) fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Elements of the weight.
    pub(crate) fn weights(&self) -> usize {
        self.out_channels.saturating_mul(self.group_in).saturating_mul(self.taps())
    }

    /// Output positions of an image.
    pub(crate) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether an output position sees the pixel of the same place alone.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.window == Window::default()
    }

    /// The sizes of the same 1×1 convolution of images in another form.
    pub(crate) fn flattened(&self) -> Self {
        let size = flat_size(self.input);
        Self { input: size, output: size, ..*self }
    }

    /// Whether the work is worth other threads.
    pub(crate) fn is_parallel(&self) -> bool {
        self.weights().saturating_mul(self.positions()).saturating_mul(self.batch) >= MIN_PARALLEL_PRODUCTS
    }
}

/// Height and width of the same product, the width a multiple of [`POINTWISE_WIDTH`] or of a vector where possible.
pub(crate) fn flat_size([height, width]: [usize; 2]) -> [usize; 2] {
    let pixels = height * width;
    for multiple in [POINTWISE_WIDTH, 16, 8] {
        if pixels.is_multiple_of(multiple) {
            return [pixels / multiple, multiple];
        }
    }
    if pixels <= 1024 { [1, pixels] } else { [height, width] }
}

/// An array of zeros, or an error where the memory cannot be had.
pub(crate) fn zeros<T: Element, const N: usize, D: Dimension>(
    result: &'static str,
    shape: [usize; N],
) -> Result<Array<T, D>, Conv2dError>
where
    [usize; N]: IntoDimension<Dim = D>,
{
    let no_memory = || Conv2dError::Memory { result, shape: shape.to_vec() };
    let len = shape.iter().try_fold(1_usize, |len, &size| len.checked_mul(size)).ok_or_else(no_memory)?;
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| no_memory())?;
    if PARALLEL_FILL.contains(&(len * size_of::<T>())) {
        values.par_extend(rayon::iter::repeat_n(T::zero(), len).with_min_len(FILL_PART));
    } else {
        drop(values);
        values = vec![T::zero(); len];
    }
    Array::from_shape_vec(shape.into_dimension(), values).map_err(|_| no_memory())
}

/// Bytes that all threads fill with zeros. Larger arrays are new pages of the operating system, which are zero already.
const PARALLEL_FILL: Range<usize> = 1 << 20..32 << 20;

/// Elements that a thread fills at a time.
const FILL_PART: usize = 1 << 16;

/// Runs `work` on all tasks, on all threads if `parallel`.
pub(crate) fn for_each_task<I: Send>(
    parallel: bool,
    tasks: Vec<I>,
    work: impl Fn(I) -> Result<(), Conv2dError> + Sync + Send,
) -> Result<(), Conv2dError> {
    if parallel { tasks.into_par_iter().try_for_each(work) } else { tasks.into_iter().try_for_each(work) }
}
