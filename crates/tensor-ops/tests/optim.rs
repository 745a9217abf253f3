//! Optimisers and clipping: PyTorch's values, resuming, independence of threads and memory order, and errors.

use ndarray::{Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, Axis, ShapeBuilder, array};
use tensor_ops::optim::{
    Adam, AdamConfig, Optimizer, OptimizerError, ParameterGroup, RmsProp, RmsPropConfig, Sgd, SgdConfig,
    clip_global_norm, clip_values, global_norm,
};
use tensor_ops::testing::{
    Fixture, assert_all_close, assert_bits_equal, assert_independent_of_threads, load_fixture, run_cases, seeded_array,
};
use tensor_ops::{Element, Linear, ParameterError, Parameters, TensorError, visit_part, visit_part_mut};

const STEPS: usize = 10;

/// Every configuration that `fixtures/generate_training.py` runs in PyTorch.
const CASES: [&str; 18] = [
    "sgd",
    "sgd_decay",
    "sgd_momentum",
    "sgd_dampening",
    "sgd_nesterov",
    "sgd_groups",
    "rmsprop",
    "rmsprop_centered",
    "rmsprop_momentum",
    "rmsprop_centered_momentum",
    "rmsprop_groups",
    "adam",
    "adam_decay",
    "adam_amsgrad",
    "adam_groups",
    "adamw",
    "adamw_amsgrad",
    "adamw_groups",
];

fn optimizer<T: Element>(case: &str) -> Box<dyn Optimizer<T>> {
    let groups = || {
        let biases = ParameterGroup { learning_rate_multiplier: 2.0, ..ParameterGroup::without_decay("*.bias") };
        let head = ParameterGroup {
            learning_rate_multiplier: 0.5,
            weight_decay: Some(0.3),
            ..ParameterGroup::matching("head.*")
        };
        vec![biases, head]
    };
    let sgd = |config| -> Box<dyn Optimizer<T>> { Box::new(Sgd::new(config).unwrap()) };
    let rmsprop = |config| -> Box<dyn Optimizer<T>> { Box::new(RmsProp::new(config).unwrap()) };
    let adam = |config| -> Box<dyn Optimizer<T>> { Box::new(Adam::new(config).unwrap()) };
    let sgd_default = SgdConfig::default();
    let rmsprop_default = RmsPropConfig::default();
    let adam_default = AdamConfig::default();
    match case {
        "sgd" => sgd(sgd_default),
        "sgd_decay" => sgd(SgdConfig { weight_decay: 0.1, ..sgd_default }),
        "sgd_momentum" => sgd(SgdConfig { momentum: 0.9, ..sgd_default }),
        "sgd_dampening" => sgd(SgdConfig { momentum: 0.8, dampening: 0.4, weight_decay: 0.05, ..sgd_default }),
        "sgd_nesterov" => sgd(SgdConfig { momentum: 0.9, nesterov: true, weight_decay: 0.05, ..sgd_default }),
        "sgd_groups" => sgd(SgdConfig { momentum: 0.9, weight_decay: 0.1, groups: groups(), ..sgd_default }),
        "rmsprop" => rmsprop(rmsprop_default),
        "rmsprop_centered" => rmsprop(RmsPropConfig { alpha: 0.9, epsilon: 1e-6, centered: true, ..rmsprop_default }),
        "rmsprop_momentum" => {
            rmsprop(RmsPropConfig { alpha: 0.9, momentum: 0.7, weight_decay: 0.1, ..rmsprop_default })
        }
        "rmsprop_centered_momentum" => {
            rmsprop(RmsPropConfig { alpha: 0.9, momentum: 0.7, centered: true, ..rmsprop_default })
        }
        "rmsprop_groups" => rmsprop(RmsPropConfig { weight_decay: 0.1, groups: groups(), ..rmsprop_default }),
        "adam" => adam(adam_default),
        "adam_decay" => adam(AdamConfig { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weight_decay: 0.1, ..adam_default }),
        "adam_amsgrad" => adam(AdamConfig { beta1: 0.8, beta2: 0.9, amsgrad: true, ..adam_default }),
        "adam_groups" => adam(AdamConfig { weight_decay: 0.1, groups: groups(), ..adam_default }),
        "adamw" => adam(AdamConfig::decoupled()),
        "adamw_amsgrad" => {
            adam(AdamConfig { beta1: 0.8, beta2: 0.9, weight_decay: 0.2, amsgrad: true, ..AdamConfig::decoupled() })
        }
        "adamw_groups" => adam(AdamConfig { weight_decay: 0.1, groups: groups(), ..AdamConfig::decoupled() }),
        other => panic!("no case `{other}`"),
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Model<T> {
    encoder: Linear<T>,
    head: Linear<T>,
}

impl<T: Element> Parameters<T> for Model<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("encoder", &self.encoder, visitor);
        visit_part("head", &self.head, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        visit_part_mut("head", &mut self.head, visitor);
    }
}

impl<T: Element> Model<T> {
    fn from_arrays(array: impl Fn(&str) -> ArrayD<T>) -> Self {
        let linear = |part: &str| Linear {
            weight: array(&format!("{part}.weight")).into_dimensionality().unwrap(),
            bias: Some(array(&format!("{part}.bias")).into_dimensionality().unwrap()),
        };
        Self { encoder: linear("encoder"), head: linear("head") }
    }

    fn seeded(encoder: (usize, usize), head: (usize, usize), seed: u64) -> Self {
        let linear = |(outputs, inputs): (usize, usize), seed| Linear {
            weight: seeded_array((outputs, inputs), seed),
            bias: Some(seeded_array(outputs, seed + 1)),
        };
        Self { encoder: linear(encoder, seed), head: linear(head, seed + 2) }
    }
}

fn fixture() -> Fixture {
    load_fixture("tests/fixtures/optim.safetensors")
}

fn initial<T: Element>(fixture: &Fixture) -> Model<T> {
    Model::from_arrays(|name| fixture.array(&format!("initial.{name}")))
}

fn gradients<T: Element>(fixture: &Fixture, step: usize) -> Model<T> {
    Model::from_arrays(|name| fixture.array(&format!("gradients.{name}")).index_axis_move(Axis(0), step))
}

fn run_ten_steps<T: Element>(case: &str, rtol: f64, atol: f64) {
    let fixture = fixture();
    let mut model = initial::<T>(&fixture);
    let mut optimizer = optimizer::<T>(case);
    let learning_rates = fixture.array::<f64>("learning_rates");
    for step in 0..STEPS {
        optimizer.step(&mut model, &gradients(&fixture, step), learning_rates[step]).unwrap();
        for (name, values) in model.named() {
            let expected = fixture.array::<T>(&format!("{case}.values.{name}")).index_axis_move(Axis(0), step);
            assert_all_close(&values, &expected, rtol, atol);
        }
    }
    assert_eq!(optimizer.step_count(), STEPS as u64);
    let state = optimizer.state();
    for (name, values) in &state {
        assert_all_close(values, &fixture.array::<T>(&format!("{case}.state.{name}")), rtol, atol);
    }
    let in_fixture = fixture.names().iter().filter(|name| name.starts_with(&format!("{case}.state."))).count();
    assert_eq!(state.len(), in_fixture, "as many arrays of state as in PyTorch");
}

#[test]
fn ten_steps_equal_pytorch_in_double_precision() {
    run_cases(CASES, |case| run_ten_steps::<f64>(case, 1e-11, 1e-13));
}

#[test]
fn ten_steps_equal_pytorch_in_single_precision() {
    run_cases(CASES, |case| run_ten_steps::<f32>(case, 2e-5, 2e-6));
}

#[test]
fn resumed_equals_uninterrupted() {
    run_cases(CASES, |case| {
        let fixture = fixture();
        let train = |model: &mut Model<f32>, optimizer: &mut dyn Optimizer<f32>, steps: std::ops::Range<usize>| {
            for step in steps {
                optimizer.step(model, &gradients(&fixture, step), 0.01).unwrap();
            }
        };
        let (mut model, mut first) = (initial::<f32>(&fixture), optimizer::<f32>(case));
        train(&mut model, first.as_mut(), 0..4);
        let mut resumed_model = model.clone();
        train(&mut model, first.as_mut(), 4..STEPS);

        let mut saved = optimizer::<f32>(case);
        let mut again = initial::<f32>(&fixture);
        train(&mut again, saved.as_mut(), 0..4);
        let mut arrays: Vec<_> = saved.state().into_iter().map(|(name, values)| (name, values.to_owned())).collect();
        arrays.reverse();
        let mut resumed = optimizer::<f32>(case);
        resumed.load_state(&resumed_model, saved.step_count(), &arrays).unwrap();
        train(&mut resumed_model, resumed.as_mut(), 4..STEPS);

        assert_eq!(resumed.step_count(), STEPS as u64);
        for ((_, values), (_, expected)) in resumed_model.named().into_iter().zip(model.named()) {
            assert_bits_equal(&values, &expected);
        }
        for ((_, values), (_, expected)) in resumed.state().into_iter().zip(first.state()) {
            assert_bits_equal(&values, &expected);
        }
    });
}

#[test]
fn state_before_the_first_step_is_empty_and_can_be_loaded() {
    let fixture = fixture();
    let model = initial::<f32>(&fixture);
    let mut optimizer = optimizer::<f32>("adam");
    assert!(optimizer.state().is_empty());
    optimizer.load_state(&model, 0, &[]).unwrap();
    assert!(optimizer.state().is_empty());
    assert_eq!(optimizer.step_count(), 0);
}

#[test]
fn steps_do_not_depend_on_threads() {
    run_cases(CASES, |case| {
        let gradients = Model::<f32>::seeded((301, 257), (3, 301), 7);
        assert_independent_of_threads::<f32>(|| {
            let mut model = Model::<f32>::seeded((301, 257), (3, 301), 3);
            let mut optimizer = optimizer::<f32>(case);
            for _ in 0..3 {
                optimizer.step(&mut model, &gradients, 0.01).unwrap();
            }
            let state = optimizer.state();
            model.named().into_iter().chain(state).map(|(_, values)| values.to_owned()).collect()
        });
    });
}

#[test]
fn a_value_does_not_depend_on_its_position() {
    run_cases(CASES, |case| {
        let mut whole = Model::<f32>::seeded((45, 7), (2, 45), 3);
        let gradients = Model::<f32>::seeded((45, 7), (2, 45), 5);
        let part = |model: &Model<f32>| {
            let encoder = &model.encoder;
            Model {
                encoder: Linear {
                    weight: encoder.weight.slice(ndarray::s![20..23, 2..5]).to_owned(),
                    bias: encoder.bias.as_ref().map(|bias| bias.slice(ndarray::s![40..43]).to_owned()),
                },
                head: model.head.clone(),
            }
        };
        let (mut alone, gradients_alone) = (part(&whole), part(&gradients));
        let (mut optimizer_whole, mut optimizer_alone) = (optimizer::<f32>(case), optimizer::<f32>(case));
        for _ in 0..3 {
            optimizer_whole.step(&mut whole, &gradients, 0.01).unwrap();
            optimizer_alone.step(&mut alone, &gradients_alone, 0.01).unwrap();
        }
        assert_eq!(part(&whole), alone);
    });
}

#[test]
fn memory_order_does_not_matter() {
    let row_major = |weight: &Array2<f64>| Linear { weight: weight.clone(), bias: None };
    let column_major = |weight: &Array2<f64>| {
        let mut other = Array2::zeros(weight.raw_dim().f());
        other.assign(weight);
        Linear { weight: other, bias: None }
    };
    let (weight, gradient) = (seeded_array((13, 9), 1), seeded_array((13, 9), 2));
    let mut expected = row_major(&weight);
    let mut reference = Adam::new(AdamConfig::decoupled()).unwrap();
    let mut others = [column_major(&weight), column_major(&weight), row_major(&weight)];
    let gradients = [column_major(&gradient), row_major(&gradient), column_major(&gradient)];
    let mut optimizers = [(); 3].map(|()| Adam::new(AdamConfig::decoupled()).unwrap());
    for _ in 0..2 {
        reference.step(&mut expected, &row_major(&gradient), 0.1).unwrap();
        for ((model, gradient), optimizer) in others.iter_mut().zip(&gradients).zip(&mut optimizers) {
            optimizer.step(model, gradient, 0.1).unwrap();
        }
    }
    for (model, gradient) in others.iter().zip(&gradients) {
        assert_bits_equal(&model.weight, &expected.weight);
        assert_eq!(global_norm(gradient), global_norm(&row_major(&gradient.weight)));
    }
}

#[test]
fn a_multiplier_of_zero_freezes() {
    let fixture = fixture();
    for case in ["sgd", "rmsprop", "adam", "adamw"] {
        let before = initial::<f32>(&fixture);
        let mut model = before.clone();
        let frozen = ParameterGroup { learning_rate_multiplier: 0.0, ..ParameterGroup::matching("encoder.*") };
        let groups = vec![frozen];
        let mut optimizer: Box<dyn Optimizer<f32>> = match case {
            "sgd" => Box::new(Sgd::new(SgdConfig { weight_decay: 0.1, groups, ..Default::default() }).unwrap()),
            "rmsprop" => Box::new(RmsProp::new(RmsPropConfig { groups, ..Default::default() }).unwrap()),
            "adam" => Box::new(Adam::new(AdamConfig { groups, ..Default::default() }).unwrap()),
            _ => Box::new(Adam::new(AdamConfig { groups, ..AdamConfig::decoupled() }).unwrap()),
        };
        optimizer.step(&mut model, &gradients(&fixture, 0), 0.1).unwrap();
        assert_eq!(model.encoder, before.encoder, "{case}");
        assert_ne!(model.head, before.head, "{case}");
    }
}

#[test]
fn refused_steps_change_nothing() {
    let not_finite = |value: f32| {
        let mut gradients = Model::<f32>::seeded((301, 257), (2, 301), 5);
        gradients.encoder.weight[[300, 11]] = value;
        gradients.head.weight[[1, 0]] = value;
        gradients
    };
    let finite = Model::<f32>::seeded((301, 257), (2, 301), 5);
    let mut other_shape = finite.clone();
    other_shape.head.bias = Some(Array1::zeros(3));
    let mut fewer = finite.clone();
    fewer.head.bias = None;
    let mut renamed = finite.clone();
    renamed.encoder.bias = None;
    let position = 300 * 257 + 11;
    let gradient_not_finite =
        |position| OptimizerError::GradientNotFinite { name: "encoder.weight".to_owned(), position };
    let learning_rate = |found: &str| {
        OptimizerError::Tensor(TensorError::InvalidOption {
            operation: "Adam",
            option: "learning_rate",
            requirement: "finite and not negative",
            found: found.to_owned(),
        })
    };
    let cases = [
        (not_finite(f32::NAN), 0.1, gradient_not_finite(position)),
        (not_finite(f32::INFINITY), 0.1, gradient_not_finite(position)),
        (not_finite(f32::NEG_INFINITY), 0.1, gradient_not_finite(position)),
        (
            other_shape,
            0.1,
            OptimizerError::GradientShape { name: "head.bias".to_owned(), expected: vec![2], found: vec![3] },
        ),
        (fewer, 0.1, OptimizerError::GradientCount { expected: 4, found: 3 }),
        (
            renamed,
            0.1,
            OptimizerError::GradientName {
                position: 1,
                expected: "encoder.bias".to_owned(),
                found: "head.weight".to_owned(),
            },
        ),
        (finite.clone(), f64::NAN, learning_rate("NaN")),
        (finite.clone(), f64::INFINITY, learning_rate("inf")),
        (finite.clone(), -0.1, learning_rate("-0.1")),
    ];
    for steps_before in [0, 2] {
        let mut model = Model::<f32>::seeded((301, 257), (2, 301), 3);
        let mut optimizer = optimizer::<f32>("adam");
        for _ in 0..steps_before {
            optimizer.step(&mut model, &finite, 0.1).unwrap();
        }
        for (gradients, learning_rate, expected) in &cases {
            let before = model.clone();
            let state = |optimizer: &dyn Optimizer<f32>| -> Vec<_> {
                optimizer.state().into_iter().map(|(name, values)| (name, values.to_owned())).collect()
            };
            let state_before = state(optimizer.as_ref());
            let error = optimizer.step(&mut model, gradients, *learning_rate).unwrap_err();
            assert_eq!(error, *expected);
            assert!(model == before, "{error}: the model changed");
            assert_eq!(state(optimizer.as_ref()), state_before, "{error}");
            assert_eq!(optimizer.step_count(), steps_before);
        }
    }
}

#[test]
fn another_model_is_refused() {
    let mut optimizer = optimizer::<f32>("sgd");
    let mut model = Model::<f32>::seeded((3, 2), (2, 3), 1);
    let gradients = model.clone();
    optimizer.step(&mut model, &gradients, 0.1).unwrap();

    let mut wider = Model::<f32>::seeded((3, 4), (2, 3), 1);
    let gradients = wider.clone();
    let shape = ParameterError::Shape { name: "encoder.weight".to_owned(), expected: vec![3, 4], found: vec![3, 2] };
    assert_eq!(optimizer.step(&mut wider, &gradients, 0.1), Err(OptimizerError::State(shape)));

    let mut part = Linear::<f32> { weight: array![[1.0]], bias: None };
    let gradients = part.clone();
    let missing = ParameterError::Missing { name: "weight".to_owned() };
    assert_eq!(optimizer.step(&mut part, &gradients, 0.1), Err(OptimizerError::State(missing)));

    let mut fewer = Model::<f32>::seeded((3, 2), (2, 3), 1);
    fewer.head.bias = None;
    let gradients = fewer.clone();
    let unexpected = ParameterError::Unexpected { name: "head.bias".to_owned() };
    assert_eq!(optimizer.step(&mut fewer, &gradients, 0.1), Err(OptimizerError::State(unexpected)));
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let model = Linear::<f32> { weight: array![[1.0, 2.0]], bias: None };
    let fresh = || Adam::<f32>::new(AdamConfig::default()).unwrap();
    let array = |values: Array2<f32>| values.into_dyn();
    let mean = ("exp_avg.weight".to_owned(), array(array![[0.1, 0.2]]));
    let mean_square = ("exp_avg_sq.weight".to_owned(), array(array![[0.1, 0.2]]));
    let largest = ("max_exp_avg_sq.weight".to_owned(), array(array![[0.1, 0.2]]));
    let transposed = ("exp_avg.weight".to_owned(), array(array![[0.1], [0.2]]));
    let nan = ("exp_avg_sq.weight".to_owned(), array(array![[0.1, f32::NAN]]));
    fresh().load_state(&model, 3, &[mean.clone(), mean_square.clone()]).unwrap();
    let cases = [
        (3, vec![mean.clone()], ParameterError::Missing { name: "exp_avg_sq.weight".to_owned() }),
        (
            3,
            vec![mean.clone(), mean_square.clone(), largest],
            ParameterError::Unexpected { name: "max_exp_avg_sq.weight".to_owned() },
        ),
        (0, vec![mean.clone()], ParameterError::Unexpected { name: "exp_avg.weight".to_owned() }),
        (
            3,
            vec![transposed, mean_square.clone()],
            ParameterError::Shape { name: "exp_avg.weight".to_owned(), expected: vec![1, 2], found: vec![2, 1] },
        ),
        (3, vec![mean, nan], ParameterError::NotFinite { name: "exp_avg_sq.weight".to_owned(), position: 1 }),
    ];
    for (step_count, arrays, expected) in cases {
        let mut optimizer = fresh();
        assert_eq!(optimizer.load_state(&model, step_count, &arrays), Err(OptimizerError::State(expected)));
        assert_eq!(optimizer.step_count(), 0);
        assert!(optimizer.state().is_empty());
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let sgd = |config| Sgd::<f32>::new(config).map(|_| ()).unwrap_err().to_string();
    let rmsprop = |config| RmsProp::<f32>::new(config).map(|_| ()).unwrap_err().to_string();
    let adam = |config| Adam::<f32>::new(config).map(|_| ()).unwrap_err().to_string();
    let sgd_default = SgdConfig::default;
    let rmsprop_default = RmsPropConfig::default;
    let adam_default = AdamConfig::default;
    let group = |learning_rate_multiplier, weight_decay| {
        vec![ParameterGroup { learning_rate_multiplier, weight_decay, ..ParameterGroup::matching("*") }]
    };
    let cases = [
        (sgd(SgdConfig { momentum: 1.0, ..sgd_default() }), "Sgd: option `momentum`"),
        (sgd(SgdConfig { momentum: -0.1, ..sgd_default() }), "Sgd: option `momentum`"),
        (sgd(SgdConfig { momentum: 0.5, dampening: 1.1, ..sgd_default() }), "Sgd: option `dampening`"),
        (sgd(SgdConfig { dampening: 0.1, ..sgd_default() }), "Sgd: option `dampening`"),
        (sgd(SgdConfig { weight_decay: f64::NAN, ..sgd_default() }), "Sgd: option `weight_decay`"),
        (sgd(SgdConfig { nesterov: true, ..sgd_default() }), "Sgd: option `nesterov`"),
        (sgd(SgdConfig { nesterov: true, momentum: 0.9, dampening: 0.1, ..sgd_default() }), "Sgd: option `nesterov`"),
        (sgd(SgdConfig { groups: group(-1.0, None), ..sgd_default() }), "Sgd: option `learning_rate_multiplier`"),
        (sgd(SgdConfig { groups: group(1.0, Some(-1.0)), ..sgd_default() }), "Sgd: option `weight_decay`"),
        (rmsprop(RmsPropConfig { alpha: 1.0, ..rmsprop_default() }), "RmsProp: option `alpha`"),
        (rmsprop(RmsPropConfig { epsilon: 0.0, ..rmsprop_default() }), "RmsProp: option `epsilon`"),
        (rmsprop(RmsPropConfig { momentum: f64::NAN, ..rmsprop_default() }), "RmsProp: option `momentum`"),
        (rmsprop(RmsPropConfig { weight_decay: -0.1, ..rmsprop_default() }), "RmsProp: option `weight_decay`"),
        (adam(AdamConfig { beta1: 1.0, ..adam_default() }), "Adam: option `beta1`"),
        (adam(AdamConfig { beta2: -0.5, ..adam_default() }), "Adam: option `beta2`"),
        (adam(AdamConfig { epsilon: f64::INFINITY, ..adam_default() }), "Adam: option `epsilon`"),
        (adam(AdamConfig { weight_decay: -0.1, ..adam_default() }), "Adam: option `weight_decay`"),
    ];
    for (message, start) in cases {
        assert!(message.starts_with(start), "`{message}` does not start with `{start}`");
    }
}

#[test]
fn a_group_without_parameters_is_refused() {
    let groups = vec![ParameterGroup::without_decay("*.gain")];
    let mut optimizer = Adam::new(AdamConfig { groups, ..AdamConfig::decoupled() }).unwrap();
    let mut model = Linear::<f32> { weight: array![[1.0, 2.0]], bias: None };
    let gradients = model.clone();
    let error = optimizer.step(&mut model, &gradients, 0.1).unwrap_err();
    assert_eq!(error, OptimizerError::UnmatchedGroup { pattern: "*.gain".to_owned() });
    assert_eq!(error.to_string(), "parameter group `*.gain`: no parameter has such a name");
}

#[test]
fn clipping_equals_pytorch() {
    let fixture = fixture();
    let expect = |actual: &Model<f64>, case: &str| {
        for (name, values) in actual.named() {
            assert_all_close(&values, &fixture.array::<f64>(&format!("{case}.{name}")), 1e-13, 0.0);
        }
    };
    for (case, limit) in [("clip_norm", 3.0), ("clip_norm_above", 1e3)] {
        let mut clipped = gradients::<f64>(&fixture, 0);
        let norm = clip_global_norm(&mut clipped, limit).unwrap();
        assert_all_close(
            &array![norm],
            &fixture.array(&format!("{case}.norm")).into_dimensionality().unwrap(),
            1e-13,
            0.0,
        );
        expect(&clipped, case);
        let mut single = gradients::<f32>(&fixture, 0);
        assert!((clip_global_norm(&mut single, limit).unwrap() - norm).abs() < 1e-6 * norm);
    }
    let mut clipped = gradients::<f64>(&fixture, 0);
    clip_values(&mut clipped, 2.0).unwrap();
    expect(&clipped, "clip_values");
}

#[test]
fn the_norm_is_exact_for_many_values_and_independent_of_threads() {
    let gradients = Linear::<f32> { weight: seeded_array((523, 411), 1), bias: Some(seeded_array(523, 2)) };
    let values = gradients.weight.iter().chain(gradients.bias.as_ref().unwrap());
    let expected = values.map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    assert!((global_norm(&gradients) / expected - 1.0).abs() < 1e-13);
    assert_independent_of_threads(|| vec![array![global_norm(&gradients)].into_dyn()]);
}

#[test]
fn clipping_refuses_what_is_not_finite() {
    let gradients = |value: f32| Linear { weight: array![[1.0, value]], bias: Some(array![2.0]) };
    let not_finite = OptimizerError::GradientNotFinite { name: "weight".to_owned(), position: 1 };
    for value in [f32::NAN, f32::INFINITY] {
        let mut clipped = gradients(value);
        assert_eq!(clip_global_norm(&mut clipped, 1.0), Err(not_finite.clone()));
        assert_eq!(clip_values(&mut clipped, 1.0), Err(not_finite.clone()));
        assert_eq!(clipped.weight[[0, 0]], 1.0);
        assert_eq!(clipped.bias, Some(array![2.0]));
    }
    let mut overflowing = Linear { weight: array![[1e200]], bias: None };
    assert_eq!(clip_global_norm(&mut overflowing, 1.0), Err(OptimizerError::NormNotFinite));
    for limit in [0.0, -1.0, f64::NAN] {
        let mut clipped = gradients(0.0);
        assert!(matches!(clip_global_norm(&mut clipped, limit), Err(OptimizerError::Tensor(_))), "{limit}");
        assert!(matches!(clip_values(&mut clipped, limit), Err(OptimizerError::Tensor(_))), "{limit}");
    }
    let mut zero = Linear { weight: array![[0.0_f32]], bias: None };
    assert_eq!(clip_global_norm(&mut zero, 1.0), Ok(0.0));
}
