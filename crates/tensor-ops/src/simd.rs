//! Vector instructions behind one trait, chosen at run time.
//!
//! A kernel is written once as a [`Kernel`], generic over a token that implements [`Simd`]. A token exists only on a
//! CPU that has its instructions, which is what makes the methods of [`Simd`] safe to call. [`Dispatch::dispatch`] runs
//! a kernel with the widest instructions of this CPU; [`Dispatch::dispatch_on`] runs it with given ones.

use crate::Element;

mod isa;
mod portable;
pub(crate) mod products;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use isa::{ISA_VARIABLE, Isa};
use products::{TilePanels, TileRows, add_products};

/// The vector operations of one instruction set on elements `T`.
///
/// Lane by lane, every operation is that of IEEE 754 with rounding to nearest; `mul_add` rounds once where the
/// instruction set has a fused form, twice otherwise.
pub(crate) trait Simd<T: Copy>: Copy {
    /// A register of [`Self::LANES`] elements.
    type Vector: Copy;
    /// The number of elements in a vector.
    const LANES: usize;
    /// Whether a vector is one register of the instruction set.
    const NATIVE: bool;

    /// Runs `kernel` as a function of its own: what several kernels share is compiled once.
    fn call<K: Kernel<T>>(self, kernel: K) -> K::Output;

    fn splat(self, value: T) -> Self::Vector;

    /// Reads the first `LANES` elements of `source`.
    ///
    /// # Panics
    /// If `source` is shorter than a vector.
    #[inline(always)]
    fn load(self, source: &[T]) -> Self::Vector {
        assert!(source.len() >= Self::LANES, "source shorter than a vector");
        // SAFETY: the length was checked above.
        #[expect(unsafe_code, reason = "loads of whole vectors")]
        unsafe {
            self.load_ptr(source.as_ptr())
        }
    }

    /// Writes `value` to the first `LANES` elements of `target`.
    ///
    /// # Panics
    /// If `target` is shorter than a vector.
    #[inline(always)]
    fn store(self, target: &mut [T], value: Self::Vector) {
        assert!(target.len() >= Self::LANES, "target shorter than a vector");
        // SAFETY: the length was checked above.
        #[expect(unsafe_code, reason = "stores of whole vectors")]
        unsafe {
            self.store_ptr(target.as_mut_ptr(), value);
        }
    }

    /// # Safety
    /// `source` must be valid for reads of `LANES` elements; it need not be aligned to the vector.
    #[expect(unsafe_code, reason = "kernels address tiles by pointer")]
    unsafe fn load_ptr(self, source: *const T) -> Self::Vector;

    /// # Safety
    /// `target` must be valid for writes of `LANES` elements; it need not be aligned to the vector.
    #[expect(unsafe_code, reason = "kernels address tiles by pointer")]
    unsafe fn store_ptr(self, target: *mut T, value: Self::Vector);

    /// Transposes a block of `LANES` × `LANES`: `target[k · target_stride + r] = source[offset(r) + k]`. Whole vectors are
    /// written in rising `k`, so with a `target_stride` below `LANES` the later ones overwrite what the earlier ones wrote too
    /// much.
    ///
    /// # Safety
    /// `source` must be valid for reads of `LANES` elements at each of `LANES` offsets, and `target` for writes of as many
    /// vectors.
    #[expect(unsafe_code, reason = "kernels address tiles by pointer")]
    #[inline(always)]
    unsafe fn transpose_ptr(
        self,
        source: *const T,
        offset: impl Fn(usize) -> isize,
        target: *mut T,
        target_stride: usize,
    ) {
        for k in 0..Self::LANES {
            for r in 0..Self::LANES {
                // SAFETY: the caller grants both.
                unsafe { target.add(k * target_stride + r).write(source.offset(offset(r)).add(k).read()) };
            }
        }
    }

    /// Asks for the line of memory at `address` to be brought near the CPU. The address need not be valid.
    #[inline(always)]
    fn prefetch(self, _address: *const T) {}

    /// Adds to `sums`, `R` rows of `V` vectors, the products of the rows with the panels, in rising order of the depth.
    ///
    /// `R` is at most 6 and `V` 1, 2 or 4; with 4 vectors, and panels of 2, `R` is at most 3.
    ///
    /// # Safety
    /// The rows must be valid for reads of `R` × `depth` elements, the panels for `V` vectors at each depth.
    #[expect(unsafe_code, reason = "kernels address tiles by pointer")]
    #[inline(always)]
    unsafe fn add_products<const R: usize, const V: usize>(
        self,
        sums: &mut [[Self::Vector; V]; R],
        rows: TileRows<T>,
        panels: TilePanels<T>,
        depth: usize,
    ) {
        // SAFETY: granted by the caller.
        unsafe { add_products(self, sums, rows, panels, depth) }
    }

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a · b + c`
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a < b ? a : b`; `b` where either is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a > b ? a : b`; `b` where either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a < b ? x : y`; `y` where `a` or `b` is NaN.
    fn select_lt(self, a: Self::Vector, b: Self::Vector, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    fn round_ties_even(self, a: Self::Vector) -> Self::Vector;
    /// `2ⁿ` for integral `n` within the exponents of normal numbers; unspecified elsewhere.
    fn exp2_integral(self, n: Self::Vector) -> Self::Vector;
    /// `a · 2ⁿ`, rounded once, for `a` in [½, 2] and integral `n` with 2^(n/2) and 2^(n − n/2) normal; NaN where `a` is.
    fn scale_exp2(self, a: Self::Vector, n: Self::Vector) -> Self::Vector;
    /// `a` with its sign bit cleared.
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// `magnitude` with the sign bit of `sign`.
    fn copy_sign(self, magnitude: Self::Vector, sign: Self::Vector) -> Self::Vector;
}

/// Bytes of a line of the caches.
pub(crate) const LINE_BYTES: usize = 64;

/// Asks for the memory of `values` to be brought near the CPU while it does other work, where it has an instruction for
/// that: what is read from many places in turn is not foreseen by the CPU itself.
///
/// ```
/// let (mut sum, rows) = (0.0, [vec![1.0_f32; 1000], vec![2.0; 1000]]);
/// for (index, row) in rows.iter().enumerate() {
///     tensor_ops::prefetch(rows.get(index + 1).map_or(&[], |next| next.as_slice()));
///     sum += row.iter().sum::<f32>();
/// }
/// assert_eq!(sum, 3000.0);
/// ```
#[inline]
pub fn prefetch<T: Element>(values: &[T]) {
    for line in values.chunks(LINE_BYTES / size_of::<T>()) {
        #[cfg(target_arch = "x86_64")]
        x86_64::prefetch(line.as_ptr());
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// The most lanes of a vector, over all instruction sets and elements.
pub(crate) const MAX_LANES: usize = 16;

/// A computation written once for every instruction set.
pub(crate) trait Kernel<T: Copy> {
    type Output;
    /// Must be `#[inline(always)]`: only then are the instructions of `simd` compiled in.
    fn run<S: Simd<T>>(self, simd: S) -> Self::Output;
}

/// Elements that kernels can be run on.
///
/// A supertrait of [`crate::Element`] that other crates cannot name, which seals it.
pub(crate) trait Dispatch: Copy {
    /// Runs `kernel` with the instructions of `isa`, or with portable ones where the CPU lacks `isa`.
    fn dispatch_on<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output;

    /// Runs `kernel` with the instructions of [`Isa::selected`].
    #[inline]
    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output {
        Self::dispatch_on(Isa::selected(), kernel)
    }
}

macro_rules! impl_dispatch {
    ($($element:ty),*) => {$(
        impl Dispatch for $element {
            #[inline]
            fn dispatch_on<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output {
                #[cfg(target_arch = "x86_64")]
                match isa {
                    Isa::Avx512 => {
                        if let Some(token) = x86_64::Avx512::detect() {
                            return token.run(kernel);
                        }
                    }
                    Isa::Avx2 => {
                        if let Some(token) = x86_64::Avx2::detect() {
                            return token.run(kernel);
                        }
                    }
                    Isa::Portable => {}
                }
                #[cfg(not(target_arch = "x86_64"))]
                let _ = isa;
                kernel.run(portable::Portable)
            }
        }
    )*};
}

impl_dispatch!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation of [`Simd`] on the same lanes, one vector after the other.
    struct Operations<'a, T>(&'a [[T; 3]]);

    macro_rules! impl_operations {
        ($element:ty, $max_lanes:literal) => {
            impl Kernel<$element> for Operations<'_, $element> {
                type Output = Vec<[$element; 11]>;
                #[inline(always)]
                fn run<S: Simd<$element>>(self, simd: S) -> Self::Output {
                    let mut results = Vec::new();
                    for lanes in self.0.chunks(S::LANES) {
                        let column = |position: usize| {
                            let mut padded = [0.0; $max_lanes];
                            for (target, row) in padded.iter_mut().zip(lanes) {
                                *target = row[position];
                            }
                            simd.load(&padded)
                        };
                        let [a, b, c] = [column(0), column(1), column(2)];
                        let vectors = [
                            simd.add(a, b),
                            simd.sub(a, b),
                            simd.mul(a, b),
                            simd.div(a, b),
                            simd.mul_add(a, b, c),
                            simd.min(a, b),
                            simd.max(a, b),
                            simd.select_lt(a, b, c, a),
                            simd.round_ties_even(a),
                            simd.exp2_integral(simd.round_ties_even(c)),
                            simd.splat(1.5),
                        ];
                        let columns = vectors.map(|vector| {
                            let mut lanes = [0.0; $max_lanes];
                            simd.store(&mut lanes, vector);
                            lanes
                        });
                        results.extend((0..lanes.len()).map(|lane| columns.map(|column| column[lane])));
                    }
                    results
                }
            }

            impl Operations<'_, $element> {
                fn check() {
                    let specials = [
                        0.0,
                        -0.0,
                        0.5,
                        1.5,
                        -2.5,
                        2.0,
                        -3.25,
                        1e-30,
                        7e9,
                        1e20,
                        <$element>::INFINITY,
                        <$element>::NEG_INFINITY,
                        <$element>::NAN,
                    ];
                    let mut rows = Vec::new();
                    for a in specials {
                        for b in specials {
                            rows.push([a, b, 0.75]);
                            rows.push([a, b, -13.2]);
                        }
                    }
                    for isa in Isa::available() {
                        let results = <$element>::dispatch_on(isa, Operations(&rows));
                        for (&[a, b, c], result) in rows.iter().zip(results) {
                            let product = if result[4] == a * b + c { a * b + c } else { a.mul_add(b, c) };
                            let expected = [
                                a + b,
                                a - b,
                                a * b,
                                a / b,
                                product,
                                if a < b { a } else { b },
                                if a > b { a } else { b },
                                if a < b { c } else { a },
                                a.round_ties_even(),
                                c.round_ties_even().exp2(),
                                1.5,
                            ];
                            for (position, (r, e)) in result.into_iter().zip(expected).enumerate() {
                                let same = r == e || (r.is_nan() && e.is_nan());
                                assert!(same, "{isa}: operation {position} on {a}, {b}, {c}: {r}, expected {e}");
                            }
                        }
                    }
                }
            }
        };
    }

    impl_operations!(f32, 16);
    impl_operations!(f64, 8);

    #[test]
    fn operations_equal_the_scalar_ones() {
        Operations::<f32>::check();
        Operations::<f64>::check();
    }
}
