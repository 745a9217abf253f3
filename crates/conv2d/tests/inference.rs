//! Layers and blocks that are packed for inference, against the layers themselves.

use conv2d::{Activation, Conv2d, Conv2dConfig, Conv2dError, InvertedResidual, PackedLayer};
use ndarray::{Array3, Array4, ArrayD, Axis, s};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::{
    assert_all_close, assert_bits_equal, assert_independent_of_threads, run_cases, seeded_array,
};
use tensor_ops::{Isa, Padding};

fn pointwise(in_channels: usize, out_channels: usize, activation: Activation) -> Conv2dConfig {
    Conv2dConfig { in_channels, out_channels, activation, ..Conv2dConfig::default() }
}

fn layer(config: Conv2dConfig, seed: u64) -> Conv2d<f32> {
    Conv2d::new(config, &mut StdRng::seed_from_u64(seed)).unwrap()
}

/// SAME padding of TensorFlow: more at the end.
fn filter(channels: usize, kernel: usize, stride: usize) -> Conv2dConfig {
    let total = kernel - stride;
    let [before, after] = [total / 2, total - total / 2];
    Conv2dConfig {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding { top: before, bottom: after, left: before, right: after },
        groups: channels,
        ..pointwise(channels, channels, Activation::Relu6)
    }
}

#[test]
fn packed_layers_compute_what_layers_compute() {
    let cases = [
        (pointwise(16, 96, Activation::Relu6), [40, 28]),
        (pointwise(300, 80, Activation::None), [14, 14]),
        (pointwise(7, 31, Activation::Relu), [7, 7]),
        (Conv2dConfig { bias: false, ..pointwise(5, 50, Activation::None) }, [3, 67]),
        (Conv2dConfig { groups: 1, in_channels: 3, ..filter(32, 3, 2) }, [64, 96]),
        (Conv2dConfig { dilation: [2, 1], ..filter(1, 5, 1) }, [30, 31]),
        (Conv2dConfig { groups: 4, ..filter(8, 3, 1) }, [12, 12]),
        (pointwise(4, 2, Activation::Relu6), [1, 1]),
    ];
    run_cases(cases, |(config, [height, width])| {
        let layer = layer(config.clone(), 1);
        let image: Array3<f32> = seeded_array((config.in_channels, *height, *width), 2);
        for isa in Isa::available() {
            let expected = layer.forward_on(isa, image.view().insert_axis(Axis(0))).unwrap();
            let packed = PackedLayer::on(isa, &layer, [*height, *width]).unwrap();
            assert_eq!([packed.input_len(), packed.output_len()], [image.len(), expected.len()]);
            assert_eq!(packed.output_channels(), config.out_channels);
            let mut output = Array4::from_elem(expected.raw_dim(), f32::NAN);
            packed.forward(image.as_slice().unwrap(), output.as_slice_mut().unwrap()).unwrap();
            assert_all_close(&output, &expected, 1e-5, 1e-5);
        }
    });
}

fn block(channels: [usize; 3], kernel: usize, stride: usize, seed: u64) -> InvertedResidual<f32> {
    let [input, expanded, output] = channels;
    InvertedResidual {
        expansion: (input < expanded).then(|| layer(pointwise(input, expanded, Activation::Relu6), seed)),
        depthwise: layer(filter(expanded, kernel, stride), seed + 1),
        projection: layer(pointwise(expanded, output, Activation::None), seed + 2),
        adds_input: stride == 1 && input == output,
    }
}

/// Channels, kernel, stride and size of images: planes of all sizes, narrower than a vector and larger than a part.
const BLOCKS: [([usize; 3], usize, usize, [usize; 2]); 9] = [
    ([32, 32, 16], 3, 1, [48, 56]),
    ([16, 96, 24], 3, 2, [112, 112]),
    ([24, 144, 24], 3, 1, [56, 56]),
    ([24, 144, 40], 5, 2, [56, 40]),
    ([40, 240, 40], 5, 1, [28, 28]),
    ([80, 480, 112], 5, 1, [14, 14]),
    ([112, 300, 112], 5, 1, [14, 9]),
    ([48, 290, 48], 5, 1, [7, 7]),
    ([6, 30, 10], 5, 2, [2, 4]),
];

fn run(isa: Isa, block: &InvertedResidual<f32>, image: &Array3<f32>) -> ArrayD<f32> {
    let (_, height, width) = image.dim();
    let packed = block.pack_on(isa, [height, width]).unwrap();
    let [rows, columns] = block.depthwise.config.output_size([height, width]).unwrap();
    let mut output = Array3::from_elem((block.projection.config.out_channels, rows, columns), f32::NAN);
    assert_eq!(output.len(), packed.output_len());
    packed.forward(image.as_slice().unwrap(), output.as_slice_mut().unwrap()).unwrap();
    output.into_dyn()
}

#[test]
fn packed_blocks_compute_what_their_layers_compute() {
    run_cases(BLOCKS, |&(channels, kernel, stride, [height, width])| {
        let block = block(channels, kernel, stride, 3);
        let image: Array3<f32> = seeded_array((channels[0], height, width), 4);
        for isa in Isa::available() {
            let input = image.clone().insert_axis(Axis(0));
            let expanded = block.expansion.as_ref().map(|layer| layer.forward_on(isa, input.view()).unwrap());
            let filtered = block.depthwise.forward_on(isa, expanded.as_ref().unwrap_or(&input).view()).unwrap();
            let mut expected = block.projection.forward_on(isa, filtered.view()).unwrap();
            if block.adds_input {
                expected += &input;
            }
            assert_all_close(&run(isa, &block, &image), &expected.index_axis(Axis(0), 0).into_dyn(), 1e-5, 1e-5);
        }
    });
}

#[test]
fn packed_blocks_do_not_depend_on_the_number_of_threads() {
    run_cases(BLOCKS, |&(channels, kernel, stride, [height, width])| {
        let block = block(channels, kernel, stride, 5);
        let image: Array3<f32> = seeded_array((channels[0], height, width), 6);
        for isa in Isa::available() {
            assert_independent_of_threads(|| vec![run(isa, &block, &image)]);
        }
    });
}

/// A filter of all channels is one product per tap and pixel, whatever the rest of the image: a part of the channels
/// alone has the same bits, and so has a larger image's top.
#[test]
fn filtered_channels_do_not_depend_on_each_other_or_on_their_band() {
    for (kernel, stride, width) in [(3, 1, 112), (3, 2, 112), (5, 1, 200), (5, 2, 30)] {
        let layer = layer(filter(9, kernel, stride), 7);
        let images: Array4<f32> = seeded_array((1, 9, 120, width), 8);
        let output = layer.forward(images.view()).unwrap();
        for channel in 0..9 {
            let alone = Conv2d {
                config: filter(1, kernel, stride),
                weight: layer.weight.slice(s![channel..=channel, .., .., ..]).to_owned(),
                bias: layer.bias.as_ref().map(|bias| bias.slice(s![channel..=channel]).to_owned()),
            };
            let alone = alone.forward(images.slice(s![.., channel..=channel, .., ..])).unwrap();
            assert_bits_equal(&alone, &output.slice(s![.., channel..=channel, .., ..]));
        }
        let top = layer.forward(images.slice(s![.., .., ..40, ..])).unwrap();
        let rows = 40 / stride - kernel;
        assert_bits_equal(&top.slice(s![.., .., ..rows, ..]), &output.slice(s![.., .., ..rows, ..]));
    }
}

#[test]
fn blocks_that_do_not_fit_are_refused() {
    type Change = fn(&mut InvertedResidual<f32>);
    let cases: [(Change, &str); 5] = [
        (|block| block.depthwise = layer(filter(12, 3, 1), 1), "Conv2d: expanded channels: expected size 12, found 48"),
        (
            |block| block.depthwise = layer(Conv2dConfig { groups: 1, ..filter(48, 3, 1) }, 1),
            "Conv2d: input channels of a group: expected size 1, found 48",
        ),
        (
            |block| block.projection = layer(pointwise(24, 8, Activation::None), 1),
            "Conv2d: projected channels: expected size 48, found 24",
        ),
        (
            |block| block.projection = layer(pointwise(48, 9, Activation::None), 1),
            "Conv2d: output length: expected size 512, found 576",
        ),
        (|block| block.expansion.as_mut().unwrap().bias = None, "Conv2d: bias: expected one, found none"),
    ];
    for (change, expected) in cases {
        let mut block = block([8, 48, 8], 3, 1, 1);
        change(&mut block);
        assert_eq!(block.pack([8, 8]).unwrap_err().to_string(), expected);
    }
    let packed = block([8, 48, 8], 3, 1, 1).pack([8, 8]).unwrap();
    for (input, output) in [(511, 512), (512, 511), (513, 512), (0, 0)] {
        let error = packed.forward(&vec![0.0; input], &mut vec![0.0; output]).unwrap_err();
        assert!(matches!(error, Conv2dError::Tensor(_)), "{error}");
    }
    let packed = PackedLayer::new(&layer(pointwise(3, 5, Activation::None), 1), [4, 4]).unwrap();
    for (input, output) in [(47, 80), (48, 79), (48, 81)] {
        assert!(packed.forward(&vec![0.0; input], &mut vec![0.0; output]).is_err());
    }
}
