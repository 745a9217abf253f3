//! Where the time steps of sequences of different lengths lie in arrays without padding.
//!
//! Two orders are used. *Frames* lie sequence by sequence: those of one sequence side by side, so that a window of keys is
//! one slice. *Steps* of a recurrence lie time by time, the sequences by falling length: the sequences that have time t are
//! the first rows of that time, so that a step works on a block of rows.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut2, CowArray, Ix2, s};
use rayon::prelude::*;
use tensor_ops::Element;

/// Values below which one thread copies.
const LEAST_COPIED: usize = 1 << 16;

/// The layout of a batch of sequences.
#[derive(Clone, Debug)]
pub(crate) struct Clips {
    /// The time steps of the padded arrays.
    pub(crate) time: usize,
    /// Of every sequence.
    pub(crate) lengths: Vec<usize>,
    /// The first frame of every sequence.
    pub(crate) starts: Vec<usize>,
    /// The frames, or steps, of all sequences.
    pub(crate) rows: usize,
    /// The sequences by falling length.
    pub(crate) order: Vec<usize>,
    /// For every time the number of sequences that have it.
    pub(crate) active: Vec<usize>,
    /// For every time the row of its first step.
    pub(crate) offsets: Vec<usize>,
}

impl Clips {
    /// The layout of `batch` sequences of the checked `lengths`, or of `time` steps each.
    pub(crate) fn new(batch: usize, time: usize, lengths: Option<&[usize]>) -> Self {
        let lengths = lengths.map_or_else(|| vec![time; batch], <[usize]>::to_vec);
        let mut rows = 0;
        let starts = lengths
            .iter()
            .map(|length| {
                rows += length;
                rows - length
            })
            .collect();
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(lengths[sequence]));
        let longest = order.first().map_or(0, |&sequence| lengths[sequence]);
        let active: Vec<usize> =
            (0..longest).map(|time| lengths.iter().filter(|&&length| length > time).count()).collect();
        let mut offset = 0;
        let offsets = active
            .iter()
            .map(|active| {
                offset += active;
                offset - active
            })
            .collect();
        Self { time, lengths, starts, rows, order, active, offsets }
    }

    pub(crate) fn batch(&self) -> usize {
        self.lengths.len()
    }

    fn is_padded(&self) -> bool {
        self.rows != self.batch() * self.time
    }

    /// The frames of `[batch, time, features]`, `[frames, features]`, without a copy where they lie so already.
    pub(crate) fn frames<'a, T: Element>(&self, values: ArrayView3<'a, T>) -> CowArray<'a, T, Ix2> {
        let features = values.dim().2;
        if !self.is_padded() && values.is_standard_layout() {
            return values.into_shape_with_order((self.rows, features)).expect("frames side by side").into();
        }
        let mut frames = Array2::zeros((self.rows, features));
        let parts = self.split(frames.as_slice_mut().expect("a new array"), features);
        let copy = |(sequence, part): (usize, &mut [T])| {
            let mut part = ArrayViewMut2::from_shape((self.lengths[sequence], features), part).expect("a part");
            part.assign(&values.slice(s![sequence, ..self.lengths[sequence], ..]));
        };
        if self.rows * features < LEAST_COPIED {
            parts.into_iter().enumerate().for_each(copy);
        } else {
            parts.into_par_iter().enumerate().for_each(copy);
        }
        frames.into()
    }

    /// `[frames, features]` as `[batch, time, features]`, with zeros beyond the lengths.
    pub(crate) fn pad<T: Element>(&self, frames: Array2<T>) -> Array3<T> {
        let features = frames.ncols();
        let shape = (self.batch(), self.time, features);
        if !self.is_padded() {
            return frames.into_shape_with_order(shape).expect("as many frames");
        }
        let mut padded = Array3::zeros(shape);
        for (sequence, (&start, &length)) in self.starts.iter().zip(&self.lengths).enumerate() {
            padded.slice_mut(s![sequence, ..length, ..]).assign(&frames.slice(s![start..start + length, ..]));
        }
        padded
    }

    /// The steps of `[batch, time, features]`, `[steps, columns]`, with zeros after the features.
    pub(crate) fn steps<T: Element>(&self, values: ArrayView3<'_, T>, columns: usize) -> Array2<T> {
        let mut steps = Array2::zeros((self.rows, columns));
        self.for_each_step(|sequence, time, row| {
            steps.slice_mut(s![row, ..values.dim().2]).assign(&values.slice(s![sequence, time, ..]));
        });
        steps
    }

    /// The first `features` columns of `[steps, columns]` as `[batch, time, features]`, with `fill` beyond the lengths.
    pub(crate) fn pad_steps<T: Element>(&self, steps: ArrayView2<'_, T>, features: usize, fill: T) -> Array3<T> {
        let mut padded = Array3::from_elem((self.batch(), self.time, features), fill);
        self.for_each_step(|sequence, time, row| {
            padded.slice_mut(s![sequence, time, ..]).assign(&steps.slice(s![row, ..features]));
        });
        padded
    }

    fn for_each_step(&self, mut work: impl FnMut(usize, usize, usize)) {
        for (time, (&active, &offset)) in self.active.iter().zip(&self.offsets).enumerate() {
            for (position, &sequence) in self.order[..active].iter().enumerate() {
                work(sequence, time, offset + position);
            }
        }
    }

    /// The row of the step of every frame.
    pub(crate) fn steps_of_frames(&self) -> Vec<usize> {
        let mut steps = vec![0; self.rows];
        self.for_each_step(|sequence, time, row| steps[self.starts[sequence] + time] = row);
        steps
    }

    /// The rows of the steps at `time`.
    pub(crate) fn step_rows(&self, time: usize) -> std::ops::Range<usize> {
        self.offsets[time]..self.offsets[time] + self.active[time]
    }

    /// The sequences that have a step after `time`.
    pub(crate) fn next_active(&self, time: usize) -> usize {
        self.active.get(time + 1).copied().unwrap_or(0)
    }

    /// Cuts `[frames, features]` into the sequences.
    pub(crate) fn split<'a, T>(&self, mut frames: &'a mut [T], features: usize) -> Vec<&'a mut [T]> {
        let mut parts = Vec::with_capacity(self.batch());
        for length in &self.lengths {
            let (part, rest) = frames.split_at_mut(length * features);
            parts.push(part);
            frames = rest;
        }
        parts
    }

    /// `[batch, features]` in the order of the steps, `[batch, columns]`, with zeros after the features.
    pub(crate) fn sorted<T: Element>(&self, values: Option<ArrayView2<'_, T>>, columns: usize) -> Array2<T> {
        let mut sorted = Array2::zeros((self.batch(), columns));
        if let Some(values) = values {
            for (position, &sequence) in self.order.iter().enumerate() {
                sorted.slice_mut(s![position, ..values.ncols()]).assign(&values.row(sequence));
            }
        }
        sorted
    }

    /// The inverse of [`Self::sorted`].
    pub(crate) fn unsorted<T: Element>(&self, sorted: ArrayView2<'_, T>, features: usize) -> Array2<T> {
        let mut values = Array2::zeros((self.batch(), features));
        for (position, &sequence) in self.order.iter().enumerate() {
            values.row_mut(sequence).assign(&sorted.slice(s![position, ..features]));
        }
        values
    }

    /// The rows of the last steps, `[batch, features]`.
    pub(crate) fn last<T: Element>(&self, steps: &Array2<T>, features: usize) -> Array2<T> {
        let mut last = Array2::zeros((self.batch(), features));
        for (position, &sequence) in self.order.iter().enumerate() {
            let row = self.offsets[self.lengths[sequence] - 1] + position;
            last.row_mut(sequence).assign(&steps.slice(s![row, ..features]));
        }
        last
    }

    /// The values of the step before every step: `initial` `[batch, columns]` before the first.
    pub(crate) fn before<T: Element>(&self, steps: &Array2<T>, initial: &Array2<T>) -> Array2<T> {
        let mut before = Array2::zeros(steps.dim());
        for time in 0..self.active.len() {
            let active = self.active[time];
            let source = match time.checked_sub(1) {
                Some(previous) => steps.slice(s![self.offsets[previous]..self.offsets[previous] + active, ..]),
                None => initial.slice(s![..active, ..]),
            };
            before.slice_mut(s![self.step_rows(time), ..]).assign(&source);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Axis;
    use tensor_ops::testing::seeded_array;

    #[test]
    fn frames_and_steps_and_back() {
        let values: Array3<f64> = seeded_array((4, 5, 3), 1);
        for lengths in [vec![5, 5, 5, 5], vec![2, 5, 1, 4]] {
            let clips = Clips::new(4, 5, Some(&lengths));
            let mut expected = values.clone();
            for (mut sequence, &length) in expected.axis_iter_mut(Axis(0)).zip(&lengths) {
                sequence.slice_mut(s![length.., ..]).fill(0.0);
            }
            assert_eq!(clips.pad(clips.frames(values.view()).into_owned()), expected);
            let steps = clips.steps(values.view(), 4);
            assert_eq!(clips.pad_steps(steps.view(), 3, 0.0), expected);
            for (sequence, &length) in lengths.iter().enumerate() {
                assert_eq!(clips.last(&steps, 3).row(sequence), values.slice(s![sequence, length - 1, ..]));
                assert_eq!(clips.frames(values.view()).row(clips.starts[sequence]), values.slice(s![sequence, 0, ..]));
            }
            let initial: Array2<f64> = seeded_array((4, 4), 2);
            let sorted = clips.sorted(Some(initial.view()), 4);
            assert_eq!(clips.unsorted(sorted.view(), 4), initial);
            let before = clips.pad_steps(clips.before(&steps, &sorted).view(), 4, 0.0);
            assert_eq!(before.slice(s![.., 0, ..]), initial);
            assert_eq!(before.slice(s![1, 1.., ..3]), values.slice(s![1, ..4, ..]));
        }
    }
}
