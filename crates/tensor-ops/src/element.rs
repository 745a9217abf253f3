//! The element types.

use std::iter::Sum;

use ndarray::NdFloat;

use crate::correlation::CorrelationKernels;
use crate::gate_maps::GateMapKernels;
use crate::gemm::RawGemm;
use crate::packed::PackedKernels;
use crate::simd::Dispatch;
use crate::vecmath::VectorMath;

/// An element of a tensor: `f32`, which has the fast kernels, or `f64`, which checks gradients.
///
/// Sealed: other types cannot implement it.
#[expect(private_bounds, reason = "supertraits that other crates cannot name seal the trait")]
pub trait Element:
    NdFloat
    + Sum
    + Default
    + Dispatch
    + RawGemm
    + PackedKernels
    + CorrelationKernels
    + GateMapKernels
    + VectorMath
    + 'static
{
    /// The name of the type, as messages and files spell it.
    const NAME: &'static str;

    /// The nearest value to `value`.
    fn from_f64(value: f64) -> Self;

    /// The same value in double precision.
    fn to_f64(self) -> f64;
}

impl Element for f32 {
    const NAME: &'static str = "f32";

    #[inline]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Element for f64 {
    const NAME: &'static str = "f64";

    #[inline]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self
    }
}
