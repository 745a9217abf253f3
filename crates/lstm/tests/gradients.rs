//! All gradients against central differences in double precision.

use lstm::{Lstm, LstmConfig, LstmState, Readout};
use ndarray::{Array3, s};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{assert_all_close, check_parameter_gradients, numeric_gradient, run_cases, seeded_array};

#[derive(Debug)]
struct Case {
    config: LstmConfig,
    lengths: Option<Vec<usize>>,
    with_states: bool,
}

const BATCH: usize = 3;
const TIME: usize = 5;

fn check(case: &Case) {
    let config = &case.config;
    let lstm = Lstm::<f64>::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap();
    let input: Array3<f64> = seeded_array((BATCH, TIME, config.input_size), 2);
    let states = (config.layers * config.directions(), BATCH, config.hidden_size);
    let initial = LstmState { hidden: seeded_array(states, 3), cell: seeded_array(states, 4) };
    let (grad_hidden, grad_cell): (Array3<f64>, Array3<f64>) = (seeded_array(states, 5), seeded_array(states, 6));
    let grad_output: Array3<f64> = seeded_array((BATCH, TIME, config.output_size()), 7);
    let (initial, grad_final) = match case.with_states {
        true => (Some(initial), Some(LstmState { hidden: grad_hidden, cell: grad_cell })),
        false => (None, None),
    };
    let lengths = case.lengths.as_deref();

    let run = |lstm: &Lstm<f64>, input: &Array3<f64>, initial: Option<&LstmState<f64>>| {
        // The same generator state every time: dropout masks stay fixed.
        lstm.forward_training(input.view(), initial, lengths, &mut StdRng::seed_from_u64(8)).unwrap()
    };
    let loss = |lstm: &Lstm<f64>, input: &Array3<f64>, initial: Option<&LstmState<f64>>| {
        let (output, state, _) = run(lstm, input, initial);
        let of_final = |grad: &LstmState<f64>| (&state.hidden * &grad.hidden).sum() + (&state.cell * &grad.cell).sum();
        (output * &grad_output).sum() + grad_final.as_ref().map_or(0.0, of_final)
    };

    let (_, _, trace) = run(&lstm, &input, initial.as_ref());
    let gradients = lstm.backward(&trace, grad_output.view(), grad_final.as_ref()).unwrap();
    let expected = numeric_gradient(&input, |input| loss(&lstm, input, initial.as_ref()));
    assert_all_close(&gradients.input, &expected, 1e-6, 1e-8);
    check_parameter_gradients(&lstm, &gradients.parameters, |lstm| loss(lstm, &input, initial.as_ref()));

    let zeros = LstmState::zeros(config, BATCH);
    let initial = initial.unwrap_or(zeros);
    let expected = numeric_gradient(&initial.hidden, |hidden| {
        loss(&lstm, &input, Some(&LstmState { hidden: hidden.clone(), cell: initial.cell.clone() }))
    });
    assert_all_close(&gradients.initial.hidden, &expected, 1e-6, 1e-8);
    let expected = numeric_gradient(&initial.cell, |cell| {
        loss(&lstm, &input, Some(&LstmState { hidden: initial.hidden.clone(), cell: cell.clone() }))
    });
    assert_all_close(&gradients.initial.cell, &expected, 1e-6, 1e-8);
}

#[test]
fn gradients_are_those_of_central_differences() {
    let mut cases = Vec::new();
    for bidirectional in [false, true] {
        for peepholes in [false, true] {
            for (lengths, with_states) in [(None, false), (None, true), (Some(vec![2, 5, 1]), true)] {
                let config = LstmConfig { bidirectional, peepholes, ..LstmConfig::new(3, 5) };
                cases.push(Case { config, lengths, with_states });
            }
        }
    }
    for config in [
        LstmConfig { layers: 2, bias: false, peepholes: true, ..LstmConfig::new(2, 3) },
        LstmConfig { layers: 2, bidirectional: true, dropout: 0.4, ..LstmConfig::new(3, 4) },
        LstmConfig { layers: 3, peepholes: true, dropout: 0.25, ..LstmConfig::new(2, 3) },
        // A truncation beyond the last step changes nothing.
        LstmConfig { layers: 2, bidirectional: true, truncate: Some(TIME), ..LstmConfig::new(2, 3) },
    ] {
        cases.push(Case { config, lengths: Some(vec![4, 1, 5]), with_states: true });
    }
    run_cases(cases, check);
}

/// Truncation after k steps is the gradient of sections of k steps, each from a constant copy of the state of the one
/// before.
#[test]
fn truncation_cuts_the_state_between_sections() {
    for bidirectional in [false, true] {
        for (steps, lengths) in [(1, [5, 5, 5]), (2, [5, 3, 4]), (3, [1, 5, 4])] {
            let config = LstmConfig { truncate: Some(steps), bidirectional, peepholes: true, ..LstmConfig::new(3, 4) };
            let lstm = Lstm::<f64>::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap();
            let input: Array3<f64> = seeded_array((BATCH, TIME, 3), 2);
            let grad_output: Array3<f64> = seeded_array((BATCH, TIME, config.output_size()), 3);
            let states = (config.directions(), BATCH, 4);
            let initial = LstmState { hidden: seeded_array(states, 4), cell: seeded_array(states, 5) };
            let grad_final = LstmState { hidden: seeded_array(states, 6), cell: seeded_array(states, 7) };
            let mut rng = StdRng::seed_from_u64(0);
            let (_, _, trace) = lstm.forward_training(input.view(), Some(&initial), Some(&lengths), &mut rng).unwrap();
            let gradients = lstm.backward(&trace, grad_output.view(), Some(&grad_final)).unwrap();

            // Each direction and sequence on its own, in sections, with one-directional LSTMs.
            let mut expected = lstm.clone();
            tensor_ops::Parameters::fill(&mut expected, 0.0);
            let mut expected_input = Array3::<f64>::zeros(input.dim());
            let mut expected_initial = LstmState::zeros(&config, BATCH);
            let plain = LstmConfig { bidirectional: false, truncate: None, ..config.clone() };
            for direction in 0..config.directions() {
                let mut one = Lstm::<f64>::zeros(plain.clone()).unwrap();
                one.directions[0] = lstm.directions[direction].clone();
                for (sequence, &length) in lengths.iter().enumerate() {
                    let time = |step: usize| if direction == 1 { length - 1 - step } else { step };
                    let part = |values: &Array3<f64>| {
                        values.slice(s![direction..=direction, sequence..=sequence, ..]).to_owned()
                    };
                    let mut state = LstmState { hidden: part(&initial.hidden), cell: part(&initial.cell) };
                    for first in (0..length).step_by(steps) {
                        let end = (first + steps).min(length);
                        let section = Array3::from_shape_fn((1, end - first, 3), |(_, step, feature)| {
                            input[[sequence, time(first + step), feature]]
                        });
                        let grad = Array3::from_shape_fn((1, end - first, 4), |(_, step, unit)| {
                            grad_output[[sequence, time(first + step), direction * 4 + unit]]
                        });
                        let (_, next, trace) =
                            one.forward_training(section.view(), Some(&state), None, &mut rng).unwrap();
                        let last = LstmState { hidden: part(&grad_final.hidden), cell: part(&grad_final.cell) };
                        let last = (end == length).then_some(last);
                        let of_section = one.backward(&trace, grad.view(), last.as_ref()).unwrap();
                        for step in 0..end - first {
                            let mut target = expected_input.slice_mut(s![sequence, time(first + step), ..]);
                            target += &of_section.input.slice(s![0, step, ..]);
                        }
                        if first == 0 {
                            let at = s![direction, sequence, ..];
                            expected_initial.hidden.slice_mut(at).assign(&of_section.initial.hidden.slice(s![
                                0,
                                0,
                                ..
                            ]));
                            expected_initial.cell.slice_mut(at).assign(&of_section.initial.cell.slice(s![0, 0, ..]));
                        }
                        let target = &mut expected.directions[direction];
                        let found = &of_section.parameters.directions[0];
                        target.weight_ih += &found.weight_ih;
                        target.weight_hh += &found.weight_hh;
                        *target.bias_ih.as_mut().unwrap() += found.bias_ih.as_ref().unwrap();
                        *target.bias_hh.as_mut().unwrap() += found.bias_hh.as_ref().unwrap();
                        *target.peepholes.as_mut().unwrap() += found.peepholes.as_ref().unwrap();
                        state = next;
                    }
                }
            }
            assert_all_close(&gradients.input, &expected_input, 1e-12, 1e-13);
            assert_all_close(&gradients.initial.hidden, &expected_initial.hidden, 1e-12, 1e-13);
            assert_all_close(&gradients.initial.cell, &expected_initial.cell, 1e-12, 1e-13);
            let named = tensor_ops::Parameters::named(&gradients.parameters);
            for ((name, found), (_, expected)) in named.into_iter().zip(tensor_ops::Parameters::named(&expected)) {
                println!("{name}, {steps} steps, bidirectional {bidirectional}");
                assert_all_close(&found, &expected, 1e-12, 1e-13);
            }
        }
    }
}

#[test]
fn readout_gradients_are_those_of_central_differences() {
    let outputs: Array3<f64> = seeded_array((BATCH, TIME, 4), 1);
    let grad: ndarray::Array2<f64> = seeded_array((BATCH, 4), 2);
    for readout in [Readout::Last, Readout::Max, Readout::Mean, Readout::Sum, Readout::LinearlyWeighted] {
        for lengths in [None, Some([2, 5, 1])] {
            let lengths = lengths.as_ref().map(|lengths| &lengths[..]);
            let (_, trace) = readout.forward_training(outputs.view(), lengths).unwrap();
            let found = Readout::backward(&trace, grad.view()).unwrap();
            let expected =
                numeric_gradient(&outputs, |outputs| (readout.forward(outputs.view(), lengths).unwrap() * &grad).sum());
            println!("{readout:?}, lengths {lengths:?}");
            assert_all_close(&found, &expected, 1e-8, 1e-9);
        }
    }
}
