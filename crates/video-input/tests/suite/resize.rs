//! Sizes, crops and bars.

use ndarray::{Array3, ArrayView3, Axis, s};
use video_input::{Crop, ResizeFilter, Resizer};

fn resized(frame: ArrayView3<'_, u8>, size: [usize; 2], crop: Crop, filter: ResizeFilter) -> Array3<u8> {
    Resizer::new(size, crop, filter).resize(frame).unwrap()
}

/// A frame whose red is the column and whose green is the row, times four.
fn ramps(height: usize, width: usize) -> Array3<u8> {
    Array3::from_shape_fn((height, width, 3), |(y, x, channel)| [4 * x, 4 * y, 77][channel] as u8)
}

#[test]
fn flat_frames_stay_flat() {
    let frame = Array3::from_shape_fn((30, 40, 3), |(_, _, channel)| [9, 130, 255][channel]);
    let crops = [Crop::Stretch, Crop::Centre { ratio: 0.7 }, Crop::Centre { ratio: 1.0 }];
    use ResizeFilter::{Bilinear, Box, CatmullRom, Lanczos3, Nearest};
    for crop in crops {
        for filter in [Nearest, Box, Bilinear, CatmullRom, Lanczos3] {
            for size in [[7, 5], [60, 20], [30, 40], [1, 1]] {
                let found = resized(frame.view(), size, crop, filter);
                assert_eq!(found.dim(), (size[0], size[1], 3));
                let flat = found.lanes(Axis(2)).into_iter().all(|pixel| pixel.iter().eq(&[9, 130, 255]));
                assert!(flat, "{crop:?} {filter:?} {size:?}");
            }
        }
    }
}

#[test]
fn frames_of_the_size_asked_for_are_unchanged() {
    let frame = ramps(20, 30);
    for crop in [Crop::Stretch, Crop::Centre { ratio: 1.0 }, Crop::Letterbox] {
        assert_eq!(resized(frame.view(), [20, 30], crop, ResizeFilter::Bilinear), frame, "{crop:?}");
    }
    let reversed = frame.slice(s![..;-1, .., ..]);
    assert_eq!(resized(reversed, [20, 30], Crop::Stretch, ResizeFilter::CatmullRom), reversed);
}

#[test]
fn the_middle_is_cut_out() {
    // Of 40x60 pixels, a ratio of one half leaves the middle 20x20, and one the middle 40x40.
    let frame = ramps(40, 60);
    let half = resized(frame.view(), [20, 20], Crop::Centre { ratio: 0.5 }, ResizeFilter::Bilinear);
    assert_eq!(half, frame.slice(s![10..30, 20..40, ..]));
    let whole = resized(frame.view(), [40, 40], Crop::Centre { ratio: 1.0 }, ResizeFilter::Bilinear);
    assert_eq!(whole, frame.slice(s![.., 10..50, ..]));
    // A wide result of a tall frame: 60x40 covers [10, 40] at its own scale.
    let wide = resized(frame.slice(s![.., ..40, ..]), [10, 40], Crop::Centre { ratio: 1.0 }, ResizeFilter::Box);
    assert_eq!(wide, frame.slice(s![15..25, ..40, ..]));
}

#[test]
fn means_are_taken_when_frames_shrink() {
    let frame = Array3::from_shape_fn((4, 4, 3), |(y, x, _)| if (y + x) % 2 == 0 { 0 } else { 200 });
    assert_eq!(resized(frame.view(), [2, 2], Crop::Stretch, ResizeFilter::Box), Array3::from_elem((2, 2, 3), 100));
    // A linear filter of twice the size, weights 1 3 3 1 of 8, halves a ramp between its pixels.
    let ramp = Array3::from_shape_fn((1, 8, 3), |(_, x, _)| (16 * x) as u8);
    let halved = resized(ramp.view(), [1, 4], Crop::Stretch, ResizeFilter::Bilinear);
    assert_eq!(halved.slice(s![0, 1..3, 0]).to_vec(), [40, 72]);
}

#[test]
fn bars_fill_what_the_frame_leaves() {
    let frame = Array3::from_elem((20, 40, 3), 90);
    let cases =
        [([40, 40], [10..30, 0..40]), ([20, 60], [0..20, 10..50]), ([10, 10], [2..7, 0..10]), ([9, 1], [4..5, 0..1])];
    for (size, [rows, columns]) in cases {
        let found = resized(frame.view(), size, Crop::Letterbox, ResizeFilter::Bilinear);
        let mut expected = Array3::zeros((size[0], size[1], 3));
        expected.slice_mut(s![rows, columns, ..]).fill(90);
        assert_eq!(found, expected, "{size:?}");
    }
}

#[test]
fn frames_without_pixels_are_refused() {
    let good = Array3::zeros((4, 4, 3));
    let thin = Array3::zeros((4, 0, 3));
    let grey = Array3::zeros((4, 4, 1));
    let cases: [(&Array3<u8>, [usize; 2], Crop, &str); 7] = [
        (&thin, [2, 2], Crop::Stretch, "frame: expected sides of 1 to 32768 pixels, found 4x0"),
        (&good, [0, 2], Crop::Stretch, "size: expected sides of 1 to 32768 pixels, found 0x2"),
        (&good, [2, 40_000], Crop::Letterbox, "size: expected sides of 1 to 32768 pixels, found 2x40000"),
        (&grey, [2, 2], Crop::Stretch, "frame: expected three colours, found 1"),
        (&good, [2, 2], Crop::Centre { ratio: 0.0 }, "crop.ratio: expected a number above 0 and at most 1, found 0"),
        (&good, [2, 2], Crop::Centre { ratio: 1.5 }, "crop.ratio: expected a number above 0 and at most 1, found 1.5"),
        (
            &good,
            [2, 2],
            Crop::Centre { ratio: f64::NAN },
            "crop.ratio: expected a number above 0 and at most 1, found NaN",
        ),
    ];
    for (frame, size, crop, message) in cases {
        let error = Resizer::new(size, crop, ResizeFilter::Bilinear).resize(frame.view()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}
