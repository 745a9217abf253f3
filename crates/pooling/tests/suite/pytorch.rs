//! Forward and gradients against PyTorch (`fixtures/generate.py`).

use ndarray::{Array2, Array4, Array5, ArrayD, Dimension};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use pooling::{
    AdaptiveAvgPool2d, Architecture, AvgPool2d, FeaturePooling, FeaturePoolingConfig, MaxPool2d, Reducer, TemporalPool,
    TemporalWindow,
};
use tensor_ops::testing::{Fixture, assert_all_close, load_fixture, run_cases};
use tensor_ops::{Element, Padding, Parameters, Window};

const WINDOW: TemporalWindow = TemporalWindow { frames: 4, stride: 3 };

fn fixture(name: &str) -> Fixture {
    load_fixture(format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR")))
}

fn array<T: Element, D: Dimension>(fixture: &Fixture, name: &str) -> ndarray::Array<T, D> {
    fixture.array::<T>(name).into_dimensionality().expect("an array of as many axes")
}

/// The cases of a fixture: what stands before `suffix` in a name.
fn cases(fixture: &Fixture, suffix: &str) -> Vec<String> {
    fixture.names().into_iter().filter_map(|name| name.strip_suffix(suffix).map(str::to_owned)).collect()
}

/// Output and gradient of the input.
fn spatial<T: Element>(fixture: &Fixture, case: &str) -> [Array4<T>; 2] {
    let input: Array4<T> = array(fixture, &format!("{case}.input"));
    let grad: Array4<T> = array(fixture, &format!("{case}.grad_output"));
    let size = [input.dim().2, input.dim().3];
    let options = fixture.indices(&format!("{case}.options"));
    match (case.split('_').next(), options.as_slice()) {
        (Some("max"), &[k_y, k_x, s_y, s_x, p_y, p_x, d_y, d_x, ceil]) => {
            let window = Window {
                kernel: [k_y, k_x],
                stride: [s_y, s_x],
                padding: Padding::symmetric(p_y, p_x),
                dilation: [d_y, d_x],
            };
            let pool = MaxPool2d { window, ceil_mode: ceil == 1 };
            let (output, trace) = pool.forward_training(input.view()).unwrap();
            assert_eq!(output, pool.forward(input.view()).unwrap());
            assert_eq!([output.dim().2, output.dim().3], pool.output_size(size).unwrap());
            [output, pool.backward(&trace, grad.view()).unwrap()]
        }
        (Some("avg"), &[k_y, k_x, s_y, s_x, p_y, p_x, ceil, include]) => {
            let pool = AvgPool2d {
                kernel: [k_y, k_x],
                stride: [s_y, s_x],
                padding: Padding::symmetric(p_y, p_x),
                ceil_mode: ceil == 1,
                count_include_pad: include == 1,
            };
            let output = pool.forward(input.view()).unwrap();
            assert_eq!([output.dim().2, output.dim().3], pool.output_size(size).unwrap());
            [output, pool.backward(size, grad.view()).unwrap()]
        }
        (Some("adaptive"), &[height, width]) => {
            let pool = AdaptiveAvgPool2d { output: [height, width] };
            [pool.forward(input.view()).unwrap(), pool.backward(size, grad.view()).unwrap()]
        }
        other => panic!("{case}: {other:?}"),
    }
}

fn compare_spatial<T: Element>(fixture: &Fixture, case: &str, tolerance: f64) {
    let [output, gradient] = spatial::<T>(fixture, case);
    eprintln!("case {case}, {}: output", T::NAME);
    assert_all_close(&output, &array(fixture, &format!("{case}.output")), tolerance, tolerance);
    eprintln!("case {case}, {}: gradient", T::NAME);
    assert_all_close(&gradient, &array(fixture, &format!("{case}.grad_input")), tolerance, tolerance);
}

#[test]
fn spatial_poolings() {
    let fixture = fixture("spatial");
    let cases = cases(&fixture, ".options");
    assert!(cases.len() >= 28, "{} cases", cases.len());
    run_cases(&cases, |case| {
        compare_spatial::<f64>(&fixture, case, 1e-14);
        compare_spatial::<f32>(&fixture, case, 1e-6);
    });
}

fn reducer(name: &str) -> Reducer {
    match name {
        "max" => Reducer::Max,
        "mean" => Reducer::Mean,
        "sum" => Reducer::Sum,
        "top_k" => Reducer::TopKMean(3),
        "softmax" => Reducer::SoftmaxWeighted { sharpness: 1.7 },
        other => panic!("{other} is no reducer"),
    }
}

fn compare_temporal<T: Element>(fixture: &Fixture, case: &str, tolerance: f64) {
    let of = |name: &str| -> ArrayD<T> { fixture.array(&format!("{case}.{name}")) };
    let input: Array4<T> = array(fixture, &format!("{case}.input"));
    let lengths = fixture.indices("lengths");
    assert_eq!(fixture.indices("window"), [WINDOW.frames, WINDOW.stride]);
    let close = |actual: ArrayD<T>, name: &str| {
        eprintln!("case {case}, {}: {name}", T::NAME);
        assert_all_close(&actual, &of(name), tolerance, tolerance);
    };

    let reducer = reducer(case);
    let (output, trace) = reducer.forward_training(input.view(), Some(&lengths)).unwrap();
    assert_eq!(output, reducer.forward(input.view(), Some(&lengths)).unwrap());
    close(output.into_dyn(), "whole");
    let grad = array(fixture, &format!("{case}.grad_whole"));
    close(Reducer::backward(&trace, grad.view()).unwrap().into_dyn(), "grad_from_whole");

    let pool = TemporalPool { reducer, window: Some(WINDOW) };
    let (output, trace) = pool.forward_training(input.view(), Some(&lengths)).unwrap();
    assert_eq!(output, pool.forward(input.view(), Some(&lengths)).unwrap());
    close(output.into_dyn(), "windowed");
    let grad: Array4<T> = array(fixture, &format!("{case}.grad_windowed"));
    close(TemporalPool::backward(&trace, grad.view()).unwrap().into_dyn(), "grad_from_windowed");
}

#[test]
fn temporal_reducers() {
    let fixture = fixture("temporal");
    let cases = cases(&fixture, ".whole");
    assert_eq!(cases, ["max", "mean", "softmax", "sum", "top_k"]);
    run_cases(&cases, |case| {
        compare_temporal::<f64>(&fixture, case, 1e-14);
        compare_temporal::<f32>(&fixture, case, 2e-6);
    });
}

/// The model of a case, with the layers that its parameters have.
fn model<T: Element>(fixture: &Fixture, case: &str) -> FeaturePooling<T> {
    let input: Array5<T> = array(fixture, &format!("{case}.input"));
    let architecture = match case.split_once('_').map_or(case, |(kind, _)| kind) {
        "conv" => Architecture::Conv,
        "late" => Architecture::Late,
        "slow" => Architecture::Slow { window: WINDOW },
        "local" => Architecture::Local { window: WINDOW, windows: 3 },
        _ => Architecture::TimeDomain { window: WINDOW, kernels: 6, kernel: [3, 3] },
    };
    let name = case.strip_prefix("time_domain").or_else(|| case.find('_').map(|at| &case[at..]));
    let reducer = reducer(name.filter(|name| !name.is_empty()).map_or("max", |name| &name[1..]));
    let units = |layer: String| {
        let bias = format!("{case}.parameters.{layer}.bias");
        fixture.contains(&bias).then(|| fixture.array::<f64>(&bias).len())
    };
    let layers = |part: &str| (0..).map_while(|index| units(format!("{part}.{index}"))).collect::<Vec<_>>();
    let config = FeaturePoolingConfig {
        architecture,
        input: [input.dim().2, input.dim().3, input.dim().4],
        shared: layers("shared"),
        hidden: layers("hidden"),
        classes: units("classifier".to_owned()).expect("a classifier"),
        reducer,
        dropout: 0.0,
    };
    let mut model = FeaturePooling::zeros(config).unwrap();
    for (name, mut values) in model.named_mut() {
        values.assign(&fixture.array(&format!("{case}.parameters.{name}")));
    }
    model
}

fn compare_architecture<T: Element>(fixture: &Fixture, case: &str, tolerance: f64) {
    let model: FeaturePooling<T> = model(fixture, case);
    let input: Array5<T> = array(fixture, &format!("{case}.input"));
    let lengths = fixture.indices(&format!("{case}.lengths"));
    let grad: Array2<T> = array(fixture, &format!("{case}.grad_scores"));
    let close = |actual: ArrayD<T>, name: &str| {
        eprintln!("case {case}, {}: {name}", T::NAME);
        assert_all_close(&actual, &fixture.array(&format!("{case}.{name}")), tolerance, tolerance);
    };
    close(model.forward(input.view(), Some(&lengths)).unwrap().into_dyn(), "scores");
    let mut generator = StdRng::seed_from_u64(1);
    let (scores, trace) = model.forward_training(input.view(), Some(&lengths), &mut generator).unwrap();
    close(scores.into_dyn(), "scores");
    let gradients = model.backward(&trace, grad.view()).unwrap();
    close(gradients.input.into_dyn(), "grad_input");
    let parameters = gradients.parameters.named();
    let of_case = format!("{case}.grad.");
    assert_eq!(parameters.len(), fixture.names().iter().filter(|name| name.starts_with(&of_case)).count());
    for (name, values) in &parameters {
        close(values.to_owned(), &format!("grad.{name}"));
    }
    let alone = model.backward_parameters(&trace, grad.view()).unwrap();
    for ((name, values), (_, expected)) in alone.named().into_iter().zip(&parameters) {
        eprintln!("case {case}, {}: {name} without the gradient of the input", T::NAME);
        assert_all_close(&values, expected, tolerance, tolerance);
    }
    let owned = model.backward(&trace.into_owned(), grad.view()).unwrap();
    close(owned.input.into_dyn(), "grad_input");
}

#[test]
fn architectures() {
    let fixture = fixture("architectures");
    let cases = cases(&fixture, ".scores");
    assert_eq!(cases.len(), 11, "{cases:?}");
    run_cases(&cases, |case| {
        compare_architecture::<f64>(&fixture, case, 1e-12);
        compare_architecture::<f32>(&fixture, case, 5e-6);
    });
}
