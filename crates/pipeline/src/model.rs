//! Models, put together from parts: an encoder of single steps, a part that joins the steps, a head that scores.

mod action_model;
mod attention_weights;
mod config;
mod cost;
mod error;
mod frame_encoder;
mod head;
mod name;
mod steps;
mod temporal;

pub use action_model::{ActionModel, ActionTrace};
pub use attention_weights::AttentionWeights;
pub use config::{
    AttentionPoolingPartConfig, AttentionScore, ConvLstmPartConfig, ConvolutionConfig, EncoderConfig, HeadConfig,
    LstmPartConfig, ModelConfig, PoolingArchitecture, PoolingPartConfig, PoolingReducer, ReadOut,
    SpatialAttentionPartConfig, TemporalAttentionPartConfig, TemporalConfig, TransformerPartConfig, UnknownReducer,
};
pub use error::ModelError;
pub use frame_encoder::{FrameEncoder, FrameEncoderTrace};
pub use head::{Head, HeadTrace};
pub use name::{ModelName, UnknownModel};
pub use temporal::{
    AttentionPoolingPart, AttentionPoolingPartTrace, ConvLstmPart, ConvLstmPartTrace, LstmPart, LstmPartTrace,
    PoolingPart, PoolingPartTrace, Projected, ProjectedTrace, SequencePart, SpatialAttentionPart,
    SpatialAttentionPartTrace, Temporal, TemporalAttentionPart, TemporalAttentionPartTrace, TemporalTrace,
    TransformerPart, TransformerPartTrace,
};
