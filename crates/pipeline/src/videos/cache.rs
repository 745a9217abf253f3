//! The stored frames of many videos, made once.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::Array3;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use video_input::{Frame, FrameRateFilter};

use super::input::FrameReader;
use super::store::{StoreWriter, StoredVideo};
use super::{InputConfig, InputKind, StoreError, VideosError};
use crate::features::EfficientNetLite0;
use crate::interrupt::Interrupt;

/// So many frames go through the network of the features at once; what is stored does not depend on it.
const FRAMES_AT_ONCE: usize = 8;

/// A folder with the stored frames of videos.
///
/// The name of a file tells what it was made of: the content of the video, and what decides the frames that are kept of
/// it. A video that is moved or renamed keeps its frames; one that changes gets others. Every file appears when it is complete, so
/// that work that is stopped goes on where it was.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// How far the videos are stored.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CacheEvent<'a> {
    /// So many videos will be looked at.
    Started {
        /// The number of videos.
        videos: usize,
    },
    /// A video is stored.
    VideoDone {
        /// The video.
        path: &'a Path,
        /// The number of frames decoded for it; 0 if it was stored before.
        decoded: usize,
    },
    /// A video cannot be read.
    VideoFailed {
        /// The video.
        path: &'a Path,
        /// Why.
        error: &'a VideosError,
    },
}

/// What became of the videos.
#[derive(Debug)]
pub struct CacheSummary {
    /// The stored frames of each video, in the order asked for; or why it cannot be read.
    pub videos: Vec<Result<StoredVideo, VideosError>>,
    /// The number of frames that were decoded.
    pub decoded: usize,
}

impl Cache {
    /// The cache in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|source| StoreError::Io { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The stored frames of `paths` as `input` wants them; what is not there is decoded and kept.
    ///
    /// # Errors
    /// [`VideosError::CachingInterrupted`] if `interrupt` asks to stop, or an error of the network of the features. A video that
    /// cannot be read is no error here, but an entry of the result.
    pub fn videos(
        &self,
        paths: &[PathBuf],
        input: &InputConfig,
        interrupt: &Interrupt,
        observer: &mut (dyn FnMut(CacheEvent<'_>) + Send),
    ) -> Result<CacheSummary, VideosError> {
        observer(CacheEvent::Started { videos: paths.len() });
        let network = network(input)?;
        let observer = Mutex::new(observer);
        let store = |path: &PathBuf| {
            let outcome = match interrupt.requested() {
                true => Err(VideosError::CachingInterrupted),
                false => self.video(path, input, network.as_ref(), interrupt),
            };
            let event = match &outcome {
                Ok((_, decoded)) => CacheEvent::VideoDone { path, decoded: *decoded },
                Err(error) => CacheEvent::VideoFailed { path, error },
            };
            // An observer that panicked ends the work by itself.
            (observer.lock().unwrap_or_else(PoisonError::into_inner))(event);
            outcome
        };
        let outcomes: Vec<Result<(StoredVideo, usize), VideosError>> = paths.par_iter().map(store).collect();
        if interrupt.requested() {
            return Err(VideosError::CachingInterrupted);
        }
        let decoded = outcomes.iter().flatten().map(|(_, decoded)| decoded).sum();
        let videos = outcomes.into_iter().map(|outcome| outcome.map(|(video, _)| video)).collect();
        Ok(CacheSummary { videos, decoded })
    }

    fn video(
        &self,
        path: &Path,
        input: &InputConfig,
        network: Option<&EfficientNetLite0>,
        interrupt: &Interrupt,
    ) -> Result<(StoredVideo, usize), VideosError> {
        let content = content_hash(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        let key = input.key();
        let name = format!("{}-{}.safetensors", &content[..32], &hex(&Sha256::digest(&key))[..16]);
        let file = self.folder.join(name);
        if file.is_file() {
            return Ok((StoredVideo::open(&file, &key, input.stored_shape())?, 0));
        }
        let decoded = store_video(path, &file, input, network, interrupt)?;
        Ok((StoredVideo::open(&file, &key, input.stored_shape())?, decoded))
    }
}

/// The network that `input` needs, if any.
pub(super) fn network(input: &InputConfig) -> Result<Option<EfficientNetLite0>, VideosError> {
    match input.kind {
        InputKind::Pixels => Ok(None),
        InputKind::Features | InputKind::FeatureMaps => Ok(Some(EfficientNetLite0::bundled()?)),
    }
}

/// Decodes the video `path` and keeps the frames that `input` wants in `file`; how many there are.
pub(super) fn store_video(
    path: &Path,
    file: &Path,
    input: &InputConfig,
    network: Option<&EfficientNetLite0>,
    interrupt: &Interrupt,
) -> Result<usize, VideosError> {
    let mut source = video_input::open(path, &input.open_options())?;
    let mut reader = FrameReader::new(input, network);
    let mut writer = StoreWriter::create(file, input.stored_shape())?;
    let mut filter = FrameRateFilter::new(input.frame_rate);
    let mut frame = Frame::default();
    let mut waiting: Vec<Array3<u8>> = Vec::with_capacity(FRAMES_AT_ONCE);
    let mut seconds = 0.0;
    while source.next_frame(&mut frame)? {
        if interrupt.requested() {
            return Err(VideosError::CachingInterrupted);
        }
        if !filter.keeps(frame.time) {
            continue;
        }
        seconds = frame.time;
        waiting.push(reader.resize(frame.pixels.view())?);
        if waiting.len() == FRAMES_AT_ONCE {
            writer.write(&reader.read(&waiting)?)?;
            waiting.clear();
        }
    }
    if !waiting.is_empty() {
        writer.write(&reader.read(&waiting)?)?;
    }
    let frames = writer.frames();
    if frames == 0 {
        return Err(VideosError::NoFrames { path: path.to_owned() });
    }
    writer.finish(&input.key(), seconds)?;
    Ok(frames)
}

/// What a file, or a folder of pictures, holds, as a number; the same for the same bytes.
pub(super) fn content_hash(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    if path.is_dir() {
        let mut files: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.sort_unstable();
        for file in files.iter().filter(|file| file.is_file()) {
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            io::copy(&mut File::open(file)?, &mut hash)?;
        }
    } else {
        io::copy(&mut File::open(path)?, &mut hash)?;
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
