//! The outputs of a band.

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use std::mem::MaybeUninit;

use super::pixels::{Images, Points, Tiles};
use super::transforms::{Constants, POINTS};
use super::{CHUNK_BYTES, CHUNK_TILES, Chunk, Image, LARGE_CHUNK_BYTES, MOST_TILES, SIDE, Stack, Winograd};
use crate::Element;
use crate::correlation::{MAX_LANES, Start};
use crate::gemm::Matrix;
use crate::gemm::tile::{Rows, Update, multiply_panel, panel_width, width};
use crate::simd::{Kernel, Simd};

/// Output channels whose points are held at a time.
pub(super) const GROUP_ROWS: usize = 24;

const HALF_TILES: usize = CHUNK_TILES / 2;

/// The most products that are summed in one chain.
const MOST_DEPTH: usize = 256;

/// Elements between the points of a channel beyond those needed: points at a power of two would share a cache set.
const SKEW: usize = 16;

/// The outputs of a band of rows of all images.
pub(crate) struct Forward<'a, T> {
    pub(in crate::correlation) grid: &'a Winograd,
    pub(in crate::correlation) channels: usize,
    /// Per group of rows, `[point, row, channel]`.
    pub(in crate::correlation) weights: &'a [T],
    pub(in crate::correlation) rows: usize,
    pub(in crate::correlation) sources: &'a [Image<*const T>],
    pub(in crate::correlation) first_row: usize,
    pub(in crate::correlation) band_rows: usize,
    pub(in crate::correlation) start: Start<'a, T>,
    pub(in crate::correlation) clamp: Option<[T; 2]>,
    /// The bands, one for every source.
    pub(in crate::correlation) outputs: &'a [Image<*mut T>],
    pub(in crate::correlation) buffer: &'a mut [T],
}

/// Parts of the buffer.
#[derive(Clone, Copy)]
struct Layout {
    /// Tiles of a chunk.
    tiles: usize,
    /// From a point of the pixels to the next.
    pixel_pitch: usize,
    /// From a point of the products to the next.
    product_pitch: usize,
    copy_len: usize,
}

impl Layout {
    fn new<T>(grid: &Winograd, channels: usize, lanes: usize) -> Self {
        let tile_bytes = POINTS * channels.max(1) * size_of::<T>();
        // Chunks are whole tiles of columns on every instruction set.
        let tiles = match CHUNK_BYTES / tile_bytes {
            CHUNK_TILES.. => CHUNK_TILES,
            HALF_TILES.. => HALF_TILES.max(lanes),
            _ if MOST_TILES * tile_bytes <= LARGE_CHUNK_BYTES => MOST_TILES,
            _ => CHUNK_TILES,
        };
        Self {
            tiles,
            pixel_pitch: channels * tiles + SKEW,
            product_pitch: GROUP_ROWS * tiles + SKEW,
            copy_len: grid.copy_len(tiles, lanes),
        }
    }

    fn len(&self) -> usize {
        POINTS * (self.pixel_pitch + self.product_pitch) + self.copy_len
    }
}

/// Neighbouring tiles of one row of tiles.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Their first position in a line of tiles side by side, and the positions that lie in the output.
    start: usize,
    len: usize,
    image: usize,
    /// Row and column of their first output position.
    y: usize,
    x: usize,
}

impl<T: Element> Forward<'_, T> {
    /// Elements of the buffer.
    pub(in crate::correlation) fn buffer_len(grid: &Winograd, channels: usize, lanes: usize) -> usize {
        Layout::new::<T>(grid, channels, lanes).len()
    }
}

impl<T: Element> Kernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, simd: S) {
        let grid = self.grid;
        let layout = Layout::new::<T>(grid, self.channels, S::LANES);
        let buffer = std::mem::take(&mut self.buffer);
        let (pixels, rest) = buffer.split_at_mut(POINTS * layout.pixel_pitch);
        let (products, copy) = rest.split_at_mut(POINTS * layout.product_pitch);
        let constants = Constants::new::<T, S>(simd);
        let first_row = self.first_row / grid.tile;
        let rows = (self.first_row + self.band_rows).div_ceil(grid.tile) - first_row;
        let stack = Stack { images: self.sources.len(), first_row, rows, columns: grid.columns };
        for first in (0..stack.tiles()).step_by(layout.tiles) {
            let chunk = Chunk { stack, first, count: layout.tiles.min(stack.tiles() - first) };
            self.transform_source(simd, &constants, layout, chunk, pixels, copy);
            for row in (0..self.rows).step_by(GROUP_ROWS) {
                let rows = GROUP_ROWS.min(self.rows - row);
                self.multiply(simd, layout, chunk, [row, rows], pixels, products);
                if grid.tile == 4 {
                    self.write_group::<S, 4>(simd, &constants, layout, chunk, [row, rows], products);
                } else {
                    self.write_group::<S, 2>(simd, &constants, layout, chunk, [row, rows], products);
                }
            }
        }
    }
}

impl<T: Element> Forward<'_, T> {
    /// The points of all channels: `[point, panel, channel, tile of the panel]`.
    #[inline(always)]
    fn transform_source<S: Simd<T>>(
        &self,
        simd: S,
        constants: &Constants<S::Vector>,
        layout: Layout,
        chunk: Chunk,
        pixels: &mut [T],
        copy: &mut [T],
    ) {
        let images = Images { images: self.sources, channels: self.channels, size: self.grid.source };
        let points = Points { pointer: pixels.as_mut_ptr(), point_pitch: layout.pixel_pitch };
        let tiles = Tiles::of_source(self.grid, chunk, S::LANES);
        let place = |channel: usize, lane: usize| {
            let panel = lane - lane % width::<T, S>();
            panel * self.channels + channel * panel_width::<T, S>(chunk.count - panel) + lane - panel
        };
        // SAFETY: the sources have the plan's channels and size, and every point room for all channels and tiles.
        unsafe { tiles.transform::<T, S, SIDE>(simd, constants, images, copy, points, place) };
    }

    /// The products of a group of rows: `[point, row, tile]`.
    #[inline(always)]
    fn multiply<S: Simd<T>>(
        &self,
        simd: S,
        layout: Layout,
        chunk: Chunk,
        [row, rows]: [usize; 2],
        pixels: &[T],
        products: &mut [T],
    ) {
        let weights = &self.weights[POINTS * row * self.channels..];
        let depth_block = self.channels.div_ceil(self.channels.div_ceil(MOST_DEPTH));
        for point in 0..POINTS {
            let mut panel = 0;
            while panel < chunk.count {
                let width = panel_width::<T, S>(chunk.count - panel);
                for channel in (0..self.channels).step_by(depth_block) {
                    let depth = depth_block.min(self.channels - channel);
                    let weights = &weights[point * rows * self.channels + channel..];
                    let a = Rows::Strided { pointer: weights.as_ptr(), row: self.channels as isize };
                    let b = &pixels[point * layout.pixel_pitch + panel * self.channels + channel * width..];
                    let c = products[point * layout.product_pitch + panel..].as_mut_ptr();
                    let target = Matrix { pointer: c, row: layout.tiles as isize, column: 1 };
                    let beta = if channel == 0 { T::zero() } else { T::one() };
                    let update = Update { alpha: T::one(), beta };
                    // SAFETY: the weights have `rows` rows from `row` on, the panel all channels, and a point of the products
                    // room for a group of rows and the tiles of a chunk.
                    unsafe {
                        multiply_panel(simd, (a, rows), (b.as_ptr(), width), depth, update, target, width, None);
                    }
                }
                panel += width;
            }
        }
    }

    /// The outputs of a group of rows.
    #[inline(always)]
    fn write_group<S: Simd<T>, const M: usize>(
        &self,
        simd: S,
        constants: &Constants<S::Vector>,
        layout: Layout,
        chunk: Chunk,
        [row, rows]: [usize; 2],
        products: &[T],
    ) {
        for lane in (0..chunk.count).step_by(S::LANES) {
            let (runs, count) = self.runs::<M>(chunk.stack, chunk.first + lane, S::LANES.min(chunk.count - lane));
            for group_row in 0..rows {
                let points = products[group_row * layout.tiles + lane..].as_ptr();
                let mut sums = [[simd.splat(T::zero()); SIDE]; M];
                for j in 0..SIDE {
                    let mut column = [simd.splat(T::zero()); SIDE];
                    for (i, value) in column.iter_mut().enumerate() {
                        // SAFETY: every point has a vector of tiles here.
                        *value = unsafe { simd.load_ptr(points.add((i * SIDE + j) * layout.product_pitch)) };
                    }
                    for (sums, value) in sums.iter_mut().zip(constants.outputs::<T, S, M>(simd, column)) {
                        sums[j] = value;
                    }
                }
                for (i, sums) in sums.into_iter().enumerate() {
                    let mut values = MaybeUninit::<[T; 4 * MAX_LANES]>::uninit();
                    let mut line = MaybeUninit::<[T; 5 * MAX_LANES]>::uninit();
                    let (values, line): (*mut T, *mut T) = (values.as_mut_ptr().cast(), line.as_mut_ptr().cast());
                    for (j, value) in constants.outputs::<T, S, M>(simd, sums).into_iter().enumerate() {
                        // SAFETY: `values` has room for 4 vectors.
                        unsafe { simd.store_ptr(values.add(j * S::LANES), value) };
                    }
                    // SAFETY: rows beyond the last one repeat it; a line is a vector longer than its tiles.
                    unsafe {
                        let offset = |j: usize| (j.min(M - 1) * S::LANES) as isize;
                        simd.transpose_ptr(values, offset, line, M);
                        self.write_line(simd, row + group_row, i, &runs[..count], line);
                    }
                }
            }
        }
    }

    /// The runs of `count` tiles from `first` on, and their number.
    #[inline(always)]
    fn runs<const M: usize>(&self, stack: Stack, first: usize, count: usize) -> ([Run; MAX_LANES], usize) {
        let mut runs = [Run::default(); MAX_LANES];
        let (mut done, mut number) = (0, 0);
        while done < count {
            let [image, tile_row, tile_column] = stack.place(first + done);
            let tiles = (count - done).min(stack.columns - tile_column);
            let [y, x] = [tile_row * M, tile_column * M];
            runs[number] = Run { start: done * M, len: (tiles * M).min(self.grid.output[1] - x), image, y, x };
            number += 1;
            done += tiles;
        }
        (runs, number)
    }

    /// Writes row `i` of the tiles of `runs`.
    ///
    /// # Safety
    /// `line` must be valid for reads of all runs.
    #[inline(always)]
    unsafe fn write_line<S: Simd<T>>(&self, simd: S, row: usize, i: usize, runs: &[Run], line: *const T) {
        for run in runs {
            let y = run.y + i;
            if (self.first_row..self.first_row + self.band_rows).contains(&y) {
                // SAFETY: a run lies in an image of the stack, whose bands are the outputs; the place and `len` positions from
                // it lie in the band, and the line has them.
                unsafe {
                    let Image { pointer, strides } = *self.outputs.get_unchecked(run.image);
                    let place = row as isize * strides[0]
                        + (y - self.first_row) as isize * strides[1]
                        + run.x as isize * strides[2];
                    let target = pointer.wrapping_offset(place);
                    self.write(simd, row, line.add(run.start), (target, strides[2]), run.len);
                }
            }
        }
    }

    /// # Safety
    /// `values` must be valid for reads of `len` elements, and `target` for reads and writes at as many positions.
    #[inline(always)]
    unsafe fn write<S: Simd<T>>(
        &self,
        simd: S,
        row: usize,
        values: *const T,
        (target, stride): (*mut T, isize),
        len: usize,
    ) {
        let mut index = 0;
        // SAFETY: granted by the caller; a part of a vector goes through memory of its own.
        unsafe {
            while index < len {
                let count = S::LANES.min(len - index);
                let place = target.wrapping_offset(index as isize * stride);
                let is_whole = count == S::LANES && stride == 1;
                let mut lanes = MaybeUninit::<[[T; MAX_LANES]; 2]>::uninit();
                let lanes: [*mut T; 2] = [lanes.as_mut_ptr().cast(), lanes.as_mut_ptr().cast::<T>().add(MAX_LANES)];
                let (source, existing) = if is_whole {
                    (values.add(index), place.cast_const())
                } else {
                    simd.store_ptr(lanes[0], simd.splat(T::zero()));
                    simd.store_ptr(lanes[1], simd.splat(T::zero()));
                    for lane in 0..count {
                        lanes[0].add(lane).write(values.add(index + lane).read());
                        if matches!(self.start, Start::Existing) {
                            lanes[1].add(lane).write(place.offset(lane as isize * stride).read());
                        }
                    }
                    (lanes[0].cast_const(), lanes[1].cast_const())
                };
                let mut value = simd.load_ptr(source);
                match self.start {
                    Start::Zero => {}
                    Start::Bias(bias) => value = simd.add(simd.splat(*bias.get_unchecked(row)), value),
                    Start::Existing => value = simd.add(simd.load_ptr(existing), value),
                }
                if let Some([low, high]) = self.clamp {
                    // The value stands second, where NaN passes.
                    value = simd.min(simd.splat(high), simd.max(simd.splat(low), value));
                }
                if is_whole {
                    simd.store_ptr(place, value);
                } else {
                    simd.store_ptr(lanes[0], value);
                    for lane in 0..count {
                        place.offset(lane as isize * stride).write(lanes[0].add(lane).read());
                    }
                }
                index += count;
            }
        }
    }
}
