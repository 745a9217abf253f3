//! Packing: rows and columns of a matrix, in runs, into panels.

#![expect(unsafe_code, reason = "blocks are copied by pointer, at strides the compiler does not know")]

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::kernel::VECTORS;
use super::*;

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
/// Depth of the blocks in which a matrix with contiguous columns is packed: about a cache line of the source.
const DEPTH_STEP: usize = 16;

impl<T: Element> PackedMatrix<T> {
    /// Packs the rows and columns of `source` that the runs name, in their order, with zeros between them.
    ///
    /// # Errors
    /// [`TensorError::EmptyAxis`] if there are no rows or no columns, [`TensorError::IndexOutOfRange`] if a run reaches
    /// beyond the source, [`TensorError::InvalidOption`] if a run is longer than its padded length.
    pub fn from_runs(isa: Isa, source: ArrayView2<'_, T>, rows: &[Run], columns: &[Run]) -> Result<Self, TensorError> {
        check_runs("row", rows, source.nrows())?;
        check_runs("column", columns, source.ncols())?;
        let depth = rows.iter().map(|run| run.padded).sum::<usize>();
        let column_count = columns.iter().map(|run| run.padded).sum::<usize>();
        check_not_empty("PackedMatrix", "rows", depth)?;
        check_not_empty("PackedMatrix", "columns", column_count)?;

        let width = VECTORS * lanes::<T>(isa);
        let panel_length = depth * width;
        let mut panels = AlignedBuffer::zeros(column_count.div_ceil(width) * panel_length);
        let firsts = firsts(columns);
        let pack = |(index, panel): (usize, &mut [T])| {
            pack_panel(source, rows, columns, &firsts, index * width, width, panel);
        };
        let target = panels.as_mut_slice();
        if target.len() < LEAST_ELEMENTS {
            target.chunks_exact_mut(panel_length).enumerate().for_each(pack);
        } else {
            target.par_chunks_exact_mut(panel_length).enumerate().for_each(pack);
        }
        Ok(Self { panels, depth, columns: column_count, width, isa })
    }
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

/// Fills the panel of the packed columns `first_column..first_column + width`, which holds zeros.
fn pack_panel<T: Element>(
    source: ArrayView2<'_, T>,
    rows: &[Run],
    columns: &[Run],
    firsts: &[usize],
    first_column: usize,
    width: usize,
    panel: &mut [T],
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
            copy_block(block, &mut panel[k * width + in_panel..], width);
            k += rows.padded;
        }
    }
}

/// Copies `block` to rows `width` apart.
fn copy_block<T: Element>(block: ArrayView2<'_, T>, target: &mut [T], width: usize) {
    let (rows, columns) = block.dim();
    if rows == 0 {
        return;
    }
    assert!(target.len() >= (rows - 1) * width + columns, "the block fits into the panel");
    let (row_stride, column_stride) = (block.strides()[0], block.strides()[1]);
    let (source, target) = (block.as_ptr(), target.as_mut_ptr());
    // SAFETY: the source offsets are those of elements of `block`; the largest target offset was checked above.
    unsafe {
        if column_stride == 1 {
            for row in 0..rows {
                let source = source.offset(row as isize * row_stride);
                std::ptr::copy_nonoverlapping(source, target.add(row * width), columns);
            }
        } else {
            for row in (0..rows).step_by(DEPTH_STEP) {
                for column in 0..columns {
                    let source = source.offset(row as isize * row_stride + column as isize * column_stride);
                    let target = target.add(row * width + column);
                    for k in 0..DEPTH_STEP.min(rows - row) {
                        target.add(k * width).write(source.offset(k as isize * row_stride).read());
                    }
                }
            }
        }
    }
}
