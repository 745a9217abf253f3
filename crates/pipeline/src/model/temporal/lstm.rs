//! LSTM layers and a read-out.

use lstm::{Lstm, LstmConfig, LstmTrace};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{Element, Parameters};

use super::SequencePart;
use super::read_out::Reading;
use crate::model::{LstmPartConfig, ModelError, ReadOut};

/// A stack of LSTM layers with a read-out.
#[derive(Clone, Debug)]
pub struct LstmPart<T> {
    /// The layers.
    pub lstm: Lstm<T>,
    read_out: ReadOut,
}

/// What the backward pass of [`LstmPart`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct LstmPartTrace<T> {
    lstm: LstmTrace<T>,
    reading: Reading,
}

impl<T: Element> LstmPart<T> {
    pub(super) fn new(config: &LstmPartConfig, rng: &mut impl Rng) -> Result<Self, ModelError> {
        let lstm = LstmConfig {
            layers: config.layers,
            bidirectional: config.bidirectional,
            dropout: config.dropout,
            ..LstmConfig::new(config.features, config.hidden)
        };
        Ok(Self { lstm: Lstm::new(lstm, rng)?, read_out: config.read_out })
    }
}

impl<T: Element> SequencePart<T> for LstmPart<T> {
    type Trace = LstmPartTrace<T>;

    const NAME: &'static str = "lstm";

    fn output_features(&self) -> usize {
        self.read_out.output_features(self.lstm.config().output_size())
    }

    fn forward(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        let (outputs, _) = self.lstm.forward(sequences, None, Some(lengths))?;
        Ok(self.read_out.forward(outputs.view(), lengths)?.0)
    }

    fn forward_training(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
        rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, LstmPartTrace<T>), ModelError> {
        let (outputs, _, lstm) = self.lstm.forward_training(sequences, None, Some(lengths), rng)?;
        let (vectors, reading) = self.read_out.forward(outputs.view(), lengths)?;
        Ok((vectors, LstmPartTrace { lstm, reading }))
    }

    fn backward(
        &self,
        trace: &LstmPartTrace<T>,
        grad_vectors: ArrayView2<'_, T>,
    ) -> Result<(Array3<T>, Self), ModelError> {
        let grad_outputs = ReadOut::backward(&trace.reading, grad_vectors)?;
        let gradients = self.lstm.backward(&trace.lstm, grad_outputs.view(), None)?;
        Ok((gradients.input, Self { lstm: gradients.parameters, read_out: self.read_out }))
    }
}

impl<T: Element> Parameters<T> for LstmPart<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        self.lstm.visit(visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        self.lstm.visit_mut(visitor);
    }
}
