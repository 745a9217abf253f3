//! The numbers of inputs and outputs that a weight connects, and the gains of nonlinearities.

use super::check_not_negative;
use crate::TensorError;

/// The numbers of connections of a weight `[outputs, inputs, kernel axes …]`.
///
/// In a grouped convolution, whose weight holds the input channels of one group, `fan_in` counts the connections of
/// one output, while `fan_out` counts all output channels, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fans {
    /// Connections into one output: inputs × kernel size.
    pub fan_in: usize,
    /// Connections out of one input: outputs × kernel size.
    pub fan_out: usize,
}

impl Fans {
    /// The fans of a weight of this shape.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] if the shape has fewer than two axes or an axis without entries.
    ///
    /// ```
    /// use tensor_ops::init::Fans;
    /// assert_eq!(Fans::of_shape(&[16, 3, 5, 5])?, Fans { fan_in: 75, fan_out: 400 });
    /// assert!(Fans::of_shape(&[16]).is_err());
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn of_shape(shape: &[usize]) -> Result<Self, TensorError> {
        match shape {
            [outputs, inputs, kernel @ ..] if !shape.contains(&0) => {
                let kernel: usize = kernel.iter().product();
                Ok(Self { fan_in: inputs * kernel, fan_out: outputs * kernel })
            }
            _ => Err(TensorError::InvalidOption {
                operation: "init",
                option: "shape",
                requirement: "[outputs, inputs, kernel axes …] with every size at least 1",
                found: format!("{shape:?}"),
            }),
        }
    }

    /// The one of the two that `mode` names.
    pub fn select(self, mode: FanMode) -> usize {
        match mode {
            FanMode::In => self.fan_in,
            FanMode::Out => self.fan_out,
        }
    }

    /// fan in + fan out
    pub(super) fn total(self) -> f64 {
        self.fan_in as f64 + self.fan_out as f64
    }
}

/// Which fan sets the variance of Kaiming's distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanMode {
    /// Keeps the variance of activations in the forward pass.
    #[default]
    In,
    /// Keeps the variance of gradients in the backward pass.
    Out,
}

/// The function after a layer, which sets the gain of its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None: gain 1.
    Linear,
    /// The logistic function: gain 1.
    Sigmoid,
    /// The hyperbolic tangent: gain 5/3.
    Tanh,
    /// max(0, x): gain √2.
    Relu,
    /// x where positive, `negative_slope` · x elsewhere: gain √(2 / (1 + slope²)).
    LeakyRelu {
        /// The slope for negative x.
        negative_slope: f64,
    },
    /// The scaled exponential linear unit: gain 3/4.
    Selu,
}

impl Nonlinearity {
    /// The gain, with the values of PyTorch's `calculate_gain`.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for a slope that is negative or not finite.
    ///
    /// ```
    /// use tensor_ops::init::Nonlinearity;
    /// assert_eq!(Nonlinearity::LeakyRelu { negative_slope: 1.0 }.gain()?, 1.0);
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn gain(self) -> Result<f64, TensorError> {
        Ok(match self {
            Self::Linear | Self::Sigmoid => 1.0,
            Self::Tanh => 5.0 / 3.0,
            Self::Relu => 2.0_f64.sqrt(),
            Self::LeakyRelu { negative_slope } => {
                check_not_negative("init", "negative_slope", negative_slope)?;
                (2.0 / (1.0 + negative_slope * negative_slope)).sqrt()
            }
            Self::Selu => 0.75,
        })
    }
}
