//! Matrix products `C = α A B + β C` in parallel over parts of C.
//!
//! On CPUs with AVX2 or AVX-512 they have register tiles of their own, in blocks for the caches; on all others they go through
//! `matrixmultiply`.

use std::cmp::Reverse;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::simd::Dispatch;
use crate::{Element, Isa, TensorError, check_axis, with_scratch};

mod blocked;
pub(crate) mod pack;
pub(crate) mod tile;

pub(crate) use blocked::{Matrix, Product};

/// Below this many multiply-adds a product is not split: handing over a part costs a few microseconds.
const MIN_PART_WORK: usize = 1 << 20;

/// The least rows or columns of a part: every part packs its share of both operands anew, and packing an element
/// pays for itself over this many uses.
const MIN_PART_EXTENT: usize = 128;

/// Parts end at multiples of this, a multiple of every register tile of `matrixmultiply`: a tile is complete or cut off
/// in a part as it is in the whole of C, and complete and cut tiles may round `β C` differently.
const PART_ALIGNMENT: usize = 32;

/// The parts that each thread gets where there is enough work: a thread that is late leaves the second one to another.
const PARTS_PER_THREAD: usize = 2;

/// Computes `C = α A B + β C` in parallel.
///
/// - `a`: `[m, k]`, `b`: `[k, n]`, `c`: `[m, n]`, all with any strides; a transposed operand is a transposed view.
/// - With `beta` = 0, C is written without being read: what it held, NaN included, does not matter.
///
/// Every value of C is computed by the same operations in the same order in whatever part it lies, so the result does not
/// depend on the number of threads. Called from within a rayon task, [`gemm_serial`] avoids the cost of splitting again.
///
/// # Errors
/// [`TensorError::AxisSize`] if the shapes do not fit.
///
/// ```
/// use ndarray::{Array2, array};
/// let a = array![[1.0, 2.0], [3.0, 4.0]];
/// let b = array![[1.0, 0.0], [1.0, 1.0]];
/// let mut c = Array2::zeros((2, 2));
/// tensor_ops::gemm(1.0, a.view(), b.t(), 0.0, c.view_mut())?;
/// assert_eq!(c, array![[1.0, 3.0], [3.0, 7.0]]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn gemm<T: Element>(
    alpha: T,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    c: ArrayViewMut2<'_, T>,
) -> Result<(), TensorError> {
    check_shapes(&a, &b, &c)?;
    let (rows, columns) = c.dim();
    let [row_parts, column_parts] = parts(rows, columns, a.ncols());
    if row_parts * column_parts == 1 {
        multiply(Isa::selected(), alpha, a, b, beta, c);
        return Ok(());
    }
    let rows_per_part = rows.div_ceil(row_parts).next_multiple_of(PART_ALIGNMENT);
    let columns_per_part = columns.div_ceil(column_parts).next_multiple_of(PART_ALIGNMENT);
    let mut tasks = Vec::with_capacity(row_parts * column_parts);
    let mut c_rest = c;
    for a_part in a.axis_chunks_iter(Axis(0), rows_per_part) {
        let (mut c_rows, rest) = c_rest.split_at(Axis(0), a_part.nrows());
        c_rest = rest;
        for b_part in b.axis_chunks_iter(Axis(1), columns_per_part) {
            let (c_part, rest) = c_rows.split_at(Axis(1), b_part.ncols());
            c_rows = rest;
            tasks.push((a_part, b_part, c_part));
        }
    }
    tasks.into_par_iter().for_each(|(a, b, c)| multiply(Isa::selected(), alpha, a, b, beta, c));
    Ok(())
}

/// Computes what [`gemm`] computes, to the same bits, on the calling thread.
///
/// # Errors
/// [`TensorError::AxisSize`] if the shapes do not fit.
pub fn gemm_serial<T: Element>(
    alpha: T,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    c: ArrayViewMut2<'_, T>,
) -> Result<(), TensorError> {
    check_shapes(&a, &b, &c)?;
    multiply(Isa::selected(), alpha, a, b, beta, c);
    Ok(())
}

fn check_shapes<T>(a: &ArrayView2<'_, T>, b: &ArrayView2<'_, T>, c: &ArrayViewMut2<'_, T>) -> Result<(), TensorError> {
    check_axis("gemm", "rows of B", a.ncols(), b.nrows())?;
    check_axis("gemm", "rows of C", a.nrows(), c.nrows())?;
    check_axis("gemm", "columns of C", b.ncols(), c.ncols())
}

/// The number of parts of C along its rows and columns. Each packs its rows of A and its columns of B anew: of as many parts
/// as possible, those that pack least.
fn parts(rows: usize, columns: usize, depth: usize) -> [usize; 2] {
    let work = rows.saturating_mul(columns).saturating_mul(depth);
    let most = (work / MIN_PART_WORK).clamp(1, PARTS_PER_THREAD * rayon::current_num_threads());
    let most_of = |extent: usize| (extent / MIN_PART_EXTENT).max(1);
    let divisions =
        (1..=most.min(most_of(rows))).map(|row_parts| [row_parts, (most / row_parts).min(most_of(columns))]);
    let packed = |[row_parts, column_parts]: [usize; 2]| rows * column_parts + columns * row_parts;
    divisions.min_by_key(|&parts| (Reverse(parts[0] * parts[1]), packed(parts))).unwrap_or([1, 1])
}

fn multiply<T: Element>(
    isa: Isa,
    alpha: T,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    mut c: ArrayViewMut2<'_, T>,
) {
    let (rows, columns) = c.dim();
    let depth = a.ncols();
    if rows == 0 || columns == 0 {
        return;
    }
    if depth == 0 {
        // The product is empty; β = 0 must not read C.
        c.mapv_inplace(|value| if beta == T::zero() { beta } else { beta * value });
        return;
    }
    let product = Product {
        sizes: [rows, depth, columns],
        alpha,
        a: Matrix { pointer: a.as_ptr(), row: a.strides()[0], column: a.strides()[1] },
        b: Matrix { pointer: b.as_ptr(), row: b.strides()[0], column: b.strides()[1] },
        beta,
        c: Matrix { pointer: c.as_mut_ptr(), row: c.strides()[0], column: c.strides()[1] },
    };
    // SAFETY: pointers and strides are those of views whose shapes were checked to be [rows, depth],
    // [depth, columns] and [rows, columns]; the mutable view of C aliases nothing, itself included.
    #[expect(unsafe_code, reason = "products take pointers and strides")]
    unsafe {
        T::multiply_on(isa, product);
    }
}

/// The product for an element type.
///
/// A supertrait of [`Element`] that other crates cannot name.
pub(crate) trait RawGemm: Sized {
    /// Computes `product` with the kernels of `isa`.
    ///
    /// # Safety
    /// As for [`Product::blocked`].
    #[expect(unsafe_code, reason = "products take pointers and strides")]
    unsafe fn multiply_on(isa: Isa, product: Product<Self>);
}

macro_rules! impl_raw_gemm {
    ($element:ty, $portable:path) => {
        impl RawGemm for $element {
            #[expect(unsafe_code, reason = "products take pointers and strides")]
            unsafe fn multiply_on(isa: Isa, product: Product<Self>) {
                let Product { sizes, alpha, a, b, beta, c } = product;
                let [m, k, n] = sizes;
                // SAFETY: granted by the caller, to either.
                unsafe {
                    if isa == Isa::Portable {
                        $portable(
                            m, k, n, alpha, a.pointer, a.row, a.column, b.pointer, b.row, b.column, beta, c.pointer,
                            c.row, c.column,
                        );
                    } else {
                        with_scratch(Product::<Self>::buffer_len(sizes), |buffer| {
                            Self::dispatch_on(isa, product.blocked(buffer));
                        });
                    }
                }
            }
        }
    };
}

impl_raw_gemm!(f32, matrixmultiply::sgemm);
impl_raw_gemm!(f64, matrixmultiply::dgemm);

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    fn matrix<T: Element>(rows: usize, columns: usize, seed: usize) -> Array2<T> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            T::from_f64(((i * 31 + j * 17 + seed * 7) % 23) as f64 / 11.0 - 1.0)
        })
    }

    fn naive<T: Element>(alpha: T, a: &Array2<T>, b: &Array2<T>, beta: T, c: &Array2<T>) -> Array2<T> {
        Array2::from_shape_fn(c.dim(), |(i, j)| {
            let product: f64 = (0..a.ncols()).map(|k| a[[i, k]].to_f64() * b[[k, j]].to_f64()).sum();
            T::from_f64(alpha.to_f64() * product + beta.to_f64() * c[[i, j]].to_f64())
        })
    }

    fn check<T: Element>(m: usize, k: usize, n: usize, tolerance: f64) {
        let (a, b, c) = (matrix::<T>(m, k, 1), matrix::<T>(k, n, 2), matrix::<T>(m, n, 3));
        for (alpha, beta) in [(1.0, 0.0), (1.0, 1.0), (-0.7, 0.3), (0.0, 1.0)] {
            let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
            let expected = naive(alpha, &a, &b, beta, &c);
            let mut parallel = c.clone();
            gemm(alpha, a.view(), b.view(), beta, parallel.view_mut()).unwrap();
            let difference = (&parallel - &expected).mapv(|d| d.to_f64().abs());
            let worst = difference.iter().copied().fold(0.0, f64::max);
            assert!(worst <= tolerance * (1.0 + k as f64), "{m}x{k}x{n}: error {worst}");
            let mut serial = c.clone();
            gemm_serial(alpha, a.view(), b.view(), beta, serial.view_mut()).unwrap();
            assert_eq!(parallel, serial, "{m}x{k}x{n}: serial and parallel");
            for isa in Isa::available() {
                let mut product = c.clone();
                multiply(isa, alpha, a.view(), b.view(), beta, product.view_mut());
                let worst = (&product - &expected).mapv(|d| d.to_f64().abs()).iter().copied().fold(0.0, f64::max);
                assert!(worst <= tolerance * (1.0 + k as f64), "{isa}, {m}x{k}x{n}: error {worst}");
            }
        }
    }

    #[test]
    fn equals_the_naive_product() {
        for m in [1, 2, 7, 16, 33] {
            for k in [0, 1, 5, 64, 257] {
                for n in [1, 3, 16, 31] {
                    check::<f32>(m, k, n, 1e-6);
                    check::<f64>(m, k, n, 1e-14);
                }
            }
        }
        check::<f32>(300, 70, 290, 1e-6);
        check::<f64>(130, 300, 520, 1e-14);
        for [m, k, n] in [[700, 300, 150], [150, 300, 700], [400, 520, 200], [200, 17, 1500], [193, 256, 1025]] {
            check::<f32>(m, k, n, 1e-6);
        }
        check::<f32>(5, 600, 2100, 1e-6);
        check::<f32>(2100, 600, 5, 1e-6);
    }

    #[test]
    fn accepts_any_strides() {
        let (a, b) = (matrix::<f64>(40, 30, 1), matrix::<f64>(25, 60, 2));
        let a_view = a.slice(s![..;2, ..;-1]); // [20, 30]
        let b_view = b.slice(s![.., ..;2]).reversed_axes(); // [30, 25]
        let mut storage = matrix::<f64>(50, 40, 3);
        let expected = naive(1.0, &a_view.to_owned(), &b_view.to_owned(), 0.5, &matrix_slice(&storage));
        gemm(1.0, a_view, b_view, 0.5, storage.slice_mut(s![..;-2, ..;2]).reversed_axes()).unwrap();
        let difference = (&matrix_slice(&storage) - &expected).mapv(f64::abs);
        assert!(difference.iter().all(|&d| d < 1e-12));

        fn matrix_slice(storage: &Array2<f64>) -> Array2<f64> {
            storage.slice(s![..;-2, ..;2]).reversed_axes().to_owned()
        }
    }

    #[test]
    fn beta_zero_does_not_read_c() {
        for (m, k, n) in [(3, 4, 5), (3, 0, 5), (300, 64, 300)] {
            let (a, b) = (matrix::<f32>(m, k, 1), matrix::<f32>(k, n, 2));
            let mut c = Array2::from_elem((m, n), f32::NAN);
            gemm(1.0, a.view(), b.view(), 0.0, c.view_mut()).unwrap();
            assert!(c.iter().all(|v| v.is_finite()), "{m}x{k}x{n}");
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let (a, b) = (matrix::<f32>(310, 333, 1), matrix::<f32>(333, 517, 2));
        let product = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut c = Array2::zeros((310, 517));
            pool.install(|| gemm(0.7, a.view(), b.view(), 0.0, c.view_mut())).unwrap();
            c
        };
        let one = product(1);
        for threads in [2, 3, 8] {
            assert_eq!(product(threads), one, "{threads} threads");
        }
    }

    /// Of the kernels of this crate; `matrixmultiply` rounds cut tiles otherwise.
    #[test]
    fn an_element_depends_on_its_row_and_its_column_alone() {
        let (a, b) = (matrix::<f32>(200, 333, 1), matrix::<f32>(333, 217, 2));
        for isa in Isa::available().into_iter().filter(|&isa| isa != Isa::Portable) {
            let product = |a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>| {
                let mut c = Array2::zeros((a.nrows(), b.ncols()));
                multiply(isa, 1.0, a, b, 0.0, c.view_mut());
                c
            };
            let whole = product(a.view(), b.view());
            let (turned_a, turned_b) =
                (a.t().as_standard_layout().into_owned(), b.t().as_standard_layout().into_owned());
            assert_eq!(product(turned_a.t(), turned_b.t()), whole, "{isa}: other strides");
            for [first, rows] in [[0, 1], [3, 5], [7, 13], [100, 100]] {
                let part = product(a.slice(s![first..first + rows, ..]), b.view());
                assert_eq!(part, whole.slice(s![first..first + rows, ..]), "{isa}: {rows} rows");
                let part = product(a.view(), b.slice(s![.., first..first + rows]));
                assert_eq!(part, whole.slice(s![.., first..first + rows]), "{isa}: {rows} columns");
                let mut standing = Array2::zeros((rows, 200));
                multiply(
                    isa,
                    1.0,
                    a.view(),
                    b.slice(s![.., first..first + rows]),
                    0.0,
                    standing.view_mut().reversed_axes(),
                );
                assert_eq!(standing.t(), part, "{isa}: C by columns");
            }
        }
    }

    #[test]
    fn parts_pack_little() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let parts = |rows, columns, depth| pool.install(|| parts(rows, columns, depth));
        assert_eq!(parts(10, 10, 10), [1, 1], "little work");
        assert_eq!(parts(100, 100, 10_000), [1, 1], "few rows and columns");
        assert_eq!(parts(10_000, 100, 512), [4, 1]);
        assert_eq!(parts(100, 10_000, 512), [1, 4]);
        assert_eq!(parts(512, 512, 512), [2, 2]);
        assert_eq!(parts(47_040, 512, 1024), [4, 1]);
        assert_eq!(parts(200, 400, 1024), [1, 3]);
    }

    #[test]
    fn refuses_shapes_that_do_not_fit() {
        let (a, b) = (matrix::<f32>(2, 3, 1), matrix::<f32>(4, 5, 2));
        let mut c = Array2::zeros((2, 5));
        let error = gemm(1.0, a.view(), b.view(), 0.0, c.view_mut()).unwrap_err();
        assert_eq!(error, TensorError::AxisSize { operation: "gemm", axis: "rows of B", expected: 3, found: 4 });
        let error = gemm(1.0, a.view(), b.slice(s![..3, ..4]), 0.0, c.view_mut()).unwrap_err();
        assert_eq!(error.to_string(), "gemm: columns of C: expected size 4, found 5");
    }
}
