//! What happens around the program `ffmpeg`, with scripts in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use video_input::{Frame, OnError, OpenOptions, VideoFormat, open};

use crate::common::{options, read};

/// A file that nothing here decodes, and options with a script for `ffmpeg`.
fn stage(script: &str, on_error: OnError) -> (TempDir, PathBuf, OpenOptions) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.webm");
    fs::write(&path, b"\x1aE\xdf\xa3...").unwrap();
    let program = folder.path().join("ffmpeg");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let options = OpenOptions { ffmpeg_program: program, ..options(on_error) };
    (folder, path, options)
}

const HEADER: &str = "printf 'YUV4MPEG2 W2 H1 F10:1 C444\\n'";
const FRAME: &str = "printf 'FRAME\\n\\201\\353\\132\\200\\360\\200'";

#[test]
fn frames_come_through_the_pipe() {
    let script = format!("for last; do :; done\n[ \"$last\" = pipe:1 ] || exit 3\n{HEADER}\n{FRAME}\n{FRAME}");
    let (_folder, path, options) = stage(&script, OnError::Stop);
    let mut video = open(&path, &options).unwrap();
    assert_eq!(video.info().format, VideoFormat::Ffmpeg);
    assert_eq!((video.info().height, video.info().width, video.info().frame_rate), (1, 2, Some(10.0)));
    let mut frame = Frame::default();
    assert!(video.next_frame(&mut frame).unwrap() && video.next_frame(&mut frame).unwrap());
    assert_eq!((frame.index, frame.time), (1, 0.1));
    assert_eq!(frame.pixels.iter().skip(3).copied().collect::<Vec<_>>(), [255; 3]);
    assert!(!video.next_frame(&mut frame).unwrap());
}

#[test]
fn its_messages_are_the_error() {
    let cases = [
        ("echo 'no such codec' >&2; exit 1".to_owned(), 0, "film.webm: ffmpeg: no such codec"),
        ("exit 0".to_owned(), 0, "film.webm: ffmpeg: it found no video"),
        ("exit 7".to_owned(), 0, "film.webm: ffmpeg: it ended with exit status: 7"),
        (format!("{HEADER}; {FRAME}; echo one >&2; echo two >&2"), 1, "film.webm: ffmpeg: one; two"),
        (format!("{HEADER}; {FRAME}; exit 9"), 1, "film.webm: ffmpeg: it ended with exit status: 9"),
        (
            format!("{HEADER}; {FRAME}; printf 'FRAME\\n\\201'"),
            1,
            "film.webm: damaged video through ffmpeg, frame 1: expected 6 bytes, found 1",
        ),
        // More than a pipe holds.
        (format!("head -c 200000 /dev/zero | tr '\\0' x >&2; {HEADER}; {FRAME}"), 1, "xxxx"),
    ];
    for (script, count, message) in cases {
        let (_folder, path, options) = stage(&script, OnError::Stop);
        let (frames, error) = read(&path, &options);
        let error = error.expect("there is an error").to_string();
        assert_eq!(frames.len(), count, "{script}: {error}");
        assert!(error.ends_with(message) && error.len() < 1000, "{script}: {error}");
        let keep = OpenOptions { on_error: OnError::Keep, ..options };
        assert_eq!(read(&path, &keep).1.is_none(), count > 0, "{script}");
    }
}

#[test]
fn it_ends_with_its_reader() {
    let script = format!("echo $$ > \"$0.pid\"\n{HEADER}\nwhile :; do {FRAME}; done");
    let (folder, path, options) = stage(&script, OnError::Stop);
    let mut video = open(&path, &options).unwrap();
    assert!(video.next_frame(&mut Frame::default()).unwrap());
    let process = fs::read_to_string(folder.path().join("ffmpeg.pid")).unwrap();
    let alive = || fs::metadata(format!("/proc/{}", process.trim())).is_ok();
    if cfg!(target_os = "linux") {
        assert!(alive());
    }
    let start = Instant::now();
    drop(video);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!alive());
}

#[test]
fn without_it_the_error_names_what_is_read() {
    let (folder, path, options) = stage("exit 0", OnError::Stop);
    let without = OpenOptions { ffmpeg: false, ..options.clone() };
    let missing = OpenOptions { ffmpeg_program: folder.path().join("none"), ..options };
    for options in [without, missing] {
        let error = open(&path, &options).err().expect("it is refused").to_string();
        assert!(error.contains("GIF, Y4M") && error.ends_with("found Matroska or WebM"), "{error}");
    }
}
