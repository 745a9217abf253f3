//! Softmax and log-softmax over one axis, with an optional mask, and their gradients.
//!
//! With scores e, mask m (true = kept) and the sum over the kept entries of the axis,
//!
//! ```text
//! w_i = exp(e_i − max e) / Σ_j exp(e_j − max e)        softmax
//! l_i = (e_i − max e) − log Σ_j exp(e_j − max e)       log-softmax
//! ```
//!
//! - An entry that the mask excludes is not read: its weight is 0, its log-weight −∞, its gradient 0. A score of −∞ is
//!   the same as an excluded entry.
//! - Where nothing is kept, all weights are 0 and all log-weights −∞.
//! - A kept NaN or +∞ makes every kept entry NaN.
//! - Excluded entries behind or between the others change no bit of the result.

use ndarray::{Array, ArrayView, ArrayViewD, Dimension, Zip};

use crate::{Element, TensorError, check_axis, check_not_empty};

mod columns;
mod functions;
mod lanes;
pub(crate) mod rows;

use functions::{Gradient, LogSoftmax, Normaliser, Softmax};
use lanes::{gradient_of_lanes, normalise_lanes};
use rows::{GradientRow, Row};

/// The weights of `scores` over `axis`: not negative, with sum 1.
///
/// `mask`, where given, is broadcast to the shape of `scores`: axes are aligned from the last, and an axis of size 1 or
/// a missing one stands for all positions. The result has the shape of `scores`, in row-major order.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::softmax;
///
/// let scores = array![[1.0, 1.0, 5.0], [0.0, 1e4, 0.0]];
/// let mask = array![true, true, false];
/// let weights = softmax(scores.view(), 1, Some(mask.view().into_dyn()))?;
/// assert_eq!(weights, array![[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// [`TensorError::InvalidOption`] if `scores` has no such axis or the mask cannot be broadcast,
/// [`TensorError::EmptyAxis`] if the axis has no entry.
pub fn softmax<T: Element, D: Dimension>(
    scores: ArrayView<'_, T, D>,
    axis: usize,
    mask: Option<ArrayViewD<'_, bool>>,
) -> Result<Array<T, D>, TensorError> {
    normalise("softmax", &scores, axis, mask, Softmax)
}

/// The logarithms of the weights of `scores` over `axis`, without the loss of `log(softmax(…))`.
///
/// `mask` and the result are as in [`softmax`].
///
/// ```
/// use ndarray::array;
/// use tensor_ops::log_softmax;
///
/// let log_weights = log_softmax(array![0.0_f64, 0.0, -1e4].view(), 0, None)?;
/// assert!((log_weights[0] + 2.0_f64.ln()).abs() < 1e-12);
/// assert!((log_weights[2] + 1e4 + 2.0_f64.ln()).abs() < 1e-11);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// As [`softmax`].
pub fn log_softmax<T: Element, D: Dimension>(
    scores: ArrayView<'_, T, D>,
    axis: usize,
    mask: Option<ArrayViewD<'_, bool>>,
) -> Result<Array<T, D>, TensorError> {
    normalise("log_softmax", &scores, axis, mask, LogSoftmax)
}

/// The gradient of the scores from `weights`, the result of [`softmax`], and the gradient of the weights:
/// `∂e_i = w_i · (∂w_i − Σ_j w_j ∂w_j)`.
///
/// Where a weight is 0 the gradient is 0, whatever came in.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::softmax_backward;
///
/// let grad = softmax_backward(array![0.5, 0.5].view(), array![1.0, 0.0].view(), 0)?;
/// assert_eq!(grad, array![0.25, -0.25]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// [`TensorError::InvalidOption`] if there is no such axis or the shapes differ, [`TensorError::EmptyAxis`] if the axis
/// has no entry.
pub fn softmax_backward<T: Element, D: Dimension>(
    weights: ArrayView<'_, T, D>,
    grad_weights: ArrayView<'_, T, D>,
    axis: usize,
) -> Result<Array<T, D>, TensorError> {
    gradient("softmax_backward", &weights, &grad_weights, axis, Softmax)
}

/// The gradient of the scores from `log_weights`, the result of [`log_softmax`], and the gradient of the log-weights:
/// `∂e_i = ∂l_i − exp(l_i) · Σ_j ∂l_j`.
///
/// Where a log-weight is −∞ the gradient is 0, and what came in is left out of the sum.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::log_softmax_backward;
///
/// let log_weights = array![0.5_f64.ln(), 0.5_f64.ln(), f64::NEG_INFINITY];
/// let grad = log_softmax_backward(log_weights.view(), array![1.0, 0.0, 9.0].view(), 0)?;
/// assert!((&grad - &array![0.5, -0.5, 0.0]).iter().all(|difference| difference.abs() < 1e-15));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// As [`softmax_backward`].
pub fn log_softmax_backward<T: Element, D: Dimension>(
    log_weights: ArrayView<'_, T, D>,
    grad_log_weights: ArrayView<'_, T, D>,
    axis: usize,
) -> Result<Array<T, D>, TensorError> {
    gradient("log_softmax_backward", &log_weights, &grad_log_weights, axis, LogSoftmax)
}

/// Softmax of one row in place, on the calling thread; for use inside parallel loops.
///
/// Same values as [`softmax`] of that row, bit for bit. An excluded entry is written as −∞. An empty row stays empty.
///
/// ```
/// let mut scores = [2.0_f32, f32::NEG_INFINITY, 2.0];
/// tensor_ops::softmax_row(&mut scores);
/// assert_eq!(scores, [0.5, 0.0, 0.5]);
/// ```
pub fn softmax_row<T: Element>(scores: &mut [T]) {
    if !scores.is_empty() {
        T::dispatch(Row { row: scores, function: Softmax });
    }
}

/// Gradient through [`softmax_row`]: replaces the gradient of the weights by that of the scores.
///
/// # Errors
/// [`TensorError::AxisSize`] if the lengths differ.
pub fn softmax_row_backward<T: Element>(weights: &[T], grad: &mut [T]) -> Result<(), TensorError> {
    check_axis("softmax_row_backward", "weights", grad.len(), weights.len())?;
    if !weights.is_empty() {
        T::dispatch(GradientRow { output: weights, grad, function: Softmax });
    }
    Ok(())
}

/// `function` of every lane of `scores` along `axis`, without what the mask excludes.
fn normalise<T: Element, D: Dimension>(
    operation: &'static str,
    scores: &ArrayView<'_, T, D>,
    axis: usize,
    mask: Option<ArrayViewD<'_, bool>>,
    function: impl Normaliser<T>,
) -> Result<Array<T, D>, TensorError> {
    check_axis_index(operation, scores, axis)?;
    let mut scores = scores.as_standard_layout();
    if let Some(mask) = mask {
        let Some(mask) = mask.broadcast(scores.raw_dim().into_dyn()) else {
            return Err(TensorError::InvalidOption {
                operation,
                option: "mask",
                requirement: "of a shape that can be broadcast to the scores",
                found: format!("shape {:?} for scores of shape {:?}", mask.shape(), scores.shape()),
            });
        };
        Zip::from(scores.view_mut().into_dyn()).and(&mask).for_each(|score, &kept| {
            if !kept {
                *score = T::neg_infinity();
            }
        });
    }
    Ok(normalise_lanes(&scores, axis, function))
}

/// The gradient of the scores of every lane along `axis`.
fn gradient<T: Element, D: Dimension>(
    operation: &'static str,
    output: &ArrayView<'_, T, D>,
    grad: &ArrayView<'_, T, D>,
    axis: usize,
    function: impl Gradient<T>,
) -> Result<Array<T, D>, TensorError> {
    check_axis_index(operation, output, axis)?;
    if output.shape() != grad.shape() {
        return Err(TensorError::InvalidOption {
            operation,
            option: "gradient",
            requirement: "of the shape of the weights",
            found: format!("shape {:?} for weights of shape {:?}", grad.shape(), output.shape()),
        });
    }
    Ok(gradient_of_lanes(&output.as_standard_layout(), &grad.as_standard_layout(), axis, function))
}

/// Checks that `axis` is one and has entries.
fn check_axis_index<T, D: Dimension>(
    operation: &'static str,
    values: &ArrayView<'_, T, D>,
    axis: usize,
) -> Result<(), TensorError> {
    let Some(&length) = values.shape().get(axis) else {
        return Err(TensorError::InvalidOption {
            operation,
            option: "axis",
            requirement: "less than the number of axes",
            found: format!("{axis} for {} axes", values.ndim()),
        });
    };
    check_not_empty(operation, "axis of the softmax", length)
}
