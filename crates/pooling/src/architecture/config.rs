//! The configuration of an architecture and its checks.

use conv2d::Conv2dConfig;
use tensor_ops::{Padding, TensorError, check_not_empty};

use crate::{PoolingError, Reducer, TemporalWindow};

/// The name that errors carry.
pub(super) const NAME: &str = "FeaturePooling";

/// Where an architecture pools over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Over all frames, before the fully connected layers; the layout of the maps is kept.
    Conv,
    /// Over all frames, after the shared fully connected layers.
    Late,
    /// Over windows of frames before the shared layers, and over all windows after them.
    Slow {
        /// The windows.
        window: TemporalWindow,
    },
    /// Over windows of frames before the shared layers; what follows reads the features of all windows side by side.
    Local {
        /// The windows.
        window: TemporalWindow,
        /// The number of windows that a clip must have.
        windows: usize,
    },
    /// Over windows that a convolution in time and space has made of the maps, with rectified outputs.
    TimeDomain {
        /// The windows: kernel size and stride of the convolution in time.
        window: TemporalWindow,
        /// Kernels.
        kernels: usize,
        /// Height and width of a kernel; zeros around the maps keep their size.
        kernel: [usize; 2],
    },
}

/// The configuration of a [`FeaturePooling`](crate::FeaturePooling).
///
/// The presets have the sizes of Ng et al. (2015): fully connected layers of 4096 units, windows of 10 frames with a
/// stride of 5, 256 kernels of 3×3 pixels and 10 frames, and the maximum.
///
/// ```
/// use pooling::{FeaturePoolingConfig, Reducer};
///
/// let paper = FeaturePoolingConfig::slow([1024, 7, 7], 487);
/// let small = FeaturePoolingConfig { shared: vec![64], hidden: vec![], reducer: Reducer::Mean, ..paper };
/// assert!(small.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturePoolingConfig {
    /// Where the architecture pools over time.
    pub architecture: Architecture,
    /// Channels, height and width of the maps of a frame.
    pub input: [usize; 3],
    /// Units of the fully connected layers that every frame or window has in common; empty where the architecture has
    /// none, which are [`Architecture::Conv`] and [`Architecture::TimeDomain`].
    pub shared: Vec<usize>,
    /// Units of the fully connected layers behind the last pooling.
    pub hidden: Vec<usize>,
    /// Classes.
    pub classes: usize,
    /// How frames or windows become one.
    pub reducer: Reducer,
    /// The probability with which an output of a fully connected layer is dropped while training.
    pub dropout: f64,
}

/// Units of the paper's fully connected layers.
const PAPER_UNITS: usize = 4096;

impl FeaturePoolingConfig {
    fn paper(architecture: Architecture, input: [usize; 3], classes: usize, shared: usize, hidden: usize) -> Self {
        let [shared, hidden] = [shared, hidden].map(|layers| vec![PAPER_UNITS; layers]);
        Self { architecture, input, shared, hidden, classes, reducer: Reducer::Max, dropout: 0.0 }
    }

    /// Conv pooling with two fully connected layers, for maps of `[channels, height, width]`.
    pub fn conv(input: [usize; 3], classes: usize) -> Self {
        Self::paper(Architecture::Conv, input, classes, 0, 2)
    }

    /// Late pooling with two fully connected layers per frame.
    pub fn late(input: [usize; 3], classes: usize) -> Self {
        Self::paper(Architecture::Late, input, classes, 2, 0)
    }

    /// Slow pooling with a fully connected layer per window and one behind them.
    pub fn slow(input: [usize; 3], classes: usize) -> Self {
        Self::paper(Architecture::Slow { window: TemporalWindow::PAPER }, input, classes, 1, 1)
    }

    /// Local pooling with two fully connected layers per window, for clips of `frames` frames.
    pub fn local(input: [usize; 3], classes: usize, frames: usize) -> Self {
        let (window, windows) = (TemporalWindow::PAPER, TemporalWindow::PAPER.count(frames));
        Self::paper(Architecture::Local { window, windows }, input, classes, 2, 0)
    }

    /// Time-domain convolution with two fully connected layers.
    pub fn time_domain(input: [usize; 3], classes: usize) -> Self {
        let architecture = Architecture::TimeDomain { window: TemporalWindow::PAPER, kernels: 256, kernel: [3, 3] };
        Self::paper(architecture, input, classes, 0, 2)
    }

    /// Checks sizes and options.
    ///
    /// # Errors
    /// [`PoolingError::Tensor`] for a size of 0, shared layers where the architecture has none, a dropout outside `0..1`,
    /// and as [`Reducer::validate`] and [`TemporalWindow::validate`]; [`PoolingError::Memory`] if a layer has more
    /// weights than memory can hold.
    pub fn validate(&self) -> Result<(), PoolingError> {
        const OPERATION: &str = "FeaturePoolingConfig";
        for (axis, size) in ["input channels", "input height", "input width"].into_iter().zip(self.input) {
            check_not_empty(OPERATION, axis, size)?;
        }
        check_not_empty(OPERATION, "classes", self.classes)?;
        for (axis, layers) in [("shared units", &self.shared), ("hidden units", &self.hidden)] {
            layers.iter().try_for_each(|&units| check_not_empty(OPERATION, axis, units))?;
        }
        let invalid = |option, requirement, found: String| {
            Err(TensorError::InvalidOption { operation: OPERATION, option, requirement, found })
        };
        if !(0.0..1.0).contains(&self.dropout) {
            invalid("dropout", "at least 0 and below 1", self.dropout.to_string())?;
        }
        self.reducer.validate()?;
        match self.architecture {
            Architecture::Conv | Architecture::TimeDomain { .. } if !self.shared.is_empty() => {
                let requirement =
                    "empty, as conv pooling and time-domain convolution have no layers before the last pooling";
                invalid("shared", requirement, format!("{:?}", self.shared))?;
            }
            Architecture::Local { windows: 0, .. } => invalid("windows", "at least 1", "0".to_owned())?,
            Architecture::TimeDomain { kernels: 0, .. } => invalid("kernels", "at least 1", "0".to_owned())?,
            Architecture::TimeDomain { kernel, .. } if kernel.contains(&0) => {
                invalid("kernel", "at least 1 on both axes", format!("{kernel:?}"))?;
            }
            _ => {}
        }
        self.window().map_or(Ok(()), |window| window.validate())?;
        let memory =
            |shape: &[usize]| PoolingError::Memory { operation: OPERATION, result: "weight", shape: shape.to_vec() };
        let product = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let weights = self.convolution_shape();
        for shape in [Some(self.input.to_vec()), weights.map(|shape| shape.to_vec())].into_iter().flatten() {
            product(&shape).ok_or_else(|| memory(&shape))?;
        }
        let windows = if let Architecture::Local { windows, .. } = self.architecture { windows } else { 1 };
        let shared = self.shared.last().copied().unwrap_or_else(|| self.features());
        product(&[windows, shared]).ok_or_else(|| memory(&[windows, shared]))?;
        Ok(())
    }

    /// The windows of the architecture, if it has any.
    pub fn window(&self) -> Option<TemporalWindow> {
        match self.architecture {
            Architecture::Conv | Architecture::Late => None,
            Architecture::Slow { window }
            | Architecture::Local { window, .. }
            | Architecture::TimeDomain { window, .. } => Some(window),
        }
    }

    /// The features that the first fully connected layer reads, of one frame, window or clip.
    pub(super) fn features(&self) -> usize {
        let [channels, height, width] = self.input;
        match self.architecture {
            Architecture::TimeDomain { kernels, .. } => kernels * height * width,
            _ => channels * height * width,
        }
    }

    /// Inputs and outputs of the shared layers.
    pub(super) fn shared_sizes(&self) -> Vec<[usize; 2]> {
        sizes(self.features(), &self.shared)
    }

    /// The features of a frame, window or clip behind the shared layers.
    pub(super) fn shared_features(&self) -> usize {
        self.shared.last().copied().unwrap_or_else(|| self.features())
    }

    /// Inputs and outputs of the layers behind the last pooling, the classifier included.
    pub(super) fn hidden_sizes(&self) -> Vec<[usize; 2]> {
        let windows = if let Architecture::Local { windows, .. } = self.architecture { windows } else { 1 };
        let units: Vec<usize> = self.hidden.iter().copied().chain([self.classes]).collect();
        sizes(windows * self.shared_features(), &units)
    }

    /// The shape of the weight of the convolution: `[kernels, channels, frames, kernel height, kernel width]`.
    pub(super) fn convolution_shape(&self) -> Option<[usize; 5]> {
        match self.architecture {
            Architecture::TimeDomain { window, kernels, kernel } => {
                Some([kernels, self.input[0], window.frames, kernel[0], kernel[1]])
            }
            _ => None,
        }
    }

    /// The convolution of a window, whose frames are channels.
    pub(super) fn convolution(&self) -> Result<Option<Conv2dConfig>, PoolingError> {
        let Some([kernels, channels, frames, height, width]) = self.convolution_shape() else { return Ok(None) };
        let kernel = [height, width];
        let padding = Padding::same([self.input[1], self.input[2]], kernel, [1, 1], [1, 1])?;
        let in_channels = frames * channels;
        Ok(Some(Conv2dConfig { in_channels, out_channels: kernels, kernel, padding, ..Conv2dConfig::default() }))
    }
}

/// Inputs and outputs of layers of so many units, one behind the other.
fn sizes(features: usize, units: &[usize]) -> Vec<[usize; 2]> {
    let inputs = [features].into_iter().chain(units.iter().copied());
    inputs.zip(units).map(|(inputs, &outputs)| [inputs, outputs]).collect()
}
