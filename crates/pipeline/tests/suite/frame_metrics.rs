//! Figures of predicted frames, beside those of scikit-image, and the forecasts without a model.

use ndarray::{Array1, Array2, Array4, ArrayD, Ix4, array, s};
use pipeline::metrics::frames::{FrameFigures, FrameMetrics, peak_signal_to_noise};
use pipeline::metrics::similarity::{SsimWindow, structural_similarity};
use proptest::prelude::*;
use tensor_ops::Element;
use tensor_ops::testing::{Fixture, assert_all_close, load_fixture, run_cases, seeded_array, with_threads};

const WINDOWS: [(SsimWindow, &str); 2] = [(SsimWindow::Uniform, "uniform"), (SsimWindow::Gaussian, "gaussian")];

fn fixture() -> Fixture {
    load_fixture(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/frame_metrics.safetensors"))
}

fn frames<T: Element>(fixture: &Fixture, name: &str) -> [Array4<T>; 2] {
    ["prediction", "truth"]
        .map(|part| fixture.array::<T>(&format!("{name}.{part}")).into_dimensionality::<Ix4>().unwrap())
}

fn figures(prediction: &Array4<f32>, truth: &Array4<f32>, data_range: f64, window: SsimWindow) -> Vec<FrameFigures> {
    let mut metrics = FrameMetrics::new(data_range, window).unwrap();
    metrics.add(prediction.view(), truth.view()).unwrap();
    metrics.leads()
}

fn ssim<T: Element>(a: &Array2<T>, b: &Array2<T>, data_range: f64, window: SsimWindow) -> f64 {
    structural_similarity(a.view(), b.view(), data_range, window).unwrap()
}

/// All figures of one file, computed from frames of the type `T`.
fn compare_with_scikit_image<T: Element>(name: &str) {
    let fixture = fixture();
    let [prediction, truth] = frames::<T>(&fixture, name);
    for (window, window_name) in WINDOWS {
        for range in [1, 2] {
            let mut metrics = FrameMetrics::new(f64::from(range), window).unwrap();
            metrics.add(prediction.view(), truth.view()).unwrap();
            let leads = metrics.leads();
            let of = |figure: fn(&FrameFigures) -> f64| leads.iter().map(figure).collect::<Array1<f64>>().into_dyn();
            let golden = |figure: &str| fixture.array::<f64>(&format!("{name}.{figure}"));
            let each = golden(&format!("ssim_{window_name}.range_{range}"));
            let cases: [(ArrayD<f64>, ArrayD<f64>); 6] = [
                (of(|lead| lead.mse_per_frame), golden("mse_per_frame")),
                (of(|lead| lead.mse_per_pixel), golden("mse_per_pixel")),
                (of(|lead| lead.mae_per_frame), golden("mae_per_frame")),
                (of(|lead| lead.mae_per_pixel), golden("mae_per_pixel")),
                (of(|lead| lead.psnr.unwrap()), golden(&format!("psnr.range_{range}"))),
                (of(|lead| lead.ssim), each.mean_axis(ndarray::Axis(0)).unwrap()),
            ];
            for (ours, expected) in cases {
                assert_all_close(&ours, &expected, 1e-11, 0.0);
            }
            for (index, &expected) in each.indexed_iter() {
                let frame = s![index[0], index[1], .., ..];
                let (p, y) = (prediction.slice(frame), truth.slice(frame));
                let figure = structural_similarity(p, y, f64::from(range), window).unwrap();
                assert!((figure - expected).abs() < 1e-11, "{name}, {window:?}, range {range}, {index:?}: {figure}");
            }
        }
    }
}

#[test]
fn figures_are_those_of_scikit_image() {
    run_cases(["small", "wide", "canvas"], |name| {
        compare_with_scikit_image::<f32>(name);
        compare_with_scikit_image::<f64>(name);
    });
}

#[test]
fn the_range_of_the_data_changes_the_figures() {
    let [prediction, truth] = frames::<f32>(&fixture(), "canvas");
    let [one, two] = [1.0, 2.0].map(|range| figures(&prediction, &truth, range, SsimWindow::Uniform)[0]);
    assert!(two.ssim > one.ssim + 0.05, "{} and {}", one.ssim, two.ssim);
    assert!((two.psnr.unwrap() - one.psnr.unwrap() - 20.0 * 2_f64.log10()).abs() < 1e-9);
    assert_eq!((one.mse_per_frame, one.mae_per_frame), (two.mse_per_frame, two.mae_per_frame));
}

/// The definition, with plain loops: deviations from the means of each window, not means of squares.
fn naive_similarity(a: &Array2<f64>, b: &Array2<f64>, data_range: f64, window: SsimWindow) -> f64 {
    let size = window.size();
    let half = (size / 2) as f64;
    let weights = Array2::from_shape_fn((size, size), |(row, column)| match window {
        SsimWindow::Uniform => 1.0,
        SsimWindow::Gaussian => {
            let distance = (row as f64 - half).powi(2) + (column as f64 - half).powi(2);
            (-distance / (2.0 * 1.5 * 1.5)).exp()
        }
    });
    let total = weights.sum();
    let denominator = if window == SsimWindow::Uniform { total - 1.0 } else { total };
    let (c1, c2) = ((0.01 * data_range).powi(2), (0.03 * data_range).powi(2));
    let (mut sum, mut places) = (0.0, 0.0);
    for top in 0..=a.nrows() - size {
        for left in 0..=a.ncols() - size {
            let inside = s![top..top + size, left..left + size];
            let (x, y) = (a.slice(inside), b.slice(inside));
            let (mx, my) = ((&x * &weights).sum() / total, (&y * &weights).sum() / total);
            let (dx, dy) = (x.mapv(|v| v - mx), y.mapv(|v| v - my));
            let vx = (&dx * &dx * &weights).sum() / denominator;
            let vy = (&dy * &dy * &weights).sum() / denominator;
            let vxy = (&dx * &dy * &weights).sum() / denominator;
            sum += (2.0 * mx * my + c1) * (2.0 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2));
            places += 1.0;
        }
    }
    sum / places
}

#[test]
fn figures_are_those_of_the_definitions() {
    // One frame per lead, of 7×8 pixels: one that is all wrong by 0.5, one with a single wrong pixel, one that is right.
    let truth = Array4::<f32>::zeros((1, 3, 7, 8));
    let mut prediction = truth.clone();
    prediction.slice_mut(s![0, 0, .., ..]).fill(-0.5);
    prediction[[0, 1, 2, 3]] = 0.25;
    let leads = figures(&prediction, &truth, 1.0, SsimWindow::Uniform);
    let expected = [
        (14.0, 0.25, 28.0, 0.5, Some(10.0 * 4_f64.log10()), 0),
        (0.0625, 0.0625 / 56.0, 0.25, 0.25 / 56.0, Some(10.0 * (56.0_f64 * 16.0).log10()), 0),
        (0.0, 0.0, 0.0, 0.0, None, 1),
    ];
    for (lead, (mse, mse_pixel, mae, mae_pixel, psnr, identical)) in leads.iter().zip(expected) {
        assert_eq!((lead.mse_per_frame, lead.mae_per_frame), (mse, mae));
        assert_eq!((lead.mse_per_pixel, lead.mae_per_pixel), (mse_pixel, mae_pixel));
        assert_eq!((lead.psnr.is_some(), lead.identical_frames, lead.frames), (psnr.is_some(), identical, 1));
        assert!((lead.psnr.unwrap_or(0.0) - psnr.unwrap_or(0.0)).abs() < 1e-12, "{lead:?}");
    }
    assert_eq!(leads[2].ssim, 1.0);
}

#[test]
fn the_ratio_is_averaged_over_frames_that_differ() {
    let mut metrics = FrameMetrics::new(1.0, SsimWindow::Uniform).unwrap();
    let truth = Array4::<f64>::zeros((4, 1, 7, 7));
    let mut prediction = truth.clone();
    for (clip, error) in [0.1, 0.0, 0.01, 1.0].into_iter().enumerate() {
        prediction.slice_mut(s![clip, .., .., ..]).fill(error);
    }
    metrics.add(prediction.view(), truth.view()).unwrap();
    let lead = metrics.leads()[0];
    // 20, 40 and 0 dB: their mean, not the ratio of the mean error, and not infinity.
    assert!((lead.psnr.unwrap() - 20.0).abs() < 1e-9, "{lead:?}");
    assert_eq!((lead.frames, lead.identical_frames), (4, 1));
    assert!((peak_signal_to_noise(lead.mse_per_pixel, 1.0) - lead.psnr.unwrap()).abs() > 10.0);
    let stored = serde_json::to_string(&lead).unwrap();
    assert_eq!(serde_json::from_str::<FrameFigures>(&stored).unwrap(), lead);
}

#[test]
fn batches_add_up_to_the_whole() {
    let fixture = fixture();
    let [prediction, truth] = frames::<f32>(&fixture, "wide");
    let mut parts = FrameMetrics::new(1.0, SsimWindow::Gaussian).unwrap();
    assert_eq!((parts.leads(), parts.mean()), (vec![], None));
    for range in [0..1, 1..3] {
        let part = s![range, .., .., ..];
        parts.add(prediction.slice(part), truth.slice(part)).unwrap();
    }
    let mut whole = FrameMetrics::new(1.0, SsimWindow::Gaussian).unwrap();
    whole.add(prediction.view(), truth.view()).unwrap();
    assert_eq!(parts.leads(), whole.leads());
    assert_eq!(parts.mean(), whole.mean());

    let (leads, mean) = (whole.leads(), whole.mean().unwrap());
    let average = |figure: fn(&FrameFigures) -> f64| leads.iter().map(figure).sum::<f64>() / leads.len() as f64;
    let figures: [fn(&FrameFigures) -> f64; 4] =
        [|f| f.mse_per_frame, |f| f.mae_per_pixel, |f| f.ssim, |f| f.psnr.unwrap()];
    for figure in figures {
        assert!((figure(&mean) - average(figure)).abs() <= 1e-12 * average(figure));
    }
    assert_eq!(mean.frames, 6);
    for threads in [1, 2, 3, 8] {
        let again = with_threads(threads, || {
            let mut metrics = FrameMetrics::new(1.0, SsimWindow::Gaussian).unwrap();
            metrics.add(prediction.view(), truth.view()).unwrap();
            metrics.leads()
        });
        assert_eq!(again, leads, "{threads} threads");
    }
}

#[test]
fn nan_stays_visible() {
    let truth = Array4::<f32>::zeros((2, 2, 7, 7));
    let mut prediction = truth.clone();
    prediction[[1, 0, 3, 3]] = f32::NAN;
    let leads = figures(&prediction, &truth, 1.0, SsimWindow::Uniform);
    let FrameFigures { mse_per_frame, mae_per_frame, ssim, psnr, .. } = leads[0];
    assert!([mse_per_frame, mae_per_frame, ssim, psnr.unwrap()].into_iter().all(f64::is_nan), "{:?}", leads[0]);
    assert_eq!((leads[1].mse_per_frame, leads[1].identical_frames), (0.0, 2));
}

#[test]
fn frames_that_do_not_fit_are_refused() {
    let error = |prediction: [usize; 2], truth: [usize; 2], range, window| {
        let (prediction, truth) = (Array2::<f32>::zeros(prediction), Array2::<f32>::zeros(truth));
        structural_similarity(prediction.view(), truth.view(), range, window).unwrap_err().to_string()
    };
    let (uniform, gaussian) = (SsimWindow::Uniform, SsimWindow::Gaussian);
    let cases = [
        (error([8, 9], [9, 9], 1.0, uniform), "structural_similarity: prediction height: expected size 9, found 8"),
        (error([9, 8], [9, 9], 1.0, uniform), "structural_similarity: prediction width: expected size 9, found 8"),
        (
            error([6, 9], [6, 9], 1.0, uniform),
            "structural_similarity: height: expected at least the 7 pixels of the window, found 6",
        ),
        (
            error([11, 10], [11, 10], 1.0, gaussian),
            "structural_similarity: width: expected at least the 11 pixels of the window, found 10",
        ),
        (
            error([0, 0], [0, 0], 1.0, gaussian),
            "structural_similarity: height: expected at least the 11 pixels of the window, found 0",
        ),
        (error([9, 9], [9, 9], 0.0, uniform), "the range of the data must be a number above 0, found 0"),
        (error([9, 9], [9, 9], -1.0, uniform), "the range of the data must be a number above 0, found -1"),
        (error([9, 9], [9, 9], f64::NAN, uniform), "the range of the data must be a number above 0, found NaN"),
        (error([9, 9], [9, 9], f64::INFINITY, uniform), "the range of the data must be a number above 0, found inf"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    assert!(FrameMetrics::new(0.0, uniform).is_err());

    let mut metrics = FrameMetrics::new(1.0, uniform).unwrap();
    let mut add = |prediction: [usize; 4], truth: [usize; 4]| {
        let before = (metrics.leads(), metrics.mean());
        let (prediction, truth) = (Array4::<f64>::zeros(prediction), Array4::zeros(truth));
        let result = metrics.add(prediction.view(), truth.view()).map_err(|error| error.to_string());
        assert!(result.is_ok() || (metrics.leads(), metrics.mean()) == before, "nothing is added after an error");
        result.err().unwrap_or_default()
    };
    let good = [2, 3, 8, 9];
    let cases = [
        ([0, 3, 8, 9], [0, 3, 8, 9], "FrameMetrics: truth clips: expected at least 1 entry, found 0"),
        ([2, 0, 8, 9], [2, 0, 8, 9], "FrameMetrics: truth leads: expected at least 1 entry, found 0"),
        ([2, 3, 0, 9], [2, 3, 0, 9], "FrameMetrics: truth height: expected at least 1 entry, found 0"),
        (
            [2, 3, 8, 6],
            [2, 3, 8, 6],
            "structural_similarity: width: expected at least the 7 pixels of the window, found 6",
        ),
        ([1, 3, 8, 9], good, "FrameMetrics: prediction clips: expected size 2, found 1"),
        (good, good, ""),
        ([2, 4, 8, 9], good, "FrameMetrics: prediction leads: expected size 3, found 4"),
        ([2, 3, 9, 9], good, "FrameMetrics: prediction height: expected size 8, found 9"),
        ([2, 3, 8, 8], good, "FrameMetrics: prediction width: expected size 9, found 8"),
        ([2, 4, 8, 9], [2, 4, 8, 9], "FrameMetrics: truth leads: expected size 3, found 4"),
        ([2, 3, 9, 9], [2, 3, 9, 9], "FrameMetrics: truth height: expected size 8, found 9"),
        ([2, 3, 8, 7], [2, 3, 8, 7], "FrameMetrics: truth width: expected size 9, found 7"),
        ([5, 3, 8, 9], [5, 3, 8, 9], ""),
    ];
    for (prediction, truth, message) in cases {
        assert_eq!(add(prediction, truth), message, "{prediction:?} {truth:?}");
    }
    assert_eq!(metrics.mean().unwrap().frames, 21);
}

#[test]
fn similarities_worked_out_by_hand() {
    // A constant frame against another constant frame: only the means matter.
    let [a, b] = [0.2, 0.6].map(|value| Array2::from_elem((12, 12), value));
    for (window, _) in WINDOWS {
        let expected = (2.0 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4);
        assert!((ssim(&a, &b, 1.0, window) - expected).abs() < 1e-9);
    }
    // One window of one row: the uniform window with N − 1, from sums of whole numbers.
    let mut x = Array2::<f64>::zeros((7, 7));
    x.row_mut(0).assign(&array![1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let y = x.t().to_owned();
    let (mean, variance, covariance) = (1.0 / 7.0, (7.0 - 1.0) / 48.0, (1.0 - 1.0) / 48.0);
    let expected: f64 =
        (2.0 * mean * mean + 1e-4) * (2.0 * covariance + 9e-4) / ((2.0 * mean * mean + 1e-4) * (2.0 * variance + 9e-4));
    assert!((ssim(&x, &y, 1.0, SsimWindow::Uniform) - expected).abs() < 1e-14);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn similarity_is_that_of_plain_loops(
        height in 11_usize..20, width in 11_usize..20, seed in 0_u64..1000, range in 0.1..300.0, gaussian in any::<bool>(),
    ) {
        let window = if gaussian { SsimWindow::Gaussian } else { SsimWindow::Uniform };
        let a = seeded_array::<f64, _>((height, width), seed) * range;
        let b = 0.7 * &a + seeded_array::<f64, _>((height, width), seed + 1) * (0.3 * range);
        let (figure, expected) = (ssim(&a, &b, range, window), naive_similarity(&a, &b, range, window));
        prop_assert!((figure - expected).abs() < 1e-10, "{} and {}", figure, expected);
        prop_assert_eq!(figure, ssim(&b, &a, range, window), "the order does not matter");
        prop_assert!(figure < 1.0);
        prop_assert_eq!(ssim(&a, &a, range, window), 1.0);
        // Scaling frames and range together changes nothing.
        let scaled = ssim(&(&a * 4.0), &(&b * 4.0), range * 4.0, window);
        prop_assert!((figure - scaled).abs() < 1e-10, "{} and {}", figure, scaled);
    }
}
