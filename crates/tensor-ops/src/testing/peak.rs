//! How fast this CPU multiplies and adds, at most.

use crate::simd::{Dispatch, Kernel, Simd};

/// Sums that do not wait for each other: more than the multiplications with additions that a core has under way, and with the
/// two factors no more than the registers of AVX2.
const SUMS: usize = 12;

/// Multiplies and adds `rounds` times in registers, without memory; a value that keeps the compiler from leaving it out, and the
/// number of floating-point operations. Benchmarks compare kernels with what this takes.
///
/// ```
/// let (value, operations) = tensor_ops::testing::multiply_add_in_registers(10);
/// assert!(value.is_finite() && operations >= 10 * 12 * 2);
/// ```
pub fn multiply_add_in_registers(rounds: usize) -> (f32, u64) {
    f32::dispatch(InRegisters { rounds })
}

struct InRegisters {
    rounds: usize,
}

impl Kernel<f32> for InRegisters {
    type Output = (f32, u64);

    #[inline(always)]
    fn run<S: Simd<f32>>(self, simd: S) -> Self::Output {
        // The sums approach 2 and neither overflow nor become subnormal, which would be slow.
        let (factor, addend) = (simd.splat(0.5), simd.splat(1.0));
        let mut sums = [simd.splat(1.0); SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = simd.mul_add(*sum, factor, addend);
            }
        }
        let sum = sums.into_iter().reduce(|a, b| simd.add(a, b)).unwrap_or(factor);
        let mut lanes = vec![0.0; S::LANES];
        simd.store(&mut lanes, sum);
        (lanes.iter().sum(), (2 * SUMS * S::LANES * self.rounds) as u64)
    }
}
