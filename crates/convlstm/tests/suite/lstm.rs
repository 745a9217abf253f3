//! On maps of one position with kernels of 1×1, a layer is the LSTM with peepholes of the crate `lstm`.

use convlstm::{ConvLstm, ConvLstmConfig, LayerConfig, LstmCell, Peepholes, RecurrentState, TraceMemory};
use lstm::{Lstm, LstmConfig, LstmState};
use ndarray::{Array3, Array5, ArrayBase, Axis, Data, Ix1, Ix2, Ix3, Ix4, Ix5};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::{assert_all_close, seeded_array};

use crate::common::seeded_layers;

const BATCH: usize = 3;
const TIME: usize = 5;
const FEATURES: usize = 4;
const HIDDEN: usize = 6;

/// Maps of one position as vectors.
fn vectors<S: Data<Elem = f64>>(maps: &ArrayBase<S, Ix4>) -> ndarray::Array2<f64> {
    maps.view().index_axis_move(Axis(3), 0).index_axis_move(Axis(2), 0).to_owned()
}

fn sequences<S: Data<Elem = f64>>(maps: &ArrayBase<S, Ix5>) -> Array3<f64> {
    maps.view().index_axis_move(Axis(4), 0).index_axis_move(Axis(3), 0).to_owned()
}

fn clips(sequences: &Array3<f64>) -> Array5<f64> {
    sequences.view().insert_axis(Axis(3)).insert_axis(Axis(4)).to_owned()
}

fn states(state: &LstmState<f64>) -> RecurrentState<f64> {
    let maps = |values: &Array3<f64>| {
        values.outer_iter().map(|values| values.insert_axis(Axis(2)).insert_axis(Axis(3)).to_owned()).collect()
    };
    RecurrentState { hidden: maps(&state.hidden), cell: maps(&state.cell) }
}

fn assert_states_close(found: &RecurrentState<f64>, expected: &LstmState<f64>) {
    let expected = states(expected);
    for (found, expected) in found.hidden.iter().zip(&expected.hidden).chain(found.cell.iter().zip(&expected.cell)) {
        assert_all_close(found, expected, 1e-11, 1e-13);
    }
}

/// The LSTM with the weights of `layers`, whose one bias becomes the first of two.
fn lstm_of(layers: &ConvLstm<f64>) -> Lstm<f64> {
    let config = layers.config();
    let mut lstm = Lstm::zeros(LstmConfig {
        layers: config.layers.len(),
        bidirectional: config.bidirectional,
        peepholes: true,
        truncate: config.truncate,
        ..LstmConfig::new(FEATURES, HIDDEN)
    })
    .unwrap();
    for (target, weights) in lstm.directions.iter_mut().zip(&layers.directions) {
        target.weight_ih = vectors(weights.weight_ih.as_ref().unwrap());
        target.weight_hh = vectors(&weights.weight_hh);
        target.bias_ih.clone_from(&weights.bias);
        target.peepholes = weights.peepholes.as_ref().map(vectors);
    }
    lstm
}

fn check(config: ConvLstmConfig, lengths: Option<&[usize]>) {
    let layers = seeded_layers::<f64, LstmCell>(config.clone(), 1);
    let lstm = lstm_of(&layers);
    let rng = &mut StdRng::seed_from_u64(0);
    let input: Array3<f64> = seeded_array(Ix3(BATCH, TIME, FEATURES), 2);
    let rows = config.layers.len() * config.directions();
    let seeded_state = |seed| LstmState {
        hidden: seeded_array(Ix3(rows, BATCH, HIDDEN), seed),
        cell: seeded_array(Ix3(rows, BATCH, HIDDEN), seed + 1),
    };
    let (initial, grad_final) = (seeded_state(3), seeded_state(5));

    let (expected, expected_state, trace) = lstm.forward_training(input.view(), Some(&initial), lengths, rng).unwrap();
    let grad_output: Array3<f64> = seeded_array(expected.raw_dim(), 7);
    let gradients = lstm.backward(&trace, grad_output.view(), Some(&grad_final)).unwrap();

    let (output, state, trace) =
        layers.forward_training(clips(&input).view(), Some(&states(&initial)), lengths).unwrap();
    assert_all_close(&sequences(&output), &expected, 1e-12, 1e-14);
    assert_states_close(&state, &expected_state);
    let found = layers.backward(&trace, clips(&grad_output).view(), Some(&states(&grad_final))).unwrap();
    assert_all_close(&sequences(&found.input.unwrap()), &gradients.input, 1e-11, 1e-13);
    assert_states_close(&found.initial, &gradients.initial);
    for (found, expected) in found.parameters.directions.iter().zip(&gradients.parameters.directions) {
        assert_all_close(&vectors(found.weight_ih.as_ref().unwrap()), &expected.weight_ih, 1e-11, 1e-13);
        assert_all_close(&vectors(&found.weight_hh), &expected.weight_hh, 1e-11, 1e-13);
        let bias = expected.bias_ih.as_ref().unwrap().view().into_dimensionality::<Ix1>().unwrap();
        assert_all_close(found.bias.as_ref().unwrap(), &bias, 1e-11, 1e-13);
        let peepholes = expected.peepholes.as_ref().unwrap().view().into_dimensionality::<Ix2>().unwrap();
        assert_all_close(&vectors(found.peepholes.as_ref().unwrap()), &peepholes, 1e-11, 1e-13);
    }
}

#[test]
fn one_position_equals_the_lstm_with_peepholes() {
    for peepholes in [Peepholes::PerChannel, Peepholes::PerPosition([1, 1])] {
        let layer = LayerConfig { cell: LstmCell { peepholes, ..LstmCell::default() }, ..LayerConfig::new(HIDDEN, 1) };
        for (count, bidirectional, truncate) in
            [(1, false, None), (1, true, None), (3, false, None), (2, true, None), (2, true, Some(2))]
        {
            for memory in [TraceMemory::Full, TraceMemory::RecomputeGates] {
                println!("{peepholes:?}, {count} layers, bidirectional {bidirectional}, {truncate:?}, {memory:?}");
                let config = ConvLstmConfig {
                    input_channels: FEATURES,
                    layers: vec![layer.clone(); count],
                    bidirectional,
                    truncate,
                    memory,
                    ..ConvLstmConfig::default()
                };
                check(config.clone(), None);
                check(config, Some(&[2, TIME, 4]));
            }
        }
    }
}
