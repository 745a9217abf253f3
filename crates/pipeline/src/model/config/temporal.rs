//! The parts of a model that join its steps, except feature pooling.

use serde::{Deserialize, Serialize};

use super::{PoolingPartConfig, check_dropout, check_layers, check_size};
use crate::recipe::{RecipeError, require};

/// What makes one vector of the maps of all steps.
///
/// The parts that work on vectors first make `features` of the maps of a step by a fully connected layer and `max(x, 0)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemporalConfig {
    /// Feature pooling (Ng et al., 2015).
    Pooling(PoolingPartConfig),
    /// A stack of LSTM layers.
    Lstm(LstmPartConfig),
    /// A stack of LSTM layers on maps (Shi et al., 2015).
    #[serde(rename = "convlstm")]
    ConvLstm(ConvLstmPartConfig),
    /// An LSTM that attends to the latest steps (Yeung et al., 2018).
    TemporalAttention(TemporalAttentionPartConfig),
    /// An LSTM that attends to places of the maps (Sharma et al., 2016).
    SpatialAttention(SpatialAttentionPartConfig),
    /// LSTM layers whose outputs are added up by learned weights.
    AttentionPooling(AttentionPoolingPartConfig),
    /// Transformer layers (Vaswani et al., 2017) and the mean over the steps.
    Transformer(TransformerPartConfig),
}

/// A stack of LSTM layers and how its outputs become one vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LstmPartConfig {
    /// The number of features of a step. Default: 96.
    pub features: usize,
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

/// A stack of ConvLSTM layers and how its outputs become one vector; places of the maps are kept apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvLstmPartConfig {
    /// The number of channels of each layer. Default: one layer of 32.
    pub channels: Vec<usize>,
    /// The height and the width of all kernels. Default: 3.
    pub kernel: usize,
    /// How the outputs of all steps become one vector. Default: `max-mean`.
    pub read_out: ReadOut,
}

/// An LSTM that attends to the latest steps while it reads a step, and how its outputs become one vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemporalAttentionPartConfig {
    /// The number of features of a step. Default: 96.
    pub features: usize,
    /// The number of units. Default: 64.
    pub hidden: usize,
    /// The number of steps that are attended to, the current one the last; 0 for all steps of the clip, later ones
    /// included. Default: 5.
    pub window: usize,
    /// How a state is compared with a step. Default: `multiplicative`.
    pub score: AttentionScore,
    /// The number of hidden features of the score, where it has some. Default: 32.
    pub attention_size: usize,
    /// Whether the LSTM reads the current step beside what it attends to. Default: true.
    pub frame_input: bool,
    /// How the outputs of all steps become one vector. Default: `max-mean`.
    pub read_out: ReadOut,
}

/// An LSTM that reads a weighted sum over the places of the maps at every step, and how its outputs become one vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpatialAttentionPartConfig {
    /// The number of units. Default: 64.
    pub hidden: usize,
    /// How a state is compared with a place; `location` does not look at what is there. Default: `additive`.
    pub score: AttentionScore,
    /// The number of hidden features of the score, where it has some. Default: 32.
    pub attention_size: usize,
    /// λ of the penalty on places that are looked at more or less than once over the clip. Default: 0, none.
    pub penalty: f64,
    /// How the outputs of all steps become one vector. Default: `max-mean`.
    pub read_out: ReadOut,
}

/// A stack of LSTM layers whose outputs are added up by learned weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionPoolingPartConfig {
    /// The number of features of a step. Default: 96.
    pub features: usize,
    /// The number of units of a layer, per direction. Default: 64.
    pub hidden: usize,
    /// The number of layers; 0 to weight the features themselves. Default: 1.
    pub layers: usize,
    /// Whether each layer also reads the sequence backwards. Default: true.
    pub bidirectional: bool,
    /// The number of hidden features of the score; 0 for a linear score. Default: 32.
    pub attention_size: usize,
}

/// Transformer layers, norms first, on the features of all steps with sinusoidal positions; then the mean over the steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerPartConfig {
    /// The number of features of a step. Default: 96.
    pub features: usize,
    /// The number of heads, among which the features are divided. Default: 4.
    pub heads: usize,
    /// The number of units between the two fully connected layers. Default: 192.
    pub feedforward: usize,
    /// The number of layers. Default: 1.
    pub layers: usize,
    /// The probability that a value that a part adds is dropped. Default: 0.1.
    pub dropout: f64,
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

/// How a query is compared with a key; the equations stand in the documentation of the crate `attention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionScore {
    /// A bilinear form.
    General,
    /// A network of one hidden layer (Bahdanau et al., 2015).
    Additive,
    /// From the query alone: one score per place (Sharma et al., 2016).
    Location,
    /// A product of two hidden layers (Yeung et al., 2018).
    Multiplicative,
}

impl AttentionScore {
    /// The score function.
    pub(crate) fn score(self) -> attention::Score {
        match self {
            Self::General => attention::Score::General,
            Self::Additive => attention::Score::Additive,
            Self::Location => attention::Score::Location,
            Self::Multiplicative => attention::Score::Multiplicative,
        }
    }

    /// Whether the score has a bias.
    pub(crate) fn has_bias(self) -> bool {
        self != Self::General
    }

    /// `size` where the score has hidden features.
    pub(crate) fn attention_size(self, size: usize) -> usize {
        if matches!(self, Self::Additive | Self::Multiplicative) { size } else { 0 }
    }
}

impl Default for TemporalConfig {
    fn default() -> Self {
        Self::Lstm(LstmPartConfig::default())
    }
}

impl Default for LstmPartConfig {
    fn default() -> Self {
        let read_out = ReadOut::MaxMean;
        Self { features: 96, hidden: 64, layers: 1, bidirectional: true, dropout: 0.0, read_out }
    }
}

impl Default for ConvLstmPartConfig {
    fn default() -> Self {
        Self { channels: vec![32], kernel: 3, read_out: ReadOut::MaxMean }
    }
}

impl Default for TemporalAttentionPartConfig {
    fn default() -> Self {
        Self {
            features: 96,
            hidden: 64,
            window: 5,
            score: AttentionScore::Multiplicative,
            attention_size: 32,
            frame_input: true,
            read_out: ReadOut::MaxMean,
        }
    }
}

impl Default for SpatialAttentionPartConfig {
    fn default() -> Self {
        let (score, read_out) = (AttentionScore::Additive, ReadOut::MaxMean);
        Self { hidden: 64, score, attention_size: 32, penalty: 0.0, read_out }
    }
}

impl Default for AttentionPoolingPartConfig {
    fn default() -> Self {
        Self { features: 96, hidden: 64, layers: 1, bidirectional: true, attention_size: 32 }
    }
}

impl Default for TransformerPartConfig {
    fn default() -> Self {
        Self { features: 96, heads: 4, feedforward: 192, layers: 1, dropout: 0.1 }
    }
}

impl TemporalConfig {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        match self {
            Self::Pooling(config) => config.validate(),
            Self::Lstm(config) => {
                check_size("model.temporal.lstm.features", config.features)?;
                check_size("model.temporal.lstm.hidden", config.hidden)?;
                check_layers("model.temporal.lstm.layers", config.layers)?;
                check_dropout("model.temporal.lstm.dropout", config.dropout)?;
                let between = config.dropout == 0.0 || config.layers > 1;
                require(between, "model.temporal.lstm.dropout", "0 with a single layer", config.dropout)
            }
            Self::ConvLstm(config) => {
                check_layers("the number of model.temporal.convlstm.channels", config.channels.len())?;
                let channels = |&channels: &usize| check_size("model.temporal.convlstm.channels", channels);
                config.channels.iter().try_for_each(channels)?;
                check_size("model.temporal.convlstm.kernel", config.kernel)
            }
            Self::TemporalAttention(config) => {
                check_size("model.temporal.temporal-attention.features", config.features)?;
                check_size("model.temporal.temporal-attention.hidden", config.hidden)?;
                check_size("model.temporal.temporal-attention.attention_size", config.attention_size)?;
                let windowed = config.window > 0 || config.score != AttentionScore::Location;
                let window = "model.temporal.temporal-attention.window";
                require(windowed, window, "above 0 with the score `location`", config.window)?;
                require(config.window <= 1 << 14, window, "at most 16384", config.window)
            }
            Self::SpatialAttention(config) => {
                check_size("model.temporal.spatial-attention.hidden", config.hidden)?;
                check_size("model.temporal.spatial-attention.attention_size", config.attention_size)?;
                let (penalty, option) = (config.penalty, "model.temporal.spatial-attention.penalty");
                require(penalty.is_finite() && penalty >= 0.0, option, "a finite number, not negative", penalty)
            }
            Self::AttentionPooling(config) => {
                check_size("model.temporal.attention-pooling.features", config.features)?;
                check_size("model.temporal.attention-pooling.hidden", config.hidden)?;
                let (layers, size) = (config.layers, config.attention_size);
                require(layers <= 32, "model.temporal.attention-pooling.layers", "0 to 32", layers)?;
                require(size <= 1 << 14, "model.temporal.attention-pooling.attention_size", "0 to 16384", size)
            }
            Self::Transformer(config) => {
                check_size("model.temporal.transformer.features", config.features)?;
                check_size("model.temporal.transformer.heads", config.heads)?;
                check_size("model.temporal.transformer.feedforward", config.feedforward)?;
                check_layers("model.temporal.transformer.layers", config.layers)?;
                check_dropout("model.temporal.transformer.dropout", config.dropout)?;
                let divides = config.features.is_multiple_of(config.heads);
                require(divides, "model.temporal.transformer.heads", "a divisor of the features", config.heads)
            }
        }
    }
}
