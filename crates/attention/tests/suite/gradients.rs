//! All gradients against central differences in double precision.

use attention::{
    Attention, AttentionConfig, AttentionMask, AttentionPooling, AttentionPoolingConfig, Bridge, CellState,
    DoublyStochasticPenalty, Mechanism, MultiHeadAttention, MultiHeadAttentionConfig, PenaltyReduction, PenaltyTarget,
    Score, Seq2Seq, Seq2SeqConfig, SpatialAttention, SpatialAttentionConfig, Targets, TemporalAttention,
    TemporalAttentionConfig,
};
use ndarray::{Array2, Array3, Array4, Array5, Dimension};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{assert_all_close, check_parameter_gradients, numeric_gradient, run_cases, seeded_array};

const SCORES: [Score; 6] =
    [Score::Dot, Score::ScaledDot, Score::General, Score::Additive, Score::Location, Score::Multiplicative];

fn generator() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn with_hidden(score: Score, size: usize) -> usize {
    if matches!(score, Score::Additive | Score::Multiplicative) { size } else { 0 }
}

fn with_bias(score: Score) -> bool {
    matches!(score, Score::Additive | Score::Multiplicative | Score::Location)
}

fn close<D: Dimension>(what: &str, found: &ndarray::Array<f64, D>, expected: &ndarray::Array<f64, D>) {
    println!("gradient of {what}");
    assert_all_close(found, expected, 1e-6, 1e-8);
}

#[derive(Debug)]
struct LayerCase {
    score: Score,
    causal: bool,
    key_lengths: Option<[usize; 2]>,
    query_lengths: Option<[usize; 2]>,
    kept: bool,
    temperature: f64,
}

fn check_layer(case: &LayerCase) {
    let (queries, keys, values) = (3, 5, 4);
    let key_size = if matches!(case.score, Score::Dot | Score::ScaledDot) { 3 } else { 2 };
    let config = AttentionConfig {
        attention_size: with_hidden(case.score, 4),
        locations: if case.score == Score::Location { 6 } else { 0 },
        temperature: case.temperature,
        bias: with_bias(case.score),
        ..AttentionConfig::new(case.score, 3, key_size)
    };
    let attention = Attention::<f64>::new(config, &mut generator()).unwrap();
    let q: Array3<f64> = seeded_array((2, queries, 3), 2);
    let k: Array3<f64> = seeded_array((2, keys, key_size), 3);
    let v: Array3<f64> = seeded_array((2, keys, values), 4);
    // A row without any key that is kept.
    let kept = Array3::from_shape_fn((2, queries, keys), |(b, i, j)| (b, i) != (0, 1) && (i + j) % 3 != 1);
    let mask = AttentionMask {
        key_lengths: case.key_lengths.as_ref().map(|lengths| &lengths[..]),
        query_lengths: case.query_lengths.as_ref().map(|lengths| &lengths[..]),
        causal: case.causal,
        kept: case.kept.then(|| kept.view().into_dyn()),
    };
    let grad_context: Array3<f64> = seeded_array((2, queries, values), 5);
    let grad_weights: Array3<f64> = seeded_array((2, queries, keys), 6);
    let loss = |attention: &Attention<f64>, q: &Array3<f64>, k: &Array3<f64>, v: &Array3<f64>| {
        let output = attention.forward(q.view(), k.view(), v.view(), &mask).unwrap();
        (output.context * &grad_context).sum() + (output.weights * &grad_weights).sum()
    };
    let (_, trace) = attention.forward_training(q.view(), k.view(), v.view(), &mask).unwrap();
    let found = attention.backward(&trace, grad_context.view(), Some(grad_weights.view())).unwrap();
    close("queries", &found.queries, &numeric_gradient(&q, |q| loss(&attention, q, &k, &v)));
    close("keys", &found.keys, &numeric_gradient(&k, |k| loss(&attention, &q, k, &v)));
    close("values", &found.values, &numeric_gradient(&v, |v| loss(&attention, &q, &k, v)));
    check_parameter_gradients(&attention, &found.parameters, |attention| loss(attention, &q, &k, &v));
}

#[test]
fn scores() {
    let mut cases = Vec::new();
    for score in SCORES {
        for (causal, key_lengths, query_lengths, kept, temperature) in [
            (false, None, None, false, 1.0),
            (true, Some([5, 2]), Some([3, 2]), false, 0.7),
            (false, Some([1, 4]), None, true, 1.8),
        ] {
            cases.push(LayerCase { score, causal, key_lengths, query_lengths, kept, temperature });
        }
    }
    run_cases(cases, check_layer);
}

fn states(batch: usize, hidden: usize, seed: u64) -> CellState<f64> {
    CellState { hidden: seeded_array((batch, hidden), seed), cell: seeded_array((batch, hidden), seed + 1) }
}

fn of_state(state: &CellState<f64>, grad: &CellState<f64>) -> f64 {
    (&state.hidden * &grad.hidden).sum() + (&state.cell * &grad.cell).sum()
}

fn check_temporal(case: &(TemporalAttentionConfig, Option<Vec<usize>>)) {
    let (config, lengths) = (&case.0, case.1.as_deref());
    let (batch, time, hidden) = (3, 5, config.hidden_size);
    let model = TemporalAttention::<f64>::new(config.clone(), &mut generator()).unwrap();
    let clips: Array3<f64> = seeded_array((batch, time, config.features), 2);
    let initial = states(batch, hidden, 3);
    let grad_output: Array3<f64> = seeded_array((batch, time, hidden), 5);
    let grad_weights: Array3<f64> = seeded_array((batch, time, config.window.unwrap_or(time)), 6);
    let grad_final = states(batch, hidden, 7);
    let loss = |model: &TemporalAttention<f64>, clips: &Array3<f64>, initial: &CellState<f64>| {
        let found = model.forward(clips.view(), Some(initial), lengths).unwrap();
        (found.output * &grad_output).sum()
            + (found.weights * &grad_weights).sum()
            + of_state(&found.state, &grad_final)
    };
    let (_, trace) = model.forward_training(clips.view(), Some(&initial), lengths).unwrap();
    let found = model.backward(&trace, grad_output.view(), Some(grad_weights.view()), Some(&grad_final)).unwrap();
    close("frames", &found.input, &numeric_gradient(&clips, |clips| loss(&model, clips, &initial)));
    let of_hidden = numeric_gradient(&initial.hidden, |hidden| {
        loss(&model, &clips, &CellState { hidden: hidden.clone(), cell: initial.cell.clone() })
    });
    close("initial hidden values", &found.initial.hidden, &of_hidden);
    let of_cell = numeric_gradient(&initial.cell, |cell| {
        loss(&model, &clips, &CellState { hidden: initial.hidden.clone(), cell: cell.clone() })
    });
    close("initial cell values", &found.initial.cell, &of_cell);
    check_parameter_gradients(&model, &found.parameters, |model| loss(model, &clips, &initial));
}

#[test]
fn temporal() {
    let mut cases = Vec::new();
    for score in SCORES {
        for (window, frame_input, lengths) in
            [(Some(2), false, None), (Some(3), true, Some(vec![2, 5, 4])), (None, true, Some(vec![5, 1, 3]))]
        {
            if score == Score::Location && window.is_none() {
                continue;
            }
            let config = TemporalAttentionConfig {
                features: if matches!(score, Score::Dot | Score::ScaledDot) { 4 } else { 3 },
                hidden_size: 4,
                window,
                score,
                attention_size: with_hidden(score, 3),
                attention_bias: with_bias(score),
                temperature: 0.8,
                frame_input,
                ..TemporalAttentionConfig::default()
            };
            cases.push((config, lengths));
        }
    }
    run_cases(cases, check_temporal);
}

fn check_spatial(case: &(SpatialAttentionConfig, Option<Vec<usize>>, bool)) {
    let (config, lengths, given_state) = (&case.0, case.1.as_deref(), case.2);
    let (batch, time, hidden) = (2, 3, config.hidden_size);
    let model = SpatialAttention::<f64>::new(config.clone(), &mut generator()).unwrap();
    let clips: Array5<f64> = seeded_array((batch, time, config.height, config.width, config.features), 2);
    let initial = states(batch, hidden, 3);
    let grad_output: Array3<f64> = seeded_array((batch, time, hidden), 5);
    let grad_final = states(batch, hidden, 7);
    let penalty =
        DoublyStochasticPenalty { factor: 1.5, target: PenaltyTarget::One, reduction: PenaltyReduction::RegionMean };
    let loss = |model: &SpatialAttention<f64>, clips: &Array5<f64>, initial: &CellState<f64>| {
        let found = model.forward(clips.view(), given_state.then_some(initial), lengths).unwrap();
        (found.output * &grad_output).sum()
            + penalty.forward(found.weights.view(), lengths).unwrap().0
            + of_state(&found.state, &grad_final)
    };
    let (output, trace) = model.forward_training(clips.view(), given_state.then_some(&initial), lengths).unwrap();
    let (_, grad_weights) = penalty.forward(output.weights.view(), lengths).unwrap();
    let found = model.backward(&trace, grad_output.view(), Some(grad_weights.view()), Some(&grad_final)).unwrap();
    close("regions", &found.input, &numeric_gradient(&clips, |clips| loss(&model, clips, &initial)));
    if given_state {
        let of_hidden = numeric_gradient(&initial.hidden, |hidden| {
            loss(&model, &clips, &CellState { hidden: hidden.clone(), cell: initial.cell.clone() })
        });
        close("initial hidden values", &found.initial.hidden, &of_hidden);
        let of_cell = numeric_gradient(&initial.cell, |cell| {
            loss(&model, &clips, &CellState { hidden: initial.hidden.clone(), cell: cell.clone() })
        });
        close("initial cell values", &found.initial.cell, &of_cell);
    }
    check_parameter_gradients(&model, &found.parameters, |model| loss(model, &clips, &initial));
}

#[test]
fn spatial_with_its_penalty() {
    let mut cases = Vec::new();
    for score in SCORES {
        for (lengths, given_state) in [(None, false), (Some(vec![3, 2]), false), (Some(vec![1, 3]), true)] {
            let config = SpatialAttentionConfig {
                height: 2,
                width: 3,
                features: if matches!(score, Score::Dot | Score::ScaledDot) { 4 } else { 3 },
                hidden_size: 4,
                score,
                attention_size: with_hidden(score, 5),
                attention_bias: with_bias(score),
                temperature: 1.3,
                ..SpatialAttentionConfig::default()
            };
            cases.push((config, lengths, given_state));
        }
    }
    run_cases(cases, check_spatial);
}

#[test]
fn penalty() {
    let weights: Array4<f64> = seeded_array((2, 4, 2, 3), 1);
    for target in [PenaltyTarget::One, PenaltyTarget::Uniform] {
        for reduction in [PenaltyReduction::Sum, PenaltyReduction::RegionMean, PenaltyReduction::Mean] {
            for lengths in [None, Some([4, 2])] {
                let lengths = lengths.as_ref().map(|lengths| &lengths[..]);
                let penalty = DoublyStochasticPenalty { factor: 0.7, target, reduction };
                let (_, found) = penalty.forward(weights.view(), lengths).unwrap();
                let value = |weights: &Array4<f64>| penalty.forward(weights.view(), lengths).unwrap().0;
                close(&format!("{penalty:?}, {lengths:?}"), &found, &numeric_gradient(&weights, value));
            }
        }
    }
}

#[test]
fn pooling() {
    for attention_size in [None, Some(3)] {
        for lengths in [None, Some([4, 1])] {
            let lengths = lengths.as_ref().map(|lengths| &lengths[..]);
            let config = AttentionPoolingConfig { features: 5, attention_size };
            let pooling = AttentionPooling::<f64>::new(config, &mut generator()).unwrap();
            let outputs: Array3<f64> = seeded_array((2, 4, 5), 2);
            let grad_context: Array2<f64> = seeded_array((2, 5), 3);
            let grad_weights: Array2<f64> = seeded_array((2, 4), 4);
            let loss = |pooling: &AttentionPooling<f64>, outputs: &Array3<f64>| {
                let found = pooling.forward(outputs.view(), lengths).unwrap();
                (found.context * &grad_context).sum() + (found.weights * &grad_weights).sum()
            };
            let (_, trace) = pooling.forward_training(outputs.view(), lengths).unwrap();
            let found = pooling.backward(&trace, grad_context.view(), Some(grad_weights.view())).unwrap();
            close("outputs", &found.input, &numeric_gradient(&outputs, |outputs| loss(&pooling, outputs)));
            check_parameter_gradients(&pooling, &found.parameters, |pooling| loss(pooling, &outputs));
        }
    }
}

#[derive(Debug)]
struct HeadsCase {
    config: MultiHeadAttentionConfig,
    causal: bool,
    key_lengths: Option<[usize; 2]>,
    query_lengths: Option<[usize; 2]>,
    kept: bool,
}

fn check_heads(case: &HeadsCase) {
    let (config, queries, keys) = (case.config, 4, 5);
    let layer = MultiHeadAttention::<f64>::new(config, &mut generator()).unwrap();
    let q: Array3<f64> = seeded_array((2, queries, config.embed_dim), 2);
    let k: Array3<f64> = seeded_array((2, keys, config.key_size()), 3);
    let v: Array3<f64> = seeded_array((2, keys, config.value_size()), 4);
    let kept = Array3::from_shape_fn((2, queries, keys), |(b, i, j)| (b, i) != (1, 0) && (i + j) % 3 != 1);
    let mask = AttentionMask {
        key_lengths: case.key_lengths.as_ref().map(|lengths| &lengths[..]),
        query_lengths: case.query_lengths.as_ref().map(|lengths| &lengths[..]),
        causal: case.causal,
        kept: case.kept.then(|| kept.view().into_dyn()),
    };
    let grad_output: Array3<f64> = seeded_array((2, queries, config.embed_dim), 5);
    let grad_weights: Array4<f64> = seeded_array((2, config.num_heads, queries, keys), 6);
    let loss = |layer: &MultiHeadAttention<f64>, q: &Array3<f64>, k: &Array3<f64>, v: &Array3<f64>| {
        let (output, weights) = layer.forward(q.view(), k.view(), v.view(), &mask).unwrap();
        // The gradient of the output beyond the query lengths is not used: it is zero there.
        (output * &grad_output).sum() + (weights * &grad_weights).sum()
    };
    let (_, trace) = layer.forward_training(q.view(), k.view(), v.view(), &mask).unwrap();
    let found = layer.backward(&trace, grad_output.view(), Some(grad_weights.view())).unwrap();
    close("queries", &found.queries, &numeric_gradient(&q, |q| loss(&layer, q, &k, &v)));
    close("keys", &found.keys, &numeric_gradient(&k, |k| loss(&layer, &q, k, &v)));
    close("values", &found.values, &numeric_gradient(&v, |v| loss(&layer, &q, &k, v)));
    check_parameter_gradients(&layer, &found.parameters, |layer| loss(layer, &q, &k, &v));
}

#[test]
fn multi_head() {
    let joint = MultiHeadAttentionConfig::new(6, 3);
    let apart = MultiHeadAttentionConfig { kdim: Some(3), vdim: Some(5), ..MultiHeadAttentionConfig::new(4, 2) };
    let no_bias = MultiHeadAttentionConfig { bias: false, ..MultiHeadAttentionConfig::new(4, 1) };
    let mut cases = Vec::new();
    for config in [joint, apart, no_bias] {
        for (causal, key_lengths, query_lengths, kept) in
            [(false, None, None, false), (true, Some([5, 2]), Some([4, 3]), false), (false, Some([1, 4]), None, true)]
        {
            cases.push(HeadsCase { config, causal, key_lengths, query_lengths, kept });
        }
    }
    run_cases(cases, check_heads);
}

#[derive(Debug)]
struct Seq2SeqCase {
    config: Seq2SeqConfig,
    source_lengths: Option<[usize; 3]>,
    target_lengths: Option<[usize; 3]>,
    sampling: f64,
}

fn check_seq2seq(case: &Seq2SeqCase) {
    let model = Seq2Seq::<f64>::new(case.config.clone(), &mut generator()).unwrap();
    let (batch, source_time, time) = (3, 4, 3);
    let source: Array3<f64> = seeded_array((batch, source_time, case.config.source_features), 2);
    let tokens = Array2::from_shape_fn((batch, time), |(b, t)| (b * 3 + t * 2 + 1) % case.config.vocabulary);
    let targets = Targets {
        lengths: case.target_lengths.as_ref().map(|lengths| &lengths[..]),
        sampling: case.sampling,
        ..Targets::new(tokens.view())
    };
    let lengths = case.source_lengths.as_ref().map(|lengths| &lengths[..]);
    let grad_logits: Array3<f64> = seeded_array((batch, time, case.config.vocabulary), 3);
    let grad_weights: Array3<f64> = seeded_array((batch, time, source_time), 4);
    let loss = |model: &Seq2Seq<f64>, source: &Array3<f64>| {
        // The same generator state every time: the decoder reads its own tokens at the same steps.
        let (found, _) = model.forward_training(source.view(), lengths, &targets, &mut generator()).unwrap();
        (found.logits * &grad_logits).sum() + (found.weights * &grad_weights).sum()
    };
    let (_, trace) = model.forward_training(source.view(), lengths, &targets, &mut generator()).unwrap();
    let found = model.backward(&trace, grad_logits.view(), Some(grad_weights.view())).unwrap();
    close("source", &found.source, &numeric_gradient(&source, |source| loss(&model, source)));
    check_parameter_gradients(&model, &found.parameters, |model| loss(model, &source));
}

#[test]
fn sequence_to_sequence() {
    let mut cases = Vec::new();
    for mechanism in
        [Mechanism::Luong { input_feeding: false }, Mechanism::Luong { input_feeding: true }, Mechanism::Bahdanau]
    {
        for (score, bridge, bidirectional, encoder_layers) in [
            (Score::Dot, Bridge::Copy, true, 1),
            (Score::General, Bridge::Tanh, true, 2),
            (Score::Additive, Bridge::Tanh, false, 1),
            (Score::Multiplicative, Bridge::Tanh, true, 1),
        ] {
            let config = Seq2SeqConfig {
                source_features: 3,
                encoder_size: 2,
                encoder_layers,
                bidirectional,
                vocabulary: 5,
                embedding_size: 3,
                hidden_size: 4,
                mechanism,
                score,
                attention_size: with_hidden(score, 3),
                attention_bias: with_bias(score),
                bridge,
                ..Seq2SeqConfig::default()
            };
            let ragged = Some([4, 2, 3]);
            cases.push(Seq2SeqCase {
                config: config.clone(),
                source_lengths: ragged,
                target_lengths: Some([1, 3, 2]),
                sampling: 0.0,
            });
            cases.push(Seq2SeqCase { config, source_lengths: None, target_lengths: None, sampling: 0.5 });
        }
    }
    run_cases(cases, check_seq2seq);
}
