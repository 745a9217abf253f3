//! What several tests share.

use std::path::{Path, PathBuf};

#[cfg(feature = "h264")]
use ndarray::Array3;
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
/// The peak signal-to-noise ratio of `found` to `expected` in dB, over all pixels of all frames.
#[cfg(feature = "h264")]
pub(crate) fn psnr<'a>(pairs: impl IntoIterator<Item = (&'a Array3<u8>, &'a Array3<u8>)>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for (found, expected) in pairs {
        assert_eq!(found.dim(), expected.dim());
        count += found.len();
        let differences = found.iter().zip(expected).map(|(&a, &b)| f64::from(a) - f64::from(b));
        sum += differences.map(|difference| difference * difference).sum::<f64>();
    }
    10.0 * (255.0 * 255.0 * f64::from(u32::try_from(count).expect("few pixels")) / sum).log10()
}
