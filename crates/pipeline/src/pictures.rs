//! Pictures of frames: strips and reels as PNG, animations as GIF.
//!
//! All but overlays of weights have at most 256 colours and keep them exactly.
//!
//! ```no_run
//! use std::path::Path;
//! use ndarray::Array3;
//! use pipeline::pictures::{ColourScale, Panel, PictureStyle, write_animation, write_strip};
//!
//! let (truth, forecast) = (Array3::zeros((10, 64, 64)), Array3::zeros((10, 64, 64)));
//! let style = PictureStyle { colours: ColourScale::Rain, ..PictureStyle::default() };
//! let panels = [Panel::new("truth", truth.view()), Panel::new("forecast", forecast.view())];
//! write_strip(Path::new("forecast.png"), &panels, &style)?;
//! write_animation(Path::new("forecast.gif"), &panels, &style)?;
//! # Ok::<(), pipeline::pictures::PictureError>(())
//! ```

mod canvas;
mod colours;
mod encode;
mod layout;
mod overlay;

use std::io;
use std::path::PathBuf;

use ndarray::ArrayView3;
use thiserror::Error;

pub use colours::ColourScale;
pub(crate) use encode::encode_rgb;
pub use encode::{encode_reel, write_animation, write_strip};
pub use overlay::encode_overlay;

/// A row of a strip, or one part of an animation.
#[derive(Clone, Debug)]
pub struct Panel<'a> {
    /// What it shows.
    pub label: &'a str,
    /// The frames, `[time, height, width]`, values from 0 to 1; what is outside is shown as the nearest of these.
    pub frames: ArrayView3<'a, f32>,
    /// What stands above each frame, such as its time; nothing where there are fewer captions than frames.
    pub captions: Vec<String>,
}

impl<'a> Panel<'a> {
    /// The panel of `frames`, `[time, height, width]`, without captions.
    pub fn new(label: &'a str, frames: ArrayView3<'a, f32>) -> Self {
        Self { label, frames, captions: Vec::new() }
    }

    /// The panel with the time of each frame above it: `first` minutes for the first, `step` more for each after it.
    ///
    /// ```
    /// use ndarray::Array3;
    /// use pipeline::pictures::Panel;
    ///
    /// let frames = Array3::zeros((3, 8, 8));
    /// let panel = Panel::new("input", frames.view()).with_minutes(-2.0, 2.0);
    /// assert_eq!(panel.captions, ["-2 min", "0 min", "+2 min"]);
    /// ```
    pub fn with_minutes(mut self, first: f64, step: f64) -> Self {
        let caption = |frame: usize| {
            let minutes = first + step * frame as f64;
            if minutes > 0.0 { format!("+{minutes} min") } else { format!("{minutes} min") }
        };
        self.captions = (0..self.frames.dim().0).map(caption).collect();
        self
    }
}

/// How pictures look.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureStyle {
    /// What colour a value has. Default: grey.
    pub colours: ColourScale,
    /// The height and width in the picture of one pixel of a frame. Default: 2.
    pub magnification: usize,
    /// How long an animation shows a frame, in hundredths of a second. Default: 25.
    pub frame_hundredths: u16,
}

impl Default for PictureStyle {
    fn default() -> Self {
        Self { colours: ColourScale::Grey, magnification: 2, frame_hundredths: 25 }
    }
}

/// Why a picture cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PictureError {
    /// There is nothing to show.
    #[error("picture: {what}: expected at least 1, found 0")]
    Empty {
        /// What there is none of.
        what: &'static str,
    },
    /// The panels of an animation do not fit together.
    #[error("picture: {axis} of panel `{label}`: expected {expected}, found {found}")]
    Size {
        /// The label of the panel.
        label: String,
        /// The axis.
        axis: &'static str,
        /// The size of the first panel.
        expected: usize,
        /// The size of this one.
        found: usize,
    },
    /// A picture would be larger than its format, or reason, allows.
    #[error("picture: {width} × {height} pixels; at most {limit} along each axis can be drawn")]
    TooLarge {
        /// The width.
        width: usize,
        /// The height.
        height: usize,
        /// The largest size.
        limit: usize,
    },
    /// The picture cannot be encoded as PNG.
    #[error("{}: {source}", path.display())]
    Png {
        /// The file.
        path: PathBuf,
        /// What the encoder says.
        source: png::EncodingError,
    },
    /// A picture that goes into no file of its own cannot be encoded as PNG.
    #[error("picture: {source}")]
    Encoding {
        /// What the encoder says.
        source: png::EncodingError,
    },
    /// The animation cannot be encoded as GIF.
    #[error("{}: {source}", path.display())]
    Gif {
        /// The file.
        path: PathBuf,
        /// What the encoder says.
        source: gif::EncodingError,
    },
    /// The file cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}
