//! Which frames of a video a model sees.
//!
//! The functions know the number of frames alone, and give positions from 0.

use ndarray_rand::rand::Rng;
use serde::{Deserialize, Serialize};

use crate::VideoError;

/// Which frames of a video make up the clips that a model sees.
///
/// ```
/// use video_input::{Sampling, ShortClip};
///
/// let segments = Sampling::Segments { segments: 3 };
/// assert_eq!(segments.test(9, 1, ShortClip::Loop), [[1, 4, 7]]);
/// let windows = Sampling::Sliding { frames: 2, stride: 2, step: 1 };
/// assert_eq!(windows.test(5, 1, ShortClip::Loop), [[0, 2], [1, 3], [2, 4]]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Sampling {
    /// One frame of each of several equal parts of the video, as temporal segment networks take them (Wang et al., 2016):
    /// a random one in training, the middle one in a test. A video of fewer frames shows some of them again, in order.
    Segments {
        /// The number of parts.
        segments: usize,
    },
    /// A window of frames: anywhere in training; in a test the middle one, or several spread evenly.
    Dense {
        /// The number of frames of the window.
        frames: usize,
        /// From one frame of it to the next; 1 takes every frame.
        stride: usize,
    },
    /// Windows from the start of the video to its end; in training one anywhere.
    Sliding {
        /// The number of frames of a window.
        frames: usize,
        /// From one frame of it to the next; 1 takes every frame.
        stride: usize,
        /// From the start of one window to that of the next.
        step: usize,
    },
}

/// What a window does that is longer than the video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShortClip {
    /// It repeats the last frame.
    #[default]
    RepeatLast,
    /// It starts again with the first frame.
    Loop,
}

impl Sampling {
    /// The number of frames of a clip.
    pub fn length(&self) -> usize {
        match *self {
            Self::Segments { segments } => segments,
            Self::Dense { frames, .. } | Self::Sliding { frames, .. } => frames,
        }
    }

    /// Checks that a clip has a frame and that windows move.
    ///
    /// # Errors
    /// [`VideoError::Option`] if a number is 0.
    pub fn check(&self) -> Result<(), VideoError> {
        let numbers = match *self {
            Self::Segments { segments } => [("sampling.segments", segments); 3],
            Self::Dense { frames, stride } => [("sampling.frames", frames), ("sampling.stride", stride), ("", 1)],
            Self::Sliding { frames, stride, step } => {
                [("sampling.frames", frames), ("sampling.stride", stride), ("sampling.step", step)]
            }
        };
        match numbers.into_iter().find(|&(_, number)| number == 0) {
            Some((option, number)) => {
                Err(VideoError::Option { option, expected: "at least 1", found: number.to_string() })
            }
            None => Ok(()),
        }
    }

    /// Draws a clip for training from a video of `frames` frames. A video without frames gives no positions.
    pub fn training(&self, frames: usize, short: ShortClip, rng: &mut impl Rng) -> Vec<usize> {
        if frames == 0 {
            return Vec::new();
        }
        match *self {
            Self::Segments { segments } => (0..segments)
                .map(|segment| {
                    let start = fraction(frames, segment, segments);
                    let end = fraction(frames, segment + 1, segments);
                    if end > start {
                        rng.random_range(start..end)
                    } else {
                        fraction(frames, 2 * segment + 1, 2 * segments)
                    }
                })
                .collect(),
            Self::Dense { frames: length, stride } | Self::Sliding { frames: length, stride, .. } => {
                let start = rng.random_range(0..=last_start(frames, length, stride));
                window(frames, start, length, stride, short)
            }
        }
    }

    /// The clips for a test of a video of `frames` frames, at least one unless there are no frames.
    ///
    /// `clips` is how many clips [`Dense`](Self::Dense) spreads over the video, and with [`Segments`](Self::Segments) how
    /// many frames of each part there are, one per clip; equal clips are given once. [`Sliding`](Self::Sliding) has as
    /// many windows as fit, and one more that ends with the last frame if they leave out some.
    pub fn test(&self, frames: usize, clips: usize, short: ShortClip) -> Vec<Vec<usize>> {
        if frames == 0 {
            return Vec::new();
        }
        let clips = clips.max(1);
        let mut sampled: Vec<Vec<usize>> = match *self {
            Self::Segments { segments } => {
                let parts = segments.saturating_mul(clips).saturating_mul(2);
                let position = |segment, clip| fraction(frames, 2 * (segment * clips + clip) + 1, parts);
                (0..clips).map(|clip| (0..segments).map(|segment| position(segment, clip)).collect()).collect()
            }
            Self::Dense { frames: length, stride } => {
                let last = last_start(frames, length, stride);
                let start = |clip| if clips == 1 { last / 2 } else { fraction(last, clip, clips - 1) };
                (0..clips).map(|clip| window(frames, start(clip), length, stride, short)).collect()
            }
            Self::Sliding { frames: length, stride, step } => {
                let last = last_start(frames, length, stride);
                let starts = (0..=last).step_by(step.max(1)).chain([last]);
                starts.map(|start| window(frames, start, length, stride, short)).collect()
            }
        };
        sampled.dedup();
        sampled
    }
}

/// The position at `numerator/denominator` of `frames`, rounded down.
fn fraction(frames: usize, numerator: usize, denominator: usize) -> usize {
    (frames as u128 * numerator as u128 / denominator as u128) as usize
}

/// The last start at which a window fits, or 0.
fn last_start(frames: usize, length: usize, stride: usize) -> usize {
    frames.saturating_sub(length.saturating_sub(1).saturating_mul(stride).saturating_add(1))
}

fn window(frames: usize, start: usize, length: usize, stride: usize, short: ShortClip) -> Vec<usize> {
    let positions = (0..length).map(|step| start.saturating_add(step.saturating_mul(stride)));
    match short {
        ShortClip::RepeatLast => positions.map(|position| position.min(frames - 1)).collect(),
        ShortClip::Loop => positions.map(|position| position % frames).collect(),
    }
}
