//! Losses, with the gradient of what they judge.
//!
//! | loss | of one item or element |
//! |---|---|
//! | [`cross_entropy`] | `−Σ_c q_c log softmax(z)_c` with `q_c = (1 − ε)·[c = class] + ε / C` |
//! | [`binary_cross_entropy`] | `−y log σ(z) − (1 − y) log(1 − σ(z))` |
//! | [`mean_squared_error`] | `(x − y)²` |
//! | [`mean_absolute_error`] | `│x − y│` |
//!
//! Each has a form `…_with_gradient` that returns value and gradient together. The first two take logits and neither
//! overflow nor cancel for large ones. A NaN in the input makes the value NaN and the gradient of that element (for
//! cross-entropy, of that item) NaN, and no other.
//!
//! The terms are summed in a fixed order: the result does not depend on the number of threads. Elements are added in
//! blocks in the precision of `T`, the sums of blocks and items in double precision.

use ndarray::{Array, ArrayView, Dimension};

use crate::{TensorError, check_not_empty};

mod binary_cross_entropy;
mod cross_entropy;
mod elementwise;
mod regression;

pub use binary_cross_entropy::{binary_cross_entropy, binary_cross_entropy_with_gradient};
pub use cross_entropy::{CrossEntropyConfig, cross_entropy, cross_entropy_with_gradient};
pub use regression::{
    mean_absolute_error, mean_absolute_error_with_gradient, mean_squared_error, mean_squared_error_with_gradient,
};

/// How the terms of a loss become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The sum of all (weighted) terms; `reduction="sum"` of PyTorch.
    Sum,
    /// The mean of all terms: the sum over the number of elements, or, in [`cross_entropy`] with weights, the weighted
    /// sum over the sum of the weights; `reduction="mean"` of PyTorch.
    #[default]
    Mean,
    /// The sum of all (weighted) terms over the size of the first axis, whatever the weights are: the loss per clip
    /// of a batch, summed over its frames or pixels.
    BatchMean,
}

/// A loss and its gradient with respect to the logits or predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss<T, D: Dimension> {
    /// The reduced loss.
    pub value: T,
    /// The derivative of `value`, of the shape of the input.
    pub gradient: Array<T, D>,
}

/// Checks that two arrays have one shape with at least one element.
fn check_pair<T, D: Dimension>(
    operation: &'static str,
    input: &ArrayView<'_, T, D>,
    target: &ArrayView<'_, T, D>,
) -> Result<(), TensorError> {
    if input.shape() != target.shape() {
        return Err(TensorError::InvalidOption {
            operation,
            option: "target",
            requirement: "of the shape of the input",
            found: format!("shape {:?} for an input of shape {:?}", target.shape(), input.shape()),
        });
    }
    check_not_empty(operation, "elements", input.len())
}
