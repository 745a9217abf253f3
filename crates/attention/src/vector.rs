//! Sums over vectors in a fixed order.

use ndarray::{ArrayView2, ArrayViewMut2};
use tensor_ops::{Element, TensorError, gemm};

/// Sums that a dot product keeps side by side.
const LANES: usize = 16;

/// `Σ aᵢ bᵢ`; its order depends on the length alone.
#[inline]
pub(crate) fn dot<T: Element>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::zero(); LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    a.remainder().iter().zip(b.remainder()).fold(sums[0], |sum, (&a, &b)| sum + a * b)
}

/// `target += factor · values`
#[inline]
pub(crate) fn add_scaled<T: Element>(factor: T, values: &[T], target: &mut [T]) {
    for (target, &value) in target.iter_mut().zip(values) {
        *target += factor * value;
    }
}

/// `target += Σⱼ wⱼ rowⱼ` over the rows of `rows`, from the first to the last; a row of weight 0 is not read.
pub(crate) fn add_weighted<T: Element>(weights: &[T], rows: &[T], target: &mut [T]) {
    let width = target.len();
    let mut blocks = weights.chunks_exact(4);
    let mut position = 0;
    for block in &mut blocks {
        if let &[w0, w1, w2, w3] = block
            && block.iter().all(|&weight| weight != T::zero())
        {
            let rows = &rows[position * width..(position + 4) * width];
            let (r0, rows) = rows.split_at(width);
            let (r1, rows) = rows.split_at(width);
            let (r2, r3) = rows.split_at(width);
            for ((((target, &r0), &r1), &r2), &r3) in target.iter_mut().zip(r0).zip(r1).zip(r2).zip(r3) {
                *target = (((*target + w0 * r0) + w1 * r1) + w2 * r2) + w3 * r3;
            }
        } else {
            add_each(block, &rows[position * width..], target);
        }
        position += 4;
    }
    add_each(blocks.remainder(), &rows[position * width..], target);
}

fn add_each<T: Element>(weights: &[T], rows: &[T], target: &mut [T]) {
    let width = target.len();
    for (position, &weight) in weights.iter().enumerate() {
        if weight != T::zero() {
            add_scaled(weight, &rows[position * width..(position + 1) * width], target);
        }
    }
}

/// The gradient of a weight `[outputs, inputs]`: Yᵀ X for the gradients Y of all outputs and the inputs X.
pub(crate) fn weight_gradient<T: Element>(
    grad_output: ArrayView2<'_, T>,
    input: ArrayView2<'_, T>,
    target: ArrayViewMut2<'_, T>,
) -> Result<(), TensorError> {
    gemm(T::one(), grad_output.t(), input, T::zero(), target)
}

/// `target += Σ rows`, from the first to the last.
pub(crate) fn add_rows<T: Element>(rows: ArrayView2<'_, T>, target: &mut [T]) {
    for row in rows.rows() {
        target.iter_mut().zip(row).for_each(|(target, &value)| *target += value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2};
    use tensor_ops::testing::seeded_array;

    #[test]
    fn sums_are_those_of_plain_loops() {
        for length in [0, 1, 15, 16, 17, 50] {
            let (a, b): (Array1<f64>, Array1<f64>) = (seeded_array(length, 1), seeded_array(length, 2));
            let found = dot(a.as_slice().unwrap(), b.as_slice().unwrap());
            assert!((found - a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>()).abs() < 1e-14, "{length}");
        }
        for rows in [1, 3, 4, 5, 9] {
            let mut weights: Array1<f64> = seeded_array(rows, 1);
            let mut values: Array2<f64> = seeded_array((rows, 7), 2);
            if rows > 3 {
                weights[2] = 0.0;
                values.row_mut(2).fill(f64::NAN);
            }
            let mut found = [1.0; 7];
            add_weighted(weights.as_slice().unwrap(), values.as_slice().unwrap(), &mut found);
            for (column, found) in found.iter().enumerate() {
                let kept = (0..rows).filter(|&row| weights[row] != 0.0);
                let expected = 1.0 + kept.map(|row| weights[row] * values[[row, column]]).sum::<f64>();
                assert!((found - expected).abs() < 1e-14, "{rows} rows, column {column}");
            }
        }
    }
}
