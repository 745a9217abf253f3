//! The linear layer: PyTorch's values, gradients, views, threads and errors.

use ndarray::{Array1, Array2, Array3, ArrayD, Axis, Ix1, Ix2, ShapeBuilder, arr0, s};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{
    Fixture, assert_all_close, assert_bits_equal, assert_independent_of_threads, check_parameter_gradients,
    load_fixture, numeric_gradient, run_cases, seeded_array,
};
use tensor_ops::{Element, Linear, LinearConfig, Parameters, TensorError};

fn layer<T: Element>(fixture: &Fixture, case: usize) -> Linear<T> {
    let bias = format!("{case}.bias");
    Linear {
        weight: matrix(fixture, case, "weight"),
        bias: fixture.contains(&bias).then(|| fixture.array(&bias).into_dimensionality::<Ix1>().unwrap()),
    }
}

fn matrix<T: Element>(fixture: &Fixture, case: usize, name: &str) -> Array2<T> {
    fixture.array(&format!("{case}.{name}")).into_dimensionality::<Ix2>().unwrap()
}

fn equals_pytorch<T: Element>(rtol: f64, atol: f64) {
    let fixture = load_fixture("tests/fixtures/linear.safetensors");
    run_cases(0..5, |&case| {
        let layer = layer::<T>(&fixture, case);
        let (output, trace) = layer.forward_training(matrix(&fixture, case, "input").view()).unwrap();
        assert_all_close(&output, &matrix(&fixture, case, "output"), rtol, atol);
        let gradients = layer.backward(&trace, matrix(&fixture, case, "grad_output").view()).unwrap();
        assert_all_close(&gradients.input, &matrix(&fixture, case, "grad_input"), rtol, atol);
        assert_eq!(gradients.parameters.bias.is_some(), layer.bias.is_some());
        for (name, gradient) in gradients.parameters.named() {
            assert_all_close(&gradient, &fixture.array(&format!("{case}.grad_{name}")), rtol, atol);
        }
    });
}

#[test]
fn equals_pytorch_in_double_precision() {
    equals_pytorch::<f64>(1e-12, 1e-13);
}

#[test]
fn equals_pytorch_in_single_precision() {
    equals_pytorch::<f32>(1e-5, 1e-5);
}

#[test]
fn gradients_equal_finite_differences() {
    for bias in [true, false] {
        let config = LinearConfig { in_features: 4, out_features: 3, bias };
        let layer = Linear::<f64>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
        let input: Array2<f64> = seeded_array((5, 4), 2);
        let weights: Array2<f64> = seeded_array((5, 3), 3);
        // Quadratic in the output, so that its gradient depends on the output.
        let loss = |layer: &Linear<f64>, input: &Array2<f64>| {
            let output = layer.forward(input.view()).unwrap();
            (&weights * &output * &output).sum()
        };
        let (output, trace) = layer.forward_training(input.view()).unwrap();
        let gradients = layer.backward(&trace, (2.0 * &weights * &output).view()).unwrap();
        assert_all_close(&gradients.input, &numeric_gradient(&input, |input| loss(&layer, input)), 1e-7, 1e-8);
        check_parameter_gradients(&layer, &gradients.parameters, |layer| loss(layer, &input));
    }
}

#[test]
fn any_strides_are_accepted() {
    let layer = Linear::<f32> { weight: seeded_array((3, 4).f(), 1), bias: Some(seeded_array(3, 2)) };
    let wide: Array2<f32> = seeded_array((10, 9), 3);
    let input = wide.slice(s![..;2, ..8;2]);
    let (output, trace) = layer.forward_training(input).unwrap();
    let (expected, expected_trace) = layer.forward_training(input.to_owned().view()).unwrap();
    assert_all_close(&output, &expected, 1e-6, 1e-6);
    let grad_wide: Array2<f32> = seeded_array((3, 5), 4);
    let grad_output = grad_wide.t();
    let gradients = layer.backward(&trace, grad_output).unwrap();
    let expected = layer.backward(&expected_trace, grad_output.as_standard_layout().view()).unwrap();
    assert_all_close(&gradients.input, &expected.input, 1e-6, 1e-6);
    assert_all_close(&gradients.parameters.weight, &expected.parameters.weight, 1e-6, 1e-6);
    assert_bits_equal(&gradients.parameters.bias.unwrap(), &expected.parameters.bias.unwrap());
}

#[test]
fn output_is_written_without_being_read() {
    let layer = Linear::<f32> { weight: seeded_array((3, 4), 1), bias: None };
    let input: Array2<f32> = seeded_array((2, 4), 2);
    for bias in [None, Some(seeded_array(3, 3))] {
        let layer = Linear { bias, ..layer.clone() };
        let mut output = Array2::from_elem((2, 3), f32::NAN);
        layer.forward_into(input.view(), output.view_mut()).unwrap();
        assert_bits_equal(&output, &layer.forward(input.view()).unwrap());
    }
}

#[test]
fn any_rank_with_the_features_last() {
    let layer = Linear::<f32> { weight: seeded_array((3, 4), 1), bias: Some(seeded_array(3, 2)) };
    let input: Array3<f32> = seeded_array((2, 5, 4), 3);
    let output = layer.forward_last_axis(input.view()).unwrap();
    let rows = layer.forward(input.to_shape((10, 4)).unwrap().view()).unwrap();
    assert_bits_equal(&output, &rows.into_shape_with_order((2, 5, 3)).unwrap());
    let mut swapped = input.view();
    swapped.swap_axes(0, 1);
    let mut expected = output.clone();
    expected.swap_axes(0, 1);
    assert_bits_equal(&layer.forward_last_axis(swapped).unwrap(), &expected);
    let single = layer.forward_last_axis(input.slice(s![0, 0, ..])).unwrap();
    assert_all_close(&single, &output.slice(s![0, 0, ..]), 1e-6, 1e-6);
}

#[test]
fn an_item_does_not_depend_on_its_batch_or_on_threads() {
    let config = LinearConfig { in_features: 200, out_features: 150, bias: true };
    let layer = Linear::<f32>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
    let input: Array2<f32> = seeded_array((300, 200), 2);
    let grad_output: Array2<f32> = seeded_array((300, 150), 3);
    let run = |rows: std::ops::Range<usize>| {
        let (output, trace) = layer.forward_training(input.slice(s![rows.clone(), ..])).unwrap();
        let gradients = layer.backward(&trace, grad_output.slice(s![rows, ..])).unwrap();
        (output, gradients)
    };
    let (output, gradients) = run(0..300);
    for rows in [0..1, 17..18, 5..40, 131..300] {
        let (part, part_gradients) = run(rows.clone());
        assert_bits_equal(&part, &output.slice(s![rows.clone(), ..]));
        assert_bits_equal(&part_gradients.input, &gradients.input.slice(s![rows, ..]));
    }
    assert_independent_of_threads(|| {
        let (output, gradients) = run(0..300);
        let mut arrays: Vec<ArrayD<f32>> = vec![output.into_dyn(), gradients.input.into_dyn()];
        arrays.extend(gradients.parameters.named().into_iter().map(|(_, values)| values.to_owned()));
        arrays
    });
}

#[test]
fn the_gradient_of_a_bias_is_the_sum_in_order() {
    let layer = Linear::<f32> { weight: Array2::zeros((700, 1)), bias: Some(Array1::zeros(700)) };
    let grad_output: Array2<f32> = seeded_array((500, 700), 3);
    let (_, trace) = layer.forward_training(Array2::zeros((500, 1)).view()).unwrap();
    let gradients = layer.backward(&trace, grad_output.view()).unwrap();
    let expected = grad_output.axis_iter(Axis(0)).fold(Array1::zeros(700), |sum, row| sum + row);
    assert_bits_equal(&gradients.parameters.bias.unwrap(), &expected);
}

#[test]
fn initial_values_are_those_of_pytorch_in_range() {
    let config = LinearConfig { in_features: 100, out_features: 50, bias: true };
    let layer = Linear::<f32>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
    assert_eq!((layer.in_features(), layer.out_features(), layer.parameter_count()), (100, 50, 5_050));
    let largest = |values: &mut dyn Iterator<Item = &f32>| values.fold(0.0_f32, |largest, v| largest.max(v.abs()));
    let weight = largest(&mut layer.weight.iter());
    let bias = largest(&mut layer.bias.as_ref().unwrap().iter());
    assert!(weight <= 0.1 && weight > 0.0999, "{weight}");
    assert!(bias <= 0.1 && bias > 0.08, "{bias}");
    assert_eq!(layer, Linear::new(config, &mut StdRng::seed_from_u64(1)).unwrap());
}

#[test]
fn misuse_is_refused() {
    let new = |in_features, out_features| {
        let config = LinearConfig { in_features, out_features, bias: true };
        Linear::<f32>::new(config, &mut StdRng::seed_from_u64(1))
    };
    let layer = new(4, 3).unwrap();
    let wrong_bias = Linear { bias: Some(Array1::zeros(2)), ..layer.clone() };
    let zeros = |items, features| Array2::<f32>::zeros((items, features));
    let (_, trace) = layer.forward_training(zeros(2, 4).view()).unwrap();
    let axis = |axis, expected, found| TensorError::AxisSize { operation: "Linear", axis, expected, found };
    let empty = |axis| TensorError::EmptyAxis { operation: "Linear", axis };
    let into = |items, features| layer.forward_into(zeros(2, 4).view(), zeros(items, features).view_mut());
    let cases = [
        (new(0, 3).map(drop), empty("input features")),
        (new(3, 0).map(drop), empty("output features")),
        (layer.forward(zeros(2, 5).view()).map(drop), axis("input features", 4, 5)),
        (layer.forward(zeros(0, 4).view()).map(drop), empty("input items")),
        (layer.forward_training(zeros(2, 3).view()).map(drop), axis("input features", 4, 3)),
        (wrong_bias.forward(zeros(2, 4).view()).map(drop), axis("bias features", 3, 2)),
        (into(3, 3), axis("output items", 2, 3)),
        (into(2, 4), axis("output features", 3, 4)),
        (layer.backward(&trace, zeros(3, 3).view()).map(drop), axis("output gradient items", 2, 3)),
        (layer.backward(&trace, zeros(2, 4).view()).map(drop), axis("output gradient features", 3, 4)),
        (new(5, 3).unwrap().backward(&trace, zeros(2, 3).view()).map(drop), axis("input features", 5, 4)),
        (layer.forward_last_axis(Array3::zeros((2, 3, 5)).view()).map(drop), axis("input features", 4, 5)),
        (layer.forward_last_axis(Array3::zeros((2, 0, 4)).view()).map(drop), empty("input items")),
    ];
    for (result, expected) in cases {
        assert_eq!(result, Err(expected));
    }
    let error = layer.forward_last_axis(arr0(1.0).view()).unwrap_err();
    assert_eq!(error.to_string(), "Linear: option `input` must be an array of at least 1 axis, found []");
}
