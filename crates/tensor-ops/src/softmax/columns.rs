//! Lanes side by side: the axis of the softmax is not the last, and vectors run across the lanes.
//!
//! The sum of a lane takes its entries in the order of [`super::rows`], so a lane has the same bits in either form.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::functions::{Gradient, Normaliser};
use crate::Element;
use crate::simd::{Kernel, MAX_LANES, Simd};
use crate::vecmath::{exp_vector, load_part, store_part};

/// Lanes that one kernel takes at most; their sums stay in the L1 cache.
pub(super) const TILE: usize = 64;

/// `target ← function(source)`, both `[length, lanes]` with rows that are contiguous.
pub(super) struct Columns<'a, T, F> {
    pub(super) source: ArrayView2<'a, T>,
    pub(super) target: ArrayViewMut2<'a, T>,
    pub(super) function: F,
}

impl<T: Element, F: Normaliser<T>> Kernel<T> for Columns<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { source: sources, target: mut targets, function } = self;
        let lanes = sources.ncols();
        let mut max = [T::neg_infinity(); TILE];
        for row in sources.rows() {
            let row = row.to_slice().unwrap_or_default();
            for start in (0..lanes).step_by(S::LANES) {
                let max = &mut max[start..];
                let largest = simd.max(load(simd, row, start), simd.load(max));
                simd.store(max, largest);
            }
        }
        let mut sums = LaneSums::new();
        for (position, (source, mut target)) in sources.rows().into_iter().zip(targets.rows_mut()).enumerate() {
            let source = source.to_slice().unwrap_or_default();
            let target = target.as_slice_mut().unwrap_or_default();
            for start in (0..lanes).step_by(S::LANES) {
                let exp = exp_vector(simd, simd.sub(load(simd, source, start), simd.load(&max[start..])));
                sums.add(simd, position, start, exp);
                if F::KEEPS_EXP {
                    store(simd, target, start, exp);
                }
            }
        }
        let norm = sums.total::<S>(sources.nrows()).map(|sum| function.norm(sum));
        for (source, mut target) in sources.rows().into_iter().zip(targets.rows_mut()) {
            let source = source.to_slice().unwrap_or_default();
            let target = target.as_slice_mut().unwrap_or_default();
            for start in (0..lanes).step_by(S::LANES) {
                let value = load(simd, if F::KEEPS_EXP { &*target } else { source }, start);
                let value = function.finish(simd, value, simd.load(&max[start..]), simd.load(&norm[start..]));
                store(simd, target, start, value);
            }
        }
        for lane in (0..lanes).filter(|&lane| max[lane] == T::neg_infinity()) {
            let poisoned = sources.column(lane).iter().any(|score| score.is_nan());
            targets.column_mut(lane).fill(if poisoned { T::nan() } else { function.without_scores() });
        }
    }
}

/// `grad ← function(output, upstream)`, all `[length, lanes]` with rows that are contiguous.
pub(super) struct GradientColumns<'a, T, F> {
    pub(super) output: ArrayView2<'a, T>,
    pub(super) upstream: ArrayView2<'a, T>,
    pub(super) grad: ArrayViewMut2<'a, T>,
    pub(super) function: F,
}

impl<T: Element, F: Gradient<T>> Kernel<T> for GradientColumns<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { output: outputs, upstream: upstreams, grad: mut grads, function } = self;
        let lanes = outputs.ncols();
        let mut sums = LaneSums::new();
        for (position, (output, upstream)) in outputs.rows().into_iter().zip(upstreams.rows()).enumerate() {
            let (output, upstream) = (output.to_slice().unwrap_or_default(), upstream.to_slice().unwrap_or_default());
            for start in (0..lanes).step_by(S::LANES) {
                let term = function.term(simd, load(simd, output, start), load(simd, upstream, start));
                sums.add(simd, position, start, term);
            }
        }
        let sum = sums.total::<S>(outputs.nrows());
        let sources = outputs.rows().into_iter().zip(upstreams.rows());
        for ((output, upstream), mut grad) in sources.zip(grads.rows_mut()) {
            let (output, upstream) = (output.to_slice().unwrap_or_default(), upstream.to_slice().unwrap_or_default());
            let grad = grad.as_slice_mut().unwrap_or_default();
            for start in (0..lanes).step_by(S::LANES) {
                let (output, upstream) = (load(simd, output, start), load(simd, upstream, start));
                store(simd, grad, start, function.slope(simd, output, upstream, simd.load(&sum[start..])));
            }
        }
    }
}

/// The sums of up to [`TILE`] lanes, each spread over as many parts as a vector has entries.
struct LaneSums<T>([[T; TILE]; MAX_LANES]);

impl<T: Element> LaneSums<T> {
    #[inline(always)]
    fn new() -> Self {
        Self([[T::zero(); TILE]; MAX_LANES])
    }

    /// Adds the entries at `position` of the lanes from `start` on.
    #[inline(always)]
    fn add<S: Simd<T>>(&mut self, simd: S, position: usize, start: usize, entries: S::Vector) {
        let part = &mut self.0[position % S::LANES][start..];
        let sum = simd.add(simd.load(part), entries);
        simd.store(part, sum);
    }

    /// The sums over all `length` positions: halves of the parts are added until one is left.
    #[inline(always)]
    fn total<S: Simd<T>>(mut self, length: usize) -> [T; TILE] {
        let mut width = S::LANES;
        while width > 1 {
            width /= 2;
            // Parts from `length` on are 0 and would change no bit.
            for part in 0..width.min(length.saturating_sub(width)) {
                let (left, right) = self.0.split_at_mut(part + 1);
                for (sum, other) in left[part].iter_mut().zip(&right[width - 1]) {
                    *sum += *other;
                }
            }
        }
        self.0[0]
    }
}

/// The entries from `start` on; zeros behind the last.
#[inline(always)]
fn load<T: Element, S: Simd<T>>(simd: S, row: &[T], start: usize) -> S::Vector {
    let rest = &row[start..];
    if rest.len() >= S::LANES { simd.load(rest) } else { load_part(simd, rest, T::zero()) }
}

/// Writes the entries from `start` on, as many as there are.
#[inline(always)]
fn store<T: Element, S: Simd<T>>(simd: S, row: &mut [T], start: usize, value: S::Vector) {
    let rest = &mut row[start..];
    if rest.len() >= S::LANES {
        simd.store(rest, value);
    } else {
        store_part(simd, rest, value);
    }
}
