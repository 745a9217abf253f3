//! The tests of the crate: from single colours to whole files, good and broken.

mod common;
#[cfg(feature = "h264")]
mod corruption;
#[cfg(unix)]
mod ffmpeg;
#[cfg(feature = "h264")]
mod files;
mod options;
mod resize;
mod sampling;
#[cfg(feature = "h264")]
mod seeking;
mod stored;
mod y4m;
