//! Initialisers: distributions, orthogonality, reproducibility and errors.

use ndarray::{Array, Array2, Array4, Axis, Dimension, s};
use ndarray_rand::rand::rngs::StdRng;
use ndarray_rand::rand::{RngCore, SeedableRng};
use tensor_ops::TensorError;
use tensor_ops::init::{
    FanMode, Fans, Nonlinearity, fan_in_uniform, glorot_normal, glorot_uniform, kaiming_normal, kaiming_uniform,
    normal, orthogonal, orthogonal_blocks, uniform,
};
use tensor_ops::testing::{assert_all_close, assert_bits_equal, assert_independent_of_threads, run_cases};

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Mean, standard deviation and excess kurtosis: 0 for a normal, −1.2 for a uniform distribution.
fn moments<D: Dimension>(values: &Array<f64, D>) -> (f64, f64, f64) {
    let count = values.len() as f64;
    let mean = values.sum() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let fourth = values.iter().map(|v| (v - mean).powi(4)).sum::<f64>() / count;
    (mean, variance.sqrt(), fourth / (variance * variance) - 3.0)
}

/// Checks moments to five standard errors, and the bound of a uniform distribution.
fn check_distribution<D: Dimension>(values: &Array<f64, D>, deviation: f64, is_uniform: bool) {
    let root_count = (values.len() as f64).sqrt();
    let (mean, found_deviation, kurtosis) = moments(values);
    assert!(mean.abs() < 5.0 * deviation / root_count, "mean {mean}");
    assert!(
        (found_deviation / deviation - 1.0).abs() < 5.0 / root_count,
        "deviation {found_deviation}, not {deviation}"
    );
    let expected_kurtosis = if is_uniform { -1.2 } else { 0.0 };
    assert!((kurtosis - expected_kurtosis).abs() < 25.0 / root_count, "excess kurtosis {kurtosis}");
    let bound = 3.0_f64.sqrt() * deviation;
    let largest = values.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
    if is_uniform {
        assert!(largest <= bound * (1.0 + 1e-12), "{largest} beyond {bound}");
        assert!(largest > 0.99 * bound, "{largest} far from {bound}");
    } else {
        assert!(largest > 1.5 * bound, "a normal distribution has tails");
    }
}

#[test]
fn distributions_have_their_moments() {
    const SHAPE: [usize; 4] = [64, 32, 3, 5]; // fan in 480, fan out 960
    type Draw = fn(&mut StdRng) -> Result<Array4<f64>, TensorError>;
    let leaky = 2.0 / (1.0 + 0.2_f64.powi(2));
    let cases: [(&str, Draw, f64, bool); 10] = [
        ("uniform", |rng| uniform(SHAPE, -0.3, 0.3, rng), 0.3 / 3.0_f64.sqrt(), true),
        ("normal", |rng| normal(SHAPE, 0.0, 0.7, rng), 0.7, false),
        ("glorot_uniform", |rng| glorot_uniform(SHAPE, 1.5, rng), 1.5 * (2.0 / 1440.0_f64).sqrt(), true),
        ("glorot_normal", |rng| glorot_normal(SHAPE, 1.5, rng), 1.5 * (2.0 / 1440.0_f64).sqrt(), false),
        (
            "kaiming_uniform",
            |rng| kaiming_uniform(SHAPE, FanMode::In, Nonlinearity::Relu, rng),
            (2.0 / 480.0_f64).sqrt(),
            true,
        ),
        (
            "kaiming_uniform out",
            |rng| kaiming_uniform(SHAPE, FanMode::Out, Nonlinearity::Tanh, rng),
            5.0 / 3.0 / 960.0_f64.sqrt(),
            true,
        ),
        (
            "kaiming_normal",
            |rng| kaiming_normal(SHAPE, FanMode::In, Nonlinearity::LeakyRelu { negative_slope: 0.2 }, rng),
            (leaky / 480.0).sqrt(),
            false,
        ),
        (
            "kaiming_normal out",
            |rng| kaiming_normal(SHAPE, FanMode::Out, Nonlinearity::Selu, rng),
            0.75 / 960.0_f64.sqrt(),
            false,
        ),
        (
            "kaiming_normal linear",
            |rng| kaiming_normal(SHAPE, FanMode::In, Nonlinearity::Linear, rng),
            1.0 / 480.0_f64.sqrt(),
            false,
        ),
        ("fan_in_uniform", |rng| fan_in_uniform(SHAPE, 480, rng), 1.0 / (3.0 * 480.0_f64).sqrt(), true),
    ];
    run_cases(cases, |(_, draw, deviation, is_uniform)| {
        check_distribution(&draw(&mut rng(11)).unwrap(), *deviation, *is_uniform);
    });
}

#[test]
fn normal_and_uniform_are_shifted() {
    let (mean, deviation, _) = moments(&normal::<f64, _>(20_000, -3.0, 0.5, &mut rng(1)).unwrap());
    assert!((mean + 3.0).abs() < 0.02 && (deviation - 0.5).abs() < 0.02, "{mean} ± {deviation}");
    let (mean, deviation, _) = moments(&uniform::<f64, _>(20_000, 1.0, 4.0, &mut rng(1)).unwrap());
    assert!((mean - 2.5).abs() < 0.03 && (deviation - 0.75_f64.sqrt()).abs() < 0.03, "{mean} ± {deviation}");
    assert_eq!(uniform::<f32, _>(3, 2.0, 2.0, &mut rng(1)).unwrap().to_vec(), [2.0; 3]);
    assert_eq!(normal::<f32, _>(3, 2.0, 0.0, &mut rng(1)).unwrap().to_vec(), [2.0; 3]);
}

#[test]
fn the_default_of_pytorch_is_kaiming_with_slope_root_five() {
    let nonlinearity = Nonlinearity::LeakyRelu { negative_slope: 5.0_f64.sqrt() };
    let kaiming = kaiming_uniform::<f64, _>((8, 3, 3, 3), FanMode::In, nonlinearity, &mut rng(4)).unwrap();
    let default = fan_in_uniform::<f64, _>((8, 3, 3, 3), 27, &mut rng(4)).unwrap();
    assert_all_close(&kaiming, &default, 1e-14, 0.0);
}

#[test]
fn one_seed_gives_one_model_in_both_precisions() {
    macro_rules! check {
        ($($draw:expr),* $(,)?) => {$(
            let single: Array2<f32> = $draw(&mut rng(5)).unwrap();
            assert_bits_equal(&single, &$draw(&mut rng(5)).unwrap());
            let other: Array2<f32> = $draw(&mut rng(6)).unwrap();
            assert_ne!(single, other);
            let double: Array2<f64> = $draw(&mut rng(5)).unwrap();
            assert_bits_equal(&double.mapv(|v| v as f32), &single);
        )*};
    }
    macro_rules! draw {
        ($function:ident, $($argument:expr),*) => { |rng: &mut StdRng| $function((12, 3), $($argument,)* rng) };
    }
    check!(
        draw!(uniform, -1.0, 1.0),
        draw!(normal, 0.0, 1.0),
        draw!(glorot_uniform, 1.0),
        draw!(glorot_normal, 1.0),
        draw!(kaiming_uniform, FanMode::In, Nonlinearity::Relu),
        draw!(kaiming_normal, FanMode::Out, Nonlinearity::Sigmoid),
        draw!(fan_in_uniform, 3),
        draw!(orthogonal, 1.0),
        draw!(orthogonal_blocks, 4, 1.0),
    );
}

#[test]
fn orthogonal_for_any_shape() {
    let shapes = [(1, 1), (1, 7), (7, 1), (5, 5), (3, 8), (8, 3), (32, 33), (33, 32), (70, 70), (100, 41), (41, 100)];
    run_cases(shapes, |&(rows, columns)| {
        let matrix = orthogonal::<f64, _>((rows, columns), 1.5, &mut rng(2)).unwrap();
        let products = if rows <= columns { matrix.dot(&matrix.t()) } else { matrix.t().dot(&matrix) };
        assert_all_close(&products, &(Array2::eye(rows.min(columns)) * 2.25), 0.0, 1e-14);
    });
}

#[test]
fn orthogonal_over_all_but_the_first_axis() {
    let weight = orthogonal::<f64, _>((6, 2, 3, 3), 1.0, &mut rng(2)).unwrap();
    let rows = weight.to_shape((6, 18)).unwrap();
    assert_all_close(&rows.dot(&rows.t()), &Array2::eye(6), 0.0, 1e-14);
}

#[test]
fn orthogonal_per_gate() {
    let weight = orthogonal_blocks::<f64, _>((4 * 40, 40), 4, 1.0, &mut rng(2)).unwrap();
    for gate in weight.axis_chunks_iter(Axis(0), 40) {
        assert_all_close(&gate.dot(&gate.t()), &Array2::eye(40), 0.0, 1e-14);
    }
    assert_ne!(weight.slice(s![..40, ..]), weight.slice(s![40..80, ..]));
}

/// Haar's measure is invariant under reflection, so every entry has mean 0 and variance 1/n; without the condition on
/// signs the diagonal would be biased.
#[test]
fn orthogonal_is_uniform() {
    let (mut sums, mut squares) = (Array2::<f64>::zeros((4, 4)), Array2::<f64>::zeros((4, 4)));
    let draws = 4_000;
    let mut rng = rng(3);
    for _ in 0..draws {
        let matrix = orthogonal::<f64, _>((4, 4), 1.0, &mut rng).unwrap();
        sums += &matrix;
        squares += &matrix.mapv(|v| v * v);
    }
    let count = f64::from(draws);
    assert_all_close(&(sums / count), &Array2::zeros((4, 4)), 0.0, 5.0 * 0.5 / count.sqrt());
    assert_all_close(&(squares / count), &Array2::from_elem((4, 4), 0.25), 0.0, 5.0 * 0.25 / count.sqrt());
}

#[test]
fn orthogonal_does_not_depend_on_threads() {
    assert_independent_of_threads(|| vec![orthogonal::<f64, _>((300, 300), 1.0, &mut rng(9)).unwrap().into_dyn()]);
}

/// A generator that has run out of randomness.
struct Stuck;

impl RngCore for Stuck {
    fn next_u32(&mut self) -> u32 {
        1 << 20
    }
    fn next_u64(&mut self) -> u64 {
        1 << 40
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

#[test]
fn misuse_is_refused() {
    let generator = &mut rng(1);
    let relu = Nonlinearity::Relu;
    let slope = Nonlinearity::LeakyRelu { negative_slope: f64::NAN };
    let cases: Vec<(Result<(), TensorError>, &str)> = vec![
        (uniform::<f32, _>(3, 1.0, -1.0, generator).map(drop), "a finite interval that is not empty, found 1..=-1"),
        (uniform::<f32, _>(3, 0.0, f64::NAN, generator).map(drop), "found 0..=NaN"),
        (uniform::<f32, _>(3, -f64::MAX, f64::MAX, generator).map(drop), "a finite interval"),
        (normal::<f32, _>(3, f64::NAN, 1.0, generator).map(drop), "option `mean` must be finite, found NaN"),
        (normal::<f32, _>(3, 0.0, -1.0, generator).map(drop), "must be finite and not negative, found -1"),
        (normal::<f32, _>(3, 0.0, f64::INFINITY, generator).map(drop), "must be finite and not negative, found inf"),
        (glorot_uniform::<f32, _>(3, 1.0, generator).map(drop), "found [3]"),
        (glorot_uniform::<f32, _>((3, 0), 1.0, generator).map(drop), "found [3, 0]"),
        (glorot_uniform::<f32, _>((3, 2), -1.0, generator).map(drop), "option `gain`"),
        (glorot_normal::<f32, _>((0, 2), 1.0, generator).map(drop), "found [0, 2]"),
        (kaiming_uniform::<f32, _>((3, 2, 0), FanMode::In, relu, generator).map(drop), "found [3, 2, 0]"),
        (kaiming_normal::<f32, _>((3, 2), FanMode::In, slope, generator).map(drop), "option `negative_slope`"),
        (fan_in_uniform::<f32, _>((3, 2), 0, generator).map(drop), "fan in: expected at least 1 entry"),
        (orthogonal::<f32, _>(5, 1.0, generator).map(drop), "one of at least 2 axes, found [5]"),
        (orthogonal::<f32, _>((0, 5), 1.0, generator).map(drop), "rows: expected at least 1 entry"),
        (orthogonal::<f32, _>((5, 0), 1.0, generator).map(drop), "columns: expected at least 1 entry"),
        (orthogonal::<f32, _>((5, 5), f64::NAN, generator).map(drop), "option `gain`"),
        (orthogonal_blocks::<f32, _>((5, 5), 2, 1.0, generator).map(drop), "found 2 for 5"),
        (orthogonal_blocks::<f32, _>((5, 5), 0, 1.0, generator).map(drop), "found 0 for 5"),
        (orthogonal::<f32, _>((5, 5), 1.0, &mut Stuck).map(drop), "linearly dependent rows"),
    ];
    for (result, message) in cases {
        let error = result.expect_err(message).to_string();
        assert!(error.starts_with("init"), "{error}");
        assert!(error.contains(message), "`{error}` does not contain `{message}`");
    }
    assert_eq!(Fans::of_shape(&[7, 5]), Ok(Fans { fan_in: 5, fan_out: 7 }));
}
