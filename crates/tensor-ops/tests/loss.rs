//! Losses: PyTorch's values and gradients, finite differences, extreme logits, threads and errors.

use ndarray::{Array, Array1, Array2, ArrayD, ArrayView2, ArrayViewD, Axis, IxDyn, array, s};
use tensor_ops::loss::{
    CrossEntropyConfig, Loss, Reduction, binary_cross_entropy, binary_cross_entropy_with_gradient, cross_entropy,
    cross_entropy_with_gradient, mean_absolute_error, mean_absolute_error_with_gradient, mean_squared_error,
    mean_squared_error_with_gradient,
};
use tensor_ops::testing::{
    Fixture, assert_all_close, assert_independent_of_threads, load_fixture, numeric_gradient, run_cases, seeded_array,
};
use tensor_ops::{Element, TensorError};

const REDUCTIONS: [(Reduction, &str); 3] =
    [(Reduction::Sum, "sum"), (Reduction::Mean, "mean"), (Reduction::BatchMean, "batch_mean")];

fn fixture() -> Fixture {
    load_fixture(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/loss.safetensors"))
}

type PairwiseFunction<T, R> = fn(ArrayViewD<'_, T>, ArrayViewD<'_, T>, Reduction) -> Result<R, TensorError>;

/// A loss of two arrays of one shape, in both forms.
struct Pairwise<T: Element> {
    name: &'static str,
    value: PairwiseFunction<T, T>,
    with_gradient: PairwiseFunction<T, Loss<T, IxDyn>>,
}

fn pairwise<T: Element>() -> [Pairwise<T>; 3] {
    [
        Pairwise {
            name: "binary_cross_entropy",
            value: binary_cross_entropy,
            with_gradient: binary_cross_entropy_with_gradient,
        },
        Pairwise {
            name: "mean_squared_error",
            value: mean_squared_error,
            with_gradient: mean_squared_error_with_gradient,
        },
        Pairwise {
            name: "mean_absolute_error",
            value: mean_absolute_error,
            with_gradient: mean_absolute_error_with_gradient,
        },
    ]
}

fn scalar<T: Element>(value: T) -> ArrayD<T> {
    ArrayD::from_elem(IxDyn(&[1]), value)
}

fn pairwise_equals_pytorch<T: Element>(rtol: f64, atol: f64) {
    let fixture = fixture();
    for loss in pairwise::<T>() {
        let array = |what: &str| fixture.array::<T>(&format!("{}.{what}", loss.name));
        let (input, target) = (array("input"), array("target"));
        run_cases(REDUCTIONS, |&(reduction, name)| {
            let value = (loss.value)(input.view(), target.view(), reduction).unwrap();
            assert_all_close(&scalar(value), &array(&format!("{name}.value")), rtol, atol);
            // Other strides, same elements.
            let reversed = (input.t().to_owned(), target.t().to_owned());
            let result = (loss.with_gradient)(reversed.0.t(), reversed.1.t(), reduction).unwrap();
            assert_eq!(result.value, value, "{}: both forms", loss.name);
            assert_all_close(&result.gradient, &array(&format!("{name}.gradient")), rtol, atol);
        });
    }
}

#[test]
fn pairwise_losses_in_single_precision_equal_pytorch() {
    pairwise_equals_pytorch::<f32>(2e-6, 1e-6);
}

#[test]
fn pairwise_losses_in_double_precision_equal_pytorch() {
    pairwise_equals_pytorch::<f64>(1e-13, 1e-14);
}

fn cross_entropy_equals_pytorch<T: Element>(rtol: f64, atol: f64) {
    let fixture = fixture();
    let array = |what: &str| fixture.array::<T>(&format!("cross_entropy.{what}"));
    let logits = array("logits").into_dimensionality().unwrap();
    let classes = fixture.indices("cross_entropy.classes");
    let item_weights = array("item_weights").into_iter().collect::<Vec<T>>();
    let class_weights = array("class_weights");
    let class_weights: Vec<T> = classes.iter().map(|&class| class_weights[class]).collect();

    let check = |case: String, config: &CrossEntropyConfig<'_, T>| {
        eprintln!("{case}");
        let value = cross_entropy(logits.view(), &classes, config).unwrap();
        assert_all_close(&scalar(value), &array(&format!("{case}.value")), rtol, atol);
        let result = cross_entropy_with_gradient(logits.t().to_owned().t(), &classes, config).unwrap();
        assert_eq!(result.value, value);
        assert_all_close(&result.gradient.into_dyn(), &array(&format!("{case}.gradient")), rtol, atol);
    };
    for (reduction, name) in REDUCTIONS {
        for (label_smoothing, smoothing) in [(0.0, "0.0"), (0.1, "0.1"), (1.0, "1.0")] {
            let mut config = CrossEntropyConfig { reduction, label_smoothing, item_weights: None };
            check(format!("{name}.{smoothing}"), &config);
            config.item_weights = Some(&item_weights);
            check(format!("{name}.{smoothing}.weighted"), &config);
        }
        if reduction != Reduction::BatchMean {
            let item_weights = Some(&class_weights[..]);
            check(
                format!("{name}.class_weights"),
                &CrossEntropyConfig { reduction, item_weights, ..Default::default() },
            );
        }
    }
}

#[test]
fn cross_entropy_in_single_precision_equals_pytorch() {
    cross_entropy_equals_pytorch::<f32>(2e-6, 1e-6);
}

#[test]
fn cross_entropy_in_double_precision_equals_pytorch() {
    cross_entropy_equals_pytorch::<f64>(1e-13, 1e-14);
}

#[test]
fn gradients_equal_finite_differences() {
    let input: ArrayD<f64> = seeded_array(IxDyn(&[3, 2, 11]), 1).mapv(|x: f64| 4.0 * x);
    let target: ArrayD<f64> = seeded_array(IxDyn(&[3, 2, 11]), 2).mapv(|x: f64| 0.5 + 0.5 * x);
    for loss in pairwise::<f64>() {
        for (reduction, _) in REDUCTIONS {
            let gradient = (loss.with_gradient)(input.view(), target.view(), reduction).unwrap().gradient;
            let numeric =
                numeric_gradient(&input, |input| (loss.value)(input.view(), target.view(), reduction).unwrap());
            eprintln!("{} {reduction:?}", loss.name);
            assert_all_close(&gradient, &numeric, 1e-7, 1e-8);
        }
    }
    let logits: Array2<f64> = seeded_array((5, 9), 3).mapv(|x: f64| 4.0 * x);
    let weights = [0.5, 2.0, 0.0, 1.0, 0.25];
    for (reduction, _) in REDUCTIONS {
        for label_smoothing in [0.0, 0.2, 1.0] {
            for item_weights in [None, Some(&weights[..])] {
                let config = CrossEntropyConfig { reduction, label_smoothing, item_weights };
                let classes = [8, 0, 3, 3, 5];
                let gradient = cross_entropy_with_gradient(logits.view(), &classes, &config).unwrap().gradient;
                let numeric =
                    numeric_gradient(&logits, |logits| cross_entropy(logits.view(), &classes, &config).unwrap());
                assert_all_close(&gradient, &numeric, 1e-7, 1e-8);
            }
        }
    }
}

#[test]
fn extreme_logits_stay_finite() {
    let config = CrossEntropyConfig::<f32> { reduction: Reduction::Sum, label_smoothing: 0.1, ..Default::default() };
    let logits = array![[1e4_f32, -1e4, 0.0], [-1e4, 1e4, 1e4]];
    let loss = cross_entropy_with_gradient(logits.view(), &[1, 0], &config).unwrap();
    let expected = 0.9 * 2e4 + 0.1 * 1e4 + (0.9 * 2e4 + 0.1 * (2e4 / 3.0)) + 2.0_f32.ln();
    assert!((loss.value / expected - 1.0).abs() < 1e-6, "{} {expected}", loss.value);
    assert_all_close(
        &loss.gradient,
        &array![[1.0 - 0.1 / 3.0, -0.9 - 0.1 / 3.0, -0.1 / 3.0], [-0.9 - 0.1 / 3.0, 0.5 - 0.1 / 3.0, 0.5 - 0.1 / 3.0]],
        1e-6,
        0.0,
    );

    // A sure and right logit costs e^−|z|, without cancellation on either side.
    for (logit, target) in [(20.0_f32, 1.0), (-20.0, 0.0), (80.0, 1.0), (-80.0, 0.0)] {
        let value = binary_cross_entropy(array![logit].view(), array![target].view(), Reduction::Sum).unwrap();
        assert!((value / (-20.0_f32).exp().powf(logit.abs() / 20.0) - 1.0).abs() < 1e-5, "{logit}: {value}");
    }
    let (logits, target) = (array![1e4_f32, -1e4, 1e4, -1e4], array![1.0_f32, 0.0, 0.0, 1.0]);
    let loss = binary_cross_entropy_with_gradient(logits.view(), target.view(), Reduction::Sum).unwrap();
    assert_eq!(loss, Loss { value: 2e4, gradient: array![0.0, 0.0, 1.0, -1.0] });
}

#[test]
fn nan_stays_where_it_is() {
    let config = CrossEntropyConfig { reduction: Reduction::Sum, ..Default::default() };
    let logits = array![[0.0_f32, 1.0], [f32::NAN, 0.0], [2.0, 1.0]];
    let loss = cross_entropy_with_gradient(logits.view(), &[0, 1, 1], &config).unwrap();
    assert!(loss.value.is_nan());
    let nan: Vec<bool> = loss.gradient.rows().into_iter().map(|row| row.iter().all(|x| x.is_nan())).collect();
    assert_eq!(nan, [false, true, false]);
    assert!(loss.gradient.row(0).iter().chain(loss.gradient.row(2)).all(|x| x.is_finite()));
    // An item of weight 0 is not read.
    let weighted = CrossEntropyConfig { item_weights: Some(&[1.0, 0.0, 1.0]), ..config };
    let loss = cross_entropy_with_gradient(logits.view(), &[0, 1, 1], &weighted).unwrap();
    let without = cross_entropy(logits.select(Axis(0), &[0, 2]).view(), &[0, 1], &config).unwrap();
    assert_eq!(loss.value, without);
    assert_eq!(loss.gradient.row(1), array![0.0, 0.0]);

    for loss in pairwise::<f32>() {
        for position in [0, 7, 18] {
            let mut input = ArrayD::from_elem(IxDyn(&[19]), 0.25_f32);
            input[position] = f32::NAN;
            let target = ArrayD::from_elem(IxDyn(&[19]), 0.5);
            let result = (loss.with_gradient)(input.view(), target.view(), Reduction::Mean).unwrap();
            assert!(result.value.is_nan(), "{}", loss.name);
            assert!(result.gradient.iter().enumerate().all(|(i, x)| x.is_nan() == (i == position)), "{}", loss.name);
        }
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let input: ArrayD<f32> = seeded_array(IxDyn(&[40, 5001]), 1);
    let target: ArrayD<f32> = seeded_array(IxDyn(&[40, 5001]), 2).mapv(|x: f32| 0.5 + 0.5 * x);
    let classes: Vec<usize> = (0..40).map(|i| (i * 1237) % 5001).collect();
    let many = input.view().into_shape_with_order((5001, 40)).unwrap();
    let many_classes: Vec<usize> = (0..5001).map(|i| i % 40).collect();
    let weights: Vec<f32> = (0..5001).map(|i| (i % 7) as f32).collect();
    assert_independent_of_threads(|| {
        let mut arrays = Vec::new();
        for loss in pairwise::<f32>() {
            let result = (loss.with_gradient)(input.view(), target.view(), Reduction::Mean).unwrap();
            let value = (loss.value)(input.view(), target.view(), Reduction::Mean).unwrap();
            arrays.extend([scalar(result.value), scalar(value), result.gradient]);
        }
        let mut add = |logits: ArrayView2<'_, f32>, classes: &[usize], item_weights| {
            let config = CrossEntropyConfig { label_smoothing: 0.1, item_weights, ..Default::default() };
            let result = cross_entropy_with_gradient(logits, classes, &config).unwrap();
            let value = cross_entropy(logits, classes, &config).unwrap();
            arrays.extend([scalar(result.value), scalar(value), result.gradient.into_dyn()]);
        };
        add(input.view().into_dimensionality().unwrap(), &classes, None);
        add(many, &many_classes, Some(&weights));
        arrays
    });
}

#[test]
fn large_inputs_equal_plain_sums() {
    // More than one block of every size, so that block and thread boundaries are crossed.
    let input: Array1<f64> = seeded_array(100_003, 1).mapv(|x: f64| 5.0 * x);
    let target: Array1<f64> = seeded_array(100_003, 2).mapv(|x: f64| 0.5 + 0.5 * x);
    let plain = |term: &dyn Fn(f64, f64) -> f64| input.iter().zip(&target).map(|(&x, &y)| term(x, y)).sum::<f64>();
    let expected = [
        plain(&|x, y| x.max(0.0) - x * y + (-x.abs()).exp().ln_1p()),
        plain(&|x, y| (x - y) * (x - y)),
        plain(&|x, y| (x - y).abs()),
    ];
    let (input_view, target_view) = (input.view().into_dyn(), target.view().into_dyn());
    for (loss, expected) in pairwise::<f64>().iter().zip(expected) {
        let value = (loss.value)(input_view.clone(), target_view.clone(), Reduction::Sum).unwrap();
        assert!((value / expected - 1.0).abs() < 1e-11, "{}: {value} {expected}", loss.name);
    }
    let single = (input.mapv(|x| x as f32).into_dyn(), target.mapv(|x| x as f32).into_dyn());
    for (loss, expected) in pairwise::<f32>().iter().zip(expected) {
        let value = (loss.value)(single.0.view(), single.1.view(), Reduction::Sum).unwrap();
        assert!((f64::from(value) / expected - 1.0).abs() < 1e-5, "{}: {value} {expected}", loss.name);
    }
    let logits: Array2<f64> = seeded_array((1003, 101), 3);
    let classes: Vec<usize> = (0..1003).map(|i| (i * 37) % 101).collect();
    let expected: f64 = logits
        .rows()
        .into_iter()
        .zip(&classes)
        .map(|(row, &class)| row.iter().map(|z| z.exp()).sum::<f64>().ln() - row[class])
        .sum();
    let config = CrossEntropyConfig { reduction: Reduction::Sum, ..Default::default() };
    let value = cross_entropy(logits.view(), &classes, &config).unwrap();
    assert!((value / expected - 1.0).abs() < 1e-12, "{value} {expected}");
}

/// The messages that the two forms of cross-entropy give.
fn refusal(logits: &Array2<f64>, classes: &[usize], config: CrossEntropyConfig<'_, f64>) -> String {
    let value = cross_entropy(logits.view(), classes, &config).unwrap_err();
    let gradient = cross_entropy_with_gradient(logits.view(), classes, &config).unwrap_err();
    assert_eq!(value, gradient);
    value.to_string()
}

#[test]
fn wrong_arguments_of_cross_entropy_are_refused() {
    let default = CrossEntropyConfig::default();
    let logits = Array2::zeros((2, 3));
    let cases = [
        (
            refusal(&Array2::zeros((0, 3)), &[], default),
            "cross_entropy: logits items: expected at least 1 entry, found 0",
        ),
        (
            refusal(&Array2::zeros((1, 0)), &[0], default),
            "cross_entropy: logits classes: expected at least 1 entry, found 0",
        ),
        (refusal(&logits, &[0], default), "cross_entropy: class indices: expected size 2, found 1"),
        (refusal(&logits, &[0, 3], default), "cross_entropy: class of item 1: expected less than 3, found 3"),
        (
            refusal(&logits, &[0, 3], CrossEntropyConfig { item_weights: Some(&[1.0, 0.0]), ..default }),
            "cross_entropy: class of item 1: expected less than 3, found 3",
        ),
        (
            refusal(&logits, &[0, 1], CrossEntropyConfig { item_weights: Some(&[1.0]), ..default }),
            "cross_entropy: item weights: expected size 2, found 1",
        ),
        (
            refusal(&logits, &[0, 1], CrossEntropyConfig { item_weights: Some(&[1.0, -0.5]), ..default }),
            "cross_entropy: option `item_weights` must be finite and not negative, found -0.5 at item 1",
        ),
        (
            refusal(&logits, &[0, 1], CrossEntropyConfig { item_weights: Some(&[f64::NAN, 1.0]), ..default }),
            "cross_entropy: option `item_weights` must be finite and not negative, found NaN at item 0",
        ),
        (
            refusal(&logits, &[0, 1], CrossEntropyConfig { item_weights: Some(&[0.0, 0.0]), ..default }),
            "cross_entropy: option `item_weights` must be positive for at least one item, found 0 for all items",
        ),
        (
            refusal(&logits, &[0, 1], CrossEntropyConfig { label_smoothing: 1.5, ..default }),
            "cross_entropy: option `label_smoothing` must be in 0..=1, found 1.5",
        ),
        (
            refusal(&logits, &[0, 1], CrossEntropyConfig { label_smoothing: -0.1, ..default }),
            "cross_entropy: option `label_smoothing` must be in 0..=1, found -0.1",
        ),
        (
            refusal(&logits, &[0, 1], CrossEntropyConfig { label_smoothing: f64::NAN, ..default }),
            "cross_entropy: option `label_smoothing` must be in 0..=1, found NaN",
        ),
    ];
    run_cases(cases, |(message, expected)| assert_eq!(message, expected));
    // Without a division there is nothing wrong with weights of 0.
    let zero = CrossEntropyConfig { reduction: Reduction::Sum, item_weights: Some(&[0.0, 0.0]), ..default };
    assert_eq!(cross_entropy(logits.view(), &[0, 1], &zero), Ok(0.0));
}

#[test]
fn wrong_arguments_of_pairwise_losses_are_refused() {
    for loss in pairwise::<f64>() {
        let refusal = |input: &[usize], target: &[usize]| {
            let (input, target) = (ArrayD::zeros(IxDyn(input)), ArrayD::zeros(IxDyn(target)));
            let value = (loss.value)(input.view(), target.view(), Reduction::Mean).unwrap_err();
            let gradient = (loss.with_gradient)(input.view(), target.view(), Reduction::Mean).unwrap_err();
            assert_eq!(value, gradient);
            value.to_string()
        };
        let name = loss.name;
        let found = "found shape [3, 2] for an input of shape [2, 3]";
        assert_eq!(
            refusal(&[2, 3], &[3, 2]),
            format!("{name}: option `target` must be of the shape of the input, {found}")
        );
        assert_eq!(refusal(&[0, 3], &[0, 3]), format!("{name}: elements: expected at least 1 entry, found 0"));
        let point = Array::from_elem(IxDyn(&[]), 0.5);
        assert!((loss.value)(point.view(), point.view(), Reduction::BatchMean).unwrap().is_finite());
    }
    for wrong in [1.5, -0.25, f64::NAN] {
        let target = array![0.0, wrong];
        let error = binary_cross_entropy(array![0.0, 0.0].view(), target.view(), Reduction::Mean).unwrap_err();
        assert_eq!(error.to_string(), format!("binary_cross_entropy: option `target` must be in 0..=1, found {wrong}"));
        let strided = array![[0.0, 1.0], [wrong, 1.0]];
        let target = strided.slice(s![.., 0]);
        assert!(binary_cross_entropy_with_gradient(target, target, Reduction::Mean).is_err());
    }
}
