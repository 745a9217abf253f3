//! Clips of different lengths: their steps one after another without padding, or as padded sequences.

use ndarray::{Array2, Array3, Array4, Array5, ArrayView2, ArrayView3, ArrayView4, ArrayView5, Axis, s};
use tensor_ops::{Element, TensorError, check_axis, check_not_empty};

/// The maps of the steps of all clips, and which steps belong to which clip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps<'a, T> {
    /// `[steps of all clips, channels, height, width]`, clip after clip.
    pub(super) maps: ArrayView4<'a, T>,
    /// The number of steps of each clip.
    pub(super) lengths: &'a [usize],
}

impl<T: Element> Steps<'_, T> {
    /// `[clips, time, channels, height, width]`, with zeros behind the shorter clips.
    pub(super) fn sequences(&self) -> Array5<T> {
        let (_, channels, height, width) = self.maps.dim();
        let mut sequences = Array5::zeros((self.lengths.len(), longest(self.lengths), channels, height, width));
        let mut start = 0;
        for (mut sequence, &length) in sequences.outer_iter_mut().zip(self.lengths) {
            let steps = self.maps.slice(s![start..start + length, .., .., ..]);
            sequence.slice_mut(s![..length, .., .., ..]).assign(&steps);
            start += length;
        }
        sequences
    }
}

/// The reverse of [`Steps::sequences`]; what stands behind the shorter clips is left out.
pub(super) fn from_map_sequences<T: Element>(sequences: ArrayView5<'_, T>, lengths: &[usize]) -> Array4<T> {
    let (_, _, channels, height, width) = sequences.dim();
    let mut steps = Array4::zeros((lengths.iter().sum(), channels, height, width));
    let mut start = 0;
    for (sequence, &length) in sequences.outer_iter().zip(lengths) {
        let valid = sequence.slice(s![..length, .., .., ..]);
        steps.slice_mut(s![start..start + length, .., .., ..]).assign(&valid);
        start += length;
    }
    steps
}

/// `[steps of all clips, features]` as `[clips, time, features]`, with zeros behind the shorter clips.
pub(super) fn to_sequences<T: Element>(steps: ArrayView2<'_, T>, lengths: &[usize]) -> Array3<T> {
    let mut sequences = Array3::zeros((lengths.len(), longest(lengths), steps.ncols()));
    let mut start = 0;
    for (mut sequence, &length) in sequences.outer_iter_mut().zip(lengths) {
        sequence.slice_mut(s![..length, ..]).assign(&steps.slice(s![start..start + length, ..]));
        start += length;
    }
    sequences
}

/// The reverse of [`to_sequences`]; what stands behind the shorter clips is left out.
pub(super) fn from_sequences<T: Element>(sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Array2<T> {
    let mut steps = Array2::zeros((lengths.iter().sum(), sequences.len_of(Axis(2))));
    let mut start = 0;
    for (sequence, &length) in sequences.outer_iter().zip(lengths) {
        steps.slice_mut(s![start..start + length, ..]).assign(&sequence.slice(s![..length, ..]));
        start += length;
    }
    steps
}

/// Checks that there are clips, that each has steps, and that they are the steps given.
pub(super) fn check_steps(operation: &'static str, steps: usize, lengths: &[usize]) -> Result<(), TensorError> {
    check_not_empty(operation, "clips", lengths.len())?;
    if let Some(item) = lengths.iter().position(|&length| length == 0) {
        return Err(TensorError::SequenceLength { operation, item, found: 0, max: steps });
    }
    let total = lengths.iter().fold(0, |sum: usize, &length| sum.saturating_add(length));
    check_axis(operation, "steps of all clips", total, steps)
}

fn longest(lengths: &[usize]) -> usize {
    lengths.iter().copied().max().unwrap_or(0)
}
