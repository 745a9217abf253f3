//! Moving MNIST: handwritten digits that drift over a dark canvas and bounce off its borders.
//!
//! Srivastava, Mansimov, Salakhutdinov, "Unsupervised learning of video representations using LSTMs", ICML 2015. The
//! conventions are those that later work trains with:
//!
//! - A digit keeps its 28×28 pixels, so on a canvas of S×S pixels its upper left corner has a freedom of S − 28 pixels
//!   along each axis, 36 on the usual canvas of 64. Positions are parts of that freedom, from 0 to 1.
//! - It starts anywhere with equal probability. Its direction is that of an angle θ drawn evenly from 0 to 2π: per
//!   frame it moves by `step · (sin θ, cos θ)` along rows and columns, 0.1 of the freedom or 3.6 pixels.
//! - It moves before it is drawn: the start itself is never seen.
//! - At a border, or beyond it, the position is set onto the border and the velocity along that axis is reversed. What
//!   the digit would have moved beyond is lost, so the frame of a bounce may show a shorter step.
//! - The corner is drawn at the position times the freedom, cut off (not rounded) to whole pixels.
//! - Where digits overlap, the brighter pixel shows.
//! - The digits are drawn from the data set with replacement: one image may appear twice in a clip.
//!
//! The published test set is one fixed file, made from the same rules by other random numbers: figures on clips from
//! here are close to figures on that file, not equal to them.

use std::f64::consts::TAU;
use std::ops::Range;

use ndarray::{Array3, Array4, s};
use ndarray_rand::rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Digits;
use crate::random::{Purpose, generator};
use crate::recipe::{RecipeError, require};

/// How clips of moving digits are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MovingMnistConfig {
    /// The number of digits in a clip. Default: 2.
    pub digits: usize,
    /// The number of frames of a clip. Default: 20.
    pub frames: usize,
    /// The height and the width of a frame in pixels. Default: 64.
    pub canvas: usize,
    /// How far a digit moves per frame, as a part of its freedom. Default: 0.1.
    pub step: f64,
}

impl Default for MovingMnistConfig {
    fn default() -> Self {
        Self { digits: 2, frames: 20, canvas: 64, step: 0.1 }
    }
}

impl MovingMnistConfig {
    /// The number of pixels that the corner of a digit may move along each axis; 0 on a canvas that is too small.
    pub fn freedom(&self) -> usize {
        self.canvas.saturating_sub(Digits::SIZE)
    }

    pub(crate) fn validate(&self) -> Result<(), RecipeError> {
        let Self { digits, frames, canvas, step } = *self;
        require((1..=100).contains(&digits), "data.digits", "from 1 to 100", digits)?;
        require((1..=1000).contains(&frames), "data.frames", "from 1 to 1000", frames)?;
        require((Digits::SIZE..=512).contains(&canvas), "data.canvas", "from 28 to 512 pixels", canvas)?;
        require((0.0..=1.0).contains(&step), "data.step", "a number from 0 to 1", step)
    }
}

/// The way of one digit through a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct DigitTrack {
    /// The image, as a position in [`Digits::images`].
    pub digit: usize,
    /// Row and column of the upper left corner in each frame, as parts of the freedom, from 0 to 1.
    pub positions: Vec<[f64; 2]>,
}

impl DigitTrack {
    /// The way from `start` (row, column) in the direction `angle` (radians) over `frames` frames.
    ///
    /// With p the position along an axis and v the velocity, each frame sets p ← p + v; then, if p ≤ 0 or p ≥ 1,
    /// p ← 0 or 1 and v ← −v.
    ///
    /// ```
    /// use pipeline::data::DigitTrack;
    ///
    /// let track = DigitTrack::new(0, [0.5, 0.75], 0.0, 0.25, 3);
    /// assert_eq!(track.positions, [[0.5, 1.0], [0.5, 0.75], [0.5, 0.5]]);
    /// ```
    pub fn new(digit: usize, start: [f64; 2], angle: f64, step: f64, frames: usize) -> Self {
        let mut position = start;
        let mut velocity = [step * angle.sin(), step * angle.cos()];
        let mut advance = || {
            for (p, v) in position.iter_mut().zip(&mut velocity) {
                *p += *v;
                if *p <= 0.0 || *p >= 1.0 {
                    *p = p.clamp(0.0, 1.0);
                    *v = -*v;
                }
            }
            position
        };
        Self { digit, positions: (0..frames).map(|_| advance()).collect() }
    }

    /// Row and column of the pixel at which the upper left corner is drawn in `frame`, on a canvas with `freedom`.
    ///
    /// # Panics
    /// If the track has no such frame.
    pub fn corner(&self, frame: usize, freedom: usize) -> [usize; 2] {
        self.positions[frame].map(|position| (position * freedom as f64) as usize)
    }
}

/// Clips of moving digits without end: each is made when it is asked for.
///
/// A clip depends on the seed, its number, and whether the digits train or test: not on which clips were made before,
/// nor how many. Clips of more frames start as those of fewer frames do.
///
/// ```
/// use pipeline::data::{DigitPart, Digits, MovingMnist, MovingMnistConfig};
///
/// let digits = Digits::bundled(DigitPart::Test)?;
/// let clips = MovingMnist::new(&digits, MovingMnistConfig::default(), 1)?;
/// assert_eq!(clips.clip(7).dim(), (20, 64, 64));
/// assert_eq!(clips.batch(0..3).dim(), (3, 20, 64, 64));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MovingMnist<'a> {
    digits: &'a Digits,
    config: MovingMnistConfig,
    seed: u64,
}

impl<'a> MovingMnist<'a> {
    /// Clips of `digits`.
    ///
    /// # Errors
    /// [`RecipeError::Value`] if a value of `config` is not allowed.
    pub fn new(digits: &'a Digits, config: MovingMnistConfig, seed: u64) -> Result<Self, RecipeError> {
        config.validate()?;
        Ok(Self { digits, config, seed })
    }

    /// How the clips are made.
    pub fn config(&self) -> &MovingMnistConfig {
        &self.config
    }

    /// The digits of the clip `number` and their ways. Clips are distinct for numbers below 2⁵⁹.
    pub fn tracks(&self, number: usize) -> Vec<DigitTrack> {
        // The stream of a generator has 28 bits for an epoch: the part of the digits and what exceeds 32 bits.
        let epoch = ((number as u64 >> 32) << 1) as usize | self.digits.part() as usize;
        let mut rng = generator(self.seed, Purpose::MovingDigits, epoch, number);
        let mut track = || {
            let digit = rng.random_range(0..self.digits.labels().len() as u64) as usize;
            let start = [rng.random(), rng.random()];
            let angle = rng.random::<f64>() * TAU;
            DigitTrack::new(digit, start, angle, self.config.step, self.config.frames)
        };
        (0..self.config.digits).map(|_| track()).collect()
    }

    /// The clip `number`: `[time, height, width]`, from 0 to 255.
    pub fn clip(&self, number: usize) -> Array3<u8> {
        let MovingMnistConfig { frames, canvas, .. } = self.config;
        let mut clip = Array3::zeros((frames, canvas, canvas));
        for track in self.tracks(number) {
            let image = self.digits.image(track.digit);
            for (frame, mut target) in clip.outer_iter_mut().enumerate() {
                let [row, column] = track.corner(frame, self.config.freedom());
                target
                    .slice_mut(s![row..row + Digits::SIZE, column..column + Digits::SIZE])
                    .zip_mut_with(&image, |pixel, &ink| *pixel = ink.max(*pixel));
            }
        }
        clip
    }

    /// The clips `numbers` as the input of a model: `[clips, time, height, width]`, from 0 to 1.
    pub fn batch(&self, numbers: Range<usize>) -> Array4<f32> {
        let MovingMnistConfig { frames, canvas, .. } = self.config;
        let mut batch = Array4::zeros((numbers.len(), frames, canvas, canvas));
        let clips =
            batch.as_slice_mut().expect("a new array is contiguous").par_chunks_exact_mut(frames * canvas * canvas);
        clips.zip(numbers).for_each(|(target, number)| {
            for (value, &pixel) in target.iter_mut().zip(&self.clip(number)) {
                *value = f32::from(pixel) / 255.0;
            }
        });
        batch
    }
}
