//! Gradients against central differences in double precision.

use conv2d::{Activation, Conv2d, Conv2dConfig};
use ndarray::Array4;
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::{assert_all_close, check_parameter_gradients, numeric_gradient, run_cases, seeded_array};
use tensor_ops::{Isa, Padding};

#[test]
fn gradients_equal_central_differences() {
    let window = |kernel, stride, dilation, padding| Conv2dConfig {
        kernel,
        stride,
        dilation,
        padding,
        ..Conv2dConfig::default()
    };
    let one = Padding::symmetric(1, 1);
    let odd = Padding { top: 2, bottom: 0, left: 1, right: 3 };
    let cases = [
        Conv2dConfig { in_channels: 3, out_channels: 5, ..window([3, 3], [1, 1], [1, 1], one) },
        Conv2dConfig { in_channels: 2, out_channels: 6, ..window([3, 2], [2, 3], [2, 1], odd) },
        Conv2dConfig { in_channels: 4, out_channels: 6, groups: 2, bias: false, ..window([2, 3], [1, 2], [1, 2], odd) },
        Conv2dConfig { in_channels: 4, out_channels: 4, groups: 4, ..window([3, 3], [2, 1], [1, 1], one) },
        Conv2dConfig { in_channels: 3, out_channels: 4, ..window([1, 1], [1, 1], [1, 1], Padding::ZERO) },
        Conv2dConfig { in_channels: 3, out_channels: 4, ..window([1, 1], [3, 2], [1, 1], Padding::ZERO) },
    ];
    // Through tiles: outputs where there are 24 input channels, gradients of inputs where there are 24 output channels.
    let two = Padding::symmetric(2, 2);
    let tiled = [
        Conv2dConfig { in_channels: 24, out_channels: 12, ..window([3, 3], [1, 1], [1, 1], one) },
        Conv2dConfig { in_channels: 12, out_channels: 24, ..window([5, 5], [1, 1], [1, 1], two) },
    ];
    let activations = [Activation::None, Activation::Relu, Activation::Relu6];
    let cases =
        cases.into_iter().flat_map(|case| activations.map(|activation| Conv2dConfig { activation, ..case.clone() }));
    let cases = cases.chain(tiled);
    run_cases(cases, |config| {
        let mut layer = Conv2d::<f64>::new(config.clone(), &mut StdRng::seed_from_u64(11)).unwrap();
        // Sums on both sides of 6, none within a difference's step of a bound.
        layer.weight *= 8.0;
        // At least 16 tiles, where there are enough channels for tiles.
        let [height, width] = if config.in_channels == 24 { [13, 14] } else { [7, 8] };
        let input: Array4<f64> = seeded_array((2, config.in_channels, height, width), 12);
        let (output, trace) = layer.forward_training(input.view()).unwrap();
        let weights: Array4<f64> = seeded_array(output.raw_dim(), 13);
        for isa in Isa::available() {
            let loss = |layer: &Conv2d<f64>, input: &Array4<f64>| {
                (&layer.forward_on(isa, input.view()).unwrap() * &weights).sum()
            };
            let gradients = layer.backward_on(isa, &trace, weights.view()).unwrap();
            let numeric = numeric_gradient(&input, |input| loss(&layer, input));
            assert_all_close(&gradients.input, &numeric, 1e-6, 1e-7);
            check_parameter_gradients(&layer, &gradients.parameters, |layer| loss(layer, &input));
        }
    });
}
