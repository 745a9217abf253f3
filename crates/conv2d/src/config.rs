//! The options of a convolution.

use tensor_ops::{Element, Padding, TensorError, Window};

use crate::Conv2dError;

/// The name that errors carry.
pub(crate) const NAME: &str = "Conv2d";

/// A function applied to every output element, fused into the convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// y = x
    #[default]
    None,
    /// y = max(x, 0)
    Relu,
    /// y = min(max(x, 0), 6)
    Relu6,
}

impl Activation {
    /// The lower and upper bound of the output.
    pub(crate) fn bounds<T: Element>(self) -> Option<[T; 2]> {
        match self {
            Self::None => None,
            Self::Relu => Some([T::zero(), T::infinity()]),
            Self::Relu6 => Some([T::zero(), T::from_f64(6.0)]),
        }
    }

    /// Whether the gradient passes where the output is `output`: not where it was cut.
    pub(crate) fn passes<T: Element>(self, output: T) -> bool {
        match self {
            Self::None => true,
            Self::Relu => output > T::zero(),
            Self::Relu6 => output > T::zero() && output < T::from_f64(6.0),
        }
    }
}

/// The options of [`crate::Conv2d`]; pairs are `[vertical, horizontal]`.
///
/// ```
/// use conv2d::Conv2dConfig;
/// use tensor_ops::Padding;
///
/// let config = Conv2dConfig {
///     in_channels: 3,
///     out_channels: 32,
///     kernel: [3, 3],
///     stride: [2, 2],
///     padding: Padding::same([224, 224], [3, 3], [2, 2], [1, 1])?,
///     ..Conv2dConfig::default()
/// };
/// assert_eq!(config.output_size([224, 224])?, [112, 112]);
/// # Ok::<(), conv2d::Conv2dError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns between neighbouring output positions.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Rows and columns between neighbouring kernel positions.
    pub dilation: [usize; 2],
    /// Parts of the channels that are convolved by themselves; it divides both numbers of channels.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// The function applied to the output.
    pub activation: Activation,
}

impl Default for Conv2dConfig {
    /// A 1×1 convolution of one channel with a bias, stride 1, no padding and no activation.
    fn default() -> Self {
        let Window { kernel, stride, padding, dilation } = Window::default();
        let activation = Activation::None;
        Self { in_channels: 1, out_channels: 1, kernel, stride, padding, dilation, groups: 1, bias: true, activation }
    }
}

impl Conv2dConfig {
    /// Kernel, stride, padding and dilation.
    pub fn window(&self) -> Window {
        Window { kernel: self.kernel, stride: self.stride, padding: self.padding, dilation: self.dilation }
    }

    /// Height and width of the output for an input of `[height, width]`.
    ///
    /// # Errors
    /// [`Conv2dError::Tensor`] if the window does not fit the input.
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2], Conv2dError> {
        Ok(self.window().output_size_of(NAME, input)?)
    }

    /// The shape of the weight: `[out_channels, in_channels / groups, kernel height, kernel width]`.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn weight_shape(&self) -> Result<[usize; 4], Conv2dError> {
        self.validate()?;
        Ok([self.out_channels, self.in_channels / self.groups, self.kernel[0], self.kernel[1]])
    }

    /// Multiplications and additions of a forward pass over `batch` images of `[height, width]`, two per product.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`Self::output_size`].
    pub fn operations(&self, batch: usize, input: [usize; 2]) -> Result<u64, Conv2dError> {
        let product = |sizes: &[usize]| sizes.iter().fold(1_u64, |product, &size| product.saturating_mul(size as u64));
        Ok(product(&self.weight_shape()?)
            .saturating_mul(product(&self.output_size(input)?))
            .saturating_mul(2 * batch as u64))
    }

    /// Checks the options that do not depend on an input.
    ///
    /// # Errors
    /// [`Conv2dError::Tensor`] for sizes of 0, [`Conv2dError::Groups`] for groups that do not divide the channels.
    pub fn validate(&self) -> Result<(), Conv2dError> {
        let counts = [("in_channels", self.in_channels), ("out_channels", self.out_channels), ("groups", self.groups)];
        if let Some((option, _)) = counts.into_iter().find(|&(_, count)| count == 0) {
            let error = TensorError::InvalidOption {
                operation: NAME,
                option,
                requirement: "at least 1",
                found: "0".to_owned(),
            };
            return Err(error.into());
        }
        let pairs = [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)];
        if let Some((option, pair)) = pairs.into_iter().find(|(_, pair)| pair.contains(&0)) {
            let (requirement, found) = ("at least 1 on both axes", format!("{pair:?}"));
            return Err(TensorError::InvalidOption { operation: NAME, option, requirement, found }.into());
        }
        for (axis, channels) in [("input channels", self.in_channels), ("output channels", self.out_channels)] {
            if !channels.is_multiple_of(self.groups) {
                return Err(Conv2dError::Groups { axis, channels, groups: self.groups });
            }
        }
        Ok(())
    }
}
