//! Random variations of a clip that keep its label.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};
use ndarray_rand::rand::Rng;
use serde::{Deserialize, Serialize};

use super::Symmetry;
use crate::recipe::{RecipeError, require};

/// A clip is cut to no fewer frames than these at its own speed; the last one is repeated where it has fewer.
const MIN_FRAMES: f64 = 5.0;

/// How training clips are varied. Everything is drawn once per clip and epoch, and holds for all its frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentationConfig {
    /// Whether one of the eight flips and quarter turns is drawn. Default: true.
    pub symmetries: bool,
    /// The largest shift of rows and of columns, in pixels; what comes in is 0. Default: 1.
    pub max_shift: usize,
    /// The largest part of the clip that is cut off, at each end. Default: 0.15.
    pub max_trim: f64,
    /// The largest change of speed `s`: the clip runs at between `1/(1+s)` and `1+s` times its speed, frames being
    /// repeated or left out. Default: 0.25.
    pub max_speed_change: f64,
    /// The largest change of size `z`: pixels are between `1/(1+z)` and `1+z` times as large, seen from the middle of the
    /// frame, values between pixels being interpolated. Default: 0.15.
    pub max_zoom_change: f64,
    /// The largest change of contrast `g`: the input is multiplied by a number between `1/(1+g)` and `1+g`.
    /// Default: 0.2.
    pub max_gain_change: f64,
}

impl Default for AugmentationConfig {
    fn default() -> Self {
        Self {
            symmetries: true,
            max_shift: 1,
            max_trim: 0.15,
            max_speed_change: 0.25,
            max_zoom_change: 0.15,
            max_gain_change: 0.2,
        }
    }
}

impl AugmentationConfig {
    /// No variation at all.
    pub const NONE: Self = Self {
        symmetries: false,
        max_shift: 0,
        max_trim: 0.0,
        max_speed_change: 0.0,
        max_zoom_change: 0.0,
        max_gain_change: 0.0,
    };

    pub(crate) fn validate(&self) -> Result<(), RecipeError> {
        let Self { max_shift, max_trim, max_speed_change, max_zoom_change, max_gain_change, .. } = *self;
        require(max_shift < 16, "augmentation.max_shift", "at most 15 pixels", max_shift)?;
        require((0.0..0.5).contains(&max_trim), "augmentation.max_trim", "a number from 0 to below 0.5", max_trim)?;
        let changes = [
            ("augmentation.max_speed_change", max_speed_change),
            ("augmentation.max_zoom_change", max_zoom_change),
            ("augmentation.max_gain_change", max_gain_change),
        ];
        for (option, change) in changes {
            require((0.0..=3.0).contains(&change), option, "a number from 0 to 3", change)?;
        }
        Ok(())
    }

    /// Draws the variation of a clip of `length` frames.
    ///
    /// As many numbers are taken from `rng` whatever the configuration and the length.
    ///
    /// # Panics
    /// If `length` is 0.
    ///
    /// ```
    /// use pipeline::data::AugmentationConfig;
    /// use pipeline::random::{Purpose, generator};
    ///
    /// let config = AugmentationConfig::default();
    /// let draw = |epoch| config.draw(20, &mut generator(1, Purpose::Augmentation, epoch, 0));
    /// assert_eq!(draw(3), draw(3));
    /// ```
    pub fn draw(&self, length: usize, rng: &mut impl Rng) -> AugmentationDraw {
        assert!(length > 0, "a clip has at least one frame");
        let symmetry = Symmetry::ALL[rng.random_range(0..Symmetry::ALL.len())];
        let shift = [0; 2].map(|_| {
            let steps = 2 * self.max_shift as u64 + 1;
            rng.random_range(0..steps) as isize - self.max_shift as isize
        });
        let [start, end] = [0; 2].map(|_| rng.random::<f64>() * self.max_trim);
        let mut factor = |max_change: f64| (1.0 + max_change).powf(rng.random_range(-1.0..1.0));
        AugmentationDraw {
            frames: frames_at_speed(length, start, end, factor(self.max_speed_change)),
            symmetry: if self.symmetries { symmetry } else { Symmetry::IDENTITY },
            zoom: factor(self.max_zoom_change),
            shift,
            gain: factor(self.max_gain_change) as f32,
        }
    }
}

/// Evenly spaced frames of a clip of `length` frames that loses the parts `start` and `end` and runs at `speed`.
fn frames_at_speed(length: usize, start: f64, end: f64, speed: f64) -> Vec<usize> {
    let (length, last) = (length as f64, length as f64 - 1.0);
    let first = start * length;
    let span = (last - end * length - first).max(MIN_FRAMES - 1.0);
    let steps = (span / speed).floor() as usize;
    (0..=steps).map(|step| (first + step as f64 * speed).round().min(last) as usize).collect()
}

/// One variation of one clip.
#[derive(Clone, Debug, PartialEq)]
pub struct AugmentationDraw {
    /// The frames of the clip that make up the varied clip.
    pub frames: Vec<usize>,
    /// The flip or turn of every frame.
    pub symmetry: Symmetry,
    /// How many times as large every pixel becomes, after the symmetry.
    pub zoom: f64,
    /// By how many pixels the rows and the columns of every frame move up, after the zoom.
    pub shift: [isize; 2],
    /// The factor of all values.
    pub gain: f32,
}

impl AugmentationDraw {
    /// The variation that changes nothing in a clip of `length` frames.
    pub fn identity(length: usize) -> Self {
        Self { frames: (0..length).collect(), symmetry: Symmetry::IDENTITY, zoom: 1.0, shift: [0, 0], gain: 1.0 }
    }

    /// The varied clip, `[time, height, width]`, its time being the number of [`Self::frames`].
    ///
    /// # Panics
    /// If the clip lacks one of the frames.
    pub fn apply(&self, clip: ArrayView3<'_, f32>) -> Array3<f32> {
        self.transform(clip, &self.frames)
    }

    /// An image of the clip as a whole, `[height, width]`, varied as its frames are.
    pub fn apply_to_image(&self, image: ArrayView2<'_, f32>) -> Array2<f32> {
        self.transform(image.insert_axis(Axis(0)), &[0]).index_axis_move(Axis(0), 0)
    }

    fn transform(&self, clip: ArrayView3<'_, f32>, frames: &[usize]) -> Array3<f32> {
        let clip = self.symmetry.apply(clip);
        let (_, height, width) = clip.dim();
        let rows = Sample::along(height, self.zoom, self.shift[0]);
        let columns = Sample::along(width, self.zoom, self.shift[1]);
        let mut varied = Array3::zeros((frames.len(), height, width));
        for (mut target, &frame) in varied.outer_iter_mut().zip(frames) {
            let source = clip.index_axis(Axis(0), frame);
            for (row, mut target) in rows.iter().zip(target.rows_mut()) {
                for (column, target) in columns.iter().zip(&mut target) {
                    let across = |row: usize| {
                        source[[row, column.first]] * column.weights[0]
                            + source[[row, column.second]] * column.weights[1]
                    };
                    *target = (across(row.first) * row.weights[0] + across(row.second) * row.weights[1]) * self.gain;
                }
            }
        }
        varied
    }
}

/// Where along an axis a value is taken from: a weighted sum of two neighbours, or nothing beyond the border.
#[derive(Clone, Copy, Debug)]
struct Sample {
    first: usize,
    second: usize,
    weights: [f32; 2],
}

impl Sample {
    /// The samples of an axis of `size` entries that is stretched from its middle by `zoom`, then moved up by `shift`:
    /// entry `i` lies at `(i − shift − c)/zoom + c`, where `c = (size − 1)/2`.
    fn along(size: usize, zoom: f64, shift: isize) -> Vec<Self> {
        let middle = (size as f64 - 1.0) / 2.0;
        let entry = |index: f64| (0.0..size as f64).contains(&index).then_some(index as usize);
        let sample = |index: usize| {
            let position = (index as f64 - shift as f64 - middle) / zoom + middle;
            let first = position.floor();
            let weight = (position - first) as f32;
            let (first, second) = (entry(first), entry(first + 1.0));
            let weights = [first.map_or(0.0, |_| 1.0 - weight), second.map_or(0.0, |_| weight)];
            Self { first: first.unwrap_or(0), second: second.unwrap_or(0), weights }
        };
        (0..size).map(sample).collect()
    }
}
