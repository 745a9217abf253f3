//! Copies the source rows of a band into the buffer.

#![expect(unsafe_code, reason = "rows are addressed by pointer and stride")]

use super::layout::Layout;
use super::taps::Taps;
use crate::Element;
use crate::simd::Simd;

/// Fills the buffer with `channels` channels from `source` on, for the band that starts at output row `first_row` and has
/// `rows` rows.
///
/// # Safety
/// `source` must be valid for reads of the taps' source height and width in each channel at `strides`, and `buffer` for
/// writes of the layout's length.
#[inline(always)]
pub(super) unsafe fn fill<T: Element, S: Simd<T>>(
    simd: S,
    taps: &Taps,
    layout: &Layout,
    source: *const T,
    [channel_stride, row_stride, column_stride]: [isize; 3],
    channels: usize,
    first_row: usize,
    rows: usize,
    buffer: *mut T,
) {
    let [height, width] = [taps.source[0] as isize, taps.source[1] as isize];
    let [stride_y, stride_x] = taps.stride;
    let row_least = taps.rows.iter().min().copied().unwrap_or(0);
    let column_least = taps.columns.iter().min().copied().unwrap_or(0);
    let top = (first_row * stride_y) as isize + row_least;
    let step = column_stride * stride_x as isize;
    for channel in 0..channels {
        for row in 0..taps.source_rows(rows) {
            if stride_y > 1 && !layout.row_used[row % stride_y] {
                continue;
            }
            let y = top + row as isize;
            // SAFETY: the row is one of the buffer's; a pixel is read only where it lies inside the source.
            unsafe {
                let mut target = buffer.add(channel * layout.channel_pitch + row * layout.row_pitch);
                if y < 0 || y >= height {
                    clear(target, layout.row_pitch);
                    continue;
                }
                let source_row = source.offset(channel as isize * channel_stride + y * row_stride);
                for &phase in &layout.phases {
                    // Position j holds column j · stride + start.
                    let start = phase as isize + column_least;
                    let used = layout.used_width;
                    let positions_before = |column: isize| {
                        let columns = (column - start).max(0) as usize;
                        if stride_x == 1 { columns } else { columns.div_ceil(stride_x) }
                    };
                    let left = positions_before(0).min(used);
                    let end = positions_before(width).clamp(left, used);
                    clear(target, left);
                    let first = source_row.wrapping_offset(((left * stride_x) as isize + start) * column_stride);
                    copy(simd, first, step, target.add(left), end - left);
                    clear(target.add(end), layout.width - end);
                    target = target.add(layout.width);
                }
            }
        }
    }
}

/// Writes zeros.
///
/// # Safety
/// `target` must be valid for writes of `len` elements.
#[inline(always)]
pub(super) unsafe fn clear<T: Element>(target: *mut T, len: usize) {
    for index in 0..len {
        // SAFETY: the caller grants writes of `len` elements.
        unsafe { target.add(index).write(T::zero()) };
    }
}

/// Copies elements that are `step` apart in the source.
///
/// # Safety
/// `source` must be valid for reads of `len` elements `step` apart, and `target` for writes of `len` elements.
#[inline(always)]
pub(super) unsafe fn copy<T: Element, S: Simd<T>>(simd: S, source: *const T, step: isize, target: *mut T, len: usize) {
    // SAFETY: the caller grants reads and writes of `len` elements, `step` apart in the source.
    unsafe {
        if step == 1 && len >= S::LANES {
            let mut index = 0;
            while index + S::LANES <= len {
                simd.store_ptr(target.add(index), simd.load_ptr(source.add(index)));
                index += S::LANES;
            }
            if index < len {
                let last = len - S::LANES;
                simd.store_ptr(target.add(last), simd.load_ptr(source.add(last)));
            }
        } else if step == 2 {
            // With the step as a constant the loop is vectorised.
            for index in 0..len {
                target.add(index).write(*source.add(2 * index));
            }
        } else {
            for index in 0..len {
                target.add(index).write(*source.offset(index as isize * step));
            }
        }
    }
}
