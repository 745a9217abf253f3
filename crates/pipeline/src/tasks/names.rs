//! The tasks and the models that they compare.

use serde::{Deserialize, Serialize};

/// A task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// A digit stands in few of many frames: which reducer of feature pooling finds it?
    Reducers,
    /// A digit moves: which motion is it, where each has a partner with the same frames in reverse order?
    Order,
    /// A digit moves among pieces of others: which one is it, and where does the model look?
    Where,
    /// A digit stands in one of many frames: which one is it, and when does the model look?
    When,
    /// Digits appear one after the other: read them.
    Reading,
}

impl TaskName {
    /// All tasks.
    pub const ALL: [Self; 5] = [Self::Reducers, Self::Order, Self::Where, Self::When, Self::Reading];

    /// The name, as files and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reducers => "reducers",
            Self::Order => "order",
            Self::Where => "where",
            Self::When => "when",
            Self::Reading => "reading",
        }
    }

    /// The models that the task can compare; a recipe without a list of its own compares all of them.
    pub fn models(self) -> &'static [TaskModel] {
        use TaskModel::{
            AttentionPooling, Average, Bahdanau, ConvLstm, LocationAttention, Lstm, Luong, Max, Mean, Softmax,
            SpatialAttention, Sum, TemporalAttention, TopK, WithoutAttention,
        };
        match self {
            Self::Reducers => &[Max, TopK, Softmax, Mean, Sum],
            Self::Order => &[Max, Mean, Lstm, ConvLstm],
            Self::Where => &[Average, LocationAttention, SpatialAttention],
            Self::When => &[Mean, Lstm, TemporalAttention, AttentionPooling],
            Self::Reading => &[WithoutAttention, Luong, Bahdanau],
        }
    }
}

/// A model that a task trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskModel {
    /// Late feature pooling with the maximum over the frames.
    Max,
    /// Feature pooling with the mean of the largest values.
    TopK,
    /// Feature pooling with the mean weighted by the softmax of the values.
    Softmax,
    /// Feature pooling with the mean over the frames.
    Mean,
    /// Feature pooling with the sum over the frames.
    Sum,
    /// An LSTM; its last output decides.
    Lstm,
    /// A ConvLSTM; its last output decides.
    #[serde(rename = "convlstm")]
    ConvLstm,
    /// The same LSTM as that of `location-attention` and `spatial-attention`, with all weights equal: it reads the mean over the
    /// places of a frame.
    Average,
    /// An LSTM that attends to the places of a frame without a look at them, by its state alone (Sharma et al., 2016).
    LocationAttention,
    /// An LSTM that attends to the places of a frame by a score of its state and of what is there.
    SpatialAttention,
    /// An LSTM that attends to all frames of the clip at every step.
    TemporalAttention,
    /// One weight per frame from its features; the weighted sum of these decides.
    AttentionPooling,
    /// An encoder whose last state is all that the decoder knows (Sutskever et al., 2014).
    WithoutAttention,
    /// A decoder that attends after its step, with a bilinear score (Luong et al., 2015).
    Luong,
    /// A decoder that attends before its step, with an additive score (Bahdanau et al., 2015).
    Bahdanau,
}

impl TaskModel {
    /// The name, as files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::TopK => "top-k",
            Self::Softmax => "softmax",
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Lstm => "lstm",
            Self::ConvLstm => "convlstm",
            Self::Average => "average",
            Self::LocationAttention => "location-attention",
            Self::SpatialAttention => "spatial-attention",
            Self::TemporalAttention => "temporal-attention",
            Self::AttentionPooling => "attention-pooling",
            Self::WithoutAttention => "without-attention",
            Self::Luong => "luong",
            Self::Bahdanau => "bahdanau",
        }
    }
}

impl TaskModel {
    /// Whether the model gives weights to places or frames, which can be drawn.
    pub(super) fn attends(self) -> bool {
        use TaskModel::{AttentionPooling, Bahdanau, LocationAttention, Luong, SpatialAttention, TemporalAttention};
        let all = [AttentionPooling, Bahdanau, LocationAttention, Luong, SpatialAttention, TemporalAttention];
        all.contains(&self)
    }
}
