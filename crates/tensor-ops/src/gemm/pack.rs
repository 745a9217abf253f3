//! Copies of the operands in the order in which tiles read them.

#![expect(unsafe_code, reason = "operands are addressed by pointer and stride")]

use super::blocked::Matrix;
use super::tile::{MOST_ROWS, row_tiles};
use crate::Element;
use crate::simd::Simd;

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
            for lane in (0..lanes).step_by(S::LANES) {
                // Lanes beyond the last one repeat it.
                let offset = |row: usize| (lane + row).min(lanes - 1) as isize * source.row;
                for k in (0..whole).step_by(S::LANES) {
                    simd.transpose_ptr(source.at(0, k), offset, target.add(k * width + lane), width);
                }
            }
            for k in whole..depth {
                copy(source.at(0, k), source.row, lanes, target.add(k * width));
            }
        } else if source.row == 1 && lanes == width && width.is_multiple_of(S::LANES) {
            for k in 0..depth {
                for lane in (0..width).step_by(S::LANES) {
                    simd.store_ptr(target.add(k * width + lane), simd.load_ptr(source.at(lane, k)));
                }
            }
        } else {
            for k in 0..depth {
                copy(source.at(0, k), source.row, lanes, target.add(k * width));
            }
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
                for (row, height) in row_tiles(rows) {
                    copy_rows(source.at(row, k), height, target.add(row * depth + k * height));
                }
            }
        } else {
            for (row, height) in row_tiles(rows) {
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

/// Copies `rows` neighbours, at most [`MOST_ROWS`].
///
/// # Safety
/// As for [`copy`].
#[inline(always)]
unsafe fn copy_rows<T: Element>(source: *const T, rows: usize, target: *mut T) {
    // SAFETY: granted by the caller. A number that the compiler knows is no work for a call of `memcpy`.
    unsafe {
        match rows {
            MOST_ROWS => target.cast::<[T; MOST_ROWS]>().write(source.cast::<[T; MOST_ROWS]>().read()),
            _ => copy(source, 1, rows, target),
        }
    }
}
