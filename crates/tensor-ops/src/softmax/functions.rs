//! Softmax and log-softmax, vector by vector: what rows and columns share.

use crate::Element;
use crate::simd::Simd;
use crate::vecmath::exp_vector;

/// A function of the scores of one lane, by their maximum and the sum of their exponentials.
pub(super) trait Normaliser<T: Element>: Copy + Send + Sync {
    /// Whether [`Self::finish`] takes e^(score − max) instead of the score.
    const KEEPS_EXP: bool;

    /// The result of an entry where no entry is kept.
    fn without_scores(self) -> T;

    /// What [`Self::finish`] takes of `Σ e^(score − max)`.
    fn norm(self, sum: T) -> T;

    fn finish<S: Simd<T>>(self, simd: S, value: S::Vector, max: S::Vector, norm: S::Vector) -> S::Vector;
}

/// The gradient of the scores of one lane, by a sum over its entries.
pub(super) trait Gradient<T: Element>: Copy + Send + Sync {
    /// An entry of the sum; 0 for zeros.
    fn term<S: Simd<T>>(self, simd: S, output: S::Vector, grad: S::Vector) -> S::Vector;

    fn slope<S: Simd<T>>(self, simd: S, output: S::Vector, grad: S::Vector, sum: S::Vector) -> S::Vector;
}

/// `w = e^(score − max) / Σ e^(score − max)`
#[derive(Clone, Copy)]
pub(super) struct Softmax;

impl<T: Element> Normaliser<T> for Softmax {
    const KEEPS_EXP: bool = true;

    #[inline(always)]
    fn without_scores(self) -> T {
        T::zero()
    }

    #[inline(always)]
    fn norm(self, sum: T) -> T {
        sum
    }

    #[inline(always)]
    fn finish<S: Simd<T>>(self, simd: S, exp: S::Vector, _: S::Vector, sum: S::Vector) -> S::Vector {
        simd.div(exp, sum)
    }
}

/// `∂e = w · (∂w − Σ w ∂w)`
impl<T: Element> Gradient<T> for Softmax {
    #[inline(always)]
    fn term<S: Simd<T>>(self, simd: S, weight: S::Vector, grad: S::Vector) -> S::Vector {
        weighted(simd, weight, grad)
    }

    #[inline(always)]
    fn slope<S: Simd<T>>(self, simd: S, weight: S::Vector, grad: S::Vector, dot: S::Vector) -> S::Vector {
        weighted(simd, weight, simd.sub(grad, dot))
    }
}

/// `weight · value`; where the weight is 0 the value may be anything, and a NaN weight stays one.
#[inline(always)]
fn weighted<T: Element, S: Simd<T>>(simd: S, weight: S::Vector, value: S::Vector) -> S::Vector {
    let zero = simd.splat(T::zero());
    simd.select_lt(zero, weight, simd.mul(weight, value), simd.mul(weight, zero))
}

/// `l = (score − max) − log Σ e^(score − max)`
#[derive(Clone, Copy)]
pub(super) struct LogSoftmax;

impl<T: Element> Normaliser<T> for LogSoftmax {
    const KEEPS_EXP: bool = false;

    #[inline(always)]
    fn without_scores(self) -> T {
        T::neg_infinity()
    }

    #[inline(always)]
    fn norm(self, sum: T) -> T {
        sum.ln()
    }

    #[inline(always)]
    fn finish<S: Simd<T>>(self, simd: S, score: S::Vector, max: S::Vector, log_sum: S::Vector) -> S::Vector {
        simd.sub(simd.sub(score, max), log_sum)
    }
}

/// `∂e = ∂l − e^l · Σ ∂l`, and 0 where l is −∞: it alone is below the lowest number.
impl<T: Element> Gradient<T> for LogSoftmax {
    #[inline(always)]
    fn term<S: Simd<T>>(self, simd: S, log_weight: S::Vector, grad: S::Vector) -> S::Vector {
        simd.select_lt(log_weight, simd.splat(T::min_value()), simd.splat(T::zero()), grad)
    }

    #[inline(always)]
    fn slope<S: Simd<T>>(self, simd: S, log_weight: S::Vector, grad: S::Vector, sum: S::Vector) -> S::Vector {
        let slope = simd.sub(grad, simd.mul(exp_vector(simd, log_weight), sum));
        self.term(simd, log_weight, slope)
    }
}
