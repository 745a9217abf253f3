//! Strips and animations: what is in the files, pixel by pixel.

use std::fs::{self, File};
use std::io::BufReader;

use ndarray::{Array3, ArrayView3};
use pipeline::pictures::{ColourScale, Panel, PictureStyle, encode_overlay, encode_reel, write_animation, write_strip};

const RAIN: PictureStyle = PictureStyle { colours: ColourScale::Rain, magnification: 3, frame_hundredths: 20 };

/// The frames of a panel, distinct in every place.
fn frames(time: usize, shift: f32) -> Array3<f32> {
    Array3::from_shape_fn((time, 12, 16), |(t, y, x)| ((t * 192 + y * 16 + x) as f32 / 1000.0 + shift).fract())
}

/// The colours of a PNG file: height, width, and `[red, green, blue]` of each pixel in turn.
fn read_png(path: &std::path::Path) -> (usize, usize, Vec<[u8; 3]>) {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (info.height as usize, info.width as usize, pixels.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect())
}

/// Whether `frame` is drawn somewhere with the colours of its values, up to the steps of the palette.
fn find(
    picture: &(usize, usize, Vec<[u8; 3]>),
    frame: ArrayView3<'_, f32>,
    position: usize,
    style: &PictureStyle,
) -> Option<(usize, usize)> {
    let (height, width, pixels) = picture;
    let frame = frame.index_axis(ndarray::Axis(0), position);
    let close = |pixel: [u8; 3], value: f32| {
        let step = 0.6 / 253.0;
        [value - step, value, value + step].into_iter().any(|value| {
            style.colours.colour(value).iter().zip(pixel).all(|(&expected, found)| expected.abs_diff(found) <= 5)
        })
    };
    let (rows, columns) = frame.dim();
    let scale = style.magnification;
    let at = |top: usize, left: usize| {
        frame.indexed_iter().all(|((y, x), &value)| {
            let corners = [(0, 0), (scale - 1, scale - 1)];
            corners.iter().all(|(dy, dx)| close(pixels[(top + y * scale + dy) * width + left + x * scale + dx], value))
        })
    };
    (0..=height - rows * scale)
        .flat_map(|top| (0..=width - columns * scale).map(move |left| (top, left)))
        .find(|&(top, left)| at(top, left))
}

#[test]
fn a_strip_shows_every_frame_in_its_row() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("strip.png");
    let (input, truth) = (frames(4, 0.0), frames(3, 0.37));
    let panels = [Panel::new("input", input.view()).with_minutes(-6.0, 2.0), Panel::new("truth", truth.view())];
    write_strip(&path, &panels, &RAIN).unwrap();
    let picture = read_png(&path);
    let mut places = Vec::new();
    for panel in &panels {
        for position in 0..panel.frames.dim().0 {
            let place = find(&picture, panel.frames, position, &RAIN);
            places.push(place.unwrap_or_else(|| panic!("{} {position} is not in the picture", panel.label)));
        }
    }
    let (rows, columns): (Vec<usize>, Vec<usize>) = places.into_iter().unzip();
    assert!(rows[..4].iter().all(|&row| row == rows[0]) && rows[4..].iter().all(|&row| row == rows[4]));
    assert!(rows[4] > rows[0] + 12 * 3);
    assert!(columns[..4].is_sorted() && columns[4..] == columns[..3]);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["strip.png"], "no temporary file is left");
}

#[test]
fn an_animation_shows_the_panels_moment_by_moment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("film.gif");
    let (forecast, truth) = (frames(5, 0.0), frames(5, 0.37));
    let panels = [Panel::new("forecast", forecast.view()).with_minutes(2.0, 2.0), Panel::new("truth", truth.view())];
    write_animation(&path, &panels, &RAIN).unwrap();
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(File::open(&path).unwrap()).unwrap();
    assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
    let mut count = 0;
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert_eq!((frame.delay, frame.left, frame.top), (20, 0, 0));
        let pixels = frame.buffer.chunks_exact(4).map(|c| [c[0], c[1], c[2]]).collect();
        let picture = (usize::from(frame.height), usize::from(frame.width), pixels);
        let [left, right] = [forecast.view(), truth.view()]
            .map(|frames| find(&picture, frames, count, &RAIN).unwrap_or_else(|| panic!("frame {count} is missing")));
        assert!(left.0 == right.0 && left.1 + 16 * 3 <= right.1);
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn a_reel_holds_every_pixel_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reel.png");
    let shown = frames(5, 0.1);
    let style = PictureStyle { colours: ColourScale::Heat, magnification: 1, ..PictureStyle::default() };
    fs::write(&path, encode_reel(shown.view(), style.colours).unwrap()).unwrap();
    let reel = read_png(&path);
    assert_eq!((reel.0, reel.1), (12, 5 * 16));
    for position in 0..5 {
        assert_eq!(find(&reel, shown.view(), position, &style), Some((0, position * 16)), "frame {position}");
    }
    let refused = |frames: &Array3<f32>| encode_reel(frames.view(), style.colours).unwrap_err().to_string();
    assert_eq!(refused(&frames(0, 0.0)), "picture: frames of a panel: expected at least 1, found 0");
    assert_eq!(refused(&Array3::zeros((3, 0, 4))), "picture: height of frames: expected at least 1, found 0");
    assert!(refused(&frames(2000, 0.0)).contains("at most 16384"));
}

#[test]
fn an_overlay_hides_frames_by_their_shares() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("overlay.png");
    let shown = frames(2, 0.2);
    let shares =
        |dark: f32| Array3::from_shape_fn((2, 3, 4), |(t, y, x)| if (t, y, x) == (1, 2, 3) { 1.0 } else { dark });
    let draw = |shares: &Array3<f32>| {
        fs::write(&path, encode_overlay(shown.view(), shares.view(), 2).unwrap()).unwrap();
        let picture = read_png(&path);
        assert_eq!((picture.0, picture.1), (24, 64));
        picture
    };
    let grey = PictureStyle { magnification: 2, ..PictureStyle::default() };
    let none = draw(&Array3::zeros((2, 3, 4)));
    for position in 0..2 {
        assert_eq!(find(&none, shown.view(), position, &grey), Some((0, position * 32)), "frame {position}");
    }
    let one = draw(&shares(0.0));
    assert_eq!(find(&one, shown.view(), 0, &grey), Some((0, 0)), "the frame without shares stays grey");
    let pixel = |picture: &(usize, usize, Vec<[u8; 3]>), y: usize, x: usize| picture.2[y * 64 + x];
    // In the last corner of the second frame, four fifths of the grey are hidden by orange.
    let value = (shown[[1, 11, 15]] * 255.0).round();
    let expected = [255.0, 122.0, 24.0].map(|accent: f32| (value + 0.8 * (accent - value)).round() as u8);
    assert_eq!(pixel(&one, 23, 63), expected);
    let [red, green, blue] = pixel(&one, 0, 32);
    assert!(red == green && green == blue, "far from the share");
    assert_eq!(pixel(&draw(&shares(f32::NAN)), 23, 63), expected, "what is no number counts as 0");

    let (good, refused) = (shares(0.0), |frames: &Array3<f32>, shares: &Array3<f32>, magnification| {
        encode_overlay(frames.view(), shares.view(), magnification).unwrap_err().to_string()
    });
    let cases = [
        (refused(&frames(0, 0.0), &good, 2), "picture: frames: expected at least 1, found 0"),
        (refused(&shown, &Array3::zeros((2, 0, 4)), 2), "picture: rows of shares: expected at least 1, found 0"),
        (refused(&shown, &good, 0), "picture: magnification: expected at least 1, found 0"),
        (refused(&frames(3, 0.0), &good, 2), "picture: number of frames of panel `shares`: expected 3, found 2"),
        (refused(&shown, &good, 1000), "picture: 32000 × 12000 pixels; at most 16384 along each axis can be drawn"),
    ];
    for (found, message) in cases {
        assert_eq!(found, message);
    }
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("picture");
    let good = frames(3, 0.0);
    let (none, flat, long, small) =
        (frames(0, 0.0), Array3::zeros((3, 0, 16)), frames(4, 0.0), Array3::zeros((3, 12, 15)));
    let style = PictureStyle::default();
    let strip = |frames: &Array3<f32>, style: &PictureStyle| {
        write_strip(&path, &[Panel::new("a", frames.view())], style).unwrap_err().to_string()
    };
    let film = |frames: &Array3<f32>| {
        let panels = [Panel::new("a", good.view()), Panel::new("b", frames.view())];
        write_animation(&path, &panels, &style).unwrap_err().to_string()
    };
    let large = |magnification| PictureStyle { magnification, ..style.clone() };
    let cases = [
        (write_strip(&path, &[], &style).unwrap_err().to_string(), "picture: panels: expected at least 1, found 0"),
        (write_animation(&path, &[], &style).unwrap_err().to_string(), "picture: panels: expected at least 1, found 0"),
        (strip(&none, &style), "picture: frames of a panel: expected at least 1, found 0"),
        (strip(&flat, &style), "picture: height of frames: expected at least 1, found 0"),
        (strip(&good, &large(0)), "picture: magnification: expected at least 1, found 0"),
        (strip(&good, &large(1000)), "picture: 48030 × 12042 pixels; at most 16384 along each axis can be drawn"),
        (film(&long), "picture: number of frames of panel `b`: expected 3, found 4"),
        (film(&small), "picture: width of panel `b`: expected 16, found 15"),
    ];
    for (found, message) in cases {
        assert_eq!(found, message);
    }
    assert!(strip(&good, &large(usize::MAX)).contains("at most 16384"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is written");
    let error = write_strip(&directory.path().join("none/x.png"), &[Panel::new("a", good.view())], &style).unwrap_err();
    assert!(error.to_string().contains("none/x.png: "), "{error}");
}

#[test]
fn odd_values_and_texts_can_be_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let mut odd = frames(2, 0.0);
    (odd[[0, 0, 0]], odd[[0, 1, 1]], odd[[1, 2, 2]]) = (f32::NAN, f32::NEG_INFINITY, 7.0);
    let panel = Panel { label: "Süd ☔\n", frames: odd.view(), captions: vec!["x".repeat(5000)] };
    let style = PictureStyle { magnification: 1, ..PictureStyle::default() };
    write_strip(&directory.path().join("odd.png"), std::slice::from_ref(&panel), &style).unwrap();
    let shown = read_png(&directory.path().join("odd.png"));
    assert!(shown.1 > 240);
}
