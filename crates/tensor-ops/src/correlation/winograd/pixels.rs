//! From pixels to points: the copy with zeros around it, and the transform of its tiles.

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use std::mem::MaybeUninit;

use super::transforms::Constants;
use super::{Chunk, SIDE};
use crate::Element;
use crate::simd::Simd;

/// The most lanes of a vector, over all instruction sets and elements.
pub(super) const MOST_LANES: usize = 16;

/// A plane of pixels by pointer and strides.
#[derive(Clone, Copy)]
pub(super) struct Plane<T> {
    pub(super) pointer: *const T,
    pub(super) strides: [isize; 2],
    /// Height and width.
    pub(super) size: [usize; 2],
}

impl<T: Element> Plane<T> {
    /// Copies `rows` × `columns` pixels, of which the first is at `origin`, to rows of `pitch`, with zeros outside the plane and
    /// up to the pitch.
    ///
    /// # Safety
    /// The plane must be valid for reads, and `target` for writes of `rows` · `pitch` elements.
    #[inline(always)]
    pub(super) unsafe fn copy<S: Simd<T>>(
        self,
        simd: S,
        origin: [isize; 2],
        rows: usize,
        pitch: usize,
        target: *mut T,
    ) {
        let [height, width] = self.size.map(|size| size as isize);
        let left = (-origin[1]).clamp(0, pitch as isize) as usize;
        let end = (width - origin[1]).clamp(left as isize, pitch as isize) as usize;
        for row in 0..rows {
            let y = origin[0] + row as isize;
            let is_inside = (0..height).contains(&y) && end > left;
            let [left, end] = if is_inside { [left, end] } else { [pitch, pitch] };
            // SAFETY: only pixels of the plane are read, and only `pitch` elements of a row are written.
            unsafe {
                let target = target.add(row * pitch);
                clear(simd, target, left);
                if end > left {
                    let x = origin[1] + left as isize;
                    let source = self.pointer.wrapping_offset(y * self.strides[0] + x * self.strides[1]);
                    copy_row(simd, source, self.strides[1], target.add(left), end - left);
                }
                clear(simd, target.add(end), pitch - end);
            }
        }
    }
}

/// # Safety
/// `target` must be valid for writes of `len` elements.
#[inline(always)]
unsafe fn clear<T: Element, S: Simd<T>>(simd: S, target: *mut T, len: usize) {
    let whole = len / S::LANES * S::LANES;
    // SAFETY: granted by the caller.
    unsafe {
        for index in (0..whole).step_by(S::LANES) {
            simd.store_ptr(target.add(index), simd.splat(T::zero()));
        }
        for index in whole..len {
            target.add(index).write(T::zero());
        }
    }
}

/// # Safety
/// `source` must be valid for reads of `len` elements that lie `stride` apart, and `target` for writes.
#[inline(always)]
unsafe fn copy_row<T: Element, S: Simd<T>>(simd: S, source: *const T, stride: isize, target: *mut T, len: usize) {
    let whole = if stride == 1 { len / S::LANES * S::LANES } else { 0 };
    // SAFETY: granted by the caller.
    unsafe {
        for index in (0..whole).step_by(S::LANES) {
            simd.store_ptr(target.add(index), simd.load_ptr(source.add(index)));
        }
        for index in whole..len {
            target.add(index).write(source.offset(index as isize * stride).read());
        }
    }
}

/// The places of the tiles of a vector in a copy, in elements from its first one.
#[inline(always)]
pub(super) fn tile_offsets<S: Simd<T>, T: Copy>(
    chunk: Chunk,
    columns: usize,
    lane: usize,
    row_elements: usize,
    column_elements: usize,
) -> [isize; MOST_LANES] {
    let [first_row, first_column] = [chunk.rows(columns).start, chunk.columns(columns).start];
    let mut offsets = [0; MOST_LANES];
    for (index, offset) in offsets.iter_mut().enumerate().take(S::LANES) {
        let [row, column] = chunk.tile(columns, lane + index);
        *offset = ((row - first_row) * row_elements + (column - first_column) * column_elements) as isize;
    }
    offsets
}

/// Bᵀ d B for the tiles at `offsets` of a copy with rows of `pitch`.
///
/// # Safety
/// A vector must be readable at every offset in [`SIDE`] rows of the copy.
#[inline(always)]
pub(super) unsafe fn transform_pixels<T: Element, S: Simd<T>>(
    simd: S,
    constants: &Constants<S::Vector>,
    copy: *const T,
    pitch: usize,
    offsets: &[isize; MOST_LANES],
    mut write: impl FnMut(usize, S::Vector),
) {
    let mut lanes = MaybeUninit::<[T; MOST_LANES * MOST_LANES]>::uninit();
    let lanes: *mut T = lanes.as_mut_ptr().cast();
    let mut rows = [[simd.splat(T::zero()); SIDE]; SIDE];
    for (i, row) in rows.iter_mut().enumerate() {
        // SAFETY: granted by the caller; `lanes` has room for any vector of vectors.
        unsafe {
            simd.transpose_ptr(copy.add(i * pitch), |lane| offsets[lane], lanes, S::LANES);
            for (j, pixels) in row.iter_mut().enumerate() {
                *pixels = simd.load_ptr(lanes.add(j * S::LANES));
            }
        }
        *row = constants.pixels(simd, *row);
    }
    for j in 0..SIDE {
        let mut column = rows[0];
        for (value, row) in column.iter_mut().zip(&rows) {
            *value = row[j];
        }
        let column = constants.pixels(simd, column);
        for (i, value) in column.into_iter().enumerate() {
            write(i * SIDE + j, value);
        }
    }
}

/// A ∂Y Aᵀ for the tiles of `M` × `M` at `offsets` of a copy with rows of `pitch`.
///
/// # Safety
/// As for [`transform_pixels`], in `M` rows.
#[inline(always)]
pub(super) unsafe fn transform_gradients<T: Element, S: Simd<T>, const M: usize>(
    simd: S,
    constants: &Constants<S::Vector>,
    copy: *const T,
    pitch: usize,
    offsets: &[isize; MOST_LANES],
    mut write: impl FnMut(usize, S::Vector),
) {
    let mut lanes = MaybeUninit::<[T; MOST_LANES * MOST_LANES]>::uninit();
    let lanes: *mut T = lanes.as_mut_ptr().cast();
    let mut rows = [[simd.splat(T::zero()); SIDE]; M];
    let mut values = [simd.splat(T::zero()); M];
    for (i, row) in rows.iter_mut().enumerate() {
        // SAFETY: granted by the caller; `lanes` has room for any vector of vectors.
        unsafe {
            simd.transpose_ptr(copy.add(i * pitch), |lane| offsets[lane], lanes, S::LANES);
            for (j, value) in values.iter_mut().enumerate() {
                *value = simd.load_ptr(lanes.add(j * S::LANES));
            }
        }
        *row = constants.gradients(simd, values);
    }
    for j in 0..SIDE {
        for (value, row) in values.iter_mut().zip(&rows) {
            *value = row[j];
        }
        let column = constants.gradients(simd, values);
        for (i, value) in column.into_iter().enumerate() {
            write(i * SIDE + j, value);
        }
    }
}
