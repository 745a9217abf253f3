//! Models by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{LstmPartConfig, ModelConfig, PoolingArchitecture, PoolingPartConfig, TemporalConfig};

/// A model by the name that files and the command line give it: the default encoder and head, and a temporal part.
///
/// ```
/// use pipeline::model::{ModelName, TemporalConfig};
///
/// let name: ModelName = "slow-pooling".parse()?;
/// assert!(matches!(name.temporal(), TemporalConfig::Pooling(_)));
/// assert_eq!(name.to_string(), "slow-pooling");
/// # Ok::<(), pipeline::model::UnknownModel>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it; `ModelName::description` says more")]
pub enum ModelName {
    ConvPooling,
    LatePooling,
    SlowPooling,
    LocalPooling,
    TimeDomainConv,
    Lstm,
    BiLstm,
    #[serde(rename = "convlstm")]
    ConvLstm,
    TemporalAttention,
    SpatialAttention,
    AttentionPooling,
    Transformer,
}

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no model is called `{0}`; the models are {names}", names = ModelName::ALL.map(ModelName::name).join(", "))]
pub struct UnknownModel(pub String);

impl ModelName {
    /// All models.
    pub const ALL: [Self; 12] = [
        Self::ConvPooling,
        Self::LatePooling,
        Self::SlowPooling,
        Self::LocalPooling,
        Self::TimeDomainConv,
        Self::Lstm,
        Self::BiLstm,
        Self::ConvLstm,
        Self::TemporalAttention,
        Self::SpatialAttention,
        Self::AttentionPooling,
        Self::Transformer,
    ];

    /// The name, as files and the command line spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConvPooling => "conv-pooling",
            Self::LatePooling => "late-pooling",
            Self::SlowPooling => "slow-pooling",
            Self::LocalPooling => "local-pooling",
            Self::TimeDomainConv => "time-domain-conv",
            Self::Lstm => "lstm",
            Self::BiLstm => "bi-lstm",
            Self::ConvLstm => "convlstm",
            Self::TemporalAttention => "temporal-attention",
            Self::SpatialAttention => "spatial-attention",
            Self::AttentionPooling => "attention-pooling",
            Self::Transformer => "transformer",
        }
    }

    /// What makes one vector of all steps, in one line.
    pub const fn description(self) -> &'static str {
        match self {
            Self::ConvPooling => "the maximum over all steps of every value of the maps",
            Self::LatePooling => "the maximum over all steps behind a fully connected layer",
            Self::SlowPooling => "the maximum over windows, a fully connected layer, the maximum over all windows",
            Self::LocalPooling => "the maximum over windows; the scores read all windows side by side",
            Self::TimeDomainConv => "a convolution in time, then the maximum over all steps",
            Self::Lstm => "an LSTM that reads the steps forwards",
            Self::BiLstm => "an LSTM that reads the steps forwards and backwards",
            Self::ConvLstm => "an LSTM whose states are maps",
            Self::TemporalAttention => "an LSTM that attends to the latest steps",
            Self::SpatialAttention => "an LSTM that attends to places of every step",
            Self::AttentionPooling => "an LSTM in both directions whose outputs are weighted",
            Self::Transformer => "a transformer layer over all steps",
        }
    }

    /// The temporal part, with its default sizes.
    pub fn temporal(self) -> TemporalConfig {
        let pooling =
            |architecture| TemporalConfig::Pooling(PoolingPartConfig { architecture, ..PoolingPartConfig::default() });
        match self {
            Self::ConvPooling => pooling(PoolingArchitecture::Conv),
            Self::LatePooling => pooling(PoolingArchitecture::Late),
            Self::SlowPooling => pooling(PoolingArchitecture::Slow),
            Self::LocalPooling => pooling(PoolingArchitecture::Local),
            Self::TimeDomainConv => pooling(PoolingArchitecture::TimeDomain),
            Self::Lstm => TemporalConfig::Lstm(LstmPartConfig { bidirectional: false, ..LstmPartConfig::default() }),
            Self::BiLstm => TemporalConfig::Lstm(LstmPartConfig::default()),
            Self::ConvLstm => TemporalConfig::ConvLstm(Default::default()),
            Self::TemporalAttention => TemporalConfig::TemporalAttention(Default::default()),
            Self::SpatialAttention => TemporalConfig::SpatialAttention(Default::default()),
            Self::AttentionPooling => TemporalConfig::AttentionPooling(Default::default()),
            Self::Transformer => TemporalConfig::Transformer(Default::default()),
        }
    }

    /// The model.
    pub fn config(self) -> ModelConfig {
        ModelConfig { temporal: self.temporal(), ..ModelConfig::default() }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ModelName {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Self::ALL.into_iter().find(|model| model.name() == name).ok_or_else(|| UnknownModel(name.to_owned()))
    }
}
