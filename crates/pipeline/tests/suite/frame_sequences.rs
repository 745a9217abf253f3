//! A person's own frames: files, windows, and random variations.

use std::fs;
use std::path::PathBuf;

use ndarray::{Array3, Array4, Axis, ShapeBuilder, s};
use ndarray_npy::{WriteNpyExt, write_npy};
use pipeline::data::{FrameSequences, SequenceDraw, SequenceVariationConfig, Symmetry};
use pipeline::random::{Purpose, generator};
use proptest::prelude::*;
use tempfile::TempDir;
use tensor_ops::testing::with_threads;

const SHAPE: (usize, usize, usize, usize) = (3, 7, 4, 5);

fn bytes() -> Array4<u8> {
    Array4::from_shape_fn(SHAPE, |(n, t, y, x)| (n * 83 + t * 31 + y * 7 + x) as u8)
}

fn floats() -> Array4<f32> {
    bytes().mapv(|byte| f32::from(byte) / 255.0)
}

/// Writes `content` to a file and reads it.
fn read(content: &[u8], min_frames: usize) -> (TempDir, PathBuf, Result<FrameSequences, String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("frames.npy");
    fs::write(&path, content).unwrap();
    let result = FrameSequences::read_npy(&path, min_frames).map_err(|error| error.to_string());
    (directory, path, result)
}

fn encoded(array: &impl WriteNpyExt) -> Vec<u8> {
    let mut content = Vec::new();
    array.write_npy(&mut content).unwrap();
    content
}

fn header(descriptor: &str, fortran: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{descriptor}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn files_of_both_types_ranks_and_orders_are_read() {
    let mut fortran = Array4::<f32>::zeros(SHAPE.f());
    fortran.assign(&floats());
    let mut fortran_bytes = Array4::<u8>::zeros(SHAPE.f());
    fortran_bytes.assign(&bytes());
    let big_endian: Vec<u8> = floats().iter().flat_map(|value| value.to_be_bytes()).collect();
    let big_endian = [header(">f4", "False", "(3, 7, 4, 5)"), big_endian].concat();
    let contents = [
        ("u8", encoded(&bytes())),
        ("f32", encoded(&floats())),
        ("f32 in Fortran order", encoded(&fortran)),
        ("u8 in Fortran order", encoded(&fortran_bytes)),
        ("big-endian f32", big_endian),
    ];
    for (name, content) in contents {
        let (_directory, _, sequences) = read(&content, 7);
        let sequences = sequences.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((sequences.count(), sequences.length(), sequences.size()), (3, 7, [4, 5]), "{name}");
        assert_eq!(sequences.windows(&[0, 1, 2], 0, 7), floats(), "{name}");
        assert_eq!(sequences.window(1, 2, 3), floats().slice(s![1, 2..5, .., ..]), "{name}");
    }
    let one = floats().index_axis_move(Axis(0), 1);
    let (_directory, _, sequences) = read(&encoded(&one), 1);
    let sequences = sequences.unwrap();
    assert_eq!((sequences.count(), sequences.length()), (1, 7));
    assert_eq!(sequences.window(0, 0, 7), one);
    assert_eq!(FrameSequences::from_bytes(bytes()).windows(&[2, 0], 1, 2), {
        floats().select(Axis(0), &[2, 0]).slice_move(s![.., 1..3, .., ..])
    });
}

#[test]
fn large_floats_are_read_through_the_buffer() {
    let frames = Array3::from_shape_fn((9, 61, 67), |(t, y, x)| ((t * 61 + y) * 67 + x) as f32 / 40_000.0);
    let (_directory, _, sequences) = read(&encoded(&frames), 1);
    assert_eq!(sequences.unwrap().window(0, 0, 9), frames);
}

#[test]
fn wrong_files_are_refused() {
    let with = |value: f32| {
        let mut frames = floats();
        frames[[2, 1, 3, 4]] = value;
        encoded(&frames)
    };
    let good = encoded(&bytes());
    let cut = |end: usize| good[..end].to_vec();
    let longer = [good.clone(), vec![0]].concat();
    let doubles = encoded(&floats().mapv(f64::from));
    let flat = encoded(&bytes().into_shape_with_order((21, 20)).unwrap());
    let five = encoded(&bytes().insert_axis(Axis(2)));
    let none = encoded(&Array3::<u8>::zeros((0, 4, 5)));
    let huge = header("|u1", "False", "(18446744073709551615, 7, 18446744073709551615, 5)");
    let large = [header("<f4", "False", "(1000000, 1000, 1000, 1000)"), vec![0; 100]].concat();
    let cases: [(Vec<u8>, usize, &str); 17] = [
        (Vec::new(), 1, "not a complete .npy file: it does not begin as one"),
        (b"GIF89a".to_vec(), 1, "not a complete .npy file: it does not begin as one"),
        (cut(40), 1, "not a complete .npy file: it ends within its header"),
        (cut(good.len() - 1), 1, "an array of shape [3, 7, 4, 5] takes 420 bytes after the header, found 419"),
        (longer, 1, "an array of shape [3, 7, 4, 5] takes 420 bytes after the header, found 421"),
        (
            large,
            1,
            "an array of shape [1000000, 1000, 1000, 1000] takes 4000000000000000 bytes after the header, found 100",
        ),
        (
            huge,
            1,
            "an array of shape [18446744073709551615, 7, 18446744073709551615, 5] takes \
             340282366920938463463374607431768211455 bytes after the header, found 0",
        ),
        (doubles, 1, "expected elements of type u8 (`|u1`) or f32 (`<f4`, `>f4`), found `<f8`"),
        (flat, 1, "expected an array [sequences, time, height, width] or [time, height, width], found shape [21, 20]"),
        (
            five,
            1,
            "expected an array [sequences, time, height, width] or [time, height, width], found shape [3, 7, 1, 4, 5]",
        ),
        (none, 0, "expected at least one entry along every axis, found shape [0, 4, 5]"),
        (good.clone(), 20, "expected at least 20 frames per sequence, found 7"),
        (with(f32::NAN), 1, "value at [2, 1, 3, 4]: expected a number from 0 to 1, found NaN"),
        (with(f32::INFINITY), 1, "value at [2, 1, 3, 4]: expected a number from 0 to 1, found inf"),
        (with(17.5), 1, "value at [2, 1, 3, 4]: expected a number from 0 to 1, found 17.5"),
        (with(-0.25), 1, "value at [2, 1, 3, 4]: expected a number from 0 to 1, found -0.25"),
        (
            header("|O", "False", "(3, 7, 4, 5)"),
            1,
            "expected elements of type u8 (`|u1`) or f32 (`<f4`, `>f4`), found `|O`",
        ),
    ];
    for (content, min_frames, message) in cases {
        let (_directory, path, result) = read(&content, min_frames);
        assert_eq!(result.unwrap_err(), format!("{}: {message}", path.display()));
    }
    let missing = tempfile::tempdir().unwrap().path().join("none.npy");
    let error = FrameSequences::read_npy(&missing, 1).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", missing.display())), "{error}");
}

#[test]
fn data_are_held_out_at_the_end() {
    let sequences = FrameSequences::from_bytes(bytes());
    let (training, test) = sequences.hold_out(0.34, 7).unwrap();
    assert_eq!((training.count(), test.count()), (2, 1));
    assert_eq!(test.window(0, 0, 7), floats().index_axis(Axis(0), 2));
    assert_eq!(sequences.hold_out(0.0, 7).unwrap().1.count(), 1, "never without a test");
    assert_eq!(sequences.hold_out(1.0, 7).unwrap().0.count(), 1, "never without training");
    assert_eq!(sequences.hold_out(0.34, 8), None);
    let film = sequences.select(&[1]);
    let (training, test) = film.hold_out(0.3, 2).unwrap();
    assert_eq!((training.length(), test.length()), (5, 2));
    assert_eq!(test.window(0, 0, 2), floats().slice(s![1, 5.., .., ..]));
    assert_eq!(film.hold_out(f64::NAN, 3).unwrap().1.length(), 3);
    assert_eq!(film.hold_out(0.5, 4), None);
}

#[test]
fn variations_are_windows_under_symmetries() {
    let config = SequenceVariationConfig::default();
    let mut seen = std::collections::BTreeSet::new();
    for epoch in 0..400 {
        let draw = config.draw(36, 33, [8, 8], &mut generator(1, Purpose::Augmentation, epoch, 0));
        assert_eq!(draw.length, 33);
        let symmetry = Symmetry::ALL.iter().position(|&symmetry| symmetry == draw.symmetry).unwrap();
        seen.insert((draw.first, symmetry));
        let oblong = config.draw(36, 33, [8, 9], &mut generator(1, Purpose::Augmentation, epoch, 0));
        assert!(!oblong.symmetry.transpose, "an oblong frame keeps its shape");
        let none =
            SequenceVariationConfig::NONE.draw(36, 33, [8, 8], &mut generator(1, Purpose::Augmentation, epoch, 0));
        assert_eq!(none, SequenceDraw { first: 0, length: 33, symmetry: Symmetry::IDENTITY });
    }
    assert_eq!(seen.len(), 4 * 8, "every window under every symmetry");
    assert!(seen.iter().all(|&(first, _)| first <= 3));

    let frames = floats();
    let frames = frames.index_axis(Axis(0), 0);
    let turn = Symmetry { transpose: true, flip_rows: false, flip_columns: true };
    let draw = SequenceDraw { first: 2, length: 4, symmetry: turn };
    assert_eq!(draw.apply(frames), turn.apply(frames.slice(s![2..6, .., ..])));
}

#[test]
fn varied_windows_depend_on_seed_epoch_and_sequence_alone() {
    let frames = Array4::from_shape_fn((4, 12, 6, 6), |(n, t, y, x)| (n * 60 + t * 5 + y * 3 + x) as u8);
    let sequences = FrameSequences::from_bytes(frames);
    let config = SequenceVariationConfig::default();
    let windows = |positions: &[usize], seed, epoch| sequences.varied_windows(positions, 5, &config, seed, epoch);
    let both = windows(&[3, 1], 1, 2);
    assert_eq!(both.dim(), (2, 5, 6, 6));
    assert_eq!(both.index_axis(Axis(0), 1), windows(&[1], 1, 2).index_axis(Axis(0), 0));
    let epochs: Vec<_> = (0..10).map(|epoch| windows(&[3, 1], 1, epoch)).collect();
    assert!(epochs.iter().any(|other| *other != both));
    assert!((0..10).any(|seed| windows(&[3, 1], seed, 2) != both));
    for threads in [1, 2, 3, 8] {
        assert_eq!(with_threads(threads, || windows(&[3, 1], 1, 2)), both, "{threads} threads");
    }
    let plain = sequences.varied_windows(&[0, 2], 5, &SequenceVariationConfig::NONE, 1, 2);
    assert_eq!(plain, sequences.windows(&[0, 2], 0, 5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_never_panic(
        wide in any::<bool>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), end in any::<prop::sample::Index>(), cut in any::<bool>(),
    ) {
        let mut content = if wide { encoded(&floats()) } else { encoded(&bytes()) };
        for (place, value) in changes {
            // Most damage goes to the header, where it matters.
            let place = if value % 4 == 0 { place.index(content.len()) } else { place.index(128) };
            content[place] = value;
        }
        if cut {
            content.truncate(end.index(content.len() + 1));
        }
        let (_directory, path, result) = read(&content, 1);
        match result {
            Ok(sequences) => {
                let window = sequences.window(0, 0, sequences.length());
                prop_assert!(window.iter().all(|value| (0.0..=1.0).contains(value)));
            }
            Err(message) => prop_assert!(message.starts_with(&path.display().to_string()), "{message}"),
        }
    }

    #[test]
    fn written_arrays_come_back(n in 1_usize..4, t in 1_usize..6, h in 1_usize..9, w in 1_usize..9, seed in 0_usize..250) {
        let frames = Array4::from_shape_fn((n, t, h, w), |(n, t, y, x)| (seed + n * 7 + t * 5 + y * 3 + x) as u8);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("frames.npy");
        write_npy(&path, &frames).unwrap();
        let sequences = FrameSequences::read_npy(&path, t).unwrap();
        prop_assert_eq!(sequences, FrameSequences::from_bytes(frames));
    }
}
