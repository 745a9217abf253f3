//! Every instruction set against the equations, and what is refused.

use ndarray::{Array2, Array3, s};

use super::gru::{GruMaps, gru_maps, gru_reset_maps};
use super::lstm::{LstmForward, LstmMaps, MapPeepholes, lstm_maps};
use crate::{Element, Isa, TensorError};

const CHANNELS: usize = 3;
/// One full vector of every width and a part of one.
const POSITIONS: usize = 21;

fn values<T: Element>(rows: usize, seed: usize) -> Array2<T> {
    Array2::from_shape_fn((rows, POSITIONS), |(row, column)| {
        let value = (((row * 31 + column * 17 + seed * 101) % 97) as f64 - 48.0) / 16.0;
        T::from_f64(value)
    })
}

fn close<T: Element>(found: T, expected: f64, what: &str) {
    let tolerance = if T::NAME == "f32" { 1e-6 } else { 1e-14 };
    let found = Element::to_f64(found);
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{what}: {found}, expected {expected}");
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn peepholes_of<'a, T>(kind: usize, per_channel: &'a Array2<T>, per_position: &'a Array3<T>) -> MapPeepholes<'a, T> {
    match kind {
        0 => MapPeepholes::None,
        1 => MapPeepholes::PerChannel(per_channel.view()),
        _ => MapPeepholes::PerPosition(per_position.view()),
    }
}

fn check_lstm<T: Element>(isa: Isa) {
    let (before, sums) = (values::<T>(CHANNELS, 1), values::<T>(4 * CHANNELS, 2));
    let per_channel = values::<T>(3, 3).slice(s![.., ..CHANNELS]).to_owned();
    let per_position =
        Array3::from_shape_vec((3, CHANNELS, POSITIONS), values::<T>(3 * CHANNELS, 4).into_iter().collect());
    let per_position = per_position.unwrap();
    for kind in 0..3 {
        let (mut gates, mut cell, mut hidden) = (sums.clone(), before.clone(), before.clone());
        let maps = LstmMaps {
            peepholes: peepholes_of(kind, &per_channel, &per_position),
            previous_cell: before.view(),
            sums: sums.view(),
            gates: Some(gates.view_mut()),
            cell: cell.view_mut(),
            hidden: hidden.view_mut(),
        };
        T::dispatch_on(isa, LstmForward(maps));
        let (mut cell_alone, mut hidden_alone) = (before.clone(), before.clone());
        let maps = LstmMaps {
            peepholes: peepholes_of(kind, &per_channel, &per_position),
            previous_cell: before.view(),
            sums: sums.view(),
            gates: None,
            cell: cell_alone.view_mut(),
            hidden: hidden_alone.view_mut(),
        };
        T::dispatch_on(isa, LstmForward(maps));
        assert_eq!((&cell_alone, &hidden_alone), (&cell, &hidden));
        for channel in 0..CHANNELS {
            for position in 0..POSITIONS {
                let sum = |gate: usize| Element::to_f64(sums[[gate * CHANNELS + channel, position]]);
                let peephole = |gate: usize| match peepholes_of(kind, &per_channel, &per_position) {
                    MapPeepholes::None => 0.0,
                    MapPeepholes::PerChannel(weights) => Element::to_f64(weights[[gate, channel]]),
                    MapPeepholes::PerPosition(weights) => Element::to_f64(weights[[gate, channel, position]]),
                };
                let before = Element::to_f64(before[[channel, position]]);
                let i = sigmoid(sum(0) + peephole(0) * before);
                let f = sigmoid(sum(1) + peephole(1) * before);
                let g = sum(2).tanh();
                let c = f * before + i * g;
                let o = sigmoid(sum(3) + peephole(2) * c);
                for (gate, expected) in [i, f, g, o].into_iter().enumerate() {
                    close(gates[[gate * CHANNELS + channel, position]], expected, "gate");
                }
                close(cell[[channel, position]], c, "cell");
                close(hidden[[channel, position]], o * c.tanh(), "hidden");
            }
        }
    }
}

#[test]
fn lstm_maps_are_those_of_the_equations() {
    for isa in Isa::available() {
        check_lstm::<f32>(isa);
        check_lstm::<f64>(isa);
    }
}

#[test]
fn gru_maps_are_those_of_the_equations() {
    let (before, sums) = (values::<f64>(CHANNELS, 1), values::<f64>(4 * CHANNELS, 2));
    for reset_after in [false, true] {
        let (mut maps, mut hidden) = (sums.clone(), before.clone());
        let previous_hidden = before.view();
        let arguments = GruMaps { reset_after, previous_hidden, maps: maps.view_mut(), hidden: hidden.view_mut() };
        gru_reset_maps(arguments).unwrap();
        let arguments = GruMaps { reset_after, previous_hidden, maps: maps.view_mut(), hidden: hidden.view_mut() };
        gru_maps(arguments).unwrap();
        for ((channel, position), &found) in hidden.indexed_iter() {
            let sum = |map: usize| sums[[map * CHANNELS + channel, position]];
            let (r, z, before) = (sigmoid(sum(0)), sigmoid(sum(1)), before[[channel, position]]);
            let n = if reset_after { (sum(2) + r * sum(3)).tanh() } else { sum(2).tanh() };
            close(found, (1.0 - z) * n + z * before, "state");
            if !reset_after {
                close(maps[[3 * CHANNELS + channel, position]], r * before, "reset state");
            }
        }
    }
}

#[test]
fn maps_that_do_not_fit_are_errors() {
    let (before, sums, mut gates) = (values::<f32>(2, 1), values::<f32>(8, 2), values::<f32>(8, 3));
    let (mut cell, mut hidden) = (before.clone(), before.clone());
    let mut run = |gates: ndarray::ArrayViewMut2<'_, f32>| {
        let mut gates = gates;
        lstm_maps(LstmMaps {
            peepholes: MapPeepholes::None,
            previous_cell: before.view(),
            sums: sums.view(),
            gates: Some(gates.view_mut()),
            cell: cell.view_mut(),
            hidden: hidden.view_mut(),
        })
    };
    assert_eq!(run(gates.view_mut()), Ok(()));
    let found = run(gates.slice_mut(s![..7, ..]));
    let operation = "lstm_maps";
    assert_eq!(found, Err(TensorError::AxisSize { operation, axis: "gate channels", expected: 8, found: 7 }));
    let found = run(gates.slice_mut(s![.., ..20]));
    assert_eq!(found, Err(TensorError::AxisSize { operation, axis: "gate positions", expected: 21, found: 20 }));
    let mut strided = Array2::<f32>::zeros((8, 2 * POSITIONS));
    let found = run(strided.slice_mut(s![.., ..;2])).unwrap_err();
    assert!(matches!(found, TensorError::InvalidOption { option: "gate positions", .. }), "{found}");
}
