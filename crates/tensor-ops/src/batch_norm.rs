//! Folding of batch normalisation into the layer before it.
//!
//! In inference, batch normalisation is the affine function y = γ (x − μ) / √(σ² + ε) + β of each channel (Ioffe and
//! Szegedy, "Batch normalization", ICML 2015), so that with s = γ / √(σ² + ε)
//!
//! ```text
//! W' = s W,    b' = s (b − μ) + β
//! ```
//!
//! give its output from the layer alone.

use ndarray::{Array1, ArrayView1, ArrayViewMut, Axis, RemoveAxis};

use crate::{Element, TensorError, check_axis};

const OPERATION: &str = "fold_batch_norm";

/// The parameters and running statistics of a batch normalisation, `[channels]` each, named as in PyTorch.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a, T> {
    /// γ; 1 where absent.
    pub weight: Option<ArrayView1<'a, T>>,
    /// β; 0 where absent.
    pub bias: Option<ArrayView1<'a, T>>,
    /// μ
    pub running_mean: ArrayView1<'a, T>,
    /// σ²
    pub running_var: ArrayView1<'a, T>,
    /// ε, added to the variance.
    pub epsilon: f64,
}

/// Folds `batch_norm` into the layer before it: scales its weight in place and returns its new bias.
///
/// `weight` is `[channels, …]`, such as that of a linear layer or of a convolution, and `bias` is `[channels]`, taken as
/// 0 where absent. Computed in double precision and rounded once.
///
/// # Errors
/// [`TensorError::AxisSize`] if the numbers of channels differ, [`TensorError::InvalidOption`] if a variance plus
/// `epsilon` is not positive and finite; the weight is then as it was.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::{BatchNorm, Linear, fold_batch_norm};
///
/// let mut layer = Linear { weight: array![[1.0, 2.0]], bias: Some(array![5.0]) };
/// let (mean, variance) = (array![1.0], array![4.0]);
/// let batch_norm = BatchNorm {
///     weight: None,
///     bias: None,
///     running_mean: mean.view(),
///     running_var: variance.view(),
///     epsilon: 0.0,
/// };
/// let bias = layer.bias.as_ref().map(|bias| bias.view());
/// layer.bias = Some(fold_batch_norm(layer.weight.view_mut(), bias, &batch_norm)?);
/// assert_eq!(layer, Linear { weight: array![[0.5, 1.0]], bias: Some(array![2.0]) });
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn fold_batch_norm<T: Element, D: RemoveAxis>(
    mut weight: ArrayViewMut<'_, T, D>,
    bias: Option<ArrayView1<'_, T>>,
    batch_norm: &BatchNorm<'_, T>,
) -> Result<Array1<T>, TensorError> {
    let BatchNorm { weight: gamma, bias: beta, running_mean: mean, running_var: variance, epsilon } = batch_norm;
    let channels = mean.len();
    check_axis(OPERATION, "channels of the layer's weight", channels, weight.shape().first().copied().unwrap_or(0))?;
    check_axis(OPERATION, "channels of running_var", channels, variance.len())?;
    for (axis, values) in [
        ("channels of the layer's bias", &bias),
        ("channels of the normalisation's weight", gamma),
        ("channels of the normalisation's bias", beta),
    ] {
        check_axis(OPERATION, axis, channels, values.map_or(channels, |values| values.len()))?;
    }
    if let Some(found) = variance.iter().map(|&v| v.to_f64() + epsilon).find(|v| !(v.is_finite() && *v > 0.0)) {
        return Err(TensorError::InvalidOption {
            operation: OPERATION,
            option: "running_var + epsilon",
            requirement: "finite and greater than 0",
            found: found.to_string(),
        });
    }
    let value = |values: &Option<ArrayView1<'_, T>>, channel: usize, absent: f64| {
        values.map_or(absent, |values| values[channel].to_f64())
    };
    let mut folded = Array1::zeros(channels);
    for (channel, mut row) in weight.axis_iter_mut(Axis(0)).enumerate() {
        let scale = value(gamma, channel, 1.0) / (variance[channel].to_f64() + epsilon).sqrt();
        row.mapv_inplace(|w| T::from_f64(scale * w.to_f64()));
        let shifted = value(&bias, channel, 0.0) - mean[channel].to_f64();
        folded[channel] = T::from_f64(scale * shifted + value(beta, channel, 0.0));
    }
    Ok(folded)
}
