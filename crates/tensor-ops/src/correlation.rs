//! Correlations of images with small kernels in registers, without column matrices.
//!
//! A convolution, the gradient of its input and the gradient of its weights are all made of one pattern: an output
//! position `(i, j)` meets the source pixels `(i·s_y + r, j·s_x + c)` for a set of row offsets `r` and column offsets
//! `c`, the [`Taps`]. A [`Correlation`] copies the rows that a band of output rows needs into a buffer with zeros for the
//! padding and with the columns of equal remainder modulo `s_x` side by side. Then the pixels that neighbouring output
//! positions meet through one tap are neighbours in memory, whatever the stride and dilation, and a register tile reads
//! them as whole vectors at `position + offset[tap]`. The buffer is about as large as the rows themselves, where a column
//! matrix is larger by the number of taps.
//!
//! - [`Correlation::multiply`]: `out[m, i, j] = Σ_{k, r, c} weights[m, k, r, c] · source[k, i·s_y + r, j·s_x + c]`
//! - [`Correlation::multiply_transposed`]: `sums[k, r, c, m] += Σ_{i, j} source[k, i·s_y + r, j·s_x + c] · grad[m, i, j]`
//!
//! Every output element is one chain of fused multiply-adds in the order of the sum (over channels, then taps; over
//! positions), so it does not depend on its place in a tile, a band or a batch. Nor does it where 3×3 or 5×5 taps over many
//! channels go through fewer products: see [`WINOGRAD_VARIABLE`].

use std::marker::PhantomData;

use ndarray::{ArrayView3, ArrayViewMut3};

use crate::simd::{Dispatch, MAX_LANES};
use crate::{Element, Isa, TensorError, check_axis};

mod depthwise;
mod fill;
mod layout;
mod product;
mod scratch;
mod taps;
mod transposed;
mod weights;
mod winograd;

pub use depthwise::Depthwise;
use depthwise::Planes;
use layout::{Direct, Layout};
use product::Product;
pub use scratch::with_scratch;
pub use taps::{PhaseTaps, Taps};
use transposed::Transposed;
pub use weights::CorrelationWeights;
use winograd::{Backward, Forward, Winograd};
pub use winograd::{WINOGRAD_VARIABLE, winograd_from_environment};

/// What a correlation adds its sum to.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, T> {
    /// Nothing.
    Zero,
    /// One value per output channel.
    Bias(&'a [T]),
    /// What the output holds.
    Existing,
}

/// A correlation of given sizes: where its pixels lie in the buffer, and how its work is divided.
#[derive(Clone, Debug)]
pub struct Correlation<T> {
    isa: Isa,
    taps: Taps,
    channels: usize,
    block_channels: usize,
    band_rows: usize,
    layout: Layout,
    direct: Option<Direct>,
    /// Where tiles take fewer products.
    winograd: Option<Winograd>,
    element: PhantomData<T>,
}

const NAME: &str = "Correlation";

/// The most products in one chain before the sums go back to memory: a tile's share of the buffer stays in L1.
const MAX_DEPTH: usize = 256;

/// The size that bands are made for, a part of L2.
const BUFFER_BYTES: usize = 128 << 10;

/// Output positions of a band of [`Correlation::multiply_transposed`]: a panel of its gradient stays in L1.
const TRANSPOSED_POSITIONS: usize = 256;

/// Multiply-adds of a band below which a further band costs more than its parallelism gains.
const MIN_BAND_WORK: usize = 1 << 20;

/// Bands of all images together, where their work allows it, so that threads find something to do.
const MIN_TASKS: usize = 16;

impl<T: Element> Correlation<T> {
    /// The correlation of `channels` source channels with `rows` kernels, for [`Self::multiply`] on `images` sources.
    pub fn new(isa: Isa, taps: Taps, channels: usize, rows: usize, images: usize) -> Self {
        Self::with_tiles(isa, taps, [channels, rows, images], Winograd::new)
    }

    /// [`Self::new`] for [`Self::multiply_images`]: tiles of many images share products, so they serve images with few tiles
    /// too.
    pub fn stacked(isa: Isa, taps: Taps, channels: usize, rows: usize, images: usize) -> Self {
        Self::with_tiles(isa, taps, [channels, rows, images], Winograd::stacked)
    }

    fn with_tiles(
        isa: Isa,
        taps: Taps,
        [channels, rows, images]: [usize; 3],
        tiles: impl Fn(Isa, &Taps, usize, usize) -> Option<Winograd>,
    ) -> Self {
        let taps = taps.with_least_stride();
        let blocks = channels.saturating_mul(taps.count()).div_ceil(MAX_DEPTH).clamp(1, channels.max(1));
        let block_channels = channels.div_ceil(blocks).max(1);
        let work_per_row = rows.saturating_mul(channels).saturating_mul(taps.count() * taps.output[1]);
        let bands = work_per_row.saturating_mul(taps.output[0]) / MIN_BAND_WORK;
        let bands = bands.clamp(1, MIN_TASKS.div_ceil(images.max(1)));
        let most_rows = taps.output[0].div_ceil(bands);
        let mut plan = Self::with_blocks(isa, taps, channels, block_channels, most_rows);
        if let Some(winograd) = tiles(plan.isa, &plan.taps, channels, rows) {
            plan.band_rows = winograd.band_rows(most_rows);
            plan.winograd = Some(winograd);
        }
        plan
    }

    /// The correlation of at most `channels` source channels with gradients of `rows` channels, for
    /// [`Self::multiply_transposed`].
    pub fn transposed(isa: Isa, taps: Taps, channels: usize, rows: usize) -> Self {
        let taps = taps.with_least_stride();
        let most_rows = TRANSPOSED_POSITIONS / taps.output[1].max(1);
        let source_rows = taps.source_rows(most_rows.clamp(1, taps.output[0].max(1)));
        let row_bytes = (taps.output[1] * taps.stride[1] + 16) * size_of::<T>();
        let block_channels = (BUFFER_BYTES / source_rows.saturating_mul(row_bytes).max(1)).clamp(1, channels.max(1));
        let plan = Self::with_blocks(isa, taps, channels, block_channels, most_rows);
        Self { winograd: Winograd::transposed(plan.isa, &plan.taps, channels, rows), ..plan }
    }

    fn with_blocks(isa: Isa, taps: Taps, channels: usize, block_channels: usize, most_rows: usize) -> Self {
        // The layout counts in vectors of the instructions that will run.
        let isa = if Isa::available().contains(&isa) { isa } else { Isa::Portable };
        let lanes = lanes::<T>(isa);
        let row_pitch = Layout::row_pitch(&taps, lanes);
        let buffer_rows = BUFFER_BYTES / (block_channels * row_pitch * size_of::<T>()).max(1);
        let fitting = buffer_rows.saturating_sub(taps.source_rows(1)) / taps.stride[0] + 1;
        let band_rows = fitting.min(most_rows).clamp(1, taps.output[0].max(1));
        let band_rows = taps.output[0].max(1).div_ceil(taps.output[0].max(1).div_ceil(band_rows));
        let layout = Layout::new(&taps, block_channels, band_rows, lanes, size_of::<T>());
        Self {
            isa,
            taps,
            channels,
            block_channels,
            band_rows,
            layout,
            direct: None,
            winograd: None,
            element: PhantomData,
        }
    }

    /// Lets [`Self::multiply`] read sources with these `[channel, row, column]` strides in place, where the taps meet no
    /// padding and neighbouring positions meet neighbouring pixels; other sources go through the buffer as before.
    #[must_use]
    pub fn with_source_strides(mut self, strides: &[isize]) -> Self {
        let lanes = lanes::<T>(self.isa);
        self.direct = Direct::new(&self.taps, self.block_channels, self.band_rows, lanes, strides, size_of::<T>());
        self
    }

    /// Bands whose first row and number of rows are multiples of this compute nothing twice.
    pub fn row_multiple(&self) -> usize {
        self.winograd.as_ref().map_or(1, Winograd::tile)
    }

    /// How many images [`Self::multiply_images`] takes at a time at least where it can, for full products.
    pub fn images_together(&self) -> usize {
        self.winograd.as_ref().map_or(1, Winograd::images_together)
    }

    /// The number of output rows in a band: the last band may have fewer.
    pub fn band_rows(&self) -> usize {
        self.band_rows
    }

    /// The taps.
    pub fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Correlates `source` with `weights` at a band of output rows.
    ///
    /// - `source`: `[channels, height, width]`, any strides
    /// - `first_row`: the first output row of the band
    /// - `clamp`: lower and upper bound of the output, which NaN passes
    /// - `output`: `[rows, rows of the band, output width]`, any strides; not read unless `start` is
    ///   [`Start::Existing`]
    ///
    /// # Errors
    /// [`TensorError`] if a shape differs from the plan or `weights` were packed for another one.
    pub fn multiply(
        &self,
        weights: &CorrelationWeights<T>,
        source: ArrayView3<'_, T>,
        first_row: usize,
        start: Start<'_, T>,
        clamp: Option<[T; 2]>,
        output: ArrayViewMut3<'_, T>,
    ) -> Result<(), TensorError> {
        self.check(weights, start)?;
        self.check_image(weights, &source, &output)?;
        let band_rows = output.dim().1;
        if band_rows > self.band_rows || first_row + band_rows > self.taps.output[0] {
            let end = self.taps.output[0].min(first_row + self.band_rows);
            let found = first_row + band_rows;
            return Err(TensorError::IndexOutOfRange { operation: NAME, index: "output row", item: 0, found, end });
        }
        product::run(self, weights, source, first_row, start, clamp, output);
        Ok(())
    }

    /// [`Self::multiply`] for all output rows of many images, on the calling thread: sources `[channels, height, width]` and
    /// outputs `[rows, output height, output width]`. Every output is the same as by itself, bit for bit.
    ///
    /// # Errors
    /// [`TensorError`] if a shape differs from the plan or `weights` were packed for another one.
    pub fn multiply_images(
        &self,
        weights: &CorrelationWeights<T>,
        images: &mut [(ArrayView3<'_, T>, ArrayViewMut3<'_, T>)],
        start: Start<'_, T>,
        clamp: Option<[T; 2]>,
    ) -> Result<(), TensorError> {
        self.check(weights, start)?;
        for (source, output) in images.iter() {
            self.check_image(weights, source, output)?;
            check_axis(NAME, "output height", self.taps.output[0], output.dim().1)?;
        }
        product::run_images(self, weights, images, start, clamp);
        Ok(())
    }

    fn check(&self, weights: &CorrelationWeights<T>, start: Start<'_, T>) -> Result<(), TensorError> {
        weights.check(NAME, self)?;
        if let Start::Bias(bias) = start {
            check_axis(NAME, "bias", weights.rows(), bias.len())?;
        }
        Ok(())
    }

    fn check_image(
        &self,
        weights: &CorrelationWeights<T>,
        source: &ArrayView3<'_, T>,
        output: &ArrayViewMut3<'_, T>,
    ) -> Result<(), TensorError> {
        let (channels, height, width) = source.dim();
        let (rows, _, output_width) = output.dim();
        check_axis(NAME, "source channels", self.channels, channels)?;
        check_axis(NAME, "source height", self.taps.source[0], height)?;
        check_axis(NAME, "source width", self.taps.source[1], width)?;
        check_axis(NAME, "output width", self.taps.output[1], output_width)?;
        check_axis(NAME, "output channels", weights.rows(), rows)
    }

    /// The elements of the [`CorrelationWeights`] of `rows` kernels; without the work that [`Self::new`] does.
    pub fn weights_len(isa: Isa, taps: &Taps, channels: usize, rows: usize) -> usize {
        match Winograd::new(isa, taps, channels, rows) {
            Some(_) => Winograd::sums_len(rows, channels),
            None => weights::padded_rows(isa, rows).saturating_mul(channels).saturating_mul(taps.count()),
        }
    }

    /// The elements of the sums of [`Self::multiply_transposed`] for `rows` channels of the gradient.
    pub fn sums_len(&self, rows: usize) -> usize {
        match &self.winograd {
            Some(_) => Winograd::sums_len(rows, self.channels),
            None => transposed::Sums::of(self, rows).len(),
        }
    }

    /// Whether the plan that [`Self::transposed`] makes sums at the points of tiles.
    pub fn transposed_is_tiled(isa: Isa, taps: &Taps, channels: usize, rows: usize) -> bool {
        Winograd::transposed(isa, taps, channels, rows).is_some()
    }

    /// [`Self::sums_len`] of the plan that [`Self::transposed`] makes, without the work of making it.
    pub fn transposed_sums_len(isa: Isa, taps: &Taps, channels: usize, rows: usize) -> usize {
        match Winograd::transposed(isa, taps, channels, rows) {
            Some(_) => Winograd::sums_len(rows, channels),
            None => transposed::Sums::new(lanes::<T>(isa), channels.saturating_mul(taps.count()), rows).len(),
        }
    }

    /// Adds the products of all pixels of `source` with all gradients that they meet to `sums`.
    ///
    /// - `source`: `[at most channels, height, width]`, any strides
    /// - `grad_output`: `[rows, output height, output width]`, any strides
    /// - `sums`: of [`Self::sums_len`] elements, 0 at first, in an order that [`Self::add_sums`] knows
    ///
    /// # Errors
    /// [`TensorError`] if a shape differs from the plan.
    pub fn multiply_transposed(
        &self,
        source: ArrayView3<'_, T>,
        grad_output: ArrayView3<'_, T>,
        sums: &mut [T],
    ) -> Result<(), TensorError> {
        let (channels, height, width) = source.dim();
        let (rows, output_height, output_width) = grad_output.dim();
        check_axis(NAME, "source channels", self.channels.min(channels), channels)?;
        check_axis(NAME, "source height", self.taps.source[0], height)?;
        check_axis(NAME, "source width", self.taps.source[1], width)?;
        check_axis(NAME, "gradient height", self.taps.output[0], output_height)?;
        check_axis(NAME, "gradient width", self.taps.output[1], output_width)?;
        check_axis(NAME, "sums", self.sums_len(rows), sums.len())?;
        transposed::run(self, source, grad_output, sums);
        Ok(())
    }

    /// Adds the sums of [`Self::multiply_transposed`] for channel `row` of the gradient to `gradient`:
    /// `[channels · taps]`, or a shorter one for fewer channels.
    ///
    /// # Errors
    /// [`TensorError`] if `sums` or `gradient` has another length than the plan says.
    pub fn add_sums(&self, sums: &[T], rows: usize, row: usize, gradient: &mut [T]) -> Result<(), TensorError> {
        check_axis(NAME, "sums", self.sums_len(rows), sums.len())?;
        let most = self.channels * self.taps.count();
        check_axis(NAME, "gradient", most.min(gradient.len()), gradient.len())?;
        if row >= rows {
            return Err(TensorError::IndexOutOfRange { operation: NAME, index: "row", item: 0, found: row, end: rows });
        }
        match &self.winograd {
            Some(grid) => grid.add_gradient(sums, [row, rows, self.channels], gradient),
            None => transposed::Sums::of(self, rows).add_row(sums, row, gradient),
        }
        Ok(())
    }
}

/// The elements in a vector register.
fn lanes<T>(isa: Isa) -> usize {
    match isa {
        Isa::Portable | Isa::Avx2 => 32 / size_of::<T>(),
        Isa::Avx512 => 64 / size_of::<T>(),
    }
}

/// Entries of the kernels per element type, so that they are compiled in this crate and not again in every crate that
/// uses them.
pub(crate) trait CorrelationKernels: Sized {
    fn run_correlation(isa: Isa, product: Product<'_, Self>);
    fn run_transposed(isa: Isa, transposed: Transposed<'_, Self>);
    fn run_depthwise(isa: Isa, planes: Planes<'_, Self>);
    fn run_winograd(isa: Isa, forward: Forward<'_, Self>);
    fn run_winograd_transposed(isa: Isa, backward: Backward<'_, Self>);
}

macro_rules! impl_correlation_kernels {
    ($($element:ty),*) => {$(
        impl CorrelationKernels for $element {
            fn run_correlation(isa: Isa, product: Product<'_, Self>) {
                Self::dispatch_on(isa, product);
            }
            fn run_transposed(isa: Isa, transposed: Transposed<'_, Self>) {
                Self::dispatch_on(isa, transposed);
            }
            fn run_depthwise(isa: Isa, planes: Planes<'_, Self>) {
                Self::dispatch_on(isa, planes);
            }
            fn run_winograd(isa: Isa, forward: Forward<'_, Self>) {
                Self::dispatch_on(isa, forward);
            }
            fn run_winograd_transposed(isa: Isa, backward: Backward<'_, Self>) {
                Self::dispatch_on(isa, backward);
            }
        }
    )*};
}

impl_correlation_kernels!(f32, f64);

/// How many of `left` vectors the next tile takes if it can take `most`: never a single one after others, but for
/// tiles of one vector.
#[inline(always)]
fn tile_vectors(left: usize, most: usize) -> usize {
    match left {
        1 => 1,
        2 | 4 => most.min(2),
        _ => most,
    }
}

/// Whether tiles take several vectors: those of f32 on the instruction sets that layers use a correlation on. All
/// others are for checks, and take one, so that few tiles are compiled.
const fn has_wide_tiles<T>(native: bool) -> bool {
    native && size_of::<T>() == 4
}
