//! The gradient of the input, the counterpart of [`super::PackedConv2d`].

use ndarray::{Array2, ArrayView3, ArrayView4, ArrayViewMut3, s};
use tensor_ops::{Correlation, CorrelationWeights, Element, Isa, PhaseTaps, Start, check_axis};

use super::check;
use crate::config::NAME;
use crate::forward::uses_correlation;
use crate::sizes::Sizes;
use crate::{Conv2dConfig, Conv2dError, unrolled};

/// The gradient of a convolution's input, for gradients of outputs of one size, with the weights in the order of the kernels.
///
/// The counterpart of [`crate::PackedConv2d`]: it takes the gradient of the output of an image to that of its input.
#[derive(Clone, Debug)]
pub struct PackedConv2dBackward<T> {
    sizes: Sizes,
    kernels: BackwardKernels<T>,
}

#[derive(Clone, Debug)]
enum BackwardKernels<T> {
    Phases(Vec<Phase<T>>),
    Unrolled(Vec<Array2<T>>),
}

impl<T: Element> PackedConv2dBackward<T> {
    /// Lays `weight` out as [`crate::PackedConv2d::new`] does.
    ///
    /// # Errors
    /// As [`crate::PackedConv2d::new`].
    pub fn new(
        config: &Conv2dConfig,
        weight: ArrayView4<'_, T>,
        input: [usize; 2],
        images: usize,
    ) -> Result<Self, Conv2dError> {
        Self::on(Isa::selected(), config, weight, input, images)
    }

    /// [`Self::new`] with the kernels of `isa`; portable ones where the CPU lacks it.
    #[doc(hidden)]
    pub fn on(
        isa: Isa,
        config: &Conv2dConfig,
        weight: ArrayView4<'_, T>,
        input: [usize; 2],
        images: usize,
    ) -> Result<Self, Conv2dError> {
        let (sizes, weight) = check(config, &weight, input, images)?;
        let kernels = if uses_correlation(isa, &sizes) {
            let [height, width] = sizes.output;
            let strides = [(height * width) as isize, width as isize, 1];
            BackwardKernels::Phases(pack_phases(isa, &sizes, weight.as_slice().unwrap_or_default(), &strides)?)
        } else {
            BackwardKernels::Unrolled(unrolled::k_major(&sizes, weight.view()))
        };
        Ok(Self { sizes, kernels })
    }

    /// The most rows of a band.
    pub fn band_rows(&self) -> usize {
        match &self.kernels {
            BackwardKernels::Phases(phases) => band_rows(&self.sizes, phases),
            BackwardKernels::Unrolled(_) => self.sizes.input[0],
        }
    }

    /// Computes or adds to the gradient of the input rows from `first_row` on, as many as `band` has.
    ///
    /// - `gradient`: `[out_channels, output height, output width]`, any strides; standard layout is fastest
    /// - `add`: whether the result is added to what `band` holds, which else is not read
    /// - `band`: `[in_channels, band_rows or what is left, width]`, any strides; bands start at multiples of
    ///   [`Self::band_rows`]
    ///
    /// # Errors
    /// [`Conv2dError`] if a shape does not fit or the band is none of the input's.
    pub fn backward_band(
        &self,
        gradient: ArrayView3<'_, T>,
        first_row: usize,
        add: bool,
        mut band: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        let Sizes { in_channels, out_channels, input, output, .. } = self.sizes;
        check_axis(NAME, "gradient channels", out_channels, gradient.dim().0)?;
        check_axis(NAME, "gradient height", output[0], gradient.dim().1)?;
        check_axis(NAME, "gradient width", output[1], gradient.dim().2)?;
        check_axis(NAME, "input channels", in_channels, band.dim().0)?;
        check_axis(NAME, "input width", input[1], band.dim().2)?;
        let band_rows = self.band_rows();
        check_axis(NAME, "first row in a band", 0, first_row % band_rows.max(1))?;
        check_axis(NAME, "band height", band_rows.min(input[0].saturating_sub(first_row)), band.dim().1)?;
        match &self.kernels {
            BackwardKernels::Phases(phases) => {
                // Pixels that no output position meets belong to no phase.
                if !add && phases.len() < self.phase_count() {
                    band.fill(T::zero());
                }
                let start = if add { Start::Existing } else { Start::Zero };
                run_phases(&self.sizes, phases, gradient, first_row, start, band)
            }
            BackwardKernels::Unrolled(weights) => {
                if !add {
                    band.fill(T::zero());
                }
                unrolled::backward_image(&self.sizes, weights, gradient, band)
            }
        }
    }

    fn phase_count(&self) -> usize {
        let Sizes { window, input, .. } = self.sizes;
        window.stride[0].min(input[0]) * window.stride[1].min(input[1])
    }
}

/// The pixels of the input with one remainder of row and column modulo the stride, and their weights, packed per group.
#[derive(Clone, Debug)]
pub(crate) struct Phase<T> {
    rows: usize,
    columns: usize,
    plan: Correlation<T>,
    packed: Vec<CorrelationWeights<T>>,
}

/// The phases whose pixels some output position meets; the gradient of the others is 0.
pub(crate) fn pack_phases<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    source_strides: &[isize],
) -> Result<Vec<Phase<T>>, Conv2dError> {
    let [stride_y, stride_x] = sizes.window.stride;
    let mut phases = Vec::new();
    for rows in 0..stride_y.min(sizes.input[0]) {
        for columns in 0..stride_x.min(sizes.input[1]) {
            phases.extend(pack_phase(isa, sizes, weight, [rows, columns], source_strides)?);
        }
    }
    Ok(phases)
}

fn pack_phase<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    [rows, columns]: [usize; 2],
    source_strides: &[isize],
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
    let plan = Correlation::new(isa, taps, group_out, group_in, sizes.batch).with_source_strides(source_strides);
    let packed = (0..sizes.groups)
        .map(|group| {
            let weight = &weight[group * group_out * group_in * sizes.taps()..];
            CorrelationWeights::pack(&plan, group_in, weight, sizes.taps(), group_in * sizes.taps(), &tap_offsets)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Phase { rows, columns, plan, packed }))
}

/// Rows of the input that one task computes: a band of the only phase, else all, whose gradient stays in cache from one
/// phase to the next.
pub(crate) fn band_rows<T: Element>(sizes: &Sizes, phases: &[Phase<T>]) -> usize {
    match phases {
        [phase] if sizes.window.stride[0] == 1 => phase.plan.band_rows(),
        _ => sizes.input[0],
    }
}

/// Computes the pixels of all phases in the rows of `band`, of which `first_row` is the first.
pub(crate) fn run_phases<T: Element>(
    sizes: &Sizes,
    phases: &[Phase<T>],
    gradient: ArrayView3<'_, T>,
    first_row: usize,
    start: Start<'_, T>,
    mut band: ArrayViewMut3<'_, T>,
) -> Result<(), Conv2dError> {
    let Sizes { group_in, group_out, .. } = *sizes;
    let [stride_y, stride_x] = sizes.window.stride;
    for phase in phases {
        let mut pixels = band.slice_mut(s![.., phase.rows..; stride_y, phase.columns..; stride_x]);
        for row in (0..pixels.dim().1).step_by(phase.plan.band_rows()) {
            let end = (row + phase.plan.band_rows()).min(pixels.dim().1);
            let mut pixels = pixels.slice_mut(s![.., row..end, ..]);
            for (group, weights) in phase.packed.iter().enumerate() {
                let source = gradient.slice(s![group * group_out..(group + 1) * group_out, .., ..]);
                let target = pixels.slice_mut(s![group * group_in..(group + 1) * group_in, .., ..]);
                phase.plan.multiply(weights, source, first_row + row, start, None, target)?;
            }
        }
    }
    Ok(())
}
