//! What several tests share.

use std::path::{Path, PathBuf};

use video_input::{Frame, OnError, OpenOptions, VideoError, VideoSource, open};

/// A file beside the tests.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub(crate) fn options(on_error: OnError) -> OpenOptions {
    OpenOptions { on_error, ..OpenOptions::default() }
}

/// Reads frames to the end or to the first error, which is given beside them.
pub(crate) fn drain(video: &mut dyn VideoSource) -> (Vec<Frame>, Option<VideoError>) {
    let mut frames = Vec::new();
    let mut frame = Frame::default();
    loop {
        match video.next_frame(&mut frame) {
            Ok(true) => frames.push(frame.clone()),
            Ok(false) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// Opens a file and reads it to its end or to the first error.
pub(crate) fn read(path: &Path, options: &OpenOptions) -> (Vec<Frame>, Option<VideoError>) {
    match open(path, options) {
        Ok(mut video) => drain(&mut *video),
        Err(error) => (Vec::new(), Some(error)),
    }
}
