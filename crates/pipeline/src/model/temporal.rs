//! From the features of all steps to one vector per clip.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, Parameters, visit_part, visit_part_mut};

use super::{ModelError, TemporalConfig};

mod recurrent;

pub use recurrent::{LstmTemporal, LstmTemporalTrace};

/// What makes one vector of a sequence, and the gradient of one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Temporal<T> {
    /// A stack of LSTM layers.
    Lstm(LstmTemporal<T>),
}

/// What [`Temporal::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TemporalTrace<T> {
    /// Of a stack of LSTM layers.
    Lstm(LstmTemporalTrace<T>),
}

impl<T: Element> Temporal<T> {
    /// The part that `config` names, for `features` features.
    ///
    /// # Errors
    /// [`ModelError`] if a size is 0.
    pub fn new(config: &TemporalConfig, features: usize, rng: &mut impl Rng) -> Result<Self, ModelError> {
        match config {
            TemporalConfig::Lstm(config) => Ok(Self::Lstm(LstmTemporal::new(config, features, rng)?)),
        }
    }

    /// The size of the vectors.
    pub fn output_features(&self) -> usize {
        match self {
            Self::Lstm(part) => part.output_features(),
        }
    }

    /// The vectors `[clips, output features]` of sequences `[clips, time, features]`; what stands beyond the length of a
    /// clip has no influence.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes or lengths do not fit.
    pub fn forward(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        match self {
            Self::Lstm(part) => part.forward(sequences, lengths),
        }
    }

    /// As [`Self::forward`], with dropout and with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
        rng: &mut impl Rng,
    ) -> Result<(Array2<T>, TemporalTrace<T>), ModelError> {
        match self {
            Self::Lstm(part) => {
                let (vectors, trace) = part.forward_training(sequences, lengths, rng)?;
                Ok((vectors, TemporalTrace::Lstm(trace)))
            }
        }
    }

    /// The gradients of the sequences and of the parameters.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit the trace.
    pub fn backward(
        &self,
        trace: &TemporalTrace<T>,
        grad_vectors: ArrayView2<'_, T>,
    ) -> Result<(Array3<T>, Self), ModelError> {
        match (self, trace) {
            (Self::Lstm(part), TemporalTrace::Lstm(trace)) => {
                let (grad_sequences, parameters) = part.backward(trace, grad_vectors)?;
                Ok((grad_sequences, Self::Lstm(parameters)))
            }
        }
    }
}

impl<T: Element> Parameters<T> for Temporal<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        match self {
            Self::Lstm(part) => visit_part("lstm", &part.lstm, visitor),
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        match self {
            Self::Lstm(part) => visit_part_mut("lstm", &mut part.lstm, visitor),
        }
    }
}
