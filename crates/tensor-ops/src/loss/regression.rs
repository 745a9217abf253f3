//! Mean squared and mean absolute error.

use ndarray::{ArrayView, Dimension};

use super::elementwise::{ElementLoss, value, value_and_gradient};
use super::{Loss, Reduction};
use crate::simd::Simd;
use crate::{Element, TensorError};

/// The reduced `(x − y)²` of `prediction` x and `target` y, arrays of one shape.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::loss::{Reduction, mean_squared_error};
///
/// let (prediction, target) = (array![[1.0, 2.0], [3.0, 4.0]], array![[1.0, 0.0], [3.0, 0.0]]);
/// assert_eq!(mean_squared_error(prediction.view(), target.view(), Reduction::Mean)?, 5.0);
/// assert_eq!(mean_squared_error(prediction.view(), target.view(), Reduction::BatchMean)?, 10.0);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// [`TensorError::InvalidOption`] if the shapes differ, [`TensorError::EmptyAxis`] if there is no element.
pub fn mean_squared_error<T: Element, D: Dimension>(
    prediction: ArrayView<'_, T, D>,
    target: ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<T, TensorError> {
    value("mean_squared_error", Squared, &prediction, &target, reduction)
}

/// [`mean_squared_error`] with the gradient of `prediction`, `2 (x − y)` times the factor of the reduction.
///
/// # Errors
/// As [`mean_squared_error`].
pub fn mean_squared_error_with_gradient<T: Element, D: Dimension>(
    prediction: ArrayView<'_, T, D>,
    target: ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<Loss<T, D>, TensorError> {
    value_and_gradient("mean_squared_error", Squared, &prediction, &target, reduction)
}

/// The reduced `|x − y|` of `prediction` x and `target` y, arrays of one shape.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::loss::{Reduction, mean_absolute_error_with_gradient};
///
/// let loss = mean_absolute_error_with_gradient(array![1.0, 2.0].view(), array![1.0, 5.0].view(), Reduction::Sum)?;
/// assert_eq!(loss.value, 3.0);
/// assert_eq!(loss.gradient, array![0.0, -1.0]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// [`TensorError::InvalidOption`] if the shapes differ, [`TensorError::EmptyAxis`] if there is no element.
pub fn mean_absolute_error<T: Element, D: Dimension>(
    prediction: ArrayView<'_, T, D>,
    target: ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<T, TensorError> {
    value("mean_absolute_error", Absolute, &prediction, &target, reduction)
}

/// [`mean_absolute_error`] with the gradient of `prediction`, the sign of `x − y` (0 where they are equal) times the
/// factor of the reduction.
///
/// # Errors
/// As [`mean_absolute_error`].
pub fn mean_absolute_error_with_gradient<T: Element, D: Dimension>(
    prediction: ArrayView<'_, T, D>,
    target: ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<Loss<T, D>, TensorError> {
    value_and_gradient("mean_absolute_error", Absolute, &prediction, &target, reduction)
}

#[derive(Clone, Copy)]
struct Squared;

impl<T: Element> ElementLoss<T> for Squared {
    #[inline(always)]
    fn value<S: Simd<T>>(self, simd: S, input: S::Vector, target: S::Vector) -> S::Vector {
        let difference = simd.sub(input, target);
        simd.mul(difference, difference)
    }

    #[inline(always)]
    fn slope<S: Simd<T>>(self, simd: S, input: S::Vector, target: S::Vector) -> S::Vector {
        let difference = simd.sub(input, target);
        simd.add(difference, difference)
    }
}

#[derive(Clone, Copy)]
struct Absolute;

impl<T: Element> ElementLoss<T> for Absolute {
    #[inline(always)]
    fn value<S: Simd<T>>(self, simd: S, input: S::Vector, target: S::Vector) -> S::Vector {
        simd.abs(simd.sub(input, target))
    }

    #[inline(always)]
    fn slope<S: Simd<T>>(self, simd: S, input: S::Vector, target: S::Vector) -> S::Vector {
        let (zero, one) = (simd.splat(T::zero()), simd.splat(T::one()));
        let difference = simd.sub(input, target);
        // Zero stays 0 and NaN stays NaN.
        let unsigned = simd.select_lt(zero, simd.abs(difference), one, difference);
        simd.copy_sign(unsigned, difference)
    }
}
