//! Transformer layers and the mean over the steps.

use attention::{TransformerConfig, TransformerLayer, TransformerTrace, sinusoidal_positions};
use lstm::Readout;
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD, Axis, s};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{Element, LayerNorm, LayerNormTrace, Parameters, check_axis, visit_part, visit_part_mut};

use super::SequencePart;
use super::read_out::Reading;
use crate::model::{AttentionWeights, ModelError, ReadOut, TransformerPartConfig};

/// Layers with norms first on features with sinusoidal positions, the mean over the steps, and a last norm.
#[derive(Clone, Debug)]
pub struct TransformerPart<T> {
    /// The layers.
    pub layers: Vec<TransformerLayer<T>>,
    /// The norm of the mean.
    pub norm: LayerNorm<T>,
}

/// What the backward pass of [`TransformerPart`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct TransformerPartTrace<T> {
    layers: Vec<TransformerTrace<T>>,
    reading: Reading,
    norm: LayerNormTrace<T>,
}

impl<T: Element> TransformerPart<T> {
    pub(super) fn new(config: &TransformerPartConfig, rng: &mut impl Rng) -> Result<Self, ModelError> {
        let layer = TransformerConfig {
            feedforward: config.feedforward,
            dropout: config.dropout,
            ..TransformerConfig::new(config.features, config.heads)
        };
        let layers = (0..config.layers).map(|_| TransformerLayer::new(layer, rng)).collect::<Result<_, _>>()?;
        Ok(Self { layers, norm: LayerNorm::new(config.features)? })
    }

    /// The sequences with their positions.
    fn positioned(sequences: ArrayView3<'_, T>) -> Result<Array3<T>, ModelError> {
        let (_, time, features) = sequences.dim();
        Ok(&sequences + &sinusoidal_positions::<T>(time, features)?)
    }
}

impl<T: Element> SequencePart<T> for TransformerPart<T> {
    type Trace = TransformerPartTrace<T>;

    const NAME: &'static str = "transformer";

    fn output_features(&self) -> usize {
        self.norm.features()
    }

    fn forward(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        let mut values = Self::positioned(sequences)?;
        for layer in &self.layers {
            values = layer.forward(values.view(), Some(lengths))?.0;
        }
        Ok(self.norm.forward(Readout::Mean.forward(values.view(), Some(lengths))?.view())?)
    }

    fn forward_training(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
        rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError> {
        let mut values = Self::positioned(sequences)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (output, trace) = layer.forward_training(values.view(), Some(lengths), rng)?;
            layers.push(trace);
            values = output;
        }
        let (mean, reading) = ReadOut::Mean.forward(values.view(), lengths)?;
        let (vectors, norm) = self.norm.forward_training(mean.view())?;
        Ok((vectors, TransformerPartTrace { layers, reading, norm }))
    }

    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array3<T>, Self), ModelError> {
        check_axis("TransformerPart", "layers of the trace", self.layers.len(), trace.layers.len())?;
        let norm = self.norm.backward(&trace.norm, grad_vectors)?;
        let mut gradient = ReadOut::backward(&trace.reading, norm.input.view())?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for (layer, trace) in self.layers.iter().zip(&trace.layers).rev() {
            let gradients = layer.backward(trace, gradient.view())?;
            gradient = gradients.input;
            layers.push(gradients.parameters);
        }
        layers.reverse();
        Ok((gradient, Self { layers, norm: norm.parameters }))
    }

    /// Those of the last layer, the mean over its heads.
    fn attention(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
    ) -> Result<Option<AttentionWeights<T>>, ModelError> {
        let mut values = Self::positioned(sequences)?;
        let mut last = None;
        for layer in &self.layers {
            let (output, weights) = layer.forward(values.view(), Some(lengths))?;
            let heads = T::from_f64(layer.config().num_heads as f64);
            (values, last) = (output, Some(weights.sum_axis(Axis(1)) / heads));
        }
        let Some(weights) = last else { return Ok(None) };
        let valid = |(clip, &length): (usize, &usize)| weights.slice(s![clip, ..length, ..length]).to_owned();
        Ok(Some(AttentionWeights::Steps(lengths.iter().enumerate().map(valid).collect())))
    }
}

impl<T: Element> Parameters<T> for TransformerPart<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        for (index, layer) in self.layers.iter().enumerate() {
            visit_part(&format!("layers.{index}"), layer, visitor);
        }
        visit_part("norm", &self.norm, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            visit_part_mut(&format!("layers.{index}"), layer, visitor);
        }
        visit_part_mut("norm", &mut self.norm, visitor);
    }
}
