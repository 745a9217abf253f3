//! Kernels that apply a function of vectors to slices.
//!
//! The rest of a slice that does not fill a vector is padded to a full one and takes the same instructions, so the
//! result of an element depends on neither its position nor the length of the slice.

use crate::Element;
use crate::simd::{Isa, Kernel, MAX_LANES, Simd};

/// The elements of `part`, which does not fill a vector, followed by `fill`.
#[inline(always)]
pub(crate) fn load_part<T: Element, S: Simd<T>>(simd: S, part: &[T], fill: T) -> S::Vector {
    let mut lanes = [fill; MAX_LANES];
    lanes[..part.len()].copy_from_slice(part);
    simd.load(&lanes)
}

/// Writes the first lanes of `value` to `part`, which does not fill a vector.
#[inline(always)]
pub(crate) fn store_part<T: Element, S: Simd<T>>(simd: S, part: &mut [T], value: S::Vector) {
    let mut lanes = [T::zero(); MAX_LANES];
    simd.store(&mut lanes, value);
    part.copy_from_slice(&lanes[..part.len()]);
}

/// The sum of the lanes: halves are added until one lane is left.
#[inline(always)]
pub(crate) fn sum_of_lanes<T: Element, S: Simd<T>>(simd: S, value: S::Vector) -> T {
    fold_lanes(
        simd,
        value,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// The largest lane; whether a NaN counts is unspecified.
#[inline(always)]
pub(crate) fn max_of_lanes<T: Element, S: Simd<T>>(simd: S, value: S::Vector) -> T {
    fold_lanes(
        simd,
        value,
        #[inline(always)]
        |a, b| if a > b { a } else { b },
    )
}

#[inline(always)]
fn fold_lanes<T: Element, S: Simd<T>>(simd: S, value: S::Vector, function: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::zero(); MAX_LANES];
    simd.store(&mut lanes, value);
    let mut width = S::LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = function(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

/// A function of one vector.
pub(super) trait Unary<T: Element>: Copy {
    fn apply<S: Simd<T>>(self, simd: S, x: S::Vector) -> S::Vector;
}

/// A function of two vectors.
pub(super) trait Binary<T: Element>: Copy {
    fn apply<S: Simd<T>>(self, simd: S, a: S::Vector, b: S::Vector) -> S::Vector;
}

/// `values ← function(values)`
pub(super) fn map<T: Element, F: Unary<T>>(isa: Isa, function: F, values: &mut [T]) {
    T::dispatch_on(isa, Map { function, values });
}

/// `b ← function(a, b)` over slices of equal length.
pub(super) fn zip_map<T: Element, F: Binary<T>>(isa: Isa, function: F, a: &[T], b: &mut [T]) {
    T::dispatch_on(isa, ZipMap { function, a, b });
}

struct Map<'a, T, F> {
    function: F,
    values: &'a mut [T],
}

impl<T: Element, F: Unary<T>> Kernel<T> for Map<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { function, values } = self;
        let mut vectors = values.chunks_exact_mut(S::LANES);
        for chunk in &mut vectors {
            let result = function.apply(simd, simd.load(chunk));
            simd.store(chunk, result);
        }
        let rest = vectors.into_remainder();
        if !rest.is_empty() {
            let result = function.apply(simd, load_part(simd, rest, T::zero()));
            store_part(simd, rest, result);
        }
    }
}

struct ZipMap<'a, T, F> {
    function: F,
    a: &'a [T],
    b: &'a mut [T],
}

impl<T: Element, F: Binary<T>> Kernel<T> for ZipMap<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { function, a, b } = self;
        let mut a_vectors = a.chunks_exact(S::LANES);
        let mut b_vectors = b.chunks_exact_mut(S::LANES);
        for (a, b) in (&mut a_vectors).zip(&mut b_vectors) {
            let result = function.apply(simd, simd.load(a), simd.load(b));
            simd.store(b, result);
        }
        let (a, b) = (a_vectors.remainder(), b_vectors.into_remainder());
        if !b.is_empty() {
            let result = function.apply(simd, load_part(simd, a, T::zero()), load_part(simd, b, T::zero()));
            store_part(simd, b, result);
        }
    }
}
