//! Binary cross-entropy on logits.

use ndarray::{ArrayView, Dimension};

use super::elementwise::{ElementLoss, value, value_and_gradient};
use super::{Loss, Reduction};
use crate::simd::Simd;
use crate::vecmath::{sigmoid_vector, softplus_vector};
use crate::{Element, TensorError};

/// The reduced `−y log σ(z) − (1 − y) log(1 − σ(z))` of `logits` z and `target` y in 0..=1, arrays of one shape.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::loss::{Reduction, binary_cross_entropy};
///
/// let loss = binary_cross_entropy(array![1e4_f32, -1e4, -7.0].view(), array![1.0, 0.0, 1.0].view(), Reduction::Sum)?;
/// assert!((loss - 7.000_911).abs() < 1e-5);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// [`TensorError::InvalidOption`] if the shapes differ or a target is not in 0..=1, [`TensorError::EmptyAxis`] if there
/// is no element.
pub fn binary_cross_entropy<T: Element, D: Dimension>(
    logits: ArrayView<'_, T, D>,
    target: ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<T, TensorError> {
    check_target(&target)?;
    value("binary_cross_entropy", OnLogits, &logits, &target, reduction)
}

/// [`binary_cross_entropy`] with the gradient of `logits`, `σ(z) − y` times the factor of the reduction.
///
/// # Errors
/// As [`binary_cross_entropy`].
pub fn binary_cross_entropy_with_gradient<T: Element, D: Dimension>(
    logits: ArrayView<'_, T, D>,
    target: ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<Loss<T, D>, TensorError> {
    check_target(&target)?;
    value_and_gradient("binary_cross_entropy", OnLogits, &logits, &target, reduction)
}

fn check_target<T: Element, D: Dimension>(target: &ArrayView<'_, T, D>) -> Result<(), TensorError> {
    let valid = T::zero()..=T::one();
    match target.iter().find(|value| !valid.contains(value)) {
        Some(value) => Err(TensorError::InvalidOption {
            operation: "binary_cross_entropy",
            option: "target",
            requirement: "in 0..=1",
            found: value.to_string(),
        }),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct OnLogits;

impl<T: Element> ElementLoss<T> for OnLogits {
    /// (max(z, 0) − z·y) + log(1 + e^−|z|): for a sure and right logit the first part is exactly 0 and the second small.
    #[inline(always)]
    fn value<S: Simd<T>>(self, simd: S, logit: S::Vector, target: S::Vector) -> S::Vector {
        let zero = simd.splat(T::zero());
        let certain = simd.sub(simd.max(zero, logit), simd.mul(logit, target));
        let uncertain = softplus_vector(simd, simd.copy_sign(logit, simd.splat(-T::one())));
        simd.add(certain, uncertain)
    }

    #[inline(always)]
    fn slope<S: Simd<T>>(self, simd: S, logit: S::Vector, target: S::Vector) -> S::Vector {
        simd.sub(sigmoid_vector(simd, logit), target)
    }
}
