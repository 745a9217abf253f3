//! Every misuse has its error.

use attention::{
    Attention, AttentionConfig, AttentionError, AttentionMask, AttentionPooling, AttentionPoolingConfig, BeamConfig,
    Bridge, CellState, DoublyStochasticPenalty, MultiHeadAttention, MultiHeadAttentionConfig, PenaltyReduction,
    PenaltyTarget, Score, Seq2Seq, Seq2SeqConfig, SpatialAttention, SpatialAttentionConfig, Targets, TemporalAttention,
    TemporalAttentionConfig,
};
use ndarray::{Array1, Array2, Array3, Array4, Array5, array};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;

fn generator() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn message<V>(result: Result<V, AttentionError>) -> String {
    result.err().expect("an error").to_string()
}

fn zeros(batch: usize, time: usize, features: usize) -> Array3<f32> {
    Array3::zeros((batch, time, features))
}

fn config(change: impl Fn(&mut AttentionConfig)) -> String {
    let mut config = AttentionConfig { attention_size: 5, ..AttentionConfig::new(Score::Additive, 3, 4) };
    change(&mut config);
    message(Attention::<f32>::new(config, &mut generator()))
}

/// A general score of queries of 3 and keys of 4 features, on a batch of 2 with 2 queries and 5 keys.
fn layer() -> Attention<f32> {
    Attention::new(AttentionConfig::new(Score::General, 3, 4), &mut generator()).unwrap()
}

fn attend(q: [usize; 3], k: [usize; 3], v: [usize; 3], mask: &AttentionMask<'_>) -> String {
    let [q, k, v] = [q, k, v].map(|[batch, count, features]| zeros(batch, count, features));
    let error = message(layer().forward(q.view(), k.view(), v.view(), mask));
    let training = message(layer().forward_training(q.view(), k.view(), v.view(), mask));
    assert_eq!(error, training, "training refuses as inference does");
    error
}

fn attend_backward(context: [usize; 3], weights: Option<[usize; 3]>) -> String {
    let (q, k) = (zeros(2, 2, 3), zeros(2, 5, 4));
    let (_, trace) = layer().forward_training(q.view(), k.view(), k.view(), &AttentionMask::default()).unwrap();
    let weights = weights.map(|[batch, queries, keys]| zeros(batch, queries, keys));
    let context = zeros(context[0], context[1], context[2]);
    message(layer().backward(&trace, context.view(), weights.as_ref().map(|weights| weights.view())))
}

fn temporal_config() -> TemporalAttentionConfig {
    TemporalAttentionConfig { window: Some(3), ..TemporalAttentionConfig::new(3, 4, 5) }
}

fn temporal() -> TemporalAttention<f32> {
    TemporalAttention::new(temporal_config(), &mut generator()).unwrap()
}

fn spatial_config() -> SpatialAttentionConfig {
    SpatialAttentionConfig::new(2, 3, 4)
}

fn spatial() -> SpatialAttention<f32> {
    SpatialAttention::new(spatial_config(), &mut generator()).unwrap()
}

fn seq2seq_config() -> Seq2SeqConfig {
    Seq2SeqConfig {
        source_features: 3,
        encoder_size: 4,
        vocabulary: 6,
        embedding_size: 2,
        hidden_size: 5,
        ..Seq2SeqConfig::default()
    }
}

fn seq2seq() -> Seq2Seq<f32> {
    Seq2Seq::new(seq2seq_config(), &mut generator()).unwrap()
}

fn refuse(table: Vec<(String, &str)>) {
    for (found, expected) in table {
        assert_eq!(found, expected);
    }
}

#[test]
fn scores() {
    let mask = AttentionMask::default();
    let kept = array![[true, false, true]];
    let wrong_kept = AttentionMask { kept: Some(kept.view().into_dyn()), ..AttentionMask::default() };
    let of_keys = |lengths| AttentionMask { key_lengths: Some(lengths), ..AttentionMask::default() };
    let of_queries = |lengths| AttentionMask { query_lengths: Some(lengths), ..AttentionMask::default() };
    let changed = |change: &dyn Fn(&mut Attention<f32>)| {
        let mut layer = layer();
        change(&mut layer);
        let (q, k) = (zeros(1, 1, 3), zeros(1, 2, 4));
        message(layer.forward(q.view(), k.view(), k.view(), &AttentionMask::default()))
    };
    let location = AttentionConfig { locations: 2, ..AttentionConfig::new(Score::Location, 3, 4) };
    let location = Attention::<f32>::new(location, &mut generator()).unwrap();
    let (q, k) = (zeros(2, 2, 3), zeros(2, 5, 4));
    let projected = layer().project_keys(k.view()).unwrap();
    let (_, trace) = layer().forward_training(q.view(), k.view(), k.view(), &mask).unwrap();
    let other = Attention::<f32>::new(AttentionConfig::new(Score::General, 3, 2), &mut generator()).unwrap();
    refuse(vec![
        (config(|c| c.query_size = 0), "AttentionConfig: query_size: expected at least 1 entry, found 0"),
        (config(|c| c.key_size = 0), "AttentionConfig: key_size: expected at least 1 entry, found 0"),
        (
            config(|c| (c.score, c.attention_size) = (Score::Dot, 0)),
            "AttentionConfig: key_size: expected size 3, found 4",
        ),
        (
            config(|c| c.attention_size = 0),
            "AttentionConfig: option `attention_size` must be at least 1 with this score, found 0",
        ),
        (
            config(|c| c.score = Score::General),
            "AttentionConfig: option `attention_size` must be 0 with a score that does not have it, found 5",
        ),
        (
            config(|c| c.locations = 7),
            "AttentionConfig: option `locations` must be 0 with a score that does not have it, found 7",
        ),
        (
            config(|c| (c.score, c.attention_size) = (Score::Location, 0)),
            "AttentionConfig: option `locations` must be at least 1 with this score, found 0",
        ),
        (
            config(|c| (c.score, c.attention_size, c.bias) = (Score::General, 0, true)),
            "AttentionConfig: option `bias` must be false with a score that has none, found true",
        ),
        (config(|c| c.temperature = 0.0), "AttentionConfig: option `temperature` must be positive and finite, found 0"),
        (
            config(|c| c.temperature = f64::NAN),
            "AttentionConfig: option `temperature` must be positive and finite, found NaN",
        ),
        (attend([0, 2, 3], [0, 5, 4], [0, 5, 4], &mask), "Attention: keys batch: expected at least 1 entry, found 0"),
        (attend([2, 2, 3], [2, 0, 4], [2, 0, 4], &mask), "Attention: keys: expected at least 1 entry, found 0"),
        (attend([2, 0, 3], [2, 5, 4], [2, 5, 4], &mask), "Attention: queries: expected at least 1 entry, found 0"),
        (attend([1, 2, 3], [2, 5, 4], [2, 5, 4], &mask), "Attention: queries batch: expected size 2, found 1"),
        (attend([2, 2, 4], [2, 5, 4], [2, 5, 4], &mask), "Attention: query features: expected size 3, found 4"),
        (attend([2, 2, 3], [2, 5, 3], [2, 5, 4], &mask), "Attention: key features: expected size 4, found 3"),
        (attend([2, 2, 3], [2, 5, 4], [1, 5, 4], &mask), "Attention: values batch: expected size 2, found 1"),
        (attend([2, 2, 3], [2, 5, 4], [2, 4, 4], &mask), "Attention: values: expected size 5, found 4"),
        (
            attend([2, 2, 3], [2, 5, 4], [2, 5, 0], &mask),
            "Attention: value features: expected at least 1 entry, found 0",
        ),
        (
            attend([2, 2, 3], [2, 5, 4], [2, 5, 4], &of_keys(&[5, 6])),
            "Attention: length of sequence 1: expected 1 to 5 time steps, found 6",
        ),
        (
            attend([2, 2, 3], [2, 5, 4], [2, 5, 4], &of_queries(&[0, 2])),
            "Attention: length of sequence 0: expected 1 to 2 time steps, found 0",
        ),
        (attend([2, 2, 3], [2, 5, 4], [2, 5, 4], &of_keys(&[5])), "Attention: lengths: expected size 2, found 1"),
        (
            attend([2, 2, 3], [2, 5, 4], [2, 5, 4], &wrong_kept),
            "Attention: option `kept` must be of a shape that can be broadcast to the weights, found shape [1, 3] for weights \
             of shape [2, 2, 5]",
        ),
        (attend_backward([2, 3, 4], None), "Attention::backward: context gradient queries: expected size 2, found 3"),
        (
            attend_backward([2, 2, 4], Some([2, 2, 4])),
            "Attention::backward: weight gradient keys: expected size 5, found 4",
        ),
        (
            message(location.forward(q.view(), k.view(), k.view(), &mask)),
            "Attention: option `keys` must be at most as many as locations, found 5 for 2 locations",
        ),
        (
            message(location.forward_projected(q.view(), &projected, k.view(), &mask)),
            "Attention: option `keys` must be projected by the same score function, found General for Location",
        ),
        (
            message(other.backward(&trace, zeros(2, 2, 4).view(), None)),
            "Attention::backward: trace key features: expected size 2, found 4",
        ),
        (changed(&|layer| layer.weight_key = None), "Attention: weight_key: the configuration asks for this array"),
        (
            changed(&|layer| layer.bias = Some(Array1::zeros(3))),
            "Attention: bias: the configuration asks for no such array",
        ),
        (
            changed(&|layer| layer.weight_key = Some(Array2::zeros((3, 3)))),
            "Attention: weight_key columns: expected size 4, found 3",
        ),
    ]);
}

#[test]
fn temporal_attention() {
    let refused = |change: &dyn Fn(&mut TemporalAttentionConfig)| {
        let mut config = temporal_config();
        change(&mut config);
        message(TemporalAttention::<f32>::zeros(config))
    };
    let forward = |shape: [usize; 3], initial: Option<&CellState<f32>>, lengths: Option<&[usize]>| {
        message(temporal().forward(zeros(shape[0], shape[1], shape[2]).view(), initial, lengths))
    };
    let backward = |model: &TemporalAttention<f32>, output: [usize; 3], weights: [usize; 3], batch: usize| {
        let (_, trace) = temporal().forward_training(zeros(2, 5, 3).view(), None, None).unwrap();
        let output = zeros(output[0], output[1], output[2]);
        let weights = zeros(weights[0], weights[1], weights[2]);
        let last = CellState::zeros(batch, 4);
        message(model.backward(&trace, output.view(), Some(weights.view()), Some(&last)))
    };
    let global = TemporalAttentionConfig { window: None, ..temporal_config() };
    let global = TemporalAttention::<f32>::zeros(global).unwrap();
    let mut wrong = temporal();
    wrong.attention = Attention::zeros(AttentionConfig::new(Score::General, 4, 3)).unwrap();
    let mut narrow = temporal();
    narrow.lstm.directions[0].weight_ih = Array2::zeros((16, 2));
    let mut peepholes = temporal();
    peepholes.lstm.directions[0].peepholes = Some(Array2::zeros((3, 4)));
    let frames = zeros(1, 2, 3);
    let mut stream = temporal().stream(2, None).unwrap();
    refuse(vec![
        (refused(&|c| c.features = 0), "TemporalAttentionConfig: features: expected at least 1 entry, found 0"),
        (refused(&|c| c.hidden_size = 0), "TemporalAttentionConfig: hidden_size: expected at least 1 entry, found 0"),
        (
            refused(&|c| c.window = Some(0)),
            "TemporalAttentionConfig: option `window` must be at least 1 frame, found 0",
        ),
        (
            refused(&|c| (c.window, c.score, c.attention_size) = (None, Score::Location, 0)),
            "TemporalAttentionConfig: option `window` must be given with a score by location, found None",
        ),
        (forward([0, 5, 3], None, None), "TemporalAttention: frames batch: expected at least 1 entry, found 0"),
        (forward([2, 0, 3], None, None), "TemporalAttention: frames time: expected at least 1 entry, found 0"),
        (forward([2, 5, 4], None, None), "TemporalAttention: frame features: expected size 3, found 4"),
        (
            forward([2, 5, 3], None, Some(&[5, 0])),
            "TemporalAttention: length of sequence 1: expected 1 to 5 time steps, found 0",
        ),
        (
            forward([2, 5, 3], Some(&CellState::zeros(1, 4)), None),
            "TemporalAttention: initial hidden batch: expected size 2, found 1",
        ),
        (
            forward([2, 5, 3], Some(&CellState::zeros(2, 3)), None),
            "TemporalAttention: initial hidden units: expected size 4, found 3",
        ),
        (
            backward(&temporal(), [2, 4, 4], [2, 5, 3], 2),
            "TemporalAttention::backward: output gradient time: expected size 5, found 4",
        ),
        (
            backward(&temporal(), [2, 5, 4], [2, 5, 5], 2),
            "TemporalAttention::backward: weight gradient columns: expected size 3, found 5",
        ),
        (
            backward(&temporal(), [2, 5, 4], [2, 5, 3], 1),
            "TemporalAttention::backward: final hidden gradient batch: expected size 2, found 1",
        ),
        (
            backward(&global, [2, 5, 4], [2, 5, 3], 2),
            "TemporalAttention::backward: option `trace` must be that of a forward pass with the same configuration, found \
             another configuration",
        ),
        (
            message(wrong.forward(frames.view(), None, None)),
            "TemporalAttention: option `attention` must be of the configuration of the model, found another configuration",
        ),
        (
            message(narrow.forward(frames.view(), None, None)),
            "TemporalAttention: weight_ih input features: expected size 3, found 2",
        ),
        (
            message(peepholes.forward(frames.view(), None, None)),
            "TemporalAttention: peepholes: the configuration asks for no such array",
        ),
        (
            message(global.stream(1, None)),
            "TemporalAttention: a stream needs a window: without one every step attends to the last frame",
        ),
        (message(temporal().stream(0, None)), "TemporalStream: batch: expected at least 1 entry, found 0"),
        (
            message(stream.step(Array2::zeros((1, 3)).view()).map(drop)),
            "TemporalStream: frame batch: expected size 2, found 1",
        ),
        (
            message(stream.step(Array2::zeros((2, 4)).view()).map(drop)),
            "TemporalStream: frame features: expected size 3, found 4",
        ),
        (message(stream.reset_sequence(2)), "TemporalStream: sequence of item 0: expected less than 2, found 2"),
        (
            message(stream.set_state(&CellState::zeros(2, 5))),
            "TemporalStream: initial hidden units: expected size 4, found 5",
        ),
    ]);
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

#[test]
fn multi_head_and_sequence_to_sequence() {
    let heads = |embed_dim: usize, num_heads: usize| {
        message(MultiHeadAttention::<f32>::zeros(MultiHeadAttentionConfig::new(embed_dim, num_heads)))
    };
    let layer = MultiHeadAttention::<f32>::new(MultiHeadAttentionConfig::new(4, 2), &mut generator()).unwrap();
    let attend = |q: Array3<f32>, k: Array3<f32>, v: Array3<f32>| {
        message(layer.forward(q.view(), k.view(), v.view(), &AttentionMask::default()))
    };
    let mut changed = layer.clone();
    changed.q_proj_weight = Some(Array2::zeros((4, 4)));
    let x = zeros(1, 2, 4);
    let (_, _, trace) = layer.forward_training(x.view(), x.view(), x.view(), &AttentionMask::default()).unwrap();
    let refused = |change: &dyn Fn(&mut Seq2SeqConfig)| {
        let mut config = seq2seq_config();
        change(&mut config);
        message(Seq2Seq::<f32>::zeros(config))
    };
    let tokens = array![[2, 3, 1], [2, 1, 9]];
    let train = |source: Array3<f32>, targets: &Targets<'_>| {
        message(seq2seq().forward_training(source.view(), None, targets, &mut generator()))
    };
    let valid = Targets { lengths: Some(&[3, 2]), ..Targets::new(tokens.view()) };
    let source = zeros(2, 4, 3);
    let (_, decoded) = seq2seq().forward_training(source.view(), None, &valid, &mut generator()).unwrap();
    let beam = |change: &dyn Fn(&mut BeamConfig)| {
        let mut config = BeamConfig::new(5);
        change(&mut config);
        message(seq2seq().beam_search(source.view(), None, &config))
    };
    let mut other_encoder = seq2seq();
    other_encoder.encoder = lstm::Lstm::zeros(lstm::LstmConfig::new(3, 4)).unwrap();
    let encoded = || seq2seq().encode(source.view(), None).unwrap();
    let mut stream = seq2seq().decoder_stream(encoded(), vec![0, 1]).unwrap();
    refuse(vec![
        (heads(0, 1), "MultiHeadAttentionConfig: embed_dim: expected at least 1 entry, found 0"),
        (heads(4, 0), "MultiHeadAttentionConfig: num_heads: expected at least 1 entry, found 0"),
        (
            heads(4, 3),
            "MultiHeadAttentionConfig: option `num_heads` must be a divisor of embed_dim, found 3 for 4 features",
        ),
        (
            attend(zeros(1, 2, 3), zeros(1, 2, 4), zeros(1, 2, 4)),
            "MultiHeadAttention: query features: expected size 4, found 3",
        ),
        (
            attend(zeros(1, 2, 4), zeros(2, 2, 4), zeros(1, 2, 4)),
            "MultiHeadAttention: keys batch: expected size 1, found 2",
        ),
        (
            attend(zeros(1, 2, 4), zeros(1, 3, 4), zeros(1, 2, 4)),
            "MultiHeadAttention: values: expected size 3, found 2",
        ),
        (
            attend(zeros(1, 0, 4), zeros(1, 3, 4), zeros(1, 3, 4)),
            "MultiHeadAttention: queries: expected at least 1 entry, found 0",
        ),
        (
            message(changed.forward(x.view(), x.view(), x.view(), &AttentionMask::default())),
            "MultiHeadAttention: q_proj_weight: the configuration asks for no such array",
        ),
        (
            message(layer.backward(&trace, zeros(1, 2, 5).view(), None)),
            "MultiHeadAttention::backward: output gradient features: expected size 4, found 5",
        ),
        (
            message(layer.backward(&trace, x.view(), Some(Array4::zeros((1, 1, 2, 2)).view()))),
            "MultiHeadAttention::backward: weight gradient heads: expected size 2, found 1",
        ),
        (refused(&|c| c.vocabulary = 0), "Seq2SeqConfig: vocabulary: expected at least 1 entry, found 0"),
        (refused(&|c| c.end_token = 6), "Seq2SeqConfig: end_token of item 0: expected less than 6, found 6"),
        (
            refused(&|c| c.start_token = 1),
            "Seq2SeqConfig: option `start_token` must be another than end_token, found 1",
        ),
        (
            refused(&|c| c.bridge = Bridge::Copy),
            "Seq2SeqConfig: option `hidden_size` must be that of the encoder's state with a copied state, found 5",
        ),
        (
            refused(&|c| c.score = Score::Location),
            "Seq2SeqConfig: option `score` must be one that sees the keys, found Location",
        ),
        (
            train(source.clone(), &Targets::new(tokens.view())),
            "Seq2Seq: target token of item 1: expected less than 6, found 9",
        ),
        (train(zeros(3, 4, 3), &valid), "Seq2Seq: target batch: expected size 3, found 2"),
        (train(zeros(2, 4, 2), &valid), "Lstm: input features: expected size 3, found 2"),
        (
            train(source.clone(), &Targets { lengths: Some(&[3, 4]), ..valid }),
            "Seq2Seq: length of sequence 1: expected 1 to 3 time steps, found 4",
        ),
        (
            train(source.clone(), &Targets { sampling: 1.5, ..valid }),
            "Seq2Seq: option `sampling` must be a probability, found 1.5",
        ),
        (
            message(seq2seq().backward(&decoded, zeros(2, 3, 5).view(), None)),
            "Seq2Seq::backward: logit gradient tokens: expected size 6, found 5",
        ),
        (beam(&|config| config.width = 0), "BeamConfig: width: expected at least 1 entry, found 0"),
        (
            beam(&|config| config.width = usize::MAX),
            "BeamConfig: option `width` must be at most 4096, found 18446744073709551615",
        ),
        (beam(&|config| config.max_length = 0), "BeamConfig: max_length: expected at least 1 entry, found 0"),
        (
            beam(&|config| config.length_normalisation = f64::NAN),
            "BeamConfig: option `length_normalisation` must be finite and not negative, found NaN",
        ),
        (
            message(other_encoder.encode(source.view(), None)),
            "Seq2Seq: option `encoder` must be of the configuration of the model, found another configuration",
        ),
        (
            message(seq2seq().decoder_stream(encoded(), vec![])),
            "DecoderStream: rows: expected at least 1 entry, found 0",
        ),
        (
            message(seq2seq().decoder_stream(encoded(), vec![0, 2])),
            "DecoderStream: source of item 1: expected less than 2, found 2",
        ),
        (message(stream.step(&[0]).map(drop)), "DecoderStream: tokens: expected size 2, found 1"),
        (message(stream.step(&[0, 6]).map(drop)), "DecoderStream: token of item 1: expected less than 6, found 6"),
    ]);
}
