//! Rows of contiguous scores.
//!
//! Lane j of a vector sums the entries j, j + lanes, j + 2·lanes, … of a row, and the lanes are added in a fixed order.
//! Entries of weight 0 behind a row or inside it therefore leave the sum as it is, bit for bit: a row alone and the
//! same row with masked entries appended have the same weights.

use crate::Element;
use crate::simd::{Kernel, Simd};
use crate::vecmath::{exp_vector, load_part, max_of_lanes, store_part, sum_of_lanes};

/// The largest entry; whether a NaN counts is unspecified.
#[inline(always)]
pub(crate) fn row_max<T: Element, S: Simd<T>>(simd: S, row: &[T]) -> T {
    let mut largest = simd.splat(T::neg_infinity());
    let mut vectors = row.chunks_exact(S::LANES);
    for chunk in &mut vectors {
        largest = simd.max(simd.load(chunk), largest);
    }
    let rest = vectors.remainder();
    if !rest.is_empty() {
        largest = simd.max(load_part(simd, rest, T::neg_infinity()), largest);
    }
    max_of_lanes(simd, largest)
}

/// `Σ e^(row − max)`
#[inline(always)]
pub(crate) fn row_exp_sum<T: Element, S: Simd<T>>(simd: S, row: &[T], max: T) -> T {
    let max = simd.splat(max);
    let mut sum = simd.splat(T::zero());
    let mut vectors = row.chunks_exact(S::LANES);
    for chunk in &mut vectors {
        sum = simd.add(sum, exp_vector(simd, simd.sub(simd.load(chunk), max)));
    }
    let rest = vectors.remainder();
    if !rest.is_empty() {
        let rest = load_part(simd, rest, T::neg_infinity());
        sum = simd.add(sum, exp_vector(simd, simd.sub(rest, max)));
    }
    sum_of_lanes(simd, sum)
}

/// `row ← e^(row − max)`; returns the sum.
#[inline(always)]
fn exp_in_place<T: Element, S: Simd<T>>(simd: S, row: &mut [T], max: T) -> T {
    let max = simd.splat(max);
    let mut sum = simd.splat(T::zero());
    let mut vectors = row.chunks_exact_mut(S::LANES);
    for chunk in &mut vectors {
        let value = exp_vector(simd, simd.sub(simd.load(chunk), max));
        sum = simd.add(sum, value);
        simd.store(chunk, value);
    }
    let rest = vectors.into_remainder();
    if !rest.is_empty() {
        let value = exp_vector(simd, simd.sub(load_part(simd, rest, T::neg_infinity()), max));
        sum = simd.add(sum, value);
        store_part(simd, rest, value);
    }
    sum_of_lanes(simd, sum)
}

/// `row ← function(row)`, vector by vector.
#[inline(always)]
pub(crate) fn map_row<T: Element, S: Simd<T>>(simd: S, row: &mut [T], function: impl Fn(S::Vector) -> S::Vector) {
    let mut vectors = row.chunks_exact_mut(S::LANES);
    for chunk in &mut vectors {
        let value = function(simd.load(chunk));
        simd.store(chunk, value);
    }
    let rest = vectors.into_remainder();
    if !rest.is_empty() {
        let value = function(load_part(simd, rest, T::zero()));
        store_part(simd, rest, value);
    }
}

/// `row ← e^row / Σ e^row` with `max` from [`row_max`]; returns `Σ e^(row − max)`.
#[inline(always)]
pub(crate) fn row_softmax<T: Element, S: Simd<T>>(simd: S, row: &mut [T], max: T) -> T {
    let sum = exp_in_place(simd, row, max);
    let divisor = simd.splat(sum);
    map_row(
        simd,
        row,
        #[inline(always)]
        |value| simd.div(value, divisor),
    );
    sum
}

/// A row without a score above −∞: `value` everywhere, or NaN everywhere where one is among the scores.
fn fill_without_scores<T: Element>(row: &mut [T], value: T) {
    let fill = if row.iter().any(|score| score.is_nan()) { T::nan() } else { value };
    row.fill(fill);
}

/// Softmax of every row of `length` entries, in place.
pub(super) struct SoftmaxRows<'a, T> {
    pub(super) values: &'a mut [T],
    pub(super) length: usize,
}

impl<T: Element> Kernel<T> for SoftmaxRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        for row in self.values.chunks_exact_mut(self.length) {
            let max = row_max(simd, row);
            if max == T::neg_infinity() {
                fill_without_scores(row, T::zero());
                continue;
            }
            row_softmax(simd, row, max);
        }
    }
}

/// Log-softmax of every row of `length` entries, in place.
pub(super) struct LogSoftmaxRows<'a, T> {
    pub(super) values: &'a mut [T],
    pub(super) length: usize,
}

impl<T: Element> Kernel<T> for LogSoftmaxRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        for row in self.values.chunks_exact_mut(self.length) {
            let max = row_max(simd, row);
            if max == T::neg_infinity() {
                fill_without_scores(row, T::neg_infinity());
                continue;
            }
            let log_sum = simd.splat(row_exp_sum(simd, row, max).ln());
            let max = simd.splat(max);
            map_row(
                simd,
                row,
                #[inline(always)]
                |score| simd.sub(simd.sub(score, max), log_sum),
            );
        }
    }
}

/// Gradient through softmax of every row of `length` entries; `grad` is replaced.
pub(super) struct SoftmaxBackwardRows<'a, T> {
    pub(super) weights: &'a [T],
    pub(super) grad: &'a mut [T],
    pub(super) length: usize,
}

impl<T: Element> Kernel<T> for SoftmaxBackwardRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let rows = self.weights.chunks_exact(self.length).zip(self.grad.chunks_exact_mut(self.length));
        for (weights, grad) in rows {
            let dot = sum_of_pairs(
                simd,
                weights,
                grad,
                #[inline(always)]
                |weight, value| weighted(simd, weight, value),
            );
            let dot = simd.splat(dot);
            map_pairs(
                simd,
                weights,
                grad,
                #[inline(always)]
                |weight, value| weighted(simd, weight, simd.sub(value, dot)),
            );
        }
    }
}

/// `weight · value`; where the weight is 0 the value may be anything, and a NaN weight stays one.
#[inline(always)]
fn weighted<T: Element, S: Simd<T>>(simd: S, weight: S::Vector, value: S::Vector) -> S::Vector {
    let zero = simd.splat(T::zero());
    simd.select_lt(zero, weight, simd.mul(weight, value), simd.mul(weight, zero))
}

/// Gradient through log-softmax of every row of `length` entries; `grad` is replaced.
pub(super) struct LogSoftmaxBackwardRows<'a, T> {
    pub(super) log_weights: &'a [T],
    pub(super) grad: &'a mut [T],
    pub(super) length: usize,
}

impl<T: Element> Kernel<T> for LogSoftmaxBackwardRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let (zero, lowest) = (simd.splat(T::zero()), simd.splat(T::min_value()));
        let rows = self.log_weights.chunks_exact(self.length).zip(self.grad.chunks_exact_mut(self.length));
        for (log_weights, grad) in rows {
            // Below the lowest number is −∞ alone.
            let sum = sum_of_pairs(
                simd,
                log_weights,
                grad,
                #[inline(always)]
                |log, value| simd.select_lt(log, lowest, zero, value),
            );
            let sum = simd.splat(sum);
            map_pairs(
                simd,
                log_weights,
                grad,
                #[inline(always)]
                |log, value| {
                    let slope = simd.sub(value, simd.mul(exp_vector(simd, log), sum));
                    simd.select_lt(log, lowest, zero, slope)
                },
            );
        }
    }
}

/// `Σ function(a, b)`, where `function(0, 0)` is 0 or the pair does not occur.
#[inline(always)]
fn sum_of_pairs<T: Element, S: Simd<T>>(
    simd: S,
    a: &[T],
    b: &[T],
    function: impl Fn(S::Vector, S::Vector) -> S::Vector,
) -> T {
    let mut sum = simd.splat(T::zero());
    let (mut a_vectors, mut b_vectors) = (a.chunks_exact(S::LANES), b.chunks_exact(S::LANES));
    for (a, b) in (&mut a_vectors).zip(&mut b_vectors) {
        sum = simd.add(sum, function(simd.load(a), simd.load(b)));
    }
    let a = load_part(simd, a_vectors.remainder(), T::zero());
    let b = load_part(simd, b_vectors.remainder(), T::zero());
    sum_of_lanes(simd, simd.add(sum, function(a, b)))
}

/// `b ← function(a, b)`
#[inline(always)]
fn map_pairs<T: Element, S: Simd<T>>(
    simd: S,
    a: &[T],
    b: &mut [T],
    function: impl Fn(S::Vector, S::Vector) -> S::Vector,
) {
    let (mut a_vectors, mut b_vectors) = (a.chunks_exact(S::LANES), b.chunks_exact_mut(S::LANES));
    for (a, b) in (&mut a_vectors).zip(&mut b_vectors) {
        let value = function(simd.load(a), simd.load(b));
        simd.store(b, value);
    }
    let rest = b_vectors.into_remainder();
    let a = load_part(simd, a_vectors.remainder(), T::zero());
    let value = function(a, load_part(simd, rest, T::zero()));
    store_part(simd, rest, value);
}
