//! Convolution by the register kernels, group by group.

use ndarray::{ArrayView3, ArrayViewMut3, Axis, s};
use tensor_ops::{Correlation, CorrelationWeights, Element, Isa, Start, Taps};

use crate::Conv2dError;
use crate::config::NAME;
use crate::sizes::{Sizes, for_each_task};

/// [`Correlation::new`] or [`Correlation::stacked`].
pub(crate) type NewPlan<T> = fn(Isa, Taps, usize, usize, usize) -> Correlation<T>;

/// An image `[in_channels, height, width]`, and what becomes of it: `[out_channels, output height, output width]`.
pub(crate) type Pair<'a, T> = (ArrayView3<'a, T>, ArrayViewMut3<'a, T>);

/// A plan with its packed weights.
#[derive(Clone, Debug)]
pub(crate) struct Correlated<T> {
    sizes: Sizes,
    plan: Correlation<T>,
    /// Per group.
    weights: Vec<CorrelationWeights<T>>,
}

impl<T: Element> Correlated<T> {
    /// `weight` in standard layout; sources with these strides of channel, row and column are read in place where that is
    /// possible.
    pub(crate) fn new(
        isa: Isa,
        sizes: &Sizes,
        weight: &[T],
        source_strides: &[isize],
        new_plan: NewPlan<T>,
    ) -> Result<Self, Conv2dError> {
        let Sizes { group_in, group_out, .. } = *sizes;
        let taps = Taps::of_window(NAME, &sizes.window, sizes.input)?;
        let tap_count = taps.count();
        let plan = new_plan(isa, taps, group_in, group_out, sizes.batch).with_source_strides(source_strides);
        let tap_offsets: Vec<usize> = (0..tap_count).collect();
        let weights = (0..sizes.groups)
            .map(|group| {
                let weight = &weight[group * group_out * group_in * tap_count..];
                CorrelationWeights::pack(&plan, group_out, weight, group_in * tap_count, tap_count, &tap_offsets)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { sizes: *sizes, plan, weights })
    }

    pub(crate) fn plan(&self) -> &Correlation<T> {
        &self.plan
    }

    /// The output rows from `first_row` on, as many as `band` has, on the calling thread; the channels have been checked.
    pub(crate) fn convolve_band(
        &self,
        image: ArrayView3<'_, T>,
        first_row: usize,
        start: Start<'_, T>,
        bounds: Option<[T; 2]>,
        mut band: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        let Sizes { group_in, group_out, .. } = self.sizes;
        for (group, weights) in self.weights.iter().enumerate() {
            let source = image.slice(s![group * group_in..(group + 1) * group_in, .., ..]);
            let target = band.slice_mut(s![group * group_out..(group + 1) * group_out, .., ..]);
            self.plan.multiply(weights, source, first_row, self.start_of(group, start), bounds, target)?;
        }
        Ok(())
    }

    /// Whole images, on all threads where that pays; the channels have been checked.
    pub(crate) fn convolve_images(
        &self,
        mut images: Vec<Pair<'_, T>>,
        start: Start<'_, T>,
        bounds: Option<[T; 2]>,
    ) -> Result<(), Conv2dError> {
        let is_parallel = self.sizes.is_parallel();
        // As many as fill the products, and not more than leave work for all threads.
        let most = self.plan.images_together().min(images.len().div_ceil(rayon::current_num_threads()));
        if most > 1 {
            // Tasks of about equal size.
            let together = images.len().div_ceil(images.len().div_ceil(most));
            let tasks = images.chunks_mut(together).collect();
            return for_each_task(is_parallel, tasks, |images| self.convolve_together(images, start, bounds));
        }
        for_each_task(is_parallel, bands(images, self.plan.band_rows()), |(image, first_row, band)| {
            self.convolve_band(image, first_row, start, bounds, band)
        })
    }

    fn convolve_together(
        &self,
        images: &mut [Pair<'_, T>],
        start: Start<'_, T>,
        bounds: Option<[T; 2]>,
    ) -> Result<(), Conv2dError> {
        let Sizes { group_in, group_out, .. } = self.sizes;
        for (group, weights) in self.weights.iter().enumerate() {
            let parts = images.iter_mut().map(|(image, output)| {
                let source = image.slice(s![group * group_in..(group + 1) * group_in, .., ..]);
                (source, output.slice_mut(s![group * group_out..(group + 1) * group_out, .., ..]))
            });
            let mut parts: Vec<_> = parts.collect();
            self.plan.multiply_images(weights, &mut parts, self.start_of(group, start), bounds)?;
        }
        Ok(())
    }

    fn start_of<'a>(&self, group: usize, start: Start<'a, T>) -> Start<'a, T> {
        let group_out = self.sizes.group_out;
        match start {
            Start::Bias(bias) => Start::Bias(&bias[group * group_out..(group + 1) * group_out]),
            other => other,
        }
    }
}

/// An image, the first output row of a band of it, and the band.
type Band<'a, T> = (ArrayView3<'a, T>, usize, ArrayViewMut3<'a, T>);

/// Cuts the outputs into bands of rows.
pub(crate) fn bands<'a, T>(images: Vec<Pair<'a, T>>, band_rows: usize) -> Vec<Band<'a, T>> {
    let mut bands = Vec::with_capacity(images.len());
    for (image, mut rest) in images {
        let rows = rest.dim().1;
        for first_row in (0..rows).step_by(band_rows) {
            let band;
            (band, rest) = rest.split_at(Axis(1), band_rows.min(rows - first_row));
            bands.push((image, first_row, band));
        }
    }
    bands
}
