//! Vectors as arrays: correct on every target, vectorised as far as the compiler does it.

use super::{Kernel, Simd};

/// The token of [`super::Isa::Portable`].
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Fused where the target surely has the instruction: elsewhere `mul_add` is a library call.
macro_rules! fused_or_two_roundings {
    ($a:expr, $b:expr, $c:expr) => {
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { $a.mul_add($b, $c) } else { $a * $b + $c }
    };
}

macro_rules! impl_portable {
    ($element:ty, $lanes:literal, $bias:literal, $mantissa_bits:literal) => {
        impl Simd<$element> for Portable {
            type Vector = [$element; $lanes];
            const LANES: usize = $lanes;
            const NATIVE: bool = false;

            #[inline(never)]
            fn call<K: Kernel<$element>>(self, kernel: K) -> K::Output {
                kernel.run(self)
            }

            #[inline(always)]
            fn splat(self, value: $element) -> Self::Vector {
                [value; $lanes]
            }
            #[inline(always)]
            #[expect(unsafe_code, reason = "kernels address tiles by pointer")]
            unsafe fn load_ptr(self, source: *const $element) -> Self::Vector {
                // SAFETY: the caller grants reads of LANES elements; an array has the alignment of its elements.
                unsafe { source.cast::<Self::Vector>().read() }
            }
            #[inline(always)]
            #[expect(unsafe_code, reason = "kernels address tiles by pointer")]
            unsafe fn store_ptr(self, target: *mut $element, value: Self::Vector) {
                // SAFETY: the caller grants writes of LANES elements; an array has the alignment of its elements.
                unsafe { target.cast::<Self::Vector>().write(value) }
            }
            #[inline(always)]
            fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| a[lane] + b[lane])
            }
            #[inline(always)]
            fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| a[lane] - b[lane])
            }
            #[inline(always)]
            fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| a[lane] * b[lane])
            }
            #[inline(always)]
            fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| a[lane] / b[lane])
            }
            #[inline(always)]
            fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| fused_or_two_roundings!(a[lane], b[lane], c[lane]))
            }
            #[inline(always)]
            fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
            }
            #[inline(always)]
            fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
            }
            #[inline(always)]
            fn select_lt(self, a: Self::Vector, b: Self::Vector, x: Self::Vector, y: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| if a[lane] < b[lane] { x[lane] } else { y[lane] })
            }
            #[inline(always)]
            fn round_ties_even(self, a: Self::Vector) -> Self::Vector {
                // Adding 1.5 · 2^mantissa leaves no room for fraction bits; larger values have none.
                const SHIFT: $element = 1.5 * ((1_u64 << $mantissa_bits) as $element);
                const LIMIT: $element = (1_u64 << ($mantissa_bits - 1)) as $element;
                std::array::from_fn(|lane| if a[lane].abs() < LIMIT { (a[lane] + SHIFT) - SHIFT } else { a[lane] })
            }
            #[inline(always)]
            fn exp2_integral(self, n: Self::Vector) -> Self::Vector {
                // The sum has n + bias in its lowest mantissa bits; the shift moves them into the exponent.
                const SHIFT: $element = 1.5 * ((1_u64 << $mantissa_bits) as $element) + $bias;
                std::array::from_fn(|lane| <$element>::from_bits((n[lane] + SHIFT).to_bits() << $mantissa_bits))
            }
            #[inline(always)]
            fn scale_exp2(self, a: Self::Vector, n: Self::Vector) -> Self::Vector {
                // Each half is the exponent of a normal number, so only the second product rounds.
                let half = Simd::<$element>::round_ties_even(self, std::array::from_fn(|lane| n[lane] * 0.5));
                let rest = std::array::from_fn(|lane| n[lane] - half[lane]);
                let first = Simd::<$element>::exp2_integral(self, half);
                let second = Simd::<$element>::exp2_integral(self, rest);
                std::array::from_fn(|lane| a[lane] * first[lane] * second[lane])
            }
            #[inline(always)]
            fn abs(self, a: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| a[lane].abs())
            }
            #[inline(always)]
            fn copy_sign(self, magnitude: Self::Vector, sign: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| magnitude[lane].copysign(sign[lane]))
            }
        }
    };
}

impl_portable!(f32, 8, 127.0, 23);
impl_portable!(f64, 4, 1023.0, 52);
