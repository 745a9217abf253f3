//! Every misuse and the error it gets.

use conv2d::{Conv2d, Conv2dConfig, Conv2dError, convolve_backward_input, convolve_backward_parameters, convolve_into};
use ndarray::{Array1, Array4, ArrayD, IxDyn};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::run_cases;
use tensor_ops::{Padding, load_parameters};

/// A valid configuration, 4 to 6 channels, to be spoilt.
fn base() -> Conv2dConfig {
    Conv2dConfig { in_channels: 4, out_channels: 6, kernel: [3, 3], ..Conv2dConfig::default() }
}

fn layer(config: Conv2dConfig) -> Conv2d<f32> {
    Conv2d::new(config, &mut StdRng::seed_from_u64(1)).unwrap()
}

fn input() -> Array4<f32> {
    Array4::ones((2, 4, 5, 5))
}

fn message<T: std::fmt::Debug>(result: Result<T, Conv2dError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn configurations() {
    let largest = usize::MAX;
    let cases = [
        (Conv2dConfig { in_channels: 0, ..base() }, "Conv2d: option `in_channels` must be at least 1, found 0"),
        (Conv2dConfig { out_channels: 0, ..base() }, "Conv2d: option `out_channels` must be at least 1, found 0"),
        (Conv2dConfig { groups: 0, ..base() }, "Conv2d: option `groups` must be at least 1, found 0"),
        (
            Conv2dConfig { kernel: [0, 3], ..base() },
            "Conv2d: option `kernel` must be at least 1 on both axes, found [0, 3]",
        ),
        (
            Conv2dConfig { stride: [1, 0], ..base() },
            "Conv2d: option `stride` must be at least 1 on both axes, found [1, 0]",
        ),
        (
            Conv2dConfig { dilation: [0, 0], ..base() },
            "Conv2d: option `dilation` must be at least 1 on both axes, found [0, 0]",
        ),
        (Conv2dConfig { groups: 3, ..base() }, "Conv2d: input channels: expected a multiple of 3 groups, found 4"),
        (Conv2dConfig { groups: 4, ..base() }, "Conv2d: output channels: expected a multiple of 4 groups, found 6"),
        (
            Conv2dConfig { kernel: [largest, largest], ..base() },
            "Conv2d: weight: no memory for shape [6, 4, 18446744073709551615, 18446744073709551615]",
        ),
        (
            Conv2dConfig { in_channels: 1 << 40, kernel: [1 << 10, 1 << 10], ..base() },
            "Conv2d: weight: no memory for shape [6, 1099511627776, 1024, 1024]",
        ),
    ];
    run_cases(cases, |(config, expected)| {
        assert_eq!(message(Conv2d::<f32>::new(config.clone(), &mut StdRng::seed_from_u64(1))), *expected);
    });
}

#[test]
fn inputs() {
    let huge = Padding { top: 1 << 31, bottom: 0, left: 1 << 31, right: 0 };
    let cases = [
        (base(), [0, 4, 5, 5], "Conv2d: input batch: expected at least 1 entry, found 0"),
        (base(), [2, 3, 5, 5], "Conv2d: input channels: expected size 4, found 3"),
        (base(), [2, 4, 0, 5], "Conv2d: input height: expected at least 1 entry, found 0"),
        (base(), [2, 4, 5, 0], "Conv2d: input width: expected at least 1 entry, found 0"),
        (
            base(),
            [2, 4, 2, 5],
            "Conv2d: option `kernel height` must be at most the padded input, dilation included, found 3 for a padded input of 2",
        ),
        (
            Conv2dConfig { dilation: [1, 3], padding: Padding { left: 1, ..Padding::ZERO }, ..base() },
            [2, 4, 5, 5],
            "Conv2d: option `kernel width` must be at most the padded input, dilation included, found 7 for a padded input of 6",
        ),
        (
            Conv2dConfig { dilation: [1 << 63, 1], ..base() },
            [2, 4, 5, 5],
            "Conv2d: option `dilation` must be small enough that the dilated kernel can be addressed, \
             found 9223372036854775808 for a kernel of 3",
        ),
        (
            Conv2dConfig { padding: Padding::symmetric(0, usize::MAX), ..base() },
            [2, 4, 5, 5],
            "Conv2d: option `padding` must be small enough that the padded input can be addressed, \
             found 18446744073709551615 and 18446744073709551615 around 5",
        ),
        (
            Conv2dConfig { padding: huge, ..base() },
            [2, 4, 5, 5],
            "Conv2d: output: no memory for shape [2, 6, 2147483651, 2147483651]",
        ),
    ];
    run_cases(cases, |(config, shape, expected)| {
        let (layer, input) = (layer(config.clone()), Array4::ones(*shape));
        assert_eq!(message(layer.forward(input.view())), *expected);
        assert_eq!(message(layer.forward_training(input.view())), *expected);
        assert_eq!(message(layer.forward_training_owned(input)), *expected);
    });
}

#[test]
fn outputs_and_gradients() {
    let layer = layer(base());
    let (_, trace) = layer.forward_training(input().view()).unwrap();
    let cases = [
        ([1, 6, 3, 3], "batch: expected size 2, found 1"),
        ([2, 5, 3, 3], "channels: expected size 6, found 5"),
        ([2, 6, 4, 3], "height: expected size 3, found 4"),
        ([2, 6, 3, 0], "width: expected size 3, found 0"),
    ];
    run_cases(cases, |(shape, expected)| {
        let mut array = Array4::<f32>::zeros(*shape);
        assert_eq!(message(layer.forward_into(input().view(), array.view_mut())), format!("Conv2d: output {expected}"));
        let expected = format!("Conv2d: grad_output {expected}");
        assert_eq!(message(layer.backward_parameters(&trace, array.view())), expected);
        assert_eq!(message(layer.backward(&trace, array.view())), expected);
        assert_eq!(message(convolve_backward_parameters(&layer.config, input().view(), array.view())), expected);
        if shape[0] == 2 {
            assert_eq!(
                message(convolve_backward_input(&layer.config, layer.weight.view(), [5, 5], array.view())),
                expected
            );
        }
    });
    let empty = Array4::<f32>::zeros((0, 6, 3, 3));
    assert_eq!(
        message(convolve_backward_input(&layer.config, layer.weight.view(), [5, 5], empty.view())),
        "Conv2d: input batch: expected at least 1 entry, found 0"
    );
}

/// Fields are public, so a layer may disagree with its configuration.
#[test]
fn parameters_that_do_not_fit_the_configuration() {
    let valid = layer(base());
    let with_weight = |shape: [usize; 4]| Conv2d { weight: Array4::zeros(shape), ..valid.clone() };
    let cases = [
        (with_weight([5, 4, 3, 3]), "Conv2d: weight output channels: expected size 6, found 5"),
        (with_weight([6, 2, 3, 3]), "Conv2d: weight input channels: expected size 4, found 2"),
        (with_weight([6, 4, 1, 3]), "Conv2d: weight height: expected size 3, found 1"),
        (with_weight([6, 4, 3, 5]), "Conv2d: weight width: expected size 3, found 5"),
        (Conv2d { bias: Some(Array1::zeros(7)), ..valid.clone() }, "Conv2d: bias: expected size 6, found 7"),
        (Conv2d { bias: None, ..valid.clone() }, "Conv2d: bias: expected one, found none"),
        (
            Conv2d { config: Conv2dConfig { bias: false, ..base() }, ..valid.clone() },
            "Conv2d: bias: expected none, found one",
        ),
        (
            Conv2d { config: Conv2dConfig { groups: 5, ..base() }, ..valid.clone() },
            "Conv2d: input channels: expected a multiple of 5 groups, found 4",
        ),
    ];
    run_cases(cases, |(layer, expected)| {
        assert_eq!(message(layer.forward(input().view())), *expected);
        let bias = layer.bias.as_ref().map(|bias| bias.view());
        let mut output = Array4::zeros((2, 6, 3, 3));
        let result = convolve_into(&layer.config, layer.weight.view(), bias, input().view(), output.view_mut());
        assert_eq!(message(result), *expected);
    });
}

#[test]
fn loaded_parameters() {
    let weight = |shape: &[usize]| ("weight".to_owned(), ArrayD::<f32>::zeros(IxDyn(shape)));
    let bias = || ("bias".to_owned(), ArrayD::<f32>::zeros(IxDyn(&[6])));
    let mut spoilt = weight(&[6, 4, 3, 3]);
    spoilt.1[[1, 0, 0, 2]] = f32::NAN;
    let cases = [
        (vec![weight(&[6, 4, 3, 3])], "parameter `bias`: not found in the source"),
        (vec![weight(&[6, 4, 9]), bias()], "parameter `weight`: expected shape [6, 4, 3, 3], found [6, 4, 9]"),
        (vec![weight(&[4, 6, 3, 3]), bias()], "parameter `weight`: expected shape [6, 4, 3, 3], found [4, 6, 3, 3]"),
        (vec![spoilt, bias()], "parameter `weight`: the value at position 38 is not finite"),
        (
            vec![weight(&[6, 4, 3, 3]), bias(), ("scale".to_owned(), ArrayD::zeros(IxDyn(&[1])))],
            "parameter `scale`: the model has no parameter of this name",
        ),
    ];
    run_cases(cases, |(source, expected)| {
        let mut target = layer(base());
        let before = target.clone();
        assert_eq!(load_parameters(&mut target, source).unwrap_err().to_string(), *expected);
        assert_eq!(target, before, "nothing is changed");
    });
}
