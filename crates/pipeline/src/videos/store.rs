//! The stored frames of a video: a file from which any of them can be read without the others.
//!
//! The file is a safetensors file with one array, `frames`, `[time, channels, height, width]`, of U8 or F16; how the frames were
//! made stands in the metadata. Frames are read at their place in the file as they are needed, which the operating system keeps in
//! memory while there is room. Mapping the file would save a copy of each frame, but a file that is cut short while it
//! is mapped ends the program; here it is an error.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::Array4;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::input::StoredFrames;

/// The name of the array of frames.
const FRAMES: &str = "frames";
/// The longest header of a file of frames.
const MAX_HEADER: u64 = 1 << 16;
/// The one key of the metadata: the order of several would differ from file to file.
const METADATA_KEY: &str = "vidrnn-frames";

/// What a file says about its frames.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    /// What decides the frames that are made of a video.
    key: String,
    /// The time of the last frame.
    seconds: f64,
}

/// Why stored frames cannot be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file is no file of frames, or only a part of one.
    #[error("{}: not a complete file of stored frames: {problem}; remove it to have it made anew", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The stored frames of a video.
#[derive(Debug)]
pub struct StoredVideo {
    path: PathBuf,
    file: Mutex<File>,
    element: Element,
    /// Time, channels, height and width.
    shape: [usize; 4],
    /// Where the first frame begins in the file.
    start: u64,
    seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Pixel,
    Feature,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::Pixel => 1,
            Self::Feature => 2,
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::Pixel => Dtype::U8,
            Self::Feature => Dtype::F16,
        }
    }
}

impl StoredVideo {
    /// Opens a file that was made under `key` with frames of the shape `[channels, height, width]`.
    pub(super) fn open(path: &Path, key: &str, shape: [usize; 3]) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        let wrong = |problem: String| StoreError::Format { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(failed)?;
        let (metadata, start) = read_header(&mut file).map_err(|error| match error {
            HeaderError::Io(source) => failed(source),
            HeaderError::Format(problem) => wrong(problem),
        })?;
        let origin = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
        let origin = origin.ok_or_else(|| wrong(format!("the metadata lack `{METADATA_KEY}`")))?;
        let origin: Origin = serde_json::from_str(origin).map_err(|error| wrong(error.to_string()))?;
        if origin.key != key {
            return Err(wrong(format!("expected frames stored as {key}, found {}", origin.key)));
        }
        let info = metadata.info(FRAMES).ok_or_else(|| wrong(format!("no array `{FRAMES}`")))?;
        let element = match info.dtype {
            Dtype::U8 => Element::Pixel,
            Dtype::F16 => Element::Feature,
            other => return Err(wrong(format!("expected elements of type U8 or F16, found {other:?}"))),
        };
        let &[time, channels, height, width] = &info.shape[..] else {
            return Err(wrong(format!("expected an array of 4 axes, found {:?}", info.shape)));
        };
        if [channels, height, width] != shape || time == 0 {
            return Err(wrong(format!("expected frames of the shape {shape:?}, found {:?}", info.shape)));
        }
        let length = file.metadata().map_err(failed)?.len();
        let expected = start + (info.data_offsets.1 as u64);
        if length != expected {
            return Err(wrong(format!("expected {expected} bytes, found {length}")));
        }
        let start = start + info.data_offsets.0 as u64;
        let shape = [time, channels, height, width];
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), element, shape, start, seconds: origin.seconds })
    }

    /// The number of frames.
    pub fn frames(&self) -> usize {
        self.shape[0]
    }

    /// The time of the last frame, in seconds from the start of the video.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The frames at `positions`, `[positions, channels, height, width]`: pixels from −1 to 1, features as they are.
    ///
    /// # Errors
    /// [`StoreError`] if the file can no longer be read.
    ///
    /// # Panics
    /// If there is no frame at a position.
    pub fn read(&self, positions: &[usize]) -> Result<Array4<f32>, StoreError> {
        let [time, channels, height, width] = self.shape;
        let values = channels * height * width;
        let size = values * self.element.bytes();
        let mut frames = Array4::zeros((positions.len(), channels, height, width));
        let mut bytes = vec![0; size];
        for (&position, mut frame) in positions.iter().zip(frames.outer_iter_mut()) {
            assert!(position < time, "frame {position} of {time}");
            self.read_at(self.start + (position * size) as u64, &mut bytes)
                .map_err(|source| StoreError::Io { path: self.path.clone(), source })?;
            let frame = frame.as_slice_mut().expect("a new array is contiguous");
            widen(self.element, &bytes, frame);
        }
        Ok(frames)
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        // A thread that panicked while it held the file left nothing half done: every read seeks first.
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(bytes)
    }
}

fn widen(element: Element, bytes: &[u8], values: &mut [f32]) {
    match element {
        Element::Pixel => {
            for (value, &byte) in values.iter_mut().zip(bytes) {
                *value = pixel_value(byte);
            }
        }
        Element::Feature => {
            let halves: Vec<f16> = bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect();
            halves.convert_to_f32_slice(values);
        }
    }
}

/// What a model reads of a stored pixel.
fn pixel_value(byte: u8) -> f32 {
    (f32::from(byte) - 127.5) / 127.5
}

impl StoredFrames {
    /// As [`StoredVideo::read`] gives them.
    pub(super) fn widened(&self) -> Array4<f32> {
        match self {
            Self::Pixels(pixels) => pixels.mapv(pixel_value),
            Self::Features(features) => features.mapv(f16::to_f32),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Pixels(pixels) => pixels.iter().copied().collect(),
            Self::Features(features) => features.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

/// Writes the frames of a video as they come, whatever their number.
#[derive(Debug)]
pub(super) struct StoreWriter {
    path: PathBuf,
    body: tempfile::NamedTempFile,
    element: Option<Element>,
    shape: [usize; 3],
    frames: usize,
}

impl StoreWriter {
    /// Begins the file `path`, which appears when [`Self::finish`] has made it complete.
    pub(super) fn create(path: &Path, shape: [usize; 3]) -> Result<Self, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let body = tempfile::NamedTempFile::new_in(folder);
        let body = body.map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), body, element: None, shape, frames: 0 })
    }

    /// Adds frames.
    pub(super) fn write(&mut self, frames: &StoredFrames) -> Result<(), StoreError> {
        let (element, count) = match frames {
            StoredFrames::Pixels(pixels) => (Element::Pixel, pixels.dim().0),
            StoredFrames::Features(features) => (Element::Feature, features.dim().0),
        };
        self.element = Some(element);
        self.frames += count;
        self.body.write_all(&frames.bytes()).map_err(|source| StoreError::Io { path: self.path.clone(), source })
    }

    /// The number of frames so far.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Completes the file. There must be at least one frame.
    pub(super) fn finish(self, key: &str, seconds: f64) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { path: self.path.clone(), source };
        let element = self.element.unwrap_or(Element::Pixel);
        let [channels, height, width] = self.shape;
        let length = self.frames * channels * height * width * element.bytes();
        let mut body = self.body.reopen().map_err(failed)?;
        // The header says how many frames follow, so it comes last into being and first in the file. The library writes
        // it for an array of the right shape without its bytes.
        let header = header(element, [self.frames, channels, height, width], length, key, seconds)
            .map_err(|problem| StoreError::Format { path: self.path.clone(), problem })?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(&header).map_err(failed)?;
        io::copy(&mut body, &mut file).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The bytes of a safetensors file before those of its one array.
fn header(element: Element, shape: [usize; 4], length: usize, key: &str, seconds: f64) -> Result<Vec<u8>, String> {
    let info = TensorInfo { dtype: element.dtype(), shape: shape.to_vec(), data_offsets: (0, length) };
    let origin = serde_json::to_string(&Origin { key: key.to_owned(), seconds }).map_err(|error| error.to_string())?;
    let entries = HashMap::from([(METADATA_KEY.to_owned(), origin)]);
    let metadata = Metadata::new(Some(entries), vec![(FRAMES.to_owned(), info)]).map_err(|error| error.to_string())?;
    let mut text = serde_json::to_vec(&metadata).map_err(|error| error.to_string())?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    Ok(header)
}

enum HeaderError {
    Io(io::Error),
    Format(String),
}

/// What the header says, and the number of bytes before the arrays.
fn read_header(file: &mut File) -> Result<(Metadata, u64), HeaderError> {
    let mut bytes = vec![0; 8];
    let ended = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => HeaderError::Format("it ends within its header".to_owned()),
        _ => HeaderError::Io(source),
    };
    file.read_exact(&mut bytes).map_err(ended)?;
    let length = bytes.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    if length > MAX_HEADER {
        return Err(HeaderError::Format(format!("its header of {length} bytes is longer than {MAX_HEADER}")));
    }
    bytes.resize(8 + length as usize, 0);
    file.read_exact(&mut bytes[8..]).map_err(ended)?;
    let metadata = serde_json::from_slice(&bytes[8..]).map_err(|error| HeaderError::Format(error.to_string()))?;
    Ok((metadata, bytes.len() as u64))
}
