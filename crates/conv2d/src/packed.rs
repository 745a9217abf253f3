//! Convolutions whose weights are laid out once and then used band by band, for layers that put them into steps of their
//! own.

use ndarray::{Array2, ArrayView3, ArrayView4, ArrayViewMut3, CowArray, Ix4, s};
use tensor_ops::{Correlation, CorrelationWeights, Element, Isa, PhaseTaps, Start, Taps, check_axis};

use crate::config::NAME;
use crate::forward::uses_correlation;
use crate::sizes::Sizes;
use crate::{Conv2dConfig, Conv2dError, unrolled};

/// A convolution for inputs of one size, with its weights in the order of the kernels.
///
/// It computes the output of an image in bands of rows, and can add to what the output holds: the input's and the state's
/// part of a recurrent gate are two of them on the same band. Every output element is the same, bit for bit, whatever the
/// band and the number of `images` that it was made for.
///
/// ```
/// use conv2d::{Conv2dConfig, PackedConv2d};
/// use ndarray::{Array3, Array4};
/// use tensor_ops::{Padding, Start};
///
/// let config = Conv2dConfig {
///     in_channels: 2,
///     out_channels: 3,
///     kernel: [3, 3],
///     padding: Padding::symmetric(1, 1),
///     bias: false,
///     ..Conv2dConfig::default()
/// };
/// let packed = PackedConv2d::new(&config, Array4::<f32>::ones((3, 2, 3, 3)).view(), [8, 8], 1)?;
/// let image = Array3::ones((2, 8, 8));
/// let mut band = Array3::zeros((3, 1, 8));
/// packed.convolve_band(image.view(), 4, Start::Bias(&[1.0, 2.0, 3.0]), band.view_mut())?;
/// assert_eq!(band[[1, 0, 0]], 2.0 + 2.0 * 6.0);
/// # Ok::<(), conv2d::Conv2dError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedConv2d<T> {
    sizes: Sizes,
    kernels: Kernels<T>,
}

#[derive(Clone, Debug)]
enum Kernels<T> {
    /// Per group.
    Correlation { plan: Box<Correlation<T>>, weights: Vec<CorrelationWeights<T>> },
    /// Per group, K-major.
    Unrolled(Vec<Array2<T>>),
}

impl<T: Element> PackedConv2d<T> {
    /// Lays `weight` `[out_channels, in_channels / groups, kernel height, kernel width]` out for inputs of `input` height and
    /// width; `images` is how many of them are convolved at a time, which decides the height of a band.
    ///
    /// A bias is given to [`Self::convolve_band`]; the configuration's `bias` and `activation` are not used.
    ///
    /// # Errors
    /// [`Conv2dError`] if the configuration is invalid or the sizes do not fit.
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
        [height, width]: [usize; 2],
        images: usize,
    ) -> Result<Self, Conv2dError> {
        let (sizes, weight) = check(config, &weight, [height, width], images)?;
        if !uses_correlation(isa, &sizes) {
            return Ok(Self { kernels: Kernels::Unrolled(unrolled::k_major(&sizes, weight.view())), sizes });
        }
        let weight = weight.as_slice().unwrap_or_default();
        let strides = [(height * width) as isize, width as isize, 1];
        let (plan, weights) = pack_correlation(isa, &sizes, weight, &strides)?;
        Ok(Self { sizes, kernels: Kernels::Correlation { plan: Box::new(plan), weights } })
    }

    /// Channels of the output.
    pub fn output_channels(&self) -> usize {
        self.sizes.out_channels
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        self.sizes.output
    }

    /// The most rows of a band.
    pub fn band_rows(&self) -> usize {
        match &self.kernels {
            Kernels::Correlation { plan, .. } => plan.band_rows(),
            Kernels::Unrolled(_) => unrolled::band_rows(&self.sizes),
        }
    }

    /// Bands whose first row and number of rows are multiples of this compute nothing twice; it divides
    /// [`Self::band_rows`], or that is all rows.
    pub fn row_multiple(&self) -> usize {
        match &self.kernels {
            Kernels::Correlation { plan, .. } => plan.row_multiple(),
            Kernels::Unrolled(_) => 1,
        }
    }

    /// Computes the output rows from `first_row` on, as many as `band` has.
    ///
    /// - `image`: `[in_channels, height, width]`, any strides; standard layout is fastest
    /// - `band`: `[out_channels, at most band_rows, output width]`, any strides; its values are not read unless `start` is
    ///   [`Start::Existing`]
    ///
    /// # Errors
    /// [`Conv2dError`] if a shape does not fit or the band does not lie in the output.
    pub fn convolve_band(
        &self,
        image: ArrayView3<'_, T>,
        first_row: usize,
        start: Start<'_, T>,
        mut band: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        let Sizes { in_channels, out_channels, group_in, group_out, .. } = self.sizes;
        check_axis(NAME, "input channels", in_channels, image.dim().0)?;
        check_axis(NAME, "output channels", out_channels, band.dim().0)?;
        if let Start::Bias(bias) = start {
            check_axis(NAME, "bias", out_channels, bias.len())?;
        }
        let Kernels::Correlation { plan, weights } = &self.kernels else {
            return self.unroll_band(image, first_row, start, band);
        };
        for (group, weights) in weights.iter().enumerate() {
            let source = image.slice(s![group * group_in..(group + 1) * group_in, .., ..]);
            let target = band.slice_mut(s![group * group_out..(group + 1) * group_out, .., ..]);
            let start = match start {
                Start::Bias(bias) => Start::Bias(&bias[group * group_out..(group + 1) * group_out]),
                other => other,
            };
            plan.multiply(weights, source, first_row, start, None, target)?;
        }
        Ok(())
    }

    fn unroll_band(
        &self,
        image: ArrayView3<'_, T>,
        first_row: usize,
        start: Start<'_, T>,
        band: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        let Kernels::Unrolled(weights) = &self.kernels else { return Ok(()) };
        check_axis(NAME, "input height", self.sizes.input[0], image.dim().1)?;
        check_axis(NAME, "input width", self.sizes.input[1], image.dim().2)?;
        check_axis(NAME, "output width", self.sizes.output[1], band.dim().2)?;
        let end = first_row + band.dim().1;
        if end > self.sizes.output[0] {
            let (operation, index, found, end) = (NAME, "output row", end, self.sizes.output[0]);
            return Err(tensor_ops::TensorError::IndexOutOfRange { operation, index, item: 0, found, end }.into());
        }
        unrolled::convolve_band(&self.sizes, weights, image, first_row, start, band)
    }
}

/// The sizes of a convolution of `images` inputs, and its weight in standard layout.
fn check<'a, T: Element>(
    config: &Conv2dConfig,
    weight: &ArrayView4<'a, T>,
    [height, width]: [usize; 2],
    images: usize,
) -> Result<(Sizes, CowArray<'a, T, Ix4>), Conv2dError> {
    let sizes = Sizes::check(config, weight, [images.max(1), config.in_channels, height, width])?;
    let standard = match weight.is_standard_layout() {
        true => (*weight).into(),
        false => weight.as_standard_layout().into_owned().into(),
    };
    Ok((sizes, standard))
}

/// Plan and weights of the register kernels, per group.
pub(crate) fn pack_correlation<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    source_strides: &[isize],
) -> Result<(Correlation<T>, Vec<CorrelationWeights<T>>), Conv2dError> {
    let Sizes { group_in, group_out, .. } = *sizes;
    let taps = Taps::of_window(NAME, &sizes.window, sizes.input)?;
    let tap_count = taps.count();
    let plan = Correlation::new(isa, taps, group_in, group_out, sizes.batch).with_source_strides(source_strides);
    let tap_offsets: Vec<usize> = (0..tap_count).collect();
    let packed = (0..sizes.groups)
        .map(|group| {
            let weight = &weight[group * group_out * group_in * tap_count..];
            CorrelationWeights::pack(&plan, group_out, weight, group_in * tap_count, tap_count, &tap_offsets)
        })
        .collect::<Result<_, _>>()?;
    Ok((plan, packed))
}

/// The gradient of a convolution's input, for gradients of outputs of one size, with the weights in the order of the kernels.
///
/// The counterpart of [`PackedConv2d`]: it takes the gradient of the output of an image to that of its input.
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
    /// Lays `weight` out as [`PackedConv2d::new`] does.
    ///
    /// # Errors
    /// As [`PackedConv2d::new`].
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
