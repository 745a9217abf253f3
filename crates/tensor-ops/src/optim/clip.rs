//! Clipping of gradients.
//!
//! Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

use rayon::prelude::*;

use super::OptimizerError;
use super::error::check_option;
use super::update::{PARALLEL_VALUES, check_finite, row_major};
use crate::simd::{Kernel, Simd};
use crate::{Element, Parameters};

/// Values whose squares are summed together; the sums of chunks are added in order.
const CHUNK: usize = 1 << 14;

/// Sums that a chunk is spread over.
const LANES: usize = 32;

/// Added to the norm before dividing by it, as in PyTorch's `clip_grad_norm_`.
const NORM_EPSILON: f64 = 1e-6;

/// The square root of the sum of the squares of all values, summed in double precision.
///
/// The order of the sums is given by the shapes alone. NaN or infinite where a value is, or where the sum overflows.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::{Linear, optim};
///
/// let gradients = Linear { weight: array![[2.0_f32, 1.0]], bias: Some(array![2.0]) };
/// assert_eq!(optim::global_norm(&gradients), 3.0);
/// ```
pub fn global_norm<T: Element>(gradients: &dyn Parameters<T>) -> f64 {
    let mut sum = 0.0;
    gradients.visit(&mut |_, values| {
        let values = row_major(&values);
        let squares = |chunk: &[T]| T::dispatch(SumOfSquares(chunk));
        let chunks: Vec<f64> = if values.len() < PARALLEL_VALUES {
            values.chunks(CHUNK).map(squares).collect()
        } else {
            values.par_chunks(CHUNK).map(squares).collect()
        };
        sum += chunks.iter().sum::<f64>();
    });
    sum.sqrt()
}

/// Scales all gradients by one factor such that their [`global_norm`] is at most `max_norm`, and returns the norm they
/// had.
///
/// The factor is min(1, `max_norm` / (norm + 10⁻⁶)), as in PyTorch's `clip_grad_norm_`.
///
/// # Errors
/// [`OptimizerError`] for a `max_norm` that is not positive, for a gradient that is not finite and for a norm that
/// overflows; the gradients are then as they were.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::{Linear, optim};
///
/// let mut gradients = Linear { weight: array![[2.0_f64, 1.0]], bias: Some(array![2.0]) };
/// assert_eq!(optim::clip_global_norm(&mut gradients, 1.5)?, 3.0);
/// assert!((gradients.weight[[0, 0]] - 1.0).abs() < 1e-6);
/// # Ok::<(), tensor_ops::optim::OptimizerError>(())
/// ```
pub fn clip_global_norm<T: Element>(gradients: &mut dyn Parameters<T>, max_norm: f64) -> Result<f64, OptimizerError> {
    check_option("clip_global_norm", "max_norm", "greater than 0", max_norm, max_norm > 0.0)?;
    let norm = global_norm(gradients);
    if !norm.is_finite() {
        check_finite(&gradients.named())?;
        return Err(OptimizerError::NormNotFinite);
    }
    let factor = max_norm / (norm + NORM_EPSILON);
    if factor < 1.0 {
        gradients.scale(T::from_f64(factor));
    }
    Ok(norm)
}

/// Limits every gradient to `-limit..=limit`.
///
/// # Errors
/// [`OptimizerError`] for a `limit` that is not positive and for a gradient that is NaN or infinite; the gradients are
/// then as they were.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::{Linear, optim};
///
/// let mut gradients = Linear { weight: array![[-3.0, 0.5]], bias: None };
/// optim::clip_values(&mut gradients, 1.0)?;
/// assert_eq!(gradients.weight, array![[-1.0, 0.5]]);
/// # Ok::<(), tensor_ops::optim::OptimizerError>(())
/// ```
pub fn clip_values<T: Element>(gradients: &mut dyn Parameters<T>, limit: f64) -> Result<(), OptimizerError> {
    check_option("clip_values", "limit", "greater than 0", limit, limit > 0.0)?;
    check_finite(&gradients.named())?;
    let limit = T::from_f64(limit);
    gradients.visit_mut(&mut |_, mut values| values.mapv_inplace(|v| v.max(-limit).min(limit)));
    Ok(())
}

struct SumOfSquares<'a, T>(&'a [T]);

impl<T: Element> Kernel<T> for SumOfSquares<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) -> f64 {
        let mut sums = [0.0; LANES];
        let (blocks, rest) = self.0.as_chunks::<LANES>();
        for block in blocks {
            for lane in 0..LANES {
                let value = block[lane].to_f64();
                sums[lane] += value * value;
            }
        }
        for (sum, &value) in sums.iter_mut().zip(rest) {
            *sum += value.to_f64() * value.to_f64();
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::Dispatch;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for length in [0, 1, 31, 32, 33, 1_000] {
            let values: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin()).collect();
            let expected: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            let portable = f32::dispatch_on(Isa::Portable, SumOfSquares(&values));
            assert!((portable - expected).abs() <= 1e-13 * expected);
            for isa in Isa::available() {
                assert_eq!(f32::dispatch_on(isa, SumOfSquares(&values)).to_bits(), portable.to_bits(), "{isa}");
            }
        }
    }
}
