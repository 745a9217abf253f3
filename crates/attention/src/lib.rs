//! Attention on the CPU: scores, multi-head, sequence to sequence, temporal and spatial attention, training and streams.

mod cell;
mod clips;
mod error;
mod layer;
mod mask;
mod multi_head;
mod packed;
mod pooling;
mod recurrence;
mod row;
mod score;
mod seq2seq;
mod spatial;
mod temporal;
mod vector;

pub use cell::CellState;
pub use error::AttentionError;
pub use layer::{AttentionGradients, AttentionOutput, AttentionTrace, ProjectedKeys};
pub use mask::AttentionMask;
pub use multi_head::{MultiHeadAttention, MultiHeadAttentionConfig, MultiHeadGradients, MultiHeadTrace};
pub use pooling::{AttentionPooling, AttentionPoolingConfig, PoolingGradients, PoolingOutput, PoolingTrace};
pub use score::{Attention, AttentionConfig, Score};
pub use seq2seq::{
    BeamConfig, Bridge, DecoderOutput, DecoderStream, Encoded, Hypothesis, Mechanism, Seq2Seq, Seq2SeqConfig,
    Seq2SeqGradients, Seq2SeqTrace, Targets,
};
pub use spatial::{
    DoublyStochasticPenalty, PackedSpatialAttention, PenaltyReduction, PenaltyTarget, SpatialAttention,
    SpatialAttentionConfig, SpatialGradients, SpatialOutput, SpatialStream, SpatialTrace,
};
pub use temporal::{
    PackedTemporalAttention, TemporalAttention, TemporalAttentionConfig, TemporalGradients, TemporalOutput,
    TemporalStream, TemporalTrace,
};
