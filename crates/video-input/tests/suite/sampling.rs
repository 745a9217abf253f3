//! Positions of frames.

use ndarray_rand::rand::SeedableRng;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use video_input::Sampling::{self, Dense, Segments, Sliding};
use video_input::ShortClip::{self, Loop, RepeatLast};
use video_input::{FrameRateFilter, at_frame_rate};

#[test]
fn tests_see_the_same_frames_each_time() {
    type Case<'a> = (Sampling, usize, usize, ShortClip, &'a [&'a [usize]]);
    let cases: [Case<'_>; 20] = [
        (Segments { segments: 3 }, 9, 1, RepeatLast, &[&[1, 4, 7]]),
        (Segments { segments: 3 }, 10, 1, RepeatLast, &[&[1, 5, 8]]),
        (Segments { segments: 5 }, 2, 1, RepeatLast, &[&[0, 0, 1, 1, 1]]),
        (Segments { segments: 4 }, 1, 1, Loop, &[&[0, 0, 0, 0]]),
        (Segments { segments: 2 }, 12, 3, RepeatLast, &[&[1, 7], &[3, 9], &[5, 11]]),
        (Dense { frames: 4, stride: 1 }, 10, 1, RepeatLast, &[&[3, 4, 5, 6]]),
        (Dense { frames: 4, stride: 3 }, 10, 1, RepeatLast, &[&[0, 3, 6, 9]]),
        (Dense { frames: 2, stride: 2 }, 9, 3, RepeatLast, &[&[0, 2], &[3, 5], &[6, 8]]),
        (Dense { frames: 4, stride: 1 }, 4, 5, RepeatLast, &[&[0, 1, 2, 3]]),
        (Dense { frames: 5, stride: 1 }, 3, 1, RepeatLast, &[&[0, 1, 2, 2, 2]]),
        (Dense { frames: 5, stride: 1 }, 3, 1, Loop, &[&[0, 1, 2, 0, 1]]),
        (Dense { frames: 4, stride: 2 }, 3, 2, RepeatLast, &[&[0, 2, 2, 2]]),
        (Dense { frames: 4, stride: 2 }, 3, 2, Loop, &[&[0, 2, 1, 0]]),
        (Dense { frames: 2, stride: 1 }, 4, 0, Loop, &[&[1, 2]]),
        (Sliding { frames: 3, stride: 1, step: 2 }, 7, 1, RepeatLast, &[&[0, 1, 2], &[2, 3, 4], &[4, 5, 6]]),
        (Sliding { frames: 3, stride: 1, step: 3 }, 7, 1, RepeatLast, &[&[0, 1, 2], &[3, 4, 5], &[4, 5, 6]]),
        (Sliding { frames: 2, stride: 3, step: 1 }, 5, 9, RepeatLast, &[&[0, 3], &[1, 4]]),
        (Sliding { frames: 3, stride: 1, step: 1 }, 2, 1, Loop, &[&[0, 1, 0]]),
        (Segments { segments: 3 }, 0, 1, RepeatLast, &[]),
        (Sliding { frames: 3, stride: 1, step: 1 }, 0, 1, RepeatLast, &[]),
    ];
    for (sampling, frames, clips, short, expected) in cases {
        assert_eq!(sampling.test(frames, clips, short), expected, "{sampling:?} of {frames} frames, {clips} clips");
    }
}

fn samplings() -> impl Strategy<Value = Sampling> {
    let number = || prop_oneof![1..12_usize, Just(usize::MAX)];
    prop_oneof![
        (1..12_usize).prop_map(|segments| Segments { segments }),
        (1..12_usize, number()).prop_map(|(frames, stride)| Dense { frames, stride }),
        (1..12_usize, number(), number()).prop_map(|(frames, stride, step)| Sliding { frames, stride, step }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn all_positions_exist(
        sampling in samplings(),
        frames in prop_oneof![1..40_usize, Just(1 << 40)],
        clips in 0..5_usize,
        short in prop_oneof![Just(RepeatLast), Just(Loop)],
        seed in any::<u64>(),
    ) {
        prop_assume!(frames < 40 || !matches!(sampling, Sliding { .. }));
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let training = sampling.training(frames, short, &mut generator);
        let ordered = !matches!(short, Loop);
        for clip in sampling.test(frames, clips, short).iter().chain([&training]) {
            prop_assert_eq!(clip.len(), sampling.length());
            prop_assert!(clip.iter().all(|&position| position < frames));
            prop_assert!(!ordered || clip.is_sorted());
        }
    }
}

#[test]
fn training_reaches_every_frame_evenly() {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let mut counts = [[0; 10]; 2];
    for _ in 0..4000 {
        for position in (Segments { segments: 2 }).training(10, RepeatLast, &mut generator) {
            counts[0][position] += 1;
        }
        let window = Dense { frames: 3, stride: 2 }.training(10, RepeatLast, &mut generator);
        assert_eq!([window[1] - window[0], window[2] - window[1]], [2, 2]);
        counts[1][window[0]] += 1;
    }
    // Five frames per segment: 800 each, with a standard deviation of 25. Six starts: 667 each.
    assert!(counts[0].iter().all(|count| (680..920).contains(count)), "{:?}", counts[0]);
    assert!(counts[1][..6].iter().all(|count| (550..790).contains(count)), "{:?}", counts[1]);
    assert_eq!(counts[1][6..], [0; 4]);
}

#[test]
fn samplings_of_nothing_are_refused() {
    let cases = [
        (Segments { segments: 0 }, "sampling.segments: expected at least 1, found 0"),
        (Dense { frames: 0, stride: 1 }, "sampling.frames: expected at least 1, found 0"),
        (Dense { frames: 1, stride: 0 }, "sampling.stride: expected at least 1, found 0"),
        (Sliding { frames: 1, stride: 1, step: 0 }, "sampling.step: expected at least 1, found 0"),
    ];
    for (sampling, message) in cases {
        assert_eq!(sampling.check().unwrap_err().to_string(), message);
        assert!(!sampling.test(4, 1, RepeatLast).is_empty());
    }
    assert!(Sliding { frames: 1, stride: 1, step: 1 }.check().is_ok());
}

#[test]
fn frames_are_thinned_out_by_time() {
    let regular = |rate: f64, count: usize| (0..count).map(move |frame| frame as f64 / rate);
    assert_eq!(at_frame_rate(regular(30.0, 31), 10.0), (0..31).step_by(3).collect::<Vec<_>>());
    assert_eq!(at_frame_rate(regular(30000.0 / 1001.0, 10), 15.0), [0, 2, 4, 6, 8]);
    assert_eq!(at_frame_rate(regular(10.0, 5), 25.0), [0, 1, 2, 3, 4]);
    assert_eq!(at_frame_rate([5.0, 5.1, 5.5, 5.9, 6.0, 6.9, 7.1], 1.0), [0, 4, 6]);
    assert_eq!(at_frame_rate([0.0, 3.0, 1.5, f64::NAN, 4.0, f64::INFINITY], 1.0), [0, 1, 4]);
    for rate in [0.0, -3.0, f64::NAN, f64::INFINITY] {
        assert_eq!(at_frame_rate([0.0, 0.0, 1.0], rate), [0, 1, 2]);
    }
    let mut filter = FrameRateFilter::new(0.001);
    assert!(filter.keeps(-7.0) && !filter.keeps(900.0) && filter.keeps(993.0));
}
