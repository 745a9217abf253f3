//! Vectors of PyTorch, in double precision, and of Keras.

use convlstm::{
    Cell, ConvLstm, ConvLstmConfig, ConvRecurrent, GruCell, LayerConfig, LayerWeights, LstmCell, Peepholes,
    RecurrentConfig, RecurrentState,
};
use ndarray::{Array1, Array4, Array5};
use tensor_ops::Parameters;
use tensor_ops::testing::{Fixture, assert_all_close, load_fixture};

fn fixture(name: &str) -> Fixture {
    load_fixture(format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR")))
}

fn maps(fixture: &Fixture, name: &str) -> Array4<f64> {
    fixture.array(name).into_dimensionality().unwrap()
}

fn clips(fixture: &Fixture, name: &str) -> Array5<f64> {
    fixture.array(name).into_dimensionality().unwrap()
}

fn check<C: Cell>(name: &str, cell: impl Fn([usize; 2]) -> C) {
    println!("{name}");
    let fixture = fixture("pytorch");
    let input = clips(&fixture, &format!("{name}.input"));
    let (_, _, channels, height, width) = input.dim();
    let mut layers = Vec::new();
    while fixture.contains(&format!("{name}.weight_ih_l{}", layers.len())) {
        let of_input = maps(&fixture, &format!("{name}.weight_ih_l{}", layers.len())).dim();
        let of_state = maps(&fixture, &format!("{name}.weight_hh_l{}", layers.len())).dim();
        let layer = LayerConfig::new(of_state.1, 1);
        layers.push(LayerConfig {
            input_kernel: [of_input.2, of_input.3],
            state_kernel: [of_state.2, of_state.3],
            cell: cell([height, width]),
            ..layer
        });
    }
    let count = layers.len();
    let config = RecurrentConfig { input_channels: channels, layers, ..RecurrentConfig::default() };
    let mut layers = ConvRecurrent::<f64, C>::zeros(config).unwrap();
    layers.visit_mut(&mut |part, mut values| values.assign(&fixture.array(&format!("{name}.{part}"))));
    let of_layers = |prefix: &str| (0..count).map(|l| maps(&fixture, &format!("{name}.{prefix}_l{l}"))).collect();
    let cell_values = |prefix: &str| if C::HAS_CELL { of_layers(prefix) } else { Vec::new() };
    let initial = RecurrentState { hidden: of_layers("hidden"), cell: cell_values("cell") };

    let (output, _, trace) = layers.forward_training(input.view(), Some(&initial), None).unwrap();
    assert_all_close(&output, &clips(&fixture, &format!("{name}.output")), 1e-10, 1e-11);
    let grad_output = clips(&fixture, &format!("{name}.grad_output"));
    let gradients = layers.backward(&trace, grad_output.view(), None).unwrap();
    assert_all_close(&gradients.input.unwrap(), &clips(&fixture, &format!("{name}.grad.input")), 1e-9, 1e-11);
    gradients.parameters.visit(&mut |part, values| {
        assert_all_close(&values, &fixture.array::<f64>(&format!("{name}.grad.{part}")), 1e-9, 1e-11);
    });
    let expected = RecurrentState { hidden: of_layers("grad.hidden"), cell: cell_values("grad.cell") };
    for (found, expected) in gradients.initial.hidden.iter().zip(&expected.hidden) {
        assert_all_close(found, expected, 1e-9, 1e-11);
    }
    for (found, expected) in gradients.initial.cell.iter().zip(&expected.cell) {
        assert_all_close(found, expected, 1e-9, 1e-11);
    }
}

#[test]
fn pytorch_agrees() {
    let lstm = |peepholes| LstmCell { peepholes, ..LstmCell::default() };
    check("lstm-channel-1", |_| lstm(Peepholes::PerChannel));
    check("lstm-position-1", |size| lstm(Peepholes::PerPosition(size)));
    check("lstm-none-2", |_| lstm(Peepholes::None));
    check("lstm-channel-3", |_| lstm(Peepholes::PerChannel));
    check("lstm-position-2", |size| lstm(Peepholes::PerPosition(size)));
    check("gru-after-2", |_| GruCell { reset_after: true });
    check("gru-before-2", |_| GruCell { reset_after: false });
}

#[test]
fn a_fused_cell_is_imported() {
    let fixture = fixture("pytorch");
    let weight = maps(&fixture, "fused.weight");
    let bias: Array1<f64> = fixture.array("fused.bias").into_dimensionality().unwrap();
    let weights = LayerWeights::from_fused_ifog(weight.view(), Some(bias.view())).unwrap();
    assert_eq!(weights.to_fused_ifog().unwrap(), (weight, Some(bias)));
    let mut layer = ConvLstm::zeros(ConvLstmConfig::new(2, 3, 3)).unwrap();
    layer.directions = vec![weights];
    let (output, _) = layer.forward(clips(&fixture, "fused.input").view(), None, None).unwrap();
    assert_all_close(&output, &clips(&fixture, "fused.output"), 1e-10, 1e-11);
}

#[test]
fn a_keras_layer_is_imported() {
    let fixture = fixture("keras");
    for layout in ["channels_last", "channels_first"] {
        let array = |name: &str| fixture.array::<f32>(&format!("{layout}.{name}"));
        let clips = |name: &str| {
            let clips = array(name).into_dimensionality::<ndarray::Ix5>().unwrap();
            if layout == "channels_last" { clips.permuted_axes([0, 1, 4, 2, 3]) } else { clips }
        };
        let kernel = array("kernel").into_dimensionality().unwrap();
        let recurrent = array("recurrent_kernel").into_dimensionality().unwrap();
        let bias = array("bias").into_dimensionality().unwrap();
        let weights = LayerWeights::from_keras(kernel.view(), recurrent.view(), Some(bias.view())).unwrap();
        assert_eq!(weights.to_keras().unwrap(), (kernel, recurrent, Some(bias)));
        let layer = LayerConfig { input_kernel: [3, 5], state_kernel: [3, 5], ..LayerConfig::new(3, 1) };
        let config = ConvLstmConfig { input_channels: 2, layers: vec![layer], ..ConvLstmConfig::default() };
        let mut layers = ConvLstm::zeros(config).unwrap();
        layers.directions = vec![weights];
        let (output, _) = layers.forward(clips("input").view(), None, None).unwrap();
        assert_all_close(&output, &clips("output"), 1e-5, 1e-6);
    }
}
