//! When frames are shown, how they are turned, and what comes after frames that are passed by.

use std::fs;
use std::path::Path;

use ndarray::{Array3, Axis};
use tempfile::tempdir;
use video_input::{Frame, OpenOptions, VideoFormat, open};

use crate::common::{data, read};

fn times(file: &str) -> Vec<f64> {
    read(&data(file), &OpenOptions::default()).0.iter().map(|frame| frame.time).collect()
}

fn assert_close(found: &[f64], expected: impl Iterator<Item = f64>, within: f64) {
    let expected: Vec<f64> = expected.collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < within, "{found} {expected}");
    }
}

#[test]
fn frames_are_shown_when_the_file_says() {
    let regular = |count| (0..count).map(|frame| f64::from(frame) / 12.0);
    for file in ["good/h264_high_bframes.mp4", "good/h264_baseline.mp4", "more/fragmented.mp4", "more/h264.avi"] {
        assert_close(&times(file), regular(24), 1e-6);
    }
    assert_close(&times("more/slices.h264"), regular(24), 1e-6);
    assert_close(&times("more/cut.mp4"), regular(13), 1e-3);
    assert_close(&times("good/anim_256.gif"), (0..24).map(|frame| f64::from(frame) * 0.08), 1e-9);
    let variable =
        (0..24).map(|frame| if frame < 12 { f64::from(frame) * 0.04 } else { 0.48 + f64::from(frame - 12) * 0.1 });
    // The file counts thousandths of a second.
    assert_close(&times("more/vfr.mp4"), variable, 1.5e-3);
    let video = open(&data("more/vfr.mp4"), &OpenOptions::default()).unwrap();
    let mean = 23.0 / 1.58;
    assert!((video.info().frame_rate.unwrap() - mean).abs() < 0.02, "{:?}", video.info());
}

/// The position of the matrix in the track header of an MP4 file.
fn matrix_position(content: &[u8]) -> usize {
    let name = content.windows(4).position(|window| window == b"tkhd").expect("the file has a track");
    name + 4 + 4 + 20 + 16
}

#[test]
fn cameras_on_their_side_are_turned_upright() {
    let upright = read(&data("good/h264_high_bframes.mp4"), &OpenOptions::default()).0;
    let content = fs::read(data("good/h264_high_bframes.mp4")).unwrap();
    let position = matrix_position(&content);
    assert_eq!(content[position..position + 4], [0, 1, 0, 0]);
    let clockwise = |pixels: &Array3<u8>| {
        let mut turned = pixels.clone().permuted_axes([1, 0, 2]);
        turned.invert_axis(Axis(1));
        turned
    };
    let half = |pixels: &Array3<u8>| clockwise(&clockwise(pixels));
    let counterclockwise = |pixels: &Array3<u8>| clockwise(&half(pixels));
    let mirrored = |pixels: &Array3<u8>| {
        let mut turned = pixels.clone();
        turned.invert_axis(Axis(1));
        turned
    };
    type Turn<'a> = &'a dyn Fn(&Array3<u8>) -> Array3<u8>;
    let cases: [([i32; 4], Turn<'_>); 4] = [
        ([0, 1, -1, 0], &clockwise),
        ([-1, 0, 0, -1], &half),
        ([0, -1, 1, 0], &counterclockwise),
        ([-1, 0, 0, 1], &mirrored),
    ];
    let folder = tempdir().unwrap();
    let path = folder.path().join("turned.mp4");
    for ([a, b, c, d], turn) in cases {
        let mut turned = content.clone();
        let entries = [a << 16, b << 16, 0, c << 16, d << 16];
        for (entry, value) in entries.into_iter().enumerate() {
            turned[position + 4 * entry..][..4].copy_from_slice(&value.to_be_bytes());
        }
        fs::write(&path, turned).unwrap();
        let video = open(&path, &OpenOptions::default()).unwrap();
        let (height, width, _) = turn(&upright[0].pixels).dim();
        assert_eq!((video.info().height, video.info().width), (height, width));
        let (frames, _) = read(&path, &OpenOptions::default());
        assert_eq!(frames.len(), 24);
        for (frame, upright) in frames.iter().zip(&upright) {
            assert_eq!(frame.pixels, turn(&upright.pixels), "{a} {b} {c} {d}");
        }
    }
}

#[test]
fn frames_after_a_gap_are_those_of_the_whole_film() {
    let files = [
        "good/h264_high_bframes.mp4",
        "good/anim_256.gif",
        "good/mjpeg.avi",
        "good/yuv420.y4m",
        "good/frames_png",
        "more/fragmented.mp4",
        "more/cut.mp4",
        "more/vfr.mp4",
        "more/slices.h264",
        "more/h264.avi",
    ];
    for file in files {
        let all = read(&data(file), &OpenOptions::default()).0;
        for gaps in [[0, 3], [1, 7], [9, 0], [2, 2], [7, 1], [11, 11]] {
            let mut video = open(&data(file), &OpenOptions::default()).unwrap();
            let mut frame = Frame::default();
            let mut expected = 0;
            for gap in gaps.into_iter().cycle() {
                let left = all.len() - expected;
                assert_eq!(video.skip(gap as u64).unwrap(), gap.min(left) as u64, "{file}, {gaps:?}");
                expected += gap;
                let more = video.next_frame(&mut frame).unwrap();
                assert_eq!(more, expected < all.len(), "{file}, {gaps:?} at {expected}");
                if !more {
                    break;
                }
                assert_eq!(frame, all[expected], "{file}, {gaps:?} at {expected}");
                expected += 1;
            }
        }
    }
}

#[test]
fn the_content_decides_about_the_format() {
    let folder = tempdir().unwrap();
    let cases = [
        ("good/h264_baseline.mp4", "film.avi", VideoFormat::Mp4),
        ("good/mjpeg.avi", "film.mp4", VideoFormat::Avi),
        ("good/anim_256.gif", "film.y4m", VideoFormat::Gif),
        ("good/yuv420.y4m", "film", VideoFormat::Y4m),
        ("more/slices.h264", "film.txt", VideoFormat::H264),
        ("good/frames_png/frame_000.png", "film.jpg", VideoFormat::Images),
    ];
    for (file, name, format) in cases {
        let path = folder.path().join(name);
        fs::copy(data(file), &path).unwrap();
        assert_eq!(open(&path, &OpenOptions::default()).unwrap().info().format, format, "{name}");
    }
}

#[test]
fn large_frames_are_refused_before_they_are_decoded() {
    let exact = OpenOptions { max_pixels: 72 * 128, ..OpenOptions::default() };
    let small = OpenOptions { max_pixels: 72 * 128 - 1, ..OpenOptions::default() };
    for file in ["h264_baseline.mp4", "mjpeg.avi", "anim_256.gif", "yuv420.y4m", "frames_png"] {
        let path = data(&format!("good/{file}"));
        assert!(read(&path, &exact).1.is_none(), "{file}");
        let error = open(&path, &small).err().expect("it is too large").to_string();
        let expected = "expected frames of at most 9215 pixels, found 72x128";
        assert!(error.ends_with(expected), "{error}");
        assert!(Path::new(error.split(": ").next().unwrap()).exists(), "{error}");
    }
}
