//! What can go wrong with a video.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::VideoFormat;

/// Why a video cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The file or the stream cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Nothing here reads what is in the file.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What can be read.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The file is not what its format asks for.
    #[error("{}: damaged {format}{}: {problem}", path.display(), at_frame(*frame))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format as which it was read.
        format: VideoFormat,
        /// The number of the frame, if the damage is within one.
        frame: Option<u64>,
        /// What was expected and what was found.
        problem: String,
    },
    /// A frame has more pixels than [`OpenOptions::max_pixels`](crate::OpenOptions::max_pixels).
    #[error("{}: expected frames of at most {max_pixels} pixels, found {height}x{width}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The height of the frame.
        height: u64,
        /// The width of the frame.
        width: u64,
        /// The most pixels of a frame.
        max_pixels: usize,
    },
    /// A frame has another size than those before it.
    #[error("{}: frame {frame}: expected {}x{} pixels as before, found {}x{}", path.display(), expected[0], expected[1],
        found[0], found[1])]
    FrameSize {
        /// The file.
        path: PathBuf,
        /// The number of the frame.
        frame: u64,
        /// The height and the width of the frames before it.
        expected: [usize; 2],
        /// The height and the width of this one.
        found: [usize; 2],
    },
    /// The file ends before its first frame.
    #[error("{}: expected at least one frame, found none in the {format}", path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
        /// The format as which it was read.
        format: VideoFormat,
    },
    /// The program `ffmpeg` cannot be started or has failed.
    #[error("{}: ffmpeg: {problem}", path.display())]
    Ffmpeg {
        /// The file.
        path: PathBuf,
        /// What it wrote, or why it did not start.
        problem: String,
    },
    /// An option has a value without meaning.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

fn at_frame(frame: Option<u64>) -> String {
    frame.map_or_else(String::new, |frame| format!(", frame {frame}"))
}

/// What a reader reads, for its errors.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) path: PathBuf,
    pub(crate) format: VideoFormat,
}

impl Origin {
    pub(crate) fn new(path: &Path, format: VideoFormat) -> Self {
        Self { path: path.to_owned(), format }
    }

    /// A stream without a name.
    pub(crate) fn stream(format: VideoFormat) -> Self {
        Self::new(Path::new("<stream>"), format)
    }

    pub(crate) fn io(&self, source: io::Error) -> VideoError {
        VideoError::Io { path: self.path.clone(), source }
    }

    /// The file is damaged outside its frames.
    pub(crate) fn damaged(&self, problem: impl Into<String>) -> VideoError {
        VideoError::Damaged { path: self.path.clone(), format: self.format, frame: None, problem: problem.into() }
    }

    pub(crate) fn damaged_frame(&self, frame: u64, problem: impl Into<String>) -> VideoError {
        let (path, format) = (self.path.clone(), self.format);
        VideoError::Damaged { path, format, frame: Some(frame), problem: problem.into() }
    }

    pub(crate) fn unsupported(&self, expected: impl Into<String>, found: impl Into<String>) -> VideoError {
        VideoError::Unsupported { path: self.path.clone(), expected: expected.into(), found: found.into() }
    }

    pub(crate) fn no_frames(&self) -> VideoError {
        VideoError::NoFrames { path: self.path.clone(), format: self.format }
    }

    /// Checks a size that a file states before anything is allocated by it: `[height, width]`.
    pub(crate) fn check_size(&self, height: u64, width: u64, max_pixels: usize) -> Result<[usize; 2], VideoError> {
        if height == 0 || width == 0 {
            return Err(self.damaged(format!("expected at least one pixel, found frames of {height}x{width}")));
        }
        let pixels = height.checked_mul(width).and_then(|pixels| usize::try_from(pixels).ok());
        match (pixels, usize::try_from(height), usize::try_from(width)) {
            (Some(pixels), Ok(height), Ok(width)) if pixels <= max_pixels => Ok([height, width]),
            _ => Err(VideoError::TooLarge { path: self.path.clone(), height, width, max_pixels }),
        }
    }

    /// Checks that a frame has the size of those before it.
    pub(crate) fn check_same_size(
        &self,
        frame: u64,
        expected: [usize; 2],
        found: [usize; 2],
    ) -> Result<(), VideoError> {
        if expected == found {
            return Ok(());
        }
        Err(VideoError::FrameSize { path: self.path.clone(), frame, expected, found })
    }
}

/// The first bytes of a file, as an error message shows them.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().take(16).flat_map(|&byte| std::ascii::escape_default(byte)).map(char::from).collect();
    format!("`{text}`")
}
