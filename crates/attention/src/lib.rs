//! Attention on the CPU, for training and for inference: scores, multi-head, sequence to sequence, temporal and spatial
//! attention, streams.
//!
//! - [`Attention`]: one of six score functions, with masks, lengths and temperature; [`MultiHeadAttention`] with PyTorch's
//!   parameters.
//! - [`Seq2Seq`]: an encoder and a decoder that attends to it, with greedy and beam search.
//! - [`TemporalAttention`]: an LSTM that attends to the latest frames. [`SpatialAttention`]: one that attends to regions of
//!   every frame, with the [`DoublyStochasticPenalty`].
//! - [`AttentionPooling`]: from the outputs of all steps to one vector.
//! - [`TransformerLayer`]: attention of a sequence to itself without recurrence, with PyTorch's parameters.
//!
//! # Attention in eight steps
//!
//! A decoder that has read three frames through an LSTM says its first word; small numbers stand for learned ones.
//!
//! ```
//! use attention::{Attention, AttentionConfig, AttentionMask, Score};
//! use ndarray::{Array3, array, s};
//!
//! // 1. The encoder reads the frames: h₁, h₂, h₃, [batch, time, units].
//! let h: Array3<f64> = array![[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]];
//! // 2. The first state of the decoder is the last of the encoder: s₀ = h₃. It is the query.
//! let s0 = h.slice(s![.., 2..3, ..]);
//! // 3. Scores: eⱼ = s₀·hⱼ, with the states of the encoder as keys.
//! let attention = Attention::<f64>::zeros(AttentionConfig::new(Score::Dot, 2, 2))?;
//! let output = attention.forward(s0, h.view(), h.view(), &AttentionMask::default())?;
//! assert_eq!(output.scores, array![[[1.0, 1.0, 2.0]]]);
//! // 4. Weights: the softmax of the scores, e¹ : e¹ : e².
//! let e = 1.0_f64.exp();
//! let weights = [1.0 / (2.0 + e), 1.0 / (2.0 + e), e / (2.0 + e)]; // 0.212, 0.212, 0.576
//! assert!(output.weights.iter().zip(weights).all(|(found, expected)| (found - expected).abs() < 1e-15));
//! // 5. Every state is multiplied by its weight, and 6. the sum is the context: 0.212 h₁ + 0.212 h₂ + 0.576 h₃.
//! let context = weights[0] + weights[2]; // of both units: 0.788
//! assert!(output.context.iter().all(|found| (found - context).abs() < 1e-15));
//! // 7. The attentional state is made from context and state: s̃ = tanh(W [c; s₀]).
//! let w = array![[0.5, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, -1.0]];
//! let joined = array![output.context[[0, 0, 0]], output.context[[0, 0, 1]], 1.0, 1.0];
//! let attentional = w.dot(&joined).mapv(f64::tanh); // tanh 0.894, tanh −0.212
//! // 8. The output: logits of the words. The decoder reads the word and goes on from step 3 with its new state.
//! let logits = array![[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]].dot(&attentional); // 0.713, −0.209, 0.252
//! assert!(logits[0] > logits[2] && logits[2] > logits[1]);
//! # Ok::<(), attention::AttentionError>(())
//! ```
//!
//! [`Seq2Seq`] takes these steps with learned parameters; [`Encoded::memory`], [`Encoded::state`] and the fields of
//! [`DecoderOutput`] have the values of each.
//!
//! # Scores
//!
//! With a query q, a key kⱼ, the parameters W, U, v, b, and ∘ the product of elements:
//!
//! | [`Score`] | eⱼ | source |
//! |---|---|---|
//! | `Dot` | q·kⱼ | Luong, Pham and Manning, 2015 |
//! | `ScaledDot` | q·kⱼ / √d | Vaswani et al., 2017 |
//! | `General` | q·(U kⱼ) | Luong, Pham and Manning, 2015 |
//! | `Additive` | v·tanh(W q + U kⱼ + b) | Bahdanau, Cho and Bengio, 2015 |
//! | `Location` | (W q + b)ⱼ | Luong et al., 2015; Sharma, Kiros and Salakhutdinov, 2016 |
//! | `Multiplicative` | v·(tanh(W q) ∘ tanh(U kⱼ + b)) | Yeung et al., 2018 |
//!
//! The *scores* e become *weights* a = softmax(e / τ), and these the *context* c = Σⱼ aⱼ vⱼ. What depends on the keys alone is
//! computed once for a clip.
//!
//! # What holds exactly
//!
//! - A sequence has the same outputs, weights, states and gradient of its input, bit for bit, alone and padded in a batch.
//!   What the padding holds, NaN included, influences nothing.
//! - Results do not depend on the number of threads.
//! - A stream gives the bits of the whole sequence.
//! - Where no key is left by the masks, weights and context are zero.
//!
//! # What is not here
//!
//! Several layers inside a recurrent model (an `Lstm` reads its output), local attention, dropout on weights, coverage.

mod cell;
mod clips;
mod error;
mod layer;
mod linear;
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
mod transformer;
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
pub use transformer::{
    TransformerConfig, TransformerGradients, TransformerLayer, TransformerTrace, sinusoidal_positions,
};
