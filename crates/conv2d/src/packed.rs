//! Convolutions whose weights are laid out once and then used band by band, for layers that put them into steps of their
//! own.

use ndarray::{Array2, ArrayView3, ArrayView4, ArrayViewMut3, CowArray, Ix4};
use tensor_ops::{Correlation, Element, Isa, Start, check_axis};

use crate::config::NAME;
use crate::correlated::{Correlated, NewPlan, bands};
use crate::forward::uses_correlation;
use crate::sizes::{Sizes, for_each_task};
use crate::{Conv2dConfig, Conv2dError, unrolled};

mod backward;

pub use backward::PackedConv2dBackward;
pub(crate) use backward::{band_rows, pack_phases, run_phases};

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
    Correlated(Box<Correlated<T>>),
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
        Self::with_plan(isa, config, weight, [height, width], images, Correlation::new)
    }

    /// [`Self::new`] for [`Self::convolve_images`]: the kernels may take tiles of many images at once, which serve images of few
    /// pixels better, and bands by themselves worse.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn stacked(
        config: &Conv2dConfig,
        weight: ArrayView4<'_, T>,
        input: [usize; 2],
        images: usize,
    ) -> Result<Self, Conv2dError> {
        Self::stacked_on(Isa::selected(), config, weight, input, images)
    }

    /// [`Self::stacked`] with the kernels of `isa`; portable ones where the CPU lacks it.
    #[doc(hidden)]
    pub fn stacked_on(
        isa: Isa,
        config: &Conv2dConfig,
        weight: ArrayView4<'_, T>,
        input: [usize; 2],
        images: usize,
    ) -> Result<Self, Conv2dError> {
        Self::with_plan(isa, config, weight, input, images, Correlation::stacked)
    }

    fn with_plan(
        isa: Isa,
        config: &Conv2dConfig,
        weight: ArrayView4<'_, T>,
        [height, width]: [usize; 2],
        images: usize,
        new_plan: NewPlan<T>,
    ) -> Result<Self, Conv2dError> {
        let (sizes, weight) = check(config, &weight, [height, width], images)?;
        if !uses_correlation(isa, &sizes) {
            return Ok(Self { kernels: Kernels::Unrolled(unrolled::k_major(&sizes, weight.view())), sizes });
        }
        let weight = weight.as_slice().unwrap_or_default();
        let strides = [(height * width) as isize, width as isize, 1];
        let kernels = Kernels::Correlated(Box::new(Correlated::new(isa, &sizes, weight, &strides, new_plan)?));
        Ok(Self { sizes, kernels })
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
            Kernels::Correlated(kernels) => kernels.plan().band_rows(),
            Kernels::Unrolled(_) => unrolled::band_rows(&self.sizes),
        }
    }

    /// Bands whose first row and number of rows are multiples of this compute nothing twice; it divides
    /// [`Self::band_rows`], or that is all rows.
    pub fn row_multiple(&self) -> usize {
        match &self.kernels {
            Kernels::Correlated(kernels) => kernels.plan().row_multiple(),
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
        band: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        self.check_channels(&image, start, &band)?;
        match &self.kernels {
            Kernels::Correlated(kernels) => kernels.convolve_band(image, first_row, start, None, band),
            Kernels::Unrolled(weights) => self.unroll_band(weights, image, first_row, start, band),
        }
    }

    /// Convolves whole images on all threads: `[in_channels, height, width]` to
    /// `[out_channels, output height, output width]`, any strides. Every output is the same as by itself, bit for bit.
    ///
    /// # Errors
    /// [`Conv2dError`] if a shape does not fit.
    pub fn convolve_images(
        &self,
        images: Vec<(ArrayView3<'_, T>, ArrayViewMut3<'_, T>)>,
        start: Start<'_, T>,
    ) -> Result<(), Conv2dError> {
        for (image, output) in &images {
            self.check_channels(image, start, output)?;
            check_axis(NAME, "output height", self.sizes.output[0], output.dim().1)?;
        }
        match &self.kernels {
            Kernels::Correlated(kernels) => kernels.convolve_images(images, start, None),
            Kernels::Unrolled(weights) => {
                let bands = bands(images, unrolled::band_rows(&self.sizes));
                for_each_task(self.sizes.is_parallel(), bands, |(image, first_row, band)| {
                    self.unroll_band(weights, image, first_row, start, band)
                })
            }
        }
    }

    fn check_channels(
        &self,
        image: &ArrayView3<'_, T>,
        start: Start<'_, T>,
        output: &ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        let Sizes { in_channels, out_channels, .. } = self.sizes;
        check_axis(NAME, "input channels", in_channels, image.dim().0)?;
        check_axis(NAME, "output channels", out_channels, output.dim().0)?;
        if let Start::Bias(bias) = start {
            check_axis(NAME, "bias", out_channels, bias.len())?;
        }
        Ok(())
    }

    fn unroll_band(
        &self,
        weights: &[Array2<T>],
        image: ArrayView3<'_, T>,
        first_row: usize,
        start: Start<'_, T>,
        band: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
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
