//! Packing: rows and columns of a matrix, in runs, into panels.

#![expect(unsafe_code, reason = "blocks are copied by pointer, at strides the compiler does not know")]

use std::mem::MaybeUninit;

use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::*;
use crate::simd::LINE_BYTES;

/// Consecutive rows or columns of a source matrix, followed by zeros.
///
/// A list of runs says in which order the rows or columns of the source are packed, and where zeros stand between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first row or column of the source.
    pub start: usize,
    /// The number of rows or columns taken from the source.
    pub length: usize,
    /// The number of rows or columns that they take up in the packed matrix; at least `length`.
    pub padded: usize,
}

impl Run {
    /// All of an axis of size `length`.
    pub fn whole(length: usize) -> Self {
        Self { start: 0, length, padded: length }
    }

    /// The runs that take the packed rows or columns of `runs` back, without the zeros between them.
    ///
    /// ```
    /// use tensor_ops::Run;
    ///
    /// let runs = [Run { start: 7, length: 3, padded: 4 }, Run::whole(2)];
    /// assert_eq!(Run::unpadded(&runs), [Run::whole(3), Run { start: 4, length: 2, padded: 2 }]);
    /// ```
    pub fn unpadded(runs: &[Self]) -> Vec<Self> {
        let mut end = 0;
        runs.iter()
            .map(|run| {
                end += run.padded;
                Self { start: end - run.padded, length: run.length, padded: run.length }
            })
            .collect()
    }
}

/// Elements below which one thread packs.
const LEAST_ELEMENTS: usize = 1 << 16;

impl<T: Element> PackedMatrix<T> {
    /// Packs the rows and columns of `source` that the runs name, in their order, with zeros between them.
    ///
    /// # Errors
    /// [`TensorError::EmptyAxis`] if there are no rows or no columns, [`TensorError::IndexOutOfRange`] if a run reaches
    /// beyond the source, [`TensorError::InvalidOption`] if a run is longer than its padded length.
    pub fn from_runs(isa: Isa, source: ArrayView2<'_, T>, rows: &[Run], columns: &[Run]) -> Result<Self, TensorError> {
        let (depth, column_count) = packed_shape(source, rows, columns)?;
        let (_, width) = lanes_and_width::<T>(isa);
        let panel_length = depth * width;
        let panel_count = column_count.div_ceil(width);
        let together = panels_together(source, panel_count);
        let has_gaps = has_gaps(rows, columns) || !column_count.is_multiple_of(width);
        let pack = |(index, panels): (usize, &mut [MaybeUninit<T>])| {
            if has_gaps {
                panels.fill(MaybeUninit::new(T::zero()));
            }
            let first = index * together * width;
            let columns = part_of(columns, first..first + together * width);
            pack_panels(isa, source, rows, &columns, width, panels);
        };
        let write = |target: &mut [MaybeUninit<T>]| {
            if target.len() < LEAST_ELEMENTS {
                target.chunks_mut(together * panel_length).enumerate().for_each(pack);
            } else {
                target.par_chunks_mut(together * panel_length).enumerate().for_each(pack);
            }
        };
        // SAFETY: without gaps, the rows and columns of the source cover every panel; with gaps, zeros do.
        let panels = unsafe { AlignedBuffer::written(panel_count * panel_length, write) };
        Ok(Self { panels, depth, columns: column_count, width, isa })
    }
}

/// The depth and the columns of the packed matrix, after the checks of its runs.
pub(super) fn packed_shape<T: Element>(
    source: ArrayView2<'_, T>,
    rows: &[Run],
    columns: &[Run],
) -> Result<(usize, usize), TensorError> {
    check_runs("row", rows, source.nrows())?;
    check_runs("column", columns, source.ncols())?;
    let depth = rows.iter().map(|run| run.padded).sum::<usize>();
    let column_count = columns.iter().map(|run| run.padded).sum::<usize>();
    check_not_empty("PackedMatrix", "rows", depth)?;
    check_not_empty("PackedMatrix", "columns", column_count)?;
    Ok((depth, column_count))
}

fn check_runs(index: &'static str, runs: &[Run], end: usize) -> Result<(), TensorError> {
    for (item, run) in runs.iter().enumerate() {
        if run.length > end || run.start > end - run.length {
            let found = run.start.saturating_add(run.length).saturating_sub(1);
            return Err(TensorError::IndexOutOfRange { operation: "PackedMatrix", index, item, found, end });
        }
        if run.length > run.padded {
            return Err(TensorError::InvalidOption {
                operation: "PackedMatrix",
                option: "padded",
                requirement: "at least the length of its run",
                found: run.padded.to_string(),
            });
        }
    }
    Ok(())
}

/// The part of `runs` that takes up the packed rows or columns of `range`.
pub(super) fn part_of(runs: &[Run], range: Range<usize>) -> Vec<Run> {
    let mut first = 0;
    let mut part = Vec::new();
    for run in runs {
        let (start, end) = (first.max(range.start), (first + run.padded).min(range.end));
        if start < end {
            let skipped = (start - first).min(run.length);
            let length = (run.length - skipped).min(end - start);
            part.push(Run { start: run.start + skipped, length, padded: end - start });
        }
        first += run.padded;
        if first >= range.end {
            break;
        }
    }
    part
}

/// Whether zeros stand between the packed rows or columns.
pub(super) fn has_gaps(rows: &[Run], columns: &[Run]) -> bool {
    rows.iter().chain(columns).any(|run| run.length < run.padded)
}

/// Panels that are packed together: their parts of a row are read as one where they lie side by side.
const MOST_TOGETHER: usize = 8;

/// How many of `panels` are packed together, so that every thread finds some.
fn panels_together<T>(source: ArrayView2<'_, T>, panels: usize) -> usize {
    if source.strides()[1] == 1 { (panels / (2 * rayon::current_num_threads())).clamp(1, MOST_TOGETHER) } else { 1 }
}

/// Fills panels with the rows and columns that the runs name; gaps keep what they hold.
pub(super) fn pack_panels<T: Element>(
    isa: Isa,
    source: ArrayView2<'_, T>,
    rows: &[Run],
    columns: &[Run],
    width: usize,
    panels: &mut [MaybeUninit<T>],
) {
    let panel_length = rows.iter().map(|run| run.padded).sum::<usize>() * width;
    let mut column = 0;
    for run in columns {
        let mut row = 0;
        for rows in rows {
            let block = source.slice(s![rows.start..rows.start + rows.length, run.start..run.start + run.length]);
            copy_block(isa, block, panels, [width, panel_length], [row, column]);
            row += rows.padded;
        }
        column += run.padded;
    }
}

/// Copies `block` to the panels, from a row and a column of theirs on.
fn copy_block<T: Element>(
    isa: Isa,
    block: ArrayView2<'_, T>,
    panels: &mut [MaybeUninit<T>],
    [width, panel_length]: [usize; 2],
    [row, column]: [usize; 2],
) {
    let (rows, columns) = block.dim();
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((row + rows) * width <= panel_length, "the rows fit into a panel");
    assert!((column + columns).div_ceil(width) * panel_length <= panels.len(), "the columns fit into the panels");
    let target = panels[column / width * panel_length + row * width..].as_mut_ptr().cast();
    T::run_copy(isa, BlockCopy { block, target, place: column % width, width, panel_length });
}

/// A copy of `block` to rows `width` apart, from `place` in the first of them on, and on to further panels of such rows. Who
/// makes it vouches for the room.
pub(crate) struct BlockCopy<'a, T> {
    pub(super) block: ArrayView2<'a, T>,
    /// The first row of the first panel.
    pub(super) target: *mut T,
    pub(super) place: usize,
    pub(super) width: usize,
    pub(super) panel_length: usize,
}

/// How far ahead, in bytes, columns are fetched that are read side by side.
const FETCHED_AHEAD: usize = 512;
/// How many rows ahead rows are fetched.
const FETCHED_ROWS: isize = 16;

impl<T: Element> Kernel<T> for BlockCopy<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let (rows, columns) = self.block.dim();
        // SAFETY: the offsets are those of elements of the block; whoever made this vouches for the room.
        unsafe {
            if self.block.strides()[1] == 1 {
                for row in 0..rows {
                    self.copy_row(simd, row);
                }
                return;
            }
            let (mut first, mut place, mut target) = (0, self.place, self.target);
            while first < columns {
                let count = (self.width - place).min(columns - first);
                self.copy_columns(simd, first..first + count, target.add(place));
                first += count;
                place = 0;
                target = target.wrapping_add(self.panel_length);
            }
        }
    }
}

impl<T: Element> BlockCopy<'_, T> {
    /// Copies a row whose elements lie side by side.
    ///
    /// # Safety
    /// There must be room for it.
    #[inline(always)]
    unsafe fn copy_row<S: Simd<T>>(&self, simd: S, row: usize) {
        let (columns, row_stride) = (self.block.ncols(), self.block.strides()[0]);
        let source = self.block.as_ptr().wrapping_offset(row as isize * row_stride);
        for column in (0..columns).step_by(LINE_BYTES / size_of::<T>()) {
            simd.prefetch(source.wrapping_offset(FETCHED_ROWS * row_stride).wrapping_add(column));
        }
        let (mut first, mut place) = (0, self.place);
        let mut target = self.target.wrapping_add(row * self.width);
        while first < columns {
            let count = (self.width - place).min(columns - first);
            let whole = count / S::LANES * S::LANES;
            // SAFETY: these columns lie in the block; the caller grants the room.
            unsafe {
                let (source, target) = (source.add(first), target.add(place));
                for column in (0..whole).step_by(S::LANES) {
                    simd.store_ptr(target.add(column), simd.load_ptr(source.add(column)));
                }
                for column in whole..count {
                    target.add(column).write(source.add(column).read());
                }
            }
            first += count;
            place = 0;
            target = target.wrapping_add(self.panel_length);
        }
    }

    /// Copies the `columns`, whose elements do not lie side by side, to rows from `target` on.
    ///
    /// # Safety
    /// There must be room for them.
    #[inline(always)]
    unsafe fn copy_columns<S: Simd<T>>(&self, simd: S, columns: Range<usize>, target: *mut T) {
        let (rows, [row_stride, column_stride]) = (self.block.nrows(), [0, 1].map(|axis| self.block.strides()[axis]));
        let offset = |column: usize| column as isize * column_stride;
        let source = self.block.as_ptr().wrapping_offset(offset(columns.start));
        let columns = columns.len();
        // Blocks of whole vectors, whole lines of the source at a time where it has them.
        let is_by_columns = row_stride == 1;
        let whole_columns = if is_by_columns { columns / S::LANES * S::LANES } else { 0 };
        let whole_rows = if is_by_columns { rows / S::LANES * S::LANES } else { 0 };
        let line = LINE_BYTES / size_of::<T>();
        // SAFETY: the offsets are those of elements of the block; the caller grants the room.
        unsafe {
            for row in (0..whole_rows).step_by(line) {
                for column in (0..whole_columns).step_by(S::LANES) {
                    let source = source.add(row).offset(offset(column));
                    for lane in 0..S::LANES {
                        simd.prefetch(
                            source.wrapping_offset(offset(lane)).wrapping_add(FETCHED_AHEAD / size_of::<T>()),
                        );
                    }
                    for k in (0..line.min(whole_rows - row)).step_by(S::LANES) {
                        simd.transpose_ptr(
                            source.add(k),
                            offset,
                            target.add((row + k) * self.width + column),
                            self.width,
                        );
                    }
                }
            }
            for row in 0..rows {
                let first = if row < whole_rows { whole_columns } else { 0 };
                for column in first..columns {
                    let source = source.offset(row as isize * row_stride + offset(column));
                    target.add(row * self.width + column).write(source.read());
                }
            }
        }
    }
}
