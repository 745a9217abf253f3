//! What holds exactly: streams, padding, threads, the memory of the trace.

use convlstm::{Cell, ConvLstmConfig, LayerConfig, LstmCell, RecurrentConfig, RecurrentState};
use ndarray::{Array5, ArrayD, Axis, s};
use tensor_ops::Parameters;
use tensor_ops::testing::{assert_bits_equal, assert_independent_of_threads};

use crate::common::{gru_configs, lstm_configs as small_lstm_configs, seeded_clips, seeded_layers, seeded_state};

const BATCH: usize = 3;
const TIME: usize = 4;

/// All options, and layers of enough channels that their convolutions go through Winograd tiles.
fn lstm_configs() -> Vec<(&'static str, ConvLstmConfig, [usize; 2])> {
    let of = |kernel| ConvLstmConfig {
        input_channels: 2,
        layers: vec![LayerConfig::<LstmCell>::new(12, kernel)],
        ..Default::default()
    };
    let mut configs = small_lstm_configs();
    configs.extend([("3x3 tiles", of(3), [5, 5]), ("5x5 tiles", of(5), [3, 3])]);
    configs
}

/// Wide enough for vectors and several bands.
fn enlarge<C: Cell>(config: &mut RecurrentConfig<C>, size: &mut [usize; 2]) {
    if config.layers.iter().all(|layer| format!("{:?}", layer.cell).find("PerPosition").is_none()) {
        *size = [4 * size[0] + 1, 4 * size[1]];
    }
    config.layers.iter_mut().for_each(|layer| layer.hidden_channels *= 2);
}

fn clips_of<C: Cell>(config: &RecurrentConfig<C>, size: [usize; 2]) -> Array5<f32> {
    seeded_clips([BATCH, TIME, config.input_channels, size[0], size[1]], 2)
}

fn check_streams<C: Cell>(description: &str, mut config: RecurrentConfig<C>, mut size: [usize; 2]) {
    println!("{description}");
    enlarge(&mut config, &mut size);
    let layers = seeded_layers::<f32, C>(config.clone(), 1);
    let clips = clips_of(&config, size);
    for initial in [None, Some(seeded_state::<f32, C>(&config, BATCH, size, 9))] {
        let (output, state) = layers.forward(clips.view(), initial.as_ref(), None).unwrap();
        let mut stream = layers.stream(BATCH, size, initial.as_ref()).unwrap();
        for time in 0..TIME {
            let found = stream.step(clips.index_axis(Axis(1), time)).unwrap();
            assert_bits_equal(&found, &output.index_axis(Axis(1), time));
        }
        assert_eq!(stream.state(), state);
        // One sequence starts anew, the others go on.
        stream.reset_sequence(1).unwrap();
        let found = stream.step(clips.index_axis(Axis(1), 0)).unwrap().to_owned();
        let (first, _) = layers.forward(clips.slice(s![1..2, 0..1, .., .., ..]), None, None).unwrap();
        assert_bits_equal(&found.index_axis(Axis(0), 1), &first.slice(s![0, 0, .., .., ..]));
        let state = RecurrentState {
            hidden: state.hidden.iter().map(|maps| maps.slice(s![2..3, .., .., ..]).to_owned()).collect(),
            cell: state.cell.iter().map(|maps| maps.slice(s![2..3, .., .., ..]).to_owned()).collect(),
        };
        let (next, _) = layers.forward(clips.slice(s![2..3, 0..1, .., .., ..]), Some(&state), None).unwrap();
        assert_bits_equal(&found.index_axis(Axis(0), 2), &next.slice(s![0, 0, .., .., ..]));
        stream.reset();
        let (whole, _) = layers.forward(clips.view(), None, None).unwrap();
        assert_bits_equal(&stream.step(clips.index_axis(Axis(1), 0)).unwrap(), &whole.index_axis(Axis(1), 0));
    }
}

#[test]
fn streams_equal_whole_sequences() {
    for (description, config, size) in lstm_configs().into_iter().filter(|(_, config, _)| !config.bidirectional) {
        check_streams(description, config, size);
    }
    for (description, config, size) in gru_configs().into_iter().filter(|(_, config, _)| !config.bidirectional) {
        check_streams(description, config, size);
    }
}

fn check_padding<C: Cell>(description: &str, mut config: RecurrentConfig<C>, mut size: [usize; 2]) {
    println!("{description}");
    enlarge(&mut config, &mut size);
    let layers = seeded_layers::<f32, C>(config.clone(), 1);
    let mut clips = clips_of(&config, size);
    let lengths = [2, 4, 1];
    for (mut clip, &length) in clips.outer_iter_mut().zip(&lengths) {
        clip.slice_mut(s![length.., .., .., ..]).fill(f32::NAN);
    }
    let initial = seeded_state::<f32, C>(&config, BATCH, size, 9);
    let grad_final = seeded_state::<f32, C>(&config, BATCH, size, 19);
    let (output, state, trace) = layers.forward_training(clips.view(), Some(&initial), Some(&lengths)).unwrap();
    let mut grad_output: Array5<f32> = seeded_clips(output.dim().into(), 3);
    for (mut gradient, &length) in grad_output.outer_iter_mut().zip(&lengths) {
        gradient.slice_mut(s![length.., .., .., ..]).fill(f32::NAN);
    }
    let gradients = layers.backward(&trace, grad_output.view(), Some(&grad_final)).unwrap();
    let grad_input = gradients.input.unwrap();
    gradients.parameters.visit(&mut |name, values| assert!(values.iter().all(|v| v.is_finite()), "{name}"));
    for (sequence, &length) in lengths.iter().enumerate() {
        let one = |state: &RecurrentState<f32>| RecurrentState {
            hidden: state.hidden.iter().map(|m| m.slice(s![sequence..=sequence, .., .., ..]).to_owned()).collect(),
            cell: state.cell.iter().map(|m| m.slice(s![sequence..=sequence, .., .., ..]).to_owned()).collect(),
        };
        let valid = s![sequence..=sequence, ..length, .., .., ..];
        let (alone, state_alone, trace) =
            layers.forward_training(clips.slice(valid), Some(&one(&initial)), None).unwrap();
        assert_bits_equal(&alone, &output.slice(valid));
        assert!(output.slice(s![sequence, length.., .., .., ..]).iter().all(|&value| value == 0.0));
        assert_eq!(state_alone, one(&state));
        let alone = layers.backward(&trace, grad_output.slice(valid), Some(&one(&grad_final))).unwrap();
        assert_bits_equal(&alone.input.unwrap(), &grad_input.slice(valid));
        assert!(grad_input.slice(s![sequence, length.., .., .., ..]).iter().all(|&value| value == 0.0));
        assert_eq!(alone.initial, one(&gradients.initial));
    }
}

#[test]
fn a_padded_sequence_equals_the_sequence_alone() {
    for (description, config, size) in lstm_configs() {
        check_padding(description, config, size);
    }
    for (description, config, size) in gru_configs() {
        check_padding(description, config, size);
    }
}

fn all_results<C: Cell>(mut config: RecurrentConfig<C>, mut size: [usize; 2]) -> Vec<ArrayD<f32>> {
    enlarge(&mut config, &mut size);
    let layers = seeded_layers::<f32, C>(config.clone(), 1);
    let (output, state, trace) =
        layers.forward_training(clips_of(&config, size).view(), None, Some(&[4, 2, 3])).unwrap();
    let grad_output: Array5<f32> = seeded_clips(output.dim().into(), 3);
    let gradients = layers.backward(&trace, grad_output.view(), None).unwrap();
    let mut results = vec![output.into_dyn(), gradients.input.unwrap().into_dyn()];
    results.extend(state.hidden.into_iter().chain(state.cell).map(|maps| maps.into_dyn()));
    results.extend(gradients.initial.hidden.into_iter().map(|maps| maps.into_dyn()));
    gradients.parameters.visit(&mut |_, values| results.push(values.to_owned()));
    results
}

#[test]
fn results_do_not_depend_on_threads() {
    for (_, config, size) in lstm_configs() {
        assert_independent_of_threads(|| all_results(config.clone(), size));
    }
    for (_, config, size) in gru_configs() {
        assert_independent_of_threads(|| all_results(config.clone(), size));
    }
}
