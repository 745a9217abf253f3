//! Equalities that hold bit for bit.

use lstm::{Lstm, LstmConfig, LstmGradients, LstmState};
use ndarray::{Array3, ArrayD, Axis, s};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{assert_bits_equal, assert_independent_of_threads, run_cases, seeded_array};
use tensor_ops::{Element, Parameters};

fn new<T: Element>(config: &LstmConfig) -> Lstm<T> {
    Lstm::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap()
}

fn random_state<T: Element>(config: &LstmConfig, batch: usize, seed: u64) -> LstmState<T> {
    let shape = (config.layers * config.directions(), batch, config.hidden_size);
    LstmState { hidden: seeded_array(shape, seed), cell: seeded_array(shape, seed + 1) }
}

/// Configurations with one group of sequences and with several, with work for one thread and for many.
fn configurations() -> Vec<LstmConfig> {
    vec![
        LstmConfig { layers: 2, ..LstmConfig::new(5, 7) },
        LstmConfig { peepholes: true, bidirectional: true, layers: 2, ..LstmConfig::new(33, 50) },
        LstmConfig { bidirectional: true, truncate: Some(2), ..LstmConfig::new(12, 64) },
        LstmConfig { peepholes: true, ..LstmConfig::new(40, 200) },
        LstmConfig { bidirectional: true, ..LstmConfig::new(24, 200) },
    ]
}

#[test]
fn any_number_of_threads() {
    let mut configurations = configurations();
    configurations.push(LstmConfig { layers: 2, dropout: 0.5, bidirectional: true, ..LstmConfig::new(9, 20) });
    run_cases(configurations, |config| {
        let lstm = new::<f32>(config);
        for batch in [1, 19] {
            let input: Array3<f32> = seeded_array((batch, 6, config.input_size), 2);
            let grad: Array3<f32> = seeded_array((batch, 6, config.output_size()), 3);
            let lengths: Vec<usize> = (0..batch).map(|sequence| 1 + sequence * 5 % 6).collect();
            let (initial, grad_final) = (random_state(config, batch, 4), random_state(config, batch, 6));
            assert_independent_of_threads(|| {
                let mut rng = StdRng::seed_from_u64(5);
                let (output, state, trace) =
                    lstm.forward_training(input.view(), Some(&initial), Some(&lengths), &mut rng).unwrap();
                let gradients = lstm.backward(&trace, grad.view(), Some(&grad_final)).unwrap();
                let mut arrays = vec![output.into_dyn(), state.hidden.into_dyn(), state.cell.into_dyn()];
                arrays.extend(all_gradients(gradients));
                arrays
            });
        }
    });
}

fn all_gradients<T: Element>(gradients: LstmGradients<T>) -> Vec<ArrayD<T>> {
    let mut arrays =
        vec![gradients.input.into_dyn(), gradients.initial.hidden.into_dyn(), gradients.initial.cell.into_dyn()];
    arrays.extend(gradients.parameters.named().into_iter().map(|(_, values)| values.to_owned()));
    arrays
}

/// A clip alone, and the same clip between others of other lengths, with NaN where it is padded.
#[test]
fn alone_and_padded_in_a_batch() {
    run_cases(configurations(), |config| {
        let lstm = new::<f32>(config);
        let (batch, time) = (19, 9);
        let lengths: Vec<usize> = (0..batch).map(|sequence| 1 + sequence * 7 % time).collect();
        let mut input: Array3<f32> = seeded_array((batch, time, config.input_size), 2);
        let mut grad: Array3<f32> = seeded_array((batch, time, config.output_size()), 3);
        for (sequence, &length) in lengths.iter().enumerate() {
            input.slice_mut(s![sequence, length.., ..]).fill(f32::NAN);
            grad.slice_mut(s![sequence, length.., ..]).fill(f32::NAN);
        }
        let (initial, grad_final) = (random_state(config, batch, 4), random_state(config, batch, 6));
        let mut rng = StdRng::seed_from_u64(5);
        let (output, state, trace) =
            lstm.forward_training(input.view(), Some(&initial), Some(&lengths), &mut rng).unwrap();
        let gradients = lstm.backward(&trace, grad.view(), Some(&grad_final)).unwrap();
        assert!(output.iter().chain(&gradients.input).all(|v| v.is_finite()), "padding influences nothing");
        assert!(gradients.parameters.named().iter().all(|(_, v)| v.iter().all(|v| v.is_finite())));

        for (sequence, &length) in lengths.iter().enumerate() {
            let one = sequence..sequence + 1;
            let clip = input.slice(s![one.clone(), ..length, ..]);
            let part = |state: &LstmState<f32>| LstmState {
                hidden: state.hidden.slice(s![.., one.clone(), ..]).to_owned(),
                cell: state.cell.slice(s![.., one.clone(), ..]).to_owned(),
            };
            let (alone, alone_state, alone_trace) =
                lstm.forward_training(clip, Some(&part(&initial)), None, &mut rng).unwrap();
            assert_bits_equal(&output.slice(s![one.clone(), ..length, ..]), &alone);
            assert!(output.slice(s![sequence, length.., ..]).iter().all(|&v| v == 0.0), "zeros beyond the length");
            assert_bits_equal(&part(&state).hidden, &alone_state.hidden);
            assert_bits_equal(&part(&state).cell, &alone_state.cell);

            let alone_grad = grad.slice(s![one.clone(), ..length, ..]);
            let alone_gradients = lstm.backward(&alone_trace, alone_grad, Some(&part(&grad_final))).unwrap();
            assert_bits_equal(&gradients.input.slice(s![one.clone(), ..length, ..]), &alone_gradients.input);
            assert!(gradients.input.slice(s![sequence, length.., ..]).iter().all(|&v| v == 0.0));
            assert_bits_equal(&part(&gradients.initial).hidden, &alone_gradients.initial.hidden);
            assert_bits_equal(&part(&gradients.initial).cell, &alone_gradients.initial.cell);

            // With no gradient from the others, those of the parameters are equal too.
            if sequence % 6 == 0 {
                let mut only = Array3::zeros(grad.dim());
                only.slice_mut(s![one.clone(), .., ..]).assign(&grad.slice(s![one.clone(), .., ..]));
                let mut only_final = LstmState::zeros(config, batch);
                only_final.hidden.slice_mut(s![.., one.clone(), ..]).assign(&part(&grad_final).hidden);
                only_final.cell.slice_mut(s![.., one.clone(), ..]).assign(&part(&grad_final).cell);
                let only = lstm.backward(&trace, only.view(), Some(&only_final)).unwrap();
                let alone = alone_gradients.parameters.named();
                for ((name, found), (_, expected)) in only.parameters.named().into_iter().zip(alone) {
                    println!("gradient of {name}, sequence {sequence}");
                    // Adding a zero turns −0 into 0, which is no other number.
                    let plus_zero = |v: &f32| v + 0.0;
                    assert_bits_equal(&found.map(plus_zero), &expected.map(plus_zero));
                }
            }
        }
    });
}

#[test]
fn stream_and_whole_sequence() {
    run_cases(configurations(), |config| {
        let config = LstmConfig { bidirectional: false, ..config.clone() };
        let lstm = new::<f32>(&config);
        for batch in [1, 2, 17] {
            let input: Array3<f32> = seeded_array((batch, 8, config.input_size), 2);
            let initial = random_state(&config, batch, 4);
            let (whole, state) = lstm.forward(input.view(), Some(&initial), None).unwrap();
            let mut stream = lstm.stream(batch, Some(&initial)).unwrap();
            for time in 0..8 {
                let output = lstm.step(input.index_axis(Axis(1), time), &mut stream).unwrap();
                assert_bits_equal(&output, &whole.index_axis(Axis(1), time));
            }
            assert_eq!(stream.state(), state);

            // Two halves of a sequence, and a stream that goes on from the first.
            let (_, half) = lstm.forward(input.slice(s![.., ..3, ..]), Some(&initial), None).unwrap();
            let (rest, end) = lstm.forward(input.slice(s![.., 3.., ..]), Some(&half), None).unwrap();
            assert_bits_equal(&rest, &whole.slice(s![.., 3.., ..]));
            assert_eq!(end, state);
            stream.set_state(&half).unwrap();
            let output = stream.step(input.index_axis(Axis(1), 3)).unwrap();
            assert_bits_equal(&output, &whole.index_axis(Axis(1), 3));

            let (fresh, _) = lstm.forward(input.view(), None, None).unwrap();
            stream.reset();
            assert_bits_equal(&stream.step(input.index_axis(Axis(1), 0)).unwrap(), &fresh.index_axis(Axis(1), 0));
            stream.reset_sequence(batch - 1).unwrap();
            let output = stream.step(input.index_axis(Axis(1), 0)).unwrap();
            let last = s![batch - 1, ..];
            assert_bits_equal(&output.slice(last), &fresh.index_axis(Axis(1), 0).slice(last));
        }
    });
}

#[test]
fn views_of_any_strides() {
    let config = LstmConfig { bidirectional: true, ..LstmConfig::new(6, 10) };
    let lstm = new::<f64>(&config);
    let input: Array3<f64> = seeded_array((3, 5, 6), 2);
    let time_first = input.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let features_first = input.view().permuted_axes([2, 1, 0]).as_standard_layout().into_owned();
    let mut reversed = input.slice(s![.., ..;-1, ..]).to_owned();
    reversed.invert_axis(Axis(1));
    let expected = lstm.forward(input.view(), None, None).unwrap();
    assert_eq!(lstm.forward(time_first.view().permuted_axes([1, 0, 2]), None, None).unwrap(), expected);
    assert_eq!(lstm.forward(features_first.view().permuted_axes([2, 1, 0]), None, None).unwrap(), expected);
    assert_eq!(lstm.forward(reversed.view(), None, None).unwrap(), expected);
}

#[test]
fn seeds_decide_parameters_and_masks() {
    let config = LstmConfig { layers: 2, dropout: 0.5, ..LstmConfig::new(4, 6) };
    let lstm = new::<f32>(&config);
    assert_eq!(lstm, new::<f32>(&config));
    let other = Lstm::<f32>::new(config, &mut StdRng::seed_from_u64(2)).unwrap();
    assert_ne!(lstm.directions[0].weight_ih, other.directions[0].weight_ih);
    let input: Array3<f32> = seeded_array((2, 5, 4), 2);
    let run = |seed| lstm.forward_training(input.view(), None, None, &mut StdRng::seed_from_u64(seed)).unwrap().0;
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_ne!(run(1), lstm.forward(input.view(), None, None).unwrap().0, "no dropout in inference");
}
