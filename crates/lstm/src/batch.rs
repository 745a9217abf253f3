//! Sequences of different lengths, packed without their padding.
//!
//! Sequences are sorted by falling length and cut into groups. The rows of a group lie together, step by step: at time t
//! those of the sequences that are longer than t, which are the group's first. A group is advanced by one task, and a
//! task needs no other group's rows.

use ndarray::{Array2, Array3, ArrayView1, ArrayView3, ArrayViewMut1, s};
use rayon::prelude::*;
use tensor_ops::{Element, GateLayout};

/// Sequences of a group, where a batch is cut into groups.
const GROUP: usize = 8;
/// Bytes of a recurrent matrix that a core keeps in its second-level cache; with more, all cores share one group and
/// each reads its part of the matrix.
const CACHED_BYTES: usize = 512 * 1024;
/// Elements below which one thread copies.
const LEAST_ELEMENTS: usize = 1 << 16;
/// Rows that a thread copies at a time.
const COPIED_ROWS: usize = 16;
/// Marks a time step beyond the length of its sequence.
const PADDING: usize = usize::MAX;

/// Where the time steps of a batch lie in packed arrays `[rows, …]`.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The sequences by falling length.
    pub(crate) order: Vec<usize>,
    /// The length of every sequence, in `order`.
    pub(crate) lengths: Vec<usize>,
    pub(crate) groups: Vec<Group>,
    /// The number of packed rows: the sum of all lengths.
    pub(crate) rows: usize,
    /// The time steps of the unpacked arrays.
    pub(crate) time: usize,
    /// Sequence and time of every packed row.
    sources: Vec<(usize, usize)>,
    /// The packed row of every sequence and time, or [`PADDING`].
    targets: Vec<usize>,
}

/// Sequences that are advanced together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The first sequence, as a position in [`Batch::order`].
    pub(crate) first: usize,
    /// The number of sequences.
    pub(crate) sequences: usize,
    /// The number of rows.
    pub(crate) rows: usize,
    /// For every time: the first row within the group.
    pub(crate) offsets: Vec<usize>,
    /// For every time: the number of sequences that have it.
    pub(crate) active: Vec<usize>,
}

impl Batch {
    /// The layout of `batch` sequences of the checked `lengths`, or of `time` steps each.
    pub(crate) fn new<T: Element>(batch: usize, time: usize, lengths: Option<&[usize]>, layout: &GateLayout) -> Self {
        let length = |sequence: usize| lengths.map_or(time, |lengths| lengths[sequence]);
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(length(sequence)));
        let lengths: Vec<usize> = order.iter().map(|&sequence| length(sequence)).collect();

        let matrix_bytes = layout.width() * layout.padded_units() * size_of::<T>();
        let count = if matrix_bytes <= CACHED_BYTES { (batch / GROUP).max(1) } else { 1 };
        let (mut first, mut rows) = (0, 0);
        let (mut groups, mut sources, mut targets) = (Vec::new(), Vec::new(), vec![PADDING; batch * time]);
        for index in 0..count {
            let sequences = batch / count + usize::from(index < batch % count);
            let lengths = &lengths[first..first + sequences];
            let mut group = Group { first, sequences, rows: 0, offsets: Vec::new(), active: Vec::new() };
            for t in 0..lengths[0] {
                let active = lengths.partition_point(|&length| length > t);
                group.offsets.push(group.rows);
                group.active.push(active);
                for &sequence in &order[first..first + active] {
                    targets[sequence * time + t] = rows + group.rows;
                    sources.push((sequence, t));
                    group.rows += 1;
                }
            }
            first += sequences;
            rows += group.rows;
            groups.push(group);
        }
        Self { order, lengths, groups, rows, time, sources, targets }
    }

    /// The packed row of a time step, if the sequence has it.
    pub(crate) fn row(&self, sequence: usize, time: usize) -> Option<usize> {
        Some(self.targets[sequence * self.time + time]).filter(|&row| row != PADDING)
    }

    /// Packs `[batch, time, parts · part]` to `[rows, parts · padded]`, with zeros after each part.
    pub(crate) fn pack<T: Element>(&self, values: ArrayView3<'_, T>, part: usize, padded: usize) -> Array2<T> {
        let parts = values.dim().2 / part;
        let mut packed = Array2::zeros((self.rows, parts * padded));
        let columns = packed.ncols();
        for_each_row(packed.as_slice_mut().expect("a new array"), columns, |row, target| {
            let (sequence, time) = self.sources[row];
            let source = values.slice(s![sequence, time, ..]);
            for (source, target) in source.exact_chunks(part).into_iter().zip(target.chunks_exact_mut(padded)) {
                copy(source, &mut target[..part]);
            }
        });
        packed
    }

    /// The inverse of [`Self::pack`]: zeros beyond the lengths.
    pub(crate) fn unpack<T: Element>(&self, packed: &Array2<T>, part: usize, padded: usize) -> Array3<T> {
        let parts = packed.ncols() / padded;
        let mut values = Array3::zeros((self.order.len(), self.time, parts * part));
        for_each_row(values.as_slice_mut().expect("a new array"), parts * part, |position, target| {
            let row = self.targets[position];
            if row != PADDING {
                let source = packed.row(row);
                for (source, target) in source.exact_chunks(padded).into_iter().zip(target.chunks_exact_mut(part)) {
                    copy(source.slice(s![..part]), target);
                }
            }
        });
        values
    }
}

impl Group {
    /// The times in the order in which a direction runs.
    pub(crate) fn times(&self, reverse: bool) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let last = self.active.len() - 1;
        (0..=last).map(move |step| if reverse { last - step } else { step })
    }

    /// The time that a direction runs before `time`.
    pub(crate) fn previous(&self, time: usize, reverse: bool) -> Option<usize> {
        if reverse { Some(time + 1).filter(|&time| time < self.active.len()) } else { time.checked_sub(1) }
    }

    /// The time that a direction runs after `time`.
    pub(crate) fn next(&self, time: usize, reverse: bool) -> Option<usize> {
        self.previous(time, !reverse)
    }

    /// The number of sequences that have both `time` and the other time; 0 if there is no other.
    pub(crate) fn linked(&self, time: usize, other: Option<usize>) -> usize {
        other.map_or(0, |other| self.active[time].min(self.active[other]))
    }
}

/// Calls `work` with the index and the values of every row, on threads if there are many values.
pub(crate) fn for_each_row<T: Element>(values: &mut [T], columns: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    if values.len() < LEAST_ELEMENTS {
        values.chunks_exact_mut(columns).enumerate().for_each(|(row, values)| work(row, values));
    } else {
        values.par_chunks_mut(COPIED_ROWS * columns).enumerate().for_each(|(block, values)| {
            for (row, values) in values.chunks_exact_mut(columns).enumerate() {
                work(block * COPIED_ROWS + row, values);
            }
        });
    }
}

fn copy<T: Element>(source: ArrayView1<'_, T>, target: &mut [T]) {
    match source.to_slice() {
        Some(source) => target.copy_from_slice(source),
        None => ArrayViewMut1::from(target).assign(&source),
    }
}
