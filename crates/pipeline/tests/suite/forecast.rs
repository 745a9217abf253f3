//! Forecasts that need no model, their figures, and the tables of these.

use std::f32::consts::PI;

use ndarray::{Array2, Array3, Array4, ArrayD, Axis, array, s};
use pipeline::data::{FrameSequences, Radar, RadarSplit};
use pipeline::forecast::{
    Contingency, Event, ForecastScorer, ForecastScores, MotionConfig, advect, all_zero, extrapolation, motion,
    persistence, score,
};
use pipeline::report::{forecast_means, forecast_table};
use proptest::prelude::*;
use tensor_ops::testing::{assert_all_close, assert_independent_of_threads, run_cases};

const LEADS: usize = 10;

fn test_sequences() -> Array4<f32> {
    let test = Radar::bundled().expect("the bundled data are complete").part(RadarSplit::Test);
    test.windows(&(0..test.count()).collect::<Vec<_>>(), 0, 2 * LEADS)
}

fn rain_events() -> Vec<Event> {
    Radar::EVENT_RATES.map(Event::rain).to_vec()
}

fn index(scores: &ForecastScores, lead: usize, event: usize) -> f64 {
    scores.leads[lead - 1].events[event].critical_success_index().expect("rain in every frame")
}

#[test]
fn persistence_has_the_published_figures() {
    let frames = test_sequences();
    let (inputs, truth) = frames.view().split_at(Axis(1), LEADS);
    let scores = score(persistence(inputs, LEADS).unwrap().view(), truth, &rain_events()).unwrap();
    assert_eq!(scores.sequences, 32);
    // Stated in SOURCE.txt of the data, computed there in NumPy.
    for (lead, mse, csi) in [(1, "0.00673", "0.825"), (5, "0.02383", "0.619"), (10, "0.03965", "0.499")] {
        assert_eq!(format!("{:.5}", scores.leads[lead - 1].mse), mse, "MSE at lead {lead}");
        assert_eq!(format!("{:.3}", index(&scores, lead, 1)), csi, "CSI at 1 mm/h at lead {lead}");
    }
    assert_eq!(format!("{:.4}", scores.mean_mse()), "0.0241");
    let mean = scores.mean_score(1, Contingency::critical_success_index).unwrap();
    assert_eq!(format!("{mean:.3}"), "0.633");
}

#[test]
fn extrapolation_is_better_than_persistence_and_than_dense_lucas_kanade_on_six_frames() {
    let frames = test_sequences();
    let (inputs, truth) = frames.view().split_at(Axis(1), LEADS);
    let events = rain_events();
    let still = score(persistence(inputs, LEADS).unwrap().view(), truth, &events).unwrap();
    let forecast = extrapolation(inputs, LEADS, &MotionConfig::default()).unwrap();
    assert!(forecast.iter().all(|value| (0.0..=1.0).contains(value)));
    let moved = score(forecast.view(), truth, &events).unwrap();
    let both = [("persistence", &still), ("extrapolation", &moved)];
    println!("{}{}", forecast_table(&both), forecast_means(&both));
    for lead in 1..=LEADS {
        assert!(moved.leads[lead - 1].mse < still.leads[lead - 1].mse, "MSE at lead {lead}");
        for event in 0..events.len() {
            // At lead 1, interpolation costs at the edges of light rain as much as the motion gains.
            let margin = if (lead, event) == (1, 0) { -0.001 } else { 0.0 };
            let gain = index(&moved, lead, event) - index(&still, lead, event);
            assert!(gain > margin, "{} at lead {lead}: {gain}", events[event].name);
        }
    }
    // pysteps, dense Lucas–Kanade on 6 frames and semi-Lagrangian extrapolation, on the same frames.
    assert!(moved.mean_mse() < 0.0214);
    for (event, pysteps) in [(1, 0.647), (2, 0.343), (3, 0.312)] {
        let csi = moved.mean_score(event, Contingency::critical_success_index).unwrap();
        assert!(csi > pysteps, "{}: {csi}", events[event].name);
    }
}

/// A smooth field with structure everywhere, moving by `rows`, `columns` pixels per frame.
fn moving_field(time: usize, size: [usize; 2], rows: f32, columns: f32) -> Array3<f32> {
    Array3::from_shape_fn((time, size[0], size[1]), |(t, y, x)| {
        let (y, x) = (y as f32 - rows * t as f32, x as f32 - columns * t as f32);
        let waves = [(0.31, 0.12, 0.0), (-0.13, 0.27, 1.0), (0.07, -0.19, 2.0), (0.45, 0.38, 3.0)];
        0.5 + 0.1 * waves.iter().map(|(fy, fx, phase): &(f32, f32, f32)| (fy * y + fx * x + phase).sin()).sum::<f32>()
    })
}

#[test]
fn known_shifts_are_recovered() {
    let cases: [(f32, f32); 8] =
        [(0.0, 0.0), (0.25, 0.0), (0.0, -0.4), (-0.8, 0.6), (1.0, 1.0), (1.7, -2.3), (-3.0, 0.5), (2.6, 2.9)];
    run_cases(cases, |&(rows, columns)| {
        let frames = moving_field(8, [48, 64], rows, columns);
        let motion = motion(frames.view(), &MotionConfig::default()).unwrap();
        assert_eq!(motion.dim(), (2, 48, 64));
        let inner = motion.slice(s![.., 8..40, 8..56]);
        for (component, expected) in inner.outer_iter().zip([rows, columns]) {
            let worst = component.iter().map(|found| (found - expected).abs()).fold(0.0, f32::max);
            assert!(worst < 0.05, "motion off by up to {worst} pixels per frame");
        }
    });
}

#[test]
fn a_rotation_is_recovered_place_by_place() {
    let turn = 0.02_f32;
    let field = |y: f32, x: f32| 0.5 + 0.2 * (0.4 * y + 0.1 * x).sin() + 0.2 * (0.35 * x - 0.15 * y).cos();
    let frames = Array3::from_shape_fn((7, 48, 48), |(t, y, x)| {
        let (y, x, angle) = (y as f32 - 23.5, x as f32 - 23.5, turn * t as f32);
        field(y * angle.cos() - x * angle.sin(), y * angle.sin() + x * angle.cos())
    });
    let found = motion(frames.view(), &MotionConfig { window: 3.0, ..MotionConfig::default() }).unwrap();
    for (y, x) in [(10, 24), (24, 10), (38, 30), (24, 24), (14, 36)] {
        let (dy, dx) = (y as f32 - 23.5, x as f32 - 23.5);
        // The place (y, x) is seen in the first frame at the angle 0 and turns the other way from frame to frame.
        let expected = [turn * dx, -turn * dy];
        for (component, expected) in expected.into_iter().enumerate() {
            let value = found[[component, y, x]];
            assert!((value - expected).abs() < 0.06, "({y}, {x}): component {component}: {value}, expected {expected}");
        }
    }
}

#[test]
fn nothing_to_see_stands_still() {
    for frames in [Array3::zeros((5, 16, 16)), Array3::from_elem((2, 1, 1), 0.7), Array3::from_elem((3, 1, 9), 0.2)] {
        let motion = motion(frames.view(), &MotionConfig::default()).unwrap();
        assert!(motion.iter().all(|&component| component == 0.0), "{motion}");
    }
    // Structure in one corner only: the rest moves with it.
    let mut frames = Array3::zeros((6, 40, 40));
    for (t, y, x) in (0..6).flat_map(|t| (0..16).flat_map(move |y| (0..16).map(move |x| (t, y, x)))) {
        let distance = (y as f32 - 7.0).powi(2) + (x as f32 - 5.0 - 0.5 * t as f32).powi(2);
        frames[[t, y, x]] = (-distance / 10.0).exp();
    }
    let motion = motion(frames.view(), &MotionConfig::default()).unwrap();
    assert!((motion[[1, 38, 38]] - 0.5).abs() < 0.1, "{}", motion[[1, 38, 38]]);
}

#[test]
fn displacements_are_limited() {
    let frames = moving_field(6, [32, 32], 2.0, -2.0);
    let config = MotionConfig { max_displacement: 0.5, ..MotionConfig::default() };
    let motion = motion(frames.view(), &config).unwrap();
    assert!(motion.iter().all(|component| component.abs() <= 0.5));
}

#[test]
fn a_blob_is_carried_along() {
    let blob = |row: f32, column: f32| {
        Array2::from_shape_fn((40, 40), |(y, x)| {
            (-((y as f32 - row).powi(2) + (x as f32 - column).powi(2)) / 18.0).exp()
        })
    };
    let mut uniform = Array3::zeros((2, 40, 40));
    uniform.index_axis_mut(Axis(0), 0).fill(1.5);
    uniform.index_axis_mut(Axis(0), 1).fill(-0.75);
    let forecast = advect(blob(12.0, 26.0).view(), uniform.view(), 8).unwrap();
    for (lead, frame) in (1..).zip(forecast.outer_iter()) {
        let expected = blob(12.0 + 1.5 * lead as f32, 26.0 - 0.75 * lead as f32);
        // Interpolated once: the error is that of one interpolation at any lead.
        assert_all_close(&frame, &expected, 0.0, 0.03);
    }
    // A solid rotation by a quarter turn in 10 frames; the path back is an arc, not a line.
    let turn = PI / 20.0;
    let rotation = Array3::from_shape_fn((2, 40, 40), |(component, y, x)| {
        let (y, x) = (y as f32 - 19.5, x as f32 - 19.5);
        if component == 0 { turn * x } else { -turn * y }
    });
    let turned = advect(blob(19.5, 27.5).view(), rotation.view(), 10).unwrap();
    assert_all_close(&turned.index_axis(Axis(0), 9), &blob(27.5, 19.5), 0.0, 0.06);
}

#[test]
fn what_comes_in_is_what_is_on_the_border() {
    let frame = array![[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]];
    let mut down = Array3::zeros((2, 2, 3));
    down.index_axis_mut(Axis(0), 0).fill(1.0);
    let forecast = advect(frame.view(), down.view(), 3).unwrap();
    for frame in forecast.outer_iter() {
        assert_eq!(frame, array![[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]]);
    }
    let still = advect(frame.view(), Array3::zeros((2, 2, 3)).view(), 2).unwrap();
    assert_eq!(still, ndarray::stack![Axis(0), frame, frame]);
}

#[test]
fn scores_are_those_counted_by_hand() {
    // Two sequences of two leads of 1×3 pixels.
    let truth = array![[[[0.0, 0.5, 1.0]], [[0.0, 0.0, 0.0]]], [[[0.5, 0.5, 0.0]], [[0.0, 0.0, 0.25]]]];
    let forecast = array![[[[0.5, 0.5, 0.0]], [[0.0, 0.25, 0.0]]], [[[0.5, 0.0, 0.0]], [[0.0, 0.0, 0.25]]]];
    let events = [Event::new("half", 0.5), Event::new("some", 0.25), Event::new("never", 1.5)];
    let scores = score(forecast.view(), truth.view(), &events).unwrap();
    let table =
        |hits, misses, false_alarms, correct_negatives| Contingency { hits, misses, false_alarms, correct_negatives };
    assert_eq!(scores.leads[0].mse, (0.25 + 1.0 + 0.25) / 6.0);
    assert_eq!(scores.leads[0].mae, (0.5 + 1.0 + 0.5) / 6.0);
    assert_eq!(scores.leads[1].mse, 0.0625 / 6.0);
    assert_eq!(scores.leads[0].events, [table(2, 2, 1, 1), table(2, 2, 1, 1), table(0, 0, 0, 6)]);
    assert_eq!(scores.leads[1].events, [table(0, 0, 0, 6), table(1, 0, 1, 4), table(0, 0, 0, 6)]);
    assert_eq!(scores.mean_mse(), (1.5 / 6.0 + 0.0625 / 6.0) / 2.0);
    // The event of the first threshold neither comes nor is forecast at lead 2, which then does not count.
    assert_eq!(scores.mean_score(0, Contingency::critical_success_index), Some(0.4));
    assert_eq!(scores.mean_score(1, Contingency::critical_success_index), Some((0.4 + 0.5) / 2.0));
    assert_eq!(scores.mean_score(1, Contingency::probability_of_detection), Some((0.5 + 1.0) / 2.0));
    assert_eq!(scores.mean_score(1, Contingency::false_alarm_ratio), Some((1.0 / 3.0 + 0.5) / 2.0));
    assert_eq!(scores.mean_score(2, Contingency::critical_success_index), None);

    let mut scorer = ForecastScorer::new(&events, 2);
    for sequence in 0..2 {
        let part = s![sequence..=sequence, .., .., ..];
        scorer.add(forecast.slice(part), truth.slice(part)).unwrap();
    }
    assert_eq!(scorer.finish().unwrap(), scores, "one after another as all at once");

    let text = forecast_table(&[("model", &scores)]);
    assert!(text.contains("CSI never\n  model            –       –       –\n"), "{text}");
    let text = forecast_means(&[("model", &scores), ("again", &scores)]);
    assert!(text.contains("  again        .1302   .1875\n"), "{text}");
    assert!(text.contains("half             CSI     POD     FAR\n  model        .4000   .5000   .3333\n"), "{text}");
    let json = serde_json::to_string(&scores).unwrap();
    assert_eq!(serde_json::from_str::<ForecastScores>(&json).unwrap(), scores);
    assert_eq!((forecast_table(&[]), forecast_means(&[])), (String::new(), String::new()));
}

#[test]
fn misuse_is_refused() {
    let frames = || Array4::<f32>::from_elem((2, 4, 5, 6), 0.5);
    let with = |index: [usize; 4], value: f32| {
        let mut frames = frames();
        frames[index] = value;
        frames
    };
    let config = MotionConfig::default();
    let option = |config: MotionConfig| motion(frames().index_axis(Axis(0), 0), &config).unwrap_err();
    let scores = |forecast: Array4<f32>, truth: Array4<f32>| score(forecast.view(), truth.view(), &[]).unwrap_err();
    let frame = || Array2::<f32>::zeros((5, 6));
    let zero_motion = || Array3::<f32>::zeros((2, 5, 6));
    let cases = [
        (
            persistence(Array4::zeros((0, 4, 5, 6)).view(), 3).unwrap_err(),
            "persistence: sequences: expected at least 1 entry, found 0",
        ),
        (
            persistence(Array4::zeros((2, 0, 5, 6)).view(), 3).unwrap_err(),
            "persistence: time: expected at least 1 entry, found 0",
        ),
        (
            all_zero(Array4::zeros((2, 4, 0, 6)).view(), 3).unwrap_err(),
            "all_zero: height: expected at least 1 entry, found 0",
        ),
        (persistence(frames().view(), 0).unwrap_err(), "persistence: option `leads` must be from 1 to 10000, found 0"),
        (
            extrapolation(frames().view(), usize::MAX, &config).unwrap_err(),
            "extrapolation: option `leads` must be from 1 to 10000, found 18446744073709551615",
        ),
        (
            extrapolation(frames().slice(s![.., ..1, .., ..]), 3, &config).unwrap_err(),
            "motion: option `frames` must be at least 2, found 1",
        ),
        (
            extrapolation(with([1, 2, 3, 4], f32::NAN).view(), 3, &config).unwrap_err(),
            "extrapolation: inputs at [1, 2, 3, 4]: expected a finite number, found NaN",
        ),
        (
            motion(Array3::zeros((4, 0, 6)).view(), &config).unwrap_err(),
            "motion: height: expected at least 1 entry, found 0",
        ),
        (option(MotionConfig { pairs: 0, ..config.clone() }), "`motion.pairs` must be at least 1, found 0"),
        (
            option(MotionConfig { smoothing: vec![], ..config.clone() }),
            "`motion.smoothing` must be 1 to 100 numbers, found 0",
        ),
        (
            option(MotionConfig { smoothing: vec![1.0, f32::NAN], ..config.clone() }),
            "`motion.smoothing` must be numbers from 0 to 100, found NaN",
        ),
        (
            option(MotionConfig { window: 0.0, ..config.clone() }),
            "`motion.window` must be a number from 0.5 to 100, found 0",
        ),
        (
            option(MotionConfig { regularization: 0.0, ..config.clone() }),
            "`motion.regularization` must be a number above 0, found 0",
        ),
        (
            option(MotionConfig { max_displacement: f32::INFINITY, ..config.clone() }),
            "`motion.max_displacement` must be a number above 0, found inf",
        ),
        (
            advect(frame().view(), Array3::zeros((2, 6, 5)).view(), 1).unwrap_err(),
            "advection: motion height: expected size 5, found 6",
        ),
        (
            advect(frame().view(), Array3::zeros((3, 5, 6)).view(), 1).unwrap_err(),
            "advection: motion components: expected size 2, found 3",
        ),
        (
            advect(frame().view(), Array3::from_elem((2, 5, 6), f32::INFINITY).view(), 1).unwrap_err(),
            "advection: motion at [0, 0, 0]: expected a finite number, found inf",
        ),
        (
            advect(frame().view(), zero_motion().view(), 0).unwrap_err(),
            "advection: option `leads` must be from 1 to 10000, found 0",
        ),
        (scores(frames(), Array4::zeros((2, 4, 6, 5))), "forecast scores: height: expected size 6, found 5"),
        (
            scores(frames(), Array4::zeros((2, 3, 5, 6))),
            "forecast scores: leads of the forecast: expected size 3, found 4",
        ),
        (
            scores(Array4::zeros((0, 4, 5, 6)), Array4::zeros((0, 4, 5, 6))),
            "forecast scores: sequences: expected at least 1 entry, found 0",
        ),
        (
            scores(with([0, 1, 2, 3], f32::NEG_INFINITY), frames()),
            "forecast scores: forecast at [0, 1, 2, 3]: expected a finite number, found -inf",
        ),
        (
            scores(frames(), with([1, 0, 0, 0], f32::NAN)),
            "forecast scores: truth at [1, 0, 0, 0]: expected a finite number, found NaN",
        ),
        (
            ForecastScorer::new(&[], 3).finish().unwrap_err(),
            "forecast scores: sequences: expected at least 1 entry, found 0",
        ),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn forecasts_do_not_depend_on_the_threads() {
    let frames = test_sequences();
    let few = frames.slice(s![..5, .., .., ..]);
    assert_independent_of_threads(|| {
        let (inputs, truth) = few.view().split_at(Axis(1), LEADS);
        let forecast = extrapolation(inputs, LEADS, &MotionConfig::default()).unwrap();
        let scores = score(forecast.view(), truth, &rain_events()).unwrap();
        let errors: Vec<f64> = scores.leads.iter().flat_map(|lead| [lead.mse, lead.mae]).collect();
        let errors = ArrayD::from_shape_vec(vec![errors.len()], errors).unwrap();
        vec![forecast.mapv(f64::from).into_dyn(), errors]
    });
}

#[test]
fn events_begin_at_their_stored_rates() {
    // A stored byte of 81 is exactly 1 mm/h: at the threshold, not below it.
    for (rate, byte) in [(0.1, 1), (1.0, 81), (10.0, 161), (100.0, 241)] {
        let frames = FrameSequences::from_bytes(array![[[[byte - 1, byte]]]]);
        let truth = frames.windows(&[0], 0, 1);
        let scores = score(truth.view(), truth.view(), &[Event::rain(rate)]).unwrap();
        assert_eq!(
            (scores.leads[0].events[0].hits, scores.leads[0].events[0].correct_negatives),
            (1, 1),
            "{rate} mm/h"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_frames_can_be_continued(
        time in 2_usize..6, height in 1_usize..20, width in 1_usize..20, leads in 1_usize..6, seed in 0_u64..1000,
    ) {
        let frames: Array4<f32> = tensor_ops::testing::seeded_array((2, time, height, width), seed).mapv(f32::abs);
        let forecast = extrapolation(frames.view(), leads, &MotionConfig::default()).unwrap();
        prop_assert_eq!(forecast.dim(), (2, leads, height, width));
        for (forecast, seen) in forecast.outer_iter().zip(frames.outer_iter()) {
            // Interpolation does not leave the range of the last frame.
            let last = seen.index_axis(Axis(0), time - 1);
            let (low, high) = last.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
            prop_assert!(forecast.iter().all(|v| (low - 1e-5..=high + 1e-5).contains(v)));
        }
    }
}
