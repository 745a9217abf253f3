//! Softmax and log-softmax: PyTorch's values and gradients, a plain reference, masks, special scores and errors.

use ndarray::{Array, Array2, ArrayD, ArrayView2, ArrayViewD, Axis, IxDyn, ShapeBuilder, array, s};
use proptest::prelude::*;
use tensor_ops::testing::{
    assert_all_close, assert_bits_equal, assert_independent_of_threads, load_fixture, numeric_gradient, run_cases,
    seeded_array,
};
use tensor_ops::{
    Element, TensorError, log_softmax, log_softmax_backward, softmax, softmax_backward, softmax_row,
    softmax_row_backward,
};

/// Name in the fixture and axis; the scores and the mask are read from it.
const CASES: [(&str, usize); 10] = [
    ("vector", 0),
    ("last", 1),
    ("first", 0),
    ("middle", 1),
    ("single", 1),
    ("image", 1),
    ("mask_full", 2),
    ("mask_keys", 2),
    ("mask_batch", 2),
    ("mask_middle", 1),
];

fn compare_with_pytorch<T: Element>(rtol: f64, atol: f64) {
    let fixture = load_fixture(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/softmax.safetensors"));
    run_cases(CASES, |&(name, axis)| {
        let array = |what: &str| fixture.array::<T>(&format!("{name}.{what}"));
        let mask = fixture.contains(&format!("{name}.mask")).then(|| array("mask").mapv(|kept| kept == T::one()));
        let mask = || mask.as_ref().map(|mask| mask.view());
        let scores = array("scores");

        let weights = softmax(scores.view(), axis, mask()).unwrap();
        assert_all_close(&weights, &array("softmax"), rtol, atol);
        let gradient = softmax_backward(weights.view(), array("softmax.upstream").view(), axis).unwrap();
        assert_all_close(&gradient, &array("softmax.gradient"), rtol, atol);

        let log_weights = log_softmax(scores.view(), axis, mask()).unwrap();
        assert_all_close(&log_weights, &array("log_softmax"), rtol, atol);
        let gradient = log_softmax_backward(log_weights.view(), array("log_softmax.upstream").view(), axis).unwrap();
        assert_all_close(&gradient, &array("log_softmax.gradient"), rtol, atol);
    });
}

#[test]
fn single_precision_equals_pytorch() {
    compare_with_pytorch::<f32>(1e-5, 2e-6);
}

#[test]
fn double_precision_equals_pytorch() {
    compare_with_pytorch::<f64>(1e-13, 1e-14);
}

/// Softmax and log-softmax by plain loops in double precision.
fn reference(scores: &ArrayD<f64>, axis: usize, mask: &ArrayD<bool>) -> [ArrayD<f64>; 2] {
    let (mut weights, mut log_weights) = (scores.clone(), scores.clone());
    let lanes = weights.lanes_mut(Axis(axis)).into_iter().zip(log_weights.lanes_mut(Axis(axis)));
    for ((mut weights, mut log_weights), mask) in lanes.zip(mask.lanes(Axis(axis))) {
        let kept: Vec<usize> = (0..mask.len()).filter(|&i| mask[i]).collect();
        let max = kept.iter().map(|&i| weights[i]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = kept.iter().map(|&i| (weights[i] - max).exp()).sum();
        for i in 0..mask.len() {
            log_weights[i] = if mask[i] { log_weights[i] - max - sum.ln() } else { f64::NEG_INFINITY };
            weights[i] = if mask[i] { (weights[i] - max).exp() / sum } else { 0.0 };
        }
    }
    [weights, log_weights]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_shape_axis_mask_and_layout_equals_the_reference(
        shape in prop::collection::vec(1_usize..20, 1..4),
        axis in 0_usize..4,
        seed in 0_u64..1000,
        kept in 0.0..1.0_f64,
        fortran: bool,
    ) {
        let axis = axis % shape.len();
        let scores: ArrayD<f32> = seeded_array(IxDyn(&shape).set_f(fortran), seed).mapv(|x: f32| 20.0 * x);
        let mask = seeded_array::<f64, _>(IxDyn(&shape), seed + 1).mapv(|x| x < 2.0 * kept - 1.0);
        let exact_scores = scores.mapv(f64::from);
        let [weights, log_weights] = reference(&exact_scores, axis, &mask);

        let actual = softmax(scores.view(), axis, Some(mask.view())).unwrap();
        prop_assert!(actual.is_standard_layout());
        assert_all_close(&actual, &weights.mapv(|x| x as f32), 4e-6, 1e-30);
        let actual = log_softmax(scores.view(), axis, Some(mask.view())).unwrap();
        assert_all_close(&actual, &log_weights.mapv(|x| x as f32), 2e-6, 2e-6);
        let actual = softmax(exact_scores.view(), axis, Some(mask.view())).unwrap();
        assert_all_close(&actual, &weights, 1e-13, 1e-300);
        let actual = log_softmax(exact_scores.view(), axis, Some(mask.view())).unwrap();
        assert_all_close(&actual, &log_weights, 1e-13, 1e-13);
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let scores: ArrayD<f64> = seeded_array(IxDyn(&[3, 5, 4]), 1).mapv(|x: f64| 2.0 * x);
    let upstream: ArrayD<f64> = seeded_array(IxDyn(&[3, 5, 4]), 2);
    for axis in 0..3 {
        // Every lane keeps an entry, but for one along the last axis.
        let mut mask = seeded_array::<f64, _>(IxDyn(&[3, 5, 4]), 3).mapv(|x| x < 0.4);
        mask.index_axis_mut(Axis(axis), 0).fill(true);
        mask.slice_mut(s![1, 2, ..]).fill(axis != 2);
        let mask = || Some(mask.view());

        let weights = softmax(scores.view(), axis, mask()).unwrap();
        let gradient = softmax_backward(weights.view(), upstream.view(), axis).unwrap();
        let numeric =
            numeric_gradient(&scores, |scores| (softmax(scores.view(), axis, mask()).unwrap() * &upstream).sum());
        assert_all_close(&gradient, &numeric, 1e-7, 1e-9);

        let log_weights = log_softmax(scores.view(), axis, mask()).unwrap();
        let gradient = log_softmax_backward(log_weights.view(), upstream.view(), axis).unwrap();
        let finite = |x: f64| if x == f64::NEG_INFINITY { 0.0 } else { x };
        let numeric = numeric_gradient(&scores, |scores| {
            (log_softmax(scores.view(), axis, mask()).unwrap().mapv(finite) * &upstream).sum()
        });
        assert_all_close(&gradient, &numeric, 1e-7, 1e-9);
    }
}

#[test]
fn excluded_entries_are_not_read() {
    let scores = array![[1.0_f32, f32::NAN, 1.0, f32::INFINITY], [f32::NAN, f32::NAN, f32::NAN, f32::INFINITY]];
    let mask = array![[true, false, true, false], [false, false, false, false]].into_dyn();
    let weights = softmax(scores.view(), 1, Some(mask.view())).unwrap();
    assert_eq!(weights, array![[0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]);
    let log_weights = log_softmax(scores.view(), 1, Some(mask.view())).unwrap();
    assert_eq!(
        log_weights.mapv(f32::exp).mapv(|x| (x * 1e6).round()),
        array![[5e5, 0.0, 5e5, 0.0], [0.0, 0.0, 0.0, 0.0]]
    );
    assert!(log_weights.row(1).iter().all(|&x| x == f32::NEG_INFINITY));

    let upstream = array![[1.0, f32::NAN, 0.0, f32::INFINITY], [f32::NAN, f32::INFINITY, 1.0, 2.0]];
    let gradient = softmax_backward(weights.view(), upstream.view(), 1).unwrap();
    assert_eq!(gradient, array![[0.25, 0.0, -0.25, 0.0], [0.0, 0.0, 0.0, 0.0]]);
    let gradient = log_softmax_backward(log_weights.view(), upstream.view(), 1).unwrap();
    assert_all_close(&gradient, &array![[0.5, 0.0, -0.5, 0.0], [0.0, 0.0, 0.0, 0.0]], 1e-6, 0.0);
}

#[test]
fn special_scores_have_documented_results() {
    let minus = f32::NEG_INFINITY;
    let weights =
        softmax(array![[minus, 0.0, minus], [minus, minus, minus], [1e4, -1e4, 1e4]].view(), 1, None).unwrap();
    assert_eq!(weights, array![[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.5]]);
    // One NaN or +∞, wherever it stands, is seen; also beside −∞ alone.
    for length in 1..40 {
        for position in 0..length {
            for (poison, others) in [(f32::NAN, 0.5), (f32::NAN, minus), (f32::INFINITY, 0.5)] {
                let mut scores = Array2::from_elem((2, length), others);
                scores[[0, position]] = poison;
                scores.row_mut(1).fill(1.0);
                let weights = softmax(scores.view(), 1, None).unwrap();
                assert!(weights.row(0).iter().any(|x| x.is_nan()), "{poison} at {position} of {length}");
                assert!(weights.row(1).iter().all(|x| !x.is_nan()));
                let log_weights = log_softmax(scores.view(), 1, None).unwrap();
                assert!(log_weights.row(0).iter().any(|x| x.is_nan()), "{poison} at {position} of {length}");
                assert!(log_weights.row(1).iter().all(|x| !x.is_nan()));
            }
        }
    }
}

#[test]
fn masked_entries_change_no_bit() {
    for length in 1..50 {
        let alone: Array2<f32> = seeded_array((2, length), length as u64);
        let upstream: Array2<f32> = seeded_array((2, length), 99 + length as u64);
        let total = length + 37;
        let mut padded = Array2::from_elem((2, total), 7.0_f32);
        padded.slice_mut(s![.., ..length]).assign(&alone);
        let mut padded_upstream = Array2::from_elem((2, total), f32::NAN);
        padded_upstream.slice_mut(s![.., ..length]).assign(&upstream);
        let mask = Array::from_shape_fn(total, |i| i < length).into_dyn();
        let mask = Some(mask.view());

        let (weights, padded_weights) =
            (softmax(alone.view(), 1, None).unwrap(), softmax(padded.view(), 1, mask.clone()).unwrap());
        assert_bits_equal(&padded_weights.slice(s![.., ..length]), &weights);
        let gradient = softmax_backward(weights.view(), upstream.view(), 1).unwrap();
        let padded_gradient = softmax_backward(padded_weights.view(), padded_upstream.view(), 1).unwrap();
        assert_bits_equal(&padded_gradient.slice(s![.., ..length]), &gradient);

        let (log_weights, padded_log_weights) =
            (log_softmax(alone.view(), 1, None).unwrap(), log_softmax(padded.view(), 1, mask).unwrap());
        assert_bits_equal(&padded_log_weights.slice(s![.., ..length]), &log_weights);
        let gradient = log_softmax_backward(log_weights.view(), upstream.view(), 1).unwrap();
        let padded_gradient = log_softmax_backward(padded_log_weights.view(), padded_upstream.view(), 1).unwrap();
        assert_bits_equal(&padded_gradient.slice(s![.., ..length]), &gradient);

        let (mut row, mut grad) = (alone.row(1).to_vec(), upstream.row(1).to_vec());
        softmax_row(&mut row);
        assert_bits_equal(&Array::from(row.clone()), &weights.row(1));
        softmax_row_backward(&row, &mut grad).unwrap();
        assert_bits_equal(&Array::from(grad), &softmax_backward(weights.view(), upstream.view(), 1).unwrap().row(1));
    }
}

type Function = fn(ArrayView2<'_, f32>, usize, Option<ArrayViewD<'_, bool>>) -> Result<Array2<f32>, TensorError>;
type Backward = fn(ArrayView2<'_, f32>, ArrayView2<'_, f32>, usize) -> Result<Array2<f32>, TensorError>;

#[test]
fn lanes_have_the_same_bits_along_every_axis() {
    // Fewer and more lanes than a vector and a tile has, and scores that leave nothing or a NaN.
    for (length, lanes) in [(1, 5), (3, 2), (5, 64), (8, 9), (17, 65), (40, 130)] {
        let mut scores: Array2<f32> = seeded_array((lanes, length), length as u64);
        scores *= 20.0;
        scores.row_mut(lanes - 1).fill(f32::NEG_INFINITY);
        scores[[lanes / 2, 0]] = f32::NEG_INFINITY;
        scores[[0, length - 1]] = f32::NAN;
        let upstream: Array2<f32> = seeded_array((lanes, length), 7);
        for (function, backward) in
            [(softmax as Function, softmax_backward as Backward), (log_softmax, log_softmax_backward)]
        {
            let rows: Array2<f32> = function(scores.view(), 1, None).unwrap();
            let columns = function(scores.t().as_standard_layout().view(), 0, None).unwrap();
            assert!(columns.is_standard_layout());
            assert_bits_equal(&columns.t(), &rows);
            let gradient: Array2<f32> = backward(rows.view(), upstream.view(), 1).unwrap();
            let transposed = backward(columns.view(), upstream.t(), 0).unwrap();
            assert_bits_equal(&transposed.t(), &gradient);
        }
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let scores: ArrayD<f32> = seeded_array(IxDyn(&[61, 37, 53]), 5);
    let upstream: ArrayD<f32> = seeded_array(IxDyn(&[61, 37, 53]), 6);
    assert_independent_of_threads(|| {
        (0..3)
            .flat_map(|axis| {
                let weights = softmax(scores.view(), axis, None).unwrap();
                let log_weights = log_softmax(scores.view(), axis, None).unwrap();
                let gradient = softmax_backward(weights.view(), upstream.view(), axis).unwrap();
                let log_gradient = log_softmax_backward(log_weights.view(), upstream.view(), axis).unwrap();
                [weights, log_weights, gradient, log_gradient]
            })
            .collect()
    });
}

#[test]
fn wrong_arguments_are_refused() {
    let scores = Array2::<f32>::zeros((2, 3)).into_dyn();
    let error = |scores: &ArrayD<f32>, axis, mask: Option<ArrayViewD<'_, bool>>| {
        let errors = [softmax(scores.view(), axis, mask.clone()), log_softmax(scores.view(), axis, mask)];
        errors.map(|result| result.unwrap_err().to_string())
    };
    let messages = error(&scores, 2, None);
    assert_eq!(messages[0], "softmax: option `axis` must be less than the number of axes, found 2 for 2 axes");
    assert!(messages[1].starts_with("log_softmax: option `axis`"), "{}", messages[1]);

    let mask = ArrayD::from_elem(IxDyn(&[2, 4]), true);
    let [message, _] = error(&scores, 1, Some(mask.view()));
    let expected = "softmax: option `mask` must be of a shape that can be broadcast to the scores, \
                    found shape [2, 4] for scores of shape [2, 3]";
    assert_eq!(message, expected);
    let mask = ArrayD::from_elem(IxDyn(&[1, 2, 3]), true);
    assert!(softmax(scores.view(), 1, Some(mask.view())).is_err());

    let empty = Array2::<f32>::zeros((2, 0)).into_dyn();
    let [message, _] = error(&empty, 1, None);
    assert_eq!(message, "softmax: axis of the softmax: expected at least 1 entry, found 0");
    assert_eq!(softmax(empty.view(), 0, None).unwrap(), empty);
    assert!(softmax(ndarray::arr0(1.0).view(), 0, None).is_err());

    for backward in [softmax_backward::<f32, IxDyn>, log_softmax_backward] {
        assert!(matches!(
            backward(scores.view(), ArrayD::zeros(IxDyn(&[3, 2])).view(), 1).unwrap_err(),
            TensorError::InvalidOption { option: "gradient", .. }
        ));
        assert!(matches!(
            backward(scores.view(), scores.view(), 5).unwrap_err(),
            TensorError::InvalidOption { option: "axis", .. }
        ));
        assert!(matches!(backward(empty.view(), empty.view(), 1).unwrap_err(), TensorError::EmptyAxis { .. }));
    }
    assert!(softmax_row_backward(&[0.5_f32, 0.5], &mut [1.0]).is_err());
    softmax_row::<f32>(&mut []);
}
