//! The encoder-forecaster: the parameter counts of the paper, gradients, and what is refused.

use convlstm::{
    Cell, ConvLstm, ConvLstmConfig, ConvLstmError, EncoderForecaster, EncoderForecasterConfig, Forecast, GruCell,
    LayerConfig, LstmCell, Mode, Peepholes,
};
use ndarray::Array5;
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::Parameters;
use tensor_ops::testing::{assert_all_close, check_parameter_gradients, numeric_gradient, seeded_array};

/// Of a layer: `(input kernel, state kernel, hidden)`.
type Sizes = (usize, usize, usize);

/// Moving-MNIST in patches of 4×4, peepholes per channel (Shi et al. 2015, table 1).
fn moving_mnist(layers: &[Sizes]) -> EncoderForecasterConfig<LstmCell> {
    let layer = |&(input, state, hidden): &Sizes| LayerConfig {
        input_kernel: [input; 2],
        state_kernel: [state; 2],
        cell: LstmCell { peepholes: Peepholes::PerChannel, ..LstmCell::default() },
        ..LayerConfig::new(hidden, 1)
    };
    EncoderForecasterConfig { patch: 4, layers: layers.iter().map(layer).collect(), ..Default::default() }
}

#[test]
fn parameters_are_as_many_as_in_the_paper() {
    let cases: [(&[Sizes], usize); 5] = [
        (&[(5, 5, 256)], 13_524_496),
        (&[(5, 5, 128), (5, 5, 128)], 10_042_896),
        (&[(5, 5, 128), (5, 5, 64), (5, 5, 64)], 7_585_296),
        (&[(9, 1, 128), (9, 1, 128)], 11_550_224),
        (&[(9, 1, 128), (9, 1, 64), (9, 1, 64)], 8_830_480),
    ];
    for (layers, expected) in cases {
        let model = EncoderForecaster::<f32, _>::new(moving_mnist(layers), &mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(model.parameter_count(), expected, "{layers:?}");
    }
}

/// FC-LSTM 2048-2048: a ConvLSTM on one position whose channels are the pixels, with the output of the top layer alone.
#[test]
fn the_fully_connected_model_has_as_many_as_in_the_paper() {
    let (pixels, units) = (64 * 64, 2048);
    let layer = LayerConfig {
        cell: LstmCell { peepholes: Peepholes::PerChannel, ..LstmCell::default() },
        ..LayerConfig::new(units, 1)
    };
    let count = |input_channels: usize| {
        let layers = vec![layer.clone(), layer.clone()];
        let config = ConvLstmConfig { input_channels, layers, ..ConvLstmConfig::default() };
        ConvLstm::<f32>::zeros(config).unwrap().parameter_count()
    };
    let output = units * pixels + pixels;
    assert_eq!(count(pixels) + count(0) + output, 142_667_776);
}

fn small<C: Cell>(mode: Mode) -> EncoderForecasterConfig<C> {
    EncoderForecasterConfig {
        channels: 1,
        patch: 2,
        layers: vec![LayerConfig::new(3, 3), LayerConfig::new(2, 3)],
        mode,
        ..Default::default()
    }
}

fn check_gradients<C: Cell>(mode: Mode) {
    let model = EncoderForecaster::<f64, C>::new(small(mode), &mut StdRng::seed_from_u64(1)).unwrap();
    // Five columns are no whole patches.
    let context: Array5<f64> = seeded_array((2, 3, 1, 4, 5), 2);
    let (said, trace) = model.forward_training(context.view(), 2).unwrap();
    assert_eq!(model.forward(context.view(), 2).unwrap(), said);
    let gradient = Forecast {
        future: seeded_array(said.future.raw_dim(), 3),
        reconstruction: said.reconstruction.as_ref().map(|frames| seeded_array(frames.raw_dim(), 4)),
    };
    let loss = |model: &EncoderForecaster<f64, C>, context: &Array5<f64>| {
        let said = model.forward(context.view(), 2).unwrap();
        let of = |frames: &Option<Array5<f64>>, weights: &Option<Array5<f64>>| match (frames, weights) {
            (Some(frames), Some(weights)) => (frames * weights).sum(),
            _ => 0.0,
        };
        (&said.future * &gradient.future).sum() + of(&said.reconstruction, &gradient.reconstruction)
    };
    let (grad_context, parameters) = model.backward(&trace, &gradient).unwrap();
    assert_all_close(&grad_context, &numeric_gradient(&context, |context| loss(&model, context)), 1e-6, 1e-8);
    check_parameter_gradients(&model, &parameters, |model| loss(model, &context));
    assert_eq!(model.backward_parameters(&trace, &gradient).unwrap(), parameters);
}

#[test]
fn gradients_are_those_of_central_differences() {
    check_gradients::<LstmCell>(Mode::EncodeForecast);
    check_gradients::<LstmCell>(Mode::Composite);
    check_gradients::<GruCell>(Mode::EncodeForecast);
}

#[test]
fn what_does_not_fit_is_refused() {
    let rng = &mut StdRng::seed_from_u64(1);
    let config = small::<LstmCell>(Mode::EncodeForecast);
    let strided = LayerConfig { input_stride: [2, 2], ..LayerConfig::new(2, 3) };
    for wrong in [
        EncoderForecasterConfig { channels: 0, ..config.clone() },
        EncoderForecasterConfig { patch: 0, ..config.clone() },
        EncoderForecasterConfig { layers: Vec::new(), ..config.clone() },
        EncoderForecasterConfig { layers: vec![strided], ..config.clone() },
    ] {
        assert!(EncoderForecaster::<f32, _>::new(wrong.clone(), rng).is_err(), "{wrong:?}");
    }
    let model = EncoderForecaster::<f32, _>::new(config, rng).unwrap();
    for (shape, horizon) in
        [((0, 2, 1, 4, 4), 1), ((1, 0, 1, 4, 4), 1), ((1, 2, 2, 4, 4), 1), ((1, 2, 1, 0, 4), 1), ((1, 2, 1, 4, 4), 0)]
    {
        assert!(model.forward(Array5::zeros(shape).view(), horizon).is_err(), "{shape:?}, {horizon}");
    }
    let (said, trace) = model.forward_training(Array5::zeros((1, 2, 1, 4, 4)).view(), 1).unwrap();
    let superfluous = Forecast { reconstruction: Some(said.future.clone()), ..said.clone() };
    assert!(matches!(model.backward(&trace, &superfluous), Err(ConvLstmError::Parts { .. })));
    let short = Forecast { future: Array5::zeros((1, 1, 1, 4, 3)), ..said };
    assert!(model.backward(&trace, &short).is_err());
}
