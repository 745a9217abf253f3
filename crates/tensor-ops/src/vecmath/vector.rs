//! The functions on one vector, for kernels that fuse them with other work.

use crate::Element;
use crate::simd::Simd;

/// Elements whose vectors have the functions of this module.
///
/// A supertrait of [`Element`], so code generic over `T: Element` can call the free functions below.
pub(crate) trait VectorMath: Copy {
    fn exp_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector;

    fn sigmoid_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector;

    fn tanh_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector;

    fn softplus_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector;

    /// `1 − e⁻ˣ` for `x ≥ 0`.
    fn one_minus_exp_neg_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector;
}

/// `eˣ`, lane by lane.
#[inline(always)]
pub(crate) fn exp_vector<T: Element, S: Simd<T>>(simd: S, x: S::Vector) -> S::Vector {
    T::exp_lanes(simd, x)
}

/// `σ(x) = 1 / (1 + e⁻ˣ)`, lane by lane.
#[inline(always)]
pub(crate) fn sigmoid_vector<T: Element, S: Simd<T>>(simd: S, x: S::Vector) -> S::Vector {
    T::sigmoid_lanes(simd, x)
}

/// `tanh x`, lane by lane.
#[inline(always)]
pub(crate) fn tanh_vector<T: Element, S: Simd<T>>(simd: S, x: S::Vector) -> S::Vector {
    T::tanh_lanes(simd, x)
}

/// `log(1 + eˣ)`, lane by lane.
#[inline(always)]
pub(crate) fn softplus_vector<T: Element, S: Simd<T>>(simd: S, x: S::Vector) -> S::Vector {
    T::softplus_lanes(simd, x)
}

/// `1 − e⁻ˣ` for `x ≥ 0`, lane by lane.
#[inline(always)]
pub(crate) fn one_minus_exp_neg_vector<T: Element, S: Simd<T>>(simd: S, x: S::Vector) -> S::Vector {
    T::one_minus_exp_neg_lanes(simd, x)
}
