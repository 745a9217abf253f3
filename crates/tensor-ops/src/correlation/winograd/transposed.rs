//! The gradient of the weights: sums over tiles.

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use super::pixels::{Images, Points, Tiles};
use super::transforms::{Constants, POINTS};
use super::{Chunk, Image, MOST_TILES, SIDE, Stack, Winograd};
use crate::Element;
use crate::gemm::{Matrix, Product};
use crate::simd::{Kernel, Simd};

/// Elements between the points of a channel beyond those needed: points at a power of two would share a cache set.
const SKEW: usize = 16;

/// The sums of an image.
pub(crate) struct Backward<'a, T> {
    pub(in crate::correlation) grid: &'a Winograd,
    /// Of `source`, and of the sums.
    pub(in crate::correlation) channels: [usize; 2],
    pub(in crate::correlation) rows: usize,
    pub(in crate::correlation) source: Image<*const T>,
    pub(in crate::correlation) gradient: Image<*const T>,
    /// `[point, row, channel]`
    pub(in crate::correlation) sums: &'a mut [T],
    pub(in crate::correlation) buffer: &'a mut [T],
}

/// From a point to the next, for pixels and gradients.
fn pitches([channels, rows]: [usize; 2]) -> [usize; 2] {
    [channels * MOST_TILES + SKEW, rows * MOST_TILES + SKEW]
}

impl<T: Element> Backward<'_, T> {
    /// Elements of the buffer.
    pub(in crate::correlation) fn buffer_len(grid: &Winograd, channels: usize, rows: usize, lanes: usize) -> usize {
        let [pixels, gradients] = pitches([channels, rows]);
        let product = Product::<T>::buffer_len([rows, MOST_TILES, channels]);
        POINTS * (pixels + gradients) + grid.copy_len(MOST_TILES, lanes) + product
    }
}

impl<T: Element> Kernel<T> for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, simd: S) {
        let grid = self.grid;
        let [channels, sum_channels] = self.channels;
        let source = Images { images: &[self.source], channels, size: grid.source };
        let gradient = Images { images: &[self.gradient], channels: self.rows, size: grid.output };
        let rows = grid.output[0].div_ceil(grid.tile);
        let stack = Stack { images: 1, first_row: 0, rows, columns: grid.columns };
        let [pixel_pitch, gradient_pitch] = pitches([channels, self.rows]);
        let (buffer, sums) = (std::mem::take(&mut self.buffer), std::mem::take(&mut self.sums));
        let (pixels, rest) = buffer.split_at_mut(POINTS * pixel_pitch);
        let (gradients, rest) = rest.split_at_mut(POINTS * gradient_pitch);
        let (copy, product_buffer) = rest.split_at_mut(grid.copy_len(MOST_TILES, S::LANES));
        let constants = Constants::new::<T, S>(simd);
        for first in (0..stack.tiles()).step_by(MOST_TILES) {
            let chunk = Chunk { stack, first, count: MOST_TILES.min(stack.tiles() - first) };
            let place = |channel: usize, lane: usize| channel * MOST_TILES + lane;
            let points = Points { pointer: pixels.as_mut_ptr(), point_pitch: pixel_pitch };
            let tiles = Tiles::of_source(grid, chunk, S::LANES);
            // SAFETY: the images are the source and the gradient, and every point has room for all channels and tiles.
            unsafe { tiles.transform::<T, S, SIDE>(simd, &constants, source, copy, points, place) };
            let points = Points { pointer: gradients.as_mut_ptr(), point_pitch: gradient_pitch };
            let tiles = Tiles::of_output(grid, chunk, S::LANES);
            // SAFETY: as above.
            unsafe {
                if grid.tile == 4 {
                    tiles.transform::<T, S, 4>(simd, &constants, gradient, copy, points, place);
                } else {
                    tiles.transform::<T, S, 2>(simd, &constants, gradient, copy, points, place);
                }
            }
            for point in 0..POINTS {
                let row = MOST_TILES as isize;
                let a = Matrix { pointer: gradients[point * gradient_pitch..].as_ptr(), row, column: 1 };
                let b = Matrix { pointer: pixels[point * pixel_pitch..].as_ptr(), row: 1, column: row };
                let pointer = sums[point * self.rows * sum_channels..].as_mut_ptr();
                let c = Matrix { pointer, row: sum_channels as isize, column: 1 };
                let sizes = [self.rows, chunk.count, channels];
                let product = Product { sizes, alpha: T::one(), a, b, beta: T::one(), c };
                // SAFETY: the buffers have all tiles of the chunk for every row and channel, the sums a place for each.
                unsafe { simd.call(product.blocked(&mut *product_buffer)) };
            }
        }
    }
}
