//! Of spatial attention and of attention pooling.

use attention::{
    AttentionPooling, AttentionPoolingConfig, DoublyStochasticPenalty, PenaltyReduction, PenaltyTarget,
    SpatialAttention, SpatialAttentionConfig,
};
use ndarray::{Array2, Array4, Array5};

use super::{generator, message, refuse, zeros};

fn spatial_config() -> SpatialAttentionConfig {
    SpatialAttentionConfig::new(2, 3, 4)
}

fn spatial() -> SpatialAttention<f32> {
    SpatialAttention::new(spatial_config(), &mut generator()).unwrap()
}

#[test]
fn spatial_attention_and_pooling() {
    let refused = |change: &dyn Fn(&mut SpatialAttentionConfig)| {
        let mut config = spatial_config();
        change(&mut config);
        message(SpatialAttention::<f32>::zeros(config))
    };
    let forward = |shape: [usize; 5], lengths: Option<&[usize]>| {
        let regions = Array5::zeros(shape);
        message(spatial().forward(regions.view(), None, lengths))
    };
    let backward = |output: [usize; 3], weights: [usize; 4]| {
        let (_, trace) = spatial().forward_training(Array5::zeros((2, 5, 2, 2, 3)).view(), None, None).unwrap();
        let (output, weights) = (zeros(output[0], output[1], output[2]), Array4::zeros(weights));
        message(spatial().backward(&trace, output.view(), Some(weights.view()), None))
    };
    let mut changed = spatial();
    changed.initial_hidden.bias = None;
    let regions = Array5::zeros((1, 2, 2, 2, 3));
    let mut stream = spatial().stream(1, None).unwrap();
    let penalty = |factor: f64, shape: [usize; 4], lengths: Option<&[usize]>| {
        let penalty = DoublyStochasticPenalty { factor, target: PenaltyTarget::One, reduction: PenaltyReduction::Sum };
        penalty.forward(Array4::<f32>::zeros(shape).view(), lengths).unwrap_err().to_string()
    };
    let pooling_config = AttentionPoolingConfig { features: 3, attention_size: Some(4) };
    let pooling = AttentionPooling::<f32>::new(pooling_config, &mut generator()).unwrap();
    let mut linear = pooling.clone();
    linear.hidden = None;
    let (_, trace) = pooling.forward_training(zeros(2, 5, 3).view(), None).unwrap();
    refuse(vec![
        (refused(&|c| c.height = 0), "SpatialAttentionConfig: height: expected at least 1 entry, found 0"),
        (refused(&|c| c.width = 0), "SpatialAttentionConfig: width: expected at least 1 entry, found 0"),
        (refused(&|c| c.features = 0), "SpatialAttentionConfig: features: expected at least 1 entry, found 0"),
        (refused(&|c| c.hidden_size = 0), "SpatialAttentionConfig: hidden_size: expected at least 1 entry, found 0"),
        (forward([0, 5, 2, 2, 3], None), "SpatialAttention: regions batch: expected at least 1 entry, found 0"),
        (forward([1, 0, 2, 2, 3], None), "SpatialAttention: regions time: expected at least 1 entry, found 0"),
        (forward([1, 5, 3, 2, 3], None), "SpatialAttention: regions height: expected size 2, found 3"),
        (forward([1, 5, 2, 1, 3], None), "SpatialAttention: regions width: expected size 2, found 1"),
        (forward([1, 5, 2, 2, 4], None), "SpatialAttention: region features: expected size 3, found 4"),
        (
            forward([1, 5, 2, 2, 3], Some(&[6])),
            "SpatialAttention: length of sequence 0: expected 1 to 5 time steps, found 6",
        ),
        (
            backward([1, 5, 4], [2, 5, 2, 2]),
            "SpatialAttention::backward: output gradient batch: expected size 2, found 1",
        ),
        (
            backward([2, 5, 4], [2, 5, 2, 3]),
            "SpatialAttention::backward: weight gradient width: expected size 2, found 3",
        ),
        (
            message(changed.forward(regions.view(), None, None)),
            "SpatialAttention: initial_hidden bias: the configuration asks for this array",
        ),
        (
            message(stream.step(Array4::zeros((1, 2, 2, 4)).view()).map(drop)),
            "SpatialStream: frame features: expected size 3, found 4",
        ),
        (message(stream.reset_sequence(1)), "SpatialStream: sequence of item 0: expected less than 1, found 1"),
        (
            penalty(-1.0, [1, 2, 2, 2], None),
            "DoublyStochasticPenalty: option `factor` must be finite and not negative, found -1",
        ),
        (penalty(1.0, [1, 0, 2, 2], None), "DoublyStochasticPenalty: weights time: expected at least 1 entry, found 0"),
        (
            penalty(1.0, [1, 2, 2, 2], Some(&[3])),
            "DoublyStochasticPenalty: length of sequence 0: expected 1 to 2 time steps, found 3",
        ),
        (
            message(AttentionPooling::<f32>::zeros(AttentionPoolingConfig { features: 3, attention_size: Some(0) })),
            "AttentionPoolingConfig: attention_size: expected at least 1 entry, found 0",
        ),
        (
            message(pooling.forward(zeros(2, 5, 4).view(), None)),
            "AttentionPooling: output features: expected size 3, found 4",
        ),
        (
            message(pooling.forward(zeros(2, 5, 3).view(), Some(&[5, 0]))),
            "AttentionPooling: length of sequence 1: expected 1 to 5 time steps, found 0",
        ),
        (
            message(linear.forward(zeros(2, 5, 3).view(), None)),
            "AttentionPooling: hidden: the configuration asks for this array",
        ),
        (
            message(pooling.backward(&trace, Array2::zeros((2, 4)).view(), None)),
            "AttentionPooling::backward: context gradient features: expected size 3, found 4",
        ),
    ]);
}
