//! Stored videos as the input of a model.

use std::collections::BTreeMap;

use ndarray::{Array4, Axis, concatenate, s};
use rayon::prelude::*;

use super::input::InputConfig;
use super::{InputKind, StoreError, StoredVideo, VideoRecipe};
use crate::data::Batch;
use crate::random::{Purpose, generator};

/// How a model reads the frames of a video.
#[derive(Clone, Debug)]
pub(super) struct ClipReader<'a> {
    pub(super) input: &'a InputConfig,
}

impl ClipReader<'_> {
    /// The steps `[steps, channels, height, width]` at the stored frames `positions`. `read` gives the stored frames at
    /// increasing positions, none of them twice.
    pub(super) fn steps<E>(
        &self,
        positions: &[usize],
        read: impl FnOnce(&[usize]) -> Result<Array4<f32>, E>,
    ) -> Result<Array4<f32>, E> {
        let stacked = self.input.stacked_frames;
        let ages = || (0..stacked).rev();
        let needed = positions.iter().flat_map(|&position| ages().map(move |age| position.saturating_sub(age)));
        let mut places: BTreeMap<usize, usize> = needed.map(|position| (position, 0)).collect();
        for (place, value) in places.values_mut().enumerate() {
            *value = place;
        }
        let mut frames = read(&places.keys().copied().collect::<Vec<_>>())?;
        self.input.scale.apply(&mut frames);
        let [stored, height, width] = self.input.stored_shape();
        let [channels, ..] = self.input.step_shape();
        let mut steps = Array4::zeros((positions.len(), channels, height, width));
        for (&position, mut step) in positions.iter().zip(steps.outer_iter_mut()) {
            for (index, age) in ages().enumerate() {
                let frame = frames.index_axis(Axis(0), places[&position.saturating_sub(age)]);
                step.slice_mut(s![index * stored..(index + 1) * stored, .., ..]).assign(&frame);
            }
        }
        Ok(steps)
    }

    fn of_stored(&self, video: &StoredVideo, positions: &[usize]) -> Result<Array4<f32>, StoreError> {
        self.steps(positions, |positions| video.read(positions))
    }
}

/// The stored videos of a collection, with their classes.
#[derive(Debug)]
pub(super) struct VideoClips<'a> {
    pub(super) recipe: &'a VideoRecipe,
    pub(super) videos: Vec<StoredVideo>,
    pub(super) labels: Vec<usize>,
}

impl VideoClips<'_> {
    pub(super) fn reader(&self) -> ClipReader<'_> {
        ClipReader { input: &self.recipe.input }
    }

    /// The videos at `positions`, each varied by a draw that depends on the seed, the epoch and the video.
    pub(super) fn training_batch(&self, positions: &[usize], epoch: usize) -> Result<Batch, StoreError> {
        let VideoRecipe { seed, sampling, short_clips, augmentation, input, .. } = self.recipe;
        let vary = |&position: &usize| {
            let mut rng = generator(*seed, Purpose::Augmentation, epoch, position);
            let video = &self.videos[position];
            let frames = sampling.training(video.frames(), *short_clips, &mut rng);
            let steps = self.reader().of_stored(video, &frames)?;
            Ok(match input.kind {
                InputKind::Pixels => augmentation.apply(steps.view(), &mut rng),
                InputKind::Features | InputKind::FeatureMaps => steps,
            })
        };
        let clips = positions.par_iter().map(vary).collect::<Result<Vec<_>, StoreError>>()?;
        let labels = positions.iter().map(|&position| self.labels[position]).collect();
        Ok(batch(&clips, labels))
    }

    /// The clips of each of the videos at `positions` that a test looks at.
    pub(super) fn test_clips(&self, position: usize) -> Result<Vec<Array4<f32>>, StoreError> {
        let VideoRecipe { sampling, short_clips, test_clips, .. } = self.recipe;
        let video = &self.videos[position];
        let clips = sampling.test(video.frames(), *test_clips, *short_clips);
        clips.iter().map(|frames| self.reader().of_stored(video, frames)).collect()
    }
}

/// Clips one after another, without padding.
pub(super) fn batch(clips: &[Array4<f32>], labels: Vec<usize>) -> Batch {
    let views: Vec<_> = clips.iter().map(|clip| clip.view()).collect();
    Batch {
        frames: concatenate(Axis(0), &views).expect("clips of one input have the same size"),
        lengths: clips.iter().map(|clip| clip.len_of(Axis(0))).collect(),
        labels,
    }
}
