//! Reducers on rows of features, one feature beside the other.

use tensor_ops::{Element, prefetch, vecmath};

use crate::ordering::exceeds;

/// Values that are worked on while as many are fetched.
const FETCHED: usize = 256;

/// Calls `work` with all of `target` and `values`, part by part, while `following` is fetched, which is read next.
pub(super) fn while_fetching<T: Element>(
    following: &[T],
    target: &mut [T],
    values: &[T],
    mut work: impl FnMut(&mut [T], &[T]),
) {
    let mut following = following.chunks(FETCHED);
    for (target, values) in target.chunks_mut(FETCHED).zip(values.chunks(FETCHED)) {
        prefetch(following.next().unwrap_or_default());
        work(target, values);
    }
}

/// `maxima` becomes the maximum of itself and `values`.
pub(super) fn maximum<T: Element>(maxima: &mut [T], values: &[T]) {
    for (maximum, &value) in maxima.iter_mut().zip(values) {
        *maximum = if exceeds(value, *maximum) { value } else { *maximum };
    }
}

/// As [`maximum`]; where `values` is larger, `steps` becomes `step`.
pub(super) fn maximum_at<T: Element>(maxima: &mut [T], steps: &mut [u32], values: &[T], step: u32) {
    for ((maximum, at), &value) in maxima.iter_mut().zip(steps).zip(values) {
        let larger = exceeds(value, *maximum);
        *maximum = if larger { value } else { *maximum };
        *at = if larger { step } else { *at };
    }
}

/// Adds `values` to `sums`.
pub(super) fn add<T: Element>(sums: &mut [T], values: &[T]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Divides `values` by `divisor`.
pub(super) fn divide<T: Element>(values: &mut [T], divisor: T) {
    for value in values {
        *value /= divisor;
    }
}

/// Sorts the values of a frame into the largest so far.
///
/// `largest` and `steps` are rows as long as `values`, the largest value first, of which `seen` hold something; where there
/// is no room for another, the smallest is dropped. `values` and `carried`, their frame, are overwritten.
pub(super) fn insert<T: Element>(
    largest: &mut [T],
    steps: &mut [u32],
    seen: usize,
    values: &mut [T],
    carried: &mut [u32],
) {
    let width = values.len();
    let rows = largest.chunks_exact_mut(width).zip(steps.chunks_exact_mut(width));
    for (rank, (largest, steps)) in rows.enumerate() {
        if rank == seen {
            largest.copy_from_slice(values);
            steps.copy_from_slice(carried);
            return;
        }
        let below = values.iter_mut().zip(&mut *carried);
        for ((largest, at), (value, step)) in largest.iter_mut().zip(steps).zip(below) {
            let (before, before_at) = (*largest, *at);
            // A value that was displaced came before its equals further down.
            let larger = exceeds(*value, before) || (!exceeds(before, *value) && *step < before_at);
            *largest = if larger { *value } else { before };
            *at = if larger { *step } else { before_at };
            *value = if larger { before } else { *value };
            *step = if larger { before_at } else { *step };
        }
    }
}

/// The softmax over the frames of a window, of β times the values: its maximum, then its sum.
pub(super) struct Softmax<'a, T> {
    /// β.
    sharpness: T,
    /// maxₜ β xₜ.
    maxima: &'a mut [T],
    /// Σₜ exp(β xₜ − maxₜ β xₜ).
    sums: &'a mut [T],
    /// exp(β xₜ − maxₜ β xₜ) of one frame.
    exponentials: &'a mut [T],
}

impl<'a, T: Element> Softmax<'a, T> {
    /// Computes maximum and sum over `frames`; `scratch` has three rows.
    pub(super) fn new<'f>(sharpness: f64, frames: impl Iterator<Item = &'f [T]> + Clone, scratch: &'a mut [T]) -> Self {
        let width = scratch.len() / 3;
        let (maxima, rest) = scratch.split_at_mut(width);
        let (sums, exponentials) = rest.split_at_mut(width);
        maxima.fill(T::neg_infinity());
        sums.fill(T::zero());
        let mut softmax = Self { sharpness: T::from_f64(sharpness), maxima, sums, exponentials };
        for frame in frames.clone() {
            for (maximum, &value) in softmax.maxima.iter_mut().zip(frame) {
                let score = softmax.sharpness * value;
                *maximum = if exceeds(score, *maximum) { score } else { *maximum };
            }
        }
        for frame in frames {
            softmax.exponentials_of(frame);
            add(softmax.sums, softmax.exponentials);
        }
        softmax
    }

    fn exponentials_of(&mut self, frame: &[T]) {
        let scores = self.exponentials.iter_mut().zip(frame).zip(&*self.maxima);
        for ((score, &value), &maximum) in scores {
            *score = self.sharpness * value - maximum;
        }
        vecmath::exp(self.exponentials);
    }

    /// Adds wₜ xₜ of a frame to `means`.
    pub(super) fn add_weighted(&mut self, frame: &[T], means: &mut [T]) {
        self.exponentials_of(frame);
        let weights = self.exponentials.iter().zip(&*self.sums);
        for ((mean, &value), (&exponential, &sum)) in means.iter_mut().zip(frame).zip(weights) {
            *mean += exponential / sum * value;
        }
    }

    /// Adds g wₜ (1 + β (xₜ − y)) of a frame to `target`, for the mean y and its gradient g.
    pub(super) fn add_gradient(&mut self, frame: &[T], mean: &[T], gradient: &[T], target: &mut [T]) {
        self.exponentials_of(frame);
        let weights = self.exponentials.iter().zip(&*self.sums);
        let values = frame.iter().zip(mean).zip(gradient).zip(weights);
        for (target, (((&value, &mean), &gradient), (&exponential, &sum))) in target.iter_mut().zip(values) {
            let slope = T::one() + self.sharpness * (value - mean);
            *target += gradient * (exponential / sum) * slope;
        }
    }
}
