//! Every kernel of this CPU against nested loops.

use conv2d::{Activation, Conv2d, Conv2dConfig};
use ndarray::{Array1, Array4, ArrayView4, s};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use proptest::prelude::*;
use tensor_ops::testing::{assert_all_close, assert_bits_equal, seeded_array};
use tensor_ops::{Element, Isa, Padding};

/// The convolution as its definition reads, before the activation.
fn convolve(layer: &Conv2d<f64>, input: ArrayView4<'_, f64>) -> Array4<f64> {
    let [height, width] = layer.config.output_size([input.dim().2, input.dim().3]).unwrap();
    Array4::from_shape_fn((input.dim().0, layer.config.out_channels, height, width), |(n, m, i, j)| {
        let mut sum = layer.bias.as_ref().map_or(0.0, |bias| bias[m]);
        for_each_product(layer, [input.dim().2, input.dim().3], [m, i, j], |weight, [c, y, x]| {
            sum += layer.weight[weight] * input[[n, c, y, x]];
        });
        sum
    })
}

/// The weights and pixels that meet in an output element.
fn for_each_product(
    layer: &Conv2d<f64>,
    [height, width]: [usize; 2],
    [m, i, j]: [usize; 3],
    mut visit: impl FnMut([usize; 4], [usize; 3]),
) {
    let config = &layer.config;
    let group = m / (config.out_channels / config.groups);
    let (_, group_in, kernel_height, kernel_width) = layer.weight.dim();
    for c in 0..group_in {
        for k in 0..kernel_height {
            for l in 0..kernel_width {
                let y = (i * config.stride[0] + k * config.dilation[0]).wrapping_sub(config.padding.top);
                let x = (j * config.stride[1] + l * config.dilation[1]).wrapping_sub(config.padding.left);
                if y < height && x < width {
                    visit([m, c, k, l], [group * group_in + c, y, x]);
                }
            }
        }
    }
}

/// The gradients of input, weight and bias for a gradient before the activation.
fn backward(
    layer: &Conv2d<f64>,
    input: ArrayView4<'_, f64>,
    gradient: ArrayView4<'_, f64>,
) -> (Array4<f64>, Array4<f64>, Array1<f64>) {
    let mut grad_input = Array4::zeros(input.raw_dim());
    let mut grad_weight = Array4::zeros(layer.weight.raw_dim());
    let mut grad_bias = Array1::zeros(layer.config.out_channels);
    for ((n, m, i, j), &g) in gradient.indexed_iter() {
        grad_bias[m] += g;
        for_each_product(layer, [input.dim().2, input.dim().3], [m, i, j], |weight, [c, y, x]| {
            grad_weight[weight] += g * input[[n, c, y, x]];
            grad_input[[n, c, y, x]] += g * layer.weight[weight];
        });
    }
    (grad_input, grad_weight, grad_bias)
}

fn activate(activation: Activation, value: f64) -> f64 {
    match activation {
        Activation::None => value,
        Activation::Relu => value.max(0.0),
        Activation::Relu6 => value.clamp(0.0, 6.0),
    }
}

/// The layer in another precision.
fn cast<T: Element>(layer: &Conv2d<f64>) -> Conv2d<T> {
    Conv2d {
        config: layer.config.clone(),
        weight: layer.weight.mapv(T::from_f64),
        bias: layer.bias.as_ref().map(|bias| bias.mapv(T::from_f64)),
    }
}

/// Compares forward and backward of every instruction set with the loops; the input is `input` through `view`.
fn check<T: Element>(
    layer: &Conv2d<f64>,
    wide: &Array4<f64>,
    view: impl Fn(&Array4<T>) -> ArrayView4<'_, T>,
    tolerance: f64,
) where
    f64: From<T>,
{
    let wide = wide.mapv(T::from_f64);
    let input = view(&wide);
    let exact_input = input.mapv(f64::from);
    let linear = convolve(layer, exact_input.view());
    let expected = linear.mapv(|value| activate(layer.config.activation, value));
    let grad_output: Array4<T> = seeded_array(expected.raw_dim(), 7);
    let cast_layer = cast::<T>(layer);
    let (_, trace) = cast_layer.forward_training(input).unwrap();
    for isa in Isa::available() {
        let mut output = Array4::from_elem(expected.raw_dim(), T::nan());
        cast_layer.forward_into_on(isa, input, output.view_mut()).unwrap();
        let output = output.mapv(f64::from);
        assert_all_close(&output, &expected, tolerance, tolerance * 10.0);

        let gradients = cast_layer.backward_on(isa, &trace, grad_output.view()).unwrap();
        // The mask of the trace comes from a forward pass that rounds: where the sum is next to a bound, either is right.
        let mask = cast_layer.forward(input).unwrap().mapv(f64::from);
        let passes = |value: f64| match layer.config.activation {
            Activation::None => true,
            Activation::Relu => value > 0.0,
            Activation::Relu6 => value > 0.0 && value < 6.0,
        };
        let masked =
            Array4::from_shape_fn(mask.raw_dim(), |at| if passes(mask[at]) { f64::from(grad_output[at]) } else { 0.0 });
        let (grad_input, grad_weight, grad_bias) = backward(layer, exact_input.view(), masked.view());
        assert_all_close(&gradients.input.mapv(f64::from), &grad_input, tolerance, tolerance * 10.0);
        assert_all_close(&gradients.parameters.weight.mapv(f64::from), &grad_weight, tolerance, tolerance * 40.0);
        if let Some(bias) = &gradients.parameters.bias {
            assert_all_close(&bias.mapv(f64::from), &grad_bias, tolerance, tolerance * 40.0);
        }
        if isa == Isa::selected() {
            let alone = cast_layer.backward_parameters(&trace, grad_output.view()).unwrap();
            assert_bits_equal(&alone.weight, &gradients.parameters.weight);
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    config: Conv2dConfig,
    batch: usize,
    size: [usize; 2],
}

fn cases(largest: usize, kernels: usize) -> impl Strategy<Value = Case> {
    let pair = |most: usize| [1..=most, 1..=most];
    let padding = (0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize);
    let channels = (1..=4_usize, 1..=5_usize, 1..=3_usize);
    let activation = prop_oneof![Just(Activation::None), Just(Activation::Relu), Just(Activation::Relu6)];
    let window = (pair(kernels), pair(3), pair(3), padding);
    (channels, window, any::<bool>(), activation, 1..=3_usize, pair(largest)).prop_filter_map(
        "the kernel is larger than the padded input",
        |((group_in, group_out, groups), (kernel, stride, dilation, sides), bias, activation, batch, size)| {
            let (top, bottom, left, right) = sides;
            let config = Conv2dConfig {
                in_channels: group_in * groups,
                out_channels: group_out * groups,
                kernel,
                stride,
                padding: Padding { top, bottom, left, right },
                dilation,
                groups,
                bias,
                activation,
            };
            config.output_size(size).ok().map(|_| Case { config, batch, size })
        },
    )
}

fn layer_of(config: &Conv2dConfig) -> Conv2d<f64> {
    let mut layer = Conv2d::<f64>::new(config.clone(), &mut StdRng::seed_from_u64(3)).unwrap();
    // Values that an f32 holds, so that both precisions start from the same.
    layer.weight.mapv_inplace(|value| f64::from((4.0 * value) as f32));
    if let Some(bias) = &mut layer.bias {
        bias.mapv_inplace(|value| f64::from(value as f32));
    }
    layer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn f64_equals_loops(case in cases(12, 4)) {
        let Case { config, batch, size: [height, width] } = case;
        let wide: Array4<f64> = seeded_array((batch, config.in_channels, height, width), 5);
        check::<f64>(&layer_of(&config), &wide, |wide| wide.view(), 1e-12);
    }

    #[test]
    fn f32_views_equal_loops(case in cases(20, 3), steps in [1..=3_usize, 1..=3], reversed in any::<bool>()) {
        let Case { config, batch, size: [height, width] } = case;
        let [y, x] = steps.map(|step| step as isize);
        let wide: Array4<f64> = seeded_array((batch, config.in_channels, height * steps[0], width * steps[1]), 5);
        check::<f32>(
            &layer_of(&config),
            &wide,
            |wide| {
                let mut view = wide.slice(s![.., .., ..;y, ..;x]);
                if reversed {
                    view.invert_axis(ndarray::Axis(1));
                    view.invert_axis(ndarray::Axis(2));
                }
                view
            },
            2e-5,
        );
    }
}

/// Sizes around the borders of tiles, blocks of channels, bands and panels.
#[test]
fn block_borders_equal_loops() {
    let config = |in_channels, out_channels, kernel, groups| Conv2dConfig {
        in_channels,
        out_channels,
        kernel,
        groups,
        padding: Padding::symmetric(kernel[0] / 2, kernel[1] / 2),
        ..Conv2dConfig::default()
    };
    let cases = [
        (config(60, 10, [3, 3], 1), 1, [9, 33]),
        (config(300, 7, [1, 1], 1), 2, [8, 8]),
        (config(130, 12, [1, 1], 1), 1, [7, 7]),
        (config(5, 70, [5, 5], 1), 1, [33, 17]),
        (config(3, 33, [7, 7], 1), 1, [40, 40]),
        (config(24, 24, [3, 3], 24), 2, [30, 31]),
        (config(48, 36, [3, 1], 12), 1, [16, 64]),
        (Conv2dConfig { stride: [2, 2], ..config(40, 17, [3, 3], 1) }, 2, [21, 22]),
        (Conv2dConfig { stride: [2, 3], dilation: [3, 2], ..config(9, 20, [3, 4], 1) }, 1, [40, 29]),
        (Conv2dConfig { stride: [3, 3], padding: Padding::ZERO, ..config(9, 20, [1, 1], 1) }, 1, [20, 29]),
        (Conv2dConfig { padding: Padding::ZERO, ..config(20, 9, [3, 3], 1) }, 2, [20, 32]),
        (Conv2dConfig { padding: Padding::symmetric(6, 7), ..config(6, 9, [3, 3], 1) }, 1, [4, 5]),
        // Through tiles, whole and cut, over groups of rows and blocks of channels.
        (config(40, 50, [3, 3], 1), 2, [18, 21]),
        (config(300, 24, [3, 3], 1), 1, [14, 16]),
        (config(96, 64, [3, 3], 2), 2, [16, 13]),
        (
            Conv2dConfig { padding: Padding::ZERO, activation: Activation::Relu, ..config(33, 34, [5, 5], 1) },
            3,
            [17, 14],
        ),
        (
            Conv2dConfig {
                padding: Padding { top: 4, bottom: 0, left: 1, right: 3 },
                activation: Activation::Relu6,
                ..config(24, 45, [5, 5], 1)
            },
            1,
            [10, 20],
        ),
        // Maps narrower than a vector, over several chunks of the batch.
        (config(17, 18, [3, 3], 1), 40, [4, 4]),
        (config(6, 16, [3, 3], 2), 3, [5, 3]),
        (Conv2dConfig { activation: Activation::Relu, ..config(5, 9, [4, 2], 1) }, 21, [6, 2]),
        (Conv2dConfig { stride: [2, 2], ..config(24, 48, [4, 4], 1) }, 9, [8, 8]),
        (Conv2dConfig { stride: [1, 3], dilation: [2, 1], bias: false, ..config(3, 8, [3, 4], 1) }, 1, [7, 9]),
        (
            Conv2dConfig {
                padding: Padding { top: 0, bottom: 3, left: 2, right: 0 },
                activation: Activation::Relu6,
                ..config(4, 13, [2, 3], 1)
            },
            10,
            [3, 3],
        ),
        // Only the centre of the kernel, or one output position, meets pixels.
        (
            Conv2dConfig {
                dilation: [1 << 30, 1 << 20],
                padding: Padding::symmetric(1 << 30, 1 << 20),
                ..config(2, 3, [3, 3], 1)
            },
            2,
            [5, 5],
        ),
        (
            Conv2dConfig {
                stride: [1 << 40, 1 << 41],
                padding: Padding::symmetric(1 << 40, 1 << 41),
                ..config(2, 3, [3, 3], 1)
            },
            2,
            [5, 5],
        ),
    ];
    tensor_ops::testing::run_cases(cases, |(config, batch, [height, width])| {
        let wide: Array4<f64> = seeded_array((*batch, config.in_channels, *height, *width), 5);
        check::<f64>(&layer_of(config), &wide, |wide| wide.view(), 1e-11);
        check::<f32>(&layer_of(config), &wide, |wide| wide.view(), 1e-4);
        // Inputs whose columns are the outer axis in memory.
        let turned: Array4<f64> = seeded_array((*width, *height, config.in_channels, *batch), 6);
        check::<f64>(&layer_of(config), &turned, |turned| turned.t(), 1e-11);
    });
}

/// The output and the gradient of the output may have any strides too.
#[test]
fn strided_outputs_and_gradients() {
    let config = Conv2dConfig {
        in_channels: 6,
        out_channels: 10,
        kernel: [3, 3],
        stride: [2, 1],
        padding: Padding::symmetric(1, 1),
        activation: Activation::Relu,
        ..Conv2dConfig::default()
    };
    for config in [config.clone(), Conv2dConfig { kernel: [1, 1], stride: [1, 1], padding: Padding::ZERO, ..config }] {
        let layer = layer_of(&config);
        let input: Array4<f64> = seeded_array((2, 6, 16, 16), 8);
        for isa in Isa::available() {
            let expected = layer.forward_on(isa, input.view()).unwrap();
            let (n, m, h, w) = expected.dim();
            let mut wide = Array4::from_elem((n, m, 2 * h, 3 * w), f64::NAN);
            layer.forward_into_on(isa, input.view(), wide.slice_mut(s![.., ..;-1, ..;2, ..;3])).unwrap();
            assert_bits_equal(&wide.slice(s![.., ..;-1, ..;2, ..;3]), &expected);
            assert!(wide.slice(s![.., .., 1..;2, ..]).iter().all(|value| value.is_nan()), "nothing else is written");

            let (_, trace) = layer.forward_training(input.view()).unwrap();
            let gradient: Array4<f64> = seeded_array((n, m, 2 * h, 3 * w), 9);
            let gradient = gradient.slice(s![.., .., ..;-2, ..;3]);
            let strided = layer.backward_on(isa, &trace, gradient).unwrap();
            let standard = layer.backward_on(isa, &trace, gradient.as_standard_layout().view()).unwrap();
            assert_eq!(strided, standard);
        }
    }
}
