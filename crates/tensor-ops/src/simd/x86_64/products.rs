//! The innermost loop of matrix products for AVX2, in assembly.
//!
//! Its sums, vectors of B and elements of A take all sixteen registers, and a compiler that moves a load ahead keeps one of
//! the sums in memory instead, at half the speed. Eight steps of the depth are written out: where two threads share a
//! core, each can start half as many instructions, and counting and moving pointers takes too many of them.

use std::arch::asm;

use crate::simd::LINE_BYTES;
use crate::simd::products::STEPS_PER_LINE;

/// Steps of the depth that are written out.
const STEPS: usize = 8;
const _: () = assert!(STEPS == 2 * STEPS_PER_LINE, "two lines are fetched in as many steps");

/// What a tile multiplies.
#[derive(Clone, Copy)]
pub(super) struct Operands<T> {
    /// The first row of A.
    pub(super) a: *const T,
    /// Bytes from a row of A to the next.
    pub(super) row: isize,
    /// The panel of B, and the one beside it for tiles of four vectors.
    pub(super) panels: [*const T; 2],
    /// What is fetched meanwhile, a line for every [`STEPS_PER_LINE`] steps; any address.
    pub(super) following: *const T,
    pub(super) depth: usize,
}

/// Where the element of a row of A lies; `{fourth}` is the fourth row.
#[rustfmt::skip]
macro_rules! place {
    (0) => { "{a}" };
    (1) => { "{a}+{row}" };
    (2) => { "{a}+2*{row}" };
    (3) => { "{fourth}" };
    (4) => { "{fourth}+{row}" };
    (5) => { "{fourth}+2*{row}" };
}

/// The register of a sum, by its row and its vector of up to 2, or of 4.
#[rustfmt::skip]
macro_rules! register {
    (0, 0, $of:tt) => { "ymm0" };
    (1, 0, $of:tt) => { "ymm1" };
    (2, 0, $of:tt) => { "ymm2" };
    (3, 0, $of:tt) => { "ymm3" };
    (4, 0, $of:tt) => { "ymm4" };
    (5, 0, $of:tt) => { "ymm5" };
    (0, 1, 2) => { "ymm6" };
    (1, 1, 2) => { "ymm7" };
    (2, 1, 2) => { "ymm8" };
    (3, 1, 2) => { "ymm9" };
    (4, 1, 2) => { "ymm10" };
    (5, 1, 2) => { "ymm11" };
    (0, 1, 4) => { "ymm3" };
    (1, 1, 4) => { "ymm4" };
    (2, 1, 4) => { "ymm5" };
    (0, 2, 4) => { "ymm6" };
    (1, 2, 4) => { "ymm7" };
    (2, 2, 4) => { "ymm8" };
    (0, 3, 4) => { "ymm9" };
    (1, 3, 4) => { "ymm10" };
    (2, 3, 4) => { "ymm11" };
}

/// Code for the rows of a tile, one after the other: `$code!(row, …)`.
#[rustfmt::skip]
macro_rules! rows {
    (1, $code:ident, $($rest:tt)*) => { $code!(0, $($rest)*) };
    (2, $code:ident, $($rest:tt)*) => { concat!(rows!(1, $code, $($rest)*), $code!(1, $($rest)*)) };
    (3, $code:ident, $($rest:tt)*) => { concat!(rows!(2, $code, $($rest)*), $code!(2, $($rest)*)) };
    (4, $code:ident, $($rest:tt)*) => { concat!(rows!(3, $code, $($rest)*), $code!(3, $($rest)*)) };
    (5, $code:ident, $($rest:tt)*) => { concat!(rows!(4, $code, $($rest)*), $code!(4, $($rest)*)) };
    (6, $code:ident, $($rest:tt)*) => { concat!(rows!(5, $code, $($rest)*), $code!(5, $($rest)*)) };
}

/// Reads the sums of a row.
macro_rules! read {
    ($r:tt, [$($v:tt),*], $of:tt) => {
        concat!($("vmovups ", register!($r, $v, $of), ", [{sums} + 32*(", $r, "*", $of, "+", $v, ")]\n"),*)
    };
}

/// Writes the sums of a row.
macro_rules! write {
    ($r:tt, [$($v:tt),*], $of:tt) => {
        concat!($("vmovups [{sums} + 32*(", $r, "*", $of, "+", $v, ")], ", register!($r, $v, $of), "\n"),*)
    };
}

/// Multiplies an element of A with the vectors of B in ymm12 and ymm13, at step `$k`.
macro_rules! multiply_row {
    ($r:tt, $k:tt, [$($v:tt),*], $of:tt, $s:literal, $element:literal) => {
        concat!(
            "vbroadcasts", $s, " ymm14, ", $element, " ptr [", place!($r), " + ", $k, "*{step}]\n",
            $("vfmadd231p", $s, " ", register!($r, $v, $of), ", ymm14, ", vector!($v), "\n"),*
        )
    };
}

/// Broadcasts an element of A to its own register, at step `$k`.
#[rustfmt::skip]
macro_rules! broadcast {
    (0, $k:tt, $s:literal, $element:literal) => { broadcast!("ymm12", place!(0), $k, $s, $element) };
    (1, $k:tt, $s:literal, $element:literal) => { broadcast!("ymm13", place!(1), $k, $s, $element) };
    (2, $k:tt, $s:literal, $element:literal) => { broadcast!("ymm14", place!(2), $k, $s, $element) };
    ($to:literal, $place:expr, $k:tt, $s:literal, $element:literal) => {
        concat!("vbroadcasts", $s, " ", $to, ", ", $element, " ptr [", $place, " + ", $k, "*{step}]\n")
    };
}

/// Multiplies the elements of A with the vector of B in ymm15.
#[rustfmt::skip]
macro_rules! multiply_vector {
    (0, $v:tt, $s:literal) => { concat!("vfmadd231p", $s, " ", register!(0, $v, 4), ", ymm12, ymm15\n") };
    (1, $v:tt, $s:literal) => { concat!("vfmadd231p", $s, " ", register!(1, $v, 4), ", ymm13, ymm15\n") };
    (2, $v:tt, $s:literal) => { concat!("vfmadd231p", $s, " ", register!(2, $v, 4), ", ymm14, ymm15\n") };
}

/// The register of a vector of B.
#[rustfmt::skip]
macro_rules! vector {
    (0) => { "ymm12" };
    (1) => { "ymm13" };
}

/// Step `$k` of a tile of `$rows` rows.
#[rustfmt::skip]
macro_rules! step {
    ($k:tt, $rows:tt, [0], $s:literal, $element:literal) => {
        concat!(
            "vmovups ymm12, [{first} + ", $k, "*32]\n",
            rows!($rows, multiply_row, $k, [0], 1, $s, $element)
        )
    };
    ($k:tt, $rows:tt, [0, 1], $s:literal, $element:literal) => {
        concat!(
            "vmovups ymm12, [{first} + ", $k, "*64]\n",
            "vmovups ymm13, [{first} + ", $k, "*64 + 32]\n",
            rows!($rows, multiply_row, $k, [0, 1], 2, $s, $element)
        )
    };
    ($k:tt, $rows:tt, [0, 1, 2, 3], $s:literal, $element:literal) => {
        concat!(
            rows!($rows, broadcast, $k, $s, $element),
            "vmovups ymm15, [{first} + ", $k, "*64]\n",
            rows!($rows, multiply_vector, 0, $s),
            "vmovups ymm15, [{first} + ", $k, "*64 + 32]\n",
            rows!($rows, multiply_vector, 1, $s),
            "vmovups ymm15, [{second} + ", $k, "*64]\n",
            rows!($rows, multiply_vector, 2, $s),
            "vmovups ymm15, [{second} + ", $k, "*64 + 32]\n",
            rows!($rows, multiply_vector, 3, $s)
        )
    };
}

/// The loop of a tile of `$rows` rows and `$of` vectors, of which a panel has `$width` bytes.
macro_rules! products {
    ($T:ty, $s:literal, $element:literal, $rows:tt, $vectors:tt, $of:tt, $width:literal, $operands:ident, $sums:ident, $step:ident) => {{
        let Operands { a, row, panels: [first, second], following, depth } = $operands;
        // SAFETY: granted by the caller: the code reads A and the panels at `depth` steps, and the sums, which it writes.
        unsafe {
            asm!(
                "lea {fourth}, [{row} + 2*{row}]",
                "add {fourth}, {a}",
                rows!($rows, read, $vectors, $of),
                "test {blocks}, {blocks}",
                "jz 3f",
                "2:",
                "prefetcht0 [{following}]",
                "prefetcht0 [{following} + {line}]",
                "add {following}, 2*{line}",
                step!(0, $rows, $vectors, $s, $element),
                step!(1, $rows, $vectors, $s, $element),
                step!(2, $rows, $vectors, $s, $element),
                step!(3, $rows, $vectors, $s, $element),
                step!(4, $rows, $vectors, $s, $element),
                step!(5, $rows, $vectors, $s, $element),
                step!(6, $rows, $vectors, $s, $element),
                step!(7, $rows, $vectors, $s, $element),
                "add {a}, 8*{step}",
                "add {fourth}, 8*{step}",
                concat!("add {first}, 8*", $width),
                concat!("add {second}, 8*", $width),
                "dec {blocks}",
                "jnz 2b",
                "3:",
                "test {rest}, {rest}",
                "jz 5f",
                "4:",
                step!(0, $rows, $vectors, $s, $element),
                "add {a}, {step}",
                "add {fourth}, {step}",
                concat!("add {first}, ", $width),
                concat!("add {second}, ", $width),
                "dec {rest}",
                "jnz 4b",
                "5:",
                rows!($rows, write, $vectors, $of),
                a = inout(reg) a => _,
                row = in(reg) row,
                fourth = out(reg) _,
                first = inout(reg) first => _,
                second = inout(reg) second => _,
                following = inout(reg) following => _,
                blocks = inout(reg) depth / STEPS => _,
                rest = inout(reg) depth % STEPS => _,
                sums = in(reg) $sums,
                step = const $step * size_of::<$T>(),
                line = const LINE_BYTES,
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _, out("ymm6") _,
                out("ymm7") _, out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _, out("ymm12") _,
                out("ymm13") _, out("ymm14") _, out("ymm15") _,
                options(nostack),
            );
        }
    }};
}

macro_rules! impl_products {
    ($name:ident, $T:ty, $s:literal, $element:literal) => {
        /// Adds to `sums`, `R` rows of `V` vectors, the products of the rows with the panels. The elements of a row of A lie
        /// `STEP` elements apart, those of a panel, which has up to two vectors, one after the other.
        ///
        /// # Safety
        /// The CPU must have AVX2 and FMA. A must be valid for reads of `R` × `depth` elements, the panels for `depth` · `V`
        /// vectors, and the sums for reads and writes of `R` · `V` vectors.
        #[target_feature(enable = "avx2,fma")]
        pub(super) unsafe fn $name<const R: usize, const V: usize, const STEP: usize>(
            operands: Operands<$T>,
            sums: *mut $T,
        ) {
            match const { (R, V) } {
                (1, 1) => products!($T, $s, $element, 1, [0], 1, "32", operands, sums, STEP),
                (2, 1) => products!($T, $s, $element, 2, [0], 1, "32", operands, sums, STEP),
                (3, 1) => products!($T, $s, $element, 3, [0], 1, "32", operands, sums, STEP),
                (4, 1) => products!($T, $s, $element, 4, [0], 1, "32", operands, sums, STEP),
                (5, 1) => products!($T, $s, $element, 5, [0], 1, "32", operands, sums, STEP),
                (6, 1) => products!($T, $s, $element, 6, [0], 1, "32", operands, sums, STEP),
                (1, 2) => products!($T, $s, $element, 1, [0, 1], 2, "64", operands, sums, STEP),
                (2, 2) => products!($T, $s, $element, 2, [0, 1], 2, "64", operands, sums, STEP),
                (3, 2) => products!($T, $s, $element, 3, [0, 1], 2, "64", operands, sums, STEP),
                (4, 2) => products!($T, $s, $element, 4, [0, 1], 2, "64", operands, sums, STEP),
                (5, 2) => products!($T, $s, $element, 5, [0, 1], 2, "64", operands, sums, STEP),
                (6, 2) => products!($T, $s, $element, 6, [0, 1], 2, "64", operands, sums, STEP),
                (1, 4) => products!($T, $s, $element, 1, [0, 1, 2, 3], 4, "64", operands, sums, STEP),
                (2, 4) => products!($T, $s, $element, 2, [0, 1, 2, 3], 4, "64", operands, sums, STEP),
                (3, 4) => products!($T, $s, $element, 3, [0, 1, 2, 3], 4, "64", operands, sums, STEP),
                _ => unreachable!("tiles have up to 6 rows of 1 or 2 vectors, or up to 3 of 4"),
            }
        }
    };
}

impl_products!(products_f32, f32, "s", "dword");
impl_products!(products_f64, f64, "d", "qword");
