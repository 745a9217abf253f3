//! From stored temperatures to the input of a model.

use ndarray::{Array3, Array4, ArrayView2, ArrayView3, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::recipe::{RecipeError, require};

/// The temperature that is stored as 0, in °C.
pub const CELSIUS_AT_ZERO: f64 = 22.0;
/// The temperature between two neighbouring stored values, in °C.
pub const CELSIUS_PER_STEP: f64 = 0.02;

/// How stored frames become the input of a model.
///
/// With the temperature `T = 22 + 0.02 q` of a stored value `q`, a frame becomes
///
/// - `x = (T − T_background) / celsius_per_unit` where the background is subtracted,
/// - `x = (T − 22) / celsius_per_unit` where it is not,
///
/// less the median of `x` over the clip where it is centred. Frames `x_0 … x_{n−1}` are then put together to steps:
/// step `t` ends at frame `e = min(t·S + S − 1, n − 1)` and has the channels `x_{e−C+1} … x_e`, the first frame
/// standing in for those before it, with the stride `S` and `C` stacked frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreprocessingConfig {
    /// Whether the temperature of the empty room, pixel by pixel, is subtracted. Default: true.
    pub subtract_background: bool,
    /// Whether the median over all pixels and frames of the clip is subtracted: the room may have warmed up since the
    /// background was recorded. Default: true.
    pub subtract_median: bool,
    /// The difference of temperature that becomes 1, in °C. Default: 0.4.
    pub celsius_per_unit: f64,
    /// The number of frames that a step of the model moves on by. Default: 3.
    pub frame_stride: usize,
    /// The number of the latest frames that a step of the model sees, one channel each. Default: 3.
    pub stacked_frames: usize,
    /// Whether one more channel holds the mean of all frames of the clip, the same at every step: what stays, such as
    /// furniture in the sun or a person who lies still. Default: true.
    pub clip_mean: bool,
    /// Whether one more channel holds the change over the step: `x_e` less the oldest stacked frame, or less `x_{e−1}`
    /// where only one is stacked. Default: false.
    pub temporal_difference: bool,
}

impl Default for PreprocessingConfig {
    fn default() -> Self {
        Self {
            subtract_background: true,
            subtract_median: true,
            celsius_per_unit: 0.4,
            frame_stride: 3,
            stacked_frames: 3,
            clip_mean: true,
            temporal_difference: false,
        }
    }
}

impl PreprocessingConfig {
    pub(crate) fn validate(&self) -> Result<(), RecipeError> {
        let Self { celsius_per_unit, frame_stride, stacked_frames, .. } = *self;
        require(
            celsius_per_unit.is_finite() && celsius_per_unit > 0.0,
            "preprocessing.celsius_per_unit",
            "a number above 0",
            celsius_per_unit,
        )?;
        require((1..=64).contains(&frame_stride), "preprocessing.frame_stride", "1 to 64 frames", frame_stride)?;
        require((1..=64).contains(&stacked_frames), "preprocessing.stacked_frames", "1 to 64 frames", stacked_frames)
    }

    /// The number of channels of the model's input.
    pub fn channels(&self) -> usize {
        self.stacked_frames + usize::from(self.clip_mean) + usize::from(self.temporal_difference)
    }

    /// The number of steps that a clip of `frames` frames gives.
    pub fn steps(&self, frames: usize) -> usize {
        frames.div_ceil(self.frame_stride)
    }

    /// The normalised temperatures `x` of `frames`, `[time, height, width]`, with the background `[height, width]` of
    /// their recording.
    ///
    /// # Panics
    /// If the background has another height or width than the frames.
    pub fn normalize(&self, frames: ArrayView3<'_, u8>, background: ArrayView2<'_, u8>) -> Array3<f32> {
        let mut normalized = frames.mapv(f32::from);
        if self.subtract_background {
            let background = background.mapv(f32::from);
            Zip::from(&mut normalized).and_broadcast(&background).for_each(|x, &b| *x -= b);
        }
        // Stored values and their differences are whole numbers, so the median and the differences are exact.
        let zero = if self.subtract_median { median(normalized.iter().copied().collect()) } else { 0.0 };
        let factor = (CELSIUS_PER_STEP / self.celsius_per_unit) as f32;
        normalized.mapv_inplace(|x| (x - zero) * factor);
        normalized
    }

    /// The input of a model, `[steps, channels, height, width]`.
    ///
    /// - `normalized`: the normalised frames, `[time, height, width]`
    /// - `mean`: the mean of all normalised frames of the clip, `[height, width]`; of those that augmentation leaves out
    ///   too
    ///
    /// # Panics
    /// If there are no frames, or the mean has another height or width.
    pub fn stack(&self, normalized: ArrayView3<'_, f32>, mean: ArrayView2<'_, f32>) -> Array4<f32> {
        let (time, height, width) = normalized.dim();
        let mut input = Array4::zeros((self.steps(time), self.channels(), height, width));
        for (step, mut channels) in input.outer_iter_mut().enumerate() {
            let end = (step * self.frame_stride + self.frame_stride - 1).min(time - 1);
            let frame = |age: usize| normalized.index_axis(Axis(0), end.saturating_sub(age));
            let ages = (0..self.stacked_frames).rev();
            for (mut channel, age) in channels.outer_iter_mut().zip(ages) {
                channel.assign(&frame(age));
            }
            if self.clip_mean {
                channels.index_axis_mut(Axis(0), self.stacked_frames).assign(&mean);
            }
            if self.temporal_difference {
                let oldest = frame((self.stacked_frames - 1).max(1));
                let last = self.channels() - 1;
                Zip::from(channels.index_axis_mut(Axis(0), last))
                    .and(frame(0))
                    .and(oldest)
                    .for_each(|change, &new, &old| *change = new - old);
            }
        }
        input
    }
}

/// The median; of an even number of values, the mean of the two in the middle. 0 of none.
fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let lower = below.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if values.len().is_multiple_of(2) { (lower + upper) / 2.0 } else { upper }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn median_of_odd_even_and_no_values() {
        assert_eq!(median(vec![3.0, -1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
        assert_eq!(median(vec![]), 0.0);
    }
}
