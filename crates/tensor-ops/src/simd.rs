//! Vector instructions behind one trait, chosen at run time.
//!
//! A kernel is written once as a [`Kernel`], generic over a token that implements [`Simd`]. A token exists only on a
//! CPU that has its instructions, which is what makes the methods of [`Simd`] safe to call. [`Dispatch::dispatch`] runs
//! a kernel with the widest instructions of this CPU; [`Dispatch::dispatch_on`] runs it with given ones.

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

use crate::gemm::sums::{TilePanels, TileRows, add_products};
use crate::{Element, TensorError};

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

/// Name of the environment variable that forces an instruction set: `portable`, `avx2` or `avx512`.
///
/// Without the variable, or with an empty one, the widest set of the CPU is used. [`Isa::from_environment`] says whether
/// the variable can be followed; programs call it when they start.
pub const ISA_VARIABLE: &str = "VIDRNN_ISA";

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust; vectorised by the compiler for the target's base instruction set.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Isa {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The instruction sets of this CPU, narrowest first.
    ///
    /// ```
    /// use tensor_ops::Isa;
    /// assert!(Isa::available().contains(&Isa::Portable));
    /// ```
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The instruction set that [`ISA_VARIABLE`] names, or the widest available where it names none.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for a name that is none of those of [`Self::name`], and for a set that this CPU
    /// lacks. Kernels cannot report it: they use the widest set then.
    ///
    /// ```
    /// use tensor_ops::Isa;
    /// let isa = Isa::from_environment()?;
    /// assert_eq!(isa, Isa::selected());
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn from_environment() -> Result<Self, TensorError> {
        Self::named_or_widest(std::env::var_os(ISA_VARIABLE).as_deref())
    }

    /// The instruction set that the kernels use: that of [`Self::from_environment`], read once, or the widest available
    /// where that is an error.
    pub fn selected() -> Self {
        static SELECTED: OnceLock<Isa> = OnceLock::new();
        *SELECTED.get_or_init(|| Self::from_environment().unwrap_or_else(|_| Self::widest()))
    }

    fn named_or_widest(name: Option<&OsStr>) -> Result<Self, TensorError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Self::widest()) };
        let refusal = |requirement| TensorError::InvalidOption {
            operation: "Isa",
            option: ISA_VARIABLE,
            requirement,
            found: name.to_string_lossy().into_owned(),
        };
        let isa = Self::ALL.into_iter().find(|isa| name == isa.name());
        let isa = isa.ok_or_else(|| refusal("portable, avx2 or avx512"))?;
        if isa.is_available() { Ok(isa) } else { Err(refusal("an instruction set of this CPU")) }
    }

    fn widest() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86_64::Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86_64::Avx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The name that [`ISA_VARIABLE`] uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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

    /// Fails where the variable is set to what it cannot be: the other tests would run on other kernels than asked for.
    #[test]
    fn the_selected_instruction_set_is_that_of_the_environment() {
        assert_eq!(Isa::from_environment(), Ok(Isa::selected()));
        assert!(Isa::available().contains(&Isa::selected()));
    }

    #[test]
    fn names_choose_an_instruction_set_of_this_cpu() {
        let chosen = |name: &str| Isa::named_or_widest(Some(OsStr::new(name)));
        for isa in Isa::ALL {
            match chosen(isa.name()) {
                Ok(found) => assert!(found == isa && isa.is_available(), "{isa}"),
                Err(error) => {
                    assert!(!isa.is_available(), "{error}");
                    let expected =
                        format!("Isa: option `VIDRNN_ISA` must be an instruction set of this CPU, found {isa}");
                    assert_eq!(error.to_string(), expected);
                }
            }
        }
        for name in ["sse2", "AVX2", "avx2 ", "avx", "0"] {
            let expected = format!("Isa: option `VIDRNN_ISA` must be portable, avx2 or avx512, found {name}");
            assert_eq!(chosen(name).unwrap_err().to_string(), expected);
        }
        for unset in [None, Some(OsStr::new(""))] {
            assert_eq!(Isa::named_or_widest(unset).ok().as_ref(), Isa::available().last());
        }
    }
}
