//! `YUV4MPEG2`: colours, layouts, damage, and streams longer than memory.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use video_input::{ColourMatrix, Frame, OnError, OpenOptions, VideoFormat, read_y4m};

use crate::common::{drain, options};

/// Reads a stream and gives the pixels of its first frame.
fn first_frame(stream: &[u8], options: &OpenOptions) -> Result<Vec<u8>, String> {
    let mut video = read_y4m(io::Cursor::new(stream.to_vec()), options).map_err(|error| error.to_string())?;
    let mut frame = Frame::default();
    match video.next_frame(&mut frame) {
        Ok(true) => Ok(frame.pixels.into_raw_vec_and_offset().0),
        Ok(false) => Err("no frame".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn stream(header: &str, planes: &[u8]) -> Vec<u8> {
    [b"YUV4MPEG2 ", header.as_bytes(), b"\nFRAME\n", planes].concat()
}

#[test]
fn all_layouts_become_the_same_colours() {
    // 4x2 pixels: the left half is red, the right half is white, in BT.601 with luma from 16 to 235.
    let luma = [81, 81, 235, 235].repeat(2);
    let planes = |u: &[u8], v: &[u8]| [&luma[..], u, v].concat();
    let wide = |planes: Vec<u8>, shift: u32| -> Vec<u8> {
        planes.into_iter().flat_map(|sample| (u16::from(sample) << shift).to_le_bytes()).collect()
    };
    let shared = planes(&[90, 128], &[240, 128]);
    let columns = planes(&[90, 128, 90, 128], &[240, 128, 240, 128]);
    let full = planes(&[90, 90, 128, 128].repeat(2), &[240, 240, 128, 128].repeat(2));
    let opaque = [&full[..], &[255; 8]].concat();
    let cases: [(&str, Vec<u8>); 13] = [
        ("W4 H2 F25:1", shared.clone()),
        ("W4 H2 F25:1 Ip A1:1 C420jpeg", shared.clone()),
        ("W4 H2 F25:1 C420mpeg2 XYSCSS=420MPEG2", shared.clone()),
        ("W4 H2 F25:1 C420paldv", shared.clone()),
        ("H2 W4 C420 XCOLORRANGE=LIMITED", shared.clone()),
        ("W4 H2 C422", columns.clone()),
        ("W4 H2 C444", full.clone()),
        ("W4 H2 C444alpha", opaque),
        ("W4 H2 C420p9", wide(shared.clone(), 1)),
        ("W4 H2 C420p10", wide(shared, 2)),
        ("W4 H2 C422p12", wide(columns, 4)),
        ("W4 H2 C444p14", wide(full.clone(), 6)),
        ("W4 H2 C444p16", wide(full, 8)),
    ];
    let expected = [[254, 0, 0], [254, 0, 0], [255, 255, 255], [255, 255, 255]].concat().repeat(2);
    for (header, planes) in cases {
        assert_eq!(first_frame(&stream(header, &planes), &OpenOptions::default()).unwrap(), expected, "{header}");
    }
}

#[test]
fn ranges_and_matrices_are_told_apart() {
    let bt709 = OpenOptions { colour_matrix: ColourMatrix::Bt709, ..OpenOptions::default() };
    let plain = OpenOptions::default();
    let cases: [(&str, &[u8], &OpenOptions, &[u8]); 7] = [
        ("W1 H1 Cmono", &[100], &plain, &[100, 100, 100]),
        ("W1 H1 Cmono XCOLORRANGE=LIMITED", &[126], &plain, &[128, 128, 128]),
        ("W1 H1 Cmono10", &[0x90, 0x01], &plain, &[100, 100, 100]),
        ("W1 H1 C444 XCOLORRANGE=FULL", &[76, 85, 255], &plain, &[254, 0, 0]),
        ("W1 H1 C444", &[63, 102, 240], &bt709, &[255, 1, 0]),
        ("W1 H1 C444", &[126, 128, 128], &bt709, &[128, 128, 128]),
        // One group of four columns shares a sample.
        ("W5 H1 C411", &[81, 81, 81, 81, 235, 90, 128, 240, 128], &plain, &{
            let mut pixels = [254, 0, 0].repeat(4);
            pixels.extend([255; 3]);
            pixels
        }),
    ];
    for (header, planes, options, expected) in cases {
        assert_eq!(first_frame(&stream(header, planes), options).unwrap(), expected, "{header}");
    }
}

#[test]
fn wrong_streams_are_refused() {
    let small = OpenOptions { max_pixels: 100, ..OpenOptions::default() };
    let plain = OpenOptions::default();
    let large = "W4294967296 H4294967296";
    let layouts = "planes of 4:2:0, 4:2:2, 4:1:1, 4:4:4 or mono with 8 to 16 bits";
    let cases: [(Vec<u8>, &OpenOptions, String); 17] = [
        (b"".to_vec(), &plain, "damaged Y4M: the header: expected a line of fewer than 4096 bytes, found 0 bytes without an end".into()),
        (b"RIFF\n".to_vec(), &plain, "damaged Y4M: expected `YUV4MPEG2`, found `RIFF`".into()),
        (vec![b'Y'; 10_000], &plain, "damaged Y4M: the header: expected a line of fewer than 4096 bytes, found 4096 bytes without an end".into()),
        (stream("W4", &[]), &plain, "damaged Y4M: expected `H` in the header, found none".into()),
        (stream("H4", &[]), &plain, "damaged Y4M: expected `W` in the header, found none".into()),
        (stream("W0 H4", &[]), &plain, "damaged Y4M: expected at least one pixel, found frames of 4x0".into()),
        (stream("W-1 H4", &[]), &plain, "damaged Y4M: expected a number after `W`, found `W-1`".into()),
        (stream("W4 H4 Ffast", &[]), &plain, "damaged Y4M: expected a ratio after `F`, found `fast`".into()),
        (stream(large, &[]), &plain, "expected frames of at most 67108864 pixels, found 4294967296x4294967296".into()),
        (stream("W10 H11", &[]), &small, "expected frames of at most 100 pixels, found 11x10".into()),
        (stream("W4 H4 C410", &[]), &plain, format!("expected {layouts}, found `C410`")),
        (stream("W4 H4 C420p8", &[]), &plain, format!("expected {layouts}, found `C420p8`")),
        (stream("W4 H4 C444p17", &[]), &plain, format!("expected {layouts}, found `C444p17`")),
        (b"YUV4MPEG2 W4 H4\n".to_vec(), &plain, "expected at least one frame, found none in the Y4M".into()),
        (stream("W4 H4", &[0; 23]), &plain, "damaged Y4M, frame 0: expected 24 bytes, found 23".into()),
        (b"YUV4MPEG2 W4 H4\nFRAMES\n".to_vec(), &plain, "damaged Y4M, frame 0: expected `FRAME`, found `FRAMES`".into()),
        (
            b"YUV4MPEG2 W4 H4\nFRAME I".to_vec(),
            &plain,
            "damaged Y4M, frame 0: the line before it: expected a line of fewer than 4096 bytes, found 7 bytes without an end".into(),
        ),
    ];
    for (content, options, message) in cases {
        assert_eq!(first_frame(&content, options).unwrap_err(), format!("<stream>: {message}"));
    }
}

#[test]
fn the_frames_before_damage_are_kept_if_asked() {
    let mut content = stream("W2 H2 F10:1 Cmono", &[7; 4]);
    content.extend(b"FRAME Ixyz\n\x09\x09\x09\x09FRAME\n\x01");
    for (on_error, fails) in [(OnError::Stop, true), (OnError::Skip, false), (OnError::Keep, false)] {
        let mut video = read_y4m(io::Cursor::new(content.clone()), &options(on_error)).unwrap();
        let (frames, error) = drain(&mut *video);
        assert_eq!(error.is_some(), fails, "{on_error:?}");
        let found: Vec<_> = frames.iter().map(|frame| (frame.index, frame.time, frame.pixels[[1, 1, 2]])).collect();
        assert_eq!(found, [(0, 0.0, 7), (1, 0.1, 9)], "{on_error:?}");
        assert!(!video.next_frame(&mut Frame::default()).unwrap(), "after an error there is nothing more");
    }
    for on_error in [OnError::Skip, OnError::Keep] {
        let mut video = read_y4m(&b"YUV4MPEG2 W2 H2 Cmono\nFRAME\n\x01"[..], &options(on_error)).unwrap();
        let message = drain(&mut *video).1.unwrap().to_string();
        assert_eq!(message, "<stream>: damaged Y4M, frame 0: expected 4 bytes, found 1", "{on_error:?}");
    }
}

/// A stream of frames without end that counts what has been read of it.
struct Endless {
    header: Vec<u8>,
    frame: Vec<u8>,
    at: u64,
    read: Arc<AtomicU64>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let header = self.header.len() as u64;
        for byte in buffer.iter_mut() {
            *byte = match self.at.checked_sub(header) {
                None => self.header[self.at as usize],
                Some(at) => self.frame[(at % self.frame.len() as u64) as usize],
            };
            self.at += 1;
        }
        self.read.store(self.at, Ordering::Relaxed);
        Ok(buffer.len())
    }
}

#[test]
fn a_stream_is_read_frame_by_frame() {
    let read = Arc::new(AtomicU64::new(0));
    let frame = [b"FRAME\n", &[128; 96 * 64 * 3 / 2][..]].concat();
    let length = frame.len() as u64;
    let header = b"YUV4MPEG2 W96 H64 F25:1\n".to_vec();
    let endless = Endless { header, frame, at: 0, read: Arc::clone(&read) };
    let mut video = read_y4m(BufReader::new(endless), &OpenOptions::default()).unwrap();
    assert_eq!((video.info().format, video.info().frames), (VideoFormat::Y4m, None));
    let mut frame = Frame::default();
    let mut expected = 0;
    for step in 1..=300 {
        assert_eq!(video.skip(step % 4).unwrap(), step % 4);
        assert!(video.next_frame(&mut frame).unwrap());
        expected += step % 4 + 1;
        assert_eq!((frame.index, frame.time), (expected - 1, (expected - 1) as f64 / 25.0));
        let ahead = read.load(Ordering::Relaxed) - expected * length;
        assert!(ahead < length + (1 << 14), "{ahead} bytes beyond frame {expected}");
    }
}
