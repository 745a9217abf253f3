//! LSTM layers and the vectors that are read out of their outputs.

use lstm::{Lstm, LstmConfig, LstmTrace, Readout, ReadoutTrace};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, concatenate, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, check_axis};

use crate::model::{LstmTemporalConfig, ModelError, ReadOut};

/// A stack of LSTM layers with a read-out.
#[derive(Clone, Debug)]
pub struct LstmTemporal<T> {
    /// The layers.
    pub lstm: Lstm<T>,
    read_out: ReadOut,
}

/// What the backward pass of [`LstmTemporal`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct LstmTemporalTrace<T> {
    lstm: LstmTrace<T>,
    read_outs: Vec<ReadoutTrace>,
}

impl ReadOut {
    /// The read-outs whose vectors stand side by side.
    fn parts(self) -> &'static [Readout] {
        match self {
            Self::Last => &[Readout::Last],
            Self::Max => &[Readout::Max],
            Self::Mean => &[Readout::Mean],
            Self::Sum => &[Readout::Sum],
            Self::Linear => &[Readout::LinearlyWeighted],
            Self::MaxMean => &[Readout::Max, Readout::Mean],
        }
    }
}

impl<T: Element> LstmTemporal<T> {
    pub(super) fn new(config: &LstmTemporalConfig, features: usize, rng: &mut impl Rng) -> Result<Self, ModelError> {
        let lstm = LstmConfig {
            layers: config.layers,
            bidirectional: config.bidirectional,
            dropout: config.dropout,
            ..LstmConfig::new(features, config.hidden)
        };
        Ok(Self { lstm: Lstm::new(lstm, rng)?, read_out: config.read_out })
    }

    pub(super) fn output_features(&self) -> usize {
        self.read_out.parts().len() * self.lstm.config().output_size()
    }

    pub(super) fn forward(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        let (outputs, _) = self.lstm.forward(sequences, None, Some(lengths))?;
        Ok(self.read(outputs.view(), lengths)?.0)
    }

    pub(super) fn forward_training(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
        rng: &mut impl Rng,
    ) -> Result<(Array2<T>, LstmTemporalTrace<T>), ModelError> {
        let (outputs, _, lstm) = self.lstm.forward_training(sequences, None, Some(lengths), rng)?;
        let (vectors, read_outs) = self.read(outputs.view(), lengths)?;
        Ok((vectors, LstmTemporalTrace { lstm, read_outs }))
    }

    pub(super) fn backward(
        &self,
        trace: &LstmTemporalTrace<T>,
        grad_vectors: ArrayView2<'_, T>,
    ) -> Result<(Array3<T>, Self), ModelError> {
        check_axis("LstmTemporal", "gradient features", self.output_features(), grad_vectors.ncols())?;
        let size = self.lstm.config().output_size();
        let mut grad_outputs: Option<Array3<T>> = None;
        for (part, trace) in trace.read_outs.iter().enumerate() {
            let grad = Readout::backward(trace, grad_vectors.slice(s![.., part * size..(part + 1) * size]))?;
            grad_outputs = Some(match grad_outputs {
                Some(sum) => sum + grad,
                None => grad,
            });
        }
        let grad_outputs = grad_outputs.expect("every read-out has at least one part");
        let gradients = self.lstm.backward(&trace.lstm, grad_outputs.view(), None)?;
        Ok((gradients.input, Self { lstm: gradients.parameters, read_out: self.read_out }))
    }

    /// The vectors of all parts of the read-out, side by side.
    fn read(
        &self,
        outputs: ArrayView3<'_, T>,
        lengths: &[usize],
    ) -> Result<(Array2<T>, Vec<ReadoutTrace>), ModelError> {
        let (mut vectors, mut traces) = (Vec::new(), Vec::new());
        for part in self.read_out.parts() {
            let (vector, trace) = part.forward_training(outputs, Some(lengths))?;
            vectors.push(vector);
            traces.push(trace);
        }
        let views: Vec<_> = vectors.iter().map(|vector| vector.view()).collect();
        Ok((concatenate(Axis(1), &views).expect("all parts have the same clips"), traces))
    }
}
