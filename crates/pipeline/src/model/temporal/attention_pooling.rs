//! LSTM layers whose outputs are added up by learned weights.

use attention::{AttentionPooling, AttentionPoolingConfig, PoolingTrace};
use lstm::{Lstm, LstmConfig, LstmTrace};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD, Axis, s};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{Element, Parameters, check_axis, visit_part, visit_part_mut};

use super::SequencePart;
use crate::model::{AttentionPoolingPartConfig, AttentionWeights, ModelError};

/// LSTM layers, if any, and attention pooling.
#[derive(Clone, Debug)]
pub struct AttentionPoolingPart<T> {
    /// The layers; `None` where the features themselves are weighted.
    pub lstm: Option<Lstm<T>>,
    /// What weights their outputs.
    pub pooling: AttentionPooling<T>,
}

/// What the backward pass of [`AttentionPoolingPart`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct AttentionPoolingPartTrace<T> {
    lstm: Option<LstmTrace<T>>,
    pooling: PoolingTrace<T>,
}

impl<T: Element> AttentionPoolingPart<T> {
    pub(super) fn new(config: &AttentionPoolingPartConfig, rng: &mut impl Rng) -> Result<Self, ModelError> {
        let layers = LstmConfig {
            layers: config.layers,
            bidirectional: config.bidirectional,
            ..LstmConfig::new(config.features, config.hidden)
        };
        let lstm = if config.layers > 0 { Some(Lstm::new(layers, rng)?) } else { None };
        let features = lstm.as_ref().map_or(config.features, |lstm| lstm.config().output_size());
        let attention_size = (config.attention_size > 0).then_some(config.attention_size);
        Ok(Self { lstm, pooling: AttentionPooling::new(AttentionPoolingConfig { features, attention_size }, rng)? })
    }

    /// What is weighted.
    fn outputs(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array3<T>, ModelError> {
        match &self.lstm {
            Some(lstm) => Ok(lstm.forward(sequences, None, Some(lengths))?.0),
            None => Ok(sequences.to_owned()),
        }
    }
}

impl<T: Element> SequencePart<T> for AttentionPoolingPart<T> {
    type Trace = AttentionPoolingPartTrace<T>;

    const NAME: &'static str = "attention_pooling";

    fn output_features(&self) -> usize {
        self.pooling.config().features
    }

    fn forward(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        let outputs = self.outputs(sequences, lengths)?;
        Ok(self.pooling.forward(outputs.view(), Some(lengths))?.context)
    }

    fn forward_training(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
        rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError> {
        let (outputs, lstm) = match &self.lstm {
            Some(lstm) => {
                let (outputs, _, trace) = lstm.forward_training(sequences, None, Some(lengths), rng)?;
                (outputs, Some(trace))
            }
            None => (sequences.to_owned(), None),
        };
        let (found, pooling) = self.pooling.forward_training(outputs.view(), Some(lengths))?;
        Ok((found.context, AttentionPoolingPartTrace { lstm, pooling }))
    }

    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array3<T>, Self), ModelError> {
        let [expected, found] = [self.lstm.is_some(), trace.lstm.is_some()].map(usize::from);
        check_axis("AttentionPoolingPart", "stacks of layers in the trace", expected, found)?;
        let pooled = self.pooling.backward(&trace.pooling, grad_vectors, None)?;
        match (&self.lstm, &trace.lstm) {
            (Some(lstm), Some(trace)) => {
                let gradients = lstm.backward(trace, pooled.input.view(), None)?;
                Ok((gradients.input, Self { lstm: Some(gradients.parameters), pooling: pooled.parameters }))
            }
            _ => Ok((pooled.input, Self { lstm: None, pooling: pooled.parameters })),
        }
    }

    fn attention(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
    ) -> Result<Option<AttentionWeights<T>>, ModelError> {
        let outputs = self.outputs(sequences, lengths)?;
        let weights = self.pooling.forward(outputs.view(), Some(lengths))?.weights;
        let valid =
            |(clip, &length): (usize, &usize)| weights.slice(s![clip, ..length]).insert_axis(Axis(0)).to_owned();
        Ok(Some(AttentionWeights::Steps(lengths.iter().enumerate().map(valid).collect())))
    }
}

impl<T: Element> Parameters<T> for AttentionPoolingPart<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        if let Some(lstm) = &self.lstm {
            visit_part("lstm", lstm, visitor);
        }
        visit_part("pooling", &self.pooling, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        if let Some(lstm) = &mut self.lstm {
            visit_part_mut("lstm", lstm, visitor);
        }
        visit_part_mut("pooling", &mut self.pooling, visitor);
    }
}
