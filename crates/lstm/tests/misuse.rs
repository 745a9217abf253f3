//! Every misuse has its error.

use lstm::{Lstm, LstmConfig, LstmError, LstmState, OnnxLstm, Readout, frame_loss_weights};
use ndarray::{Array1, Array2, Array3, ArrayD, IxDyn};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;

const FEATURES: usize = 3;
const HIDDEN: usize = 4;

fn config() -> LstmConfig {
    LstmConfig::new(FEATURES, HIDDEN)
}

fn lstm(config: LstmConfig) -> Lstm<f32> {
    Lstm::new(config, &mut StdRng::seed_from_u64(1)).unwrap()
}

fn refused_config(config: LstmConfig) -> String {
    Lstm::<f32>::zeros(config).unwrap_err().to_string()
}

fn refused_forward(
    shape: (usize, usize, usize),
    initial: Option<&LstmState<f32>>,
    lengths: Option<&[usize]>,
) -> String {
    let lstm = lstm(config());
    let input = Array3::zeros(shape);
    let error = lstm.forward(input.view(), initial, lengths).unwrap_err();
    let mut rng = StdRng::seed_from_u64(0);
    let training = lstm.forward_training(input.view(), initial, lengths, &mut rng).unwrap_err();
    assert_eq!(error, training, "training refuses as inference does");
    error.to_string()
}

fn state(layers: usize, batch: usize, hidden: usize) -> LstmState<f32> {
    LstmState { hidden: Array3::zeros((layers, batch, hidden)), cell: Array3::zeros((layers, batch, hidden)) }
}

fn refused_backward(grad: (usize, usize, usize), grad_final: Option<&LstmState<f32>>) -> String {
    let lstm = lstm(config());
    let mut rng = StdRng::seed_from_u64(0);
    let (_, _, trace) = lstm.forward_training(Array3::zeros((2, 5, FEATURES)).view(), None, None, &mut rng).unwrap();
    lstm.backward(&trace, Array3::zeros(grad).view(), grad_final).unwrap_err().to_string()
}

fn refused_load(change: impl Fn(&mut Vec<(String, ArrayD<f32>)>)) -> String {
    let mut lstm = lstm(config());
    let before = lstm.clone();
    let mut source = lstm.to_pytorch();
    for (_, values) in &mut source {
        values.fill(0.5);
    }
    change(&mut source);
    let error = lstm.load_pytorch(&source).unwrap_err();
    assert_eq!(lstm, before, "nothing is loaded after an error");
    error.to_string()
}

fn refused_parts(change: impl Fn(&mut Lstm<f32>)) -> String {
    let mut lstm = lstm(config());
    change(&mut lstm);
    let input = Array3::zeros((1, 2, FEATURES));
    lstm.forward(input.view(), None, None).unwrap_err().to_string()
}

fn refused_onnx(config: LstmConfig, layer: usize, change: impl Fn(&mut OnnxLstm<f32>)) -> String {
    let mut onnx = lstm(LstmConfig { bias: true, peepholes: true, ..config.clone() }).to_onnx(0).unwrap();
    change(&mut onnx);
    let mut lstm = lstm(config);
    let before = lstm.clone();
    let error = lstm.load_onnx(layer, &onnx).unwrap_err();
    assert_eq!(lstm, before, "nothing is loaded after an error");
    error.to_string()
}

#[test]
fn every_misuse_has_its_error() {
    let wide = |change: &dyn Fn(&mut LstmConfig)| {
        let mut config = config();
        change(&mut config);
        refused_config(config)
    };
    let peephole_config = LstmConfig { peepholes: true, ..config() };
    let table: Vec<(String, &str)> = vec![
        // Configuration.
        (refused_config(LstmConfig::default()), "LstmConfig: input_size: expected at least 1 entry, found 0"),
        (wide(&|c| c.hidden_size = 0), "LstmConfig: hidden_size: expected at least 1 entry, found 0"),
        (wide(&|c| c.layers = 0), "LstmConfig: layers: expected at least 1 entry, found 0"),
        (
            wide(&|c| (c.layers, c.dropout) = (2, 1.0)),
            "LstmConfig: option `dropout` must be at least 0 and below 1, found 1",
        ),
        (
            wide(&|c| (c.layers, c.dropout) = (2, -0.1)),
            "LstmConfig: option `dropout` must be at least 0 and below 1, found -0.1",
        ),
        (
            wide(&|c| (c.layers, c.dropout) = (2, f64::NAN)),
            "LstmConfig: option `dropout` must be at least 0 and below 1, found NaN",
        ),
        (
            wide(&|c| c.dropout = 0.5),
            "LstmConfig: option `dropout` must be 0 with a single layer, as it acts between layers, found 0.5",
        ),
        (
            wide(&|c| (c.bias, c.forget_bias) = (false, Some(1.0))),
            "LstmConfig: option `forget_bias` must be `None` without biases, found 1",
        ),
        (wide(&|c| c.forget_bias = Some(f64::INFINITY)), "LstmConfig: option `forget_bias` must be finite, found inf"),
        (wide(&|c| c.truncate = Some(0)), "LstmConfig: option `truncate` must be at least 1 step, found 0"),
        // Input.
        (refused_forward((0, 5, 3), None, None), "Lstm: input batch: expected at least 1 entry, found 0"),
        (refused_forward((2, 0, 3), None, None), "Lstm: input time: expected at least 1 entry, found 0"),
        (refused_forward((2, 5, 4), None, None), "Lstm: input features: expected size 3, found 4"),
        (refused_forward((2, 5, 0), None, None), "Lstm: input features: expected size 3, found 0"),
        // Lengths.
        (
            refused_forward((2, 5, 3), None, Some(&[5, 0])),
            "Lstm: length of sequence 1: expected 1 to 5 time steps, found 0",
        ),
        (
            refused_forward((2, 5, 3), None, Some(&[6, 1])),
            "Lstm: length of sequence 0: expected 1 to 5 time steps, found 6",
        ),
        (refused_forward((2, 5, 3), None, Some(&[5])), "Lstm: lengths: expected size 2, found 1"),
        // States.
        (
            refused_forward((2, 5, 3), Some(&state(2, 2, 4)), None),
            "Lstm: initial hidden layers and directions: expected size 1, found 2",
        ),
        (
            refused_forward((2, 5, 3), Some(&state(1, 3, 4)), None),
            "Lstm: initial hidden batch: expected size 2, found 3",
        ),
        (
            refused_forward((2, 5, 3), Some(&LstmState { cell: Array3::zeros((1, 2, 5)), ..state(1, 2, 4) }), None),
            "Lstm: initial cell units: expected size 4, found 5",
        ),
        // Gradients.
        (refused_backward((1, 5, 4), None), "Lstm::backward: output gradient batch: expected size 2, found 1"),
        (refused_backward((2, 4, 4), None), "Lstm::backward: output gradient time: expected size 5, found 4"),
        (refused_backward((2, 5, 8), None), "Lstm::backward: output gradient features: expected size 4, found 8"),
        (
            refused_backward((2, 5, 4), Some(&state(1, 2, 3))),
            "Lstm: final hidden gradient units: expected size 4, found 3",
        ),
        // Loading.
        (refused_load(|source| drop(source.remove(1))), "parameter `weight_hh_l0`: not found in the source"),
        (
            refused_load(|source| source.push(("weight_ih_l1".to_owned(), ArrayD::zeros(IxDyn(&[16, 4]))))),
            "parameter `weight_ih_l1`: the model has no parameter of this name",
        ),
        (
            refused_load(|source| source[2].1 = ArrayD::zeros(IxDyn(&[16, 1]))),
            "parameter `bias_ih_l0`: expected shape [16], found [16, 1]",
        ),
        (
            refused_load(|source| source[0].1 = ArrayD::zeros(IxDyn(&[3, 16]))),
            "parameter `weight_ih_l0`: expected shape [16, 3], found [3, 16]",
        ),
        (
            refused_load(|source| source[1].1[[2, 1]] = f32::NAN),
            "parameter `weight_hh_l0`: the value at position 9 is not finite",
        ),
        (refused_onnx(peephole_config.clone(), 1, |_| {}), "Lstm: layer of item 0: expected less than 1, found 1"),
        (
            refused_onnx(peephole_config.clone(), 0, |onnx| onnx.w = Array3::zeros((2, 16, 3))),
            "OnnxLstm: W directions: expected size 1, found 2",
        ),
        (
            refused_onnx(peephole_config.clone(), 0, |onnx| onnx.b = Some(Array2::zeros((1, 16)))),
            "OnnxLstm: B gates: expected size 32, found 16",
        ),
        (refused_onnx(config(), 0, |_| {}), "Lstm: ONNX P: the configuration asks for no such array"),
        (
            refused_onnx(peephole_config.clone(), 0, |onnx| onnx.r[[0, 1, 0]] = f32::INFINITY),
            "parameter `R`: the value at position 4 is not finite",
        ),
        // Public arrays that were changed.
        (
            refused_parts(|lstm| lstm.directions[0].weight_ih = Array2::zeros((16, 2))),
            "Lstm: weight_ih input features: expected size 3, found 2",
        ),
        (
            refused_parts(|lstm| lstm.directions[0].bias_hh = Some(Array1::zeros(15))),
            "Lstm: bias_hh gates: expected size 16, found 15",
        ),
        (
            refused_parts(|lstm| lstm.directions[0].bias_hh = None),
            "Lstm: bias_hh_l0: the configuration asks for this array",
        ),
        (
            refused_parts(|lstm| lstm.directions[0].peepholes = Some(Array2::zeros((3, 4)))),
            "Lstm: peepholes_l0: the configuration asks for no such array",
        ),
        (refused_parts(|lstm| lstm.directions.clear()), "Lstm: layers and directions: expected size 1, found 0"),
    ];
    for (found, expected) in &table {
        assert_eq!(found, expected);
    }
    assert!(table.len() >= 15, "{} rows", table.len());
}

#[test]
fn streams_refuse() {
    let bidirectional = lstm(LstmConfig { bidirectional: true, ..config() });
    assert_eq!(bidirectional.stream(1, None).unwrap_err(), LstmError::BidirectionalStream);
    let lstm = lstm(config());
    let text = |result: Result<(), LstmError>| result.unwrap_err().to_string();
    assert_eq!(text(lstm.stream(0, None).map(drop)), "LstmStream: batch: expected at least 1 entry, found 0");
    assert_eq!(
        text(lstm.stream(2, Some(&state(1, 1, 4))).map(drop)),
        "Lstm: initial hidden batch: expected size 2, found 1"
    );
    let mut stream = lstm.stream(2, None).unwrap();
    let input = Array2::zeros((2, FEATURES));
    assert_eq!(bidirectional.step(input.view(), &mut stream), Err(LstmError::BidirectionalStream));
    assert_eq!(
        text(stream.step(Array2::zeros((3, FEATURES)).view()).map(drop)),
        "LstmStream: input batch: expected size 2, found 3"
    );
    assert_eq!(
        text(stream.step(Array2::zeros((2, 5)).view()).map(drop)),
        "LstmStream: input features: expected size 3, found 5"
    );
    assert_eq!(text(stream.reset_sequence(2)), "LstmStream: sequence of item 0: expected less than 2, found 2");
}

#[test]
fn a_trace_belongs_to_its_configuration() {
    let mut rng = StdRng::seed_from_u64(0);
    let (_, _, trace) =
        lstm(config()).forward_training(Array3::zeros((2, 5, FEATURES)).view(), None, None, &mut rng).unwrap();
    let other = lstm(LstmConfig { peepholes: true, ..config() });
    assert_eq!(
        other.backward(&trace, Array3::zeros((2, 5, HIDDEN)).view(), None).unwrap_err().to_string(),
        "Lstm::backward: option `trace` must be that of a forward pass with the same configuration, found another \
         configuration"
    );
}

#[test]
fn readouts_refuse() {
    let outputs = Array3::<f32>::zeros((2, 3, 4));
    let text = |error: tensor_ops::TensorError| error.to_string();
    assert_eq!(
        text(Readout::Max.forward(Array3::<f32>::zeros((2, 0, 4)).view(), None).unwrap_err()),
        "Readout: outputs time: expected at least 1 entry, found 0"
    );
    assert_eq!(
        text(Readout::Mean.forward(outputs.view(), Some(&[3, 4])).unwrap_err()),
        "Readout: length of sequence 1: expected 1 to 3 time steps, found 4"
    );
    let (_, trace) = Readout::Sum.forward_training(outputs.view(), None).unwrap();
    assert_eq!(
        text(Readout::backward(&trace, Array2::<f32>::zeros((2, 5)).view()).unwrap_err()),
        "Readout: gradient features: expected size 4, found 5"
    );
    assert_eq!(
        text(frame_loss_weights::<f32>(1, 4, Some(&[0])).unwrap_err()),
        "frame_loss_weights: length of sequence 0: expected 1 to 4 time steps, found 0"
    );
}
