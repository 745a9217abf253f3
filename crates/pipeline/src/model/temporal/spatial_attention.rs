//! An LSTM that attends to places of the maps, and a read-out.

use attention::{
    DoublyStochasticPenalty, PenaltyReduction, PenaltyTarget, SpatialAttention, SpatialAttentionConfig, SpatialTrace,
};
use ndarray::{Array2, Array4, Array5, ArrayView2, ArrayViewD, ArrayViewMutD, s};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{Element, Parameters, visit_part, visit_part_mut};

use super::Part;
use super::read_out::Reading;
use crate::model::steps::{Steps, from_map_sequences};
use crate::model::{AttentionWeights, ModelError, ReadOut, SpatialAttentionPartConfig};

/// Spatial attention with a read-out.
#[derive(Clone, Debug)]
pub struct SpatialAttentionPart<T> {
    /// The score function, the cell and the layers that make the first state.
    pub attention: SpatialAttention<T>,
    penalty: Option<DoublyStochasticPenalty>,
    read_out: ReadOut,
}

/// What the backward pass of [`SpatialAttentionPart`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct SpatialAttentionPartTrace<T> {
    lengths: Vec<usize>,
    attention: SpatialTrace<T>,
    /// The penalty and its gradient.
    penalty: Option<(T, Array4<T>)>,
    reading: Reading,
}

impl<T: Element> SpatialAttentionPartTrace<T> {
    pub(super) fn penalty(&self) -> T {
        self.penalty.as_ref().map_or(T::zero(), |(penalty, _)| *penalty)
    }
}

impl<T: Element> SpatialAttentionPart<T> {
    pub(super) fn new(
        config: &SpatialAttentionPartConfig,
        [features, height, width]: [usize; 3],
        rng: &mut impl Rng,
    ) -> Result<Self, ModelError> {
        let attention = SpatialAttentionConfig {
            height,
            width,
            score: config.score.score(),
            attention_size: config.score.attention_size(config.attention_size),
            attention_bias: config.score.has_bias(),
            ..SpatialAttentionConfig::new(height, features, config.hidden)
        };
        let penalty = DoublyStochasticPenalty {
            factor: config.penalty,
            target: PenaltyTarget::One,
            reduction: PenaltyReduction::Mean,
        };
        Ok(Self {
            attention: SpatialAttention::new(attention, rng)?,
            penalty: (config.penalty > 0.0).then_some(penalty),
            read_out: config.read_out,
        })
    }
}

/// `[clips, time, height, width, channels]`
fn regions<T: Element>(steps: &Steps<'_, T>) -> Array5<T> {
    steps.sequences().permuted_axes([0, 1, 3, 4, 2])
}

impl<T: Element> Part<T> for SpatialAttentionPart<T> {
    type Trace = SpatialAttentionPartTrace<T>;

    fn output_features(&self) -> usize {
        self.read_out.output_features(self.attention.config().hidden_size)
    }

    fn forward(&self, steps: Steps<'_, T>) -> Result<Array2<T>, ModelError> {
        let found = self.attention.forward(regions(&steps).view(), None, Some(steps.lengths))?;
        Ok(self.read_out.forward(found.output.view(), steps.lengths)?.0)
    }

    fn forward_training(
        &self,
        steps: Steps<'_, T>,
        _rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError> {
        let lengths = steps.lengths;
        let (found, attention) = self.attention.forward_training(regions(&steps).view(), None, Some(lengths))?;
        let penalty = match &self.penalty {
            Some(penalty) => Some(penalty.forward(found.weights.view(), Some(lengths))?),
            None => None,
        };
        let (vectors, reading) = self.read_out.forward(found.output.view(), lengths)?;
        Ok((vectors, SpatialAttentionPartTrace { lengths: lengths.to_vec(), attention, penalty, reading }))
    }

    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array4<T>, Self), ModelError> {
        let grad_outputs = ReadOut::backward(&trace.reading, grad_vectors)?;
        let grad_weights = trace.penalty.as_ref().map(|(_, gradient)| gradient.view());
        let gradients = self.attention.backward(&trace.attention, grad_outputs.view(), grad_weights, None)?;
        let grad_maps = from_map_sequences(gradients.input.view().permuted_axes([0, 1, 4, 2, 3]), &trace.lengths);
        let part = Self { attention: gradients.parameters, penalty: self.penalty, read_out: self.read_out };
        Ok((grad_maps, part))
    }

    fn attention(&self, steps: Steps<'_, T>) -> Result<Option<AttentionWeights<T>>, ModelError> {
        let weights = self.attention.forward(regions(&steps).view(), None, Some(steps.lengths))?.weights;
        let valid = |(clip, &length): (usize, &usize)| weights.slice(s![clip, ..length, .., ..]).to_owned();
        Ok(Some(AttentionWeights::Places(steps.lengths.iter().enumerate().map(valid).collect())))
    }
}

impl<T: Element> Parameters<T> for SpatialAttentionPart<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("spatial_attention", &self.attention, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("spatial_attention", &mut self.attention, visitor);
    }
}
