//! Opening files and streams.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::avi;
use crate::error::{Origin, quoted};
use crate::ffmpeg::FfmpegReader;
use crate::gif::{self, GifReader};
#[cfg(feature = "h264")]
use crate::h264;
use crate::images::{self, ImagesReader};
#[cfg(feature = "h264")]
use crate::mp4;
use crate::npy::NpyReader;
use crate::options::check_rate;
use crate::raw::{PixelFormat, RawReader};
use crate::source::{Guarded, Reader};
use crate::y4m::{self, Y4mReader};
use crate::{OpenOptions, VideoError, VideoFormat, VideoInfo, VideoSource};

/// The ends of the names of files that are videos.
const EXTENSIONS: [&str; 20] = [
    "264", "3gp", "avi", "flv", "gif", "h264", "h265", "hevc", "ivf", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "npy",
    "ts", "webm", "wmv", "y4m",
];

/// Whether the name of a file says that it is a video. To open it decides by its content.
///
/// ```
/// use std::path::Path;
///
/// assert!(video_input::is_video(Path::new("clips/wave.MP4")));
/// assert!(!video_input::is_video(Path::new("clips/labels.csv")));
/// ```
pub fn is_video(path: &Path) -> bool {
    images::has_extension(path, &EXTENSIONS)
}

/// Opens a video file, a picture, or a folder of pictures.
///
/// The content decides about the format, whatever the name says. The pictures of a folder come in the natural order of
/// their names and have one size.
///
/// ```
/// use std::io::Write;
/// use video_input::{Frame, OpenOptions, open};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("black.y4m");
/// std::fs::File::create(&path)?.write_all(b"YUV4MPEG2 W2 H1 F10:1 C444\nFRAME\n\x10\x10\x80\x80\x80\x80")?;
/// let mut video = open(&path, &OpenOptions::default())?;
/// assert_eq!((video.info().height, video.info().width, video.info().frames), (1, 2, Some(1)));
/// let mut frame = Frame::default();
/// while video.next_frame(&mut frame)? {
///     assert!(frame.pixels.iter().all(|&value| value == 0));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`VideoError`] if there is no such file, its format is not known, or it is damaged before its first frame.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn VideoSource>, VideoError> {
    options.check()?;
    let failed = |source| VideoError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        let origin = Origin::new(path, VideoFormat::Images);
        let paths = images::list(path).map_err(failed)?;
        return guard(ImagesReader::new(paths, &origin, options)?, origin, options);
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let origin = |format| Origin::new(path, format);
    if start.is_empty() {
        return Err(origin(VideoFormat::Ffmpeg).unsupported("a video", "an empty file"));
    }
    if start.starts_with(y4m::MAGIC) {
        let origin = origin(VideoFormat::Y4m);
        let length = Some(metadata.len());
        return guard(Y4mReader::new(BufReader::new(file), length, origin.clone(), options)?, origin, options);
    }
    if start.starts_with(b"\x93NUMPY") {
        let origin = origin(VideoFormat::Npy);
        return guard(NpyReader::new(file, origin.clone(), options)?, origin, options);
    }
    if start.starts_with(images::PNG_MAGIC) || start.starts_with(images::JPEG_MAGIC) {
        let origin = origin(VideoFormat::Images);
        return guard(ImagesReader::new(vec![path.to_owned()], &origin, options)?, origin, options);
    }
    if start.starts_with(gif::MAGIC) {
        let origin = origin(VideoFormat::Gif);
        return guard(GifReader::new(file, origin.clone(), options)?, origin, options);
    }
    let opened = open_compressed(file, &start, path, options);
    match opened {
        Ok((reader, origin)) => Ok(Box::new(Guarded::new(reader, origin, options.on_error))),
        Err(Opening::Failed(error)) => Err(error),
        Err(Opening::Other(found)) => open_other(path, found, options),
    }
}

/// Why a file is not opened.
pub(crate) enum Opening {
    Failed(VideoError),
    /// It holds something that is not decoded here, but may be elsewhere.
    Other(String),
}

impl From<VideoError> for Opening {
    fn from(error: VideoError) -> Self {
        Self::Failed(error)
    }
}

/// Opens a file whose container decides about the codec.
fn open_compressed(
    file: File,
    start: &[u8],
    path: &Path,
    options: &OpenOptions,
) -> Result<(Box<dyn Reader>, Origin), Opening> {
    if avi::begins_file(start) {
        let origin = Origin::new(path, VideoFormat::Avi);
        return Ok((avi::open(file, origin.clone(), options)?, origin));
    }
    #[cfg(feature = "h264")]
    {
        if mp4::begins_file(start) {
            let origin = Origin::new(path, VideoFormat::Mp4);
            return Ok((Box::new(mp4::open(file, origin.clone(), options)?), origin));
        }
        if h264::begins_stream(start) {
            let origin = Origin::new(path, VideoFormat::H264);
            return Ok((Box::new(h264::open(file, origin.clone(), options)?), origin));
        }
    }
    Err(Opening::Other(describe(start)))
}

/// What a file is that begins so, as far as it matters to a person who wonders why it is not read.
fn describe(start: &[u8]) -> String {
    let known: [(&[u8], &str); 6] = [
        (b"\x1aE\xdf\xa3", "Matroska or WebM"),
        (b"OggS", "Ogg"),
        (b"FLV", "Flash video"),
        (b"\0\0\x01\xba", "an MPEG program stream"),
        (b"\x30\x26\xb2\x75", "Windows Media"),
        (b"DKIF", "IVF"),
    ];
    match known.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, name)) => (*name).to_owned(),
        None if start.get(4..8) == Some(b"ftyp") => "MP4".to_owned(),
        None => quoted(start),
    }
}

/// Hands a file to `ffmpeg`.
fn open_other(path: &Path, found: String, options: &OpenOptions) -> Result<Box<dyn VideoSource>, VideoError> {
    let origin = Origin::new(path, VideoFormat::Ffmpeg);
    if options.ffmpeg
        && let Some(reader) = FfmpegReader::start(path, options)?
    {
        return guard(reader, origin, options);
    }
    let h264 = if cfg!(feature = "h264") { "MP4, MOV or AVI with H.264 (4:2:0, 8 bits, progressive), " } else { "" };
    let expected = format!("{h264}AVI with JPEG, GIF, Y4M, .npy, PNG, JPEG, or the program ffmpeg for anything else");
    Err(origin.unsupported(expected, found))
}

/// Reads a `YUV4MPEG2` stream, such as a pipe.
///
/// # Errors
/// [`VideoError`] if its header is damaged or asks for something that is not read here.
pub fn read_y4m(
    reader: impl BufRead + Send + 'static,
    options: &OpenOptions,
) -> Result<Box<dyn VideoSource>, VideoError> {
    options.check()?;
    let origin = Origin::stream(VideoFormat::Y4m);
    guard(Y4mReader::new(reader, None, origin.clone(), options)?, origin, options)
}

/// Reads frames of `width` and `height` pixels without any header, such as those of a pipe.
///
/// ```
/// use video_input::{Frame, OpenOptions, PixelFormat, read_raw};
///
/// let bytes: &[u8] = &[0, 50, 100, 150, 200, 250];
/// let mut video = read_raw(bytes, 3, 1, PixelFormat::Gray8, 10.0, &OpenOptions::default())?;
/// let mut frame = Frame::default();
/// assert!(video.next_frame(&mut frame)? && video.next_frame(&mut frame)?);
/// assert_eq!((frame.index, frame.time, frame.pixels[[0, 2, 1]]), (1, 0.1, 250));
/// assert!(!video.next_frame(&mut frame)?);
/// # Ok::<(), video_input::VideoError>(())
/// ```
///
/// # Errors
/// [`VideoError`] if a side is 0, the frame has more than [`OpenOptions::max_pixels`], or the rate is no positive number.
pub fn read_raw(
    reader: impl Read + Send + 'static,
    width: usize,
    height: usize,
    pixel_format: PixelFormat,
    frame_rate: f64,
    options: &OpenOptions,
) -> Result<Box<dyn VideoSource>, VideoError> {
    options.check()?;
    check_rate("frame_rate", frame_rate)?;
    let origin = Origin::stream(VideoFormat::Raw);
    let [height, width] = origin.check_size(height as u64, width as u64, options.max_pixels)?;
    let info = VideoInfo { format: VideoFormat::Raw, width, height, frame_rate: Some(frame_rate), frames: None };
    guard(RawReader::new(reader, origin.clone(), info, pixel_format, frame_rate), origin, options)
}

fn guard(
    reader: impl Reader + 'static,
    origin: Origin,
    options: &OpenOptions,
) -> Result<Box<dyn VideoSource>, VideoError> {
    Ok(Box::new(Guarded::new(reader, origin, options.on_error)))
}
