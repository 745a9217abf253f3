//! Single precision: polynomials and exact scaling, without tables or branches.
//!
//! Exponentials reduce the argument after Cody and Waite (*Software Manual for the Elementary Functions*, 1980):
//! x = n·ln 2 + r with integral n and |r| ≤ ½ ln 2, so that eˣ = 2ⁿ·eʳ. The polynomials are minimax fits of relative
//! error (Remez exchange in 50-digit arithmetic; one coefficient after the other rounded to single precision and those
//! after it fitted again).

use super::vector::VectorMath;
use crate::simd::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// 355/512, nine bits: n·`LN_2_HIGH` is exact for every n that occurs, with and without fused operations.
const LN_2_HIGH: f32 = 0.693_359_4;
/// ln 2 − `LN_2_HIGH`
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^89 overflows, and so does every larger argument.
const EXP_UPPER: f32 = 89.0;
/// e^−104 rounds to zero, and so does every smaller argument.
const EXP_LOWER: f32 = -104.0;
/// eˣ − 1 rounds to −1 here and below, and 2ⁿ is a normal number.
const EXPM1_LOWER: f32 = -40.0;

/// (eʳ − 1 − r) / r² on |r| ≤ ½ ln 2; error of eʳ 2^−31.2, lowest degree first.
const EXP_COEFFICIENTS: [f32; 6] = [0.5, 0.166_666_48, 0.041_666_48, 0.008_337_889, 1.393_336_9e-3, 1.732_154_2e-4];

/// (2 artanh s − 2s) / s³ in powers of s² on 0 ≤ s ≤ ⅓; error of 2 artanh s 2^−33, lowest degree first.
const ARTANH_COEFFICIENTS: [f32; 5] = [0.666_666_75, 0.399_989_5, 0.286_152_12, 0.214_438_84, 0.242_452_71];

/// Horner's scheme; `coefficients` lowest degree first.
#[inline(always)]
fn polynomial<S: Simd<f32>, const N: usize>(simd: S, x: S::Vector, coefficients: [f32; N]) -> S::Vector {
    let mut sum = simd.splat(coefficients[N - 1]);
    for degree in (0..N - 1).rev() {
        sum = simd.mul_add(sum, x, simd.splat(coefficients[degree]));
    }
    sum
}

/// `(n, eʳ − 1)` with x = n·ln 2 + r, for finite x within the bounds above. A NaN stays in the second part.
#[inline(always)]
fn reduced_expm1<S: Simd<f32>>(simd: S, x: S::Vector) -> (S::Vector, S::Vector) {
    let n = simd.round_ties_even(simd.mul(x, simd.splat(LOG2_E)));
    let r = simd.mul_add(n, simd.splat(-LN_2_HIGH), x);
    let r = simd.mul_add(n, simd.splat(-LN_2_LOW), r);
    let q = polynomial(simd, r, EXP_COEFFICIENTS);
    (n, simd.mul_add(simd.mul(r, r), q, r))
}

/// `e^−|x|`
#[inline(always)]
fn exp_neg_abs<S: Simd<f32>>(simd: S, x: S::Vector) -> S::Vector {
    let x = simd.copy_sign(x, simd.splat(-1.0));
    // The bound stands first, so that a NaN is kept.
    let x = simd.max(simd.splat(EXP_LOWER), x);
    let (n, p) = reduced_expm1(simd, x);
    simd.scale_exp2(simd.add(p, simd.splat(1.0)), n)
}

/// `eˣ − 1` for x ≤ 0, accurate near 0.
#[inline(always)]
fn expm1_not_positive<S: Simd<f32>>(simd: S, x: S::Vector) -> S::Vector {
    let x = simd.max(simd.splat(EXPM1_LOWER), x);
    let (n, p) = reduced_expm1(simd, x);
    let scale = simd.exp2_integral(n);
    // 2ⁿ·eʳ − 1 = 2ⁿ·(eʳ − 1) + (2ⁿ − 1)
    simd.mul_add(p, scale, simd.sub(scale, simd.splat(1.0)))
}

impl VectorMath for f32 {
    #[inline(always)]
    fn exp_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        let x = simd.min(simd.splat(EXP_UPPER), x);
        let x = simd.max(simd.splat(EXP_LOWER), x);
        let (n, p) = reduced_expm1(simd, x);
        simd.scale_exp2(simd.add(p, simd.splat(1.0)), n)
    }

    /// With z = e^−|x|: z / (1 + z) for x < 0, else 1 / (1 + z); neither cancels nor overflows.
    #[inline(always)]
    fn sigmoid_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        let one = simd.splat(1.0);
        let z = exp_neg_abs(simd, x);
        let numerator = simd.select_lt(x, simd.splat(0.0), z, one);
        simd.div(numerator, simd.add(one, z))
    }

    /// With t = e^−2|x| − 1: |tanh x| = −t / (2 + t).
    #[inline(always)]
    fn tanh_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        let t = expm1_not_positive(simd, simd.mul(simd.abs(x), simd.splat(-2.0)));
        let magnitude = simd.div(t, simd.add(simd.splat(2.0), t));
        simd.copy_sign(magnitude, x)
    }

    /// max(x, 0) + log(1 + z) with z = e^−|x|; with s = z / (2 + z), log(1 + z) = 2 artanh s and 2s = z − s·z.
    #[inline(always)]
    fn softplus_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        let z = exp_neg_abs(simd, x);
        let s = simd.div(z, simd.add(simd.splat(2.0), z));
        let w = simd.mul(s, s);
        let tail = simd.sub(simd.mul(w, polynomial(simd, w, ARTANH_COEFFICIENTS)), z);
        let log1p = simd.mul_add(s, tail, z);
        simd.add(simd.max(simd.splat(0.0), x), log1p)
    }

    #[inline(always)]
    fn one_minus_exp_neg_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        let negated = simd.sub(simd.splat(-0.0), x);
        simd.sub(simd.splat(0.0), expm1_not_positive(simd, negated))
    }
}
