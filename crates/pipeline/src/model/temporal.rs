//! From the maps of all steps to one vector per clip.

use ndarray::{Array2, Array4, ArrayView2, ArrayViewD, ArrayViewMutD};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{Element, Parameters, TensorError};

use super::steps::Steps;
use super::{AttentionWeights, ModelError, TemporalConfig};

mod attention_pooling;
mod conv_lstm;
mod lstm;
mod pooling;
mod projection;
mod read_out;
mod spatial_attention;
mod temporal_attention;
mod transformer;

pub use attention_pooling::{AttentionPoolingPart, AttentionPoolingPartTrace};
pub use conv_lstm::{ConvLstmPart, ConvLstmPartTrace};
pub use lstm::{LstmPart, LstmPartTrace};
pub use pooling::{PoolingPart, PoolingPartTrace};
pub use projection::{Projected, ProjectedTrace, SequencePart};
pub use spatial_attention::{SpatialAttentionPart, SpatialAttentionPartTrace};
pub use temporal_attention::{TemporalAttentionPart, TemporalAttentionPartTrace};
pub use transformer::{TransformerPart, TransformerPartTrace};

/// What makes one vector of the maps of all steps.
trait Part<T: Element>: Parameters<T> + Sized {
    /// What the backward pass needs of the forward pass.
    type Trace;

    /// The size of the vectors.
    fn output_features(&self) -> usize;

    fn forward(&self, steps: Steps<'_, T>) -> Result<Array2<T>, ModelError>;

    fn forward_training(
        &self,
        steps: Steps<'_, T>,
        rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError>;

    /// The gradients of the maps `[steps, channels, height, width]` and of the parameters.
    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array4<T>, Self), ModelError>;

    /// Where the part looks.
    fn attention(&self, _steps: Steps<'_, T>) -> Result<Option<AttentionWeights<T>>, ModelError> {
        Ok(None)
    }
}

/// What makes one vector, or the scores, of the maps of all steps, and the gradient of one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Temporal<T> {
    /// Feature pooling, which scores by itself.
    Pooling(PoolingPart<T>),
    /// A stack of LSTM layers.
    Lstm(Projected<T, LstmPart<T>>),
    /// A stack of LSTM layers on maps.
    ConvLstm(ConvLstmPart<T>),
    /// An LSTM that attends to the latest steps.
    TemporalAttention(Projected<T, TemporalAttentionPart<T>>),
    /// An LSTM that attends to places of the maps.
    SpatialAttention(SpatialAttentionPart<T>),
    /// LSTM layers whose outputs are added up by learned weights.
    AttentionPooling(Projected<T, AttentionPoolingPart<T>>),
    /// Transformer layers.
    Transformer(Projected<T, TransformerPart<T>>),
}

/// What [`super::ActionModel::backward`] needs of the temporal part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TemporalTrace<T: Element> {
    /// Of feature pooling.
    Pooling(PoolingPartTrace<T>),
    /// Of LSTM layers.
    Lstm(ProjectedTrace<T, LstmPartTrace<T>>),
    /// Of LSTM layers on maps.
    ConvLstm(ConvLstmPartTrace<T>),
    /// Of temporal attention.
    TemporalAttention(ProjectedTrace<T, TemporalAttentionPartTrace<T>>),
    /// Of spatial attention.
    SpatialAttention(SpatialAttentionPartTrace<T>),
    /// Of attention pooling.
    AttentionPooling(ProjectedTrace<T, AttentionPoolingPartTrace<T>>),
    /// Of transformer layers.
    Transformer(ProjectedTrace<T, TransformerPartTrace<T>>),
}

/// `$body` for the part of whichever kind.
macro_rules! of_each {
    ($temporal:expr, $part:ident => $body:expr) => {
        match $temporal {
            Temporal::Pooling($part) => $body,
            Temporal::Lstm($part) => $body,
            Temporal::ConvLstm($part) => $body,
            Temporal::TemporalAttention($part) => $body,
            Temporal::SpatialAttention($part) => $body,
            Temporal::AttentionPooling($part) => $body,
            Temporal::Transformer($part) => $body,
        }
    };
}

/// The second of two results as a variant.
fn wrap<A, B, C>(results: Result<(A, B), ModelError>, variant: impl FnOnce(B) -> C) -> Result<(A, C), ModelError> {
    results.map(|(first, second)| (first, variant(second)))
}

impl<T: Element> Temporal<T> {
    /// The part that `config` names, for maps of this shape (channels, height and width) and so many classes.
    ///
    /// # Errors
    /// [`ModelError`] if a size is 0 or the sizes do not fit.
    pub fn new(
        config: &TemporalConfig,
        maps: [usize; 3],
        classes: usize,
        rng: &mut impl Rng,
    ) -> Result<Self, ModelError> {
        Ok(match config {
            TemporalConfig::Pooling(config) => Self::Pooling(PoolingPart::new(config, maps, classes, rng)?),
            TemporalConfig::Lstm(config) => {
                Self::Lstm(Projected::new(maps, config.features, |rng| LstmPart::new(config, rng), rng)?)
            }
            TemporalConfig::ConvLstm(config) => Self::ConvLstm(ConvLstmPart::new(config, maps, rng)?),
            TemporalConfig::TemporalAttention(config) => {
                let part = |rng: &mut _| TemporalAttentionPart::new(config, rng);
                Self::TemporalAttention(Projected::new(maps, config.features, part, rng)?)
            }
            TemporalConfig::SpatialAttention(config) => {
                Self::SpatialAttention(SpatialAttentionPart::new(config, maps, rng)?)
            }
            TemporalConfig::AttentionPooling(config) => {
                let part = |rng: &mut _| AttentionPoolingPart::new(config, rng);
                Self::AttentionPooling(Projected::new(maps, config.features, part, rng)?)
            }
            TemporalConfig::Transformer(config) => {
                let part = |rng: &mut _| TransformerPart::new(config, rng);
                Self::Transformer(Projected::new(maps, config.features, part, rng)?)
            }
        })
    }

    /// The size of the vectors.
    pub fn output_features(&self) -> usize {
        of_each!(self, part => part.output_features())
    }

    /// Whether the vectors are the scores already, as those of feature pooling are.
    pub fn makes_scores(&self) -> bool {
        matches!(self, Self::Pooling(_))
    }

    /// The vectors `[clips, output features]`.
    pub(super) fn forward(&self, steps: Steps<'_, T>) -> Result<Array2<T>, ModelError> {
        of_each!(self, part => part.forward(steps))
    }

    /// Where the part looks; `None` for one without attention.
    pub(super) fn attention(&self, steps: Steps<'_, T>) -> Result<Option<AttentionWeights<T>>, ModelError> {
        of_each!(self, part => part.attention(steps))
    }

    /// As [`Self::forward`], with dropout and with what [`Self::backward`] needs.
    pub(super) fn forward_training(
        &self,
        steps: Steps<'_, T>,
        rng: &mut impl Rng,
    ) -> Result<(Array2<T>, TemporalTrace<T>), ModelError> {
        match self {
            Self::Pooling(part) => wrap(part.forward_training(steps, rng), TemporalTrace::Pooling),
            Self::Lstm(part) => wrap(part.forward_training(steps, rng), TemporalTrace::Lstm),
            Self::ConvLstm(part) => wrap(part.forward_training(steps, rng), TemporalTrace::ConvLstm),
            Self::TemporalAttention(part) => wrap(part.forward_training(steps, rng), TemporalTrace::TemporalAttention),
            Self::SpatialAttention(part) => wrap(part.forward_training(steps, rng), TemporalTrace::SpatialAttention),
            Self::AttentionPooling(part) => wrap(part.forward_training(steps, rng), TemporalTrace::AttentionPooling),
            Self::Transformer(part) => wrap(part.forward_training(steps, rng), TemporalTrace::Transformer),
        }
    }

    /// The gradients of the maps `[steps, channels, height, width]` and of the parameters.
    pub(super) fn backward(
        &self,
        trace: &TemporalTrace<T>,
        grad: ArrayView2<'_, T>,
    ) -> Result<(Array4<T>, Self), ModelError> {
        match (self, trace) {
            (Self::Pooling(part), TemporalTrace::Pooling(trace)) => wrap(part.backward(trace, grad), Self::Pooling),
            (Self::Lstm(part), TemporalTrace::Lstm(trace)) => wrap(part.backward(trace, grad), Self::Lstm),
            (Self::ConvLstm(part), TemporalTrace::ConvLstm(trace)) => wrap(part.backward(trace, grad), Self::ConvLstm),
            (Self::TemporalAttention(part), TemporalTrace::TemporalAttention(trace)) => {
                wrap(part.backward(trace, grad), Self::TemporalAttention)
            }
            (Self::SpatialAttention(part), TemporalTrace::SpatialAttention(trace)) => {
                wrap(part.backward(trace, grad), Self::SpatialAttention)
            }
            (Self::AttentionPooling(part), TemporalTrace::AttentionPooling(trace)) => {
                wrap(part.backward(trace, grad), Self::AttentionPooling)
            }
            (Self::Transformer(part), TemporalTrace::Transformer(trace)) => {
                wrap(part.backward(trace, grad), Self::Transformer)
            }
            _ => Err(TensorError::InvalidOption {
                operation: "ActionModel",
                option: "trace",
                requirement: "that of a model with the same temporal part",
                found: "that of another".to_owned(),
            }
            .into()),
        }
    }
}

impl<T: Element> TemporalTrace<T> {
    /// What the part adds to the loss.
    pub(super) fn penalty(&self) -> T {
        match self {
            Self::SpatialAttention(trace) => trace.penalty(),
            _ => T::zero(),
        }
    }
}

impl<T: Element> Parameters<T> for Temporal<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        of_each!(self, part => part.visit(visitor));
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        of_each!(self, part => part.visit_mut(visitor));
    }
}
