//! From pixels to points: the copy with zeros around it, and the transform of its tiles.

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use std::mem::MaybeUninit;

use super::transforms::Constants;
use super::{Chunk, Image, MOST_TILES, SIDE, Winograd};
use crate::Element;
use crate::correlation::MAX_LANES;
use crate::correlation::fill::{clear, copy};
use crate::simd::Simd;

/// Images of one size.
#[derive(Clone, Copy)]
pub(super) struct Images<'a, T> {
    pub(super) images: &'a [Image<*const T>],
    pub(super) channels: usize,
    /// Height and width.
    pub(super) size: [usize; 2],
}

/// Where the transformed tiles go: the points of a tile are `point_pitch` apart.
#[derive(Clone, Copy)]
pub(super) struct Points<T> {
    pub(super) pointer: *mut T,
    pub(super) point_pitch: usize,
}

/// Rows of an image that tiles of a chunk meet.
#[derive(Clone, Copy, Default)]
struct Section {
    image: usize,
    /// The first of them, which may lie in the padding.
    top: isize,
    rows: usize,
}

/// The parts of the images that the tiles of a chunk meet, which are copied with zeros around them, one below the other.
pub(super) struct Tiles {
    count: usize,
    sections: [Section; MOST_TILES],
    section_count: usize,
    /// The column of their first pixels, which may lie in the padding.
    left: isize,
    /// Rows of the copy.
    rows: usize,
    /// From a row of the copy to the next: a tile is read by whole vectors.
    pitch: usize,
    /// From the first pixel of the copy to that of each tile; those beyond the last tile repeat it.
    offsets: [isize; MOST_TILES],
}

impl Tiles {
    /// The pixels that tiles of outputs meet, 6 × 6 for each.
    #[inline(always)]
    pub(super) fn of_source(grid: &Winograd, chunk: Chunk, lanes: usize) -> Self {
        Self::new(grid, chunk, lanes, grid.origin, grid.kernel - 1)
    }

    /// The tiles of outputs themselves.
    #[inline(always)]
    pub(super) fn of_output(grid: &Winograd, chunk: Chunk, lanes: usize) -> Self {
        Self::new(grid, chunk, lanes, [0; 2], 0)
    }

    #[inline(always)]
    fn new(grid: &Winograd, chunk: Chunk, lanes: usize, origin: [isize; 2], overlap: usize) -> Self {
        debug_assert!(chunk.count.next_multiple_of(lanes) <= MOST_TILES, "as many tiles as offsets");
        let columns = chunk.columns();
        let pitch = grid.pitch(columns.len(), lanes);
        let mut sections = [Section::default(); MOST_TILES];
        let (mut section_count, mut end) = (0, 0);
        let mut offsets = [0; MOST_TILES];
        for (index, offset) in offsets.iter_mut().enumerate() {
            let [image, row, column] = chunk.tile(index);
            let top = origin[0] + (row * grid.tile) as isize;
            if section_count == 0 || sections[section_count - 1].image != image {
                sections[section_count] = Section { image, top, rows: 0 };
                section_count += 1;
            }
            let section = &mut sections[section_count - 1];
            let rows = (top - section.top) as usize + grid.tile + overlap;
            end += rows - section.rows;
            section.rows = rows;
            *offset = ((end - grid.tile - overlap) * pitch + (column - columns.start) * grid.tile) as isize;
        }
        let left = origin[1] + (columns.start * grid.tile) as isize;
        Self { count: chunk.count, sections, section_count, left, rows: end, pitch, offsets }
    }

    /// Transforms the tiles of `N` × `N` pixels of all channels; the vector of tiles from `lane` on goes to
    /// `place(channel, lane)`.
    ///
    /// # Safety
    /// The images must be all of the stack and valid for reads, and `points` for writes of a vector at every place and point; the copy has
    /// [`Winograd::copy_len`] elements.
    #[inline(always)]
    pub(super) unsafe fn transform<T: Element, S: Simd<T>, const N: usize>(
        &self,
        simd: S,
        constants: &Constants<S::Vector>,
        images: Images<'_, T>,
        copied: &mut [T],
        points: Points<T>,
        place: impl Fn(usize, usize) -> usize,
    ) {
        let copied = copied[..self.rows * self.pitch].as_mut_ptr();
        for channel in 0..images.channels {
            // SAFETY: granted by the caller; the tiles lie in the copy, whose rows are a vector longer than they need.
            unsafe {
                let mut target = copied;
                for section in &self.sections[..self.section_count] {
                    self.copy(simd, images, *section, channel, target);
                    target = target.add(section.rows * self.pitch);
                }
                for lane in (0..self.count).step_by(S::LANES) {
                    let target = points.pointer.add(place(channel, lane));
                    self.transform_vector::<T, S, N>(simd, constants, copied, lane, target, points.point_pitch);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Self::transform`].
    #[inline(always)]
    unsafe fn copy<T: Element, S: Simd<T>>(
        &self,
        simd: S,
        images: Images<'_, T>,
        section: Section,
        channel: usize,
        copied: *mut T,
    ) {
        let [height, width] = images.size.map(|size| size as isize);
        let left = (-self.left).clamp(0, self.pitch as isize) as usize;
        let end = (width - self.left).clamp(left as isize, self.pitch as isize) as usize;
        for row in 0..section.rows {
            let y = section.top + row as isize;
            // SAFETY: only pixels of the image are read, and only `pitch` elements of a row are written.
            unsafe {
                let image = images.images.get_unchecked(section.image);
                let [channel_stride, row_stride, column_stride] = image.strides;
                let target = copied.add(row * self.pitch);
                if !(0..height).contains(&y) || left == end {
                    clear(target, self.pitch);
                    continue;
                }
                let x = self.left + left as isize;
                let offset = channel as isize * channel_stride + y * row_stride + x * column_stride;
                clear(target, left);
                copy(simd, image.pointer.wrapping_offset(offset), column_stride, target.add(left), end - left);
                clear(target.add(end), self.pitch - end);
            }
        }
    }

    /// # Safety
    /// As for [`Self::transform`], for the vector at `target`.
    #[inline(always)]
    unsafe fn transform_vector<T: Element, S: Simd<T>, const N: usize>(
        &self,
        simd: S,
        constants: &Constants<S::Vector>,
        copied: *const T,
        lane: usize,
        target: *mut T,
        point_pitch: usize,
    ) {
        let mut lanes = MaybeUninit::<[T; MAX_LANES * MAX_LANES]>::uninit();
        let lanes: *mut T = lanes.as_mut_ptr().cast();
        let mut rows = [[simd.splat(T::zero()); SIDE]; N];
        let mut values = [simd.splat(T::zero()); N];
        // SAFETY: granted by the caller; `lanes` has room for any vector of vectors, and for `SIDE` short ones.
        unsafe {
            for (i, row) in rows.iter_mut().enumerate() {
                for column in (0..N).step_by(S::LANES) {
                    let source = copied.add(i * self.pitch + column);
                    let offset = |index: usize| self.offsets[lane + index];
                    simd.transpose_ptr(source, offset, lanes.add(column * S::LANES), S::LANES);
                }
                for (j, value) in values.iter_mut().enumerate() {
                    *value = simd.load_ptr(lanes.add(j * S::LANES));
                }
                *row = constants.at_points(simd, values);
            }
            for j in 0..SIDE {
                for (value, row) in values.iter_mut().zip(&rows) {
                    *value = row[j];
                }
                let column = constants.at_points(simd, values);
                for (i, value) in column.into_iter().enumerate() {
                    simd.store_ptr(target.add((i * SIDE + j) * point_pitch), value);
                }
            }
        }
    }
}
