//! The encoder of frames, which learns to tell the digits from single frames and then stays as it is.
//!
//! The models of a task differ in how they join frames, so they all read the same maps: those of an encoder that has seen
//! single frames with a digit, and some without one. So Sharma et al. (2016) and Yeung et al. (2018) train on features of a
//! network that was trained on photographs.

use ndarray::{Array2, Array3, Array4, ArrayView4, ArrayViewD, ArrayViewMutD, Axis, concatenate};
use ndarray_rand::rand::Rng;
use ndarray_rand::rand::seq::SliceRandom;
use tensor_ops::loss::{CrossEntropyConfig, cross_entropy_with_gradient};
use tensor_ops::{Linear, LinearConfig, Parameters, visit_part, visit_part_mut};

use super::clips::frames_of;
use super::fitting::Fitter;
use super::{ClipMaker, TaskClip, TaskError, TaskRecipe};
use crate::model::FrameEncoder;
use crate::random::{Purpose, generator};
use crate::training::{TrainingConfig, largest, part_of};

/// The class of a frame without a digit.
const NO_DIGIT: usize = 10;
/// The number of frames of a step of training.
const FRAMES_PER_STEP: usize = 64;
/// So many frames go through the encoder at once; the result does not depend on it.
const FRAME_BATCH: usize = 512;

/// A trained encoder.
#[derive(Clone, Debug)]
pub(super) struct TaskEncoder {
    model: FrameModel,
}

/// The encoder, the layer that makes features of its maps, and the layer that says the digit; and the gradient of these.
#[derive(Clone, Debug)]
struct FrameModel {
    encoder: FrameEncoder<f32>,
    projection: Linear<f32>,
    classifier: Linear<f32>,
}

impl TaskEncoder {
    /// Learns from single frames of `maker`.
    pub(super) fn fit(recipe: &TaskRecipe, seed: u64, maker: &ClipMaker<'_>) -> Result<Self, TaskError> {
        let rng = &mut generator(seed, Purpose::Weights, 0, 0);
        let (encoder, maps) = FrameEncoder::new(&recipe.model.encoder, 1, [recipe.data.canvas; 2], rng)?;
        let mut layer =
            |in_features, out_features| Linear::new(LinearConfig { in_features, out_features, bias: true }, rng);
        let projection = layer(maps.iter().product(), recipe.model.features)?;
        let classifier = layer(recipe.model.features, NO_DIGIT + 1)?;
        let model = FrameModel { encoder, projection, classifier };
        let frames = maker.single_frames(recipe.model.encoder_frames);
        let epochs = recipe.model.encoder_epochs;
        let config = TrainingConfig { epochs, ..recipe.training.clone() };
        let steps = frames.len().div_ceil(FRAMES_PER_STEP);
        let mut fitter = Fitter::new(model, &config, steps * epochs)?;
        for epoch in 1..=epochs {
            let mut order: Vec<&TaskClip> = frames.iter().collect();
            order.shuffle(&mut generator(seed, Purpose::Order, epoch, 0));
            for step in 0..steps {
                let batch = &order[part_of(frames.len(), steps, step)];
                let rng = &mut generator(seed, Purpose::Dropout, epoch, step);
                fitter.step(fitter.model().gradients(frames_of(batch).view(), &classes(batch), rng)?)?;
            }
        }
        Ok(Self { model: fitter.into_model() })
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
        let features = self.in_parts(clips, |frames| self.model.features(frames))?;
        let shape = (clips.len(), features.nrows() / clips.len(), features.ncols());
        Ok(features.into_shape_with_order(shape).expect("all clips have the same number of frames"))
    }

    /// The part of the frames of `clips` with a digit that are taken for that digit.
    pub(super) fn accuracy(&self, clips: &[TaskClip]) -> Result<f64, TaskError> {
        let features = self.in_parts(clips, |frames| self.model.features(frames))?;
        let scores = self.model.classifier.forward(features.view())?;
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

impl FrameModel {
    /// max(x, 0) of the projected maps: `[frames, features]`.
    fn features(&self, frames: ArrayView4<'_, f32>) -> Result<Array2<f32>, TaskError> {
        let maps = flat(self.encoder.forward(frames)?);
        Ok(self.projection.forward(maps.view())?.mapv_into(|feature| feature.max(0.0)))
    }

    /// The gradient of the mean cross-entropy of frames `[frames, 1, height, width]`.
    fn gradients(&self, frames: ArrayView4<'_, f32>, classes: &[usize], rng: &mut impl Rng) -> Result<Self, TaskError> {
        let (maps, of_encoder) = self.encoder.forward_training(frames, rng)?;
        let shape = maps.raw_dim();
        let (mut features, of_projection) = self.projection.forward_training(flat(maps).view())?;
        features.mapv_inplace(|feature| feature.max(0.0));
        let (scores, of_classifier) = self.classifier.forward_training(features.view())?;
        let loss = cross_entropy_with_gradient(scores.view(), classes, &CrossEntropyConfig::default())?;
        let classifier = self.classifier.backward(&of_classifier, loss.gradient.view())?;
        let mut gradient = classifier.input;
        gradient.zip_mut_with(&features, |gradient, &feature| {
            if feature <= 0.0 {
                *gradient = 0.0;
            }
        });
        let projection = self.projection.backward(&of_projection, gradient.view())?;
        let grad_maps = projection.input.into_shape_with_order(shape).expect("a value for every place of the maps");
        let encoder = self.encoder.backward(&of_encoder, grad_maps)?;
        Ok(Self { encoder, projection: projection.parameters, classifier: classifier.parameters })
    }
}

/// The maps of each frame as one row.
fn flat(maps: Array4<f32>) -> Array2<f32> {
    let (frames, channels, height, width) = maps.dim();
    let maps = maps.as_standard_layout().into_owned();
    maps.into_shape_with_order((frames, channels * height * width)).expect("a contiguous array")
}

/// What the frames of `clips` show, one clip after another.
fn classes(clips: &[&TaskClip]) -> Vec<usize> {
    let shown = clips.iter().flat_map(|clip| &clip.shown);
    shown.map(|shown| shown.map_or(NO_DIGIT, |shown| shown.digit)).collect()
}

impl Parameters<f32> for FrameModel {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
        visit_part("encoder", &self.encoder, visitor);
        visit_part("projection", &self.projection, visitor);
        visit_part("classifier", &self.classifier, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, f32>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        visit_part_mut("projection", &mut self.projection, visitor);
        visit_part_mut("classifier", &mut self.classifier, visitor);
    }
}
