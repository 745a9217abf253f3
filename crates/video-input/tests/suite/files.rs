//! Whole files, good and broken: how many frames they have, how near these are to the truth, and what is wrong.
//!
//! The same table stands in the book.

use std::fs;
use std::path::Path;

use ndarray::Array3;
use video_input::{OnError, OpenOptions, VideoFormat, open};

use crate::common::{data, options, psnr, read};

/// A file and what is found in it.
#[derive(Clone, Copy, Debug)]
struct Case {
    file: &'static str,
    /// `None` if the file cannot be opened.
    format: Option<VideoFormat>,
    /// The number of frames up to the first error.
    frames: usize,
    /// The number of frames if damaged ones are left out.
    skipping: usize,
    /// The first of the true frames that the file shows, and the least PSNR of the frames to them, in dB.
    truth: Option<(usize, f64)>,
    /// How the error ends, without the name of the file.
    error: &'static str,
}

const fn good(file: &'static str, format: VideoFormat, frames: usize, truth: Option<(usize, f64)>) -> Case {
    Case { file, format: Some(format), frames, skipping: frames, truth, error: "" }
}

const fn refused(file: &'static str, error: &'static str) -> Case {
    Case { file, format: None, frames: 0, skipping: 0, truth: None, error }
}

const fn damaged(
    file: &'static str,
    format: VideoFormat,
    frames: usize,
    skipping: usize,
    truth: Option<(usize, f64)>,
    error: &'static str,
) -> Case {
    Case { file, format: Some(format), frames, skipping, truth, error }
}

use VideoFormat::{Avi, Gif, H264, Images, Mp4, Y4m};

const NOT_READ: &str = "expected MP4, MOV or AVI with H.264 (4:2:0, 8 bits, progressive), AVI with JPEG, GIF, Y4M, .npy, \
    PNG, JPEG, or the program ffmpeg for anything else, found Matroska or WebM";

const CASES: [Case; 50] = [
    good("good/h264_baseline.mp4", Mp4, 24, Some((0, 31.5))),
    good("good/h264_high_bframes.mp4", Mp4, 24, Some((0, 31.5))),
    good("good/mjpeg.avi", Avi, 24, Some((0, 31.5))),
    good("good/anim_256.gif", Gif, 24, Some((0, 33.9))),
    good("good/yuv420.y4m", Y4m, 24, Some((0, 34.0))),
    good("good/frames_png", Images, 24, Some((0, f64::INFINITY))),
    refused("good/vp9.webm", NOT_READ),
    good("more/fragmented.mp4", Mp4, 24, Some((0, 31.5))),
    good("more/vfr.mp4", Mp4, 24, Some((0, 31.5))),
    good("more/bt709.mp4", Mp4, 24, Some((0, 31.5))),
    good("more/cut.mp4", Mp4, 13, Some((11, 31.5))),
    good("more/slices.h264", H264, 24, Some((0, 31.5))),
    good("more/h264.avi", Avi, 24, Some((0, 31.5))),
    good("broken/decord_video_0.mov", Mp4, 3, None),
    good("broken/decord_video_270.mov", Mp4, 3, None),
    good("broken/mp4parse_h264_white_frame_sar_16_9.mp4", Mp4, 1, None),
    good("broken/mp4parse_minimal.mp4", Mp4, 1, None),
    good("broken/mp4parse_video_rotation_90.mp4", Mp4, 1, None),
    good("broken/gen_bad_idx1.avi", Avi, 24, Some((0, 31.5))),
    good("broken/gen_riff_size_zero.avi", Avi, 24, Some((0, 31.5))),
    good("broken/gen_fps_zero.y4m", Y4m, 24, Some((0, 34.0))),
    good("broken/imagegif_alpha_gif_a.gif", Gif, 1, None),
    good("broken/imagegif_interlaced.gif", Gif, 1, None),
    good("broken/imagegif_issue-209-extension-block-type.gif", Gif, 1, None),
    damaged(
        "broken/decord_corrupted.mp4",
        Mp4,
        29,
        29,
        None,
        "damaged MP4, frame 30: a unit of 4294967295 bytes does not fit into the 555 bytes left",
    ),
    damaged("broken/gen_bitflips.h264", H264, 0, 0, None, "damaged H.264 stream, frame 0: the decoder finds it broken"),
    damaged(
        "broken/openh264_BA_MW_D_IDR_LOST.264",
        H264,
        0,
        70,
        None,
        "damaged H.264 stream, frame 0: the decoder finds it broken",
    ),
    damaged(
        "broken/openh264_Error_I_P.264",
        H264,
        0,
        0,
        None,
        "damaged H.264 stream, frame 0: the decoder finds it broken",
    ),
    damaged(
        "broken/mp4parse_bipbop_nonfragment_header.mp4",
        Mp4,
        0,
        0,
        None,
        "damaged MP4, frame 0: expected 9814 bytes, found 0",
    ),
    damaged(
        "broken/gen_trunc50.mjpeg.avi",
        Avi,
        11,
        11,
        Some((0, 31.5)),
        "damaged AVI, frame 11: expected 3955 bytes, found 829",
    ),
    damaged("broken/gen_trunc60.gif", Gif, 14, 14, Some((0, 33.5)), "damaged GIF, frame 14: Unexpected End of File"),
    damaged(
        "broken/imagegif_issue-117-out-of-range.gif",
        Gif,
        0,
        0,
        None,
        "damaged GIF, frame 0: invalid minimal code size",
    ),
    damaged("broken/gen_header_only.y4m", Y4m, 0, 0, None, "expected at least one frame, found none in the Y4M"),
    damaged(
        "broken/gen_bad_crc.png",
        Images,
        0,
        0,
        None,
        "damaged images: Format error decoding Png: Corrupt deflate stream. BadCodeLengthHuffmanTree",
    ),
    damaged("broken/gen_trunc.png", Images, 0, 0, None, "damaged images: unexpected end of file"),
    damaged(
        "broken/gen_jpeg_as_avi.avi",
        Images,
        0,
        0,
        None,
        "damaged images: expected the end of the picture, found the end of the file",
    ),
    refused(
        "broken/gen_dims_bomb.png",
        "damaged images: Format error decoding Png: CRC error: expected 0xb1e76a45 have 0x9bab9c31 while decoding ChunkType { type: IHDR, critical: true, private: false, reserved: false, safecopy: false } chunk.",
    ),
    refused("broken/gen_trunc_header.avi", "damaged AVI: expected the list `movi`, found the end of the file"),
    refused(
        "broken/gen_no_moov.mp4",
        "damaged MP4: expected the box `moov`, found `ftyp`, `free`, `mdat` and no other",
    ),
    refused(
        "broken/gen_box_size_zero_loop.mp4",
        "damaged MP4: expected the box `moov`, found `ftyp`, `\\x00\\x00\\x00\\x00` and no other",
    ),
    refused("broken/gen_stsz_count_huge.mp4", "damaged MP4: `stsz` has 2147483647 pictures, of which 24 can be there"),
    refused(
        "broken/gen_unknown_colourspace.y4m",
        "expected planes of 4:2:0, 4:2:2, 4:1:1, 4:4:4 or mono with 8 to 16 bits, found `Cxyz12345`",
    ),
    refused("broken/gen_zero_dims.y4m", "damaged Y4M: expected at least one pixel, found frames of 0x0"),
    refused(
        "broken/imagegif_issue-96-small-codesize.gif",
        "damaged GIF: expected at least one pixel, found frames of 0x185",
    ),
    refused("broken/mp4parse_short-cenc.mp4", "expected a video without encryption, found an encrypted one"),
    refused("broken/mp4parse_tiny_av1.mp4", "anything else, found MP4 with the codec `av01`"),
    refused("broken/libwebm_block_ends_beyond_cluster.mkv", NOT_READ),
    refused("broken/libwebm_chapters_truncated_chapter_string.mkv", NOT_READ),
    refused("broken/libwebm_invalid_vp9_bitstream-bug_1417.webm", NOT_READ),
    refused("broken/libwebm_projection_float_overflow.webm", NOT_READ),
];

/// Without `ffmpeg`, so that the results are the same everywhere.
fn without_ffmpeg(on_error: OnError) -> OpenOptions {
    OpenOptions { ffmpeg: false, ..options(on_error) }
}

fn true_frames() -> Vec<Array3<u8>> {
    let (frames, error) = read(&data("good/frames_png"), &OpenOptions::default());
    assert!(error.is_none());
    frames.into_iter().map(|frame| frame.pixels).collect()
}

/// The line of the book about a file, and what is wrong with the result.
fn check(case: &Case, truth: &[Array3<u8>]) -> (String, Vec<String>) {
    let path = data(case.file);
    let mut problems = Vec::new();
    let mut expect = |holds: bool, problem: String| {
        if !holds {
            problems.push(format!("{}: {problem}", case.file));
        }
    };
    let format = open(&path, &without_ffmpeg(OnError::Stop)).ok().map(|video| video.info().format);
    expect(format == case.format, format!("format {format:?}"));
    let (frames, error) = read(&path, &without_ffmpeg(OnError::Stop));
    expect(frames.len() == case.frames, format!("{} frames", frames.len()));
    let message = error.map(|error| error.to_string().replacen(&format!("{}: ", path.display()), "", 1));
    let message = message.unwrap_or_default();
    expect(message.ends_with(case.error) && message.is_empty() == case.error.is_empty(), message.clone());
    let (skipping, error) = read(&path, &without_ffmpeg(OnError::Skip));
    expect(skipping.len() == case.skipping, format!("{} frames when damaged ones are left out", skipping.len()));
    expect(error.is_some() == (case.skipping == 0), "there is an error if there is no frame, and only then".into());
    let (keeping, error) = read(&path, &without_ffmpeg(OnError::Keep));
    expect(keeping == frames, "the frames before the damage are kept".into());
    expect(error.is_some() == frames.is_empty(), "what is kept ends well".into());
    let mut quality = String::new();
    if let Some((first, least)) = case.truth {
        let pairs = frames.iter().map(|frame| &frame.pixels).zip(&truth[first..]);
        let found = psnr(pairs);
        expect(found >= least, format!("{found} dB"));
        quality = if found.is_finite() { format!("{found:.0} dB") } else { "exact".to_owned() };
    }
    let format = case.format.map_or("", VideoFormat::name);
    let outcome = match message.strip_prefix("expected MP4, MOV or AVI").and_then(|rest| rest.split_once(", found ")) {
        Some((_, found)) => format!("needs ffmpeg: {found}"),
        None if message.is_empty() => "all frames".to_owned(),
        None => message,
    };
    let line =
        format!("| `{}` | {format} | {} | {} | {quality} | {outcome} |", case.file, reference(case), frames.len());
    (line, problems)
}

/// The number of frames that `FFmpeg` 8 shows, as it stands beside the files.
fn reference(case: &Case) -> String {
    let (folder, name) = case.file.split_once('/').unwrap();
    if folder != "broken" {
        // These files are made of 24 frames, of which one shows a part.
        return if case.format.is_some() { case.frames } else { 24 }.to_string();
    }
    let notes = fs::read_to_string(data("broken_reference_behaviour.txt")).unwrap();
    let line = notes.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no note about {name}"));
    let count = line.split_once(" frames ").and_then(|(_, rest)| rest.split(' ').next());
    count.unwrap_or("refused").to_owned()
}

#[test]
fn files_have_the_frames_and_the_errors_in_the_book() {
    let truth = true_frames();
    let (lines, problems): (Vec<_>, Vec<_>) = CASES.iter().map(|case| check(case, &truth)).unzip();
    let problems = problems.concat();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/video-input.md");
    let book = fs::read_to_string(book).unwrap();
    for line in &lines {
        assert!(book.contains(line), "the book lacks a line of the table, which is\n{}", lines.join("\n"));
    }
}

#[test]
fn every_file_has_a_line() {
    for folder in ["good", "broken", "more"] {
        for entry in fs::read_dir(data(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            let listed = CASES.iter().any(|case| case.file == name);
            assert!(listed || name.ends_with(".txt") || name.ends_with(".json"), "{name}");
        }
    }
}
