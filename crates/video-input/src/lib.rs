//! Video files in: decoding, sampling of frames, resizing and cropping.
//!
//! [`open`] tells the format of a file from its content and gives a [`VideoSource`], which is read frame by frame in red,
//! green and blue. [`Sampling`] decides which frames a model sees, [`FrameRateFilter`] thins them out by time, and a
//! [`Resizer`] brings them to the size of the model's input.
//!
//! Memory for a few frames is taken, however long a video is. Damaged and hostile files are an error, or end early, as
//! [`OnError`] says.

mod avi;
mod colour;
mod error;
mod ffmpeg;
mod frame;
mod frame_rate;
mod gif;
#[cfg(feature = "h264")]
mod h264;
mod images;
#[cfg(feature = "h264")]
mod mp4;
mod npy;
mod npy_header;
mod open;
mod options;
#[cfg(feature = "h264")]
mod orientation;
mod raw;
mod resize;
mod sampling;
mod source;
mod y4m;

pub use error::VideoError;
pub use frame::{Frame, VideoFormat, VideoInfo};
pub use frame_rate::{FrameRateFilter, at_frame_rate};
pub use npy_header::NpyHeader;
pub use open::{is_video, open, read_raw, read_y4m};
pub use options::{ColourMatrix, OnError, OpenOptions};
pub use raw::PixelFormat;
pub use resize::{Crop, ResizeFilter, Resizer};
pub use sampling::{Sampling, ShortClip};
pub use source::VideoSource;

/// The example of the book, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/video-input.md")]
mod book {}
