//! The loss of forecast frames.

use ndarray::{Array4, ArrayView4, Zip};
use serde::{Deserialize, Serialize};

use crate::recipe::{RecipeError, require};

/// What a network's forecasts are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Squared and absolute errors, weighted: for values that are measured, such as rain.
    Weighted,
    /// The cross-entropy of pixels that are on or off, of the network's output as logits (Shi et al. 2015).
    CrossEntropy,
}

/// How forecasts are compared with the truth.
///
/// With y the true value of a pixel, p the forecast and w(y) = 1 + `bright_weight` · y², the weighted loss is the mean over
/// all pixels of `w(y) · (squared · (p − y)² + absolute · |p − y|)`. Weights that grow with the rain rate keep a network from
/// giving up heavy rain, whose place is uncertain (Shi et al., "Deep learning for precipitation nowcasting: a benchmark and a
/// new model", 2017, where they are steps).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// The kind of loss.
    pub kind: LossKind,
    /// The factor of squared errors. Default: 1.
    pub squared: f32,
    /// The factor of absolute errors. Default: 0.1.
    pub absolute: f32,
    /// How much more the brightest pixel counts than a dark one. Default: 10.
    pub bright_weight: f32,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { kind: LossKind::Weighted, squared: 1.0, absolute: 0.1, bright_weight: 10.0 }
    }
}

impl LossConfig {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        let not_negative = |option, value: f32| {
            require(value.is_finite() && value >= 0.0, option, "a finite number, not negative", value)
        };
        not_negative("loss.squared", self.squared)?;
        not_negative("loss.absolute", self.absolute)?;
        not_negative("loss.bright_weight", self.bright_weight)?;
        let any = self.kind == LossKind::CrossEntropy || self.squared + self.absolute > 0.0;
        require(any, "loss.squared", "above 0 where loss.absolute is 0", self.squared)
    }

    /// The loss of `forecast` and its gradient, `[sequences, leads, height, width]`.
    ///
    /// Work is divided by rows of pixels and summed in their order.
    pub(super) fn evaluate(&self, forecast: ArrayView4<'_, f32>, truth: ArrayView4<'_, f32>) -> (f64, Array4<f32>) {
        let count = truth.len().max(1) as f64;
        let mut gradient = Array4::zeros(truth.raw_dim());
        let mut total = 0.0_f64;
        let scale = (1.0 / count) as f32;
        let Self { kind, squared, absolute, bright_weight } = *self;
        Zip::from(&mut gradient).and(forecast).and(truth).for_each(|gradient, &forecast, &truth| {
            let (loss, slope) = match kind {
                LossKind::Weighted => {
                    let weight = 1.0 + bright_weight * truth * truth;
                    let error = forecast - truth;
                    let sign = if error == 0.0 { 0.0 } else { error.signum() };
                    (
                        weight * (squared * error * error + absolute * error.abs()),
                        weight * (2.0 * squared * error + absolute * sign),
                    )
                }
                LossKind::CrossEntropy => {
                    // max(a, 0) − a·y + log(1 + e^−|a|) for the logit a.
                    let loss = forecast.max(0.0) - forecast * truth + (-forecast.abs()).exp().ln_1p();
                    (loss, 1.0 / (1.0 + (-forecast).exp()) - truth)
                }
            };
            total += f64::from(loss);
            *gradient = slope * scale;
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
        let kinds = [(LossKind::Weighted, 1.0, 0.5, 3.0), (LossKind::CrossEntropy, 1.0, 0.0, 0.0)];
        for (kind, squared, absolute, bright_weight) in kinds {
            let config = LossConfig { kind, squared, absolute, bright_weight };
            let (_, gradient) = config.evaluate(forecast.view(), truth.view());
            for index in [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 2, 0]] {
                let at = |shift: f32| {
                    let mut moved = forecast.clone();
                    moved[index] += shift;
                    config.evaluate(moved.view(), truth.view()).0
                };
                let expected = (at(0.01) - at(-0.01)) / 0.02;
                assert!((f64::from(gradient[index]) - expected).abs() < 2e-4, "{kind:?} at {index:?}");
            }
        }
    }
}
