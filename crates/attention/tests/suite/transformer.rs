//! Transformer layers: PyTorch's values, gradients, positions and errors.

use attention::{AttentionError, TransformerConfig, TransformerLayer, sinusoidal_positions};
use ndarray::{Array2, Array3, ArrayD};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::load_parameters;
use tensor_ops::testing::{
    assert_all_close, check_parameter_gradients, load_fixture, numeric_gradient, run_cases, seeded_array,
};
use tensor_ops::{LayerNorm, Parameters};

fn generator() -> StdRng {
    StdRng::seed_from_u64(1)
}

#[test]
fn equals_pytorch() {
    let fixture = load_fixture(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch.safetensors"));
    run_cases(
        [("transformer_first", true, false), ("transformer_last", false, true)],
        |&(case, norm_first, causal)| {
            let array = |name: &str| -> ArrayD<f64> { fixture.array(&format!("{case}.{name}")) };
            let cube = |name: &str| -> Array3<f64> { array(name).into_dimensionality().unwrap() };
            let config = TransformerConfig { feedforward: 10, norm_first, causal, ..TransformerConfig::new(6, 2) };
            let mut layer = TransformerLayer::<f64>::new(config, &mut generator()).unwrap();
            let prefix = format!("{case}.parameters.");
            let names = fixture.names().into_iter().filter(|name| name.starts_with(&prefix));
            let source: Vec<_> = names.map(|name| (name[prefix.len()..].to_owned(), fixture.array(&name))).collect();
            load_parameters(&mut layer, &source).unwrap();
            let lengths = fixture.indices(&format!("{case}.lengths"));
            let (output, trace) = layer.forward_training(cube("x").view(), Some(&lengths), &mut generator()).unwrap();
            assert_all_close(&output, &cube("output"), 1e-10, 1e-12);
            let found = layer.backward(&trace, cube("grad_output").view()).unwrap();
            assert_all_close(&found.input, &cube("grad.x"), 1e-9, 1e-11);
            for (name, gradient) in found.parameters.named() {
                println!("{name}");
                assert_all_close(&gradient, &array(&format!("grad.parameters.{name}")), 1e-9, 1e-11);
            }
        },
    );
}

#[test]
fn gradients_equal_finite_differences() {
    let options = [(true, false, 0.0), (false, true, 0.0), (true, true, 0.4), (false, false, 0.3)];
    run_cases(options, |&(norm_first, causal, dropout)| {
        let config = TransformerConfig { feedforward: 5, norm_first, causal, dropout, ..TransformerConfig::new(4, 2) };
        let layer = TransformerLayer::<f64>::new(config, &mut generator()).unwrap();
        let x: Array3<f64> = seeded_array((2, 4, 4), 2);
        let weights: Array3<f64> = seeded_array((2, 4, 4), 3);
        let lengths = [4, 2];
        // The same generator state every time: the same values are dropped.
        let run = |layer: &TransformerLayer<f64>, x: &Array3<f64>| {
            layer.forward_training(x.view(), Some(&lengths), &mut generator()).unwrap()
        };
        let loss = |layer: &TransformerLayer<f64>, x: &Array3<f64>| (run(layer, x).0 * &weights).sum();
        let (_, trace) = run(&layer, &x);
        let found = layer.backward(&trace, weights.view()).unwrap();
        assert_all_close(&found.input, &numeric_gradient(&x, |x| loss(&layer, x)), 1e-6, 1e-8);
        check_parameter_gradients(&layer, &found.parameters, |layer| loss(layer, &x));
    });
}

#[test]
fn positions_are_those_of_the_paper() {
    let positions: Array2<f64> = sinusoidal_positions(50, 7).unwrap();
    assert_eq!(positions.row(0).to_vec(), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    for (step, feature, expected) in [
        (3, 0, 3_f64.sin()),
        (3, 1, 3_f64.cos()),
        (49, 4, (49.0 / 10000_f64.powf(4.0 / 7.0)).sin()),
        (49, 5, (49.0 / 10000_f64.powf(4.0 / 7.0)).cos()),
    ] {
        assert!((positions[[step, feature]] - expected).abs() < 1e-14);
    }
}

#[test]
fn misuse() {
    let layer = TransformerLayer::<f32>::new(TransformerConfig::new(4, 2), &mut generator()).unwrap();
    let x = Array3::zeros((1, 3, 4));
    let (_, trace) = layer.forward_training(x.view(), None, &mut generator()).unwrap();
    let forward = |layer: &TransformerLayer<f32>, shape: (usize, usize, usize), lengths: Option<&[usize]>| {
        layer.forward(Array3::zeros(shape).view(), lengths).map(|_| ())
    };
    let config = |change: &dyn Fn(&mut TransformerConfig)| {
        let mut config = TransformerConfig::new(4, 2);
        change(&mut config);
        TransformerLayer::<f32>::new(config, &mut generator()).map(|_| ())
    };
    let mut other_units = layer.clone();
    other_units.linear1.weight = Array2::zeros((3, 4));
    let mut other_norm = layer.clone();
    other_norm.norm2 = LayerNorm::new(5).unwrap();
    let mut causal = TransformerLayer::<f32>::new(
        TransformerConfig { causal: true, ..TransformerConfig::new(4, 2) },
        &mut generator(),
    )
    .unwrap();
    causal.norm1 = layer.norm1.clone();
    let table: Vec<(Result<(), AttentionError>, &str)> = vec![
        (config(&|c| c.embed_dim = 0), "MultiHeadAttentionConfig: embed_dim: expected at least 1 entry, found 0"),
        (config(&|c| c.feedforward = 0), "TransformerConfig: feedforward: expected at least 1 entry, found 0"),
        (config(&|c| c.dropout = 1.5), "Dropout: option `probability` must be in 0..=1, found 1.5"),
        (
            config(&|c| c.num_heads = 3),
            "MultiHeadAttentionConfig: option `num_heads` must be a divisor of embed_dim, found 3 for 4 features",
        ),
        (forward(&layer, (0, 3, 4), None), "TransformerLayer: input batch: expected at least 1 entry, found 0"),
        (forward(&layer, (1, 0, 4), None), "TransformerLayer: input time: expected at least 1 entry, found 0"),
        (forward(&layer, (1, 3, 5), None), "TransformerLayer: input features: expected size 4, found 5"),
        (
            forward(&layer, (1, 3, 4), Some(&[4])),
            "TransformerLayer: length of sequence 0: expected 1 to 3 time steps, found 4",
        ),
        (forward(&other_units, (1, 3, 4), None), "TransformerLayer: linear1 outputs: expected size 16, found 3"),
        (forward(&other_norm, (1, 3, 4), None), "LayerNorm: input features: expected size 5, found 4"),
        (
            layer.backward(&trace, Array3::zeros((1, 2, 4)).view()).map(|_| ()),
            "TransformerLayer::backward: output gradient time: expected size 3, found 2",
        ),
        (
            causal.backward(&trace, x.view()).map(|_| ()),
            "TransformerLayer::backward: option `trace` must be that of a forward pass with the same configuration, \
             found another configuration",
        ),
    ];
    for (result, expected) in table {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
    assert!(sinusoidal_positions::<f32>(0, 4).is_err() && sinusoidal_positions::<f32>(4, 0).is_err());
}
