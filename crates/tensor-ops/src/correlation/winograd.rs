//! Correlations with 3×3 and 5×5 taps through fewer products (Winograd 1980; Lavin and Gray 2016).
//!
//! A tile of m × m output positions and the (m + r − 1)² = 6 × 6 pixels that it meets through r × r taps are taken to
//! the values of polynomials at the points 0, ±3/4, ±3/2 and ∞, where a correlation is a product point by point:
//!
//! `Y = Aᵀ [ Σ_channels (G g Gᵀ) ⊙ (Bᵀ d B) ] A`
//!
//! which takes 36 products where the sum takes m² r²: 144 for 3×3 taps with m = 4, 100 for 5×5 taps with m = 2. Over all
//! rows, channels and tiles, each of the 36 points is a matrix product. The gradient of the weights is the same with the
//! parts exchanged: `∂g = Gᵀ [ Σ_tiles (A ∂Y Aᵀ) ⊙ (Bᵀ d B) ] G`.
//!
//! The divisors of G are those of Lagrange's interpolation; B has none. These points, not the usual 0, ±1, ±2, keep the
//! rounding errors of 3×3 taps at about twice, and of 5×5 taps at about once those of the sum itself. Tiles lie on a grid
//! that starts at the first output position, so an element does not depend on the band that it is computed in. A pixel
//! that is not finite spoils the whole tiles that it meets.

use std::ffi::OsStr;
use std::ops::Range;
use std::sync::OnceLock;

use ndarray::{ArrayView3, ArrayViewMut3};
use rayon::prelude::*;

use super::taps::Taps;
use crate::{Element, Isa, TensorError};

mod forward;
mod pixels;
mod transforms;
mod transposed;

pub(super) use forward::Forward;
use forward::GROUP_ROWS;
use transforms::{BLOCK, POINTS, kernel_gradient, kernel_values};
pub(super) use transposed::Backward;

/// Name of the environment variable that turns the Winograd kernels off, with the value `off`, or on, with `on`.
///
/// They are on without it. [`winograd_from_environment`] says whether the variable can be followed.
pub const WINOGRAD_VARIABLE: &str = "VIDRNN_WINOGRAD";

/// Whether [`WINOGRAD_VARIABLE`] lets stride-1 convolutions with 3×3 and 5×5 kernels use the Winograd kernels.
///
/// # Errors
/// [`TensorError::InvalidOption`] for a value other than `on` and `off`. Kernels cannot report it: it counts as `on` then.
///
/// ```
/// let is_on = tensor_ops::winograd_from_environment()?;
/// println!("Winograd kernels are {}", if is_on { "on" } else { "off" });
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn winograd_from_environment() -> Result<bool, TensorError> {
    is_on(std::env::var_os(WINOGRAD_VARIABLE).as_deref())
}

fn is_on(value: Option<&OsStr>) -> Result<bool, TensorError> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(true),
        Some(value) if value == "on" => Ok(true),
        Some(value) if value == "off" => Ok(false),
        Some(value) => Err(TensorError::InvalidOption {
            operation: "Winograd",
            option: WINOGRAD_VARIABLE,
            requirement: "on or off",
            found: value.to_string_lossy().into_owned(),
        }),
    }
}

/// Points in a row or a column of a tile.
const SIDE: usize = 6;

/// With fewer channels, sums at the points are short beside their transforms.
const MIN_CHANNELS: usize = 16;

/// With fewer rows, so are those over channels.
const MIN_ROWS: usize = 12;

/// With fewer pairs of a channel and a row, so are those of the gradient of the weights.
const MIN_PAIRS: usize = 1024;

/// With fewer tiles in an image, the weights at the points are read for too few products each.
const MIN_TILES: usize = 16;

/// The same for sums of the gradient of the weights that leave the second-level cache, which are read and written.
const MIN_TILES_OF_LARGE_SUMS: usize = 24;

/// Sums at the points that stay in the second-level cache, about.
const LARGE_SUMS: usize = 1 << 18;

/// The share of the products that must be saved.
const MIN_GAIN: f64 = 1.6;

/// Tiles that are transformed together, for matrices whose parts stay in L2.
const CHUNK_TILES: usize = 32;

/// Bytes of the transformed pixels of a chunk beyond which it has fewer tiles.
const CHUNK_BYTES: usize = 384 << 10;

/// The most tiles that are transformed together: where pixels leave L2 in any case, the weights are read for as many.
const MOST_TILES: usize = 64;

/// Bytes of the transformed pixels of [`MOST_TILES`] beyond which a chunk has fewer: the third-level cache is for the weights.
const LARGE_CHUNK_BYTES: usize = 3 << 20;

/// A grid of tiles over the output.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    /// Height and width of the taps: 3 or 5.
    kernel: usize,
    /// Output positions on a side of a tile.
    tile: usize,
    /// Row and column of the pixel where the first tile begins.
    origin: [isize; 2],
    source: [usize; 2],
    output: [usize; 2],
    /// Tiles in a row of tiles.
    columns: usize,
    /// From the order of the taps to rising offsets.
    places: [Vec<usize>; 2],
}

impl Winograd {
    /// The grid for `taps`, where it is worth it.
    pub(super) fn new(isa: Isa, taps: &Taps, channels: usize, rows: usize) -> Option<Self> {
        Self::worth_it(isa, taps, channels >= MIN_CHANNELS && rows >= MIN_ROWS, MIN_TILES)
    }

    /// The grid for many images at a time, whose tiles share products.
    pub(super) fn stacked(isa: Isa, taps: &Taps, channels: usize, rows: usize) -> Option<Self> {
        Self::worth_it(isa, taps, channels >= MIN_CHANNELS && rows >= MIN_ROWS, 1)
    }

    /// The grid for the gradient of weights, where it is worth it.
    pub(super) fn transposed(isa: Isa, taps: &Taps, channels: usize, rows: usize) -> Option<Self> {
        let is_deep = channels.min(rows) >= MIN_ROWS && channels.saturating_mul(rows) >= MIN_PAIRS;
        let is_large = Self::sums_len(rows, channels) > LARGE_SUMS;
        Self::worth_it(isa, taps, is_deep, if is_large { MIN_TILES_OF_LARGE_SUMS } else { MIN_TILES })
    }

    fn worth_it(isa: Isa, taps: &Taps, is_deep: bool, least_tiles: usize) -> Option<Self> {
        static ON: OnceLock<bool> = OnceLock::new();
        let is_on = || *ON.get_or_init(|| winograd_from_environment().unwrap_or(true));
        let is_served = is_deep && isa != Isa::Portable && is_on();
        is_served.then(|| Self::of_taps(taps))?.filter(|grid| grid.gain() >= MIN_GAIN && grid.tiles() >= least_tiles)
    }

    fn of_taps(taps: &Taps) -> Option<Self> {
        let kernel = taps.rows.len();
        if ![3, 5].contains(&kernel) || taps.columns.len() != kernel || taps.stride != [1, 1] {
            return None;
        }
        let origin = [&taps.rows, &taps.columns].map(|offsets| offsets.iter().min().copied().unwrap_or(0));
        let places = [(&taps.rows, origin[0]), (&taps.columns, origin[1])]
            .map(|(offsets, least)| offsets.iter().map(|offset| (offset - least) as usize).collect::<Vec<_>>());
        let is_dense = |places: &Vec<usize>| (0..kernel).all(|place| places.contains(&place));
        if !places.iter().all(is_dense) {
            return None;
        }
        let tile = SIDE + 1 - kernel;
        let columns = taps.output[1].div_ceil(tile);
        Some(Self { kernel, tile, origin, source: taps.source, output: taps.output, columns, places })
    }

    /// Products of the sum by those through tiles.
    fn gain(&self) -> f64 {
        let share = |axis: usize| {
            let size = self.output[axis];
            size as f64 / (size.div_ceil(self.tile) as f64 * SIDE as f64).max(1.0)
        };
        (self.kernel * self.kernel) as f64 * share(0) * share(1)
    }

    /// Tiles of an image.
    fn tiles(&self) -> usize {
        self.output[0].div_ceil(self.tile) * self.columns
    }

    /// Images whose tiles fill a chunk.
    pub(super) fn images_together(&self) -> usize {
        MOST_TILES.div_ceil(self.tiles().max(1))
    }

    /// Output positions on a side of a tile.
    pub(super) fn tile(&self) -> usize {
        self.tile
    }

    /// Output rows of a band: whole rows of tiles, at most `most_rows` where that leaves a row of tiles.
    pub(super) fn band_rows(&self, most_rows: usize) -> usize {
        let most = most_rows.div_ceil(self.tile).max(1);
        let wanted = CHUNK_TILES.div_ceil(self.columns.max(1));
        let tile_rows = self.output[0].div_ceil(self.tile);
        let bands = tile_rows.div_ceil(wanted.max(1)).max(tile_rows.div_ceil(most));
        (tile_rows.div_ceil(bands.max(1)) * self.tile).clamp(1, self.output[0].max(1))
    }

    /// The elements of the weights, and of the sums of their gradient, at the points.
    pub(super) fn sums_len(rows: usize, channels: usize) -> usize {
        POINTS.saturating_mul(rows).saturating_mul(channels)
    }

    /// The kernels of all rows at the points of tiles: per group of [`GROUP_ROWS`] rows, `[point, row, channel]`, which is the
    /// order in which [`Forward`] reads them. `kernel(row, channel)[taps[t]]` is the weight of tap t.
    pub(super) fn transform_kernels<'a, T: Element>(
        &self,
        [rows, channels]: [usize; 2],
        kernel: impl Fn(usize, usize) -> &'a [T] + Sync,
        taps: &[usize],
    ) -> Vec<T> {
        let mut points = vec![T::zero(); POINTS * rows * channels];
        let transform = |(group, points): (usize, &mut [T])| {
            let first = group * GROUP_ROWS;
            let size = [GROUP_ROWS.min(rows - first), channels];
            let kernel = |row: usize, channel: usize| kernel(first + row, channel);
            if self.kernel == 3 {
                self.transform_group::<T, 3>(size, kernel, taps, points);
            } else {
                self.transform_group::<T, 5>(size, kernel, taps, points);
            }
        };
        points.par_chunks_mut((POINTS * GROUP_ROWS * channels).max(1)).enumerate().for_each(transform);
        points
    }

    fn transform_group<'a, T: Element, const R: usize>(
        &self,
        [rows, channels]: [usize; 2],
        kernel: impl Fn(usize, usize) -> &'a [T],
        taps: &[usize],
        points: &mut [T],
    ) {
        for row in 0..rows {
            for first in (0..channels).step_by(BLOCK) {
                let block = BLOCK.min(channels - first);
                let mut kernels = [[[0.0; BLOCK]; R]; R];
                for channel in 0..block {
                    let values = kernel(row, first + channel);
                    for (t, &tap) in taps.iter().enumerate() {
                        kernels[self.places[0][t / R]][self.places[1][t % R]][channel] = values[tap].to_f64();
                    }
                }
                let values = kernel_values(&kernels);
                for (point, values) in values.as_flattened().iter().enumerate() {
                    let target = &mut points[(point * rows + row) * channels + first..][..block];
                    target.iter_mut().zip(values).for_each(|(target, &value)| *target = T::from_f64(value));
                }
            }
        }
    }

    /// Adds the gradients of the kernels of `row` to `gradient`, `[channel, tap]`, from sums `[point, row, channel]`.
    pub(super) fn add_gradient<T: Element>(&self, sums: &[T], [row, rows, channels]: [usize; 3], gradient: &mut [T]) {
        if self.kernel == 3 {
            self.add_gradient_of::<T, 3>(sums, [row, rows, channels], gradient);
        } else {
            self.add_gradient_of::<T, 5>(sums, [row, rows, channels], gradient);
        }
    }

    fn add_gradient_of<T: Element, const R: usize>(
        &self,
        sums: &[T],
        [row, rows, channels]: [usize; 3],
        gradient: &mut [T],
    ) {
        for (block, gradient) in gradient.chunks_mut(BLOCK * R * R).enumerate() {
            let channel = block * BLOCK;
            let mut values = [[[0.0; BLOCK]; SIDE]; SIDE];
            for (point, values) in values.as_flattened_mut().iter_mut().enumerate() {
                let sums = &sums[(point * rows + row) * channels..][channel..channels.min(channel + BLOCK)];
                values.iter_mut().zip(sums).for_each(|(value, &sum)| *value = sum.to_f64());
            }
            let kernels = kernel_gradient::<R>(&values);
            for (channel, gradient) in gradient.chunks_mut(R * R).enumerate() {
                for (t, value) in gradient.iter_mut().enumerate() {
                    *value += T::from_f64(kernels[self.places[0][t / R]][self.places[1][t % R]][channel]);
                }
            }
        }
    }

    /// From a row of the copy of `tile_columns` to the next: tiles are read by whole vectors.
    fn pitch(&self, tile_columns: usize, lanes: usize) -> usize {
        tile_columns * self.tile + SIDE.next_multiple_of(lanes)
    }

    /// The most elements of the copy for a chunk of `tiles`.
    fn copy_len(&self, tiles: usize, lanes: usize) -> usize {
        let rows = tiles.div_ceil(self.columns.max(1)) + 1;
        rows * SIDE * self.pitch(self.columns, lanes)
    }
}

/// Where an image begins, and from a channel, a row and a column of it to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image<P> {
    pub(super) pointer: P,
    pub(super) strides: [isize; 3],
}

impl<T> Image<*const T> {
    pub(super) fn of(image: &ArrayView3<'_, T>) -> Self {
        Self { pointer: image.as_ptr(), strides: [0, 1, 2].map(|axis| image.strides()[axis]) }
    }
}

impl<T> Image<*mut T> {
    pub(super) fn of_mut(image: &mut ArrayViewMut3<'_, T>) -> Self {
        Self { strides: [0, 1, 2].map(|axis| image.strides()[axis]), pointer: image.as_mut_ptr() }
    }
}

/// The tiles of the same rows of some images, image by image in row-major order.
#[derive(Clone, Copy, Debug)]
struct Stack {
    images: usize,
    /// The first row of tiles, and their number.
    first_row: usize,
    rows: usize,
    columns: usize,
}

impl Stack {
    fn tiles(self) -> usize {
        self.images * self.rows * self.columns
    }

    /// Image, row and column of a tile.
    #[inline(always)]
    fn place(self, tile: usize) -> [usize; 3] {
        let row = tile / self.columns;
        [row / self.rows, self.first_row + row % self.rows, tile % self.columns]
    }
}

/// Some neighbouring tiles of a stack.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    stack: Stack,
    first: usize,
    count: usize,
}

impl Chunk {
    /// Image, row and column of a tile of the chunk; those beyond its end repeat the last one.
    #[inline(always)]
    fn tile(self, index: usize) -> [usize; 3] {
        self.stack.place(self.first + index.min(self.count - 1))
    }

    /// Columns of tiles that the chunk touches: all of them where it has tiles of several rows.
    #[inline(always)]
    fn columns(self) -> Range<usize> {
        let first = self.first % self.stack.columns;
        if first + self.count <= self.stack.columns { first..first + self.count } else { 0..self.stack.columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_on_or_off() {
        let read = |value: &str| is_on(Some(OsStr::new(value)));
        assert_eq!([is_on(None), read(""), read("on"), read("off")], [Ok(true), Ok(true), Ok(true), Ok(false)]);
        let expected = "Winograd: option `VIDRNN_WINOGRAD` must be on or off, found 0";
        assert_eq!(read("0").unwrap_err().to_string(), expected);
    }

    #[test]
    fn tiles_serve_dense_square_taps_over_many_channels() {
        let taps = |kernel: isize, output: usize| Taps {
            source: [output; 2],
            output: [output; 2],
            stride: [1, 1],
            rows: (0..kernel).collect(),
            columns: (0..kernel).rev().collect(),
        };
        let serves = |isa, taps: &Taps, channels, rows| Winograd::new(isa, taps, channels, rows).is_some();
        let is_on = winograd_from_environment() == Ok(true);
        for isa in [Isa::Avx2, Isa::Avx512] {
            for kernel in [3, 5] {
                assert_eq!(serves(isa, &taps(kernel, 16), 16, 12), is_on);
                assert!(!serves(isa, &taps(kernel, 16), 15, 12) && !serves(isa, &taps(kernel, 16), 16, 11));
                assert!(!serves(isa, &taps(kernel, 1), 16, 12), "one position in a tile");
            }
            assert!(!serves(isa, &taps(4, 16), 16, 12));
            assert!(!serves(isa, &Taps { stride: [2, 1], ..taps(3, 16) }, 16, 12));
            assert!(!serves(isa, &Taps { rows: vec![0, 2, 4], ..taps(3, 16) }, 16, 12), "dilated");
        }
        assert!(!serves(Isa::Portable, &taps(3, 16), 16, 12));
    }
}
