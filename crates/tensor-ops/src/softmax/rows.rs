//! Rows of contiguous scores.
//!
//! Lane j of a vector sums the entries j, j + lanes, j + 2·lanes, … of a row, and the lanes are added in a fixed order.
//! Entries of weight 0 behind a row or inside it therefore leave the sum as it is, bit for bit: a row alone and the
//! same row with masked entries appended have the same weights.

use super::functions::{Gradient, Normaliser};
use crate::Element;
use crate::simd::{Kernel, MAX_LANES, Simd};
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

/// A row of no more entries is filled up to whole vectors in a buffer, a multiple of [`MAX_LANES`] long: its last part
/// costs as much as a vector then. What fills it is excluded, or adds zeros, and changes no bit.
const SHORT_ROW: usize = 16 * MAX_LANES;

/// `target ← function(source)` for rows of `length` entries.
pub(super) struct Rows<'a, T, F> {
    pub(super) source: &'a [T],
    pub(super) target: &'a mut [T],
    pub(super) length: usize,
    pub(super) function: F,
}

impl<T: Element, F: Normaliser<T>> Kernel<T> for Rows<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let padded = self.length.next_multiple_of(S::LANES);
        let mut buffer = [T::zero(); SHORT_ROW];
        for (source, row) in self.source.chunks_exact(self.length).zip(self.target.chunks_exact_mut(self.length)) {
            if self.length > SHORT_ROW {
                row.copy_from_slice(source);
                normalise(simd, row, self.function);
            } else {
                let (scores, filling) = buffer[..padded].split_at_mut(self.length);
                scores.copy_from_slice(source);
                filling.fill(T::neg_infinity());
                normalise(simd, &mut buffer[..padded], self.function);
                row.copy_from_slice(&buffer[..self.length]);
            }
        }
    }
}

/// `row ← function(row)`
pub(super) struct Row<'a, T, F> {
    pub(super) row: &'a mut [T],
    pub(super) function: F,
}

impl<T: Element, F: Normaliser<T>> Kernel<T> for Row<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        normalise(simd, self.row, self.function);
    }
}

#[inline(always)]
fn normalise<T: Element, S: Simd<T>, F: Normaliser<T>>(simd: S, row: &mut [T], function: F) {
    let max = row_max(simd, row);
    if max == T::neg_infinity() {
        fill_without_scores(row, function.without_scores());
        return;
    }
    let sum = if F::KEEPS_EXP { exp_in_place(simd, row, max) } else { row_exp_sum(simd, row, max) };
    let (max, norm) = (simd.splat(max), simd.splat(function.norm(sum)));
    map_row(
        simd,
        row,
        #[inline(always)]
        |value| function.finish(simd, value, max, norm),
    );
}

/// `grad ← function(output, grad)` for rows of `length` entries, from the gradient `upstream`.
pub(super) struct GradientRows<'a, T, F> {
    pub(super) output: &'a [T],
    pub(super) upstream: &'a [T],
    pub(super) grad: &'a mut [T],
    pub(super) length: usize,
    pub(super) function: F,
}

impl<T: Element, F: Gradient<T>> Kernel<T> for GradientRows<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let padded = self.length.next_multiple_of(S::LANES);
        let [mut outputs, mut grad] = [[T::zero(); SHORT_ROW]; 2];
        let sources = self.output.chunks_exact(self.length).zip(self.upstream.chunks_exact(self.length));
        for ((output, upstream), row) in sources.zip(self.grad.chunks_exact_mut(self.length)) {
            if self.length > SHORT_ROW {
                row.copy_from_slice(upstream);
                take_back(simd, output, row, self.function);
            } else {
                outputs[..self.length].copy_from_slice(output);
                let (gradients, filling) = grad[..padded].split_at_mut(self.length);
                gradients.copy_from_slice(upstream);
                filling.fill(T::zero());
                take_back(simd, &outputs[..padded], &mut grad[..padded], self.function);
                row.copy_from_slice(&grad[..self.length]);
            }
        }
    }
}

/// `grad ← function(output, grad)`
pub(super) struct GradientRow<'a, T, F> {
    pub(super) output: &'a [T],
    pub(super) grad: &'a mut [T],
    pub(super) function: F,
}

impl<T: Element, F: Gradient<T>> Kernel<T> for GradientRow<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        take_back(simd, self.output, self.grad, self.function);
    }
}

#[inline(always)]
fn take_back<T: Element, S: Simd<T>, F: Gradient<T>>(simd: S, output: &[T], grad: &mut [T], function: F) {
    let sum = sum_of_pairs(
        simd,
        output,
        grad,
        #[inline(always)]
        |output, grad| function.term(simd, output, grad),
    );
    let sum = simd.splat(sum);
    map_pairs(
        simd,
        output,
        grad,
        #[inline(always)]
        |output, grad| function.slope(simd, output, grad, sum),
    );
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
