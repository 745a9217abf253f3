//! Against the equations, written as plain loops over sequences, steps and units.

use lstm::{
    CELL_GATE, FORGET_GATE, GATES, INPUT_GATE, Initialisation, Lstm, LstmConfig, LstmState, OUTPUT_GATE, Readout,
    frame_loss_weights,
};
use ndarray::{Array1, Array2, Array3, array, s};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::Parameters;
use tensor_ops::testing::{assert_all_close, run_cases, seeded_array};

/// Outputs and final states, one unit at a time.
fn naive(
    lstm: &Lstm<f64>,
    input: &Array3<f64>,
    initial: &LstmState<f64>,
    lengths: &[usize],
) -> (Array3<f64>, LstmState<f64>) {
    let (config, units) = (lstm.config(), lstm.config().hidden_size);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut state = initial.clone();
    let mut below = input.clone();
    for layer in 0..config.layers {
        let mut output = Array3::zeros((input.dim().0, input.dim().1, config.output_size()));
        for direction in 0..config.directions() {
            let position = layer * config.directions() + direction;
            let weights = &lstm.directions[position];
            for (sequence, &length) in lengths.iter().enumerate() {
                let mut hidden: Array1<f64> = state.hidden.slice(s![position, sequence, ..]).to_owned();
                let mut cell: Array1<f64> = state.cell.slice(s![position, sequence, ..]).to_owned();
                for step in 0..length {
                    let time = if direction == 1 { length - 1 - step } else { step };
                    let sum = |gate: usize, unit: usize| {
                        let row = gate * units + unit;
                        let bias = |bias: &Option<Array1<f64>>| bias.as_ref().map_or(0.0, |bias| bias[row]);
                        weights.weight_ih.row(row).dot(&below.slice(s![sequence, time, ..]))
                            + weights.weight_hh.row(row).dot(&hidden)
                            + bias(&weights.bias_ih)
                            + bias(&weights.bias_hh)
                    };
                    let peephole = |row: usize, unit: usize| weights.peepholes.as_ref().map_or(0.0, |p| p[[row, unit]]);
                    let mut next = (hidden.clone(), cell.clone());
                    for unit in 0..units {
                        let i = sigmoid(sum(INPUT_GATE, unit) + peephole(0, unit) * cell[unit]);
                        let f = sigmoid(sum(FORGET_GATE, unit) + peephole(1, unit) * cell[unit]);
                        let g = sum(CELL_GATE, unit).tanh();
                        let c = f * cell[unit] + i * g;
                        let o = sigmoid(sum(OUTPUT_GATE, unit) + peephole(2, unit) * c);
                        (next.0[unit], next.1[unit]) = (o * c.tanh(), c);
                    }
                    (hidden, cell) = next;
                    output.slice_mut(s![sequence, time, direction * units..(direction + 1) * units]).assign(&hidden);
                }
                state.hidden.slice_mut(s![position, sequence, ..]).assign(&hidden);
                state.cell.slice_mut(s![position, sequence, ..]).assign(&cell);
            }
        }
        below = output;
    }
    (below, state)
}

#[test]
fn forward_is_that_of_plain_loops() {
    let mut cases = Vec::new();
    for bidirectional in [false, true] {
        for peepholes in [false, true] {
            for bias in [false, true] {
                for (input_size, hidden_size, layers, batch) in
                    [(1, 1, 1, 1), (3, 9, 2, 18), (17, 33, 1, 4), (2, 16, 3, 40)]
                {
                    let config = LstmConfig {
                        bidirectional,
                        peepholes,
                        bias,
                        layers,
                        ..LstmConfig::new(input_size, hidden_size)
                    };
                    cases.push((config, batch));
                }
            }
        }
    }
    run_cases(cases, |(config, batch)| {
        let time = 5;
        let lstm = Lstm::<f64>::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap();
        let input: Array3<f64> = seeded_array((*batch, time, config.input_size), 2);
        let shape = (config.layers * config.directions(), *batch, config.hidden_size);
        let initial = LstmState { hidden: seeded_array(shape, 3), cell: seeded_array(shape, 4) };
        let lengths: Vec<usize> = (0..*batch).map(|sequence| 1 + sequence * 3 % time).collect();
        let (output, state) = lstm.forward(input.view(), Some(&initial), Some(&lengths)).unwrap();
        let (expected, expected_state) = naive(&lstm, &input, &initial, &lengths);
        assert_all_close(&output, &expected, 1e-12, 1e-13);
        assert_all_close(&state.hidden, &expected_state.hidden, 1e-12, 1e-13);
        assert_all_close(&state.cell, &expected_state.cell, 1e-12, 1e-13);

        // Single precision, from the same parameters.
        let mut single = Lstm::<f32>::zeros(config.clone()).unwrap();
        let parameters: Vec<_> =
            lstm.named().into_iter().map(|(name, values)| (name, values.mapv(|v| v as f32))).collect();
        single.load_pytorch(&parameters).unwrap();
        let to_single = |values: &Array3<f64>| values.mapv(|v| v as f32);
        let initial = LstmState { hidden: to_single(&initial.hidden), cell: to_single(&initial.cell) };
        let (output, _) = single.forward(to_single(&input).view(), Some(&initial), Some(&lengths)).unwrap();
        assert_all_close(&output, &to_single(&expected), 1e-4, 2e-6);
    });
}

#[test]
fn names_shapes_and_order_are_pytorchs() {
    let config = LstmConfig { layers: 2, bidirectional: true, peepholes: true, ..LstmConfig::new(3, 5) };
    let lstm = Lstm::<f32>::zeros(config).unwrap();
    let found: Vec<(String, Vec<usize>)> =
        lstm.named().into_iter().map(|(name, values)| (name, values.shape().to_vec())).collect();
    let mut expected = Vec::new();
    for (suffix, inputs) in [("_l0", 3), ("_l0_reverse", 3), ("_l1", 10), ("_l1_reverse", 10)] {
        for (name, shape) in [
            ("weight_ih", vec![20, inputs]),
            ("weight_hh", vec![20, 5]),
            ("bias_ih", vec![20]),
            ("bias_hh", vec![20]),
            ("peepholes", vec![3, 5]),
        ] {
            expected.push((format!("{name}{suffix}"), shape));
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn initialisation_follows_the_configuration() {
    let hidden = 64;
    let config = LstmConfig { forget_bias: Some(1.5), peepholes: true, ..LstmConfig::new(32, hidden) };
    let lstm = Lstm::<f64>::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap();
    let weights = lstm.weights(0, false).unwrap();
    let bound = 1.0 / (hidden as f64).sqrt();
    for values in [&weights.weight_ih, &weights.weight_hh, weights.peepholes.as_ref().unwrap()] {
        assert!(values.iter().all(|v| v.abs() <= bound) && values.iter().any(|v| v.abs() > 0.9 * bound));
    }
    let (bias_ih, bias_hh) = (weights.bias_ih.as_ref().unwrap(), weights.bias_hh.as_ref().unwrap());
    for gate in 0..GATES {
        let range = s![gate * hidden..(gate + 1) * hidden];
        let sum = &bias_ih.slice(range) + &bias_hh.slice(range);
        assert_eq!(sum.iter().all(|&v| v == 1.5), gate == FORGET_GATE, "gate {gate}");
    }

    let config = LstmConfig { initialisation: Initialisation::GlorotOrthogonal, forget_bias: Some(1.0), ..config };
    let lstm = Lstm::<f64>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
    let weights = lstm.weights(0, false).unwrap();
    for gate in 0..GATES {
        let block = weights.weight_hh.slice(s![gate * hidden..(gate + 1) * hidden, ..]);
        assert_all_close(&block.dot(&block.t()), &Array2::eye(hidden), 0.0, 1e-12);
    }
    let bound = (6.0 / (4.0 * hidden as f64 + 32.0)).sqrt();
    assert!(weights.weight_ih.iter().all(|v| v.abs() <= bound));
    assert!(weights.bias_hh.iter().flatten().chain(weights.peepholes.iter().flatten()).all(|&v| v == 0.0));
    assert_eq!(weights.bias_ih.as_ref().unwrap().sum(), hidden as f64);
}

#[test]
fn readouts_of_a_clip_worked_by_hand() {
    let outputs = array![[[1.0, -4.0], [3.0, -2.0], [-5.0, -3.0], [100.0, f64::NAN]]];
    let read = |readout: Readout| readout.forward(outputs.view(), Some(&[3])).unwrap();
    assert_eq!(read(Readout::Last), array![[-5.0, -3.0]]);
    assert_eq!(read(Readout::Max), array![[3.0, -2.0]]);
    assert_eq!(read(Readout::Sum), array![[-1.0, -9.0]]);
    assert_all_close(&read(Readout::Mean), &array![[-1.0 / 3.0, -3.0]], 1e-15, 0.0);
    assert_all_close(&read(Readout::LinearlyWeighted), &array![[(1.0 + 6.0 - 15.0) / 3.0, -17.0 / 3.0]], 1e-15, 0.0);
    let weights = frame_loss_weights::<f64>(2, 3, Some(&[3, 1])).unwrap();
    assert_eq!(weights, array![[1.0 / 3.0, 2.0 / 3.0, 1.0], [1.0, 0.0, 0.0]]);
    assert_eq!(frame_loss_weights::<f64>(1, 2, None).unwrap(), array![[0.5, 1.0]]);
}

#[test]
fn dropout_acts_between_layers_and_keeps_the_mean() {
    let config = LstmConfig { layers: 2, dropout: 0.3, ..LstmConfig::new(4, 400) };
    let lstm = Lstm::<f64>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
    let input: Array3<f64> = seeded_array((1, 1, 4), 2);
    // With one step, the first layer's final state is its output without dropout, the second's with it below.
    let mut rng = StdRng::seed_from_u64(3);
    let (output, state, _) = lstm.forward_training(input.view(), None, None, &mut rng).unwrap();
    let (plain, plain_state) = lstm.forward(input.view(), None, None).unwrap();
    assert_eq!(state.hidden.slice(s![0, .., ..]), plain_state.hidden.slice(s![0, .., ..]));
    assert_eq!(output.slice(s![.., 0, ..]), state.hidden.slice(s![1, .., ..]));
    assert_ne!(output, plain);
    // The gradient that reaches the first layer's output shows the mask: a dropped value has none of it.
    let mut dropped = 0;
    let runs = 20;
    for seed in 0..runs {
        let mut rng = StdRng::seed_from_u64(100 + seed);
        let (output, _, trace) = lstm.forward_training(input.view(), None, None, &mut rng).unwrap();
        let gradients = lstm.backward(&trace, Array3::ones(output.dim()).view(), None).unwrap();
        let bias = gradients.parameters.directions[0].bias_ih.as_ref().unwrap();
        dropped += bias.slice(s![OUTPUT_GATE * 400..]).iter().filter(|&&v| v == 0.0).count();
    }
    let share = dropped as f64 / (400 * runs) as f64;
    assert!((share - 0.3).abs() < 0.03, "{share} of the values are dropped");
}
