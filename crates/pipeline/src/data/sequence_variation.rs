//! Random variations of a sequence of frames that is to be continued.

use ndarray::{ArrayView3, s};
use ndarray_rand::rand::Rng;
use serde::{Deserialize, Serialize};

use super::Symmetry;

/// How training sequences are varied. Everything is drawn once per sequence and epoch, and holds for all its frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequenceVariationConfig {
    /// Whether the window begins at a random frame; otherwise at the first. Default: true.
    pub random_start: bool,
    /// Whether one of the eight flips and quarter turns is drawn; one of the four without an exchange of rows and columns
    /// for frames that are not square. Default: true.
    pub symmetries: bool,
}

impl Default for SequenceVariationConfig {
    fn default() -> Self {
        Self { random_start: true, symmetries: true }
    }
}

impl SequenceVariationConfig {
    /// No variation at all.
    pub const NONE: Self = Self { random_start: false, symmetries: false };

    /// Draws a window of `length` of the `frames` frames of a sequence, whose frames have the height and width `size`.
    ///
    /// As many numbers are taken from `rng` whatever the configuration and the sizes.
    ///
    /// # Panics
    /// If `length` is 0 or more than `frames`.
    ///
    /// ```
    /// use pipeline::data::SequenceVariationConfig;
    /// use pipeline::random::{Purpose, generator};
    ///
    /// let config = SequenceVariationConfig::default();
    /// let draw = |epoch| config.draw(36, 20, [64, 64], &mut generator(1, Purpose::Augmentation, epoch, 0));
    /// assert_eq!(draw(3), draw(3));
    /// assert!(draw(3).first <= 16);
    /// ```
    pub fn draw(&self, frames: usize, length: usize, size: [usize; 2], rng: &mut impl Rng) -> SequenceDraw {
        assert!((1..=frames).contains(&length), "a window of {length} of {frames} frames");
        // Two numbers of a fixed width, because a range may take as many as it needs.
        let [start, symmetry] = [rng.random::<f64>(), rng.random::<f64>()];
        let below = |number: f64, end: usize| ((number * end as f64) as usize).min(end - 1);
        let symmetries = if size[0] == size[1] { &Symmetry::ALL[..] } else { &Symmetry::ALL[..4] };
        SequenceDraw {
            first: if self.random_start { below(start, frames - length + 1) } else { 0 },
            length,
            symmetry: if self.symmetries { symmetries[below(symmetry, symmetries.len())] } else { Symmetry::IDENTITY },
        }
    }
}

/// One variation of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceDraw {
    /// The first frame of the window.
    pub first: usize,
    /// The number of frames of the window.
    pub length: usize,
    /// The flip or turn of every frame.
    pub symmetry: Symmetry,
}

impl SequenceDraw {
    /// The window of `frames`, `[time, height, width]`, varied. Copies nothing.
    ///
    /// # Panics
    /// If the sequence lacks one of the frames.
    pub fn apply<'a, T>(&self, frames: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        self.symmetry.apply(frames.slice_move(s![self.first..self.first + self.length, .., ..]))
    }
}
