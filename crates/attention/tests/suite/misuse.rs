//! Every misuse has its error.

use attention::{
    Attention, AttentionConfig, AttentionError, AttentionMask, CellState, Score, TemporalAttention,
    TemporalAttentionConfig,
};
use ndarray::{Array1, Array2, Array3, array};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;

mod decoders;
mod spatial;

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
