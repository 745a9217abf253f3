//! Why videos cannot be used.

use std::io;
use std::path::PathBuf;

use tensor_ops::TensorError;
use thiserror::Error;
use video_input::VideoError;

use super::StoreError;
use crate::features::FeatureError;
use crate::model::ModelError;
use crate::recipe::RecipeError;
use crate::run::{RunError, WeightsError};
use crate::training::{FailedStep, TrainingError};

/// Why the videos of a collection cannot be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// A folder or a list cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A folder holds nothing that could be a video.
    #[error("{}: expected {expected}, found none", path.display())]
    NoVideos {
        /// The folder.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// There is nothing to tell apart.
    #[error("{}: expected at least two classes, found {}: {}", path.display(), found.len(), found.join(", "))]
    TooFewClasses {
        /// The folder.
        path: PathBuf,
        /// The classes found.
        found: Vec<String>,
    },
    /// No video trains, or none is held out.
    #[error("{}: no video for {part}", path.display())]
    EmptyPart {
        /// The folder.
        path: PathBuf,
        /// The part that is empty.
        part: &'static str,
    },
    /// A line of a list cannot be used.
    #[error("{}: line {line}: {problem}", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A video is named more than once.
    #[error("{name} is listed more than once")]
    ListedTwice {
        /// The video.
        name: String,
    },
}

/// Why a model of videos cannot be trained or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VideosError {
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The videos cannot be found.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// A video cannot be decoded.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// Some videos cannot be read.
    #[error(
        "{} of {videos} videos cannot be read, the first: {first} (`vidrnn data check` lists all; --unreadable skip leaves \
         them out)",
        unreadable
    )]
    Unreadable {
        /// The number of videos that cannot be read.
        unreadable: usize,
        /// The number of all videos.
        videos: usize,
        /// What the first one says.
        first: String,
    },
    /// A video has no frames.
    #[error("{}: no frames", path.display())]
    NoFrames {
        /// The video.
        path: PathBuf,
    },
    /// Stored frames cannot be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network of the features cannot be used.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The model cannot be trained.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// The model does not take the frames.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of the run cannot be written or read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The weights cannot be saved or loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Training was stopped; what it had learnt is kept.
    #[error("stopped; what was learnt is kept, and `vidrnn resume {}` goes on", path.display())]
    Interrupted {
        /// The run directory.
        path: PathBuf,
    },
    /// The work was stopped before there was anything to keep.
    #[error("stopped; the videos that were done are kept and are not decoded again")]
    CachingInterrupted,
    /// The files of a run do not belong together.
    #[error("{}: {problem}", path.display())]
    Inconsistent {
        /// The run directory.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
}

impl From<TensorError> for VideosError {
    fn from(error: TensorError) -> Self {
        Self::Training(error.into())
    }
}

impl From<FailedStep> for VideosError {
    fn from(error: FailedStep) -> Self {
        Self::Training(error.into())
    }
}
