//! Truncated back-propagation, and the sections of steps in which gradients are summed.

use convlstm::{Cell, GruCell, LayerConfig, LstmCell, RecurrentConfig, RecurrentGradients, TraceMemory};
use ndarray::{Array5, Axis, s};
use tensor_ops::Parameters;
use tensor_ops::testing::{assert_all_close, assert_bits_equal};

use crate::common::{gru_configs, lstm_configs, seeded_clips, seeded_layers, seeded_state};

const BATCH: usize = 2;
const TIME: usize = 7;

fn assert_parameters_close<C: Cell>(found: &RecurrentGradients<f64, C>, expected: &RecurrentGradients<f64, C>) {
    for ((name, found), (_, expected)) in found.parameters.named().iter().zip(expected.parameters.named()) {
        println!("{name}");
        assert_all_close(found, &expected, 1e-11, 1e-13);
    }
}

/// A truncated pass against sections that are run one after another, each from the final state of the one before.
fn check_truncation<C: Cell>(description: &str, config: RecurrentConfig<C>, size: [usize; 2], length: usize) {
    println!("{description}, truncated to {length}");
    let layers = seeded_layers::<f64, C>(config.clone(), 1);
    let truncated = layers.clone().with_truncation(Some(length)).unwrap();
    let clips: Array5<f64> = seeded_clips([BATCH, TIME, config.input_channels, size[0], size[1]], 2);
    let initial = seeded_state::<f64, C>(&config, BATCH, size, 3);
    let grad_final = seeded_state::<f64, C>(&config, BATCH, size, 4);
    let (output, state, trace) = truncated.forward_training(clips.view(), Some(&initial), None).unwrap();
    let (whole, _, _) = layers.forward_training(clips.view(), Some(&initial), None).unwrap();
    assert_bits_equal(&output, &whole);
    let grad_output: Array5<f64> = seeded_clips(output.dim().into(), 5);
    let found = truncated.backward(&trace, grad_output.view(), Some(&grad_final)).unwrap();

    let mut sum: Option<RecurrentGradients<f64, C>> = None;
    let mut before = initial;
    for first in (0..TIME).step_by(length) {
        let steps = s![.., first..TIME.min(first + length), .., .., ..];
        let (part, after, trace) = layers.forward_training(clips.slice(steps), Some(&before), None).unwrap();
        assert_bits_equal(&part, &output.slice(steps));
        let last = first + length >= TIME;
        let gradients = layers.backward(&trace, grad_output.slice(steps), last.then_some(&grad_final)).unwrap();
        let of_input = found.input.as_ref().unwrap();
        assert_bits_equal(gradients.input.as_ref().unwrap(), &of_input.slice(steps));
        match &mut sum {
            None => sum = Some(gradients),
            Some(sum) => sum.parameters.accumulate(&gradients.parameters).unwrap(),
        }
        before = after;
    }
    let sum = sum.unwrap();
    assert_eq!(before, state);
    assert_eq!(found.initial, sum.initial);
    assert_parameters_close(&found, &sum);
    let (_, _, trace) =
        layers.forward_training(clips.view(), Some(&seeded_state(&config, BATCH, size, 3)), None).unwrap();
    let not_cut = layers.backward(&trace, grad_output.view(), Some(&grad_final)).unwrap();
    assert_eq!(not_cut.initial == found.initial, length >= TIME, "the gradient is cut if there is a step to cut at");
}

#[test]
fn a_truncated_pass_equals_its_sections() {
    for length in [1, 3, TIME, TIME + 1] {
        for (description, config, size) in lstm_configs().into_iter().filter(|(_, config, _)| !config.bidirectional) {
            check_truncation(description, config, size, length);
        }
        for (description, config, size) in gru_configs().into_iter().filter(|(_, config, _)| !config.bidirectional) {
            check_truncation(description, config, size, length);
        }
    }
}

/// The reverse direction counts its steps from the last valid one.
#[test]
fn a_truncated_reverse_direction_equals_the_flipped_clip() {
    let config =
        RecurrentConfig::<LstmCell> { bidirectional: true, truncate: Some(3), ..RecurrentConfig::new(2, 3, 3) };
    let both = seeded_layers::<f64, LstmCell>(config.clone(), 1);
    let mut flipped = seeded_layers::<f64, LstmCell>(RecurrentConfig { bidirectional: false, ..config.clone() }, 1);
    flipped.directions = vec![both.directions[1].clone()];
    let lengths = [TIME, 5];
    let clips: Array5<f64> = seeded_clips([BATCH, TIME, 2, 3, 4], 2);
    let (output, _, trace) = both.forward_training(clips.view(), None, Some(&lengths)).unwrap();
    let mut grad_output: Array5<f64> = seeded_clips(output.dim().into(), 5);
    grad_output.slice_mut(s![.., .., ..3, .., ..]).fill(0.0);
    let found = both.backward(&trace, grad_output.view(), None).unwrap();
    let mut of_weights = found.parameters.directions[1].weight_hh.clone();
    for (sequence, &length) in lengths.iter().enumerate() {
        let reversed = s![sequence..=sequence, ..length;-1, .., .., ..];
        let (back, _, trace) = flipped.forward_training(clips.slice(reversed), None, None).unwrap();
        assert_bits_equal(&back, &output.slice(reversed).slice(s![.., .., 3.., .., ..]));
        let gradient = grad_output.slice(reversed);
        let gradients = flipped.backward(&trace, gradient.slice(s![.., .., 3.., .., ..]), None).unwrap();
        assert_all_close(&gradients.input.unwrap(), &found.input.as_ref().unwrap().slice(reversed), 1e-12, 1e-14);
        of_weights -= &gradients.parameters.directions[0].weight_hh;
    }
    assert_all_close(&of_weights, &of_weights.mapv(|_| 0.0), 0.0, 1e-12);
}

/// A batch whose gradients of gates are summed in two sections, against its sequences, each of which needs one.
fn check_sections<C: Cell>(cell: C) {
    let layer = LayerConfig { cell, ..LayerConfig::new(2, 3) };
    let config = RecurrentConfig { input_channels: 1, layers: vec![layer], ..RecurrentConfig::default() };
    let layers = seeded_layers::<f32, C>(config, 1);
    let clips: Array5<f32> = seeded_clips([8, 5, 1, 256, 256], 2);
    let mut results = Vec::new();
    for memory in [TraceMemory::Full, TraceMemory::RecomputeGates] {
        let layers = layers.clone().with_memory(memory);
        let (output, _, trace) = layers.forward_training(clips.view(), None, None).unwrap();
        let gradients = layers.backward(&trace, output.view(), None).unwrap();
        let mut rest = gradients.parameters.clone();
        for sequence in 0..clips.dim().0 {
            let one = s![sequence..=sequence, .., .., .., ..];
            let (alone, _, trace) = layers.forward_training(clips.slice(one), None, None).unwrap();
            let mut alone = layers.backward(&trace, alone.view(), None).unwrap();
            assert_bits_equal(&alone.input.unwrap(), &gradients.input.as_ref().unwrap().slice(one));
            alone.parameters.scale(-1.0);
            rest.accumulate(&alone.parameters).unwrap();
        }
        for ((name, rest), (_, whole)) in rest.named().iter().zip(gradients.parameters.named()) {
            let largest = whole.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            assert!(largest > 0.0, "{name}");
            assert_all_close(rest, &rest.mapv(|_| 0.0), 0.0, f64::from(largest) * 1e-4);
        }
        results.push(gradients);
    }
    assert_eq!(results[0].parameters.directions, results[1].parameters.directions);
    assert_bits_equal(results[0].input.as_ref().unwrap(), results[1].input.as_ref().unwrap());
    assert_eq!(results[0].input.as_ref().map(|input| input.len_of(Axis(1))), Some(5));
}

#[test]
fn gradients_of_long_passes_are_summed_in_sections() {
    check_sections(LstmCell::default());
    check_sections(GruCell { reset_after: false });
}
