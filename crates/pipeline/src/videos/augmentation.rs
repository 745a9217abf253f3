//! Random variations of the pixels of a video that keep its class.

use ndarray::{Array4, ArrayView4};
use ndarray_rand::rand::Rng;
use serde::{Deserialize, Serialize};

use crate::data::{AugmentationDraw, Symmetry};
use crate::recipe::{RecipeError, require};

/// How the pixels of training videos are varied. Everything is drawn once per video and epoch, and holds for all its frames.
/// Stored features are as they are: for them, only the choice of frames varies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoAugmentationConfig {
    /// Whether left and right change places in half of the videos. Default: true.
    pub mirror: bool,
    /// The largest shift of rows and of columns, as a part of the height and the width; what comes in is 0.
    /// Default: 0.1.
    pub max_shift: f64,
    /// The largest change of size `z`: pixels are between `1/(1+z)` and `1+z` times as large, seen from the middle of the
    /// frame. Default: 0.1.
    pub max_zoom_change: f64,
    /// The largest change of contrast `g`: values are multiplied by a number between `1/(1+g)` and `1+g`. Default: 0.2.
    pub max_gain_change: f64,
}

impl Default for VideoAugmentationConfig {
    fn default() -> Self {
        Self { mirror: true, max_shift: 0.1, max_zoom_change: 0.1, max_gain_change: 0.2 }
    }
}

impl VideoAugmentationConfig {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        let Self { max_shift, max_zoom_change, max_gain_change, .. } = *self;
        require((0.0..=0.5).contains(&max_shift), "augmentation.max_shift", "a number from 0 to 0.5", max_shift)?;
        let changes =
            [("augmentation.max_zoom_change", max_zoom_change), ("augmentation.max_gain_change", max_gain_change)];
        for (option, change) in changes {
            require((0.0..=3.0).contains(&change), option, "a number from 0 to 3", change)?;
        }
        Ok(())
    }

    /// The frames `[frames, channels, height, width]`, varied by a draw from `rng`.
    pub(super) fn apply(&self, frames: ArrayView4<'_, f32>, rng: &mut impl Rng) -> Array4<f32> {
        let (count, channels, height, width) = frames.dim();
        let mirrored = rng.random::<bool>() && self.mirror;
        let shift = [height, width].map(|size| {
            let limit = self.max_shift * size as f64;
            (rng.random_range(-1.0..=1.0) * limit).round() as isize
        });
        let mut factor = |max_change: f64| (1.0 + max_change).powf(rng.random_range(-1.0..1.0));
        let draw = AugmentationDraw {
            frames: (0..count * channels).collect(),
            symmetry: Symmetry { flip_columns: mirrored, ..Symmetry::IDENTITY },
            zoom: factor(self.max_zoom_change),
            shift,
            gain: factor(self.max_gain_change) as f32,
        };
        let planes = frames.to_shape((count * channels, height, width)).expect("the same number of values");
        let varied = draw.apply(planes.view());
        varied.into_shape_with_order((count, channels, height, width)).expect("the same number of values")
    }
}
