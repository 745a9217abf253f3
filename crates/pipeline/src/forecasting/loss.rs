//! The loss of forecast frames.

use ndarray::{Array4, ArrayView4, Zip};
use serde::{Deserialize, Serialize};
use tensor_ops::TensorError;
use tensor_ops::loss::{Reduction, binary_cross_entropy_with_gradient};

use super::network::{FrameOutput, Guide, NetworkConfig};
use crate::recipe::{RecipeError, require};

/// How forecasts are compared with the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossConfig {
    /// Squared and absolute errors, weighted: for values that are measured, such as rain.
    Weighted(WeightedLossConfig),
    /// The cross-entropy of pixels that are on or off, of the network's output as logits (Shi et al. 2015).
    CrossEntropy,
}

/// Weighted errors. With y the true value of a pixel, p the forecast and w(y) = 1 + `bright_weight` · y², the loss is the mean
/// over all pixels of `w(y) · (squared · (p − y)² + absolute · |p − y|)`.
///
/// Weights that grow with the rain rate keep a network from giving up heavy rain, whose place is uncertain (Shi et al., "Deep
/// learning for precipitation nowcasting: a benchmark and a new model", 2017, where they are steps).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightedLossConfig {
    /// The factor of squared errors. Default: 1.
    pub squared: f32,
    /// The factor of absolute errors. Default: 0.1.
    pub absolute: f32,
    /// How much more the brightest pixel counts than a dark one. Default: 10.
    pub bright_weight: f32,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::Weighted(WeightedLossConfig::default())
    }
}

impl Default for WeightedLossConfig {
    fn default() -> Self {
        Self { squared: 1.0, absolute: 0.1, bright_weight: 10.0 }
    }
}

impl LossConfig {
    /// What the output of a network means that learns by this loss.
    pub(super) fn output(&self) -> FrameOutput {
        match self {
            Self::Weighted(_) => FrameOutput::Values,
            Self::CrossEntropy => FrameOutput::Logits,
        }
    }

    /// Checks the values, and that `network` can learn by this loss.
    pub(super) fn validate(&self, network: &NetworkConfig) -> Result<(), RecipeError> {
        let Self::Weighted(WeightedLossConfig { squared, absolute, bright_weight }) = *self else {
            let none = network.guide == Guide::None;
            return require(none, "network.guide", "`none` for logits, which cannot be added to frames", "another");
        };
        let not_negative = |option, value: f32| {
            require(value.is_finite() && value >= 0.0, option, "a finite number, not negative", value)
        };
        not_negative("loss.weighted.squared", squared)?;
        not_negative("loss.weighted.absolute", absolute)?;
        not_negative("loss.weighted.bright_weight", bright_weight)?;
        require(squared + absolute > 0.0, "loss.weighted.squared", "above 0 where loss.weighted.absolute is 0", squared)
    }

    /// The loss of a network's `output` and its gradient, `[sequences, leads, height, width]`.
    pub(super) fn evaluate(
        &self,
        output: ArrayView4<'_, f32>,
        truth: ArrayView4<'_, f32>,
    ) -> Result<(f64, Array4<f32>), TensorError> {
        match self {
            Self::Weighted(config) => Ok(config.evaluate(output, truth)),
            Self::CrossEntropy => {
                let loss = binary_cross_entropy_with_gradient(output, truth, Reduction::Mean)?;
                Ok((f64::from(loss.value), loss.gradient))
            }
        }
    }
}

impl WeightedLossConfig {
    fn evaluate(&self, forecast: ArrayView4<'_, f32>, truth: ArrayView4<'_, f32>) -> (f64, Array4<f32>) {
        let Self { squared, absolute, bright_weight } = *self;
        let count = truth.len().max(1) as f64;
        let scale = (1.0 / count) as f32;
        let mut gradient = Array4::zeros(truth.raw_dim());
        let mut total = 0.0_f64;
        Zip::from(&mut gradient).and(forecast).and(truth).for_each(|gradient, &forecast, &truth| {
            let weight = 1.0 + bright_weight * truth * truth;
            let error = forecast - truth;
            let sign = if error == 0.0 { 0.0 } else { error.signum() };
            total += f64::from(weight * (squared * error * error + absolute * error.abs()));
            *gradient = scale * weight * (2.0 * squared * error + absolute * sign);
        });
        (total / count, gradient)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    #[test]
    fn gradients_are_those_of_differences() {
        let forecast = Array4::from_shape_fn((1, 2, 3, 4), |(_, t, y, x)| ((t * 12 + y * 4 + x) as f32 * 0.7).sin());
        let truth = Array4::from_shape_fn((1, 2, 3, 4), |(_, t, y, x)| (((t + y + x) % 4) as f32) / 4.0);
        let weighted = WeightedLossConfig { squared: 1.0, absolute: 0.5, bright_weight: 3.0 };
        for config in [LossConfig::Weighted(weighted), LossConfig::CrossEntropy] {
            let (_, gradient) = config.evaluate(forecast.view(), truth.view()).unwrap();
            for index in [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 2, 0]] {
                let at = |shift: f32| {
                    let mut moved = forecast.clone();
                    moved[index] += shift;
                    config.evaluate(moved.view(), truth.view()).unwrap().0
                };
                // The cross-entropy is a sum in single precision.
                let expected = (at(0.05) - at(-0.05)) / 0.1;
                assert!(
                    (f64::from(gradient[index]) - expected).abs() < 1e-3 * expected.abs().max(0.05),
                    "{config:?} at {index:?}"
                );
            }
        }
    }
}
