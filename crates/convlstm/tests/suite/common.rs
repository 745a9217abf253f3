//! Layers, clips and losses that several tests use.

use convlstm::{
    Cell, ConvLstmConfig, ConvRecurrent, GruCell, LayerConfig, LstmCell, Peepholes, RecurrentConfig, RecurrentState,
};
use ndarray::Array5;
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::seeded_array;
use tensor_ops::{Element, Padding, Parameters};

/// A layer with every parameter drawn, those too that start at fixed values.
pub(crate) fn seeded_layers<T: Element, C: Cell>(config: RecurrentConfig<C>, seed: u64) -> ConvRecurrent<T, C> {
    let mut layers = ConvRecurrent::new(config, &mut StdRng::seed_from_u64(seed)).unwrap();
    let mut next = seed;
    layers.visit_mut(&mut |name, mut values| {
        next += 1;
        if name.starts_with("peepholes") || name.starts_with("norm") || name.starts_with("bias") {
            let drawn = seeded_array::<T, _>(values.raw_dim(), next);
            values.assign(&drawn);
        }
    });
    layers
}

pub(crate) fn seeded_state<T: Element, C: Cell>(
    config: &RecurrentConfig<C>,
    batch: usize,
    size: [usize; 2],
    seed: u64,
) -> RecurrentState<T> {
    let mut state = RecurrentState::zeros(config, batch, size).unwrap();
    for (index, maps) in state.hidden.iter_mut().chain(&mut state.cell).enumerate() {
        *maps = seeded_array(maps.raw_dim(), seed + index as u64);
    }
    state
}

pub(crate) fn seeded_clips<T: Element>(shape: [usize; 5], seed: u64) -> Array5<T> {
    seeded_array(ndarray::Dim(shape), seed)
}

/// Every option of a layer, as `(description, configuration, size of the input)`.
pub(crate) fn lstm_configs() -> Vec<(&'static str, ConvLstmConfig, [usize; 2])> {
    let layer = |hidden, kernel| LayerConfig::<LstmCell>::new(hidden, kernel);
    let of = |layers: Vec<LayerConfig<LstmCell>>| ConvLstmConfig { input_channels: 2, layers, ..Default::default() };
    let with = |cell: LstmCell| LayerConfig { cell, ..layer(3, 3) };
    let strided = LayerConfig {
        input_kernel: [3, 2],
        input_stride: [2, 1],
        input_padding: Some(Padding { top: 1, bottom: 0, left: 1, right: 2 }),
        input_dilation: [1, 2],
        state_kernel: [1, 4],
        state_dilation: [1, 1],
        ..layer(2, 3)
    };
    vec![
        ("plain", of(vec![layer(3, 3)]), [4, 5]),
        ("no bias", ConvLstmConfig { bias: false, ..of(vec![layer(2, 1)]) }, [3, 3]),
        (
            "peepholes per channel",
            of(vec![with(LstmCell { peepholes: Peepholes::PerChannel, ..Default::default() })]),
            [3, 4],
        ),
        (
            "peepholes per position",
            of(vec![with(LstmCell { peepholes: Peepholes::PerPosition([3, 4]), ..Default::default() })]),
            [3, 4],
        ),
        (
            "normalised",
            of(vec![with(LstmCell {
                normalisation_groups: Some(4),
                peepholes: Peepholes::PerChannel,
                ..Default::default()
            })]),
            [3, 4],
        ),
        ("stride, padding, dilation, even kernels", of(vec![strided]), [6, 5]),
        ("stack", of(vec![layer(3, 3), layer(2, 1), with(LstmCell::default())]), [3, 4]),
        ("bidirectional stack", ConvLstmConfig { bidirectional: true, ..of(vec![layer(2, 3), layer(2, 3)]) }, [3, 3]),
    ]
}

pub(crate) fn gru_configs() -> Vec<(&'static str, RecurrentConfig<GruCell>, [usize; 2])> {
    let layer = |reset_after| LayerConfig { cell: GruCell { reset_after }, ..LayerConfig::new(3, 3) };
    let of = |layers| RecurrentConfig { input_channels: 2, layers, ..RecurrentConfig::default() };
    vec![
        ("reset after", of(vec![layer(true)]), [4, 3]),
        ("reset before", of(vec![layer(false)]), [3, 4]),
        ("no bias", RecurrentConfig { bias: false, ..of(vec![layer(true)]) }, [3, 3]),
        (
            "bidirectional stack of both",
            RecurrentConfig { bidirectional: true, ..of(vec![layer(false), layer(true)]) },
            [3, 3],
        ),
    ]
}
