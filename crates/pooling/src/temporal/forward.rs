//! The forward pass: one row of features for each window.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayViewMut2, ArrayViewMut3, Axis};
use rayon::prelude::*;
use tensor_ops::{Element, with_scratch};

use super::{Clips, Reducer, Windows, kernels};
use crate::PoolingError;
use crate::error::{filled, zeros};

/// Features of a task: rows of maxima and their frames stay in the first-level cache, those of a window in the second.
const BLOCK: usize = 2048;

/// Features of a task where a window needs several rows.
const SMALL_BLOCK: usize = 512;

/// Values below which one thread does all.
pub(super) const PARALLEL_VALUES: usize = 1 << 16;

/// The features of a task.
pub(super) fn block(reducer: Reducer) -> usize {
    match reducer {
        Reducer::Max | Reducer::Mean | Reducer::Sum => BLOCK,
        Reducer::TopKMean(_) | Reducer::SoftmaxWeighted { .. } => SMALL_BLOCK,
    }
}

/// The frames of one clip, and the features of one task.
pub(super) struct Frames<'a, T> {
    pub(super) clip: &'a [T],
    pub(super) features: usize,
    pub(super) columns: Range<usize>,
}

impl<'a, T: Element> Frames<'a, T> {
    /// The features of frame `step`.
    pub(super) fn row(&self, step: usize) -> &'a [T] {
        &self.clip[step * self.features..][self.columns.clone()]
    }

    /// The features of frame `step`, or none where the clip ends before it.
    fn row_if_any(&self, step: usize) -> &'a [T] {
        if step < self.clip.len() / self.features { self.row(step) } else { &[] }
    }

    /// Copies the first frame of a window to `output`, and combines it with one after the other of the rest. The frame
    /// after each is fetched meanwhile.
    fn fold(&self, window: &Range<usize>, output: &mut [T], combine: impl Fn(&mut [T], &[T])) {
        for step in window.clone() {
            let is_first = step == window.start;
            kernels::while_fetching(self.row_if_any(step + 1), output, self.row(step), |output, values| {
                if is_first { output.copy_from_slice(values) } else { combine(output, values) }
            });
        }
    }

    /// The features of some frames.
    pub(super) fn rows(&self, steps: Range<usize>) -> impl Iterator<Item = &'a [T]> + Clone + '_ {
        steps.map(|step| self.row(step))
    }
}

/// Reduces the windows of `clips` to rows `[windows, features]`.
///
/// With `keep` the frames of the maximum or of the largest values, by falling value, come with it:
/// `[windows, ranks, features]`, 0 ranks for the other reducers.
pub(crate) fn reduce<T: Element>(
    operation: &'static str,
    reducer: Reducer,
    clips: &Clips<'_, T>,
    windows: &Windows,
    keep: bool,
) -> Result<(Array2<T>, Array3<u32>), PoolingError> {
    let (rows, features) = (windows.frames.len(), clips.features);
    let ranks = match reducer {
        Reducer::Max if keep => 1,
        Reducer::TopKMean(count) if keep => windows.frames.iter().map(Range::len).max().unwrap_or(1).min(count),
        _ => 0,
    };
    let mut output: Array2<T> = zeros(operation, "output", [rows, features])?;
    let mut steps: Array3<u32> = filled(operation, "frames of the largest values", [rows, ranks, features], 0)?;
    reduce_columns(reducer, clips, windows, 0..features, output.view_mut(), steps.view_mut());
    Ok((output, steps))
}

/// Reduces some features of the windows of `clips` to rows `[windows, features]` of contiguous values.
pub(crate) fn reduce_columns<T: Element>(
    reducer: Reducer,
    clips: &Clips<'_, T>,
    windows: &Windows,
    columns: Range<usize>,
    output: ArrayViewMut2<'_, T>,
    steps: ArrayViewMut3<'_, u32>,
) {
    let block = block(reducer);
    let mut tasks = Vec::with_capacity(clips.clips.len() * columns.len().div_ceil(block));
    let (mut rest, mut rest_steps) = (output, steps);
    for (clip, rows) in clips.clips.iter().zip(&windows.clips) {
        let (mut output, mut steps);
        (output, rest) = rest.split_at(Axis(0), rows.len());
        (steps, rest_steps) = rest_steps.split_at(Axis(0), rows.len());
        for first in columns.clone().step_by(block) {
            let columns = first..columns.end.min(first + block);
            let (output_block, steps_block);
            (output_block, output) = output.split_at(Axis(1), columns.len());
            (steps_block, steps) = steps.split_at(Axis(2), columns.len());
            let frames = Frames { clip, features: clips.features, columns };
            tasks.push((frames, &windows.frames[rows.clone()], output_block, steps_block));
        }
    }
    let run = |(frames, windows, output, steps): (Frames<'_, T>, &[Range<usize>], _, _)| {
        reduce_block(reducer, &frames, windows, output, steps);
    };
    if windows.values(columns.len()) < PARALLEL_VALUES {
        tasks.into_iter().for_each(run);
    } else {
        tasks.into_par_iter().for_each(run);
    }
}

/// Reduces the windows of a clip, a block of features wide.
fn reduce_block<T: Element>(
    reducer: Reducer,
    frames: &Frames<'_, T>,
    windows: &[Range<usize>],
    mut output: ArrayViewMut2<'_, T>,
    mut steps: ArrayViewMut3<'_, u32>,
) {
    let keep = !steps.is_empty();
    for ((output, mut steps), window) in output.rows_mut().into_iter().zip(steps.outer_iter_mut()).zip(windows) {
        let Some(output) = output.into_slice() else { continue };
        match reducer {
            Reducer::Max if keep => {
                let Some(steps) = steps.row_mut(0).into_slice() else { continue };
                output.copy_from_slice(frames.row(window.start));
                steps.fill(window.start as u32);
                for step in window.start + 1..window.end {
                    kernels::maximum_at(output, steps, frames.row(step), step as u32);
                }
            }
            Reducer::Max => {
                frames.fold(window, output, kernels::maximum);
            }
            Reducer::Mean | Reducer::Sum => {
                frames.fold(window, output, kernels::add);
                if reducer == Reducer::Mean {
                    kernels::divide(output, T::from_f64(window.len() as f64));
                }
            }
            Reducer::TopKMean(count) => {
                let (ranks, width) = (count.min(window.len()), output.len());
                let mut largest_steps = vec![0; (ranks + 1) * width];
                with_scratch((ranks + 1) * width, |scratch| {
                    for (seen, step) in window.clone().enumerate() {
                        let (values, largest) = scratch.split_at_mut(width);
                        let (carried, largest_steps) = largest_steps.split_at_mut(width);
                        values.copy_from_slice(frames.row(step));
                        carried.fill(step as u32);
                        kernels::insert(largest, largest_steps, seen, values, carried);
                    }
                    let largest = &scratch[width..];
                    output.copy_from_slice(&largest[..width]);
                    largest.chunks_exact(width).skip(1).for_each(|row| kernels::add(output, row));
                });
                kernels::divide(output, T::from_f64(ranks as f64));
                for (target, source) in steps.rows_mut().into_iter().zip(largest_steps.chunks_exact(width).skip(1)) {
                    target.into_iter().zip(source).for_each(|(target, &step)| *target = step);
                }
            }
            Reducer::SoftmaxWeighted { sharpness } => with_scratch(3 * output.len(), |scratch| {
                let mut softmax = kernels::Softmax::new(sharpness, frames.rows(window.clone()), scratch);
                frames.rows(window.clone()).for_each(|row| softmax.add_weighted(row, output));
            }),
        }
    }
}
