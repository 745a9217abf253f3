//! The parts of a model and their sizes.

use serde::{Deserialize, Serialize};

use crate::recipe::{RecipeError, require};

/// The largest number of channels, features or units; a file that asks for more is damaged or hostile.
const MAX_SIZE: usize = 1 << 14;
/// The largest number of layers of a part.
const MAX_LAYERS: usize = 32;

/// A classifier of clips: every step of a clip is encoded, the sequence of codes becomes one vector, the vector scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// From the images of a step to a vector of features.
    pub encoder: EncoderConfig,
    /// From the features of all steps to one vector.
    pub temporal: TemporalConfig,
    /// From that vector to the scores.
    pub head: HeadConfig,
}

/// The encoder of a step: convolutions, then a fully connected layer, each followed by `max(x, 0)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// The convolutions. Default: 24 and 48 channels of kernel 4 and stride 2, then 64 of kernel 3.
    pub convolutions: Vec<ConvolutionConfig>,
    /// The probability that a value is dropped before the fully connected layer. Default: 0.2.
    pub dropout: f64,
    /// The number of features. Default: 96.
    pub features: usize,
}

/// One convolution of the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvolutionConfig {
    /// The number of channels it makes.
    pub channels: usize,
    /// The height and the width of its kernel. Default: 3.
    #[serde(default = "three")]
    pub kernel: usize,
    /// The distance of neighbouring outputs. Default: 1.
    #[serde(default = "one")]
    pub stride: usize,
    /// The rows and columns of zeros on every side. Default: 1.
    #[serde(default = "one")]
    pub padding: usize,
}

fn one() -> usize {
    1
}

fn three() -> usize {
    3
}

/// What makes one vector of a sequence of features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemporalConfig {
    /// A stack of LSTM layers.
    Lstm(LstmTemporalConfig),
}

/// A stack of LSTM layers and how its outputs become one vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LstmTemporalConfig {
    /// The number of units of a layer, per direction. Default: 64.
    pub hidden: usize,
    /// The number of layers. Default: 1.
    pub layers: usize,
    /// Whether each layer also reads the sequence backwards. Default: true.
    pub bidirectional: bool,
    /// The probability that a value is dropped between two layers. Default: 0.
    pub dropout: f64,
    /// How the outputs of all steps become one vector. Default: `max-mean`.
    pub read_out: ReadOut,
}

/// How the outputs of a recurrent layer become one vector (Ng et al. 2015 compare the first five).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOut {
    /// The output at the last step.
    Last,
    /// The maximum over the steps.
    Max,
    /// The mean over the steps.
    Mean,
    /// The sum over the steps.
    Sum,
    /// The sum weighted by t/T at step t of T.
    Linear,
    /// The maximum, followed by the mean.
    MaxMean,
}

/// The classifier of a vector: dropout, then a fully connected layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// The probability that a value of the vector is dropped. Default: 0.3.
    pub dropout: f64,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        let strided = |channels| ConvolutionConfig { channels, kernel: 4, stride: 2, padding: 1 };
        let last = ConvolutionConfig { channels: 64, kernel: 3, stride: 1, padding: 1 };
        Self { convolutions: vec![strided(24), strided(48), last], dropout: 0.2, features: 96 }
    }
}

impl Default for TemporalConfig {
    fn default() -> Self {
        Self::Lstm(LstmTemporalConfig::default())
    }
}

impl Default for LstmTemporalConfig {
    fn default() -> Self {
        Self { hidden: 64, layers: 1, bidirectional: true, dropout: 0.0, read_out: ReadOut::MaxMean }
    }
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { dropout: 0.3 }
    }
}

impl ModelConfig {
    pub(crate) fn validate(&self) -> Result<(), RecipeError> {
        let Self { encoder, temporal, head } = self;
        let size = |option, value| require((1..=MAX_SIZE).contains(&value), option, "1 to 16384", value);
        let dropout = |option, value| require((0.0..1.0).contains(&value), option, "a number from 0 to below 1", value);
        let layers = |option, value| require((1..=MAX_LAYERS).contains(&value), option, "1 to 32", value);
        layers("the number of model.encoder.convolutions", encoder.convolutions.len())?;
        for convolution in &encoder.convolutions {
            size("model.encoder.convolutions.channels", convolution.channels)?;
            size("model.encoder.convolutions.kernel", convolution.kernel)?;
            size("model.encoder.convolutions.stride", convolution.stride)?;
            let padding = convolution.padding;
            require(padding <= MAX_SIZE, "model.encoder.convolutions.padding", "at most 16384", padding)?;
        }
        dropout("model.encoder.dropout", encoder.dropout)?;
        size("model.encoder.features", encoder.features)?;
        match temporal {
            TemporalConfig::Lstm(lstm) => {
                size("model.temporal.lstm.hidden", lstm.hidden)?;
                layers("model.temporal.lstm.layers", lstm.layers)?;
                dropout("model.temporal.lstm.dropout", lstm.dropout)?;
                let between = lstm.dropout == 0.0 || lstm.layers > 1;
                require(between, "model.temporal.lstm.dropout", "0 with a single layer", lstm.dropout)?;
            }
        }
        dropout("model.head.dropout", head.dropout)
    }
}
