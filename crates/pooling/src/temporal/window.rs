//! Windows of frames.

use std::ops::Range;

use tensor_ops::{TensorError, check_lengths, check_not_empty};

/// Windows of neighbouring frames.
///
/// Window w has the frames `w · stride .. w · stride + frames`. A clip of n frames has all windows that lie in it,
/// `⌊(n − frames)/stride⌋ + 1`; frames behind the last of them are not seen. A clip shorter than a window has one, of all
/// its frames.
///
/// ```
/// use pooling::TemporalWindow;
///
/// let window = TemporalWindow::PAPER; // 10 frames, stride 5
/// assert_eq!([1, 9, 10, 14, 15, 120].map(|frames| window.count(frames)), [1, 1, 1, 1, 2, 23]);
/// assert_eq!(window.counts(2, 120, Some(&[120, 30]))?, [23, 5]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemporalWindow {
    /// Frames of a window.
    pub frames: usize,
    /// Frames from the start of a window to that of the next.
    pub stride: usize,
}

impl TemporalWindow {
    /// The windows of Ng et al. (2015): 10 frames, a stride of 5.
    pub const PAPER: Self = Self { frames: 10, stride: 5 };

    /// The number of windows of a clip of `frames` frames; at least 1.
    ///
    /// A window of a stride of 0, which all operations refuse, counts as one of stride 1.
    pub fn count(&self, frames: usize) -> usize {
        frames.saturating_sub(self.frames) / self.stride.max(1) + 1
    }

    /// The numbers of windows of `batch` clips of `time` frames, or of those that `lengths` gives.
    ///
    /// # Errors
    /// [`TensorError`] for an empty axis, wrong lengths, or a window without frames or stride.
    pub fn counts(&self, batch: usize, time: usize, lengths: Option<&[usize]>) -> Result<Vec<usize>, TensorError> {
        self.validate()?;
        check_not_empty("TemporalWindow", "batch", batch)?;
        check_not_empty("TemporalWindow", "time", time)?;
        check_lengths("TemporalWindow", lengths, batch, time)?;
        Ok((0..batch).map(|clip| self.count(lengths.map_or(time, |lengths| lengths[clip]))).collect())
    }

    /// Checks that windows have frames and a stride.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] if not.
    pub fn validate(&self) -> Result<(), TensorError> {
        for (option, value) in [("frames", self.frames), ("stride", self.stride)] {
            if value == 0 {
                let (operation, requirement, found) = ("TemporalWindow", "at least 1", "0".to_owned());
                return Err(TensorError::InvalidOption { operation, option, requirement, found });
            }
        }
        Ok(())
    }

    /// The valid frames of window `index` of a clip of `frames` frames.
    fn range(&self, index: usize, frames: usize) -> Range<usize> {
        let start = index * self.stride;
        start..frames.min(start.saturating_add(self.frames))
    }
}

/// The windows of all clips of a batch; their results are rows of a matrix, clip by clip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Windows {
    /// The frames of every window, counted within its clip.
    pub(crate) frames: Vec<Range<usize>>,
    /// The windows of every clip.
    pub(crate) clips: Vec<Range<usize>>,
}

impl Windows {
    /// The windows of clips of `lengths` frames; without a window, each clip is one.
    pub(crate) fn new(window: Option<TemporalWindow>, lengths: &[usize]) -> Self {
        let (mut frames, mut clips) = (Vec::new(), Vec::with_capacity(lengths.len()));
        for &length in lengths {
            let first = frames.len();
            match window {
                None => frames.push(0..length),
                Some(window) => frames.extend((0..window.count(length)).map(|index| window.range(index, length))),
            }
            clips.push(first..frames.len());
        }
        Self { frames, clips }
    }

    /// The values that are reduced, for so many features of a frame.
    pub(crate) fn values(&self, features: usize) -> usize {
        self.frames.iter().map(Range::len).sum::<usize>().saturating_mul(features)
    }

    /// The numbers of windows of the clips.
    pub(crate) fn counts(&self) -> Vec<usize> {
        self.clips.iter().map(Range::len).collect()
    }
}
