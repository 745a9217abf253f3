//! The lanes of an array along an axis, shared out to threads.
//!
//! An array in row-major order is `[outer, length, inner]` around the axis. With one inner entry lanes are rows;
//! otherwise neighbouring lanes are columns, which are taken [`TILE`] at a time. What a lane becomes depends on the lane
//! alone, so the division among threads changes no bit.

#![expect(unsafe_code, reason = "each task initialises the memory that it writes")]

use std::mem::MaybeUninit;

use ndarray::{Array, ArrayBase, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis, Data, Dimension, s};

use super::columns::{Columns, GradientColumns, TILE};
use super::functions::{Gradient, Normaliser};
use super::rows::{GradientRows, Rows};
use crate::Element;

/// Entries from which lanes are shared out to threads.
const PARALLEL_ENTRIES: usize = 1 << 16;

/// Entries of rows that one kernel takes, unless a row has more: a part of the L1 cache.
const BLOCK_ENTRIES: usize = 1 << 11;

/// `function` of every lane of `scores`, which lie in row-major order.
pub(super) fn normalise_lanes<T: Element, D: Dimension, F: Normaliser<T>>(
    scores: &ArrayBase<impl Data<Elem = T>, D>,
    axis: usize,
    function: F,
) -> Array<T, D> {
    over_lanes(
        [scores],
        axis,
        |[source], target, length| T::dispatch(Rows { source, target, length, function }),
        |[source], target| T::dispatch(Columns { source, target, function }),
    )
}

/// The gradient of the scores of every lane from `output` and the gradient of it, which lie in row-major order.
pub(super) fn gradient_of_lanes<T: Element, D: Dimension, F: Gradient<T>>(
    output: &ArrayBase<impl Data<Elem = T>, D>,
    upstream: &ArrayBase<impl Data<Elem = T>, D>,
    axis: usize,
    function: F,
) -> Array<T, D> {
    over_lanes(
        [&output.view(), &upstream.view()],
        axis,
        |[output, upstream], grad, length| T::dispatch(GradientRows { output, upstream, grad, length, function }),
        |[output, upstream], grad| T::dispatch(GradientColumns { output, upstream, grad, function }),
    )
}

/// A new array, whose lanes are written by `rows` or by `columns` from those of the sources.
fn over_lanes<T: Element, D: Dimension, const N: usize>(
    sources: [&ArrayBase<impl Data<Elem = T>, D>; N],
    axis: usize,
    rows: impl Fn([&[T]; N], &mut [T], usize) + Sync,
    columns: impl Fn([ArrayView2<'_, T>; N], ArrayViewMut2<'_, T>) + Sync,
) -> Array<T, D> {
    let mut target = Array::<T, D>::uninit(sources[0].raw_dim());
    let shape = target.shape();
    let [outer, inner] = [&shape[..axis], &shape[axis + 1..]].map(|sizes| sizes.iter().product());
    let length = shape[axis];
    let sources = sources.map(|source| source.as_slice().expect("sources in row-major order"));
    let values = target.as_slice_mut().expect("a new array");
    if inner == 1 {
        share_rows(sources, values, length, &rows);
    } else {
        let shape = (outer, length, inner);
        let sources = sources.map(|source| ArrayView3::from_shape(shape, source).expect("the size of the target"));
        share_columns(sources, ArrayViewMut3::from_shape(shape, values).expect("its own size"), &columns);
    }
    // SAFETY: every entry is in one row or one column, and all of them were initialised.
    unsafe { target.assume_init() }
}

fn share_rows<T: Element, const N: usize>(
    sources: [&[T]; N],
    target: &mut [MaybeUninit<T>],
    length: usize,
    function: &(impl Fn([&[T]; N], &mut [T], usize) + Sync),
) {
    let rows = target.len() / length;
    if target.len() < PARALLEL_ENTRIES || rows < 2 {
        let block = (BLOCK_ENTRIES / length).max(1) * length;
        for (index, target) in target.chunks_mut(block).enumerate() {
            let part = index * block..index * block + target.len();
            // Zeros in the cache cost little; over the whole array they would be a pass through memory by one thread.
            target.fill(MaybeUninit::new(T::zero()));
            // SAFETY: all values were written.
            let target = unsafe { &mut *(std::ptr::from_mut(target) as *mut [T]) };
            function(sources.map(|source| &source[part.clone()]), target, length);
        }
        return;
    }
    let middle = rows / 2 * length;
    let (left, right) = target.split_at_mut(middle);
    rayon::join(
        || share_rows(sources.map(|source| &source[..middle]), left, length, function),
        || share_rows(sources.map(|source| &source[middle..]), right, length, function),
    );
}

fn share_columns<T: Element, const N: usize>(
    sources: [ArrayView3<'_, T>; N],
    mut target: ArrayViewMut3<'_, MaybeUninit<T>>,
    function: &(impl Fn([ArrayView2<'_, T>; N], ArrayViewMut2<'_, T>) + Sync),
) {
    let (outer, _, inner) = target.dim();
    if target.len() < PARALLEL_ENTRIES || (outer < 2 && inner <= TILE) {
        for outer in 0..outer {
            for start in (0..inner).step_by(TILE) {
                let tile = s![outer, .., start..inner.min(start + TILE)];
                let mut target = target.slice_mut(tile);
                target.fill(MaybeUninit::new(T::zero()));
                // SAFETY: all values were written.
                let target = unsafe { target.assume_init() };
                function(sources.each_ref().map(|source| source.slice(tile)), target);
            }
        }
        return;
    }
    let (axis, middle) = if outer > 1 { (Axis(0), outer / 2) } else { (Axis(2), (inner / 2).next_multiple_of(TILE)) };
    let [left, right] = [0, 1].map(|half| {
        sources.each_ref().map(|source| {
            let (left, right) = source.view().split_at(axis, middle);
            if half == 0 { left } else { right }
        })
    });
    let (target_left, target_right) = target.split_at(axis, middle);
    rayon::join(|| share_columns(left, target_left, function), || share_columns(right, target_right, function));
}
