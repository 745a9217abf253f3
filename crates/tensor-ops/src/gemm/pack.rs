//! Copies of the operands in the order in which tiles read them.

#![expect(unsafe_code, reason = "operands are addressed by pointer and stride")]

use super::blocked::Matrix;
use super::tile::{MOST_ROWS, panel_width, row_tiles};
use crate::Element;
use crate::simd::{LINE_BYTES, Simd};

/// Copies `lanes` rows of `source`, `depth` long, to `target` `[depth, width]`; what lies beyond `lanes` is unspecified.
///
/// # Safety
/// `source` must be valid for these reads and `target` for writes of `depth` · `width` elements, and of a vector more where
/// `width` is not made of whole vectors.
#[inline(always)]
pub(super) unsafe fn lanes<T: Element, S: Simd<T>>(
    simd: S,
    source: Matrix<*const T>,
    lanes: usize,
    depth: usize,
    target: *mut T,
    width: usize,
) {
    // SAFETY: the offsets stay inside the areas that the caller grants.
    unsafe {
        if source.column == 1 {
            let whole = depth / S::LANES * S::LANES;
            // The last vector may pass the end of its row; those before it write what it spoils.
            for lane in (0..lanes).step_by(S::LANES).rev() {
                // Lanes beyond the last one repeat it.
                let offset = |row: usize| (lane + row).min(lanes - 1) as isize * source.row;
                for k in (0..whole).step_by(S::LANES) {
                    simd.transpose_ptr(source.at(0, k), offset, target.add(k * width + lane), width);
                }
            }
            for k in whole..depth {
                copy(source.at(0, k), source.row, lanes, target.add(k * width));
            }
        } else {
            for k in 0..depth {
                copy(source.at(0, k), source.row, lanes, target.add(k * width));
            }
        }
    }
}

/// How many rows ahead of the one that is copied are fetched.
const FETCHED_ROWS: usize = 4;

/// Copies `source` `[depth, columns]`, whose rows have their elements side by side, to panels of [`panel_width`].
///
/// # Safety
/// `source` must be valid for these reads, and `target` for writes of whole panels.
#[inline(always)]
pub(super) unsafe fn panels<T: Element, S: Simd<T>>(
    simd: S,
    source: Matrix<*const T>,
    columns: usize,
    depth: usize,
    target: *mut T,
) {
    let line = LINE_BYTES / size_of::<T>();
    for k in 0..depth {
        let row = source.at(k, 0);
        for column in (0..columns).step_by(line) {
            simd.prefetch(source.at(k + FETCHED_ROWS, column));
        }
        let mut first = 0;
        while first < columns {
            let left = columns - first;
            let width = panel_width::<T, S>(left);
            let here = width.min(left);
            let whole = here / S::LANES * S::LANES;
            // SAFETY: the offsets stay inside the areas that the caller grants.
            unsafe {
                let (source, target) = (row.add(first), target.add(first * depth + k * width));
                for column in (0..whole).step_by(S::LANES) {
                    simd.store_ptr(target.add(column), simd.load_ptr(source.add(column)));
                }
                copy(source.add(whole), 1, here - whole, target.add(whole));
            }
            first += width;
        }
    }
}

/// Copies `rows` rows of `source`, `depth` long, tile by tile, each to `[depth, rows of the tile]`.
///
/// # Safety
/// `source` must be valid for these reads and `target` for writes of `rows` · `depth` elements and a vector more.
#[inline(always)]
pub(super) unsafe fn rows<T: Element, S: Simd<T>>(
    simd: S,
    source: Matrix<*const T>,
    rows: usize,
    depth: usize,
    target: *mut T,
) {
    // SAFETY: the offsets stay inside the areas that the caller grants. Tiles are written in rising order, so what one
    // writes beyond its end is overwritten.
    unsafe {
        if source.row == 1 {
            // Neighbours in memory are rows: each depth is read once, over all tiles.
            for k in 0..depth {
                for (row, height) in row_tiles(rows, MOST_ROWS) {
                    copy_column(source.at(row, k), 1, height, target.add(row * depth + k * height));
                }
            }
        } else {
            for (row, height) in row_tiles(rows, MOST_ROWS) {
                let source = Matrix { pointer: source.at(row, 0), ..source };
                lanes(simd, source, height, depth, target.add(row * depth), height);
            }
        }
    }
}

/// Copies `count` elements that lie `stride` apart.
///
/// # Safety
/// `source` must be valid for these reads, and `target` for writes of `count` elements.
#[inline(always)]
unsafe fn copy<T: Element>(source: *const T, stride: isize, count: usize, target: *mut T) {
    for index in 0..count {
        // SAFETY: granted by the caller.
        unsafe { target.add(index).write(source.offset(index as isize * stride).read()) };
    }
}

/// Copies `rows` elements that lie `stride` apart, at most [`MOST_ROWS`].
///
/// # Safety
/// `source` must be valid for these reads, and `target` for writes of `rows` elements.
#[inline(always)]
pub(crate) unsafe fn copy_column<T: Element>(source: *const T, stride: isize, rows: usize, target: *mut T) {
    /// A number of rows that the compiler knows: so few elements are no work for a call of `memcpy`.
    #[inline(always)]
    unsafe fn copy<T: Element, const R: usize>(source: *const T, stride: isize, target: *mut T) {
        // SAFETY: granted by the caller.
        unsafe { target.cast::<[T; R]>().write(std::array::from_fn(|row| source.offset(row as isize * stride).read())) }
    }
    // SAFETY: granted by the caller.
    unsafe {
        match rows {
            1 => copy::<T, 1>(source, stride, target),
            2 => copy::<T, 2>(source, stride, target),
            3 => copy::<T, 3>(source, stride, target),
            4 => copy::<T, 4>(source, stride, target),
            5 => copy::<T, 5>(source, stride, target),
            _ => copy::<T, MOST_ROWS>(source, stride, target),
        }
    }
}
