//! Clipping of gradients by value and by their global norm.

use ndarray::array;
use tensor_ops::optim::{OptimizerError, clip_global_norm, clip_values, global_norm};
use tensor_ops::testing::{assert_all_close, assert_independent_of_threads, seeded_array};
use tensor_ops::{Linear, Parameters};

use crate::model::{Model, fixture, gradients};

#[test]
fn clipping_equals_pytorch() {
    let fixture = fixture();
    let expect = |actual: &Model<f64>, case: &str| {
        for (name, values) in actual.named() {
            assert_all_close(&values, &fixture.array::<f64>(&format!("{case}.{name}")), 1e-13, 0.0);
        }
    };
    for (case, limit) in [("clip_norm", 3.0), ("clip_norm_above", 1e3)] {
        let mut clipped = gradients::<f64>(&fixture, 0);
        let norm = clip_global_norm(&mut clipped, limit).unwrap();
        assert_all_close(
            &array![norm],
            &fixture.array(&format!("{case}.norm")).into_dimensionality().unwrap(),
            1e-13,
            0.0,
        );
        expect(&clipped, case);
        let mut single = gradients::<f32>(&fixture, 0);
        assert!((clip_global_norm(&mut single, limit).unwrap() - norm).abs() < 1e-6 * norm);
    }
    let mut clipped = gradients::<f64>(&fixture, 0);
    clip_values(&mut clipped, 2.0).unwrap();
    expect(&clipped, "clip_values");
}

#[test]
fn the_norm_is_exact_for_many_values_and_independent_of_threads() {
    let gradients = Linear::<f32> { weight: seeded_array((523, 411), 1), bias: Some(seeded_array(523, 2)) };
    let values = gradients.weight.iter().chain(gradients.bias.as_ref().unwrap());
    let expected = values.map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    assert!((global_norm(&gradients) / expected - 1.0).abs() < 1e-13);
    assert_independent_of_threads(|| vec![array![global_norm(&gradients)].into_dyn()]);
}

#[test]
fn clipping_refuses_what_is_not_finite() {
    let gradients = |value: f32| Linear { weight: array![[1.0, value]], bias: Some(array![2.0]) };
    let not_finite = OptimizerError::GradientNotFinite { name: "weight".to_owned(), position: 1 };
    for value in [f32::NAN, f32::INFINITY] {
        let mut clipped = gradients(value);
        assert_eq!(clip_global_norm(&mut clipped, 1.0), Err(not_finite.clone()));
        assert_eq!(clip_values(&mut clipped, 1.0), Err(not_finite.clone()));
        assert_eq!(clipped.weight[[0, 0]], 1.0);
        assert_eq!(clipped.bias, Some(array![2.0]));
    }
    let mut overflowing = Linear { weight: array![[1e200]], bias: None };
    assert_eq!(clip_global_norm(&mut overflowing, 1.0), Err(OptimizerError::NormNotFinite));
    for limit in [0.0, -1.0, f64::NAN] {
        let mut clipped = gradients(0.0);
        assert!(matches!(clip_global_norm(&mut clipped, limit), Err(OptimizerError::Tensor(_))), "{limit}");
        assert!(matches!(clip_values(&mut clipped, limit), Err(OptimizerError::Tensor(_))), "{limit}");
    }
    let mut zero = Linear { weight: array![[0.0_f32]], bias: None };
    assert_eq!(clip_global_norm(&mut zero, 1.0), Ok(0.0));
}
