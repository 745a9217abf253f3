//! The data: clips, their split into folds, preprocessing, augmentation and batches.

mod augmentation;
mod batch;
mod fir_actions;
mod normalized;
mod preprocessing;
mod split;
mod symmetry;

pub use augmentation::{AugmentationConfig, AugmentationDraw};
pub use batch::Batch;
pub use fir_actions::{Clip, DataError, FirActions};
pub use normalized::NormalizedClips;
pub use preprocessing::{CELSIUS_AT_ZERO, CELSIUS_PER_STEP, PreprocessingConfig};
pub use split::{Fold, Protocol, SplitConfig, split};
pub use symmetry::Symmetry;
