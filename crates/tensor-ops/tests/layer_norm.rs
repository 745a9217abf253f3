//! Layer normalisation: its definition, gradients and errors.

use ndarray::{Array2, array};
use tensor_ops::testing::{assert_all_close, check_parameter_gradients, numeric_gradient, seeded_array};
use tensor_ops::{LayerNorm, TensorError};

fn layer() -> LayerNorm<f64> {
    LayerNorm { weight: array![1.5, -0.5, 2.0], bias: array![0.1, 0.2, -0.3] }
}

#[test]
fn equals_its_definition() {
    let input: Array2<f64> = seeded_array((4, 3), 1) * 10.0;
    let output = layer().forward(input.view()).unwrap();
    for (row, output) in input.rows().into_iter().zip(output.rows()) {
        let mean = row.iter().sum::<f64>() / 3.0;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 3.0;
        let expected = row.mapv(|x| (x - mean) / (variance + 1e-5).sqrt()) * layer().weight + layer().bias;
        assert_all_close(&output, &expected, 1e-12, 1e-13);
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let input: Array2<f64> = seeded_array((4, 3), 2);
    let weights: Array2<f64> = seeded_array((4, 3), 3);
    let loss = |layer: &LayerNorm<f64>, input: &Array2<f64>| (layer.forward(input.view()).unwrap() * &weights).sum();
    let (_, trace) = layer().forward_training(input.view()).unwrap();
    // A gradient in another memory layout.
    let grad_output = weights.t().as_standard_layout().into_owned().reversed_axes();
    let gradients = layer().backward(&trace, grad_output.view()).unwrap();
    assert_all_close(&gradients.input, &numeric_gradient(&input, |input| loss(&layer(), input)), 1e-6, 1e-8);
    check_parameter_gradients(&layer(), &gradients.parameters, |layer| loss(layer, &input));
}

#[test]
fn wrong_shapes_are_errors() {
    assert!(matches!(LayerNorm::<f32>::new(0), Err(TensorError::EmptyAxis { .. })));
    let layer = layer();
    let (_, trace) = layer.forward_training(Array2::ones((2, 3)).view()).unwrap();
    let mut other = layer.clone();
    other.bias = array![1.0];
    for (error, expected) in [
        (
            layer.forward(Array2::zeros((0, 3)).view()).err(),
            "LayerNorm: input items: expected at least 1 entry, found 0",
        ),
        (layer.forward(Array2::zeros((2, 4)).view()).err(), "LayerNorm: input features: expected size 3, found 4"),
        (other.forward(Array2::zeros((2, 3)).view()).err(), "LayerNorm: bias features: expected size 3, found 1"),
        (
            layer.backward(&trace, Array2::zeros((1, 3)).view()).err(),
            "LayerNorm: output gradient items: expected size 2, found 1",
        ),
        (
            LayerNorm::new(4).unwrap().backward(&trace, Array2::zeros((2, 4)).view()).err(),
            "LayerNorm: trace features: expected size 4, found 3",
        ),
    ] {
        assert_eq!(error.unwrap().to_string(), expected);
    }
}
