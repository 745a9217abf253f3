//! The parts of a model and their sizes.

use serde::{Deserialize, Serialize};

use crate::recipe::{RecipeError, require};

mod pooling;
mod temporal;

pub use pooling::{PoolingArchitecture, PoolingPartConfig, PoolingReducer, UnknownReducer};
pub use temporal::{
    AttentionPoolingPartConfig, AttentionScore, ConvLstmPartConfig, LstmPartConfig, ReadOut,
    SpatialAttentionPartConfig, TemporalAttentionPartConfig, TemporalConfig, TransformerPartConfig,
};

/// The largest number of channels, features or units; a file that asks for more is damaged or hostile.
const MAX_SIZE: usize = 1 << 14;
/// The largest number of layers of a part.
const MAX_LAYERS: usize = 32;

/// A classifier of clips: every step of a clip is encoded as maps, those of all steps become one vector, the vector scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// From the images of a step to its maps.
    pub encoder: EncoderConfig,
    /// From the maps of all steps to one vector.
    pub temporal: TemporalConfig,
    /// From that vector to the scores. Feature pooling scores by itself and has no use for it.
    pub head: HeadConfig,
}

/// The encoder of a step: convolutions, each followed by `max(x, 0)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// The convolutions; none where the images are features already. Default: 24 and 48 channels of kernel 4 and stride 2, then
    /// 64 of kernel 3.
    pub convolutions: Vec<ConvolutionConfig>,
    /// The probability that a value of the maps is dropped. Default: 0.2.
    pub dropout: f64,
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
        Self { convolutions: vec![strided(24), strided(48), last], dropout: 0.2 }
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
        let layers = encoder.convolutions.len();
        require(layers <= MAX_LAYERS, "the number of model.encoder.convolutions", "at most 32", layers)?;
        for convolution in &encoder.convolutions {
            check_size("model.encoder.convolutions.channels", convolution.channels)?;
            check_size("model.encoder.convolutions.kernel", convolution.kernel)?;
            check_size("model.encoder.convolutions.stride", convolution.stride)?;
            let padding = convolution.padding;
            require(padding <= MAX_SIZE, "model.encoder.convolutions.padding", "at most 16384", padding)?;
        }
        check_dropout("model.encoder.dropout", encoder.dropout)?;
        temporal.validate()?;
        check_dropout("model.head.dropout", head.dropout)
    }
}

fn check_size(option: &'static str, value: usize) -> Result<(), RecipeError> {
    require((1..=MAX_SIZE).contains(&value), option, "1 to 16384", value)
}

fn check_layers(option: &'static str, value: usize) -> Result<(), RecipeError> {
    require((1..=MAX_LAYERS).contains(&value), option, "1 to 32", value)
}

fn check_dropout(option: &'static str, value: f64) -> Result<(), RecipeError> {
    require((0.0..1.0).contains(&value), option, "a number from 0 to below 1", value)
}
