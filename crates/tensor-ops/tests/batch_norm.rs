//! Batch-norm folding: PyTorch's layers in eval mode, and errors.

use ndarray::{Array1, Array2, Array4, ArrayView4, Ix1, Ix2, Ix4, array};
use tensor_ops::testing::{Fixture, assert_all_close, load_fixture, run_cases};
use tensor_ops::{BatchNorm, Element, Linear, TensorError, fold_batch_norm};

fn vector<T: Element>(fixture: &Fixture, name: &str) -> Option<Array1<T>> {
    fixture.contains(name).then(|| fixture.array(name).into_dimensionality::<Ix1>().unwrap())
}

/// The batch normalisation of a case of the fixture.
struct Norm<T> {
    weight: Option<Array1<T>>,
    bias: Option<Array1<T>>,
    running_mean: Array1<T>,
    running_var: Array1<T>,
    epsilon: f64,
}

impl<T: Element> Norm<T> {
    fn load(fixture: &Fixture, case: &str) -> Self {
        let vector = |name: &str| vector(fixture, &format!("{case}.norm.{name}"));
        Self {
            weight: vector("weight"),
            bias: vector("bias"),
            running_mean: vector("running_mean").unwrap(),
            running_var: vector("running_var").unwrap(),
            epsilon: fixture.array::<f64>(&format!("{case}.epsilon"))[0],
        }
    }

    fn view(&self) -> BatchNorm<'_, T> {
        BatchNorm {
            weight: self.weight.as_ref().map(|values| values.view()),
            bias: self.bias.as_ref().map(|values| values.view()),
            running_mean: self.running_mean.view(),
            running_var: self.running_var.view(),
            epsilon: self.epsilon,
        }
    }
}

/// A convolution without padding, by its definition; one group per channel where the weight has one input channel.
fn convolve<T: Element>(input: ArrayView4<'_, T>, weight: &Array4<T>, bias: &Array1<T>) -> Array4<T> {
    let (batch, _, height, width) = input.dim();
    let (channels, group_channels, kernel_height, kernel_width) = weight.dim();
    let shape = (batch, channels, height + 1 - kernel_height, width + 1 - kernel_width);
    Array4::from_shape_fn(shape, |(item, channel, y, x)| {
        let first = if group_channels == 1 { channel } else { 0 };
        let mut sum = bias[channel];
        for ((c, ky, kx), &w) in weight.index_axis(ndarray::Axis(0), channel).indexed_iter() {
            sum += w * input[[item, first + c, y + ky, x + kx]];
        }
        sum
    })
}

fn equals_pytorch<T: Element>(rtol: f64, atol: f64) {
    let fixture = load_fixture("tests/fixtures/batch_norm.safetensors");
    run_cases(["linear", "linear_no_bias", "linear_no_affine"], |case| {
        let mut layer = Linear::<T> {
            weight: fixture.array(&format!("{case}.layer.weight")).into_dimensionality::<Ix2>().unwrap(),
            bias: vector(&fixture, &format!("{case}.layer.bias")),
        };
        let norm = Norm::load(&fixture, case);
        let bias = layer.bias.as_ref().map(|bias| bias.view());
        layer.bias = Some(fold_batch_norm(layer.weight.view_mut(), bias, &norm.view()).unwrap());
        let input = fixture.array::<T>(&format!("{case}.input")).into_dimensionality::<Ix2>().unwrap();
        let expected = fixture.array::<T>(&format!("{case}.output")).into_dimensionality().unwrap();
        assert_all_close(&layer.forward(input.view()).unwrap(), &expected, rtol, atol);
    });
    run_cases(["conv", "conv_depthwise"], |case| {
        let mut weight: Array4<T> =
            fixture.array(&format!("{case}.layer.weight")).into_dimensionality::<Ix4>().unwrap();
        let bias = vector(&fixture, &format!("{case}.layer.bias"));
        let norm = Norm::load(&fixture, case);
        let bias = fold_batch_norm(weight.view_mut(), bias.as_ref().map(|bias| bias.view()), &norm.view()).unwrap();
        let input = fixture.array::<T>(&format!("{case}.input")).into_dimensionality::<Ix4>().unwrap();
        let expected = fixture.array::<T>(&format!("{case}.output")).into_dimensionality().unwrap();
        assert_all_close(&convolve(input.view(), &weight, &bias), &expected, rtol, atol);
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
fn misuse_is_refused() {
    let two = array![1.0_f32, 2.0];
    let three = array![1.0_f32, 2.0, 3.0];
    let norm = BatchNorm {
        weight: Some(two.view()),
        bias: Some(two.view()),
        running_mean: two.view(),
        running_var: two.view(),
        epsilon: 1e-5,
    };
    let axis = |axis, expected, found| TensorError::AxisSize { operation: "fold_batch_norm", axis, expected, found };
    let variance = |found: &str| TensorError::InvalidOption {
        operation: "fold_batch_norm",
        option: "running_var + epsilon",
        requirement: "finite and greater than 0",
        found: found.to_owned(),
    };
    let negative = array![1.0_f32, -2.0];
    let nan = array![1.0_f32, f32::NAN];
    let zero = array![0.0_f32, 1.0];
    let cases = [
        (3, None, norm, axis("channels of the layer's weight", 2, 3)),
        (2, Some(&three), norm, axis("channels of the layer's bias", 2, 3)),
        (
            2,
            None,
            BatchNorm { weight: Some(three.view()), ..norm },
            axis("channels of the normalisation's weight", 2, 3),
        ),
        (2, None, BatchNorm { bias: Some(three.view()), ..norm }, axis("channels of the normalisation's bias", 2, 3)),
        (2, None, BatchNorm { running_var: three.view(), ..norm }, axis("channels of running_var", 2, 3)),
        (2, None, BatchNorm { running_var: negative.view(), epsilon: 0.5, ..norm }, variance("-1.5")),
        (2, None, BatchNorm { running_var: nan.view(), ..norm }, variance("NaN")),
        (2, None, BatchNorm { running_var: zero.view(), epsilon: 0.0, ..norm }, variance("0")),
    ];
    for (channels, bias, norm, expected) in cases {
        let mut weight = Array2::<f32>::ones((channels, 4));
        let bias = bias.map(|bias| bias.view());
        assert_eq!(fold_batch_norm(weight.view_mut(), bias, &norm), Err(expected));
        assert_eq!(weight, Array2::<f32>::ones((channels, 4)), "the weight is as it was");
    }
}
