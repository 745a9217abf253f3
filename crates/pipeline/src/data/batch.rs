//! Clips of different lengths, put together for one pass through a model.

use ndarray::{Array4, Axis, concatenate};
use rayon::prelude::*;

use super::{AugmentationConfig, AugmentationDraw, NormalizedClips, Symmetry};
use crate::random::{Purpose, generator};

/// Some clips: all their steps one after another, without padding.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[steps of all clips, channels, height, width]`, as [`crate::data::PreprocessingConfig::stack`] makes them.
    pub frames: Array4<f32>,
    /// The number of steps of each clip.
    pub lengths: Vec<usize>,
    /// The class of each clip.
    pub labels: Vec<usize>,
}

impl Batch {
    /// The clips at `positions` in the data set, each under `symmetry`, otherwise as recorded.
    ///
    /// # Panics
    /// If `positions` is empty or holds one that the data set lacks.
    pub fn recorded(clips: &NormalizedClips, positions: &[usize], symmetry: Symmetry) -> Self {
        let draw = |_, length| AugmentationDraw { symmetry, ..AugmentationDraw::identity(length) };
        Self::assemble(clips, positions, draw)
    }

    /// The clips at `positions` in the data set, each varied by a draw that depends on `seed`, `epoch` and the clip.
    ///
    /// # Panics
    /// If `positions` is empty or holds one that the data set lacks.
    pub fn augmented(
        clips: &NormalizedClips,
        positions: &[usize],
        augmentation: &AugmentationConfig,
        seed: u64,
        epoch: usize,
    ) -> Self {
        Self::assemble(clips, positions, |clip, length| {
            augmentation.draw(length, &mut generator(seed, Purpose::Augmentation, epoch, clip))
        })
    }

    fn assemble(
        clips: &NormalizedClips,
        positions: &[usize],
        draw: impl Fn(usize, usize) -> AugmentationDraw + Sync,
    ) -> Self {
        let vary = |&position: &usize| {
            let clip = clips.clip(position);
            let draw = draw(position, clip.frames.len_of(Axis(0)));
            let (frames, mean) = (draw.apply(clip.frames.view()), draw.apply_to_image(clip.mean.view()));
            clips.preprocessing().stack(frames.view(), mean.view())
        };
        let varied: Vec<Array4<f32>> = positions.par_iter().map(vary).collect();
        let views: Vec<_> = varied.iter().map(|clip| clip.view()).collect();
        Self {
            frames: concatenate(Axis(0), &views).expect("clips of one data set have the same size"),
            lengths: varied.iter().map(|clip| clip.len_of(Axis(0))).collect(),
            labels: positions.iter().map(|&position| clips.label(position)).collect(),
        }
    }
}
