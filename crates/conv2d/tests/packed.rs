//! Packed convolutions, band by band, against the whole layer.

use conv2d::{Conv2d, Conv2dConfig, PackedConv2d, PackedConv2dBackward, backward_weight_on};
use ndarray::{Array3, Array4, ArrayView3, Axis, s};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::seeded_array;
use tensor_ops::{Element, Isa, Padding, Start};

fn configs() -> Vec<(Conv2dConfig, [usize; 2])> {
    let base = Conv2dConfig { in_channels: 4, out_channels: 6, ..Conv2dConfig::default() };
    let same = |kernel: usize| Padding::symmetric(kernel / 2, kernel / 2);
    vec![
        (Conv2dConfig { kernel: [5, 5], padding: same(5), ..base.clone() }, [16, 16]),
        (Conv2dConfig { kernel: [3, 3], padding: same(3), ..base.clone() }, [37, 9]),
        (Conv2dConfig { kernel: [1, 1], ..base.clone() }, [7, 12]),
        (
            Conv2dConfig { in_channels: 40, out_channels: 48, kernel: [3, 3], padding: same(3), ..base.clone() },
            [18, 21],
        ),
        (
            Conv2dConfig { in_channels: 24, out_channels: 96, kernel: [5, 5], padding: same(5), ..base.clone() },
            [16, 16],
        ),
        // Too few tiles for an image by itself.
        (Conv2dConfig { in_channels: 26, out_channels: 48, kernel: [3, 3], padding: same(3), ..base.clone() }, [7, 7]),
        (
            Conv2dConfig {
                in_channels: 48,
                out_channels: 26,
                kernel: [5, 5],
                padding: same(5),
                groups: 2,
                ..base.clone()
            },
            [5, 4],
        ),
        (Conv2dConfig { kernel: [3, 2], stride: [2, 3], ..base.clone() }, [15, 17]),
        (Conv2dConfig { kernel: [1, 1], stride: [2, 2], ..base.clone() }, [9, 8]),
        (Conv2dConfig { kernel: [3, 3], padding: same(3), groups: 2, ..base.clone() }, [6, 3]),
        (Conv2dConfig { kernel: [9, 9], padding: same(9), dilation: [1, 1], ..base.clone() }, [4, 20]),
        (
            Conv2dConfig { kernel: [2, 2], dilation: [2, 1], padding: Padding { top: 2, ..Padding::ZERO }, ..base },
            [5, 11],
        ),
    ]
}

fn check<T: Element>(isa: Isa) {
    let mut rng = StdRng::seed_from_u64(3);
    for (config, [height, width]) in configs() {
        let layer = Conv2d::<T>::new(config.clone(), &mut rng).unwrap();
        let images: Array4<T> = seeded_array((3, config.in_channels, height, width), 4);
        let (expected, trace) = layer.forward_training(images.view()).unwrap();
        let expected = if isa == Isa::selected() { expected } else { layer.forward_on(isa, images.view()).unwrap() };
        let bias = layer.bias.as_ref().unwrap().to_vec();

        let packed = PackedConv2d::on(isa, &config, layer.weight.view(), [height, width], 1).unwrap();
        assert_eq!(packed.output_size(), config.output_size([height, width]).unwrap());
        let [rows, columns] = packed.output_size();
        let mut output = Array4::<T>::from_elem((3, config.out_channels, rows, columns), T::nan());
        for (image, mut output) in images.outer_iter().zip(output.outer_iter_mut()) {
            for band_rows in [1, packed.band_rows()] {
                for first in (0..rows).step_by(band_rows) {
                    let band = output.slice_mut(s![.., first..rows.min(first + band_rows), ..]);
                    packed.convolve_band(image, first, Start::Bias(&bias), band).unwrap();
                }
            }
        }
        compare(&output, &expected, "output", &config, isa);

        // Whole images, by themselves and stacked.
        let plain = PackedConv2d::on(isa, &config, layer.weight.view(), [height, width], 3).unwrap();
        let stacked = PackedConv2d::stacked_on(isa, &config, layer.weight.view(), [height, width], 3).unwrap();
        for (packed, name) in [(plain, "images"), (stacked, "stacked images")] {
            let mut output = Array4::<T>::from_elem(expected.raw_dim(), T::nan());
            let pairs = images.outer_iter().zip(output.outer_iter_mut()).collect();
            packed.convolve_images(pairs, Start::Bias(&bias)).unwrap();
            compare(&output, &expected, name, &config, isa);
        }

        // A second convolution on top of the first.
        let mut twice = output.clone();
        for (image, mut twice) in images.outer_iter().zip(twice.outer_iter_mut()) {
            for first in (0..rows).step_by(packed.band_rows()) {
                let band = twice.slice_mut(s![.., first..rows.min(first + packed.band_rows()), ..]);
                packed.convolve_band(image, first, Start::Existing, band).unwrap();
            }
        }
        let bias = layer.bias.as_ref().unwrap().view().insert_axis(Axis(1)).insert_axis(Axis(2)).to_owned();
        compare(&twice, &(&expected * T::from_f64(2.0) - &bias), "sum", &config, isa);

        let gradient: Array4<T> = seeded_array((3, config.out_channels, rows, columns), 5);
        let expected = layer.backward_on(isa, &trace, gradient.view()).unwrap();
        let packed = PackedConv2dBackward::on(isa, &config, layer.weight.view(), [height, width], 3).unwrap();
        let mut grad_input = Array4::<T>::from_elem(images.raw_dim(), T::nan());
        for (gradient, mut target) in gradient.outer_iter().zip(grad_input.outer_iter_mut()) {
            for add in [false, true] {
                for first in (0..height).step_by(packed.band_rows()) {
                    let band = target.slice_mut(s![.., first..height.min(first + packed.band_rows()), ..]);
                    packed.backward_band(gradient, first, add, band).unwrap();
                }
            }
        }
        compare(&grad_input, &(&expected.input * T::from_f64(2.0)), "gradient of the input", &config, isa);

        let pairs: Vec<(ArrayView3<'_, T>, ArrayView3<'_, T>)> =
            images.outer_iter().zip(gradient.outer_iter()).collect();
        let weight = backward_weight_on(isa, &config, [height, width], &pairs).unwrap();
        compare(&weight, &expected.parameters.weight, "gradient of the weight", &config, isa);
    }
}

fn compare<T: Element>(found: &Array4<T>, expected: &Array4<T>, what: &str, config: &Conv2dConfig, isa: Isa) {
    let in_double = |array: &Array4<T>| array.mapv(|value| Element::to_f64(value));
    let (found, expected) = (in_double(found), in_double(expected));
    let scale = expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
    let tolerance = scale * if T::NAME == "f32" { 1e-5 } else { 1e-13 };
    let worst = (&found - &expected).iter().map(|difference| difference.abs()).fold(0.0, f64::max);
    assert!(
        worst <= tolerance && found.iter().all(|value| !value.is_nan()),
        "{what} on {isa}, {config:?}: off by {worst}"
    );
}

#[test]
fn bands_equal_the_layer() {
    for isa in Isa::available() {
        check::<f32>(isa);
        check::<f64>(isa);
    }
}

#[test]
fn bands_that_do_not_fit_are_errors() {
    let config = Conv2dConfig { in_channels: 2, out_channels: 3, kernel: [3, 3], ..Conv2dConfig::default() };
    let weight = Array4::<f32>::zeros((3, 2, 3, 3));
    for isa in Isa::available() {
        let forward = PackedConv2d::on(isa, &config, weight.view(), [8, 8], 1).unwrap();
        let backward = PackedConv2dBackward::on(isa, &config, weight.view(), [8, 8], 1).unwrap();
        let convolve = |image: (usize, usize, usize), first, bias: usize, band: (usize, usize, usize)| {
            let (image, bias) = (Array3::zeros(image), vec![0.0; bias]);
            forward.convolve_band(image.view(), first, Start::Bias(&bias), Array3::zeros(band).view_mut())
        };
        assert!(convolve((2, 8, 8), 5, 3, (3, 1, 6)).is_ok());
        let wrong = [
            ((1, 8, 8), 0, 3, (3, 1, 6)),
            ((2, 7, 8), 0, 3, (3, 1, 6)),
            ((2, 8, 9), 0, 3, (3, 1, 6)),
            ((2, 8, 8), 0, 2, (3, 1, 6)),
            ((2, 8, 8), 0, 3, (4, 1, 6)),
            ((2, 8, 8), 0, 3, (3, 1, 7)),
            ((2, 8, 8), 6, 3, (3, 1, 6)),
        ];
        for (image, first, bias, band) in wrong {
            let error = convolve(image, first, bias, band).unwrap_err().to_string();
            assert!(error.contains("expected") || error.contains("row"), "{error}");
        }
        let back = |gradient: (usize, usize, usize), first, band: (usize, usize, usize)| {
            backward.backward_band(Array3::zeros(gradient).view(), first, false, Array3::zeros(band).view_mut())
        };
        let whole = backward.band_rows().min(8);
        assert!(back((3, 6, 6), 0, (2, whole, 8)).is_ok());
        for (gradient, first, band) in [
            ((2, 6, 6), 0, (2, whole, 8)),
            ((3, 5, 6), 0, (2, whole, 8)),
            ((3, 6, 5), 0, (2, whole, 8)),
            ((3, 6, 6), 8, (2, whole, 8)),
            ((3, 6, 6), 0, (3, whole, 8)),
            ((3, 6, 6), 0, (2, whole, 9)),
        ] {
            assert!(back(gradient, first, band).is_err(), "{isa}: {gradient:?}, {first}, {band:?}");
        }
        let pairs = [(Array3::<f32>::zeros((2, 8, 8)), Array3::zeros((3, 6, 5)))];
        let pairs = [(pairs[0].0.view(), pairs[0].1.view())];
        assert!(backward_weight_on(isa, &config, [8, 8], &pairs).is_err());
        assert!(backward_weight_on::<f32>(isa, &config, [8, 8], &[]).unwrap().iter().all(|&value| value == 0.0));
    }
}
