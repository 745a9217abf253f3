//! Tokens of AVX2 + FMA and of AVX-512.

#![expect(unsafe_code, reason = "intrinsics; each token proves that the CPU has their instructions")]

use std::arch::x86_64::*;

use super::products::{TilePanels, TileRows};
use super::{Kernel, Simd};

mod products;

use products::{Operands, products_f32, products_f64};

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Proof that the CPU has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx2 {
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Runs `kernel` as a function compiled with the features that [`Self::detect`] tests.
    #[inline]
    pub(crate) fn run<T: Copy, K: Kernel<T>>(self, kernel: K) -> K::Output
    where
        Self: Simd<T>,
    {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn inner<T: Copy, K: Kernel<T>>(token: Avx2, kernel: K) -> K::Output
        where
            Avx2: Simd<T>,
        {
            kernel.run(token)
        }
        // SAFETY: the token exists, so the CPU has the features.
        unsafe { inner(self, kernel) }
    }
}

impl Avx512 {
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma"))
        .then_some(Self(()))
    }

    /// Runs `kernel` as a function compiled with the features that [`Self::detect`] tests.
    #[inline]
    pub(crate) fn run<T: Copy, K: Kernel<T>>(self, kernel: K) -> K::Output
    where
        Self: Simd<T>,
    {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn inner<T: Copy, K: Kernel<T>>(token: Avx512, kernel: K) -> K::Output
        where
            Avx512: Simd<T>,
        {
            kernel.run(token)
        }
        // SAFETY: the token exists, so the CPU has the features.
        unsafe { inner(self, kernel) }
    }
}

/// Asks for the line at `address`, which need not be valid, to be brought into the second-level cache.
#[inline(always)]
pub(super) fn prefetch<T>(address: *const T) {
    // SAFETY: every x86-64 CPU has the instruction, and one for an invalid address does nothing.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
}

/// Implements [`Simd`] by intrinsics of the same signature; the rest is given as bodies.
macro_rules! impl_simd {
    (
        $token:ty, $element:ty, $vector:ty, $lanes:literal,
        splat: $splat:ident, load: $load:ident, store: $store:ident, add: $add:ident, sub: $sub:ident, mul: $mul:ident,
        div: $div:ident, mul_add: $mul_add:ident, min: $min:ident, max: $max:ident,
        select_lt: |$a:ident, $b:ident, $x:ident, $y:ident| $select:expr,
        round_ties_even: |$r:ident| $round:expr,
        exp2_integral: |$n:ident| $exp2:expr,
        scale_exp2: |$token_value:ident, $significand:ident, $power:ident| $scale:expr,
        and: $and:ident, andnot: $andnot:ident, or: $or:ident,
        $(transpose: $transpose:ident,)?
        $(products: $products:ident,)?
    ) => {
        impl Simd<$element> for $token {
            type Vector = $vector;
            const LANES: usize = $lanes;
            const NATIVE: bool = true;

            #[inline(always)]
            fn call<K: Kernel<$element>>(self, kernel: K) -> K::Output {
                self.run(kernel)
            }

            #[inline(always)]
            fn splat(self, value: $element) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load_ptr(self, source: *const $element) -> $vector {
                // SAFETY: as above; the caller grants the reads, and the instruction needs no alignment.
                unsafe { $load(source) }
            }
            #[inline(always)]
            unsafe fn store_ptr(self, target: *mut $element, value: $vector) {
                // SAFETY: as above; the caller grants the writes, and the instruction needs no alignment.
                unsafe { $store(target, value) }
            }
            #[inline(always)]
            fn prefetch(self, address: *const $element) {
                prefetch(address);
            }
            $(
                #[inline(always)]
                unsafe fn transpose_ptr(
                    self,
                    source: *const $element,
                    offset: impl Fn(usize) -> isize,
                    target: *mut $element,
                    target_stride: usize,
                ) {
                    // SAFETY: as above; the caller grants reads and writes.
                    unsafe { $transpose(source, offset, target, target_stride) }
                }
            )?
            $(
                #[inline(always)]
                unsafe fn add_products<const R: usize, const V: usize>(
                    self,
                    sums: &mut [[$vector; V]; R],
                    rows: TileRows<$element>,
                    panels: TilePanels<$element>,
                    depth: usize,
                ) {
                    let sums = sums.as_mut_ptr().cast();
                    let TilePanels { first, apart, following } = panels;
                    let panels = [first, first.wrapping_add(apart)];
                    // SAFETY: the token exists, so the CPU has the instructions; the caller grants the reads.
                    unsafe {
                        match rows {
                            TileRows::Packed(a) => {
                                let row = size_of::<$element>() as isize;
                                $products::<R, V, R>(Operands { a, row, panels, following, depth }, sums);
                            }
                            TileRows::Strided { pointer: a, row } => {
                                let row = row * size_of::<$element>() as isize;
                                $products::<R, V, 1>(Operands { a, row, panels, following, depth }, sums);
                            }
                        }
                    }
                }
            )?
            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn sub(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            fn mul(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn div(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $div(a, b) }
            }
            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $mul_add(a, b, c) }
            }
            #[inline(always)]
            fn min(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $min(a, b) }
            }
            #[inline(always)]
            fn max(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            fn select_lt(self, $a: $vector, $b: $vector, $x: $vector, $y: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $select }
            }
            #[inline(always)]
            fn round_ties_even(self, $r: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $round }
            }
            #[inline(always)]
            fn exp2_integral(self, $n: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $exp2 }
            }
            #[inline(always)]
            fn scale_exp2(self, $significand: $vector, $power: $vector) -> $vector {
                let $token_value = self;
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $scale }
            }
            #[inline(always)]
            fn abs(self, a: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $andnot($splat(-0.0), a) }
            }
            #[inline(always)]
            fn copy_sign(self, magnitude: $vector, sign: $vector) -> $vector {
                // SAFETY: the token exists, so the CPU has the instruction.
                unsafe { $or($andnot($splat(-0.0), magnitude), $and($splat(-0.0), sign)) }
            }
        }
    };
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

impl_simd! {
    Avx2, f32, __m256, 8,
    splat: _mm256_set1_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps, add: _mm256_add_ps, sub: _mm256_sub_ps,
    mul: _mm256_mul_ps, div: _mm256_div_ps, mul_add: _mm256_fmadd_ps, min: _mm256_min_ps,
    max: _mm256_max_ps,
    select_lt: |a, b, x, y| _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)),
    round_ties_even: |a| _mm256_round_ps::<NEAREST>(a),
    exp2_integral: |n| {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
    },
    scale_exp2: |token, a, n| {
        // Each half is the exponent of a normal number, so only the second product rounds.
        let half = _mm256_round_ps::<NEAREST>(_mm256_mul_ps(n, _mm256_set1_ps(0.5)));
        let scaled = _mm256_mul_ps(a, Simd::<f32>::exp2_integral(token, half));
        _mm256_mul_ps(scaled, Simd::<f32>::exp2_integral(token, _mm256_sub_ps(n, half)))
    },
    and: _mm256_and_ps, andnot: _mm256_andnot_ps, or: _mm256_or_ps,
    transpose: transpose_8x8,
    products: products_f32,
}

impl_simd! {
    Avx2, f64, __m256d, 4,
    splat: _mm256_set1_pd, load: _mm256_loadu_pd, store: _mm256_storeu_pd, add: _mm256_add_pd, sub: _mm256_sub_pd,
    mul: _mm256_mul_pd, div: _mm256_div_pd, mul_add: _mm256_fmadd_pd, min: _mm256_min_pd,
    max: _mm256_max_pd,
    select_lt: |a, b, x, y| _mm256_blendv_pd(y, x, _mm256_cmp_pd::<_CMP_LT_OQ>(a, b)),
    round_ties_even: |a| _mm256_round_pd::<NEAREST>(a),
    exp2_integral: |n| {
        let exponent = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n)), _mm256_set1_epi64x(1023));
        _mm256_castsi256_pd(_mm256_slli_epi64::<52>(exponent))
    },
    scale_exp2: |token, a, n| {
        // Each half is the exponent of a normal number, so only the second product rounds.
        let half = _mm256_round_pd::<NEAREST>(_mm256_mul_pd(n, _mm256_set1_pd(0.5)));
        let scaled = _mm256_mul_pd(a, Simd::<f64>::exp2_integral(token, half));
        _mm256_mul_pd(scaled, Simd::<f64>::exp2_integral(token, _mm256_sub_pd(n, half)))
    },
    and: _mm256_and_pd, andnot: _mm256_andnot_pd, or: _mm256_or_pd,
    products: products_f64,
}

impl_simd! {
    Avx512, f32, __m512, 16,
    splat: _mm512_set1_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps, add: _mm512_add_ps, sub: _mm512_sub_ps,
    mul: _mm512_mul_ps, div: _mm512_div_ps, mul_add: _mm512_fmadd_ps, min: _mm512_min_ps,
    max: _mm512_max_ps,
    select_lt: |a, b, x, y| _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x),
    round_ties_even: |a| _mm512_roundscale_ps::<NEAREST>(a),
    exp2_integral: |n| {
        let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
        _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
    },
    scale_exp2: |_token, a, n| _mm512_scalef_ps(a, n),
    and: _mm512_and_ps, andnot: _mm512_andnot_ps, or: _mm512_or_ps,
    transpose: transpose_16x16,
}

impl_simd! {
    Avx512, f64, __m512d, 8,
    splat: _mm512_set1_pd, load: _mm512_loadu_pd, store: _mm512_storeu_pd, add: _mm512_add_pd, sub: _mm512_sub_pd,
    mul: _mm512_mul_pd, div: _mm512_div_pd, mul_add: _mm512_fmadd_pd, min: _mm512_min_pd,
    max: _mm512_max_pd,
    select_lt: |a, b, x, y| _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b), y, x),
    round_ties_even: |a| _mm512_roundscale_pd::<NEAREST>(a),
    exp2_integral: |n| {
        let exponent = _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_cvtpd_epi32(n)), _mm512_set1_epi64(1023));
        _mm512_castsi512_pd(_mm512_slli_epi64::<52>(exponent))
    },
    scale_exp2: |_token, a, n| _mm512_scalef_pd(a, n),
    and: _mm512_and_pd, andnot: _mm512_andnot_pd, or: _mm512_or_pd,
}

/// [`Simd::transpose_ptr`] of eight vectors in registers.
///
/// # Safety
/// As for [`Simd::transpose_ptr`], on a CPU with AVX2.
#[inline(always)]
unsafe fn transpose_8x8(source: *const f32, offset: impl Fn(usize) -> isize, target: *mut f32, target_stride: usize) {
    // SAFETY: granted by the caller.
    unsafe {
        let r: [__m256; 8] = std::array::from_fn(|row| _mm256_loadu_ps(source.offset(offset(row))));
        let pair = |a: usize| [_mm256_unpacklo_ps(r[a], r[a + 1]), _mm256_unpackhi_ps(r[a], r[a + 1])];
        let [p, q, s, t] = [pair(0), pair(2), pair(4), pair(6)];
        let quads = |a: [__m256; 2], b: [__m256; 2]| {
            [
                _mm256_shuffle_ps::<0x44>(a[0], b[0]),
                _mm256_shuffle_ps::<0xee>(a[0], b[0]),
                _mm256_shuffle_ps::<0x44>(a[1], b[1]),
                _mm256_shuffle_ps::<0xee>(a[1], b[1]),
            ]
        };
        let (upper, lower) = (quads(p, q), quads(s, t));
        for k in 0..4 {
            _mm256_storeu_ps(target.add(k * target_stride), _mm256_permute2f128_ps::<0x20>(upper[k], lower[k]));
        }
        for k in 0..4 {
            _mm256_storeu_ps(target.add((k + 4) * target_stride), _mm256_permute2f128_ps::<0x31>(upper[k], lower[k]));
        }
    }
}

/// [`Simd::transpose_ptr`] of sixteen vectors, a quarter at a time.
///
/// # Safety
/// As for [`Simd::transpose_ptr`], on a CPU with AVX2.
#[inline(always)]
unsafe fn transpose_16x16(source: *const f32, offset: impl Fn(usize) -> isize, target: *mut f32, target_stride: usize) {
    for k in [0, 8] {
        // The rows that a small stride cuts off are written first.
        for row in [8, 0] {
            // SAFETY: granted by the caller.
            unsafe {
                let target = target.add(k * target_stride + row);
                transpose_8x8(source.add(k), |lane| offset(row + lane), target, target_stride);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[target_feature(enable = "avx2")]
    unsafe fn transposed<const LANES: usize>(source: &[f32], pitch: usize, target_stride: usize) -> Vec<f32> {
        let mut target = vec![f32::NAN; LANES * target_stride + LANES];
        let offset = |row: usize| (row * pitch) as isize;
        assert!(source.len() >= (LANES - 1) * pitch + LANES);
        // SAFETY: the source was checked, and the target has a vector more than its rows.
        unsafe {
            match LANES {
                8 => transpose_8x8(source.as_ptr(), offset, target.as_mut_ptr(), target_stride),
                _ => transpose_16x16(source.as_ptr(), offset, target.as_mut_ptr(), target_stride),
            }
        }
        target
    }

    fn check<const LANES: usize>() {
        let pitch = LANES + 3;
        let source: Vec<f32> = (0..LANES * pitch).map(|index| index as f32).collect();
        for target_stride in [1, 3, 6, 8, 13, 16, 20] {
            // SAFETY: the CPU has the instructions.
            let found = unsafe { transposed::<LANES>(&source, pitch, target_stride) };
            for k in 0..LANES {
                for row in 0..LANES.min(target_stride) {
                    assert_eq!(found[k * target_stride + row], source[row * pitch + k], "{LANES}, {target_stride}");
                }
            }
        }
    }

    #[test]
    fn transposes_overwrite_what_they_write_too_much() {
        if Avx2::detect().is_some() {
            check::<8>();
            check::<16>();
        }
    }
}
