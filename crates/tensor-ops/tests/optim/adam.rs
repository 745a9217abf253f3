//! Adam, `AdamW` and `AMSGrad`.

use ndarray::{Array2, ShapeBuilder};
use tensor_ops::optim::{Adam, AdamConfig, Optimizer, ParameterGroup, global_norm};
use tensor_ops::testing::{assert_bits_equal, seeded_array};
use tensor_ops::{Element, Linear};

use crate::checks::{self, Family, frozen_encoder, groups};

/// The configurations in PyTorch.
struct Cases;

impl Family for Cases {
    const CASES: &'static [&'static str] =
        &["adam", "adam_decay", "adam_amsgrad", "adam_groups", "adamw", "adamw_amsgrad", "adamw_groups"];

    fn optimizer<T: Element>(case: &str) -> Box<dyn Optimizer<T>> {
        let default = AdamConfig::default();
        let config = match case {
            "adam" => default,
            "adam_decay" => AdamConfig { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weight_decay: 0.1, ..default },
            "adam_amsgrad" => AdamConfig { beta1: 0.8, beta2: 0.9, amsgrad: true, ..default },
            "adam_groups" => AdamConfig { weight_decay: 0.1, groups: groups(), ..default },
            "adamw" => AdamConfig::decoupled(),
            "adamw_amsgrad" => {
                AdamConfig { beta1: 0.8, beta2: 0.9, weight_decay: 0.2, amsgrad: true, ..AdamConfig::decoupled() }
            }
            "adamw_groups" => AdamConfig { weight_decay: 0.1, groups: groups(), ..AdamConfig::decoupled() },
            other => panic!("no case `{other}`"),
        };
        Box::new(Adam::new(config).unwrap())
    }
}

#[test]
fn ten_steps_equal_pytorch() {
    checks::ten_steps_equal_pytorch::<Cases>();
}

#[test]
fn resumed_equals_uninterrupted() {
    checks::resumed_equals_uninterrupted::<Cases>();
}

#[test]
fn steps_do_not_depend_on_threads() {
    checks::steps_do_not_depend_on_threads::<Cases>();
}

#[test]
fn values_do_not_depend_on_their_positions() {
    checks::values_do_not_depend_on_their_positions::<Cases>();
}

#[test]
fn frozen_parameters_stay() {
    for config in [AdamConfig::default(), AdamConfig::decoupled()] {
        checks::frozen_parameters_stay(Adam::new(AdamConfig { groups: frozen_encoder(), ..config }).unwrap());
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let refusal = |config| Adam::<f32>::new(config).map(|_| ()).unwrap_err().to_string();
    let default = AdamConfig::default;
    let group = |learning_rate_multiplier, weight_decay| {
        vec![ParameterGroup { learning_rate_multiplier, weight_decay, ..ParameterGroup::matching("*") }]
    };
    let cases = [
        (AdamConfig { beta1: 1.0, ..default() }, "beta1"),
        (AdamConfig { beta2: -0.5, ..default() }, "beta2"),
        (AdamConfig { epsilon: f64::INFINITY, ..default() }, "epsilon"),
        (AdamConfig { weight_decay: -0.1, ..default() }, "weight_decay"),
        (AdamConfig { groups: group(-1.0, None), ..default() }, "learning_rate_multiplier"),
    ];
    for (config, option) in cases {
        let message = refusal(config);
        assert!(message.starts_with(&format!("Adam: option `{option}`")), "{message}");
    }
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
