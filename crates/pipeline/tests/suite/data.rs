//! The bundled data set, its split, preprocessing and augmentation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ndarray::{Array2, Array3, Axis, array, s};
use pipeline::data::{
    AugmentationConfig, AugmentationDraw, Batch, FirActions, NormalizedClips, PreprocessingConfig, Protocol,
    SplitConfig, Symmetry, split,
};
use pipeline::random::{Purpose, generator};
use proptest::prelude::*;

fn bundled() -> FirActions {
    FirActions::bundled().expect("the bundled data are complete")
}

#[test]
fn bundled_data_are_complete() {
    let actions = bundled();
    let clips = actions.clips();
    assert_eq!(clips.len(), 2240);
    let mut by_label = BTreeMap::new();
    let mut by_person = BTreeMap::new();
    for clip in clips {
        *by_label.entry(clip.label).or_insert(0) += 1;
        *by_person.entry(clip.person).or_insert(0) += 1;
    }
    assert_eq!(by_label, (0..7).map(|label| (label, 320)).collect());
    assert_eq!(by_person, (1..=8).map(|person| (person, 280)).collect());
    let recordings: BTreeSet<usize> = clips.iter().map(|clip| clip.recording).collect();
    assert_eq!(recordings, (0..400).collect());
}

#[test]
fn clips_cover_all_frames_in_order() {
    let actions = bundled();
    let mut next = 0;
    for clip in actions.clips() {
        assert_eq!(clip.first_frame, next);
        assert!((6..=49).contains(&clip.length), "{} frames", clip.length);
        assert_eq!(actions.frames(clip).dim(), (clip.length, 16, 16));
        assert_eq!(actions.background(clip).dim(), (16, 16));
        next += clip.length;
    }
    assert_eq!(next, 51_099);
}

#[test]
fn background_fits_its_recording() {
    // A person is warmer than the room and covers few pixels: the typical pixel is near the background of its own
    // recording, and nearer to it than to the background of another recording.
    let actions = bundled();
    let clips = actions.clips();
    let distance = |clip: usize, background: usize| {
        let background = actions.background(&clips[background]);
        let mut distances: Vec<u8> = Vec::new();
        for frame in actions.frames(&clips[clip]).outer_iter() {
            distances.extend(frame.iter().zip(&background).map(|(&q, &b)| q.abs_diff(b)));
        }
        *distances.select_nth_unstable(clips[clip].length * 128).1
    };
    let (mut own, mut other) = (0, 0);
    for clip in (0..clips.len()).step_by(40) {
        own += u32::from(distance(clip, clip));
        other += u32::from(distance(clip, (clip + clips.len() / 2) % clips.len()));
    }
    assert!(own * 2 < other, "own background: {own}, another: {other}");
}

#[test]
fn inconsistent_files_are_refused() {
    let frames = || Array3::<u8>::zeros((10, 16, 16));
    let background = || Array3::<u8>::zeros((1, 16, 16));
    let header = "first_frame,n_frames,label7,person,recording\n";
    let table = |row: &str| format!("{header}{row}\n");
    assert!(FirActions::from_parts(frames(), background(), &table("0,10,walk,human1,room"), "room").is_ok());
    let cases = [
        (table("0,11,walk,human1,room"), "clips.csv: row 1: 11 frames from 0 do not lie within the 10 frames"),
        (table("0,0,walk,human1,room"), "clips.csv: row 1: 0 frames from 0 do not lie within the 10 frames"),
        (
            table("18446744073709551615,2,walk,human1,room"),
            "clips.csv: row 1: 2 frames from 18446744073709551615 do not lie within the 10 frames",
        ),
        (table("zero,10,walk,human1,room"), "clips.csv: row 1: `zero` is not a number"),
        (table("0,10,run,human1,room"), "clips.csv: row 1: unknown action `run`"),
        (table("0,10,walk,human9,room"), "clips.csv: row 1: unknown person `human9`"),
        (table("0,10,walk,human1,hall"), "clips.csv: row 1: recording `hall` is not in recordings.txt"),
        ("first_frame,n_frames\n".to_owned(), "clips.csv: no column `label7`"),
    ];
    for (clips, message) in cases {
        let error = FirActions::from_parts(frames(), background(), &clips, "room").unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let error = FirActions::from_parts(frames(), background(), &table("0,10,walk,human1,room"), "room\nhall");
    assert_eq!(error.unwrap_err().to_string(), "recordings.txt has 2 names, background_u8.npy has 1 images");
    let error = FirActions::from_parts(Array3::zeros((10, 8, 16)), background(), header, "room").unwrap_err();
    assert_eq!(error.to_string(), "frames_u8.npy.gz: expected images of 16×16 pixels, found [8, 16]");
    let error = FirActions::from_parts(frames(), background(), &table("0,10,walk"), "room").unwrap_err();
    assert!(error.to_string().starts_with("clips.csv: CSV error"), "{error}");
}

#[test]
fn split_keeps_people_and_recordings_apart() {
    let actions = bundled();
    let clips = actions.clips();
    let config = SplitConfig::default();
    for person in 1..=8 {
        let fold = split(clips, person, &config, 1);
        assert_eq!(fold.test_person, person);
        let people = |part: &[usize]| part.iter().map(|&clip| clips[clip].person).collect::<BTreeSet<_>>();
        let recordings = |part: &[usize]| part.iter().map(|&clip| clips[clip].recording).collect::<BTreeSet<_>>();
        assert_eq!(people(&fold.test), BTreeSet::from([person]));
        assert_eq!(people(&fold.training), (1..=8).filter(|&other| other != person).collect());
        assert!(!people(&fold.validation).contains(&person));
        assert!(recordings(&fold.training).is_disjoint(&recordings(&fold.validation)));
        assert_eq!(recordings(&fold.validation).len(), 16);
        let mut all = [fold.training, fold.validation, fold.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..2240).collect::<Vec<_>>());
    }
}

#[test]
fn split_depends_on_the_seed_and_its_options() {
    let actions = bundled();
    let clips = actions.clips();
    let config = SplitConfig::default();
    assert_eq!(split(clips, 3, &config, 1), split(clips, 3, &config, 1));
    assert_ne!(split(clips, 3, &config, 1).validation, split(clips, 3, &config, 2).validation);
    let all = SplitConfig { validation_fraction: 0.0, ..config.clone() };
    assert_eq!(split(clips, 3, &all, 1).validation, Vec::<usize>::new());
    assert_eq!(split(clips, 3, &all, 1).training.len(), 1960);
    let few = SplitConfig { clips_per_person: Some(14), validation_fraction: 0.0, ..config.clone() };
    let fold = split(clips, 3, &few, 1);
    assert_eq!((fold.training.len(), fold.test.len()), (98, 14));
    let labels: BTreeSet<usize> = fold.test.iter().map(|&clip| clips[clip].label).collect();
    assert!(labels.len() > 3, "spread over the actions: {labels:?}");
    let many = SplitConfig { clips_per_person: Some(1000), validation_fraction: 0.0, ..config.clone() };
    assert_eq!(split(clips, 3, &many, 1), split(clips, 3, &all, 1));
    assert_eq!(config.test_people(), [8]);
    let everyone = SplitConfig { protocol: Protocol::LeaveOnePersonOut, ..config };
    assert_eq!(everyone.test_people(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn normalization_follows_its_formula() {
    let frames = array![[[100_u8, 150], [200, 0]], [[101, 151], [201, 255]]];
    let background = array![[100_u8, 100], [250, 10]];
    let raw = PreprocessingConfig {
        subtract_background: false,
        subtract_median: false,
        celsius_per_unit: 0.5,
        ..PreprocessingConfig::default()
    };
    // T − 22 °C is 0.02 q.
    let normalized = raw.normalize(frames.view(), background.view());
    assert_eq!(normalized, frames.mapv(|q| f32::from(q) * 0.04_f32));
    let subtracted = PreprocessingConfig { subtract_background: true, ..raw.clone() };
    let normalized = subtracted.normalize(frames.view(), background.view());
    assert_eq!(normalized.index_axis(Axis(0), 0), array![[0.0, 50.0], [-50.0, -10.0]] * 0.04_f32);
    // The differences −50, −49, −10, 0, 1, 50, 51, 245 have the median 0.5.
    let centred = PreprocessingConfig { subtract_median: true, ..subtracted };
    let normalized = centred.normalize(frames.view(), background.view());
    assert_eq!(normalized[[0, 0, 0]], -0.5 * 0.04);
    assert_eq!(normalized[[1, 1, 1]], 244.5 * 0.04);
}

#[test]
fn steps_stack_the_latest_frames() {
    let clip = Array3::from_shape_fn((7, 16, 16), |(t, y, x)| (t * 1000 + y * 16 + x) as f32);
    let frame = |t: usize| clip.index_axis(Axis(0), t);
    let mean = Array2::from_elem((16, 16), -1.0);
    let config =
        PreprocessingConfig { frame_stride: 3, stacked_frames: 2, clip_mean: false, ..PreprocessingConfig::default() };
    let steps = config.stack(clip.view(), mean.view());
    assert_eq!(steps.dim(), (3, 2, 16, 16));
    assert_eq!(config.steps(7), 3);
    for (step, [older, newer]) in [[1, 2], [4, 5], [5, 6]].into_iter().enumerate() {
        assert_eq!(steps.slice(s![step, 0, .., ..]), frame(older));
        assert_eq!(steps.slice(s![step, 1, .., ..]), frame(newer));
    }
    let deep = PreprocessingConfig { frame_stride: 1, stacked_frames: 3, ..config.clone() };
    assert_eq!(
        deep.stack(clip.view(), mean.view()).slice(s![0, .., .., ..]).outer_iter().filter(|c| c == frame(0)).count(),
        3
    );
    let difference =
        PreprocessingConfig { frame_stride: 1, stacked_frames: 1, temporal_difference: true, ..config.clone() };
    let steps = difference.stack(clip.view(), mean.view());
    assert_eq!(steps.dim(), (7, 2, 16, 16));
    assert_eq!(steps.slice(s![0, 1, .., ..]), Array2::<f32>::zeros((16, 16)));
    assert_eq!(steps.slice(s![4, 1, .., ..]), Array2::from_elem((16, 16), 1000.0_f32));
    let over_stack = PreprocessingConfig { stacked_frames: 3, ..difference.clone() };
    assert_eq!(
        over_stack.stack(clip.view(), mean.view()).slice(s![4, 3, .., ..]),
        Array2::from_elem((16, 16), 2000.0_f32)
    );
    let with_mean = PreprocessingConfig { clip_mean: true, ..difference };
    let steps = with_mean.stack(clip.view(), mean.view());
    assert_eq!(steps.dim(), (7, 3, 16, 16));
    assert!(steps.slice(s![.., 1, .., ..]).iter().all(|&value| value == -1.0));
    assert_eq!(steps.slice(s![4, 2, .., ..]), Array2::from_elem((16, 16), 1000.0_f32));
}

#[test]
fn symmetries_form_the_group_of_the_square() {
    let frames = Array3::from_shape_fn((2, 5, 5), |(t, y, x)| t * 100 + y * 10 + x);
    let images: Vec<_> = Symmetry::ALL.iter().map(|symmetry| symmetry.apply(frames.view()).to_owned()).collect();
    for (index, image) in images.iter().enumerate() {
        assert!(!images[..index].contains(image), "symmetry {index} differs from those before");
    }
    assert_eq!(images[0], frames);
    for a in Symmetry::ALL {
        assert_eq!(a.then(a.inverse()), Symmetry::IDENTITY);
        assert_eq!(a.inverse().then(a), Symmetry::IDENTITY);
        for b in Symmetry::ALL {
            assert_eq!(b.apply(a.apply(frames.view())), a.then(b).apply(frames.view()), "{a:?} then {b:?}");
        }
    }
    let turn = Symmetry { transpose: true, flip_rows: true, flip_columns: false };
    let half = turn.then(turn);
    assert_eq!(half, Symmetry { transpose: false, flip_rows: true, flip_columns: true });
    assert_eq!(half.then(half), Symmetry::IDENTITY);
}

#[test]
fn no_augmentation_changes_nothing() {
    let clip = Array3::from_shape_fn((9, 16, 16), |(t, y, x)| (t * 256 + y * 16 + x) as f32);
    for epoch in 0..20 {
        let draw = AugmentationConfig::NONE.draw(9, &mut generator(1, Purpose::Augmentation, epoch, 0));
        assert_eq!(draw, AugmentationDraw::identity(9));
        assert_eq!(draw.apply(clip.view()), clip);
    }
}

#[test]
fn shifts_move_pixels_and_fill_with_background() {
    let clip = Array3::from_shape_fn((1, 4, 4), |(_, y, x)| (1 + y * 4 + x) as f32);
    let shifted = |shift| AugmentationDraw { shift, ..AugmentationDraw::identity(1) }.apply(clip.view());
    assert_eq!(
        shifted([1, 0]),
        array![[[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]]]
    );
    assert_eq!(
        shifted([-2, 1]),
        array![[[0.0, 9.0, 10.0, 11.0], [0.0, 13.0, 14.0, 15.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]
    );
    assert_eq!(shifted([4, 0]).sum(), 0.0);
}

#[test]
fn zoom_interpolates_around_the_middle() {
    let image = Array2::from_shape_fn((16, 16), |(y, x)| (3 * y + x) as f32 + 5.0);
    let zoomed =
        |zoom, shift| AugmentationDraw { zoom, shift, ..AugmentationDraw::identity(1) }.apply_to_image(image.view());
    assert_eq!(zoomed(1.0, [0, 0]), image);
    for (zoom, shift) in [(2.0, [0, 0]), (1.25, [1, -2]), (1.6, [0, 1])] {
        let large = zoomed(zoom, shift);
        for (y, x) in [(4, 4), (7, 9), (11, 3), (8, 8)] {
            // A plane stays a plane: its value at the place that the pixel shows.
            let source = |index: usize, shift: isize| (index as f64 - shift as f64 - 7.5) / zoom + 7.5;
            let expected = 3.0 * source(y, shift[0]) + source(x, shift[1]) + 5.0;
            assert!((f64::from(large[[y, x]]) - expected).abs() < 1e-4, "zoom {zoom}, pixel {y}, {x}");
        }
    }
    let small = zoomed(0.5, [0, 0]);
    assert_eq!(small[[0, 0]], 0.0);
    assert_eq!(small[[8, 8]], 3.0 * 8.5 + 8.5 + 5.0);
}

#[test]
fn draws_reach_the_limits_and_keep_within() {
    let config = AugmentationConfig { max_shift: 2, ..AugmentationConfig::default() };
    let mut symmetries = BTreeMap::new();
    let mut shifts = BTreeSet::new();
    let mut lengths = BTreeSet::new();
    for clip in 0..2000 {
        let draw = config.draw(30, &mut generator(5, Purpose::Augmentation, 1, clip));
        *symmetries.entry(Symmetry::ALL.iter().position(|&s| s == draw.symmetry)).or_insert(0) += 1;
        shifts.extend(draw.shift);
        lengths.insert(draw.frames.len());
        assert!(draw.gain <= 1.2 && draw.gain >= 1.0 / 1.2, "gain {}", draw.gain);
        assert!(draw.zoom <= 1.15 && draw.zoom >= 1.0 / 1.15, "zoom {}", draw.zoom);
    }
    assert!(symmetries.len() == 8 && symmetries.values().all(|&count| count > 180), "{symmetries:?}");
    assert_eq!(shifts, (-2..=2).collect());
    assert!(*lengths.first().unwrap() < 20 && *lengths.last().unwrap() > 33, "{lengths:?}");
}

#[test]
fn batches_hold_the_clips_one_after_another() {
    let actions = bundled();
    let preprocessing = PreprocessingConfig::default();
    let clips = NormalizedClips::new(&actions, &preprocessing);
    let positions = [5, 900, 17];
    let batch = Batch::recorded(&clips, &positions, Symmetry::IDENTITY);
    let mut start = 0;
    for (index, &position) in positions.iter().enumerate() {
        let clip = actions.clips()[position];
        assert_eq!(batch.labels[index], clip.label);
        assert_eq!(batch.lengths[index], preprocessing.steps(clip.length));
        let alone = Batch::recorded(&clips, &[position], Symmetry::IDENTITY);
        let end = start + batch.lengths[index];
        assert_eq!(batch.frames.slice(s![start..end, .., .., ..]), alone.frames);
        start = end;
    }
    assert_eq!(batch.frames.len_of(Axis(0)), start);
}

#[test]
fn augmented_batches_depend_on_seed_epoch_and_clip_alone() {
    let actions = bundled();
    let clips = NormalizedClips::new(&actions, &PreprocessingConfig::default());
    let augmentation = AugmentationConfig::default();
    let batch = |positions: &[usize], seed, epoch| Batch::augmented(&clips, positions, &augmentation, seed, epoch);
    let both = batch(&[100, 200], 1, 3);
    assert_eq!(both, batch(&[100, 200], 1, 3));
    let second = batch(&[200], 1, 3);
    assert_eq!(both.lengths[1], second.lengths[0]);
    assert_eq!(both.frames.slice(s![both.lengths[0].., .., .., ..]), second.frames);
    assert_eq!(both.labels, [actions.clips()[100].label, actions.clips()[200].label]);
    assert_ne!(both.frames, batch(&[100, 200], 2, 3).frames);
    assert_ne!(both.frames, batch(&[100, 200], 1, 4).frames);
    for threads in [1, 2, 3, 8] {
        let again = tensor_ops::testing::with_threads(threads, || batch(&[100, 200], 1, 3));
        assert_eq!(again, both, "{threads} threads");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_draw_fits_its_clip(length in 1_usize..60, trim in 0.0..0.49, speed in 0.0..3.0, seed in 0_u64..1000) {
        let config = AugmentationConfig { max_trim: trim, max_speed_change: speed, ..AugmentationConfig::default() };
        let draw = config.draw(length, &mut generator(seed, Purpose::Augmentation, 0, 0));
        prop_assert!(!draw.frames.is_empty());
        prop_assert!(draw.frames.is_sorted());
        prop_assert!(draw.frames.iter().all(|&frame| frame < length));
        let clip = Array3::from_shape_fn((length, 16, 16), |(t, y, x)| (t * 256 + y * 16 + x) as f32);
        prop_assert_eq!(draw.apply(clip.view()).dim(), (draw.frames.len(), 16, 16));
    }

    #[test]
    fn symmetric_clips_have_symmetric_inputs(symmetry in 0_usize..8, position in 0_usize..2240) {
        static CLIPS: LazyLock<NormalizedClips> =
            LazyLock::new(|| NormalizedClips::new(&bundled(), &PreprocessingConfig::default()));
        let clips = &*CLIPS;
        let plain = Batch::recorded(clips, &[position], Symmetry::IDENTITY);
        let symmetry = Symmetry::ALL[symmetry];
        let batch = Batch::recorded(clips, &[position], symmetry);
        for (channels, expected) in batch.frames.outer_iter().zip(plain.frames.outer_iter()) {
            prop_assert_eq!(channels, symmetry.apply(expected));
        }
    }
}
