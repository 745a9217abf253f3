//! What tiles of matrix products multiply, and their innermost loop where an instruction set has none of its own.

#![expect(unsafe_code, reason = "operands are addressed by pointer and stride")]

use super::{LINE_BYTES, Simd};

/// Steps along the depth that are written out where vectors are registers: counting and moving pointers takes instructions.
const STEPS: usize = 4;
/// Steps along the depth for each line of memory that is fetched meanwhile.
pub(crate) const STEPS_PER_LINE: usize = 4;
const _: () = assert!(STEPS == STEPS_PER_LINE, "a line is fetched in as many steps");

/// Vectors in a row of a whole tile: with six rows of them, all sums stay in registers.
pub(crate) const fn vectors<T: Copy, S: Simd<T>>() -> usize {
    // 512-bit registers come in 32, narrower ones in 16.
    if S::LANES * size_of::<T>() == 64 { 4 } else { 2 }
}

/// The rows of A in a tile.
#[derive(Clone, Copy)]
pub(crate) enum TileRows<T> {
    /// `[depth, rows of the tile]`
    Packed(*const T),
    /// `a[r, k]` is at `pointer + r · row + k`.
    Strided { pointer: *const T, row: isize },
}

/// Panels of B, each `[depth, width]`.
#[derive(Clone, Copy)]
pub(crate) struct TilePanels<T> {
    pub(crate) first: *const T,
    /// From one panel to the next, which is read by a tile wider than a panel.
    pub(crate) apart: usize,
    /// What later tiles read, which is fetched meanwhile: a line for every [`STEPS_PER_LINE`] whole steps. Any address.
    pub(crate) following: *const T,
}

/// [`Simd::add_products`] in terms of its other operations.
///
/// # Safety
/// As for [`Simd::add_products`].
#[inline(always)]
pub(crate) unsafe fn add_products<T: Copy, S: Simd<T>, const R: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::Vector; V]; R],
    rows: TileRows<T>,
    panels: TilePanels<T>,
    depth: usize,
) {
    // SAFETY: granted by the caller.
    unsafe {
        match rows {
            TileRows::Packed(pointer) => add(simd, sums, pointer, |row, k| (k * R + row) as isize, panels, depth),
            TileRows::Strided { pointer, row: pitch } => {
                add(simd, sums, pointer, |row, k| row as isize * pitch + k as isize, panels, depth);
            }
        }
    }
}

/// [`add_products`] with `a[r, k]` at `a + offset(r, k)`, which is linear in k.
///
/// # Safety
/// As for [`Simd::add_products`].
#[inline(always)]
unsafe fn add<T: Copy, S: Simd<T>, const R: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::Vector; V]; R],
    mut a: *const T,
    offset: impl Fn(usize, usize) -> isize + Copy,
    mut panels: TilePanels<T>,
    depth: usize,
) {
    let step = V.min(vectors::<T, S>()) * S::LANES;
    let mut left = depth;
    while S::NATIVE && left >= STEPS {
        simd.prefetch(panels.following);
        panels.following = panels.following.wrapping_byte_add(LINE_BYTES);
        // SAFETY: granted by the caller.
        unsafe { add_steps::<T, S, R, V, STEPS>(simd, sums, a, offset, panels) };
        a = a.wrapping_offset(offset(0, STEPS));
        panels.first = panels.first.wrapping_add(STEPS * step);
        left -= STEPS;
    }
    for _ in 0..left {
        // SAFETY: granted by the caller.
        unsafe { add_steps::<T, S, R, V, 1>(simd, sums, a, offset, panels) };
        a = a.wrapping_offset(offset(0, 1));
        panels.first = panels.first.wrapping_add(step);
    }
}

/// [`add`] for a depth of `K`.
///
/// # Safety
/// As for [`Simd::add_products`].
#[inline(always)]
unsafe fn add_steps<T: Copy, S: Simd<T>, const R: usize, const V: usize, const K: usize>(
    simd: S,
    sums: &mut [[S::Vector; V]; R],
    a: *const T,
    offset: impl Fn(usize, usize) -> isize,
    panels: TilePanels<T>,
) {
    let width = V.min(vectors::<T, S>());
    for k in 0..K {
        // SAFETY: granted by the caller, for each k below the depth.
        unsafe {
            let b: [S::Vector; V] = std::array::from_fn(|v| {
                let place = v / width * panels.apart + (k * width + v % width) * S::LANES;
                simd.load_ptr(panels.first.add(place))
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = simd.splat(a.offset(offset(row, k)).read());
                for v in 0..V {
                    sums[v] = simd.mul_add(value, b[v], sums[v]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::gemm::tile::{MOST_ROWS, with_rows};
    use crate::simd::{Dispatch, Kernel, MAX_LANES};

    /// The sums of all tiles over a depth, against chains of scalar multiply-adds.
    struct EveryTile {
        depth: usize,
    }

    /// Elements from a row of A to the next, where they are not packed.
    const PITCH: usize = 40;

    macro_rules! impl_every_tile {
        ($element:ty) => {
            impl Kernel<$element> for EveryTile {
                type Output = ();

                #[inline(always)]
                fn run<S: Simd<$element>>(self, simd: S) {
                    for rows in 1..=MOST_ROWS {
                        with_rows!(rows, R => check::<S, R, 1>(simd, self.depth));
                        with_rows!(rows, R => check::<S, R, 2>(simd, self.depth));
                        if vectors::<$element, S>() == 4 {
                            with_rows!(rows, R => check::<S, R, 4>(simd, self.depth));
                        }
                    }
                    if vectors::<$element, S>() == 2 {
                        check::<S, 1, 4>(simd, self.depth);
                        check::<S, 2, 4>(simd, self.depth);
                        check::<S, 3, 4>(simd, self.depth);
                    }

                    #[inline(always)]
                    fn check<S: Simd<$element>, const R: usize, const V: usize>(simd: S, depth: usize) {
                        const START: $element = 0.5;
                        let value = |index: usize| ((index * 37 + 11) % 101) as $element / 64.0 - 0.75;
                        let a: Vec<$element> = (0..MOST_ROWS * PITCH).map(value).collect();
                        let width = V.min(vectors::<$element, S>()) * S::LANES;
                        // A gap between panels, so that one is not read for the other.
                        let apart = depth * width + 5;
                        let b: Vec<$element> =
                            (0..V * S::LANES / width * apart).map(|index| value(index + 7)).collect();
                        let packed = TileRows::Packed(a.as_ptr());
                        let strided = TileRows::Strided { pointer: a.as_ptr(), row: PITCH as isize };
                        let panels = TilePanels { first: b.as_ptr(), apart, following: b.as_ptr() };
                        for (rows, row_stride, step) in [(packed, 1, R), (strided, PITCH, 1)] {
                            let mut sums = [[simd.splat(START); V]; R];
                            // SAFETY: A has R rows of 40 elements and more, B as many panels as V vectors take.
                            unsafe { simd.add_products(&mut sums, rows, panels, depth) };
                            for (row, sums) in sums.iter().enumerate() {
                                for (v, &sum) in sums.iter().enumerate() {
                                    let mut lanes = [0.0; MAX_LANES];
                                    simd.store(&mut lanes, sum);
                                    for lane in 0..S::LANES {
                                        let column = v * S::LANES + lane;
                                        let place = column / width * apart + column % width;
                                        let expected = (0..depth).fold(START, |sum, k| {
                                            let factor = b[place + k * width];
                                            a[row * row_stride + k * step].mul_add(factor, sum)
                                        });
                                        let error = (lanes[lane] - expected).abs();
                                        let bound = if S::NATIVE { 0.0 } else { 100.0 * <$element>::EPSILON };
                                        assert!(error <= bound, "{R}×{V}, depth {depth}, row {row}, column {column}");
                                    }
                                }
                            }
                        }
                    }
                }
            }
        };
    }

    impl_every_tile!(f32);
    impl_every_tile!(f64);

    #[test]
    fn every_tile_sums_in_rising_order_of_the_depth() {
        for isa in Isa::available() {
            for depth in [0, 1, 3, 4, 7, 8, 9, 16, 23, PITCH] {
                f32::dispatch_on(isa, EveryTile { depth });
                f64::dispatch_on(isa, EveryTile { depth });
            }
        }
    }
}
