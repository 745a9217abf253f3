//! Orthogonal matrices, uniform over all of them (Haar's measure).
//!
//! The rows of a matrix of independent normal values are made orthonormal by the process of Gram and Schmidt, whose
//! triangular factor has a positive diagonal: the condition for the result to be uniform (Mezzadri, "How to generate
//! random matrices from the classical compact groups", 2007). Rows are taken in blocks, so that nearly all work is
//! matrix products, and every projection is done twice, which makes the result orthogonal to rounding.

use ndarray::{Array, Array2, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, Dimension, IntoDimension, s};
use ndarray_rand::RandomExt;
use ndarray_rand::rand::Rng;
use ndarray_rand::rand_distr::StandardNormal;

use super::check_not_negative;
use crate::{Element, TensorError, check_not_empty, gemm};

/// Rows that are projected together.
const BLOCK_ROWS: usize = 32;

/// `gain` times a matrix with orthonormal rows or columns, whichever are fewer.
///
/// The matrix of a shape with more than two axes is `[outputs, product of the others]`, as in PyTorch.
///
/// # Errors
/// [`TensorError`] for fewer than two axes, for an axis without entries, for a `gain` that is negative or not finite,
/// and for a generator that gives linearly dependent rows.
///
/// ```
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::init;
///
/// let weight = init::orthogonal::<f64, _>((2, 5), 1.0, &mut StdRng::seed_from_u64(1))?;
/// let products = weight.dot(&weight.t());
/// assert!((products[[0, 0]] - 1.0).abs() < 1e-12 && products[[0, 1]].abs() < 1e-12);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn orthogonal<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    gain: f64,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    orthogonal_blocks(shape, 1, gain, rng)
}

/// As [`orthogonal`] for each of `blocks` equal parts of the first axis: the recurrent weight `[4 · hidden, hidden]` of
/// an LSTM has one orthogonal matrix per gate.
///
/// # Errors
/// As for [`orthogonal`], and [`TensorError::InvalidOption`] if the first axis does not divide into `blocks`.
///
/// ```
/// use ndarray::s;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::init;
///
/// let weight = init::orthogonal_blocks::<f64, _>((12, 3), 4, 1.0, &mut StdRng::seed_from_u64(1))?;
/// let gate = weight.slice(s![3..6, ..]);
/// assert!((gate.row(0).dot(&gate.row(0)) - 1.0).abs() < 1e-12);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn orthogonal_blocks<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    blocks: usize,
    gain: f64,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    let operation = "init::orthogonal";
    let shape = shape.into_dimension();
    check_not_negative(operation, "gain", gain)?;
    let (rows, columns) = match shape.slice() {
        [rows, others @ ..] if !others.is_empty() => (*rows, others.iter().product()),
        _ => {
            return Err(TensorError::InvalidOption {
                operation,
                option: "shape",
                requirement: "one of at least 2 axes",
                found: format!("{:?}", shape.slice()),
            });
        }
    };
    check_not_empty(operation, "rows", rows)?;
    check_not_empty(operation, "columns", columns)?;
    if blocks == 0 || !rows.is_multiple_of(blocks) {
        return Err(TensorError::InvalidOption {
            operation,
            option: "blocks",
            requirement: "a divisor of the size of the first axis",
            found: format!("{blocks} for {rows}"),
        });
    }
    let mut matrix = Array2::zeros((rows, columns));
    for mut block in matrix.axis_chunks_iter_mut(Axis(0), rows / blocks) {
        let (short, long) = (block.nrows().min(columns), block.nrows().max(columns));
        let mut basis = Array2::random_using((short, long), StandardNormal, rng);
        orthonormalise_rows(&mut basis)?;
        let basis = if block.ncols() == long { basis.view() } else { basis.t() };
        block.zip_mut_with(&basis, |value, &b: &f64| *value = T::from_f64(gain * b));
    }
    Ok(matrix.into_shape_with_order(shape).expect("the shape has rows × columns entries"))
}

/// Makes the rows of `matrix` orthonormal, each within the span of itself and the rows above.
fn orthonormalise_rows(matrix: &mut Array2<f64>) -> Result<(), TensorError> {
    for start in (0..matrix.nrows()).step_by(BLOCK_ROWS) {
        let end = (start + BLOCK_ROWS).min(matrix.nrows());
        let (done, mut rest) = matrix.view_mut().split_at(Axis(0), start);
        let mut block = rest.slice_mut(s![..end - start, ..]);
        if start > 0 {
            project_out(done.view(), block.view_mut())?;
            project_out(done.view(), block.view_mut())?;
        }
        for row in 0..block.nrows() {
            let (done, mut rest) = block.view_mut().split_at(Axis(0), row);
            normalise_against(done.view(), rest.row_mut(0))?;
        }
    }
    Ok(())
}

/// block ← block − (block · basisᵀ) · basis
fn project_out(basis: ArrayView2<'_, f64>, block: ArrayViewMut2<'_, f64>) -> Result<(), TensorError> {
    let mut products = Array2::zeros((block.nrows(), basis.nrows()));
    gemm(1.0, block.view(), basis.t(), 0.0, products.view_mut())?;
    gemm(-1.0, products.view(), basis, 1.0, block)
}

/// Subtracts from `row` its projections on the rows of `basis`, twice, and scales it to length 1.
fn normalise_against(basis: ArrayView2<'_, f64>, mut row: ArrayViewMut1<'_, f64>) -> Result<(), TensorError> {
    let length = row.dot(&row).sqrt();
    for _ in 0..2 {
        for direction in basis.rows() {
            let product = direction.dot(&row);
            row.scaled_add(-product, &direction);
        }
    }
    let remaining = row.dot(&row).sqrt();
    if remaining.is_nan() || remaining <= 1e-10 * length {
        return Err(TensorError::InvalidOption {
            operation: "init::orthogonal",
            option: "rng",
            requirement: "a generator of independent values",
            found: "linearly dependent rows".to_owned(),
        });
    }
    row.mapv_inplace(|v| v / remaining);
    Ok(())
}
