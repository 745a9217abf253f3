//! Frames that are stored without motion: raw, arrays, and folders of pictures.

use std::fs;
use std::path::Path;

use image::{GrayImage, RgbImage};
use ndarray::{Array3, Array4, Axis, ShapeBuilder, s};
use ndarray_npy::{WriteNpyExt, write_npy};
use tempfile::tempdir;
use video_input::{Frame, OnError, OpenOptions, PixelFormat, VideoFormat, is_video, open, read_raw};

use crate::common::{drain, options, read};

fn film() -> Array4<u8> {
    Array4::from_shape_fn((5, 4, 6, 3), |(t, y, x, c)| (t * 50 + y * 7 + x * 3 + c * 11) as u8)
}

fn assert_film(frames: &[Frame], expected: &Array4<u8>) {
    assert_eq!(frames.len(), expected.dim().0);
    for (index, (frame, expected)) in frames.iter().zip(expected.outer_iter()).enumerate() {
        assert_eq!(frame.pixels, expected);
        assert_eq!((frame.index, frame.time), (index as u64, index as f64 / 25.0));
    }
}

#[test]
fn raw_frames_are_read() {
    let bytes = film().into_raw_vec_and_offset().0;
    let read = |bytes: Vec<u8>, on_error| {
        let reader = std::io::Cursor::new(bytes);
        let mut video = read_raw(reader, 6, 4, PixelFormat::Rgb24, 25.0, &options(on_error)).unwrap();
        drain(&mut *video)
    };
    let (frames, error) = read(bytes.clone(), OnError::Stop);
    assert!(error.is_none());
    assert_film(&frames, &film());
    let (frames, error) = read(bytes[..200].to_vec(), OnError::Stop);
    assert_film(&frames, &film().slice_move(s![..2, .., .., ..]));
    assert_eq!(error.unwrap().to_string(), "<stream>: damaged raw frames, frame 2: expected 72 bytes, found 56");
    let refuse = |width, height, rate| {
        let result = read_raw(&[][..], width, height, PixelFormat::Gray8, rate, &OpenOptions::default());
        result.err().expect("the stream is refused").to_string()
    };
    assert_eq!(refuse(6, 4, 0.0), "frame_rate: expected a positive number of frames per second, found 0");
    assert_eq!(refuse(6, 4, f64::NAN), "frame_rate: expected a positive number of frames per second, found NaN");
    assert_eq!(refuse(0, 4, 1.0), "<stream>: damaged raw frames: expected at least one pixel, found frames of 4x0");
    let expected = format!("<stream>: expected frames of at most 67108864 pixels, found 4x{}", usize::MAX);
    assert_eq!(refuse(usize::MAX, 4, 1.0), expected);
}

#[test]
fn arrays_are_read_in_all_layouts() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("film.npy");
    let film = film();
    let grey = film.index_axis(Axis(3), 1).to_owned();
    let grey_film = grey.clone().insert_axis(Axis(3)).broadcast((5, 4, 6, 3)).unwrap().to_owned();
    let planes = film.view().permuted_axes([0, 3, 1, 2]).as_standard_layout().to_owned();
    let check = |expected: &Array4<u8>, name: &str| {
        let (frames, error) = read(&path, &OpenOptions::default());
        assert!(error.is_none(), "{name}");
        assert_film(&frames, expected);
        let mut video = open(&path, &OpenOptions::default()).unwrap();
        assert_eq!((video.info().format, video.info().frames), (VideoFormat::Npy, Some(5)));
        let mut frame = Frame::default();
        assert_eq!(video.skip(3).unwrap(), 3);
        assert!(video.next_frame(&mut frame).unwrap());
        assert_eq!((frame.index, frame.pixels.view()), (3, expected.index_axis(Axis(0), 3)), "{name}");
        assert_eq!(video.skip(9).unwrap(), 1);
    };
    write_npy(&path, &film).unwrap();
    check(&film, "colours last");
    write_npy(&path, &planes).unwrap();
    check(&film, "colours first");
    write_npy(&path, &grey).unwrap();
    check(&grey_film, "grey");
    write_npy(&path, &grey.clone().insert_axis(Axis(3))).unwrap();
    check(&grey_film, "grey with an axis behind");
    write_npy(&path, &grey.insert_axis(Axis(1))).unwrap();
    check(&grey_film, "grey with an axis before");
}

#[test]
fn wrong_arrays_are_refused() {
    fn encoded(array: &impl WriteNpyExt) -> Vec<u8> {
        let mut content = Vec::new();
        array.write_npy(&mut content).unwrap();
        content
    }
    let good = encoded(&film());
    let mut fortran = Array3::<u8>::zeros((2, 3, 4).f());
    fortran.fill(1);
    let header = |shape: &str| {
        let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
    };
    let shapes = "an array [time, height, width], [time, height, width, 3] or [time, 3, height, width]";
    let cases: [(Vec<u8>, usize, String); 9] = [
        (encoded(&film().mapv(f32::from)), 0, "expected elements of type u8 (`|u1`), found `<f4`".into()),
        (encoded(&Array4::<u8>::zeros((2, 4, 5, 6))), 0, format!("expected {shapes}, found shape [2, 4, 5, 6]")),
        (
            encoded(&Array3::<u8>::zeros((0, 4, 5))),
            0,
            "expected at least one frame, found none in the .npy file".into(),
        ),
        (encoded(&fortran), 0, "expected an array in C order, found one in Fortran order".into()),
        (good[..30].to_vec(), 0, "damaged .npy file: it ends within its header".into()),
        (
            [&good[..], &[1]].concat(),
            0,
            "damaged .npy file: shape [5, 4, 6, 3] takes 360 bytes after the header, found 361".into(),
        ),
        (good[..good.len() - 1].to_vec(), 4, "damaged .npy file, frame 4: expected 72 bytes, found 71".into()),
        (header("(9, 0, 4)"), 0, "damaged .npy file: expected at least one pixel, found frames of 0x4".into()),
        (
            header("(18446744073709551615, 18446744073709551615, 2)"),
            0,
            "expected frames of at most 67108864 pixels, found 18446744073709551615x2".into(),
        ),
    ];
    let folder = tempdir().unwrap();
    let path = folder.path().join("film.npy");
    for (content, count, message) in cases {
        fs::write(&path, content).unwrap();
        let (frames, error) = read(&path, &OpenOptions::default());
        assert_eq!(error.unwrap().to_string(), format!("{}: {message}", path.display()));
        assert_eq!(frames.len(), count);
    }
}

fn write_picture(path: &Path, frame: &Array3<u8>) {
    let (height, width, _) = frame.dim();
    let pixels = frame.iter().copied().collect();
    RgbImage::from_raw(width as u32, height as u32, pixels).unwrap().save(path).unwrap();
}

#[test]
fn folders_are_read_in_natural_order() {
    let folder = tempdir().unwrap();
    let film = film();
    for (frame, name) in film.outer_iter().zip(["f1.png", "f2.PNG", "f03.png", "f9.png", "f10.png"]) {
        write_picture(&folder.path().join(name), &frame.to_owned());
    }
    fs::write(folder.path().join("notes.txt"), "not a picture").unwrap();
    fs::write(folder.path().join("._f1.png"), "not a picture either").unwrap();
    let (frames, error) = read(folder.path(), &OpenOptions::default());
    assert!(error.is_none());
    assert_film(&frames, &film);

    GrayImage::from_pixel(6, 4, [200].into()).save(folder.path().join("f11.png")).unwrap();
    let (frames, _) = read(folder.path(), &OpenOptions::default());
    assert_eq!(frames[5].pixels, Array3::from_elem((4, 6, 3), 200));

    fs::write(folder.path().join("f9.png"), "damage").unwrap();
    write_picture(&folder.path().join("f12.png"), &Array3::zeros((6, 4, 3)));
    let (frames, error) = read(folder.path(), &OpenOptions::default());
    let damaged = folder.path().join("f9.png");
    let message = format!("{}: expected a PNG or JPEG picture, found something else", damaged.display());
    assert_eq!((frames.len(), error.unwrap().to_string()), (3, message));
    let (frames, error) = read(folder.path(), &options(OnError::Skip));
    assert!(error.is_none());
    assert_eq!(frames.iter().map(|frame| frame.index).collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
    let mut video = open(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(video.skip(6).unwrap(), 6);
    let error = video.next_frame(&mut Frame::default()).unwrap_err().to_string();
    assert!(error.ends_with("f12.png: frame 6: expected 4x6 pixels as before, found 6x4"), "{error}");
}

#[test]
fn what_is_no_video_is_refused() {
    let folder = tempdir().unwrap();
    let message = |path: &Path| open(path, &OpenOptions::default()).err().expect("it is refused").to_string();
    assert!(message(folder.path()).ends_with("expected at least one frame, found none in the images"));
    assert!(message(&folder.path().join("none.mp4")).contains("none.mp4: "));
    let empty = folder.path().join("empty.mp4");
    fs::write(&empty, "").unwrap();
    assert_eq!(message(&empty), format!("{}: expected a video, found an empty file", empty.display()));
    for (name, video) in [("a.mp4", true), ("b.GIF", true), ("c.h264", true), ("d.png", false), ("mp4", false)] {
        assert_eq!(is_video(Path::new(name)), video, "{name}");
    }
}
