//! Equalities that hold to the bit: threads, batches, stale memory, both ways to keep the input.

use conv2d::{Activation, Conv2d, Conv2dConfig};
use ndarray::{Array4, Axis, s};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::{assert_bits_equal, run_cases, seeded_array, with_threads};
use tensor_ops::{Isa, Padding};

/// Configurations of every path, with the batch and the size of their images, large enough for several threads.
fn cases() -> Vec<(Conv2dConfig, usize, [usize; 2])> {
    let one = Padding::symmetric(1, 1);
    let config = |in_channels, out_channels, kernel, padding| Conv2dConfig {
        in_channels,
        out_channels,
        kernel: [kernel, kernel],
        padding,
        ..Conv2dConfig::default()
    };
    vec![
        (config(16, 32, 3, one), 7, [16, 16]),
        (Conv2dConfig { stride: [2, 2], activation: Activation::Relu, ..config(32, 32, 3, one) }, 5, [16, 16]),
        (config(1, 16, 3, one), 19, [16, 16]),
        (config(24, 40, 3, one), 37, [4, 4]),
        // Through tiles, whole and cut.
        (config(40, 48, 3, one), 11, [18, 21]),
        (config(48, 24, 5, Padding::symmetric(2, 2)), 3, [17, 16]),
        (Conv2dConfig { groups: 2, activation: Activation::Relu, ..config(16, 48, 3, one) }, 11, [7, 3]),
        (config(40, 24, 3, one), 1, [30, 30]),
        (Conv2dConfig { activation: Activation::Relu6, ..config(96, 40, 1, Padding::ZERO) }, 3, [14, 14]),
        (Conv2dConfig { groups: 24, ..config(24, 24, 3, one) }, 4, [28, 28]),
        (
            Conv2dConfig { groups: 4, ..config(32, 32, 3, Padding { top: 2, bottom: 0, left: 0, right: 1 }) },
            3,
            [20, 20],
        ),
        (Conv2dConfig { stride: [2, 2], ..config(3, 24, 7, Padding::symmetric(3, 3)) }, 2, [48, 48]),
    ]
}

fn layer(config: &Conv2dConfig) -> Conv2d<f32> {
    Conv2d::new(config.clone(), &mut StdRng::seed_from_u64(21)).unwrap()
}

fn images(config: &Conv2dConfig, batch: usize, [height, width]: [usize; 2]) -> Array4<f32> {
    seeded_array((batch, config.in_channels, height, width), 22)
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    run_cases(cases(), |(config, batch, size)| {
        let (layer, input) = (layer(config), images(config, *batch, *size));
        for isa in Isa::available() {
            let run = |threads| {
                with_threads(threads, || {
                    let output = layer.forward_on(isa, input.view()).unwrap();
                    let (_, trace) = layer.forward_training(input.view()).unwrap();
                    (layer.backward_on(isa, &trace, output.view()).unwrap(), output)
                })
            };
            let (gradients, output) = run(1);
            for threads in [2, 3, 8] {
                let (other_gradients, other_output) = run(threads);
                assert_bits_equal(&other_output, &output);
                assert_bits_equal(&other_gradients.input, &gradients.input);
                assert_bits_equal(&other_gradients.parameters.weight, &gradients.parameters.weight);
                assert_eq!(other_gradients.parameters.bias, gradients.parameters.bias);
            }
        }
    });
}

#[test]
fn an_image_alone_gives_the_bits_it_has_in_a_batch() {
    run_cases(cases(), |(config, batch, size)| {
        let (layer, input) = (layer(config), images(config, *batch, *size));
        for isa in Isa::available() {
            let output = layer.forward_on(isa, input.view()).unwrap();
            let (_, trace) = layer.forward_training(input.view()).unwrap();
            let gradients = layer.backward_on(isa, &trace, output.view()).unwrap();
            for image in 0..*batch {
                let alone = input.slice(s![image..=image, .., .., ..]);
                let output_alone = layer.forward_on(isa, alone).unwrap();
                assert_bits_equal(&output_alone, &output.slice(s![image..=image, .., .., ..]));
                let (_, trace) = layer.forward_training(alone).unwrap();
                let gradients_alone = layer.backward_on(isa, &trace, output_alone.view()).unwrap();
                assert_bits_equal(&gradients_alone.input, &gradients.input.slice(s![image..=image, .., .., ..]));
            }
        }
    });
}

/// A pass over NaN and infinities leaves them in every buffer that threads keep; none may reach the next pass.
#[test]
fn stale_memory_is_never_read() {
    run_cases(cases(), |(config, batch, size)| {
        let (layer, input) = (layer(config), images(config, *batch, *size));
        for isa in Isa::available() {
            with_threads(1, || {
                let run = |input: &Array4<f32>| {
                    let (output, trace) = layer.forward_training(input.view()).unwrap();
                    let mut again = Array4::from_elem(output.raw_dim(), f32::NAN);
                    layer.forward_into_on(isa, input.view(), again.view_mut()).unwrap();
                    let grad_output = input.sum() + &again;
                    (layer.backward_on(isa, &trace, grad_output.view()).unwrap(), again)
                };
                let (gradients, output) = run(&input);
                assert!(output.iter().chain(&gradients.parameters.weight).all(|value| value.is_finite()));
                run(&Array4::from_elem(input.raw_dim(), f32::NAN));
                let (gradients_after, output_after) = run(&input);
                assert_bits_equal(&output_after, &output);
                assert_eq!(gradients_after, gradients);
                run(&Array4::from_elem(input.raw_dim(), f32::INFINITY));
                assert_eq!(run(&input), (gradients, output));
            });
        }
    });
}

/// NaN in one image stays in it, and passes the activation.
#[test]
fn nan_passes_and_stays_in_its_image() {
    run_cases(cases(), |(config, _, size)| {
        let layer = layer(config);
        let mut input = images(config, 3, *size);
        let clean = layer.forward(input.view()).unwrap();
        input.index_axis_mut(Axis(0), 1).fill(f32::NAN);
        for isa in Isa::available() {
            let output = layer.forward_on(isa, input.view()).unwrap();
            assert!(output.index_axis(Axis(0), 1).iter().all(|value| value.is_nan()));
            if isa == Isa::selected() {
                assert_bits_equal(&output.index_axis(Axis(0), 0), &clean.index_axis(Axis(0), 0));
                assert_bits_equal(&output.index_axis(Axis(0), 2), &clean.index_axis(Axis(0), 2));
            }
        }
    });
}

#[test]
fn an_owned_input_trains_like_a_view() {
    let (config, batch, size) = &cases()[1];
    let (layer, input) = (layer(config), images(config, *batch, *size));
    let (output, trace) = layer.forward_training(input.view()).unwrap();
    let (owned_output, owned_trace) = layer.forward_training_owned(input.clone()).unwrap();
    assert_bits_equal(&owned_output, &output);
    assert_eq!(owned_trace.input(), &input);
    let gradients = layer.backward(&trace, output.view()).unwrap();
    assert_eq!(layer.backward(&owned_trace, output.view()).unwrap(), gradients);
    assert_eq!(layer.backward_parameters(&trace, output.view()).unwrap(), gradients.parameters);
}
