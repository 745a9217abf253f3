//! The classifier of clips.

use ndarray::{Array2, Array3, ArrayView2, ArrayView4, ArrayViewD, ArrayViewMutD, Axis, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, Parameters, TensorError, check_axis, check_not_empty, visit_part, visit_part_mut};

use super::frame_encoder::{FrameEncoder, FrameEncoderTrace};
use super::head::{Head, HeadTrace};
use super::temporal::{Temporal, TemporalTrace};
use super::{ModelConfig, ModelError};

const OPERATION: &str = "ActionModel";

/// A classifier of clips, and the gradient of one.
///
/// Clips of different lengths come as the steps of all clips one after another, without padding, so that no step is
/// encoded in vain; the features are then laid out as `[clips, time, features]` for the temporal part.
#[derive(Clone, Debug)]
pub struct ActionModel<T> {
    /// From the images of a step to its features.
    pub encoder: FrameEncoder<T>,
    /// From the features of all steps to one vector.
    pub temporal: Temporal<T>,
    /// From that vector to the scores.
    pub head: Head<T>,
}

/// What [`ActionModel::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct ActionTrace<T> {
    lengths: Vec<usize>,
    encoder: FrameEncoderTrace<T>,
    temporal: TemporalTrace<T>,
    head: HeadTrace<T>,
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
        let encoder = FrameEncoder::new(&config.encoder, channels, size, rng)?;
        let temporal = Temporal::new(&config.temporal, config.encoder.features, rng)?;
        let head = Head::new(&config.head, temporal.output_features(), classes, rng)?;
        Ok(Self { encoder, temporal, head })
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.head.linear.out_features()
    }

    /// The scores `[clips, classes]` of clips.
    ///
    /// - `frames`: `[steps of all clips, channels, height, width]`, clip after clip
    /// - `lengths`: the number of steps of each clip
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit or a clip has no steps.
    pub fn forward(&self, frames: ArrayView4<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError> {
        check_steps(frames.len_of(Axis(0)), lengths)?;
        let features = self.encoder.forward(frames)?;
        let sequences = to_sequences(features.view(), lengths);
        let vectors = self.temporal.forward(sequences.view(), lengths)?;
        self.head.forward(vectors.view())
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
        check_steps(frames.len_of(Axis(0)), lengths)?;
        let (features, encoder) = self.encoder.forward_training(frames, rng)?;
        let sequences = to_sequences(features.view(), lengths);
        let (vectors, temporal) = self.temporal.forward_training(sequences.view(), lengths, rng)?;
        let (scores, head) = self.head.forward_training(vectors.view(), rng)?;
        Ok((scores, ActionTrace { lengths: lengths.to_vec(), encoder, temporal, head }))
    }

    /// The gradients of the parameters for the gradient `[clips, classes]` of the scores.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit the trace.
    pub fn backward(&self, trace: &ActionTrace<T>, grad_scores: ArrayView2<'_, T>) -> Result<Self, ModelError> {
        let (grad_vectors, head) = self.head.backward(&trace.head, grad_scores)?;
        let (grad_sequences, temporal) = self.temporal.backward(&trace.temporal, grad_vectors.view())?;
        let grad_features = from_sequences(&grad_sequences, &trace.lengths);
        let encoder = self.encoder.backward(&trace.encoder, grad_features.view())?;
        Ok(Self { encoder, temporal, head })
    }
}

impl<T: Element> Parameters<T> for ActionModel<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("encoder", &self.encoder, visitor);
        visit_part("temporal", &self.temporal, visitor);
        visit_part("head", &self.head, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        visit_part_mut("temporal", &mut self.temporal, visitor);
        visit_part_mut("head", &mut self.head, visitor);
    }
}

/// Checks that there are clips, that each has steps, and that they are the steps given.
fn check_steps(steps: usize, lengths: &[usize]) -> Result<(), TensorError> {
    check_not_empty(OPERATION, "clips", lengths.len())?;
    if let Some(item) = lengths.iter().position(|&length| length == 0) {
        return Err(TensorError::SequenceLength { operation: OPERATION, item, found: 0, max: steps });
    }
    let total = lengths.iter().fold(0, |sum: usize, &length| sum.saturating_add(length));
    check_axis(OPERATION, "steps of all clips", total, steps)
}

/// `[steps of all clips, features]` as `[clips, time, features]`, with zeros behind the shorter clips.
fn to_sequences<T: Element>(steps: ArrayView2<'_, T>, lengths: &[usize]) -> Array3<T> {
    let time = lengths.iter().copied().max().unwrap_or(0);
    let mut sequences = Array3::zeros((lengths.len(), time, steps.ncols()));
    let mut start = 0;
    for (mut sequence, &length) in sequences.outer_iter_mut().zip(lengths) {
        sequence.slice_mut(s![..length, ..]).assign(&steps.slice(s![start..start + length, ..]));
        start += length;
    }
    sequences
}

/// The reverse of [`to_sequences`]; what stands behind the shorter clips is left out.
fn from_sequences<T: Element>(sequences: &Array3<T>, lengths: &[usize]) -> Array2<T> {
    let mut steps = Array2::zeros((lengths.iter().sum(), sequences.len_of(Axis(2))));
    let mut start = 0;
    for (sequence, &length) in sequences.outer_iter().zip(lengths) {
        steps.slice_mut(s![start..start + length, ..]).assign(&sequence.slice(s![..length, ..]));
        start += length;
    }
    steps
}
