//! The backward pass: from the gradients of the windows' rows to those of the frames.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Element, with_scratch};

use super::forward::{Frames, PARALLEL_VALUES, block};
use super::{Clips, Reducer, Windows, kernels};

/// What the reducers read of the forward pass.
pub(crate) struct Forward<'a, T: Element> {
    pub(crate) reducer: Reducer,
    pub(crate) windows: &'a Windows,
    /// The frames of the largest values, `[windows, ranks, features]`.
    pub(crate) steps: ArrayView3<'a, u32>,
    /// Input and output, for [`Reducer::SoftmaxWeighted`].
    pub(crate) values: Option<(&'a Clips<'a, T>, ArrayView2<'a, T>)>,
}

/// Writes the gradients of the frames to `targets`, one matrix `[at least the frames, features]` per clip, which hold zeros.
///
/// `grad_rows`: the gradients of the windows `[windows, features]`, rows in standard layout.
pub(crate) fn reduce_backward<T: Element>(
    forward: &Forward<'_, T>,
    grad_rows: ArrayView2<'_, T>,
    targets: Vec<ArrayViewMut2<'_, T>>,
) {
    let features = grad_rows.ncols();
    let block = block(forward.reducer);
    let mut tasks = Vec::new();
    for (clip, mut target) in targets.into_iter().enumerate() {
        for first in (0..features).step_by(block) {
            let columns = first..features.min(first + block);
            let (now, following) = target.split_at(Axis(1), columns.len());
            target = following;
            tasks.push((clip, columns, now));
        }
    }
    let run =
        |(clip, columns, target): (usize, Range<usize>, _)| backward_block(forward, clip, columns, grad_rows, target);
    if forward.windows.values(features) < PARALLEL_VALUES {
        tasks.into_iter().for_each(run);
    } else {
        tasks.into_par_iter().for_each(run);
    }
}

fn backward_block<T: Element>(
    forward: &Forward<'_, T>,
    clip: usize,
    columns: Range<usize>,
    grad_rows: ArrayView2<'_, T>,
    mut target: ArrayViewMut2<'_, T>,
) {
    let rows = forward.windows.clips[clip].clone();
    let single = rows.len() == 1;
    // Frames before this one have been written; windows start one after another.
    let mut written = 0;
    for row in rows {
        let window = forward.windows.frames[row].clone();
        let grad_row = grad_rows.slice(s![row, columns.clone()]);
        let Some(gradient) = grad_row.to_slice() else { continue };
        let steps = forward.steps.slice(s![row, .., columns.clone()]);
        match forward.reducer {
            Reducer::Max if single => {
                for (column, (&value, &step)) in gradient.iter().zip(steps.row(0)).enumerate() {
                    target[[step as usize, column]] = value;
                }
            }
            Reducer::Max | Reducer::TopKMean(_) => {
                clear(&mut target, written.max(window.start)..window.end);
                let ranks = if let Reducer::TopKMean(count) = forward.reducer { count.min(window.len()) } else { 1 };
                let divisor = T::from_f64(ranks as f64);
                for steps in steps.rows().into_iter().take(ranks) {
                    for (column, (&value, &step)) in gradient.iter().zip(steps).enumerate() {
                        target[[step as usize, column]] += value / divisor;
                    }
                }
            }
            Reducer::SoftmaxWeighted { sharpness } => {
                let Some((clips, output)) = &forward.values else { return };
                let frames = Frames { clip: &clips.clips[clip], features: clips.features, columns: columns.clone() };
                let mean = output.slice(s![row, columns.clone()]);
                let Some(mean) = mean.to_slice() else { return };
                clear(&mut target, written.max(window.start)..window.end);
                with_scratch(3 * gradient.len(), |scratch| {
                    let mut softmax = kernels::Softmax::new(sharpness, frames.rows(window.clone()), scratch);
                    for step in window.clone() {
                        let Some(target) = target.row_mut(step).into_slice() else { return };
                        softmax.add_gradient(frames.row(step), mean, gradient, target);
                    }
                });
            }
            Reducer::Mean | Reducer::Sum => spread(forward.reducer, &mut target, gradient, window.clone(), written),
        }
        written = written.max(window.end);
    }
}

/// Gives every frame of the window its share of the gradient of a mean or a sum.
fn spread<T: Element>(
    reducer: Reducer,
    target: &mut ArrayViewMut2<'_, T>,
    gradient: &[T],
    window: Range<usize>,
    written: usize,
) {
    with_scratch(gradient.len(), |share| {
        share.copy_from_slice(gradient);
        if reducer == Reducer::Mean {
            kernels::divide(share, T::from_f64(window.len() as f64));
        }
        for step in window {
            let Some(target) = target.row_mut(step).into_slice() else { return };
            if step < written {
                kernels::add(target, share);
            } else {
                target.copy_from_slice(share);
            }
        }
    });
}

/// Writes zeros to frames that hold zeros: a page of new memory that is read first is mapped twice.
fn clear<T: Element>(target: &mut ArrayViewMut2<'_, T>, steps: Range<usize>) {
    for step in steps {
        target.row_mut(step).fill(T::zero());
    }
}
