//! The classifier of clips.

use ndarray::{Array2, ArrayView2, ArrayView4, ArrayViewD, ArrayViewMutD, Axis};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, Parameters, check_axis, visit_part, visit_part_mut};

use super::frame_encoder::{FrameEncoder, FrameEncoderTrace};
use super::head::{Head, HeadTrace};
use super::steps::{Steps, check_steps};
use super::temporal::{Temporal, TemporalTrace};
use super::{AttentionWeights, ModelConfig, ModelError};

const OPERATION: &str = "ActionModel";

/// A classifier of clips, and the gradient of one.
///
/// Clips of different lengths come as the steps of all clips one after another, without padding, so that no step is
/// encoded in vain.
#[derive(Clone, Debug)]
pub struct ActionModel<T> {
    /// From the images of a step to its maps.
    pub encoder: FrameEncoder<T>,
    /// From the maps of all steps to one vector, or to the scores.
    pub temporal: Temporal<T>,
    /// From that vector to the scores; `None` where the temporal part scores itself, as feature pooling does.
    pub head: Option<Head<T>>,
}

/// What [`ActionModel::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct ActionTrace<T: Element> {
    encoder: FrameEncoderTrace<T>,
    temporal: TemporalTrace<T>,
    head: Option<HeadTrace<T>>,
}

impl<T: Element> ActionTrace<T> {
    /// What the model adds to the loss: the penalty on the weights of spatial attention, 0 for all others.
    /// [`ActionModel::backward`] includes its gradient.
    pub fn penalty(&self) -> T {
        self.temporal.penalty()
    }
}

impl<T: Element> ActionModel<T> {
    /// A model with random weights for images of `channels` channels and `size` pixels (height and width).
    ///
    /// # Errors
    /// [`ModelError`] if the parts do not fit together, for instance a kernel that is larger than its input.
    pub fn new(
        config: &ModelConfig,
        channels: usize,
        size: [usize; 2],
        classes: usize,
        rng: &mut impl Rng,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        let (encoder, maps) = FrameEncoder::new(&config.encoder, channels, size, rng)?;
        let temporal = Temporal::new(&config.temporal, maps, classes, rng)?;
        let head = match temporal.makes_scores() {
            true => None,
            false => Some(Head::new(&config.head, temporal.output_features(), classes, rng)?),
        };
        Ok(Self { encoder, temporal, head })
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.head.as_ref().map_or(self.temporal.output_features(), |head| head.linear.out_features())
    }

    /// The scores `[clips, classes]` of clips.
    ///
    /// - `frames`: `[steps of all clips, channels, height, width]`, clip after clip
    /// - `lengths`: the number of steps of each clip
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit or a clip has no steps.
    pub fn forward(&self, frames: ArrayView4<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        check_steps(OPERATION, frames.len_of(Axis(0)), lengths)?;
        let maps = self.encoder.forward(frames)?;
        let vectors = self.temporal.forward(Steps { maps: maps.view(), lengths })?;
        match &self.head {
            Some(head) => head.forward(vectors.view()),
            None => Ok(vectors),
        }
    }

    /// Where the model looks in clips given as to [`Self::forward`]; `None` for a model without attention.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn attention(
        &self,
        frames: ArrayView4<'_, T>,
        lengths: &[usize],
    ) -> Result<Option<AttentionWeights<T>>, ModelError> {
        check_steps(OPERATION, frames.len_of(Axis(0)), lengths)?;
        let maps = self.encoder.forward(frames)?;
        self.temporal.attention(Steps { maps: maps.view(), lengths })
    }

    /// As [`Self::forward`], with dropout and with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        frames: ArrayView4<'_, T>,
        lengths: &[usize],
        rng: &mut impl Rng,
    ) -> Result<(Array2<T>, ActionTrace<T>), ModelError> {
        check_steps(OPERATION, frames.len_of(Axis(0)), lengths)?;
        let (maps, encoder) = self.encoder.forward_training(frames, rng)?;
        let (vectors, temporal) = self.temporal.forward_training(Steps { maps: maps.view(), lengths }, rng)?;
        let (scores, head) = match &self.head {
            Some(head) => {
                let (scores, trace) = head.forward_training(vectors.view(), rng)?;
                (scores, Some(trace))
            }
            None => (vectors, None),
        };
        Ok((scores, ActionTrace { encoder, temporal, head }))
    }

    /// The gradients of the parameters for the gradient `[clips, classes]` of the scores.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit the trace.
    pub fn backward(&self, trace: &ActionTrace<T>, grad_scores: ArrayView2<'_, T>) -> Result<Self, ModelError> {
        check_axis(
            OPERATION,
            "heads of the trace",
            usize::from(self.head.is_some()),
            usize::from(trace.head.is_some()),
        )?;
        let (grad_maps, temporal, head) = match (&self.head, &trace.head) {
            (Some(head), Some(of_head)) => {
                let (grad_vectors, head) = head.backward(of_head, grad_scores)?;
                let (grad_maps, temporal) = self.temporal.backward(&trace.temporal, grad_vectors.view())?;
                (grad_maps, temporal, Some(head))
            }
            _ => {
                let (grad_maps, temporal) = self.temporal.backward(&trace.temporal, grad_scores)?;
                (grad_maps, temporal, None)
            }
        };
        let encoder = self.encoder.backward(&trace.encoder, grad_maps)?;
        Ok(Self { encoder, temporal, head })
    }
}

impl<T: Element> Parameters<T> for ActionModel<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("encoder", &self.encoder, visitor);
        visit_part("temporal", &self.temporal, visitor);
        if let Some(head) = &self.head {
            visit_part("head", head, visitor);
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        visit_part_mut("temporal", &mut self.temporal, visitor);
        if let Some(head) = &mut self.head {
            visit_part_mut("head", head, visitor);
        }
    }
}
