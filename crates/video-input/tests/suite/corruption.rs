//! Files with random damage: they come to an end, without a panic and within bounds.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::tempdir;
use video_input::{Frame, OnError, OpenOptions, VideoSource, open};

use crate::common::{data, options, read};

/// One file of each format, and its name.
const FILES: [&str; 10] = [
    "good/h264_baseline.mp4",
    "good/h264_high_bframes.mp4",
    "good/mjpeg.avi",
    "good/anim_256.gif",
    "good/yuv420.y4m",
    "good/frames_png/frame_000.png",
    "broken/gen_jpeg_as_avi.avi",
    "more/fragmented.mp4",
    "more/slices.h264",
    "more/h264.avi",
];

/// What happens to the bytes of a file.
#[derive(Clone, Debug)]
enum Damage {
    Bytes(Vec<(Index, u8)>),
    /// Of the first or the last bytes, where the tables are.
    Ends(Vec<(u16, bool, u8)>),
    Cut(Index),
    Remove(Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        prop::collection::vec((any::<Index>(), any::<u8>()), 1..20).prop_map(Damage::Bytes),
        prop::collection::vec((0..1500_u16, any::<bool>(), any::<u8>()), 1..8).prop_map(Damage::Ends),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), any::<u8>()).prop_map(|(start, length)| Damage::Remove(start, length)),
    ]
}

impl Damage {
    fn apply(&self, content: &mut Vec<u8>) {
        let length = content.len();
        match self {
            Self::Bytes(changes) => changes.iter().for_each(|(position, byte)| content[position.index(length)] = *byte),
            Self::Ends(changes) => {
                for &(position, last, byte) in changes {
                    let position = usize::from(position).min(length - 1);
                    content[if last { length - 1 - position } else { position }] = byte;
                }
            }
            Self::Cut(position) => content.truncate(position.index(length)),
            Self::Remove(start, count) => {
                let start = start.index(length);
                content.drain(start..length.min(start + usize::from(*count)));
            }
        }
    }
}

/// Counts the frames, and checks that there is an end, also after an error.
fn count(video: &mut dyn VideoSource) -> Result<usize, TestCaseError> {
    let (mut frame, mut frames) = (Frame::default(), 0);
    loop {
        match video.next_frame(&mut frame) {
            Ok(true) => frames += 1,
            Ok(false) => break,
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                break;
            }
        }
        prop_assert!(frames <= 1000, "more frames than a damaged file can have");
    }
    prop_assert!(matches!(video.next_frame(&mut frame), Ok(false)));
    Ok(frames)
}

fn check(file: &str, damage: &Damage, on_error: OnError) -> Result<(), TestCaseError> {
    let mut content = fs::read(data(file)).unwrap();
    damage.apply(&mut content);
    let folder = tempdir().unwrap();
    let path = folder.path().join("damaged");
    fs::write(&path, content).unwrap();
    let options = OpenOptions { max_pixels: 1 << 20, ffmpeg: false, ..options(on_error) };
    if let Ok(mut video) = open(&path, &options) {
        let info = video.info().clone();
        prop_assert!(info.width > 0 && info.height > 0 && info.width * info.height <= 1 << 20);
        count(&mut *video)?;
        let mut again = open(&path, &options).unwrap();
        let _ = again.skip(3);
        count(&mut *again)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_end(
        file in prop::sample::select(&FILES[..]),
        damage in damage(),
        on_error in prop::sample::select(&[OnError::Stop, OnError::Skip, OnError::Keep][..]),
    ) {
        check(file, &damage, on_error)?;
    }
}

/// The number of damaged files: `PROPTEST_CASES` of them, if it is set.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150)
}

/// In the head of an AVI file stands a size that its H.264 pictures do not have: each of them is left out, to the end.
#[test]
fn pictures_of_another_size_come_to_an_end() {
    let mut content = fs::read(data("more/h264.avi")).unwrap();
    let format = content.windows(4).position(|window| window == b"strf").expect("the file has a stream");
    assert_eq!(content[format + 12..][..4], 128_u32.to_le_bytes());
    content[format + 12] = 64;
    let folder = tempdir().unwrap();
    let path = folder.path().join("other.avi");
    fs::write(&path, content).unwrap();
    for on_error in [OnError::Stop, OnError::Skip, OnError::Keep] {
        let (frames, error) = read(&path, &options(on_error));
        let message = "other.avi: frame 0: expected 72x64 pixels as before, found 72x128";
        assert!(error.is_some_and(|error| error.to_string().ends_with(message)), "{on_error:?}");
        assert_eq!(frames.len(), 0);
    }
}

#[test]
fn a_cut_recording_has_the_frames_before_the_cut() {
    let content = fs::read(data("more/fragmented.mp4")).unwrap();
    let whole = read(&data("more/fragmented.mp4"), &OpenOptions::default()).0;
    let folder = tempdir().unwrap();
    let path: PathBuf = folder.path().join("cut.mp4");
    let mut counts = Vec::new();
    for length in (2000..content.len()).step_by(1501) {
        fs::write(&path, &content[..length]).unwrap();
        let (frames, error) = read(&path, &options(OnError::Keep));
        assert_eq!(error.is_some(), frames.is_empty(), "{length} bytes");
        for (frame, whole) in frames.iter().zip(&whole) {
            assert_eq!(frame, whole, "{length} bytes");
        }
        counts.push(frames.len());
    }
    assert!(counts.is_sorted() && counts.last() > Some(&15), "{counts:?}");
}
