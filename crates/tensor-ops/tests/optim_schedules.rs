//! Schedules: PyTorch's values, their ends, and errors.

use ndarray::Array1;
use tensor_ops::TensorError;
use tensor_ops::optim::{Anneal, Constant, Cosine, LinearWarmUp, OneCycle, OneCycleConfig, Schedule, StepDecay};
use tensor_ops::testing::{assert_all_close, load_fixture, run_cases};

fn one_cycle(config: OneCycleConfig) -> Box<dyn Schedule> {
    Box::new(OneCycle::new(config).unwrap())
}

#[test]
fn every_step_equals_pytorch() {
    let step = || StepDecay::new(0.5, 6, 0.3).unwrap();
    let cosine = || Cosine::new(0.3, 0.01, 40).unwrap();
    let short = |warm_up_fraction| OneCycleConfig {
        max_learning_rate: 0.2,
        total_steps: 20,
        warm_up_fraction,
        ..Default::default()
    };
    let linear = OneCycleConfig {
        max_learning_rate: 0.2,
        total_steps: 57,
        warm_up_fraction: 0.25,
        initial_divisor: 10.0,
        final_divisor: 50.0,
        anneal: Anneal::Linear,
    };
    let cases: [(&str, Box<dyn Schedule>); 8] = [
        ("step", Box::new(step())),
        ("cosine", Box::new(cosine())),
        ("one_cycle", one_cycle(OneCycleConfig { max_learning_rate: 0.5, total_steps: 100, ..Default::default() })),
        ("one_cycle_linear", one_cycle(linear)),
        ("one_cycle_no_warm_up", one_cycle(short(0.0))),
        ("one_cycle_all_warm_up", one_cycle(short(1.0))),
        ("warm_up_cosine", Box::new(LinearWarmUp::new(7, 0.1, cosine()).unwrap())),
        ("warm_up_step", Box::new(LinearWarmUp::new(7, 0.25, Box::new(step())).unwrap())),
    ];
    let fixture = load_fixture("tests/fixtures/optim_schedules.safetensors");
    assert_eq!(fixture.names().len(), cases.len(), "a case for every schedule of the fixture");
    run_cases(&cases, |(name, schedule)| {
        let expected: Array1<f64> = fixture.array(name).into_dimensionality().unwrap();
        let rates: Array1<f64> = (0..expected.len() as u64).map(|step| schedule.learning_rate(step)).collect();
        // PyTorch multiplies step by step, which rounds differently.
        assert_all_close(&rates, &expected, 1e-11, 1e-15);
    });
}

#[test]
fn the_last_value_is_kept() {
    let cosine = Cosine::new(0.3, 0.01, 40).unwrap();
    let cycle = OneCycle::new(OneCycleConfig { total_steps: 10, ..Default::default() }).unwrap();
    for step in [40, 41, 80, u64::MAX] {
        assert_eq!(cosine.learning_rate(step), 0.01);
        assert_eq!(cycle.learning_rate(step), 1e-3 / 25.0 / 1e4);
    }
    assert_eq!(Constant::new(0.1).unwrap().learning_rate(u64::MAX), 0.1);
    assert_eq!(StepDecay::new(0.1, 1, 0.5).unwrap().learning_rate(u64::MAX), 0.0);
}

#[test]
fn a_cycle_of_one_step_is_finite() {
    for warm_up_fraction in [0.0, 0.5, 1.0] {
        let config = OneCycleConfig { total_steps: 1, warm_up_fraction, ..Default::default() };
        let cycle = OneCycle::new(config).unwrap();
        for step in 0..3 {
            let rate = cycle.learning_rate(step);
            assert!((0.0..=1e-3).contains(&rate), "{rate} at step {step} with {warm_up_fraction}");
        }
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let constant = |rate| Constant::new(rate).map(|_| ());
    let step = |initial, interval, factor| StepDecay::new(initial, interval, factor).map(|_| ());
    let cosine = |initial, last, steps| Cosine::new(initial, last, steps).map(|_| ());
    let warm_up = |steps, factor| LinearWarmUp::new(steps, factor, Constant::new(1.0)?).map(|_| ());
    let cycle = |config| OneCycle::new(config).map(|_| ());
    let default = OneCycleConfig::default;
    let cases = [
        (constant(-1.0), "Constant", "learning_rate", "-1"),
        (constant(f64::NAN), "Constant", "learning_rate", "NaN"),
        (step(f64::INFINITY, 1, 0.5), "StepDecay", "initial", "inf"),
        (step(0.1, 0, 0.5), "StepDecay", "interval", "0"),
        (step(0.1, 1, -0.5), "StepDecay", "factor", "-0.5"),
        (cosine(-0.1, 0.0, 5), "Cosine", "initial", "-0.1"),
        (cosine(0.1, f64::NAN, 5), "Cosine", "last", "NaN"),
        (cosine(0.1, 0.0, 0), "Cosine", "steps", "0"),
        (warm_up(0, 0.1), "LinearWarmUp", "steps", "0"),
        (warm_up(5, 1.5), "LinearWarmUp", "start_factor", "1.5"),
        (cycle(OneCycleConfig { total_steps: 0, ..default() }), "OneCycle", "total_steps", "0"),
        (cycle(OneCycleConfig { max_learning_rate: 0.0, ..default() }), "OneCycle", "max_learning_rate", "0"),
        (cycle(OneCycleConfig { initial_divisor: 0.0, ..default() }), "OneCycle", "initial_divisor", "0"),
        (cycle(OneCycleConfig { final_divisor: f64::NAN, ..default() }), "OneCycle", "final_divisor", "NaN"),
        (cycle(OneCycleConfig { warm_up_fraction: 1.5, ..default() }), "OneCycle", "warm_up_fraction", "1.5"),
    ];
    for (result, expected_operation, expected_option, expected_found) in cases {
        match result {
            Err(TensorError::InvalidOption { operation, option, found, .. }) => {
                let actual = (operation, option, found.as_str());
                assert_eq!(actual, (expected_operation, expected_option, expected_found));
            }
            other => panic!("{expected_operation}, {expected_option}: {other:?}"),
        }
    }
}
