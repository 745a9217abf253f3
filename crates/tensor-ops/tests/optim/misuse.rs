//! Gradients, models and states that do not fit, and what is kept at the start.

use ndarray::{Array1, Array2, array};
use tensor_ops::optim::{Adam, AdamConfig, Optimizer, OptimizerError, ParameterGroup, Sgd, SgdConfig};
use tensor_ops::{Linear, ParameterError, TensorError};

use crate::model::{Model, fixture, initial};

#[test]
fn state_before_the_first_step_is_empty_and_can_be_loaded() {
    let fixture = fixture();
    let model = initial::<f32>(&fixture);
    let mut optimizer = Adam::<f32>::new(AdamConfig::default()).unwrap();
    assert!(optimizer.state().is_empty());
    optimizer.load_state(&model, 0, &[]).unwrap();
    assert!(optimizer.state().is_empty());
    assert_eq!(optimizer.step_count(), 0);
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
        let mut optimizer = Adam::<f32>::new(AdamConfig::default()).unwrap();
        for _ in 0..steps_before {
            optimizer.step(&mut model, &finite, 0.1).unwrap();
        }
        for (gradients, learning_rate, expected) in &cases {
            let before = model.clone();
            let state = |optimizer: &dyn Optimizer<f32>| -> Vec<_> {
                optimizer.state().into_iter().map(|(name, values)| (name, values.to_owned())).collect()
            };
            let state_before = state(&optimizer);
            let error = optimizer.step(&mut model, gradients, *learning_rate).unwrap_err();
            assert_eq!(error, *expected);
            assert!(model == before, "{error}: the model changed");
            assert_eq!(state(&optimizer), state_before, "{error}");
            assert_eq!(optimizer.step_count(), steps_before);
        }
    }
}

#[test]
fn another_model_is_refused() {
    let mut optimizer = Sgd::<f32>::new(SgdConfig::default()).unwrap();
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
fn a_group_without_parameters_is_refused() {
    let groups = vec![ParameterGroup::without_decay("*.gain")];
    let mut optimizer = Adam::new(AdamConfig { groups, ..AdamConfig::decoupled() }).unwrap();
    let mut model = Linear::<f32> { weight: array![[1.0, 2.0]], bias: None };
    let gradients = model.clone();
    let error = optimizer.step(&mut model, &gradients, 0.1).unwrap_err();
    assert_eq!(error, OptimizerError::UnmatchedGroup { pattern: "*.gain".to_owned() });
    assert_eq!(error.to_string(), "parameter group `*.gain`: no parameter has such a name");
}
