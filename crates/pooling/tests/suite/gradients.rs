//! Gradients against central differences in double precision.

use ndarray::{Array4, Array5};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use pooling::{
    AdaptiveAvgPool2d, Architecture, AvgPool2d, FeaturePooling, FeaturePoolingConfig, GlobalPool, MaxPool2d, Reducer,
    TemporalPool, TemporalWindow,
};
use tensor_ops::testing::{assert_all_close, check_parameter_gradients, numeric_gradient, run_cases, seeded_array};
use tensor_ops::{Padding, Window};

const REDUCERS: [Reducer; 6] = [
    Reducer::Max,
    Reducer::Mean,
    Reducer::Sum,
    Reducer::TopKMean(2),
    Reducer::SoftmaxWeighted { sharpness: 2.5 },
    Reducer::SoftmaxWeighted { sharpness: -1.0 },
];

/// Windows without padding, with padding that differs on all sides, and with dilation.
fn windows() -> [Window; 4] {
    let odd = Padding { top: 2, bottom: 0, left: 1, right: 2 };
    [
        Window { stride: [2, 2], ..Window::new([2, 2]) },
        Window { stride: [2, 3], padding: odd, ..Window::new([3, 4]) },
        Window { padding: odd, ..Window::new([4, 3]) },
        Window { padding: Padding { top: 1, bottom: 2, left: 0, right: 1 }, dilation: [2, 3], ..Window::new([3, 2]) },
    ]
}

#[test]
fn spatial_maximum() {
    let cases = windows().into_iter().flat_map(|window| [false, true].map(|ceil_mode| MaxPool2d { window, ceil_mode }));
    run_cases(cases, |pool| {
        let input: Array4<f64> = seeded_array((2, 2, 7, 8), 1);
        let (output, trace) = pool.forward_training(input.view()).unwrap();
        let weights: Array4<f64> = seeded_array(output.raw_dim(), 2);
        let gradient = pool.backward(&trace, weights.view()).unwrap();
        let numeric = numeric_gradient(&input, |input| (&pool.forward(input.view()).unwrap() * &weights).sum());
        assert_all_close(&gradient, &numeric, 1e-6, 1e-7);
    });
}

#[test]
fn spatial_average() {
    let cases = windows().into_iter().take(3).flat_map(|window| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(ceil_mode, count_include_pad)| {
            let Window { kernel, stride, padding, .. } = window;
            AvgPool2d { kernel, stride, padding, ceil_mode, count_include_pad }
        })
    });
    run_cases(cases, |pool| {
        let input: Array4<f64> = seeded_array((2, 2, 7, 8), 1);
        let output = pool.forward(input.view()).unwrap();
        let weights: Array4<f64> = seeded_array(output.raw_dim(), 2);
        let gradient = pool.backward([7, 8], weights.view()).unwrap();
        let numeric = numeric_gradient(&input, |input| (&pool.forward(input.view()).unwrap() * &weights).sum());
        assert_all_close(&gradient, &numeric, 1e-6, 1e-7);
    });
}

#[test]
fn adaptive_and_global() {
    run_cases([[1, 1], [3, 2], [5, 7], [2, 9]], |&output| {
        let pool = AdaptiveAvgPool2d { output };
        let input: Array4<f64> = seeded_array((2, 3, 5, 7), 1);
        let weights: Array4<f64> = seeded_array((2, 3, output[0], output[1]), 2);
        let gradient = pool.backward([5, 7], weights.view()).unwrap();
        let numeric = numeric_gradient(&input, |input| (&pool.forward(input.view()).unwrap() * &weights).sum());
        assert_all_close(&gradient, &numeric, 1e-6, 1e-7);
    });
    run_cases([GlobalPool::Max, GlobalPool::Mean], |&pool| {
        let input: Array4<f64> = seeded_array((2, 3, 5, 7), 1);
        let (output, trace) = pool.forward_training(input.view()).unwrap();
        assert_eq!(output, pool.forward(input.view()).unwrap());
        let weights = seeded_array((2, 3), 2);
        let gradient = GlobalPool::backward(&trace, weights.view()).unwrap();
        let numeric = numeric_gradient(&input, |input| (&pool.forward(input.view()).unwrap() * &weights).sum());
        assert_all_close(&gradient, &numeric, 1e-6, 1e-7);
    });
}

#[test]
fn temporal() {
    let lengths = [7, 3, 1];
    let windows = [None, Some([3, 2]), Some([2, 3]), Some([4, 1]), Some([9, 9])];
    let windows = windows.map(|window| window.map(|[frames, stride]| TemporalWindow { frames, stride }));
    let cases = REDUCERS.into_iter().flat_map(|reducer| windows.map(|window| TemporalPool { reducer, window }));
    run_cases(cases, |pool| {
        let input: Array4<f64> = seeded_array((3, 7, 2, 3), 1);
        let (output, trace) = pool.forward_training(input.view(), Some(&lengths)).unwrap();
        let weights: Array4<f64> = seeded_array(output.raw_dim(), 2);
        let gradient = TemporalPool::backward(&trace, weights.view()).unwrap();
        let numeric =
            numeric_gradient(&input, |input| (&pool.forward(input.view(), Some(&lengths)).unwrap() * &weights).sum());
        assert_all_close(&gradient, &numeric, 1e-6, 1e-7);
    });
}

#[test]
fn architectures() {
    let window = TemporalWindow { frames: 3, stride: 2 };
    let dense = TemporalWindow { frames: 3, stride: 1 };
    let convolution = |window, kernel| Architecture::TimeDomain { window, kernels: 5, kernel };
    let cases = [
        (Architecture::Conv, vec![], vec![6]),
        (Architecture::Conv, vec![], vec![]),
        (Architecture::Late, vec![6], vec![5]),
        (Architecture::Slow { window }, vec![6], vec![5]),
        (Architecture::Slow { window }, vec![], vec![]),
        (Architecture::Local { window, windows: 3 }, vec![6], vec![5]),
        (convolution(window, [3, 3]), vec![], vec![6]),
        (convolution(window, [2, 3]), vec![], vec![]),
        // So many windows that the gradient of the maximum is mostly zeros.
        (convolution(dense, [3, 2]), vec![], vec![]),
    ];
    let cases = cases.into_iter().flat_map(|(architecture, shared, hidden)| {
        REDUCERS.map(|reducer| FeaturePoolingConfig {
            architecture,
            input: [2, 3, 4],
            shared: shared.clone(),
            hidden: hidden.clone(),
            classes: 3,
            reducer,
            dropout: 0.0,
        })
    });
    run_cases(cases, |config| {
        let model = FeaturePooling::<f64>::new(config.clone(), &mut StdRng::seed_from_u64(11)).unwrap();
        let lengths = if matches!(config.architecture, Architecture::Local { .. }) { [8, 7] } else { [8, 2] };
        let input: Array5<f64> = seeded_array((2, 8, 2, 3, 4), 12);
        let weights = seeded_array((2, 3), 13);
        let loss = |model: &FeaturePooling<f64>, input: &Array5<f64>| {
            (&model.forward(input.view(), Some(&lengths)).unwrap() * &weights).sum()
        };
        let mut generator = StdRng::seed_from_u64(1);
        let (_, trace) = model.forward_training(input.view(), Some(&lengths), &mut generator).unwrap();
        let gradients = model.backward(&trace, weights.view()).unwrap();
        let numeric = numeric_gradient(&input, |input| loss(&model, input));
        assert_all_close(&gradients.input, &numeric, 1e-6, 1e-7);
        check_parameter_gradients(&model, &gradients.parameters, |model| loss(model, &input));
        let parameters = model.backward_parameters(&trace, weights.view()).unwrap();
        check_parameter_gradients(&model, &parameters, |model| loss(model, &input));
    });
}

/// With dropout, the gradient is that of the function with the same values dropped.
#[test]
fn dropout() {
    let config = FeaturePoolingConfig {
        shared: vec![6],
        hidden: vec![7],
        dropout: 0.4,
        ..FeaturePoolingConfig::slow([2, 3, 3], 3)
    };
    let model = FeaturePooling::<f64>::new(config, &mut StdRng::seed_from_u64(11)).unwrap();
    let input: Array5<f64> = seeded_array((2, 17, 2, 3, 3), 12);
    let weights = seeded_array((2, 3), 13);
    let run = |model: &FeaturePooling<f64>, input: &Array5<f64>| {
        let mut generator = StdRng::seed_from_u64(5);
        let (scores, trace) = model.forward_training(input.view(), None, &mut generator).unwrap();
        (scores, trace.into_owned())
    };
    let (scores, trace) = run(&model, &input);
    assert_ne!(scores, model.forward(input.view(), None).unwrap(), "values are dropped");
    let gradients = model.backward(&trace, weights.view()).unwrap();
    let numeric = numeric_gradient(&input, |input| (&run(&model, input).0 * &weights).sum());
    assert_all_close(&gradients.input, &numeric, 1e-6, 1e-7);
    check_parameter_gradients(&model, &gradients.parameters, |model| (&run(model, &input).0 * &weights).sum());
}
