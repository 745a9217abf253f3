//! Clips as the maps of their frames.

use ndarray::{Array4, Axis, concatenate, s};

use super::encoder::TaskEncoder;
use super::{TaskClip, TaskError};
use crate::data::Batch;

/// The number of clips that go through a model at once in a test; the result does not depend on it.
const TEST_BATCH: usize = 50;

/// Clips of one length with the maps of all their frames.
#[derive(Debug)]
pub(super) struct Maps<'a> {
    clips: &'a [TaskClip],
    /// `[frames of all clips, channels, height, width]`
    maps: Array4<f32>,
    frames: usize,
}

impl<'a> Maps<'a> {
    pub(super) fn new(encoder: &TaskEncoder, clips: &'a [TaskClip]) -> Result<Self, TaskError> {
        let maps = encoder.maps(clips)?;
        let frames = maps.len_of(Axis(0)) / clips.len();
        Ok(Self { clips, maps, frames })
    }

    pub(super) fn clips(&self) -> &'a [TaskClip] {
        self.clips
    }

    /// The positions of all clips, some at a time.
    pub(super) fn parts(&self) -> impl Iterator<Item = Vec<usize>> {
        let count = self.clips.len();
        (0..count).step_by(TEST_BATCH).map(move |start| (start..count.min(start + TEST_BATCH)).collect())
    }

    /// The clips at `positions`.
    pub(super) fn batch(&self, positions: &[usize]) -> Batch {
        let of_clip = |&clip: &usize| self.maps.slice(s![clip * self.frames..(clip + 1) * self.frames, .., .., ..]);
        let views: Vec<_> = positions.iter().map(of_clip).collect();
        Batch {
            frames: concatenate(Axis(0), &views).expect("maps of one size, of at least one clip"),
            lengths: vec![self.frames; positions.len()],
            labels: positions.iter().map(|&clip| self.clips[clip].label()).collect(),
        }
    }
}
