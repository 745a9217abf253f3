//! `RMSprop`.

use tensor_ops::Element;
use tensor_ops::optim::{Optimizer, ParameterGroup, RmsProp, RmsPropConfig};

use crate::checks::{self, Family, frozen_encoder, groups};

/// The configurations in PyTorch.
struct Cases;

impl Family for Cases {
    const CASES: &'static [&'static str] =
        &["rmsprop", "rmsprop_centered", "rmsprop_momentum", "rmsprop_centered_momentum", "rmsprop_groups"];

    fn optimizer<T: Element>(case: &str) -> Box<dyn Optimizer<T>> {
        let default = RmsPropConfig::default();
        let config = match case {
            "rmsprop" => default,
            "rmsprop_centered" => RmsPropConfig { alpha: 0.9, epsilon: 1e-6, centered: true, ..default },
            "rmsprop_momentum" => RmsPropConfig { alpha: 0.9, momentum: 0.7, weight_decay: 0.1, ..default },
            "rmsprop_centered_momentum" => RmsPropConfig { alpha: 0.9, momentum: 0.7, centered: true, ..default },
            "rmsprop_groups" => RmsPropConfig { weight_decay: 0.1, groups: groups(), ..default },
            other => panic!("no case `{other}`"),
        };
        Box::new(RmsProp::new(config).unwrap())
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
    let config = RmsPropConfig { groups: frozen_encoder(), ..RmsPropConfig::default() };
    checks::frozen_parameters_stay(RmsProp::new(config).unwrap());
}

#[test]
fn options_out_of_range_are_refused() {
    let refusal = |config| RmsProp::<f32>::new(config).map(|_| ()).unwrap_err().to_string();
    let default = RmsPropConfig::default;
    let group = |learning_rate_multiplier, weight_decay| {
        vec![ParameterGroup { learning_rate_multiplier, weight_decay, ..ParameterGroup::matching("*") }]
    };
    let cases = [
        (RmsPropConfig { alpha: 1.0, ..default() }, "alpha"),
        (RmsPropConfig { epsilon: 0.0, ..default() }, "epsilon"),
        (RmsPropConfig { momentum: f64::NAN, ..default() }, "momentum"),
        (RmsPropConfig { weight_decay: -0.1, ..default() }, "weight_decay"),
        (RmsPropConfig { groups: group(f64::INFINITY, None), ..default() }, "learning_rate_multiplier"),
    ];
    for (config, option) in cases {
        let message = refusal(config);
        assert!(message.starts_with(&format!("RmsProp: option `{option}`")), "{message}");
    }
}
