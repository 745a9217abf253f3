//! Every misuse has its error.

use convlstm::{
    ConvGru, ConvLstm, ConvLstmConfig, ConvLstmError, LayerConfig, LayerWeights, LstmCell, Peepholes, RecurrentConfig,
    RecurrentState, RecurrentTrace, TraceMemory, patchify, unpatchify,
};
use ndarray::{Array1, Array4, Array5};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::Padding;

const CHANNELS: usize = 3;
const HIDDEN: usize = 4;
const SIZE: [usize; 2] = [5, 6];

fn config() -> ConvLstmConfig {
    ConvLstmConfig::new(CHANNELS, HIDDEN, 3)
}

fn layers(config: ConvLstmConfig) -> ConvLstm<f32> {
    ConvLstm::new(config, &mut StdRng::seed_from_u64(1)).unwrap()
}

/// The configuration with its layer changed.
fn changed(change: impl Fn(&mut LayerConfig<LstmCell>)) -> ConvLstmConfig {
    let mut config = config();
    change(&mut config.layers[0]);
    config
}

fn text<V>(result: Result<V, ConvLstmError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

fn refused_config(config: ConvLstmConfig) -> String {
    text(ConvLstm::<f32>::zeros(config))
}

fn refused_forward_of(
    config: ConvLstmConfig,
    shape: [usize; 5],
    initial: Option<&RecurrentState<f32>>,
    lengths: Option<&[usize]>,
) -> String {
    let layers = layers(config);
    let input = Array5::zeros(shape);
    let error = layers.forward(input.view(), initial, lengths).unwrap_err();
    let training = layers.forward_training(input.view(), initial, lengths).unwrap_err();
    assert_eq!(error, training, "training refuses as inference does");
    error.to_string()
}

fn refused_forward(shape: [usize; 5], initial: Option<&RecurrentState<f32>>, lengths: Option<&[usize]>) -> String {
    refused_forward_of(config(), shape, initial, lengths)
}

fn state(count: usize, shape: [usize; 4]) -> RecurrentState<f32> {
    RecurrentState { hidden: vec![Array4::zeros(shape); count], cell: vec![Array4::zeros(shape); count] }
}

fn trace_of(config: ConvLstmConfig) -> RecurrentTrace<f32> {
    layers(config).forward_training(Array5::zeros((2, 5, CHANNELS, 5, 6)).view(), None, None).unwrap().2
}

fn refused_backward(grad: [usize; 5], grad_final: Option<&RecurrentState<f32>>) -> String {
    text(layers(config()).backward(&trace_of(config()), Array5::zeros(grad).view(), grad_final))
}

/// Whether the trace of one configuration is refused by another.
fn refused_trace(of: ConvLstmConfig, by: ConvLstmConfig) -> String {
    let trace = trace_of(of);
    let gradient = trace.outputs().last().unwrap().to_owned();
    text(layers(by).backward(&trace, gradient.view(), None))
}

fn refused_parts(change: impl Fn(&mut ConvLstm<f32>)) -> String {
    let mut layers = layers(config());
    change(&mut layers);
    text(layers.forward(Array5::zeros((1, 2, CHANNELS, 5, 6)).view(), None, None))
}

fn refused_stream(batch: usize, initial: Option<&RecurrentState<f32>>) -> String {
    text(layers(config()).stream(batch, SIZE, initial))
}

fn refused_step(shape: [usize; 4]) -> String {
    let mut stream = layers(config()).stream(2, SIZE, None).unwrap();
    let before = stream.state();
    let error = text(stream.step(Array4::ones(shape).view()));
    assert_eq!(stream.state(), before, "the states stay as they were");
    error
}

#[test]
fn every_misuse_has_its_error() {
    let with_cell = |cell: LstmCell| changed(|layer| layer.cell = cell.clone());
    let per_position = with_cell(LstmCell { peepholes: Peepholes::PerPosition([5, 7]), ..LstmCell::default() });
    let without_input = ConvLstmConfig { input_channels: 0, ..config() };
    let valid_padding = changed(|layer| {
        layer.input_padding = Some(Padding::default());
        layer.input_kernel = [6, 6];
    });
    let bidirectional = ConvLstmConfig { bidirectional: true, ..config() };
    let recompute = ConvLstmConfig { memory: TraceMemory::RecomputeGates, ..config() };
    let gates = |rows: usize| Some(Array1::zeros(rows));
    let shape = [2, 5, CHANNELS, 5, 6];
    let huge = usize::MAX / 2;
    let table: Vec<(String, &str)> = vec![
        // Configuration.
        (refused_config(ConvLstmConfig::default()), "ConvLstm: layers: expected at least 1 entry, found 0"),
        (
            refused_config(changed(|layer| layer.hidden_channels = 0)),
            "ConvLstm: hidden_channels: expected at least 1 entry, found 0",
        ),
        (
            refused_config(changed(|layer| layer.hidden_channels = huge)),
            "ConvLstm: option `hidden_channels` must be fewer, found 9223372036854775807",
        ),
        (
            refused_config(changed(|layer| layer.hidden_channels = 1 << 30)),
            "convlstm: weight_ih: no memory for shape [4294967296, 3, 3, 3]",
        ),
        (
            refused_config(changed(|layer| layer.input_kernel = [0, 3])),
            "Conv2d: option `kernel` must be at least 1 on both axes, found [0, 3]",
        ),
        (
            refused_config(changed(|layer| layer.state_kernel = [3, 0])),
            "Conv2d: option `kernel` must be at least 1 on both axes, found [3, 0]",
        ),
        (
            refused_config(changed(|layer| layer.state_kernel = [huge, 3])),
            "convlstm: weight_hh: no memory for shape [16, 4, 9223372036854775807, 3]",
        ),
        (
            refused_config(changed(|layer| layer.input_stride = [0, 1])),
            "Conv2d: option `stride` must be at least 1 on both axes, found [0, 1]",
        ),
        (
            refused_config(changed(|layer| layer.input_dilation = [1, 0])),
            "Conv2d: option `dilation` must be at least 1 on both axes, found [1, 0]",
        ),
        (
            refused_config(changed(|layer| layer.state_dilation = [0, 1])),
            "Conv2d: option `dilation` must be at least 1 on both axes, found [0, 1]",
        ),
        (
            refused_config(ConvLstmConfig { truncate: Some(0), ..config() }),
            "ConvLstm: option `truncate` must be at least 1 step, found 0",
        ),
        (
            text(layers(config()).with_truncation(Some(0))),
            "ConvLstm: option `truncate` must be at least 1 step, found 0",
        ),
        (
            refused_config(with_cell(LstmCell { forget_bias: Some(f64::NAN), ..LstmCell::default() })),
            "ConvLstm: option `forget_bias` must be finite, found NaN",
        ),
        (
            refused_config(ConvLstmConfig {
                bias: false,
                ..with_cell(LstmCell { forget_bias: Some(1.0), ..LstmCell::default() })
            }),
            "ConvLstm: option `forget_bias` must be none without biases, found 1",
        ),
        (
            refused_config(with_cell(LstmCell { normalisation_groups: Some(0), ..LstmCell::default() })),
            "ConvLstm: option `normalisation_groups` must be a divisor of four times hidden_channels, found 0",
        ),
        (
            refused_config(with_cell(LstmCell { normalisation_groups: Some(3), ..LstmCell::default() })),
            "ConvLstm: option `normalisation_groups` must be a divisor of four times hidden_channels, found 3",
        ),
        (
            refused_config(with_cell(LstmCell { peepholes: Peepholes::PerPosition([0, 3]), ..LstmCell::default() })),
            "ConvLstm: option `peepholes` must be at least one position on both axes, found [0, 3]",
        ),
        (
            refused_config(with_cell(LstmCell { peepholes: Peepholes::PerPosition([huge, 3]), ..LstmCell::default() })),
            "convlstm: peepholes: no memory for shape [3, 4, 9223372036854775807, 3]",
        ),
        // Input.
        (refused_forward([0, 5, 3, 5, 6], None, None), "ConvLstm: input batch: expected at least 1 entry, found 0"),
        (refused_forward([2, 0, 3, 5, 6], None, None), "ConvLstm: input time: expected at least 1 entry, found 0"),
        (refused_forward([2, 5, 4, 5, 6], None, None), "ConvLstm: input channels: expected size 3, found 4"),
        (refused_forward([2, 5, 0, 5, 6], None, None), "ConvLstm: input channels: expected size 3, found 0"),
        (refused_forward([2, 5, 3, 0, 6], None, None), "ConvLstm: input height: expected at least 1 entry, found 0"),
        (refused_forward([2, 5, 3, 5, 0], None, None), "ConvLstm: input width: expected at least 1 entry, found 0"),
        (
            refused_forward_of(valid_padding, shape, None, None),
            "Conv2d: option `kernel height` must be at most the padded input, dilation included, found 6 for a padded input of 5",
        ),
        (
            refused_forward_of(per_position, shape, None, None),
            "ConvLstm: width of the maps with peepholes per position: expected size 7, found 6",
        ),
        (
            refused_forward_of(without_input.clone(), [2, 5, 0, 5, 6], None, None),
            "ConvLstm: input channels of the configuration: expected at least 1 entry, found 0",
        ),
        // Lengths.
        (
            refused_forward(shape, None, Some(&[5, 0])),
            "ConvLstm: length of sequence 1: expected 1 to 5 time steps, found 0",
        ),
        (
            refused_forward(shape, None, Some(&[6, 1])),
            "ConvLstm: length of sequence 0: expected 1 to 5 time steps, found 6",
        ),
        (refused_forward(shape, None, Some(&[5])), "ConvLstm: lengths: expected size 2, found 1"),
        // States.
        (
            refused_forward(shape, Some(&state(2, [2, 4, 5, 6])), None),
            "ConvLstm: initial state layers and directions: expected size 1, found 2",
        ),
        (
            refused_forward(shape, Some(&state(1, [3, 4, 5, 6])), None),
            "ConvLstm: initial state batch: expected size 2, found 3",
        ),
        (
            refused_forward(shape, Some(&state(1, [2, 3, 5, 6])), None),
            "ConvLstm: initial state channels: expected size 4, found 3",
        ),
        (
            refused_forward(shape, Some(&state(1, [2, 4, 6, 6])), None),
            "ConvLstm: initial state height: expected size 5, found 6",
        ),
        (
            refused_forward(shape, Some(&state(1, [2, 4, 5, 5])), None),
            "ConvLstm: initial state width: expected size 6, found 5",
        ),
        (
            refused_forward(shape, Some(&RecurrentState { cell: Vec::new(), ..state(1, [2, 4, 5, 6]) }), None),
            "ConvLstm: initial state layers and directions: expected size 1, found 0",
        ),
        (
            text(layers(config()).forward_from_state(&state(1, [2, 4, 5, 6]), 3)),
            "ConvLstm: input channels of a stack without input: expected size 0, found 3",
        ),
        (
            text(layers(without_input.clone()).forward_from_state(&state(1, [2, 4, 5, 6]), 0)),
            "ConvLstm: steps: expected at least 1 entry, found 0",
        ),
        (
            text(layers(without_input.clone()).forward_from_state(&state(0, [2, 4, 5, 6]), 3)),
            "ConvLstm: initial state layers and directions: expected size 1, found 0",
        ),
        (
            text(layers(without_input.clone()).forward_from_state(&state(1, [0, 4, 5, 6]), 3)),
            "ConvLstm: initial state batch: expected at least 1 entry, found 0",
        ),
        (
            text(RecurrentState::<f32>::zeros(&config(), huge, SIZE)),
            "convlstm: state: no memory for shape [9223372036854775807, 4, 5, 6]",
        ),
        (
            text(layers(without_input.clone()).forward_from_state(&state(1, [2, 4, 5, 6]), huge)),
            "convlstm: output: no memory for shape [2, 9223372036854775807, 4, 5, 6]",
        ),
        // Gradients.
        (refused_backward([1, 5, 4, 5, 6], None), "ConvLstm: grad_output batch: expected size 2, found 1"),
        (refused_backward([2, 4, 4, 5, 6], None), "ConvLstm: grad_output time: expected size 5, found 4"),
        (refused_backward([2, 5, 8, 5, 6], None), "ConvLstm: grad_output channels: expected size 4, found 8"),
        (refused_backward([2, 5, 4, 6, 6], None), "ConvLstm: grad_output height: expected size 5, found 6"),
        (refused_backward([2, 5, 4, 5, 5], None), "ConvLstm: grad_output width: expected size 6, found 5"),
        (
            refused_backward([2, 5, 4, 5, 6], Some(&state(1, [2, 3, 5, 6]))),
            "ConvLstm: final gradient channels: expected size 4, found 3",
        ),
        (
            text(layers(config()).backward_layers(&trace_of(config()), &[None, None], None, true)),
            "ConvLstm: layers of grad_output: expected size 1, found 2",
        ),
        (
            refused_trace(config(), changed(|layer| layer.hidden_channels = 5)),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        (
            refused_trace(config(), recompute.clone()),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        (
            refused_trace(recompute, config()),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        (
            refused_trace(config(), bidirectional.clone()),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        (
            refused_trace(bidirectional.clone(), config()),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        (
            refused_trace(config(), changed(|layer| layer.input_stride = [2, 1])),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        (
            refused_trace(config(), with_cell(LstmCell { normalisation_groups: Some(1), ..LstmCell::default() })),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        // Public arrays that were changed.
        (
            refused_parts(|layers| layers.directions[0].weight_ih = Some(Array4::zeros((16, 2, 3, 3)))),
            "convlstm: weight_ih_l0 of shape [16, 2, 3, 3]: expected the shape of the configuration",
        ),
        (refused_parts(|layers| layers.directions[0].weight_ih = None), "convlstm: weight_ih_l0: expected this array"),
        (
            refused_parts(|layers| layers.directions[0].weight_hh = Array4::zeros((16, 4, 5, 3))),
            "convlstm: weight_hh_l0 of shape [16, 4, 5, 3]: expected the shape of the configuration",
        ),
        (
            refused_parts(|layers| layers.directions[0].bias = gates(15)),
            "convlstm: bias_l0 of shape [15]: expected the shape of the configuration",
        ),
        (refused_parts(|layers| layers.directions[0].bias = None), "convlstm: bias_l0: expected this array"),
        (
            refused_parts(|layers| layers.directions[0].bias_hn = gates(4)),
            "convlstm: bias_hn_l0: expected no such array",
        ),
        (
            refused_parts(|layers| layers.directions[0].peepholes = Some(Array4::zeros((3, 4, 1, 1)))),
            "convlstm: peepholes_l0: expected no such array",
        ),
        (
            refused_parts(|layers| layers.directions[0].norm_weight = gates(16)),
            "convlstm: norm_weight_l0: expected no such array",
        ),
        (
            refused_parts(|layers| layers.directions.clear()),
            "ConvLstm: layers and directions: expected size 1, found 0",
        ),
        (
            refused_parts(|layers| layers.directions.push(layers.directions[0].clone())),
            "ConvLstm: layers and directions: expected size 1, found 2",
        ),
        // Streams.
        (
            text(layers(bidirectional).stream(1, SIZE, None)),
            "convlstm: a stream needs a forward direction only, as the reverse one starts at the end",
        ),
        (
            text(layers(without_input).stream(1, SIZE, None)),
            "ConvLstm: input channels of the configuration: expected at least 1 entry, found 0",
        ),
        (text(layers(config()).stream(1, [0, 6], None)), "Conv2d: input height: expected at least 1 entry, found 0"),
        (refused_stream(0, None), "ConvLstm: stream batch: expected at least 1 entry, found 0"),
        (refused_stream(huge, None), "convlstm: output: no memory for shape [9223372036854775807, 4, 5, 6]"),
        (refused_stream(2, Some(&state(1, [1, 4, 5, 6]))), "ConvLstm: initial state batch: expected size 2, found 1"),
        (refused_step([3, 3, 5, 6]), "ConvLstm: input batch: expected size 2, found 3"),
        (refused_step([2, 4, 5, 6]), "ConvLstm: input channels: expected size 3, found 4"),
        (refused_step([2, 3, 6, 6]), "ConvLstm: input height: expected size 5, found 6"),
        (refused_step([2, 3, 5, 5]), "ConvLstm: input width: expected size 6, found 5"),
        (
            text(layers(config()).stream(2, SIZE, None).unwrap().reset_sequence(2)),
            "ConvLstm: stream sequence of item 0: expected less than 2, found 2",
        ),
        (
            text(layers(config()).stream(2, SIZE, None).unwrap().set_state(&state(1, [2, 4, 5, 7]))),
            "ConvLstm: initial state width: expected size 6, found 7",
        ),
        // Patches.
        (
            text(patchify(Array5::<f32>::zeros((1, 1, 1, 4, 4)).view(), 0)),
            "patchify: patch: expected at least 1 entry, found 0",
        ),
        (
            text(patchify(Array5::<f32>::zeros((1, 1, 0, 4, 4)).view(), 2)),
            "patchify: channels: expected at least 1 entry, found 0",
        ),
        (
            text(patchify(Array5::<f32>::zeros((1, 1, 1, 4, 4)).view(), huge)),
            "convlstm: patches: no memory for shape [1, 1, 18446744073709551615, 1, 1]",
        ),
        (
            text(unpatchify(Array5::<f32>::zeros((1, 1, 6, 2, 2)).view(), 2, [4, 4])),
            "unpatchify: option `channels` must be a multiple of the pixels of a patch, found 6 for a patch of 2",
        ),
        (
            text(unpatchify(Array5::<f32>::zeros((1, 1, 4, 2, 2)).view(), 2, [5, 4])),
            "unpatchify: height: expected size 3, found 2",
        ),
        (
            text(unpatchify(Array5::<f32>::zeros((1, 1, 4, 2, 2)).view(), huge, [5, 4])),
            "unpatchify: option `channels` must be a multiple of the pixels of a patch, found 4 for a patch of 9223372036854775807",
        ),
        // Weights of other libraries.
        (
            text(LayerWeights::<f32>::from_fused_ifog(Array4::zeros((6, 5, 3, 3)).view(), None)),
            "from_fused_ifog: weight output channels, four per state channel: expected size 4, found 6",
        ),
        (
            text(LayerWeights::<f32>::from_fused_ifog(Array4::zeros((8, 2, 3, 3)).view(), None)),
            "from_fused_ifog: weight input channels, more than the state's: expected size 3, found 2",
        ),
        (
            text(LayerWeights::<f32>::from_fused_ifog(
                Array4::zeros((8, 5, 3, 3)).view(),
                Some(Array1::zeros(7).view()),
            )),
            "from_fused_ifog: bias: expected size 8, found 7",
        ),
        (
            text(LayerWeights::<f32>::from_keras(
                Array4::zeros((3, 3, 2, 8)).view(),
                Array4::zeros((3, 3, 3, 8)).view(),
                None,
            )),
            "from_keras: recurrent_kernel gates: expected size 12, found 8",
        ),
        (
            text(LayerWeights::<f32>::from_keras(
                Array4::zeros((3, 3, 2, 8)).view(),
                Array4::zeros((3, 3, 3, 12)).view(),
                None,
            )),
            "from_keras: kernel gates: expected size 12, found 8",
        ),
    ];
    for (found, expected) in &table {
        assert_eq!(found, expected);
    }
    assert!(table.len() >= 80, "{} rows", table.len());
}

#[test]
fn a_gru_has_no_cell_values() {
    let layers = ConvGru::<f32>::zeros(RecurrentConfig::new(CHANNELS, HIDDEN, 3)).unwrap();
    let input = Array5::zeros((2, 3, CHANNELS, 5, 6));
    assert_eq!(
        text(layers.forward(input.view(), Some(&state(1, [2, 4, 5, 6])), None)),
        "ConvGru: initial state layers and directions: expected size 0, found 1"
    );
    let (_, state, _) = layers.forward_training(input.view(), None, None).unwrap();
    assert!(state.cell.is_empty());
    // The trace of an LSTM holds what a GRU does not keep.
    let gradient = Array5::zeros((2, 5, HIDDEN, 5, 6));
    assert!(layers.backward(&trace_of(config()), gradient.view(), None).is_err());
}

#[test]
fn an_estimate_of_huge_sizes_does_not_overflow() {
    let huge = usize::MAX / 2;
    let estimate = config().memory_estimate::<f64>(huge, huge, SIZE, true).unwrap();
    assert_eq!(estimate.total(), u64::MAX);
    assert!(config().multiply_adds([1 << 31, 1 << 31]).is_ok());
}
