//! Where the pixels of a band lie: in the buffer, or in the source itself.

use super::MAX_LANES;
use super::taps::{Taps, span};

/// A cache line and its page of colours: channels whose distance is a multiple of the page compete for few lines of L1.
const LINE_BYTES: usize = 64;
const PAGE_BYTES: usize = 4096;

/// A vector of neighbouring output positions in one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Where the first lane's pixel of offset 0 lies.
    pub(super) source: isize,
    /// The output row, counted from the start of the band.
    pub(super) row: usize,
    /// The output column of the first valid lane.
    pub(super) column: usize,
    /// The valid lanes.
    pub(super) first: usize,
    pub(super) count: usize,
}

/// The layout of the buffer: `[channel, source row, phase, column / stride]`.
///
/// Phase `p` holds the source columns `j · stride + p + least column offset` at `j`.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The phases in use, ascending.
    pub(super) phases: Vec<usize>,
    /// Columns of a phase that hold pixels or padding that some valid position meets.
    pub(super) used_width: usize,
    /// Columns of a phase: whole vectors at every offset.
    pub(super) width: usize,
    pub(super) row_pitch: usize,
    pub(super) channel_pitch: usize,
    /// Which source rows are met, by row modulo the stride.
    pub(super) row_used: Vec<bool>,
    /// Where the pixel of a channel of a block and a tap lies, from the slot.
    pub(super) offsets: Vec<isize>,
    /// The vectors of a band, row by row.
    pub(super) slots: Vec<Slot>,
    pub(super) buffer_len: usize,
}

impl Layout {
    pub(super) fn new(taps: &Taps, block_channels: usize, band_rows: usize, lanes: usize, element: usize) -> Self {
        let [stride_y, stride_x] = taps.stride;
        let row_least = taps.rows.iter().min().copied().unwrap_or(0);
        let column_least = taps.columns.iter().min().copied().unwrap_or(0);
        let phases = phases(taps);
        let shift = span(&taps.columns) / stride_x;
        let width = taps.output[1].next_multiple_of(lanes) + shift;
        let row_pitch = phases.len() * width;
        let line = LINE_BYTES / element;
        let lines = (taps.source_rows(band_rows) * row_pitch).div_ceil(line);
        let channel_pitch = (lines | 1) * line;

        let mut row_used = vec![false; stride_y];
        for &row in &taps.rows {
            row_used[(row - row_least) as usize % stride_y] = true;
        }
        let mut offsets = Vec::with_capacity(block_channels * taps.count());
        for channel in 0..block_channels {
            for &row in &taps.rows {
                for &column in &taps.columns {
                    let row = (row - row_least) as usize;
                    let column = (column - column_least) as usize;
                    let phase = phases.iter().position(|&p| p == column % stride_x).unwrap_or(0);
                    let in_row = phase * width + column / stride_x;
                    offsets.push((channel * channel_pitch + row * row_pitch + in_row) as isize);
                }
            }
        }
        let mut slots = Vec::new();
        for row in 0..band_rows.min(taps.output[0]) {
            for column in (0..taps.output[1]).step_by(lanes) {
                let source = (row * stride_y * row_pitch + column) as isize;
                slots.push(Slot { source, row, column, first: 0, count: lanes.min(taps.output[1] - column) });
            }
        }
        let buffer_len = block_channels * channel_pitch + MAX_LANES;
        let used_width = taps.output[1] + shift;
        Self { phases, used_width, width, row_pitch, channel_pitch, row_used, offsets, slots, buffer_len }
    }

    /// The elements of one source row in the buffer.
    pub(super) fn row_pitch(taps: &Taps, lanes: usize) -> usize {
        phases(taps).len() * (taps.output[1].next_multiple_of(lanes) + span(&taps.columns) / taps.stride[1])
    }
}

/// The remainders of the column offsets, from the least offset, modulo the stride.
fn phases(taps: &Taps) -> Vec<usize> {
    let least = taps.columns.iter().min().copied().unwrap_or(0);
    let mut phases: Vec<_> = taps.columns.iter().map(|c| (c - least) as usize % taps.stride[1]).collect();
    phases.sort_unstable();
    phases.dedup();
    phases
}

/// Offsets and vectors for a source that is read in place: no padding, no gaps between columns.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    pub(super) strides: [isize; 3],
    pub(super) offsets: Vec<isize>,
    pub(super) slots: Vec<Slot>,
}

impl Direct {
    /// `None` where the source must go through the buffer.
    pub(super) fn new(
        taps: &Taps,
        block_channels: usize,
        band_rows: usize,
        lanes: usize,
        strides: &[isize],
        element: usize,
    ) -> Option<Self> {
        let [channel_stride, row_stride, column_stride] = *strides else { return None };
        let [output_height, output_width] = taps.output;
        let inside = |offsets: &[isize], axis: usize| {
            let last = (taps.output[axis].checked_sub(1)? * taps.stride[axis]) as isize;
            let (least, greatest) = (offsets.iter().min()?, offsets.iter().max()?);
            (*least >= 0 && last + greatest < taps.source[axis] as isize).then_some(())
        };
        inside(&taps.rows, 0)?;
        inside(&taps.columns, 1)?;
        let competing = block_channels > 8 && (channel_stride.unsigned_abs() * element).is_multiple_of(PAGE_BYTES / 2);
        if taps.stride[1] != 1 || column_stride != 1 || output_width < lanes || competing {
            return None;
        }
        let mut offsets = Vec::with_capacity(block_channels * taps.count());
        for channel in 0..block_channels as isize {
            for &row in &taps.rows {
                offsets.extend(taps.columns.iter().map(|c| channel * channel_stride + row * row_stride + c));
            }
        }
        let mut slots = Vec::new();
        for row in 0..band_rows.min(output_height) {
            for column in (0..output_width).step_by(lanes) {
                // The last vector of a row starts early enough to end with the row.
                let start = column.min(output_width - lanes);
                let source = (row * taps.stride[0]) as isize * row_stride + start as isize;
                let first = column - start;
                slots.push(Slot { source, row, column, first, count: lanes - first });
            }
        }
        Some(Self { strides: [channel_stride, row_stride, column_stride], offsets, slots })
    }
}
