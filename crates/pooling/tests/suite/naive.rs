//! Poolings against plain loops.

use ndarray::{Array2, Array3, Array4, ArrayView4, s};
use pooling::{AdaptiveAvgPool2d, AvgPool2d, GlobalPool, MaxPool2d, Reducer, TemporalPool, TemporalWindow};
use tensor_ops::testing::{assert_all_close, assert_bits_equal, run_cases, seeded_array};
use tensor_ops::{Padding, Window};

/// The output position's pixels, and how many of the window lie in the image or the padding.
fn window_pixels(window: &Window, [height, width]: [usize; 2], row: usize, column: usize) -> (Vec<[usize; 2]>, usize) {
    let Padding { top, bottom, left, right } = window.padding;
    let (mut pixels, mut padded) = (Vec::new(), 0);
    for k in 0..window.kernel[0] {
        for l in 0..window.kernel[1] {
            let y = row * window.stride[0] + k * window.dilation[0];
            let x = column * window.stride[1] + l * window.dilation[1];
            if y < top + height + bottom && x < left + width + right {
                padded += 1;
            }
            if (top..top + height).contains(&y) && (left..left + width).contains(&x) {
                pixels.push([y - top, x - left]);
            }
        }
    }
    (pixels, padded)
}

fn cases() -> Vec<(Window, bool)> {
    let mut cases = Vec::new();
    for kernel in [[1, 1], [2, 3], [3, 3], [5, 2]] {
        for stride in [[1, 1], [2, 2], [3, 1], [1, 4]] {
            for dilation in [[1, 1], [2, 1], [1, 3]] {
                for padding in [Padding::ZERO, Padding { top: 1, bottom: 0, left: 0, right: 2 }] {
                    // A kernel of one position would meet padding alone.
                    if kernel == [1, 1] && padding != Padding::ZERO {
                        continue;
                    }
                    let window = Window { kernel, stride, padding, dilation };
                    cases.extend([(window, false), (window, true)]);
                }
            }
        }
    }
    cases
}

#[test]
fn spatial_windows() {
    let mut compared = 0;
    let (batch, channels, size) = (2, 2, [9, 11]);
    let input: Array4<f32> = seeded_array((batch, channels, size[0], size[1]), 1);
    // Few values, so that there are ties.
    let rounded = input.mapv(|value| (value * 3.0).round());
    for (window, ceil_mode) in cases() {
        let pool = MaxPool2d { window, ceil_mode };
        let Ok([height, width]) = pool.output_size(size) else { continue };
        compared += 1;
        let (output, trace) = pool.forward_training(rounded.view()).unwrap();
        let grad: Array4<f32> = seeded_array(output.raw_dim(), 2);
        let mut expected = Array4::zeros(output.raw_dim());
        let mut gradient = Array4::zeros(input.raw_dim());
        for (index, value) in expected.indexed_iter_mut() {
            let (n, c, i, j) = index;
            let (pixels, _) = window_pixels(&window, size, i, j);
            let mut first = pixels[0];
            for &[y, x] in &pixels {
                if rounded[[n, c, y, x]] > rounded[[n, c, first[0], first[1]]] {
                    first = [y, x];
                }
            }
            *value = rounded[[n, c, first[0], first[1]]];
            gradient[[n, c, first[0], first[1]]] += grad[index];
        }
        assert_eq!(output.dim(), (batch, channels, height, width));
        assert_bits_equal(&output, &expected);
        assert_bits_equal(&pool.forward(rounded.view()).unwrap(), &expected);
        assert_all_close(&pool.backward(&trace, grad.view()).unwrap(), &gradient, 1e-6, 1e-6);

        if window.dilation != [1, 1] {
            continue;
        }
        for count_include_pad in [false, true] {
            let Window { kernel, stride, padding, .. } = window;
            let pool = AvgPool2d { kernel, stride, padding, ceil_mode, count_include_pad };
            let mut expected = Array4::zeros(output.raw_dim());
            let mut gradient = Array4::zeros(input.raw_dim());
            for (index, value) in expected.indexed_iter_mut() {
                let (n, c, i, j) = index;
                let (pixels, padded) = window_pixels(&window, size, i, j);
                let divisor = if count_include_pad { padded } else { pixels.len() } as f32;
                *value = pixels.iter().map(|&[y, x]| input[[n, c, y, x]]).sum::<f32>() / divisor;
                pixels.iter().for_each(|&[y, x]| gradient[[n, c, y, x]] += grad[index] / divisor);
            }
            assert_all_close(&pool.forward(input.view()).unwrap(), &expected, 1e-6, 1e-6);
            assert_all_close(&pool.backward(size, grad.view()).unwrap(), &gradient, 1e-6, 1e-6);
        }
    }
    assert!(compared >= 150, "{compared} windows");
}

#[test]
fn strided_views_and_global_pooling() {
    let wide: Array4<f32> = seeded_array((3, 12, 8, 9), 1);
    let view: ArrayView4<'_, f32> = wide.slice(s![.., ..;3, ..;-1, 1..7]);
    let owned = view.to_owned();
    let pool = MaxPool2d::new([2, 3]);
    assert_bits_equal(&pool.forward(view).unwrap(), &pool.forward(owned.view()).unwrap());
    let average = AvgPool2d::new([2, 3]);
    assert_bits_equal(&average.forward(view).unwrap(), &average.forward(owned.view()).unwrap());
    let adaptive = AdaptiveAvgPool2d { output: [3, 4] };
    assert_bits_equal(&adaptive.forward(view).unwrap(), &adaptive.forward(owned.view()).unwrap());
    let maxima = Array2::from_shape_fn((3, 4), |(n, c)| {
        owned.slice(s![n, c, .., ..]).iter().copied().fold(f32::NEG_INFINITY, f32::max)
    });
    assert_bits_equal(&GlobalPool::Max.forward(view).unwrap(), &maxima);
    let means = Array2::from_shape_fn((3, 4), |(n, c)| owned.slice(s![n, c, .., ..]).iter().sum::<f32>() / 48.0);
    assert_all_close(&GlobalPool::Mean.forward(view).unwrap(), &means, 1e-6, 1e-6);
}

/// The value of a window of one feature, and what each frame's gradient is of that of the value.
fn reduce(reducer: Reducer, values: &[f64]) -> (f64, Vec<f64>) {
    let n = values.len();
    match reducer {
        Reducer::Max | Reducer::TopKMean(_) => {
            let count = if let Reducer::TopKMean(count) = reducer { count.min(n) } else { 1 };
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| values[b].partial_cmp(&values[a]).expect("numbers"));
            let mut slopes = vec![0.0; n];
            order[..count].iter().for_each(|&step| slopes[step] = 1.0 / count as f64);
            (order[..count].iter().map(|&step| values[step]).sum::<f64>() / count as f64, slopes)
        }
        Reducer::Mean => (values.iter().sum::<f64>() / n as f64, vec![1.0 / n as f64; n]),
        Reducer::Sum => (values.iter().sum(), vec![1.0; n]),
        Reducer::SoftmaxWeighted { sharpness } => {
            let exponentials: Vec<f64> = values.iter().map(|value| (sharpness * value).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            let weights: Vec<f64> = exponentials.iter().map(|exponential| exponential / sum).collect();
            let mean = weights.iter().zip(values).map(|(weight, value)| weight * value).sum::<f64>();
            let slope = |(weight, value): (&f64, &f64)| weight * (1.0 + sharpness * (value - mean));
            (mean, weights.iter().zip(values).map(slope).collect())
        }
    }
}

/// Clips with and without ties, with blocks of features that are full and cut, below and above the work of one thread.
#[test]
fn temporal_windows() {
    let reducers = [
        Reducer::Max,
        Reducer::Mean,
        Reducer::Sum,
        Reducer::TopKMean(1),
        Reducer::TopKMean(4),
        Reducer::TopKMean(100),
        Reducer::SoftmaxWeighted { sharpness: 3.0 },
        Reducer::SoftmaxWeighted { sharpness: 0.0 },
    ];
    let windows = [None, Some([10, 5]), Some([3, 1]), Some([2, 4]), Some([1, 1]), Some([50, 50])];
    let windows = windows.map(|window| window.map(|[frames, stride]| TemporalWindow { frames, stride }));
    let lengths = [21, 20, 9, 1];
    let cases = reducers.into_iter().flat_map(|reducer| windows.map(|window| TemporalPool { reducer, window }));
    run_cases(cases, |pool| {
        for (features, steps) in [(1, 1000.0), (7, 2.0), (2600, 3.0)] {
            let input: Array3<f64> = seeded_array((4, 21, features), 1);
            let input = input.mapv(|value| (value * steps).round() / steps);
            let (output, trace) = pool.forward_training(input.view(), Some(&lengths)).unwrap();
            let grad: Array3<f64> = seeded_array(output.raw_dim(), 2);
            let mut expected = Array3::zeros(output.raw_dim());
            let mut gradient = Array3::zeros(input.raw_dim());
            for (clip, &length) in lengths.iter().enumerate() {
                let (frames, stride) = pool.window.map_or((length, length), |w| (w.frames, w.stride));
                let mut start = 0;
                let mut window = 0;
                while window == 0 || start + frames <= length {
                    let end = length.min(start + frames);
                    for feature in 0..features {
                        let values = input.slice(s![clip, start..end, feature]).to_vec();
                        let (value, slopes) = reduce(pool.reducer, &values);
                        expected[[clip, window, feature]] = value;
                        for (step, slope) in slopes.into_iter().enumerate() {
                            gradient[[clip, start + step, feature]] += slope * grad[[clip, window, feature]];
                        }
                    }
                    start += stride;
                    window += 1;
                }
                if let Some(temporal) = pool.window {
                    assert_eq!(temporal.count(length), window);
                }
            }
            assert_all_close(&output, &expected, 1e-12, 1e-13);
            assert_all_close(&TemporalPool::backward(&trace, grad.view()).unwrap(), &gradient, 1e-12, 1e-13);
            let single = pool.forward(input.mapv(|value| value as f32).view(), Some(&lengths)).unwrap();
            assert_all_close(&single, &expected.mapv(|value| value as f32), 1e-5, 1e-5);
        }
    });
}

#[test]
fn nan_is_the_largest_value() {
    let clips = ndarray::array![[[1.0_f32, 1.0], [f32::NAN, 2.0], [3.0, f32::INFINITY]]];
    for reducer in [Reducer::Max, Reducer::TopKMean(2), Reducer::Mean] {
        let (output, trace) = reducer.forward_training(clips.view(), None).unwrap();
        assert!(output[[0, 0]].is_nan() && output[[0, 1]] == f32::INFINITY, "{reducer:?}");
        let gradient = Reducer::backward(&trace, ndarray::array![[1.0_f32, 1.0]].view()).unwrap();
        assert!(gradient[[0, 1, 0]] > 0.0 && gradient[[0, 2, 1]] > 0.0, "{reducer:?}");
    }
    let images =
        ndarray::array![[[[1.0_f32, f32::NAN, 3.0], [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY]]]];
    let (output, trace) = MaxPool2d::new([1, 3]).forward_training(images.view()).unwrap();
    assert!(output[[0, 0, 0, 0]].is_nan() && output[[0, 0, 1, 0]] == f32::NEG_INFINITY);
    let gradient = MaxPool2d::new([1, 3]).backward(&trace, ndarray::array![[[[1.0_f32], [2.0]]]].view()).unwrap();
    assert_eq!(gradient, ndarray::array![[[[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]]]);
}

/// An exponential that would overflow does not.
#[test]
fn softmax_of_large_values() {
    let clips = ndarray::array![[[300.0_f32], [1000.0], [-2000.0]]];
    let output = Reducer::SoftmaxWeighted { sharpness: 10.0 }.forward(clips.view(), None).unwrap();
    assert_eq!(output, ndarray::array![[1000.0]]);
}
