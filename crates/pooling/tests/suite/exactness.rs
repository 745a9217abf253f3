//! Equalities that hold bit for bit.

use ndarray::{Array3, Array4, Array5, ArrayD, Axis, s};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use pooling::{
    AdaptiveAvgPool2d, Architecture, AvgPool2d, FeaturePooling, FeaturePoolingConfig, MaxPool2d, Reducer, TemporalPool,
    TemporalWindow,
};
use tensor_ops::testing::{assert_bits_equal, assert_independent_of_threads, run_cases, seeded_array};
use tensor_ops::{Element, Padding, Parameters, Window};

const WINDOW: TemporalWindow = TemporalWindow { frames: 4, stride: 2 };

const REDUCERS: [Reducer; 5] =
    [Reducer::Max, Reducer::Mean, Reducer::Sum, Reducer::TopKMean(3), Reducer::SoftmaxWeighted { sharpness: 1.5 }];

/// All architectures with all reducers, with work for many threads, on small maps; and convolutions with many windows, with
/// enough channels for tiles, and on maps too wide to be unrolled.
fn configurations(windows: usize) -> Vec<FeaturePoolingConfig> {
    let dense = TemporalWindow { frames: 4, stride: 1 };
    let convolution = |window| Architecture::TimeDomain { window, kernels: 9, kernel: [3, 3] };
    let architectures = [
        (Architecture::Conv, vec![], vec![40]),
        (Architecture::Late, vec![50, 40], vec![]),
        (Architecture::Slow { window: WINDOW }, vec![50], vec![40]),
        (Architecture::Local { window: WINDOW, windows }, vec![50], vec![40]),
        (convolution(WINDOW), vec![], vec![40]),
        (convolution(dense), vec![], vec![]),
    ];
    let architectures = architectures.map(|architecture| (architecture, [4, 6, 7])).into_iter();
    let deep = Architecture::TimeDomain { window: WINDOW, kernels: 13, kernel: [3, 3] };
    let deep = ((deep, vec![], vec![]), [7, 5, 6]);
    let wide = ((convolution(dense), vec![], vec![]), [2, 3, 18]);
    architectures
        .chain([deep, wide])
        .flat_map(|((architecture, shared, hidden), input)| {
            REDUCERS.map(|reducer| FeaturePoolingConfig {
                architecture,
                input,
                shared: shared.clone(),
                hidden: hidden.clone(),
                classes: 5,
                reducer,
                dropout: 0.0,
            })
        })
        .collect()
}

fn new<T: Element>(config: &FeaturePoolingConfig) -> FeaturePooling<T> {
    FeaturePooling::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap()
}

fn clips<T: Element>(config: &FeaturePoolingConfig, batch: usize, time: usize) -> Array5<T> {
    let [channels, height, width] = config.input;
    seeded_array((batch, time, channels, height, width), 2)
}

fn generator() -> StdRng {
    StdRng::seed_from_u64(2)
}

fn is_local(config: &FeaturePoolingConfig) -> bool {
    matches!(config.architecture, Architecture::Local { .. })
}

/// Scores, gradient of the input and gradients of the parameters.
fn all<T: Element>(
    model: &FeaturePooling<T>,
    input: &Array5<T>,
    lengths: Option<&[usize]>,
    grad: &ndarray::Array2<T>,
) -> Vec<ArrayD<T>> {
    let (scores, trace) = model.forward_training(input.view(), lengths, &mut generator()).unwrap();
    let gradients = model.backward(&trace, grad.view()).unwrap();
    let mut arrays = vec![scores.into_dyn(), gradients.input.into_dyn()];
    arrays.extend(gradients.parameters.named().into_iter().map(|(_, values)| values.to_owned()));
    arrays
}

#[test]
fn any_number_of_threads_architectures() {
    let mut configurations = configurations(6);
    configurations.push(FeaturePoolingConfig { dropout: 0.5, ..configurations[5].clone() });
    run_cases(configurations, |config| {
        let model = new::<f32>(config);
        let (input, grad) = (clips(config, 5, 15), seeded_array((5, 5), 3));
        let lengths = if is_local(config) { [15, 14, 15, 14, 15] } else { [15, 3, 9, 1, 12] };
        assert_independent_of_threads(|| all(&model, &input, Some(&lengths), &grad));
    });
}

#[test]
fn any_number_of_threads_poolings() {
    let clips: Array3<f32> = seeded_array((3, 40, 2500), 1);
    run_cases(REDUCERS, |&reducer| {
        for window in [None, Some(WINDOW)] {
            let pool = TemporalPool { reducer, window };
            assert_independent_of_threads(|| {
                let (output, trace) = pool.forward_training(clips.view(), Some(&[40, 7, 23])).unwrap();
                let gradient = TemporalPool::backward(&trace, output.view()).unwrap();
                vec![output.into_dyn(), gradient.into_dyn()]
            });
        }
    });
    let images: Array4<f32> = seeded_array((4, 9, 30, 31), 1);
    assert_independent_of_threads(|| {
        let padding = Padding::symmetric(1, 1);
        let maximum = MaxPool2d { window: Window { stride: [2, 2], padding, ..Window::new([3, 3]) }, ceil_mode: true };
        let (output, trace) = maximum.forward_training(images.view()).unwrap();
        let gradient = maximum.backward(&trace, output.view()).unwrap();
        let average = AvgPool2d { stride: [1, 2], padding, ..AvgPool2d::new([3, 3]) };
        let means = average.forward(images.view()).unwrap();
        let grad_means = average.backward([30, 31], means.view()).unwrap();
        let adaptive = AdaptiveAvgPool2d { output: [7, 7] };
        let adapted = adaptive.forward(images.view()).unwrap();
        let grad_adapted = adaptive.backward([30, 31], adapted.view()).unwrap();
        [output, gradient, means, grad_means, adapted, grad_adapted].map(|array| array.into_dyn()).to_vec()
    });
}

/// A clip alone, and the same clip between others of other lengths, with NaN where it is padded.
fn alone_and_padded<T: Element>(config: &FeaturePoolingConfig) {
    let model = new::<T>(config);
    let lengths: &[usize] = if is_local(config) { &[8, 9, 8, 9, 9] } else { &[3, 12, 1, 7, 4] };
    let time = 12;
    let mut input: Array5<T> = clips(config, 5, time);
    for (clip, &length) in lengths.iter().enumerate() {
        input.slice_mut(s![clip, length.., .., .., ..]).fill(T::nan());
    }
    let grad = seeded_array((5, 5), 3);
    let (scores, trace) = model.forward_training(input.view(), Some(lengths), &mut generator()).unwrap();
    assert_bits_equal(&scores, &model.forward(input.view(), Some(lengths)).unwrap());
    let gradients = model.backward(&trace, grad.view()).unwrap();
    assert!(scores.iter().chain(&gradients.input).all(|value| value.is_finite()), "padding influences nothing");
    assert!(gradients.parameters.named().iter().all(|(_, values)| values.iter().all(|value| value.is_finite())));
    for (clip, &length) in lengths.iter().enumerate() {
        let frames = input.slice(s![clip..clip + 1, ..length, .., .., ..]);
        let (alone, trace) = model.forward_training(frames, None, &mut generator()).unwrap();
        assert_bits_equal(&scores.slice(s![clip..clip + 1, ..]), &alone);
        let alone = model.backward(&trace, grad.slice(s![clip..clip + 1, ..])).unwrap();
        assert_bits_equal(&gradients.input.slice(s![clip..clip + 1, ..length, .., .., ..]), &alone.input);
        assert!(gradients.input.slice(s![clip, length.., .., .., ..]).iter().all(|&value| value == T::zero()));
    }
}

#[test]
fn alone_and_padded_in_a_batch() {
    run_cases(configurations(3), |config| {
        alone_and_padded::<f32>(config);
        alone_and_padded::<f64>(config);
    });
}

/// Rows of fully connected layers wide enough for blocks of the matrix product, one alone and many together.
#[test]
fn alone_and_padded_with_wide_layers() {
    let config =
        FeaturePoolingConfig { shared: vec![300], hidden: vec![150], ..FeaturePoolingConfig::slow([32, 6, 7], 5) };
    let model = new::<f32>(&config);
    let input: Array5<f32> = seeded_array((40, 17, 32, 6, 7), 2);
    let lengths: Vec<usize> = (0..40).map(|clip| 1 + clip * 7 % 17).collect();
    let grad = seeded_array((40, 5), 3);
    let all_together = all(&model, &input, Some(&lengths), &grad);
    for clip in [0, 17, 39] {
        let one = clip..clip + 1;
        let frames = input.slice(s![one.clone(), ..lengths[clip], .., .., ..]).to_owned();
        let alone = all(&model, &frames, None, &grad.slice(s![one.clone(), ..]).to_owned());
        assert_bits_equal(&all_together[0].slice_axis(Axis(0), one.clone().into()), &alone[0]);
        let gradient = all_together[1].slice_axis(Axis(0), one.into());
        assert_bits_equal(&gradient.slice_axis(Axis(1), (..lengths[clip]).into()), &alone[1]);
    }
}

#[test]
fn alone_and_padded_poolings() {
    let lengths = [11, 2, 5, 1];
    let mut input: Array4<f32> = seeded_array((4, 11, 3, 5), 1);
    for (clip, &length) in lengths.iter().enumerate() {
        input.slice_mut(s![clip, length.., .., ..]).fill(f32::NAN);
    }
    let windows = [None, Some(WINDOW), Some(TemporalWindow { frames: 2, stride: 3 })];
    run_cases(
        REDUCERS.into_iter().flat_map(|reducer| windows.map(|window| TemporalPool { reducer, window })),
        |pool| {
            let (output, trace) = pool.forward_training(input.view(), Some(&lengths)).unwrap();
            let mut grad: Array4<f32> = seeded_array(output.raw_dim(), 2);
            let counts = lengths.map(|length| pool.window.map_or(1, |window| window.count(length)));
            for (clip, &count) in counts.iter().enumerate() {
                grad.slice_mut(s![clip, count.., .., ..]).fill(f32::NAN);
            }
            let gradient = TemporalPool::backward(&trace, grad.view()).unwrap();
            for (clip, (&length, &count)) in lengths.iter().zip(&counts).enumerate() {
                let frames = input.slice(s![clip..clip + 1, ..length, .., ..]);
                let (alone, trace) = pool.forward_training(frames, None).unwrap();
                assert_eq!(alone.dim().1, count);
                assert_bits_equal(&output.slice(s![clip..clip + 1, ..count, .., ..]), &alone);
                assert!(output.slice(s![clip, count.., .., ..]).iter().all(|&value| value == 0.0), "zeros follow");
                let grad = grad.slice(s![clip..clip + 1, ..count, .., ..]);
                let alone = TemporalPool::backward(&trace, grad).unwrap();
                assert_bits_equal(&gradient.slice(s![clip..clip + 1, ..length, .., ..]), &alone);
                assert!(gradient.slice(s![clip, length.., .., ..]).iter().all(|&value| value == 0.0));
            }
        },
    );
}

/// Conv and late pooling do not see the order of the frames; the others do.
#[test]
fn the_order_of_frames() {
    let reversed = |input: &Array5<f64>| {
        let mut reversed = input.clone();
        reversed.invert_axis(Axis(1));
        reversed
    };
    let configurations = configurations(4).into_iter();
    run_cases(
        configurations.filter(|config| matches!(config.reducer, Reducer::Max | Reducer::TopKMean(_))),
        |config| {
            let model = new::<f64>(config);
            let input: Array5<f64> = clips(config, 3, 11);
            let scores = model.forward(input.view(), None).unwrap();
            let of_reversed = model.forward(reversed(&input).view(), None).unwrap();
            if matches!(config.architecture, Architecture::Conv | Architecture::Late) {
                assert_bits_equal(&of_reversed, &scores);
            } else {
                assert_ne!(of_reversed, scores);
            }
        },
    );
}

/// Slow pooling of one window of frames is a pooling of all frames, one layer after another.
#[test]
fn slow_pooling_of_one_window() {
    run_cases(REDUCERS, |&reducer| {
        let slow = FeaturePoolingConfig {
            shared: vec![50],
            hidden: vec![40],
            reducer,
            ..FeaturePoolingConfig::slow([4, 6, 7], 5)
        };
        let conv = FeaturePoolingConfig { hidden: vec![50, 40], reducer, ..FeaturePoolingConfig::conv([4, 6, 7], 5) };
        let slow = new::<f32>(&slow);
        let mut conv = FeaturePooling::<f32>::zeros(conv).unwrap();
        for ((_, mut target), (_, source)) in conv.named_mut().into_iter().zip(slow.named()) {
            target.assign(&source);
        }
        for frames in [1, 6, 10] {
            let (input, grad) = (seeded_array((3, frames, 4, 6, 7), 2), seeded_array((3, 5), 3));
            let (slow, conv) = (all(&slow, &input, None, &grad), all(&conv, &input, None, &grad));
            slow.iter().zip(&conv).for_each(|(slow, conv)| assert_bits_equal(slow, conv));
        }
    });
}

/// A short clip in the time domain is one with frames of zeros behind it.
#[test]
fn time_domain_of_a_short_clip() {
    let config = FeaturePoolingConfig { hidden: vec![9], ..FeaturePoolingConfig::time_domain([4, 6, 7], 5) };
    let model = new::<f32>(&config);
    let input: Array5<f32> = seeded_array((2, 4, 4, 6, 7), 2);
    let mut longer = Array5::zeros((2, 10, 4, 6, 7));
    longer.slice_mut(s![.., ..4, .., .., ..]).assign(&input);
    let grad = seeded_array((2, 5), 3);
    let (short, mut long) = (all(&model, &input, None, &grad), all(&model, &longer, None, &grad));
    long[1] = long[1].slice_axis(Axis(1), (..4).into()).to_owned();
    short.iter().zip(&long).for_each(|(short, long)| assert_bits_equal(short, long));
}

/// Inputs and gradients of any strides have the results of those in order.
#[test]
fn any_strides() {
    run_cases(configurations(4), |config| {
        let model = new::<f32>(config);
        let [channels, height, width] = config.input;
        let wide: Array5<f32> = seeded_array((3, 13, channels, 2 * height, width), 2);
        let strided = wide.slice(s![.., ..11, .., ..;-2, ..]);
        let grad_wide: ndarray::Array2<f32> = seeded_array((5, 3), 3);
        let expected = all(&model, &strided.to_owned(), None, &grad_wide.t().as_standard_layout().into_owned());
        let (scores, trace) = model.forward_training(strided, None, &mut generator()).unwrap();
        let gradients = model.backward(&trace, grad_wide.t()).unwrap();
        assert_bits_equal(&scores.into_dyn(), &expected[0]);
        assert_bits_equal(&gradients.input.into_dyn(), &expected[1]);
        // Clips in order, with frames behind them that are not read.
        let input = clips::<f32>(config, 3, 13);
        let cut = input.slice(s![.., ..11, .., .., ..]);
        let expected = model.forward(cut.to_owned().view(), None).unwrap();
        assert_bits_equal(&model.forward(cut, None).unwrap(), &expected);
    });
}
