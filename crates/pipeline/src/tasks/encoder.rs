//! The encoder of frames, which learns to tell the digits from single frames and then stays as it is.
//!
//! The models of a task differ in how they join frames, so they all read the same maps: those of an encoder that has seen
//! single frames with a digit, and some without one. So Sharma et al. (2016) and Yeung et al. (2018) train on features of a
//! network that was trained on photographs.

use ndarray::{Array3, Array4, ArrayView4, Axis, concatenate};
use ndarray_rand::rand::seq::SliceRandom;

use super::clips::frames_of;
use super::{ClipMaker, TaskClip, TaskError, TaskRecipe};
use crate::data::Batch;
use crate::model::{ActionModel, ModelConfig, PoolingArchitecture, PoolingPartConfig, Temporal, TemporalConfig};
use crate::random::{Purpose, generator};
use crate::training::{Stepper, TrainingConfig, largest, part_of};

/// The class of a frame without a digit.
const NO_DIGIT: usize = 10;
/// The number of frames of a step of training.
const FRAMES_PER_STEP: usize = 64;
/// So many frames go through the encoder at once; the result does not depend on it.
const FRAME_BATCH: usize = 512;

/// A trained encoder: late pooling of clips of one frame, so that its one shared layer makes the features of a frame.
#[derive(Clone, Debug)]
pub(super) struct TaskEncoder {
    model: ActionModel<f32>,
}

impl TaskEncoder {
    /// Learns from single frames of `maker`.
    pub(super) fn fit(recipe: &TaskRecipe, seed: u64, maker: &ClipMaker<'_>) -> Result<Self, TaskError> {
        let pooling = PoolingPartConfig {
            architecture: PoolingArchitecture::Late,
            units: vec![recipe.model.features],
            dropout: 0.0,
            ..PoolingPartConfig::default()
        };
        let config = ModelConfig {
            encoder: recipe.model.encoder.clone(),
            temporal: TemporalConfig::Pooling(pooling),
            ..ModelConfig::default()
        };
        let rng = &mut generator(seed, Purpose::Weights, 0, 0);
        let model = ActionModel::new(&config, 1, [recipe.data.canvas; 2], NO_DIGIT + 1, rng)?;
        let frames = maker.single_frames(recipe.model.encoder_frames);
        let training = TrainingConfig { epochs: recipe.model.encoder_epochs, ..recipe.training.clone() };
        let steps = frames.len().div_ceil(FRAMES_PER_STEP);
        let mut stepper = Stepper::new(model, &training, steps)?;
        for epoch in 1..=training.epochs {
            let mut order: Vec<&TaskClip> = frames.iter().collect();
            order.shuffle(&mut generator(seed, Purpose::Order, epoch, 0));
            for step in 0..steps {
                let clips = &order[part_of(frames.len(), steps, step)];
                let batch = Batch { frames: frames_of(clips), lengths: vec![1; clips.len()], labels: classes(clips) };
                stepper.step(&batch, &mut generator(seed, Purpose::Dropout, epoch, step))?;
            }
        }
        Ok(Self { model: stepper.into_model() })
    }

    /// The maps of all frames of `clips` one after another, `[frames, channels, height, width]`.
    ///
    /// # Panics
    /// If there are no clips.
    pub(super) fn maps(&self, clips: &[TaskClip]) -> Result<Array4<f32>, TaskError> {
        self.in_parts(clips, |frames| Ok(self.model.encoder.forward(frames)?))
    }

    /// The features `[clips, time, features]` of clips of one length.
    ///
    /// # Panics
    /// If there are no clips.
    pub(super) fn features(&self, clips: &[TaskClip]) -> Result<Array3<f32>, TaskError> {
        let features = self.in_parts(clips, |frames| {
            let maps = self.model.encoder.forward(frames)?;
            let inputs = maps.len() / maps.len_of(Axis(0));
            let mut features = maps.into_shape_clone((frames.len_of(Axis(0)), inputs)).expect("as many maps as frames");
            if let Temporal::Pooling(part) = &self.model.temporal {
                for layer in &part.layers.shared {
                    features = layer.forward(features.view())?.mapv_into(|feature| feature.max(0.0));
                }
            }
            Ok(features)
        })?;
        let shape = (clips.len(), features.nrows() / clips.len(), features.ncols());
        Ok(features.into_shape_with_order(shape).expect("all clips have the same number of frames"))
    }

    /// The part of the frames of `clips` with a digit that are taken for that digit.
    pub(super) fn accuracy(&self, clips: &[TaskClip]) -> Result<f64, TaskError> {
        let scores =
            self.in_parts(clips, |frames| Ok(self.model.forward(frames, &vec![1; frames.len_of(Axis(0))])?))?;
        let classes = classes(&clips.iter().collect::<Vec<_>>());
        let found = scores.outer_iter().zip(classes).filter(|(_, class)| *class != NO_DIGIT);
        let right: Vec<bool> = found.map(|(scores, class)| largest(scores) == class).collect();
        Ok(right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64)
    }

    /// What `work` makes of the frames of some clips at a time, one after another.
    fn in_parts<D: ndarray::RemoveAxis>(
        &self,
        clips: &[TaskClip],
        work: impl Fn(ArrayView4<'_, f32>) -> Result<ndarray::Array<f32, D>, TaskError>,
    ) -> Result<ndarray::Array<f32, D>, TaskError> {
        let time = clips.first().map_or(1, |clip| clip.shown.len());
        let part = |part: &[TaskClip]| work(frames_of(&part.iter().collect::<Vec<_>>()).view());
        let parts = clips.chunks(FRAME_BATCH.div_ceil(time)).map(part).collect::<Result<Vec<_>, _>>()?;
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        Ok(concatenate(Axis(0), &views).expect("parts of one kind, at least one"))
    }
}

/// What the frames of `clips` show, one clip after another.
fn classes(clips: &[&TaskClip]) -> Vec<usize> {
    let shown = clips.iter().flat_map(|clip| &clip.shown);
    shown.map(|shown| shown.map_or(NO_DIGIT, |shown| shown.digit)).collect()
}
