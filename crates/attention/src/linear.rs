//! Fully connected layers inside the models.

use ndarray::{Array1, Array2};
use tensor_ops::{Element, Linear, LinearConfig, check_axis};

use crate::AttentionError;
use crate::error::check_part;

/// A linear layer with all parameters 0.
pub(crate) fn zero_linear<T: Element>(config: LinearConfig) -> Linear<T> {
    let LinearConfig { in_features, out_features, bias } = config;
    let bias = bias.then(|| Array1::zeros(out_features));
    Linear { weight: Array2::zeros((out_features, in_features)), bias }
}

/// Checks the shapes of a linear layer; the axes are those of outputs, inputs and bias.
pub(crate) fn check_linear<T: Element>(
    layer: &'static str,
    axes: [&'static str; 3],
    linear: &Linear<T>,
    config: LinearConfig,
) -> Result<(), AttentionError> {
    check_axis(layer, axes[0], config.out_features, linear.out_features())?;
    check_axis(layer, axes[1], config.in_features, linear.in_features())?;
    check_part(layer, axes[2], config.bias, linear.bias.is_some())?;
    if let Some(bias) = &linear.bias {
        check_axis(layer, axes[2], config.out_features, bias.len())?;
    }
    Ok(())
}
