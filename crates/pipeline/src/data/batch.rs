//! Clips of different lengths, put together for one pass through a model.

use ndarray::{Array4, Axis, concatenate};
use rayon::prelude::*;

use super::{AugmentationConfig, AugmentationDraw, FirActions, PreprocessingConfig, Symmetry};
use crate::random::{Purpose, generator};

/// Some clips: all their steps one after another, without padding.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[steps of all clips, channels, height, width]`, as [`PreprocessingConfig::stack`] makes them.
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
    pub fn recorded(
        actions: &FirActions,
        positions: &[usize],
        preprocessing: &PreprocessingConfig,
        symmetry: Symmetry,
    ) -> Self {
        Self::assemble(actions, positions, preprocessing, |_, length| AugmentationDraw {
            symmetry,
            ..AugmentationDraw::identity(length)
        })
    }

    /// The clips at `positions` in the data set, each varied by a draw that depends on `seed`, `epoch` and the clip.
    ///
    /// # Panics
    /// If `positions` is empty or holds one that the data set lacks.
    pub fn augmented(
        actions: &FirActions,
        positions: &[usize],
        preprocessing: &PreprocessingConfig,
        augmentation: &AugmentationConfig,
        seed: u64,
        epoch: usize,
    ) -> Self {
        Self::assemble(actions, positions, preprocessing, |clip, length| {
            augmentation.draw(length, &mut generator(seed, Purpose::Augmentation, epoch, clip))
        })
    }

    fn assemble(
        actions: &FirActions,
        positions: &[usize],
        preprocessing: &PreprocessingConfig,
        draw: impl Fn(usize, usize) -> AugmentationDraw + Sync,
    ) -> Self {
        let clips: Vec<Array4<f32>> = positions
            .par_iter()
            .map(|&position| {
                let clip = &actions.clips()[position];
                let normalized = preprocessing.normalize(actions.frames(clip), actions.background(clip));
                let mean = normalized.mean_axis(Axis(0)).expect("every clip has frames");
                let draw = draw(position, clip.length);
                preprocessing.stack(draw.apply(normalized.view()).view(), draw.apply_to_image(mean.view()).view())
            })
            .collect();
        let views: Vec<_> = clips.iter().map(|clip| clip.view()).collect();
        Self {
            frames: concatenate(Axis(0), &views).expect("clips of one data set have the same size"),
            lengths: clips.iter().map(|clip| clip.len_of(Axis(0))).collect(),
            labels: positions.iter().map(|&position| actions.clips()[position].label).collect(),
        }
    }
}
