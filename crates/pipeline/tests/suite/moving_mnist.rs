//! Clips of moving digits.

use std::collections::BTreeSet;
use std::f64::consts::TAU;
use std::sync::LazyLock;

use ndarray::{Array3, Array4, Axis, s};
use pipeline::data::{DigitPart, DigitTrack, Digits, MovingMnist, MovingMnistConfig};
use proptest::prelude::*;
use tensor_ops::testing::{assert_all_close, assert_independent_of_threads, load_fixture};

static TRAINING: LazyLock<Digits> = LazyLock::new(|| Digits::bundled(DigitPart::Training).unwrap());
static TEST: LazyLock<Digits> = LazyLock::new(|| Digits::bundled(DigitPart::Test).unwrap());

fn clips(config: MovingMnistConfig, seed: u64) -> MovingMnist<'static> {
    MovingMnist::new(&TEST, config, seed).unwrap()
}

fn usual() -> MovingMnist<'static> {
    clips(MovingMnistConfig::default(), 1)
}

#[test]
fn tracks_are_those_of_the_published_rules() {
    let fixture = load_fixture(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/moving_digits.safetensors"));
    let (start, angle) = (fixture.array::<f64>("start"), fixture.array::<f64>("angle"));
    let (positions, corners) = (fixture.array::<f64>("positions"), fixture.indices("corners"));
    let [tracks, frames, _] = positions.shape()[..] else { panic!("three axes") };
    let mut found = Vec::new();
    let ours = Array3::from_shape_vec(
        (tracks, frames, 2),
        (0..tracks)
            .flat_map(|index| {
                let track = DigitTrack::new(0, [start[[index, 0]], start[[index, 1]]], angle[[index]], 0.1, frames);
                found.extend((0..frames).flat_map(|frame| track.corner(frame, 36)));
                track.positions.concat()
            })
            .collect(),
    );
    assert_all_close(&ours.unwrap().into_dyn(), &positions, 0.0, 1e-12);
    assert_eq!(found, corners);
}

#[test]
fn frames_show_the_brighter_of_the_digits_where_the_tracks_say() {
    for (canvas, digits) in [(64, 2), (40, 3), (28, 2), (64, 1)] {
        let config = MovingMnistConfig { canvas, digits, frames: 7, ..MovingMnistConfig::default() };
        let clips = clips(config, 5);
        for number in 0..4 {
            let tracks = clips.tracks(number);
            assert_eq!(tracks.len(), digits);
            let expected = Array3::from_shape_fn((7, canvas, canvas), |(frame, row, column)| {
                let pixel = |track: &DigitTrack| {
                    let [top, left] = track.corner(frame, canvas - 28);
                    let inside = (top..top + 28).contains(&row) && (left..left + 28).contains(&column);
                    if inside { TEST.images()[[track.digit, row - top, column - left]] } else { 0 }
                };
                tracks.iter().map(pixel).max().unwrap()
            });
            let clip = clips.clip(number);
            assert_eq!(clip, expected, "canvas {canvas}, clip {number}");
            let batch = clips.batch(number..number + 1);
            assert_eq!(batch.index_axis(Axis(0), 0), clip.mapv(|pixel| f32::from(pixel) / 255.0));
        }
    }
}

#[test]
fn digits_move_before_they_are_drawn() {
    let track = DigitTrack::new(3, [0.5, 0.5], 0.0, 0.1, 1);
    assert_eq!((track.digit, track.corner(0, 36)), (3, [18, 21]));
}

#[test]
fn corners_are_cut_off_to_whole_pixels() {
    let track = |start| DigitTrack::new(0, start, 0.0, 0.0, 1).corner(0, 36);
    assert_eq!(track([0.9999, 0.0277]), [35, 0]);
    assert_eq!(track([1.0, 0.0278]), [36, 1]);
}

#[test]
fn clips_depend_on_seed_number_and_part_alone() {
    let (first, again) = (usual(), usual());
    let late = again.clip(1000);
    assert_eq!(first.batch(0..4).slice(s![2, .., .., ..]), again.batch(2..3).slice(s![0, .., .., ..]));
    assert_eq!(first.clip(1000), late);
    assert_ne!(first.clip(0), first.clip(1));
    assert_ne!(first.clip(0), clips(MovingMnistConfig::default(), 2).clip(0));

    let longer = clips(MovingMnistConfig { frames: 30, ..MovingMnistConfig::default() }, 1);
    assert_eq!(longer.clip(3).slice(s![..20, .., ..]), first.clip(3));
    let more = clips(MovingMnistConfig { digits: 5, ..MovingMnistConfig::default() }, 1);
    assert_eq!(more.tracks(3)[..2], first.tracks(3));

    let training = MovingMnist::new(&TRAINING, MovingMnistConfig::default(), 1).unwrap();
    assert_ne!(training.tracks(0)[0].positions, first.tracks(0)[0].positions);
}

#[test]
#[cfg(target_pointer_width = "64")]
fn clips_of_large_numbers_are_new_ones() {
    for part in [&*TRAINING, &*TEST] {
        let clips = MovingMnist::new(part, MovingMnistConfig::default(), 1).unwrap();
        let numbers = [0, 1, 1 << 32, 2 << 32, 1 << 58, (1 << 32) + 1];
        let tracks: Vec<_> = numbers.iter().map(|&number| clips.tracks(number)).collect();
        for (index, track) in tracks.iter().enumerate() {
            assert!(!tracks[..index].contains(track), "clip {}", numbers[index]);
        }
    }
}

#[test]
fn starts_directions_and_digits_are_evenly_spread() {
    const TRACKS: usize = 20_000;
    let config = MovingMnistConfig { digits: 1, frames: 2, step: 1e-6, ..MovingMnistConfig::default() };
    let clips = clips(config, 3);
    let mut quarters = [[0_usize; 4]; 4];
    let mut digits = BTreeSet::new();
    let mut labels = [0_usize; 10];
    for number in 0..TRACKS {
        let DigitTrack { digit, positions } = clips.tracks(number).remove(0);
        let angle = (positions[1][0] - positions[0][0]).atan2(positions[1][1] - positions[0][1]).rem_euclid(TAU);
        let quarter = |part: f64| ((part * 4.0) as usize).min(3);
        for (counts, part) in quarters.iter_mut().zip([positions[0][0], positions[0][1], angle / TAU]) {
            counts[quarter(part)] += 1;
        }
        quarters[3][digit * 4 / 10_000] += 1;
        digits.insert(digit);
        labels[usize::from(TEST.labels()[digit])] += 1;
    }
    // Five standard deviations of a count with the probability of a quarter.
    let tolerance = (5.0 * (TRACKS as f64 * 0.25 * 0.75).sqrt()) as usize;
    for count in quarters.iter().flatten() {
        assert!(count.abs_diff(TRACKS / 4) < tolerance, "{quarters:?}");
    }
    // Of draws with replacement, as many as 1 − e⁻² of the images are expected.
    assert!(digits.len().abs_diff(8647) < 150, "{} images", digits.len());
    assert!(labels.iter().all(|&count| count > TRACKS / 20), "{labels:?}");
}

#[test]
fn wrong_values_are_refused() {
    let config = MovingMnistConfig::default;
    let cases = [
        (MovingMnistConfig { digits: 0, ..config() }, "`data.digits` must be from 1 to 100, found 0"),
        (MovingMnistConfig { digits: 101, ..config() }, "`data.digits` must be from 1 to 100, found 101"),
        (MovingMnistConfig { frames: 0, ..config() }, "`data.frames` must be from 1 to 1000, found 0"),
        (MovingMnistConfig { frames: 1001, ..config() }, "`data.frames` must be from 1 to 1000, found 1001"),
        (MovingMnistConfig { canvas: 27, ..config() }, "`data.canvas` must be from 28 to 512 pixels, found 27"),
        (MovingMnistConfig { canvas: 513, ..config() }, "`data.canvas` must be from 28 to 512 pixels, found 513"),
        (MovingMnistConfig { step: -0.1, ..config() }, "`data.step` must be a number from 0 to 1, found -0.1"),
        (MovingMnistConfig { step: 1.5, ..config() }, "`data.step` must be a number from 0 to 1, found 1.5"),
        (MovingMnistConfig { step: f64::NAN, ..config() }, "`data.step` must be a number from 0 to 1, found NaN"),
    ];
    for (config, message) in cases {
        assert_eq!(MovingMnist::new(&TEST, config, 1).unwrap_err().to_string(), message);
    }
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    assert_independent_of_threads(|| vec![usual().batch(3..14).into_dyn()]);
    assert_eq!(usual().batch(5..5), Array4::<f32>::zeros((0, 20, 64, 64)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn digits_keep_their_speed_inside_and_reverse_at_borders(
        row in 0.0..1.0, column in 0.0..1.0, angle in 0.0..TAU, step in 0.001..0.9,
    ) {
        let track = DigitTrack::new(0, [row, column], angle, step, 60);
        for axis in 0..2 {
            let speed = step * if axis == 0 { angle.sin() } else { angle.cos() };
            // The velocity that the positions up to here imply: it changes its sign at a border and at no other time.
            let (mut velocity, mut before) = (speed, [row, column][axis]);
            for (frame, position) in track.positions.iter().enumerate() {
                let now = position[axis];
                prop_assert!((0.0..=1.0).contains(&now), "frame {}: {}", frame, now);
                if now > 0.0 && now < 1.0 {
                    prop_assert!((now - before - velocity).abs() < 1e-12, "frame {}: {} to {}", frame, before, now);
                } else {
                    let beyond = before + velocity;
                    let outside = if now == 0.0 { beyond <= 1e-12 } else { beyond >= 1.0 - 1e-12 };
                    prop_assert!(outside, "frame {}: {} to {}", frame, before, now);
                    velocity = -velocity;
                }
                before = now;
            }
        }
        for (frame, pair) in track.positions.windows(2).enumerate() {
            let moved = (pair[1][0] - pair[0][0]).hypot(pair[1][1] - pair[0][1]);
            let inside = pair[1].iter().all(|position| *position > 0.0 && *position < 1.0);
            prop_assert!(moved <= step + 1e-12 && (!inside || moved >= step - 1e-12), "frame {}: {}", frame, moved);
        }
    }

    #[test]
    fn any_clip_fits_its_canvas(
        canvas in 28_usize..90, digits in 1_usize..4, frames in 1_usize..12, step in 0.0..1.0, number in any::<usize>(),
    ) {
        let config = MovingMnistConfig { digits, frames, canvas, step };
        let clips = clips(config.clone(), 9);
        prop_assert_eq!(clips.clip(number).dim(), (frames, canvas, canvas));
        prop_assert_eq!(clips.config(), &config);
        for track in clips.tracks(number) {
            for frame in 0..frames {
                prop_assert!(track.corner(frame, canvas - 28).iter().all(|corner| corner + 28 <= canvas));
            }
        }
    }
}
