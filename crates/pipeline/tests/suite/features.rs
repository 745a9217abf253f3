//! The feature network beside PyTorch, beside a plain network without folding, and what it refuses.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use conv2d::{Conv2d, Conv2dConfig};
use ndarray::{Array1, Array3, Array4, ArrayD, ArrayView1, Axis, Ix1, Ix2, Ix3, concatenate, s, stack};
use pipeline::features::{EfficientNetLite0, FeatureError};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tensor_ops::testing::{
    Fixture, assert_all_close, assert_bits_equal, assert_independent_of_threads, load_fixture, run_cases, seeded_array,
};
use tensor_ops::{Padding, softmax};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/efficientnet_lite0");
const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/efficientnet-lite0/weights_f16.safetensors");

/// The images of the reference, in its order, the classes that PyTorch finds in them and their probabilities.
const IMAGES: [(&str, &str, f32); 5] = [
    ("chelsea", "Egyptian Mau", 0.3853),
    ("coffee", "espresso", 0.9395),
    ("astronaut", "bobsleigh", 0.1974),
    ("rocket", "missile", 0.2202),
    ("bunny", "albatross", 0.4875),
];

fn network() -> &'static EfficientNetLite0 {
    static NETWORK: OnceLock<EfficientNetLite0> = OnceLock::new();
    NETWORK.get_or_init(|| EfficientNetLite0::bundled().unwrap())
}

fn reference() -> Fixture {
    load_fixture(format!("{FIXTURES}/reference.safetensors"))
}

fn read_png(name: &str) -> Array3<u8> {
    let file = File::open(format!("{FIXTURES}/{name}.png")).unwrap();
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(frame.color_type, png::ColorType::Rgb, "{name}");
    Array3::from_shape_vec((frame.height as usize, frame.width as usize, 3), pixels).unwrap()
}

fn images() -> Array4<f32> {
    let images = IMAGES.map(|(name, ..)| EfficientNetLite0::normalize(read_png(name).view()));
    stack(Axis(0), &images.each_ref().map(|image| image.view())).unwrap()
}

/// The part of the first image that the reference has too, `[1, 3, 64, 96]`.
fn small_images() -> Array4<f32> {
    images().slice(s![..1, .., 80..144, 64..160]).to_owned()
}

fn largest(values: ArrayView1<'_, f32>) -> usize {
    values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

#[test]
fn photographs_have_the_classes_and_features_that_pytorch_finds() {
    let (reference, names) = (reference(), EfficientNetLite0::class_names());
    let images = images();
    let maps = network().maps(images.view()).unwrap();
    let expected = reference.array::<f32>("maps").into_dimensionality::<Ix3>().unwrap();
    assert_all_close(&maps.index_axis(Axis(0), 0), &expected, 0.0, 1e-4);
    let pooled = reference.array::<f32>("pooled").into_dimensionality::<Ix2>().unwrap();
    assert_all_close(&network().pooled(images.view()).unwrap(), &pooled, 0.0, 3e-5);
    let expected = reference.array::<f32>("scores").into_dimensionality::<Ix2>().unwrap();
    let scores = network().scores(images.view()).unwrap();
    assert_all_close(&scores, &expected, 0.0, 1e-4);
    let probabilities = softmax(scores.view(), 1, None).unwrap();
    let expected = softmax(expected.view(), 1, None).unwrap();
    assert_all_close(&probabilities, &expected, 0.0, 1e-5);
    for ((name, class, probability), row) in IMAGES.iter().zip(probabilities.outer_iter()) {
        let found = largest(row);
        assert_eq!(names[found], *class, "{name}");
        assert!((row[found] - probability).abs() < 1e-3, "{name}: {} instead of {probability}", row[found]);
    }
}

#[test]
fn other_sizes_have_the_maps_that_pytorch_computes() {
    let maps = network().maps(small_images().view()).unwrap();
    let expected = reference().array::<f32>("small_maps").into_dimensionality::<Ix3>().unwrap();
    assert_eq!(expected.dim(), (1280, 2, 3));
    assert_all_close(&maps.index_axis(Axis(0), 0), &expected, 0.0, 1e-4);
}

#[test]
fn parameters_and_products_are_those_that_pytorch_counts() {
    let counts = reference().indices("counts");
    assert_eq!(EfficientNetLite0::parameter_count(), counts[0]);
    assert_eq!(EfficientNetLite0::multiply_adds(224), counts[1] as u64);
    assert_eq!(EfficientNetLite0::multiply_adds(96), counts[2] as u64);
    assert_eq!([0, 31, 225].map(EfficientNetLite0::multiply_adds), [0; 3]);
    assert_eq!(EfficientNetLite0::class_names().len(), 1000);
    assert_eq!(
        [0, 281, 999].map(|class| EfficientNetLite0::class_names()[class]),
        ["tench", "tabby cat", "toilet paper"]
    );
}

#[test]
fn pixels_become_centred_values_channel_by_channel() {
    let pixels = Array3::from_shape_fn((2, 4, 3), |(y, x, c)| [0, 127, 255][c] - if c > 0 { (y + x) as u8 } else { 0 });
    let image = EfficientNetLite0::normalize(pixels.view());
    assert_eq!(image.dim(), (3, 2, 4));
    for ((c, y, x), &value) in image.indexed_iter() {
        assert_eq!(value, (f32::from(pixels[[y, x, c]]) - 127.0) / 128.0);
    }
    assert_eq!([image[[0, 0, 0]], image[[1, 0, 0]], image[[2, 0, 0]]], [-127.0 / 128.0, 0.0, 1.0]);
}

/// The arrays of the file with the weights, in double precision.
struct Arrays(HashMap<String, ArrayD<f64>>);

impl Arrays {
    fn read() -> Self {
        let bytes = fs::read(WEIGHTS).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let array = |tensor: TensorView<'_>| {
            let values: Vec<f64> = match tensor.dtype() {
                Dtype::F16 => tensor.data().chunks_exact(2).map(|b| half_to_f64([b[0], b[1]])).collect(),
                _ => tensor
                    .data()
                    .chunks_exact(4)
                    .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                    .collect(),
            };
            ArrayD::from_shape_vec(tensor.shape(), values).unwrap()
        };
        Self(tensors.tensors().into_iter().map(|(name, tensor)| (name, array(tensor))).collect())
    }

    fn vector(&self, name: &str) -> Array1<f64> {
        self.0[name].clone().into_dimensionality::<Ix1>().unwrap()
    }

    /// A convolution with TensorFlow's padding for this very input, and its batch normalisation by the formula.
    fn convolve(&self, input: &Array4<f64>, [name, normalisation]: [&str; 2], stride: usize) -> Array4<f64> {
        let weight = self.0[&format!("{name}.weight")].clone().into_dimensionality::<ndarray::Ix4>().unwrap();
        let (out_channels, group_in, height, width) = weight.dim();
        let (_, in_channels, input_height, input_width) = input.dim();
        let config = Conv2dConfig {
            in_channels,
            out_channels,
            kernel: [height, width],
            stride: [stride; 2],
            padding: Padding::same([input_height, input_width], [height, width], [stride; 2], [1, 1]).unwrap(),
            groups: in_channels / group_in,
            bias: false,
            ..Conv2dConfig::default()
        };
        let mut output = Conv2d { config, weight, bias: None }.forward(input.view()).unwrap();
        let vector = |part: &str| self.vector(&format!("{normalisation}.{part}"));
        let (gamma, beta) = (vector("weight"), vector("bias"));
        let (mean, variance) = (vector("running_mean"), vector("running_var"));
        for (c, mut map) in output.axis_iter_mut(Axis(1)).enumerate() {
            map.mapv_inplace(|v| gamma[c] * (v - mean[c]) / (variance[c] + 1e-3).sqrt() + beta[c]);
        }
        output
    }

    /// The last maps by the definition of the network, without folding or fusing anything.
    fn maps(&self, images: &Array4<f32>) -> Array4<f64> {
        let relu6 = |maps: Array4<f64>| maps.mapv_into(|v| v.clamp(0.0, 6.0));
        let mut maps = relu6(self.convolve(&images.mapv(f64::from), ["_conv_stem", "_bn0"], 2));
        for block in 0..16 {
            let name = |part: &str| format!("_blocks.{block}.{part}");
            let mut inner = maps.clone();
            if self.0.contains_key(&name("_expand_conv.weight")) {
                inner = relu6(self.convolve(&inner, [&name("_expand_conv"), &name("_bn0")], 1));
            }
            let stride = if [1, 3, 5, 11].contains(&block) { 2 } else { 1 };
            inner = relu6(self.convolve(&inner, [&name("_depthwise_conv"), &name("_bn1")], stride));
            inner = self.convolve(&inner, [&name("_project_conv"), &name("_bn2")], 1);
            maps = if stride == 1 && maps.dim() == inner.dim() { maps + inner } else { inner };
        }
        relu6(self.convolve(&maps, ["_conv_head", "_bn1"], 1))
    }
}

/// The value of an f16 by the definition of IEEE 754.
fn half_to_f64(bytes: [u8; 2]) -> f64 {
    let bits = u16::from_le_bytes(bytes);
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-14),
        exponent => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[test]
fn folding_and_fusing_change_nothing_but_rounding() {
    let images = small_images();
    let expected = Arrays::read().maps(&images).mapv(|value| value as f32);
    assert_all_close(&network().maps(images.view()).unwrap(), &expected, 0.0, 1e-4);
}

/// TensorFlow pads an even size at stride 2 more at the end: a plain loop over the image says what that gives.
#[test]
fn padding_at_stride_2_is_asymmetric() {
    run_cases([(3, [6, 8]), (5, [6, 8]), (3, [7, 5]), (5, [2, 4]), (3, [1, 2])], |&(kernel, [height, width])| {
        let config = Conv2dConfig {
            kernel: [kernel; 2],
            stride: [2, 2],
            padding: Padding::same([height, width], [kernel; 2], [2, 2], [1, 1]).unwrap(),
            bias: false,
            ..Conv2dConfig::default()
        };
        let weight: Array4<f64> = seeded_array((1, 1, kernel, kernel), 1);
        let image: Array4<f64> = seeded_array((1, 1, height, width), 2);
        let output = Conv2d { config, weight: weight.clone(), bias: None }.forward(image.view()).unwrap();
        let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
        assert_eq!(output.dim(), (1, 1, rows, columns));
        let before = |size: usize| (((size.div_ceil(2) - 1) * 2 + kernel).saturating_sub(size) / 2) as isize;
        for ((_, _, i, j), &value) in output.indexed_iter() {
            let mut sum = 0.0;
            for k in 0..kernel {
                for l in 0..kernel {
                    let [y, x] = [(2 * i + k) as isize - before(height), (2 * j + l) as isize - before(width)];
                    if (0..height as isize).contains(&y) && (0..width as isize).contains(&x) {
                        sum += weight[[0, 0, k, l]] * image[[0, 0, y as usize, x as usize]];
                    }
                }
            }
            assert!((value - sum).abs() < 1e-12, "output {i}, {j}: {value}, expected {sum}");
        }
    });
}

#[test]
fn an_image_has_the_same_features_alone_and_in_any_batch() {
    let images: Array4<f32> = seeded_array((5, 3, 64, 96), 4);
    let maps = network().maps(images.view()).unwrap();
    let scores = network().scores(images.view()).unwrap();
    for index in 0..5 {
        let alone = images.slice(s![index..=index, .., .., ..]);
        assert_bits_equal(&network().maps(alone).unwrap(), &maps.slice(s![index..=index, .., .., ..]));
        assert_bits_equal(&network().scores(alone).unwrap(), &scores.slice(s![index..=index, ..]));
    }
    let last_first = images.slice(s![..;-1, .., .., ..]);
    assert_bits_equal(&network().maps(last_first).unwrap(), &maps.slice(s![..;-1, .., .., ..]));
    let channels_last = images.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    assert_bits_equal(&network().maps(channels_last.view().permuted_axes([0, 3, 1, 2])).unwrap(), &maps);
    let nan = Array4::from_elem((1, 3, 64, 96), f32::NAN);
    let joined = concatenate(Axis(0), &[images.slice(s![..1, .., .., ..]), nan.view()]).unwrap();
    let joined = network().maps(joined.view()).unwrap();
    assert_bits_equal(&joined.slice(s![..1, .., .., ..]), &maps.slice(s![..1, .., .., ..]));
    assert!(joined.slice(s![1.., .., .., ..]).iter().all(|value| value.is_nan()));
}

#[test]
fn features_do_not_depend_on_the_number_of_threads() {
    run_cases([(1, [224, 224]), (1, [32, 32]), (2, [64, 96]), (4, [96, 64])], |&(count, [height, width])| {
        let images: Array4<f32> = seeded_array((count, 3, height, width), 5);
        assert_independent_of_threads(|| {
            let maps = network().maps(images.view()).unwrap().into_dyn();
            vec![maps, network().scores(images.view()).unwrap().into_dyn()]
        });
    });
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let cases = [
        ([0, 3, 64, 64], "EfficientNetLite0: images: expected at least 1 entry, found 0"),
        ([1, 1, 64, 64], "EfficientNetLite0: image channels: expected size 3, found 1"),
        ([2, 4, 64, 64], "EfficientNetLite0: image channels: expected size 3, found 4"),
        ([1, 3, 0, 64], "image height: expected a multiple of 32, at least 32, found 0"),
        ([1, 3, 64, 65], "image width: expected a multiple of 32, at least 32, found 65"),
        ([1, 3, 16, 64], "image height: expected a multiple of 32, at least 32, found 16"),
    ];
    run_cases(cases, |(shape, expected)| {
        let images = Array4::<f32>::zeros(*shape);
        assert_eq!(network().maps(images.view()).unwrap_err().to_string(), *expected);
        assert_eq!(network().pooled(images.view()).unwrap_err().to_string(), *expected);
        assert_eq!(network().scores(images.view()).unwrap_err().to_string(), *expected);
    });
}

/// The arrays of a file: name, type, shape and bytes.
type FileArrays = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn file_arrays() -> FileArrays {
    let bytes = fs::read(WEIGHTS).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let arrays = tensors.tensors().into_iter();
    arrays.map(|(name, t)| (name, t.dtype(), t.shape().to_vec(), t.data().to_vec())).collect()
}

fn write(directory: &Path, arrays: &FileArrays) -> PathBuf {
    let path = directory.join("network.safetensors");
    let views = arrays
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

#[test]
fn files_of_either_precision_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let images = small_images();
    let expected = network().maps(images.view()).unwrap();
    let same = EfficientNetLite0::load(Path::new(WEIGHTS)).unwrap();
    assert_bits_equal(&same.maps(images.view()).unwrap(), &expected);
    let mut arrays = file_arrays();
    for (_, dtype, _, data) in &mut arrays {
        if *dtype == Dtype::F16 {
            *dtype = Dtype::F32;
            *data = data.chunks_exact(2).flat_map(|b| (half_to_f64([b[0], b[1]]) as f32).to_le_bytes()).collect();
        }
    }
    arrays.push(("_bn0.num_batches_tracked".to_owned(), Dtype::I64, vec![], vec![0; 8]));
    let single = EfficientNetLite0::load(&write(directory.path(), &arrays)).unwrap();
    assert_bits_equal(&single.maps(images.view()).unwrap(), &expected);
}

type Change = fn(&mut FileArrays);

fn array<'a>(arrays: &'a mut FileArrays, name: &str) -> &'a mut (String, Dtype, Vec<usize>, Vec<u8>) {
    arrays.iter_mut().find(|array| array.0 == name).unwrap()
}

#[test]
fn files_with_other_arrays_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(Change, &str); 8] = [
        (
            |arrays| arrays.retain(|array| array.0 != "_blocks.4._bn1.running_var"),
            "no array `_blocks.4._bn1.running_var`: not the weights of EfficientNet-Lite0",
        ),
        (
            |arrays| array(arrays, "_fc.bias").0 = "_fc.offset".to_owned(),
            "no array `_fc.bias`: not the weights of EfficientNet-Lite0",
        ),
        (
            |arrays| arrays.push(("_blocks.16._bn0.bias".to_owned(), Dtype::F32, vec![1], vec![0; 4])),
            "unknown array `_blocks.16._bn0.bias`: not the weights of EfficientNet-Lite0",
        ),
        (
            |arrays| array(arrays, "_conv_stem.weight").2 = vec![32, 9, 3, 1],
            "array `_conv_stem.weight`: expected shape [32, 3, 3, 3], found [32, 9, 3, 1]",
        ),
        (
            |arrays| array(arrays, "_fc.weight").1 = Dtype::BF16,
            "array `_fc.weight`: expected type F16 or F32, found BF16",
        ),
        (
            |arrays| array(arrays, "_conv_head.weight").3[6..8].copy_from_slice(&[0x00, 0x7e]),
            "array `_conv_head.weight`: expected finite values, found NaN at position 3",
        ),
        (
            |arrays| array(arrays, "_bn1.bias").3[..4].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes()),
            "array `_bn1.bias`: expected finite values, found -inf at position 0",
        ),
        (
            |arrays| array(arrays, "_bn0.running_var").3[..4].copy_from_slice(&(-1_f32).to_le_bytes()),
            "normalisation `_bn0`: fold_batch_norm: option `running_var + epsilon` must be finite and greater than 0, \
             found -0.999",
        ),
    ];
    for (change, expected) in cases {
        let mut arrays = file_arrays();
        change(&mut arrays);
        let path = write(directory.path(), &arrays);
        let error = EfficientNetLite0::load(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {expected}", path.display()));
    }
}

#[test]
fn files_that_are_no_weights_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    let bytes = fs::read(WEIGHTS).unwrap();
    let image = fs::read(format!("{FIXTURES}/bunny.png")).unwrap();
    for damaged in [&bytes[..0], &bytes[..7], &bytes[..1000], &bytes[..bytes.len() - 1], &image] {
        fs::write(&path, damaged).unwrap();
        let error = EfficientNetLite0::load(&path).unwrap_err();
        assert!(matches!(error, FeatureError::Format { .. }), "{} bytes: {error}", damaged.len());
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
    let foreign = Path::new(FIXTURES).join("reference.safetensors");
    let error = EfficientNetLite0::load(&foreign).unwrap_err();
    assert!(matches!(&error, FeatureError::Missing { name, .. } if name == "_conv_stem.weight"), "{error}");
    let absent = EfficientNetLite0::load(&directory.path().join("absent")).unwrap_err();
    assert!(matches!(absent, FeatureError::Io { .. }), "{absent}");
    assert!(EfficientNetLite0::load(directory.path()).is_err());
    let large = directory.path().join("large");
    File::create(&large).unwrap().set_len((64 << 20) + 1).unwrap();
    let error = EfficientNetLite0::load(&large).unwrap_err();
    assert!(matches!(error, FeatureError::TooLarge { found: 67_108_865, .. }), "{error}");
}
