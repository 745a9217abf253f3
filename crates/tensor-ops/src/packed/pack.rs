//! Packing: rows and columns of a matrix, in runs, into panels.

#![expect(unsafe_code, reason = "blocks are copied by pointer, at strides the compiler does not know")]

use std::mem::MaybeUninit;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::buffer::for_writing;
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
        let (firsts, has_gaps) = (firsts(columns), has_gaps(rows, columns) || !column_count.is_multiple_of(width));
        let pack = |(index, panel): (usize, &mut [MaybeUninit<T>])| {
            if has_gaps {
                panel.fill(MaybeUninit::new(T::zero()));
            }
            pack_panel(isa, source, rows, columns, &firsts, index * width, width, panel);
        };
        let write = |target: &mut [MaybeUninit<T>]| {
            if target.len() < LEAST_ELEMENTS {
                target.chunks_exact_mut(panel_length).enumerate().for_each(pack);
            } else {
                target.par_chunks_exact_mut(panel_length).enumerate().for_each(pack);
            }
        };
        // SAFETY: without gaps, the rows and columns of the source cover every panel; with gaps, zeros do.
        let panels = unsafe { AlignedBuffer::written(column_count.div_ceil(width) * panel_length, write) };
        Ok(Self { panels, depth, columns: column_count, width, isa })
    }
}

/// C = start + A·B for a matrix B that is used once: as [`PackedMatrix::from_runs`] followed by
/// [`PackedMatrix::multiply`], bit for bit, but B is packed a few panels at a time, to memory that stays in the cache.
///
/// It pays where `a` has few rows: with many, packing all of B costs less than reading A anew for every few panels.
///
/// # Errors
/// As [`PackedMatrix::from_runs`] and [`PackedMatrix::multiply`].
pub fn multiply_unpacked<T: Element>(
    isa: Isa,
    a: ArrayView2<'_, T>,
    source: ArrayView2<'_, T>,
    rows: &[Run],
    columns: &[Run],
    start: ProductStart<'_, T>,
    c: ArrayViewMut2<'_, T>,
) -> Result<(), TensorError> {
    let (depth, column_count) = packed_shape(source, rows, columns)?;
    check_operands(depth, column_count, &a, start, &c)?;
    if a.nrows() == 0 {
        return Ok(());
    }
    let (_, width) = lanes_and_width::<T>(isa);
    let once = Once { isa, a, source, rows, columns, firsts: &firsts(columns), depth, width };
    once.parts(start, c, 0, parts(once.a.nrows(), depth, column_count));
    Ok(())
}

/// Bytes of the panels that are packed at a time where a matrix is used once: half of a second-level cache of 512 KiB.
const BYTES_AT_ONCE: usize = 256 * 1024;

/// A product with a matrix that is used once.
struct Once<'a, T> {
    isa: Isa,
    a: ArrayView2<'a, T>,
    source: ArrayView2<'a, T>,
    rows: &'a [Run],
    columns: &'a [Run],
    firsts: &'a [usize],
    depth: usize,
    width: usize,
}

impl<T: Element> Once<'_, T> {
    /// Computes the packed columns from `first`, which are those of `c`, in `parts` parts.
    fn parts(&self, start: ProductStart<'_, T>, c: ArrayViewMut2<'_, T>, first: usize, parts: usize) {
        let panels = c.ncols().div_ceil(self.width);
        if parts > 1 && panels > 1 {
            let columns = (panels * (parts / 2) / parts).max(1) * self.width;
            let (left, right) = c.split_at(Axis(1), columns);
            let (start_left, start_right) = start.split_at(columns);
            rayon::join(
                || self.parts(start_left, left, first, parts / 2),
                || self.parts(start_right, right, first + columns, parts - parts / 2),
            );
        } else {
            self.part(start, c, first);
        }
    }

    /// Computes the packed columns from `first`, which are those of `c`.
    fn part(&self, mut start: ProductStart<'_, T>, mut c: ArrayViewMut2<'_, T>, mut first: usize) {
        let panel_length = self.depth * self.width;
        let most = (BYTES_AT_ONCE / (panel_length * size_of::<T>())).max(1);
        let at_once = most.min(c.ncols().div_ceil(self.width));
        let has_gaps = has_gaps(self.rows, self.columns);
        let mut matrix = PackedMatrix {
            panels: AlignedBuffer::zeros(at_once * panel_length),
            depth: self.depth,
            columns: at_once * self.width,
            width: self.width,
            isa: self.isa,
        };
        while c.ncols() > 0 {
            let columns = c.ncols().min(at_once * self.width);
            let panels = columns.div_ceil(self.width);
            let (now, rest) = c.split_at(Axis(1), columns);
            let (start_now, start_rest) = start.split_at(columns);
            let target = &mut matrix.panels.as_mut_slice()[..panels * panel_length];
            if has_gaps {
                target.fill(T::zero());
            }
            for (panel, target) in target.chunks_exact_mut(panel_length).enumerate() {
                let first = first + panel * self.width;
                let target = for_writing(target);
                pack_panel(self.isa, self.source, self.rows, self.columns, self.firsts, first, self.width, target);
            }
            let now = view_for_writing(now);
            let product = Product { matrix: &matrix, a: self.a, start: start_now, c: now, panels: 0..panels };
            T::run_product(self.isa, product);
            (c, start, first) = (rest, start_rest, first + columns);
        }
    }
}

/// The depth and the columns of the packed matrix, after the checks of its runs.
fn packed_shape<T: Element>(
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

/// The packed position of the first entry of every run.
fn firsts(runs: &[Run]) -> Vec<usize> {
    let mut position = 0;
    runs.iter()
        .map(|run| {
            position += run.padded;
            position - run.padded
        })
        .collect()
}

/// Whether zeros stand between the packed rows or columns.
fn has_gaps(rows: &[Run], columns: &[Run]) -> bool {
    rows.iter().chain(columns).any(|run| run.length < run.padded)
}

/// Fills the panel of the packed columns `first_column..first_column + width`; gaps keep what they hold.
fn pack_panel<T: Element>(
    isa: Isa,
    source: ArrayView2<'_, T>,
    rows: &[Run],
    columns: &[Run],
    firsts: &[usize],
    first_column: usize,
    width: usize,
    panel: &mut [MaybeUninit<T>],
) {
    let first_run = firsts.partition_point(|&first| first <= first_column).saturating_sub(1);
    for (run, &first) in columns.iter().zip(firsts).skip(first_run) {
        if first >= first_column + width {
            break;
        }
        // The part of the run that lies in this panel.
        let skipped = first_column.saturating_sub(first);
        let in_panel = (first + skipped) - first_column;
        let count = run.length.saturating_sub(skipped).min(width - in_panel);
        if count == 0 {
            continue;
        }
        let mut k = 0;
        for rows in rows {
            let block = source.slice(ndarray::s![
                rows.start..rows.start + rows.length,
                run.start + skipped..run.start + skipped + count
            ]);
            copy_block(isa, block, &mut panel[k * width + in_panel..], width);
            k += rows.padded;
        }
    }
}

/// Copies `block` to rows `width` apart.
fn copy_block<T: Element>(isa: Isa, block: ArrayView2<'_, T>, target: &mut [MaybeUninit<T>], width: usize) {
    let (rows, columns) = block.dim();
    if rows == 0 {
        return;
    }
    assert!(target.len() >= (rows - 1) * width + columns, "the block fits into the panel");
    T::run_copy(isa, BlockCopy { block, target: target.as_mut_ptr().cast(), width });
}

/// A copy of `block` to rows `width` apart; [`copy_block`] vouches for the room.
pub(crate) struct BlockCopy<'a, T> {
    block: ArrayView2<'a, T>,
    target: *mut T,
    width: usize,
}

/// How far ahead, in bytes, columns are fetched that are read side by side.
const FETCHED_AHEAD: usize = 512;
/// How many rows ahead a row is fetched, of which a panel has a line or two.
const FETCHED_ROWS: isize = 16;

impl<T: Element> Kernel<T> for BlockCopy<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { block, target, width } = self;
        let (rows, columns) = block.dim();
        let (row_stride, column_stride) = (block.strides()[0], block.strides()[1]);
        let source = block.as_ptr();
        // SAFETY: the source offsets are those of elements of `block`; the room of the target was checked.
        unsafe {
            if column_stride == 1 {
                let whole_columns = columns / S::LANES * S::LANES;
                for row in 0..rows {
                    let (source, target) = (source.offset(row as isize * row_stride), target.add(row * width));
                    simd.prefetch(source.wrapping_offset(FETCHED_ROWS * row_stride));
                    for column in (0..whole_columns).step_by(S::LANES) {
                        simd.store_ptr(target.add(column), simd.load_ptr(source.add(column)));
                    }
                    for column in whole_columns..columns {
                        target.add(column).write(source.add(column).read());
                    }
                }
                return;
            }
            // Whole lines of the source at a time.
            let line = LINE_BYTES / size_of::<T>();
            let whole_columns = if row_stride == 1 { columns / S::LANES * S::LANES } else { 0 };
            let whole_rows = if row_stride == 1 { rows / line * line } else { 0 };
            let offset = |column: usize| column as isize * column_stride;
            for row in (0..whole_rows).step_by(line) {
                for column in (0..whole_columns).step_by(S::LANES) {
                    let source = source.add(row).offset(offset(column));
                    for lane in 0..S::LANES {
                        simd.prefetch(
                            source.wrapping_offset(offset(lane)).wrapping_add(FETCHED_AHEAD / size_of::<T>()),
                        );
                    }
                    for k in (0..line).step_by(S::LANES) {
                        simd.transpose_ptr(source.add(k), offset, target.add((row + k) * width + column), width);
                    }
                }
            }
            for row in 0..rows {
                let first = if row < whole_rows { whole_columns } else { 0 };
                for column in first..columns {
                    let source = source.offset(row as isize * row_stride + offset(column));
                    target.add(row * width + column).write(source.read());
                }
            }
        }
    }
}
