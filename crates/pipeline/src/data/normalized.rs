//! The clips of a data set, normalised once for all epochs.

use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;

use super::{FirActions, PreprocessingConfig};

/// The normalised frames of all clips of a data set.
#[derive(Clone, Debug)]
pub struct NormalizedClips {
    preprocessing: PreprocessingConfig,
    clips: Vec<NormalizedClip>,
}

/// One clip.
#[derive(Clone, Debug)]
pub(super) struct NormalizedClip {
    /// `[time, height, width]`
    pub(super) frames: Array3<f32>,
    /// The mean of all frames, `[height, width]`.
    pub(super) mean: Array2<f32>,
    pub(super) label: usize,
}

impl NormalizedClips {
    /// The clips of `actions` as [`PreprocessingConfig::normalize`] makes them.
    pub fn new(actions: &FirActions, preprocessing: &PreprocessingConfig) -> Self {
        let normalize = |clip| {
            let frames = preprocessing.normalize(actions.frames(clip), actions.background(clip));
            let mean = frames.mean_axis(Axis(0)).expect("every clip has frames");
            NormalizedClip { frames, mean, label: clip.label }
        };
        Self { preprocessing: preprocessing.clone(), clips: actions.clips().par_iter().map(normalize).collect() }
    }

    /// How the clips were normalised, and how their frames become steps.
    pub fn preprocessing(&self) -> &PreprocessingConfig {
        &self.preprocessing
    }

    /// The class of the clip at `position` in the data set.
    ///
    /// # Panics
    /// If the data set has no such clip.
    pub fn label(&self, position: usize) -> usize {
        self.clips[position].label
    }

    pub(super) fn clip(&self, position: usize) -> &NormalizedClip {
        &self.clips[position]
    }
}
