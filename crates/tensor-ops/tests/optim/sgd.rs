//! Stochastic gradient descent.

use tensor_ops::Element;
use tensor_ops::optim::{Optimizer, ParameterGroup, Sgd, SgdConfig};

use crate::checks::{self, Family, frozen_encoder, groups};

/// The configurations in PyTorch.
struct Cases;

impl Family for Cases {
    const CASES: &'static [&'static str] =
        &["sgd", "sgd_decay", "sgd_momentum", "sgd_dampening", "sgd_nesterov", "sgd_groups"];

    fn optimizer<T: Element>(case: &str) -> Box<dyn Optimizer<T>> {
        let default = SgdConfig::default();
        let config = match case {
            "sgd" => default,
            "sgd_decay" => SgdConfig { weight_decay: 0.1, ..default },
            "sgd_momentum" => SgdConfig { momentum: 0.9, ..default },
            "sgd_dampening" => SgdConfig { momentum: 0.8, dampening: 0.4, weight_decay: 0.05, ..default },
            "sgd_nesterov" => SgdConfig { momentum: 0.9, nesterov: true, weight_decay: 0.05, ..default },
            "sgd_groups" => SgdConfig { momentum: 0.9, weight_decay: 0.1, groups: groups(), ..default },
            other => panic!("no case `{other}`"),
        };
        Box::new(Sgd::new(config).unwrap())
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
    let config = SgdConfig { weight_decay: 0.1, groups: frozen_encoder(), ..SgdConfig::default() };
    checks::frozen_parameters_stay(Sgd::new(config).unwrap());
}

#[test]
fn options_out_of_range_are_refused() {
    let refusal = |config| Sgd::<f32>::new(config).map(|_| ()).unwrap_err().to_string();
    let default = SgdConfig::default;
    let group = |learning_rate_multiplier, weight_decay| {
        vec![ParameterGroup { learning_rate_multiplier, weight_decay, ..ParameterGroup::matching("*") }]
    };
    let cases = [
        (SgdConfig { momentum: 1.0, ..default() }, "momentum"),
        (SgdConfig { momentum: -0.1, ..default() }, "momentum"),
        (SgdConfig { momentum: 0.5, dampening: 1.1, ..default() }, "dampening"),
        (SgdConfig { dampening: 0.1, ..default() }, "dampening"),
        (SgdConfig { weight_decay: f64::NAN, ..default() }, "weight_decay"),
        (SgdConfig { nesterov: true, ..default() }, "nesterov"),
        (SgdConfig { nesterov: true, momentum: 0.9, dampening: 0.1, ..default() }, "nesterov"),
        (SgdConfig { groups: group(-1.0, None), ..default() }, "learning_rate_multiplier"),
        (SgdConfig { groups: group(1.0, Some(-1.0)), ..default() }, "weight_decay"),
    ];
    for (config, option) in cases {
        let message = refusal(config);
        assert!(message.starts_with(&format!("Sgd: option `{option}`")), "{message}");
    }
}
