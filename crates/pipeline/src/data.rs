//! The data: clips and sequences of frames, their split, preprocessing, augmentation and batches.

mod augmentation;
mod batch;
mod fir_actions;
mod frame_sequences;
mod mnist;
mod moving_mnist;
mod normalized;
mod preprocessing;
mod radar;
mod sequence_variation;
mod split;
mod symmetry;

pub use augmentation::{AugmentationConfig, AugmentationDraw};
pub use batch::Batch;
pub use fir_actions::{Clip, DataError, FirActions};
pub use frame_sequences::{FrameFileError, FrameSequences};
pub use mnist::{DigitFile, DigitPart, Digits, DigitsError};
pub use moving_mnist::{DigitTrack, MovingMnist, MovingMnistConfig};
pub use normalized::NormalizedClips;
pub use preprocessing::{CELSIUS_AT_ZERO, CELSIUS_PER_STEP, PreprocessingConfig};
pub use radar::{Radar, RadarSequence, RadarSplit, rain_rate, rain_value};
pub use sequence_variation::{SequenceDraw, SequenceVariationConfig};
pub use split::{Fold, Protocol, SplitConfig, split};
pub use symmetry::Symmetry;
