//! Tiles of C where it has no whole panel: computed in memory of their own.

use super::{Origin, Target, Tile, tile};
use crate::Element;
use crate::gemm::tile::{MOST_ROWS, MOST_WIDTH, width};
use crate::simd::{Kernel, Simd};

/// A tile of fewer columns than a panel, or of columns that do not lie side by side; [`tile_at`]'s caller vouches for it.
pub(super) struct EdgeTile<T> {
    pub(super) rows: usize,
    pub(super) a: Tile<T>,
    pub(super) origin: Origin<T>,
    pub(super) c: Target<T>,
}

impl<T: Element> Kernel<T> for EdgeTile<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { rows, a, origin, c } = self;
        let width = width::<T, S>();
        let mut whole = [T::zero(); MOST_ROWS * MOST_WIDTH];
        // SAFETY: made by `tile_at` alone, whose caller grants it; `whole` has room for `rows` rows.
        unsafe {
            read_edge(&mut whole, width, rows, origin, c);
            tile(simd, rows, a, Origin::Output, whole.as_mut_ptr(), width as isize);
            write_edge(&whole, width, rows, c);
        }
    }
}

/// Fills `whole`, rows of `width` elements, with the start values of the tile.
///
/// # Safety
/// As [`product`], for this tile.
#[inline(never)]
unsafe fn read_edge<T: Element>(whole: &mut [T], width: usize, rows: usize, origin: Origin<T>, c: Target<T>) {
    let (source, row_stride, column_stride) = match origin {
        Origin::Zero => return,
        Origin::Row(values) => (values, 0, 1),
        Origin::Output => (c.pointer.cast_const(), c.row_stride, c.column_stride),
    };
    for (row, values) in whole.chunks_exact_mut(width).take(rows).enumerate() {
        for (column, value) in values.iter_mut().take(c.columns).enumerate() {
            // SAFETY: the offsets stay inside the areas that the caller grants.
            *value = unsafe { source.offset(row as isize * row_stride + column as isize * column_stride).read() };
        }
    }
}

/// Writes what of `whole`, rows of `width` elements, lies in the tile.
///
/// # Safety
/// As [`product`], for this tile.
#[inline(never)]
unsafe fn write_edge<T: Element>(whole: &[T], width: usize, rows: usize, c: Target<T>) {
    for (row, values) in whole.chunks_exact(width).take(rows).enumerate() {
        for (column, &value) in values.iter().take(c.columns).enumerate() {
            // SAFETY: the offsets stay inside the areas that the caller grants.
            unsafe {
                c.pointer.offset(row as isize * c.row_stride + column as isize * c.column_stride).write(value);
            }
        }
    }
}
