//! Double precision: the functions of the standard library, lane by lane.

use super::vector::VectorMath;
use crate::simd::Simd;

/// No vector of doubles has more lanes.
const MAX_LANES: usize = 8;

#[inline(always)]
fn map_lanes<S: Simd<f64>>(simd: S, x: S::Vector, function: impl Fn(f64) -> f64) -> S::Vector {
    let mut lanes = [0.0; MAX_LANES];
    simd.store(&mut lanes, x);
    for lane in &mut lanes[..S::LANES] {
        *lane = function(*lane);
    }
    simd.load(&lanes)
}

impl VectorMath for f64 {
    #[inline(always)]
    fn exp_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        map_lanes(simd, x, Self::exp)
    }

    /// With z = e^−|x|: z / (1 + z) for x < 0, else 1 / (1 + z); neither cancels nor overflows.
    #[inline(always)]
    fn sigmoid_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        map_lanes(simd, x, |x| {
            let z = Self::exp(-x.abs());
            if x < 0.0 { z / (1.0 + z) } else { 1.0 / (1.0 + z) }
        })
    }

    #[inline(always)]
    fn tanh_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        map_lanes(simd, x, Self::tanh)
    }

    /// max(x, 0) + log(1 + e^−|x|)
    #[inline(always)]
    fn softplus_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        map_lanes(simd, x, |x| {
            let positive = if x < 0.0 { 0.0 } else { x };
            positive + Self::exp(-x.abs()).ln_1p()
        })
    }

    #[inline(always)]
    fn one_minus_exp_neg_lanes<S: Simd<Self>>(simd: S, x: S::Vector) -> S::Vector {
        map_lanes(simd, x, |x| -Self::exp_m1(-x))
    }
}
