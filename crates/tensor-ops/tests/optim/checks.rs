//! What holds for every optimiser.

use std::ops::Range;

use ndarray::{Axis, s};
use tensor_ops::optim::{Optimizer, ParameterGroup};
use tensor_ops::testing::{assert_all_close, assert_bits_equal, assert_independent_of_threads, run_cases};
use tensor_ops::{Element, Linear, Parameters};

use crate::model::{Model, fixture, gradients, initial};

const STEPS: usize = 10;

/// An optimiser in the configurations that `fixtures/generate_training.py` runs in PyTorch.
pub(crate) trait Family {
    /// The names of the configurations.
    const CASES: &'static [&'static str];

    /// The optimiser in one of [`Self::CASES`].
    fn optimizer<T: Element>(case: &str) -> Box<dyn Optimizer<T>>;
}

/// The parameter groups of the cases `…_groups`.
pub(crate) fn groups() -> Vec<ParameterGroup> {
    let biases = ParameterGroup { learning_rate_multiplier: 2.0, ..ParameterGroup::without_decay("*.bias") };
    let head =
        ParameterGroup { learning_rate_multiplier: 0.5, weight_decay: Some(0.3), ..ParameterGroup::matching("head.*") };
    vec![biases, head]
}

/// A group that keeps the encoder as it is.
pub(crate) fn frozen_encoder() -> Vec<ParameterGroup> {
    vec![ParameterGroup { learning_rate_multiplier: 0.0, ..ParameterGroup::matching("encoder.*") }]
}

/// Ten steps have PyTorch's values and state, in double and in single precision.
pub(crate) fn ten_steps_equal_pytorch<F: Family>() {
    run_cases(F::CASES, |case| run_ten_steps::<F, f64>(case, 1e-11, 1e-13));
    run_cases(F::CASES, |case| run_ten_steps::<F, f32>(case, 2e-5, 2e-6));
}

fn run_ten_steps<F: Family, T: Element>(case: &str, rtol: f64, atol: f64) {
    let fixture = fixture();
    let mut model = initial::<T>(&fixture);
    let mut optimizer = F::optimizer::<T>(case);
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

/// Training resumed from saved parameters and state continues to the bit.
pub(crate) fn resumed_equals_uninterrupted<F: Family>() {
    run_cases(F::CASES, |case| {
        let fixture = fixture();
        let train = |model: &mut Model<f32>, optimizer: &mut dyn Optimizer<f32>, steps: Range<usize>| {
            for step in steps {
                optimizer.step(model, &gradients(&fixture, step), 0.01).unwrap();
            }
        };
        let (mut model, mut first) = (initial::<f32>(&fixture), F::optimizer::<f32>(case));
        train(&mut model, first.as_mut(), 0..4);
        let mut resumed_model = model.clone();
        train(&mut model, first.as_mut(), 4..STEPS);

        let mut saved = F::optimizer::<f32>(case);
        let mut again = initial::<f32>(&fixture);
        train(&mut again, saved.as_mut(), 0..4);
        let mut arrays: Vec<_> = saved.state().into_iter().map(|(name, values)| (name, values.to_owned())).collect();
        arrays.reverse();
        let mut resumed = F::optimizer::<f32>(case);
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

/// Steps have the same bits on any number of threads.
pub(crate) fn steps_do_not_depend_on_threads<F: Family>() {
    run_cases(F::CASES, |case| {
        let gradients = Model::<f32>::seeded((301, 257), (3, 301), 7);
        assert_independent_of_threads::<f32>(|| {
            let mut model = Model::<f32>::seeded((301, 257), (3, 301), 3);
            let mut optimizer = F::optimizer::<f32>(case);
            for _ in 0..3 {
                optimizer.step(&mut model, &gradients, 0.01).unwrap();
            }
            let state = optimizer.state();
            model.named().into_iter().chain(state).map(|(_, values)| values.to_owned()).collect()
        });
    });
}

/// A value changes in the same way wherever it stands.
pub(crate) fn values_do_not_depend_on_their_positions<F: Family>() {
    run_cases(F::CASES, |case| {
        let mut whole = Model::<f32>::seeded((45, 7), (2, 45), 3);
        let gradients = Model::<f32>::seeded((45, 7), (2, 45), 5);
        let part = |model: &Model<f32>| {
            let encoder = &model.encoder;
            Model {
                encoder: Linear {
                    weight: encoder.weight.slice(s![20..23, 2..5]).to_owned(),
                    bias: encoder.bias.as_ref().map(|bias| bias.slice(s![40..43]).to_owned()),
                },
                head: model.head.clone(),
            }
        };
        let (mut alone, gradients_alone) = (part(&whole), part(&gradients));
        let (mut optimizer_whole, mut optimizer_alone) = (F::optimizer::<f32>(case), F::optimizer::<f32>(case));
        for _ in 0..3 {
            optimizer_whole.step(&mut whole, &gradients, 0.01).unwrap();
            optimizer_alone.step(&mut alone, &gradients_alone, 0.01).unwrap();
        }
        assert_eq!(part(&whole), alone);
    });
}

/// An optimiser with the group [`frozen_encoder`] changes the head alone.
pub(crate) fn frozen_parameters_stay(mut optimizer: impl Optimizer<f32>) {
    let fixture = fixture();
    let before = initial::<f32>(&fixture);
    let mut model = before.clone();
    optimizer.step(&mut model, &gradients(&fixture, 0), 0.1).unwrap();
    assert_eq!(model.encoder, before.encoder);
    assert_ne!(model.head, before.head);
}
