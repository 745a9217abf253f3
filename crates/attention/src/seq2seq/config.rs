//! The configuration of a model from sequence to sequence, and its checks.

use lstm::LstmConfig;
use tensor_ops::{LinearConfig, TensorError, check_not_empty};

use super::check_token;
use crate::cell::cell_config;
use crate::error::invalid;
use crate::{AttentionConfig, Score};

/// When a decoder attends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// After its step, with its new hidden values as the query.
    Luong {
        /// Whether the attentional state enters the next step.
        input_feeding: bool,
    },
    /// Before its step, with its previous hidden values as the query; the context enters the step.
    Bahdanau,
}

/// How the decoder's first state is made from the encoder's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bridge {
    /// It is that state: s₀ = `h_S`, both directions' one after the other.
    Copy,
    /// tanh(W `h_S` + b), and another such layer for the cell values.
    Tanh,
}

/// The configuration of a [`Seq2Seq`](super::Seq2Seq).
#[derive(Clone, Debug, PartialEq)]
pub struct Seq2SeqConfig {
    /// Features of a source frame.
    pub source_features: usize,
    /// Units of the encoder in one direction.
    pub encoder_size: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Whether the encoder runs in both directions.
    pub bidirectional: bool,
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Features of an embedded token.
    pub embedding_size: usize,
    /// Units of the decoder.
    pub hidden_size: usize,
    /// When the decoder attends.
    pub mechanism: Mechanism,
    /// The score function; not [`Score::Location`], since sources have any length.
    pub score: Score,
    /// The hidden features of the score function, where it has some; else 0.
    pub attention_size: usize,
    /// τ, as in [`AttentionConfig::temperature`].
    pub temperature: f64,
    /// Whether the score function has a bias.
    pub attention_bias: bool,
    /// How the decoder's first state is made.
    pub bridge: Bridge,
    /// The token that the decoder reads first.
    pub start_token: usize,
    /// The token that ends a sequence.
    pub end_token: usize,
}

impl Default for Seq2SeqConfig {
    /// Luong's dot products with a bidirectional encoder of one layer and a tanh bridge; sizes are 0 and must be set.
    fn default() -> Self {
        Self {
            source_features: 0,
            encoder_size: 0,
            encoder_layers: 1,
            bidirectional: true,
            vocabulary: 0,
            embedding_size: 0,
            hidden_size: 0,
            mechanism: Mechanism::Luong { input_feeding: false },
            score: Score::General,
            attention_size: 0,
            temperature: 1.0,
            attention_bias: false,
            bridge: Bridge::Tanh,
            start_token: 0,
            end_token: 1,
        }
    }
}

impl Seq2SeqConfig {
    /// Features of an output of the encoder.
    pub fn memory_size(&self) -> usize {
        self.encoder().output_size()
    }

    /// The configuration of the score function.
    pub fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            attention_size: self.attention_size,
            temperature: self.temperature,
            bias: self.attention_bias,
            ..AttentionConfig::new(self.score, self.hidden_size, self.memory_size())
        }
    }

    /// Checks the sizes and options.
    ///
    /// # Errors
    /// [`TensorError`] for sizes of 0, tokens beyond the vocabulary, a start token that ends, a copied state of another
    /// size, a location score, and what [`AttentionConfig::validate`] refuses.
    pub fn validate(&self) -> Result<(), TensorError> {
        const NAME: &str = "Seq2SeqConfig";
        for (axis, size) in [
            ("source_features", self.source_features),
            ("encoder_size", self.encoder_size),
            ("encoder_layers", self.encoder_layers),
            ("vocabulary", self.vocabulary),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
        ] {
            check_not_empty(NAME, axis, size)?;
        }
        for (index, found) in [("start_token", self.start_token), ("end_token", self.end_token)] {
            check_token(NAME, index, 0, found, self.vocabulary)?;
        }
        if self.start_token == self.end_token {
            return Err(invalid(NAME, "start_token", "another than end_token", self.start_token));
        }
        if self.bridge == Bridge::Copy && self.memory_size() != self.hidden_size {
            return Err(invalid(
                NAME,
                "hidden_size",
                "that of the encoder's state with a copied state",
                self.hidden_size,
            ));
        }
        if self.score == Score::Location {
            return Err(invalid(NAME, "score", "one that sees the keys", "Location"));
        }
        self.attention().validate()
    }

    pub(super) fn encoder(&self) -> LstmConfig {
        LstmConfig {
            layers: self.encoder_layers,
            bidirectional: self.bidirectional,
            ..LstmConfig::new(self.source_features, self.encoder_size)
        }
    }

    /// What enters the decoder's cell beside the token.
    pub(super) fn extra_size(&self) -> usize {
        match self.mechanism {
            Mechanism::Luong { input_feeding: false } => 0,
            Mechanism::Luong { input_feeding: true } => self.hidden_size,
            Mechanism::Bahdanau => self.memory_size(),
        }
    }

    pub(super) fn bridge_layer(&self) -> LinearConfig {
        LinearConfig { in_features: self.memory_size(), out_features: self.hidden_size, bias: true }
    }

    pub(super) fn combine(&self) -> LinearConfig {
        let in_features = self.memory_size() + self.hidden_size;
        LinearConfig { in_features, out_features: self.hidden_size, bias: true }
    }

    pub(super) fn output(&self) -> LinearConfig {
        LinearConfig { in_features: self.hidden_size, out_features: self.vocabulary, bias: true }
    }

    pub(super) fn decoder(&self) -> LstmConfig {
        let input_size = self.embedding_size + self.extra_size();
        cell_config(input_size, self.hidden_size, None, lstm::Initialisation::Uniform)
    }
}
