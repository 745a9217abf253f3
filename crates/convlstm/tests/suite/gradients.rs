//! All gradients against central differences in double precision.

use convlstm::{Cell, ConvRecurrent, RecurrentConfig, RecurrentState, TraceMemory};
use ndarray::Array5;
use tensor_ops::testing::{assert_all_close, assert_bits_equal, check_parameter_gradients, numeric_gradient};

use crate::common::{gru_configs, lstm_configs, seeded_clips, seeded_layers, seeded_state};

const BATCH: usize = 2;
const TIME: usize = 4;

/// Checks all gradients of the sum of outputs and final states with random weights.
fn check<C: Cell>(description: &str, config: RecurrentConfig<C>, size: [usize; 2]) {
    for (lengths, with_states) in [(None, false), (Some(vec![2, 4]), true)] {
        println!("{description}, lengths {lengths:?}, states {with_states}");
        let layers = seeded_layers::<f64, C>(config.clone(), 1);
        let input: Array5<f64> = seeded_clips([BATCH, TIME, config.input_channels, size[0], size[1]], 2);
        let initial = seeded_state::<f64, C>(&config, BATCH, size, 3);
        let grad_final = with_states.then(|| seeded_state::<f64, C>(&config, BATCH, size, 30));
        let given = with_states.then_some(&initial);
        let lengths = lengths.as_deref();
        let (output, _, trace) = layers.forward_training(input.view(), given, lengths).unwrap();
        let grad_output: Array5<f64> = seeded_clips(output.dim().into(), 7);

        let loss = |layers: &ConvRecurrent<f64, C>, input: &Array5<f64>, initial: Option<&RecurrentState<f64>>| {
            let (output, state) = layers.forward(input.view(), initial, lengths).unwrap();
            let states = |grad: &RecurrentState<f64>| {
                let pairs = state.hidden.iter().zip(&grad.hidden).chain(state.cell.iter().zip(&grad.cell));
                pairs.map(|(state, grad)| (state * grad).sum()).sum::<f64>()
            };
            (output * &grad_output).sum() + grad_final.as_ref().map_or(0.0, states)
        };

        let gradients = layers.backward(&trace, grad_output.view(), grad_final.as_ref()).unwrap();
        let expected = numeric_gradient(&input, |input| loss(&layers, input, given));
        assert_all_close(gradients.input.as_ref().unwrap(), &expected, 1e-6, 1e-8);
        check_parameter_gradients(&layers, &gradients.parameters, |layers| loss(layers, &input, given));
        let zeros = RecurrentState::zeros(&config, BATCH, size).unwrap();
        let initial = if with_states { &initial } else { &zeros };
        for index in 0..initial.hidden.len() {
            let expected = numeric_gradient(&initial.hidden[index], |hidden| {
                let mut state = initial.clone();
                state.hidden[index].assign(hidden);
                loss(&layers, &input, Some(&state))
            });
            assert_all_close(&gradients.initial.hidden[index], &expected, 1e-6, 1e-8);
        }
        for index in 0..initial.cell.len() {
            let expected = numeric_gradient(&initial.cell[index], |cell| {
                let mut state = initial.clone();
                state.cell[index].assign(cell);
                loss(&layers, &input, Some(&state))
            });
            assert_all_close(&gradients.initial.cell[index], &expected, 1e-6, 1e-8);
        }

        // With the gates computed again, the same bits.
        let again = layers.clone().with_memory(TraceMemory::RecomputeGates);
        let (_, _, trace) = again.forward_training(input.view(), given, lengths).unwrap();
        let recomputed = again.backward(&trace, grad_output.view(), grad_final.as_ref()).unwrap();
        assert_bits_equal(recomputed.input.as_ref().unwrap(), gradients.input.as_ref().unwrap());
        assert_eq!(recomputed.parameters.directions, gradients.parameters.directions);
        assert_eq!(recomputed.initial, gradients.initial);
    }
}

#[test]
fn lstm_gradients_are_those_of_central_differences() {
    for (description, config, size) in lstm_configs() {
        check(description, config, size);
    }
}

#[test]
fn gru_gradients_are_those_of_central_differences() {
    for (description, config, size) in gru_configs() {
        check(description, config, size);
    }
}
