//! The gradient of the weights: sums over tiles.

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use super::pixels::{Plane, tile_offsets, transform_gradients, transform_pixels};
use super::transforms::{Constants, POINTS};
use super::{Chunk, Winograd};
use crate::Element;
use crate::gemm::{Matrix, Product};
use crate::simd::{Kernel, Simd};

/// Tiles whose products are summed before the sums go to memory.
const CHUNK_TILES: usize = 64;

/// Elements between the points of a channel beyond those needed: points at a power of two would share a cache set.
const SKEW: usize = 16;

/// The sums of an image.
pub(crate) struct Backward<'a, T> {
    pub(in crate::correlation) grid: &'a Winograd,
    /// Of `source`, and of the sums.
    pub(in crate::correlation) channels: [usize; 2],
    pub(in crate::correlation) rows: usize,
    pub(in crate::correlation) source: *const T,
    pub(in crate::correlation) source_strides: [isize; 3],
    pub(in crate::correlation) gradient: *const T,
    pub(in crate::correlation) gradient_strides: [isize; 3],
    /// `[point, row, channel]`
    pub(in crate::correlation) sums: &'a mut [T],
    pub(in crate::correlation) buffer: &'a mut [T],
}

/// From a point to the next, for pixels and gradients.
fn pitches([channels, rows]: [usize; 2]) -> [usize; 2] {
    [channels * CHUNK_TILES + SKEW, rows * CHUNK_TILES + SKEW]
}

impl<T: Element> Backward<'_, T> {
    /// Elements of the buffer.
    pub(in crate::correlation) fn buffer_len(grid: &Winograd, channels: usize, rows: usize, lanes: usize) -> usize {
        let [pixels, gradients] = pitches([channels, rows]);
        let product = Product::<T>::buffer_len([rows, CHUNK_TILES, channels]);
        POINTS * (pixels + gradients) + grid.copy_len(CHUNK_TILES, lanes) + product
    }
}

impl<T: Element> Kernel<T> for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, simd: S) {
        let grid = self.grid;
        let [channels, sum_channels] = self.channels;
        let [pixel_pitch, gradient_pitch] = pitches([channels, self.rows]);
        let (buffer, sums) = (std::mem::take(&mut self.buffer), std::mem::take(&mut self.sums));
        let (pixels, rest) = buffer.split_at_mut(POINTS * pixel_pitch);
        let (gradients, rest) = rest.split_at_mut(POINTS * gradient_pitch);
        let (copy, product_buffer) = rest.split_at_mut(grid.copy_len(CHUNK_TILES, S::LANES));
        let constants = Constants::new::<T, S>(simd);
        let tiles = grid.columns * grid.output[0].div_ceil(grid.tile);
        for first in (0..tiles).step_by(CHUNK_TILES) {
            let chunk = Chunk { first, count: CHUNK_TILES.min(tiles - first) };
            self.transform_source(simd, &constants, chunk, pixel_pitch, pixels, copy);
            if grid.tile == 4 {
                self.transform_gradient::<S, 4>(simd, &constants, chunk, gradient_pitch, gradients, copy);
            } else {
                self.transform_gradient::<S, 2>(simd, &constants, chunk, gradient_pitch, gradients, copy);
            }
            for point in 0..POINTS {
                let a = Matrix {
                    pointer: gradients[point * gradient_pitch..].as_ptr(),
                    row: CHUNK_TILES as isize,
                    column: 1,
                };
                let b =
                    Matrix { pointer: pixels[point * pixel_pitch..].as_ptr(), row: 1, column: CHUNK_TILES as isize };
                let c = Matrix {
                    pointer: sums[point * self.rows * sum_channels..].as_mut_ptr(),
                    row: sum_channels as isize,
                    column: 1,
                };
                let sizes = [self.rows, chunk.count, channels];
                // SAFETY: the buffers have all tiles of the chunk for every row and channel, the sums a place for each.
                unsafe {
                    simd.call(Product::new(sizes, T::one(), a, b, T::one(), c, &mut *product_buffer));
                }
            }
        }
    }
}

impl<T: Element> Backward<'_, T> {
    /// `[point, channel, tile]`
    #[inline(always)]
    fn transform_source<S: Simd<T>>(
        &self,
        simd: S,
        constants: &Constants<S::Vector>,
        chunk: Chunk,
        point_pitch: usize,
        pixels: &mut [T],
        copy: &mut [T],
    ) {
        let grid = self.grid;
        let [tile_rows, tile_columns] = [chunk.rows(grid.columns), chunk.columns(grid.columns)];
        let [rows, pitch] = grid.padded(tile_rows.len(), tile_columns.len(), S::LANES);
        let before = [tile_rows.start, tile_columns.start].map(|tiles| (tiles * grid.tile) as isize);
        let origin = [grid.origin[0] + before[0], grid.origin[1] + before[1]];
        let copy = copy[..rows * pitch].as_mut_ptr();
        for channel in 0..self.channels[0] {
            let plane = Plane {
                pointer: self.source.wrapping_offset(channel as isize * self.source_strides[0]),
                strides: [self.source_strides[1], self.source_strides[2]],
                size: grid.source,
            };
            // SAFETY: the source has these channels and the plan's size; the copy was cut to its length.
            unsafe { plane.copy(simd, origin, rows, pitch, copy) };
            for lane in (0..chunk.count).step_by(S::LANES) {
                let offsets = tile_offsets::<S, T>(chunk, grid.columns, lane, grid.tile * pitch, grid.tile);
                let target = pixels[channel * CHUNK_TILES + lane..].as_mut_ptr();
                // SAFETY: tiles of the chunk lie in the copy, whose rows are a vector longer than tiles need; every point has
                // room for all channels and tiles.
                unsafe {
                    transform_pixels(simd, constants, copy, pitch, &offsets, |point, value| {
                        simd.store_ptr(target.add(point * point_pitch), value);
                    });
                }
            }
        }
    }

    /// `[point, row, tile]`
    #[inline(always)]
    fn transform_gradient<S: Simd<T>, const M: usize>(
        &self,
        simd: S,
        constants: &Constants<S::Vector>,
        chunk: Chunk,
        point_pitch: usize,
        gradients: &mut [T],
        copy: &mut [T],
    ) {
        let grid = self.grid;
        let [tile_rows, tile_columns] = [chunk.rows(grid.columns), chunk.columns(grid.columns)];
        let [rows, pitch] = grid.padded(tile_rows.len(), tile_columns.len(), S::LANES);
        let origin = [tile_rows.start, tile_columns.start].map(|tiles| (tiles * M) as isize);
        let copy = copy[..rows * pitch].as_mut_ptr();
        for row in 0..self.rows {
            let plane = Plane {
                pointer: self.gradient.wrapping_offset(row as isize * self.gradient_strides[0]),
                strides: [self.gradient_strides[1], self.gradient_strides[2]],
                size: grid.output,
            };
            // SAFETY: the gradient has these rows and the plan's size; the copy was cut to its length.
            unsafe { plane.copy(simd, origin, tile_rows.len() * M, pitch, copy) };
            for lane in (0..chunk.count).step_by(S::LANES) {
                let offsets = tile_offsets::<S, T>(chunk, grid.columns, lane, M * pitch, M);
                let target = gradients[row * CHUNK_TILES + lane..].as_mut_ptr();
                // SAFETY: as for the source.
                unsafe {
                    transform_gradients::<T, S, M>(simd, constants, copy, pitch, &offsets, |point, value| {
                        simd.store_ptr(target.add(point * point_pitch), value);
                    });
                }
            }
        }
    }
}
