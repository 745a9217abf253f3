//! Frames, and what a file says about all of them.

use std::fmt;

use ndarray::Array3;

/// How a file stores its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoFormat {
    /// MP4 and `QuickTime` files with H.264 pictures, whole or in fragments.
    Mp4,
    /// H.264 pictures one after another, each unit behind a start code (Annex B of the standard).
    H264,
    /// AVI files with JPEG or H.264 pictures.
    Avi,
    /// Animated pictures of up to 256 colours per frame.
    Gif,
    /// `YUV4MPEG2`: planes of luma and chroma without compression.
    Y4m,
    /// PNG and JPEG pictures: the files of a folder, or a single one.
    Images,
    /// Arrays of bytes as `NumPy` writes them.
    Npy,
    /// Pixels alone.
    Raw,
    /// Anything that the program `ffmpeg` decodes.
    Ffmpeg,
}

impl VideoFormat {
    /// The name of the format in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "MP4",
            Self::H264 => "H.264 stream",
            Self::Avi => "AVI",
            Self::Gif => "GIF",
            Self::Y4m => "Y4M",
            Self::Images => "images",
            Self::Npy => ".npy file",
            Self::Raw => "raw frames",
            Self::Ffmpeg => "video through ffmpeg",
        }
    }
}

impl fmt::Display for VideoFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is known of a video before its frames are read.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoInfo {
    /// The format that the content of the file has.
    pub format: VideoFormat,
    /// The width of all frames in pixels, as they are shown.
    pub width: usize,
    /// The height of all frames in pixels, as they are shown.
    pub height: usize,
    /// Frames per second: the mean where they vary; `None` where the file states none.
    pub frame_rate: Option<f64>,
    /// The number of frames that the file claims to have. The frames there are may be fewer.
    pub frames: Option<u64>,
}

/// One frame. Its buffer is used again by the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The pixels, `[height, width, 3]`: red, green and blue.
    pub pixels: Array3<u8>,
    /// When the frame is shown, in seconds from the first frame of the file.
    pub time: f64,
    /// Its number in the file, from 0. Frames that cannot be decoded count as well.
    pub index: u64,
}

impl Default for Frame {
    /// A frame without pixels.
    fn default() -> Self {
        Self { pixels: Array3::zeros((0, 0, 3)), time: 0.0, index: 0 }
    }
}

impl Frame {
    /// The pixels in memory order, resized to `[height, width, 3]`; what they hold is left over from the frame before.
    pub(crate) fn buffer(&mut self, [height, width]: [usize; 2]) -> &mut [u8] {
        let shape = (height, width, 3);
        if self.pixels.dim() != shape || !self.pixels.is_standard_layout() {
            self.pixels = Array3::zeros(shape);
        }
        self.pixels.as_slice_mut().expect("the array has just been laid out in order")
    }
}
