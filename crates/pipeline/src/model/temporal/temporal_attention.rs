//! An LSTM that attends to the latest steps, and a read-out.

use attention::{TemporalAttention, TemporalAttentionConfig, TemporalTrace};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD, s};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{Element, Parameters};

use super::SequencePart;
use super::read_out::Reading;
use crate::model::{AttentionWeights, ModelError, ReadOut, TemporalAttentionPartConfig};

/// Temporal attention with a read-out.
#[derive(Clone, Debug)]
pub struct TemporalAttentionPart<T> {
    /// The score function and the cell.
    pub attention: TemporalAttention<T>,
    read_out: ReadOut,
}

/// What the backward pass of [`TemporalAttentionPart`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct TemporalAttentionPartTrace<T> {
    attention: TemporalTrace<T>,
    reading: Reading,
}

impl<T: Element> TemporalAttentionPart<T> {
    pub(super) fn new(config: &TemporalAttentionPartConfig, rng: &mut impl Rng) -> Result<Self, ModelError> {
        let attention_size = config.score.attention_size(config.attention_size);
        let attention = TemporalAttentionConfig {
            window: (config.window > 0).then_some(config.window),
            score: config.score.score(),
            attention_bias: config.score.has_bias(),
            frame_input: config.frame_input,
            ..TemporalAttentionConfig::new(config.features, config.hidden, attention_size)
        };
        Ok(Self { attention: TemporalAttention::new(attention, rng)?, read_out: config.read_out })
    }
}

impl<T: Element> SequencePart<T> for TemporalAttentionPart<T> {
    type Trace = TemporalAttentionPartTrace<T>;

    const NAME: &'static str = "temporal_attention";

    fn output_features(&self) -> usize {
        self.read_out.output_features(self.attention.config().hidden_size)
    }

    fn forward(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        let found = self.attention.forward(sequences, None, Some(lengths))?;
        Ok(self.read_out.forward(found.output.view(), lengths)?.0)
    }

    fn forward_training(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
        _rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError> {
        let (found, attention) = self.attention.forward_training(sequences, None, Some(lengths))?;
        let (vectors, reading) = self.read_out.forward(found.output.view(), lengths)?;
        Ok((vectors, TemporalAttentionPartTrace { attention, reading }))
    }

    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array3<T>, Self), ModelError> {
        let grad_outputs = ReadOut::backward(&trace.reading, grad_vectors)?;
        let gradients = self.attention.backward(&trace.attention, grad_outputs.view(), None, None)?;
        Ok((gradients.input, Self { attention: gradients.parameters, read_out: self.read_out }))
    }

    fn attention(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
    ) -> Result<Option<AttentionWeights<T>>, ModelError> {
        let weights = self.attention.forward(sequences, None, Some(lengths))?.frame_weights();
        let valid = |(clip, &length): (usize, &usize)| weights.slice(s![clip, ..length, ..length]).to_owned();
        Ok(Some(AttentionWeights::Steps(lengths.iter().enumerate().map(valid).collect())))
    }
}

impl<T: Element> Parameters<T> for TemporalAttentionPart<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        self.attention.visit(visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        self.attention.visit_mut(visitor);
    }
}
