//! Digits of half the size, in three parts that share none.

use std::ops::Range;

use ndarray::{Array3, ArrayView2, Axis};
use ndarray_rand::rand::Rng;
use serde::{Deserialize, Serialize};

use crate::data::{DigitPart, Digits, DigitsError};

/// Which digits a clip is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskPart {
    /// The first 50,000 training digits of MNIST.
    Training,
    /// Its other 10,000 training digits, to choose the values of a recipe with.
    Validation,
    /// Its test digits, which other people wrote.
    Test,
}

/// Digits as a task shows them: the inner 24×24 of the 28×28 pixels, each 2×2 of them as their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct SmallDigits {
    part: TaskPart,
    images: Array3<u8>,
    labels: Vec<usize>,
}

impl SmallDigits {
    /// The height and the width of an image in pixels.
    pub const SIZE: usize = 12;
    /// The rows and columns of a large image that are left out on each side.
    const MARGIN: usize = 2;

    /// The bundled digits of `part`.
    ///
    /// # Errors
    /// [`DigitsError`] if they are damaged.
    pub fn bundled(part: TaskPart) -> Result<Self, DigitsError> {
        let digits = match part {
            TaskPart::Training | TaskPart::Validation => Digits::bundled(DigitPart::Training)?,
            TaskPart::Test => Digits::bundled(DigitPart::Test)?,
        };
        let range = Self::range(part);
        let shape = (range.len(), Self::SIZE, Self::SIZE);
        let images = Array3::from_shape_fn(shape, |(digit, row, column)| {
            let image = digits.image(range.start + digit);
            let [row, column] = [row, column].map(|position| Self::MARGIN + 2 * position);
            let pixel = |down: usize, right: usize| u16::from(image[[row + down, column + right]]);
            ((pixel(0, 0) + pixel(0, 1) + pixel(1, 0) + pixel(1, 1)) / 4) as u8
        });
        let labels = digits.labels()[range].iter().map(|&label| usize::from(label)).collect();
        Ok(Self { part, images, labels })
    }

    /// The positions of the digits of `part` among those of MNIST's own two parts.
    fn range(part: TaskPart) -> Range<usize> {
        match part {
            TaskPart::Training => 0..50_000,
            TaskPart::Validation => 50_000..60_000,
            TaskPart::Test => 0..10_000,
        }
    }

    /// What the digits are for.
    pub fn part(&self) -> TaskPart {
        self.part
    }

    /// The number of digits.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// The image at `position`: `[height, width]`, 0 for the ground and 255 for the ink.
    ///
    /// # Panics
    /// If there is no image at `position`.
    pub fn image(&self, position: usize) -> ArrayView2<'_, u8> {
        self.images.index_axis(Axis(0), position)
    }

    /// The digit from 0 to 9 that the image at `position` shows.
    ///
    /// # Panics
    /// If there is no image at `position`.
    pub fn label(&self, position: usize) -> usize {
        self.labels[position]
    }

    /// The position of one of the digits.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> usize {
        // Drawn as u64, whose numbers do not depend on the size of a pointer.
        rng.random_range(0..self.count() as u64) as usize
    }
}
