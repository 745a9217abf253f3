//! The tiles themselves.

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use crate::Element;
use crate::simd::Simd;

/// Positions whose products are written out: what a loop does beside its multiply-adds is shared by them.
const STEPS: usize = 4;

/// `M` products with `N` vectors of gradient channels.
pub(super) struct RowsTile<'a, T> {
    pub(super) pixels: *const T,
    pub(super) offsets: &'a [isize],
    pub(super) gradient: *const T,
    pub(super) band_rows: usize,
    pub(super) width: usize,
    pub(super) row_step: usize,
    pub(super) sums: *mut T,
    pub(super) sums_pitch: usize,
}

impl<T: Element> RowsTile<'_, T> {
    /// # Safety
    /// There must be `M` offsets; pixels must be readable at every offset plus `i · row_step + j` for all band rows `i` and
    /// `j < width`; the gradient must have `N` vectors for each; `N` vectors must be writable at the first `M` multiples of
    /// `sums_pitch`.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd<T>, const M: usize, const N: usize>(&self, simd: S) {
        let mut sums = [[simd.splat(T::zero()); N]; M];
        let mut pixels = [self.pixels; M];
        // SAFETY: as the caller grants.
        unsafe {
            for m in 0..M {
                pixels[m] = self.pixels.offset(*self.offsets.get_unchecked(m));
                for v in 0..N {
                    sums[m][v] = simd.load_ptr(self.sums.add(m * self.sums_pitch + v * S::LANES));
                }
            }
            let mut gradient = self.gradient;
            for i in 0..self.band_rows {
                let mut position = i * self.row_step;
                for _ in 0..self.width / STEPS {
                    add_products::<T, S, M, N, STEPS>(simd, &mut sums, &pixels, position, gradient);
                    position += STEPS;
                    gradient = gradient.add(STEPS * N * S::LANES);
                }
                for _ in 0..self.width % STEPS {
                    add_products::<T, S, M, N, 1>(simd, &mut sums, &pixels, position, gradient);
                    position += 1;
                    gradient = gradient.add(N * S::LANES);
                }
            }
            for m in 0..M {
                for v in 0..N {
                    simd.store_ptr(self.sums.add(m * self.sums_pitch + v * S::LANES), sums[m][v]);
                }
            }
        }
    }
}

/// Adds to `sums` the products of the pixels at `K` positions with the vectors of the gradient there.
///
/// # Safety
/// Every one of `pixels` must be readable at `K` elements from `position`, and the gradient for `K · N` vectors.
#[inline(always)]
unsafe fn add_products<T: Element, S: Simd<T>, const M: usize, const N: usize, const K: usize>(
    simd: S,
    sums: &mut [[S::Vector; N]; M],
    pixels: &[*const T; M],
    position: usize,
    gradient: *const T,
) {
    for k in 0..K {
        // SAFETY: granted by the caller.
        unsafe {
            let mut vectors = [simd.splat(T::zero()); N];
            for v in 0..N {
                vectors[v] = simd.load_ptr(gradient.add((k * N + v) * S::LANES));
            }
            for m in 0..M {
                let pixel = simd.splat(*pixels[m].add(position + k));
                for v in 0..N {
                    sums[m][v] = simd.mul_add(pixel, vectors[v], sums[m][v]);
                }
            }
        }
    }
}

/// `M` products with one channel of the gradient, positions in lanes.
pub(super) struct PositionsTile<'a, T> {
    pub(super) pixels: *const T,
    pub(super) offsets: &'a [isize],
    pub(super) gradient: *const T,
    pub(super) band_rows: usize,
    pub(super) padded_width: usize,
    pub(super) row_step: usize,
    pub(super) sums: *mut T,
}

impl<T: Element> PositionsTile<'_, T> {
    /// # Safety
    /// There must be `M` offsets; a vector must be readable at every offset plus `i · row_step + j` for all band rows `i`
    /// and all `j < padded_width` that are multiples of LANES; the gradient must have `padded_width` elements per band
    /// row; `M` vectors of sums must be writable.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd<T>, const M: usize>(&self, simd: S) {
        let mut sums = [simd.splat(T::zero()); M];
        let mut pixels = [self.pixels; M];
        // SAFETY: as the caller grants.
        unsafe {
            for m in 0..M {
                pixels[m] = self.pixels.offset(*self.offsets.get_unchecked(m));
                sums[m] = simd.load_ptr(self.sums.add(m * S::LANES));
            }
            let mut gradient = self.gradient;
            for i in 0..self.band_rows {
                let first = i * self.row_step;
                for position in (first..first + self.padded_width).step_by(S::LANES) {
                    let vector = simd.load_ptr(gradient);
                    for m in 0..M {
                        sums[m] = simd.mul_add(vector, simd.load_ptr(pixels[m].add(position)), sums[m]);
                    }
                    gradient = gradient.add(S::LANES);
                }
            }
            for m in 0..M {
                simd.store_ptr(self.sums.add(m * S::LANES), sums[m]);
            }
        }
    }
}
