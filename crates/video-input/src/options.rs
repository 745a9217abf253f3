//! How videos are opened.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::VideoError;

/// What happens when a frame cannot be decoded.
///
/// A file of which no frame can be decoded is an error in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The error is returned, and nothing more is read.
    #[default]
    Stop,
    /// Damaged frames are left out; the video ends where nothing more can be read.
    Skip,
    /// The frames before the damage are the video.
    Keep,
}

/// Which weights red, green and blue have in the luma of a stream that does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColourMatrix {
    /// ITU-R BT.601, for standard definition; what most programs assume.
    #[default]
    Bt601,
    /// ITU-R BT.709, for high definition.
    Bt709,
    /// ITU-R BT.2020, not constant luminance.
    Bt2020,
}

/// How videos are opened.
///
/// ```
/// use video_input::{OnError, OpenOptions};
///
/// let options = OpenOptions { on_error: OnError::Skip, ..OpenOptions::default() };
/// assert_eq!(options.max_pixels, 1 << 26);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenOptions {
    /// What happens when a frame cannot be decoded. Default: `stop`.
    pub on_error: OnError,
    /// The most pixels of a frame; more are an error before memory is taken for them. Default: 2²⁶.
    pub max_pixels: usize,
    /// The frames per second where the file states none: folders of images, arrays, elementary streams. Default: 25.
    pub frame_rate_of_images: f64,
    /// The weights of the colours where the file states none. Default: `bt601`.
    pub colour_matrix: ColourMatrix,
    /// Whether files in other formats are handed to the program `ffmpeg`, if there is one. Default: true.
    pub ffmpeg: bool,
    /// The program that is started as `ffmpeg`. Default: the one that the search path of programs finds.
    pub ffmpeg_program: PathBuf,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            on_error: OnError::Stop,
            max_pixels: 1 << 26,
            frame_rate_of_images: 25.0,
            colour_matrix: ColourMatrix::Bt601,
            ffmpeg: true,
            ffmpeg_program: PathBuf::from("ffmpeg"),
        }
    }
}

impl OpenOptions {
    /// Checks the values.
    ///
    /// # Errors
    /// [`VideoError::Option`] if one has no meaning.
    pub fn check(&self) -> Result<(), VideoError> {
        check_rate("frame_rate_of_images", self.frame_rate_of_images)?;
        if self.max_pixels == 0 || self.max_pixels > 1 << 30 {
            let found = self.max_pixels.to_string();
            return Err(VideoError::Option { option: "max_pixels", expected: "1 to 2^30 pixels", found });
        }
        Ok(())
    }
}

pub(crate) fn check_rate(option: &'static str, rate: f64) -> Result<(), VideoError> {
    if rate > 0.0 && rate.is_finite() {
        return Ok(());
    }
    Err(VideoError::Option { option, expected: "a positive number of frames per second", found: rate.to_string() })
}
