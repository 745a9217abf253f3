//! Equalities that hold bit for bit.

use attention::{
    Attention, AttentionConfig, AttentionMask, AttentionPooling, AttentionPoolingConfig, CellState, Mechanism,
    MultiHeadAttention, MultiHeadAttentionConfig, Score, Seq2Seq, Seq2SeqConfig, SpatialAttention,
    SpatialAttentionConfig, Targets, TemporalAttention, TemporalAttentionConfig, TransformerConfig, TransformerLayer,
};
use ndarray::{Array, Array2, Array3, Array4, Array5, ArrayD, Axis, Dimension, Slice, s};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::Parameters;
use tensor_ops::testing::{assert_bits_equal, assert_independent_of_threads, run_cases, seeded_array};

/// What a model yields and its gradients, of `[batch, time, …]` inputs and outputs.
struct Results {
    /// With the axes batch and time first; without those of other lengths.
    by_step: Vec<ArrayD<f32>>,
    /// With the axis batch first.
    by_sequence: Vec<ArrayD<f32>>,
    parameters: Vec<ArrayD<f32>>,
}

/// A model under test: it runs on clips of the axes batch, time and others, and takes a gradient of its output back.
trait Model: std::fmt::Debug + Sync + std::panic::RefUnwindSafe {
    fn input_shape(&self) -> Vec<usize>;
    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results;
}

fn generator() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn named(parameters: &impl Parameters<f32>) -> Vec<ArrayD<f32>> {
    parameters.named().into_iter().map(|(_, values)| values.to_owned()).collect()
}

/// A gradient whose values depend on sequence and step, not on the shape of the batch: row 0 is that of `first`.
fn gradient<D: Dimension + ndarray::RemoveAxis>(shape: D, first: u64) -> Array<f32, D> {
    let mut gradient = Array::zeros(shape);
    for (sequence, mut values) in gradient.outer_iter_mut().enumerate() {
        let full: Array2<f32> = seeded_array((64, 64), 100 + first + sequence as u64);
        for (index, value) in values.indexed_iter_mut() {
            let index = ndarray::IntoDimension::into_dimension(index);
            let index = index.slice();
            *value = full[[index[0], index[1..].iter().fold(0, |sum, i| (sum * 7 + i) % 64)]];
        }
    }
    gradient
}

#[derive(Debug)]
struct Temporal(TemporalAttentionConfig);

impl Model for Temporal {
    fn input_shape(&self) -> Vec<usize> {
        vec![self.0.features]
    }

    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results {
        let model = TemporalAttention::<f32>::new(self.0.clone(), &mut generator()).unwrap();
        let clips = clips.view().into_dimensionality::<ndarray::Ix3>().unwrap();
        let (output, trace) = model.forward_training(clips, None, lengths).unwrap();
        assert_eq!(output, model.forward(clips, None, lengths).unwrap());
        let grad = gradient(output.output.raw_dim(), seed);
        let found = model.backward(&trace, grad.view(), None, None).unwrap();
        let mut by_step = vec![output.output.into_dyn(), found.input.into_dyn()];
        // Without a window the weights have as many columns as there are frames.
        if self.0.window.is_some() {
            by_step.push(output.weights.into_dyn());
        }
        let states = [output.state.hidden, output.state.cell, found.initial.hidden, found.initial.cell];
        let by_sequence = states.into_iter().map(Array::into_dyn).collect();
        Results { by_step, by_sequence, parameters: named(&found.parameters) }
    }
}

#[derive(Debug)]
struct Spatial(SpatialAttentionConfig);

impl Model for Spatial {
    fn input_shape(&self) -> Vec<usize> {
        vec![self.0.height, self.0.width, self.0.features]
    }

    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results {
        let model = SpatialAttention::<f32>::new(self.0.clone(), &mut generator()).unwrap();
        let clips = clips.view().into_dimensionality::<ndarray::Ix5>().unwrap();
        let (output, trace) = model.forward_training(clips, None, lengths).unwrap();
        assert_eq!(output, model.forward(clips, None, lengths).unwrap());
        let grad = gradient(output.output.raw_dim(), seed);
        let grad_weights = gradient(output.weights.raw_dim(), seed + 50);
        let found = model.backward(&trace, grad.view(), Some(grad_weights.view()), None).unwrap();
        let by_step = vec![
            output.output.into_dyn(),
            output.weights.into_dyn(),
            output.contexts.into_dyn(),
            found.input.into_dyn(),
        ];
        let states = [output.state.hidden, output.state.cell, found.initial.hidden, found.initial.cell];
        let by_sequence = states.into_iter().map(Array::into_dyn).collect();
        Results { by_step, by_sequence, parameters: named(&found.parameters) }
    }
}

#[derive(Debug)]
struct Pooling(AttentionPoolingConfig);

impl Model for Pooling {
    fn input_shape(&self) -> Vec<usize> {
        vec![self.0.features]
    }

    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results {
        let model = AttentionPooling::<f32>::new(self.0, &mut generator()).unwrap();
        let clips = clips.view().into_dimensionality::<ndarray::Ix3>().unwrap();
        let (output, trace) = model.forward_training(clips, lengths).unwrap();
        let grad = gradient(ndarray::Ix3(clips.dim().0, 1, self.0.features), seed).remove_axis(Axis(1));
        let found = model.backward(&trace, grad.view(), None).unwrap();
        Results {
            by_step: vec![output.weights.into_dyn(), found.input.into_dyn()],
            by_sequence: vec![output.context.into_dyn()],
            parameters: named(&found.parameters),
        }
    }
}

#[derive(Debug)]
struct SelfAttention(AttentionConfig, bool);

impl Model for SelfAttention {
    fn input_shape(&self) -> Vec<usize> {
        vec![self.0.key_size]
    }

    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results {
        let layer = Attention::<f32>::new(self.0.clone(), &mut generator()).unwrap();
        let clips = clips.view().into_dimensionality::<ndarray::Ix3>().unwrap();
        let mask = AttentionMask { causal: self.1, key_lengths: lengths, query_lengths: lengths, kept: None };
        let (output, trace) = layer.forward_training(clips, clips, clips, &mask).unwrap();
        let keys = layer.project_keys(clips).unwrap();
        let projected = layer.forward_projected(clips, &keys, clips, &mask).unwrap();
        assert_bits_equal(&projected.context, &output.context);
        let grad = gradient(output.context.raw_dim(), seed);
        let found = layer.backward(&trace, grad.view(), None).unwrap();
        let by_step = [output.context, found.queries, found.keys, found.values].map(Array::into_dyn).to_vec();
        Results { by_step, by_sequence: Vec::new(), parameters: named(&found.parameters) }
    }
}

#[derive(Debug)]
struct Heads(MultiHeadAttentionConfig, bool);

impl Model for Heads {
    fn input_shape(&self) -> Vec<usize> {
        vec![self.0.embed_dim]
    }

    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results {
        let layer = MultiHeadAttention::<f32>::new(self.0, &mut generator()).unwrap();
        let clips = clips.view().into_dimensionality::<ndarray::Ix3>().unwrap();
        let mask = AttentionMask { causal: self.1, key_lengths: lengths, query_lengths: lengths, kept: None };
        let (output, trace) = layer.forward_training(clips, clips, clips, &mask).unwrap();
        let (same_output, weights) = layer.forward(clips, clips, clips, &mask).unwrap();
        assert_eq!((&output, trace.weights()), (&same_output, weights.view()));
        let grad = gradient(output.raw_dim(), seed);
        let found = layer.backward(&trace, grad.view(), None).unwrap();
        let [keys, values] = [clips.to_owned(), clips.to_owned()];
        let (_, trace) = layer.forward_training(clips, keys.view(), values.view(), &mask).unwrap();
        assert_eq!(layer.backward(&trace, grad.view(), None).unwrap().parameters, found.parameters, "copies");
        let by_step = [output, found.queries, found.keys, found.values].map(Array::into_dyn).to_vec();
        Results { by_step, by_sequence: Vec::new(), parameters: named(&found.parameters) }
    }
}

#[derive(Debug)]
struct Transformer(TransformerConfig);

impl Model for Transformer {
    fn input_shape(&self) -> Vec<usize> {
        vec![self.0.embed_dim]
    }

    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results {
        let layer = TransformerLayer::<f32>::new(self.0, &mut generator()).unwrap();
        let x = clips.view().into_dimensionality::<ndarray::Ix3>().unwrap();
        let (output, trace) = layer.forward_training(x, lengths, &mut generator()).unwrap();
        let grad = gradient(output.raw_dim(), seed);
        let found = layer.backward(&trace, grad.view()).unwrap();
        let by_step = [output, found.input].map(Array::into_dyn).to_vec();
        Results { by_step, by_sequence: Vec::new(), parameters: named(&found.parameters) }
    }
}

/// The source is padded; all targets have the same length.
#[derive(Debug)]
struct Translation(Seq2SeqConfig);

impl Model for Translation {
    fn input_shape(&self) -> Vec<usize> {
        vec![self.0.source_features]
    }

    fn run(&self, clips: &ArrayD<f32>, seed: u64, lengths: Option<&[usize]>) -> Results {
        let model = Seq2Seq::<f32>::new(self.0.clone(), &mut generator()).unwrap();
        let clips = clips.view().into_dimensionality::<ndarray::Ix3>().unwrap();
        let tokens =
            Array2::from_shape_fn((clips.dim().0, 4), |(b, t)| (b + seed as usize + t * 3) % self.0.vocabulary);
        let targets = Targets::new(tokens.view());
        let (output, trace) = model.forward_training(clips, lengths, &targets, &mut generator()).unwrap();
        let grad = gradient(output.logits.raw_dim(), seed);
        let found = model.backward(&trace, grad.view(), None).unwrap();
        Results {
            by_step: vec![found.source.into_dyn()],
            by_sequence: [output.logits, output.contexts, output.hidden].map(Array::into_dyn).to_vec(),
            parameters: named(&found.parameters),
        }
    }
}

fn models() -> Vec<Box<dyn Model>> {
    let mut models: Vec<Box<dyn Model>> = Vec::new();
    for (score, window, hidden) in [
        (Score::Multiplicative, Some(3), 17),
        (Score::Location, Some(4), 9),
        (Score::Additive, None, 64),
        (Score::ScaledDot, Some(2), 12),
    ] {
        let attention_size = if matches!(score, Score::Additive | Score::Multiplicative) { 33 } else { 0 };
        let config = TemporalAttentionConfig {
            window,
            score,
            frame_input: hidden == 17,
            ..TemporalAttentionConfig::new(12, hidden, attention_size)
        };
        models.push(Box::new(Temporal(config)));
        let config = SpatialAttentionConfig {
            score,
            attention_size,
            ..SpatialAttentionConfig::new(3, if score == Score::ScaledDot { hidden } else { 20 }, hidden)
        };
        models.push(Box::new(Spatial(config)));
    }
    for attention_size in [None, Some(5)] {
        models.push(Box::new(Pooling(AttentionPoolingConfig { features: 21, attention_size })));
    }
    for (score, causal) in [(Score::General, false), (Score::ScaledDot, true), (Score::Additive, true)] {
        let attention_size = if score == Score::Additive { 10 } else { 0 };
        models.push(Box::new(SelfAttention(
            AttentionConfig { attention_size, ..AttentionConfig::new(score, 18, 18) },
            causal,
        )));
    }
    for causal in [false, true] {
        models.push(Box::new(Heads(MultiHeadAttentionConfig::new(36, 3), causal)));
    }
    for norm_first in [false, true] {
        models.push(Box::new(Transformer(TransformerConfig {
            feedforward: 50,
            norm_first,
            causal: norm_first,
            ..TransformerConfig::new(36, 3)
        })));
    }
    for mechanism in [Mechanism::Luong { input_feeding: true }, Mechanism::Bahdanau] {
        models.push(Box::new(Translation(Seq2SeqConfig {
            source_features: 6,
            encoder_size: 9,
            vocabulary: 11,
            embedding_size: 7,
            hidden_size: 13,
            mechanism,
            ..Seq2SeqConfig::default()
        })));
    }
    models
}

fn clips(model: &dyn Model, batch: usize, time: usize, seed: u64) -> ArrayD<f32> {
    let mut shape = vec![batch, time];
    shape.extend(model.input_shape());
    seeded_array(shape, seed)
}

#[test]
fn any_number_of_threads() {
    run_cases(models(), |model| {
        for batch in [1, 9] {
            let clips = clips(&**model, batch, 7, 2);
            let lengths: Vec<usize> = (0..batch).map(|sequence| 1 + sequence * 5 % 7).collect();
            assert_independent_of_threads(|| {
                let found = model.run(&clips, 0, Some(&lengths));
                [found.by_step, found.by_sequence, found.parameters].concat()
            });
        }
    });
}

/// A clip alone, and the same clip between others of other lengths, with NaN where it is padded.
#[test]
fn alone_and_padded_in_a_batch() {
    run_cases(models(), |model| {
        let (batch, time) = (7, 6);
        let lengths: Vec<usize> = (0..batch).map(|sequence| 1 + sequence * 5 % time).collect();
        let mut clips = clips(&**model, batch, time, 2);
        for (mut clip, &length) in clips.outer_iter_mut().zip(&lengths) {
            clip.slice_axis_mut(Axis(0), Slice::from(length..)).fill(f32::NAN);
        }
        let padded = model.run(&clips, 0, Some(&lengths));
        let all = padded.by_step.iter().chain(&padded.by_sequence).chain(&padded.parameters);
        assert!(all.flatten().all(|value| value.is_finite()), "padding influences nothing");
        for (sequence, &length) in lengths.iter().enumerate() {
            let one = Slice::from(sequence..sequence + 1);
            let clip = clips.slice_axis(Axis(0), one).slice_axis(Axis(1), Slice::from(..length)).to_owned();
            let alone = model.run(&clip, sequence as u64, None);
            for (padded, alone) in padded.by_step.iter().zip(&alone.by_step) {
                let (valid, rest) = padded.slice_axis(Axis(0), one).split_at(Axis(1), length);
                assert_bits_equal(&valid, alone);
                assert!(rest.iter().all(|&value| value == 0.0), "zeros beyond the length");
            }
            for (padded, alone) in padded.by_sequence.iter().zip(&alone.by_sequence) {
                assert_bits_equal(&padded.slice_axis(Axis(0), one), alone);
            }
        }
    });
}

#[test]
fn a_temporal_stream_and_whole_clips() {
    for (window, score, batch) in
        [(1, Score::Multiplicative, 1), (3, Score::Additive, 5), (4, Score::Location, 2), (20, Score::General, 3)]
    {
        let attention_size = if matches!(score, Score::Additive | Score::Multiplicative) { 21 } else { 0 };
        let config = TemporalAttentionConfig {
            window: Some(window),
            score,
            frame_input: batch > 1,
            ..TemporalAttentionConfig::new(10, 19, attention_size)
        };
        let model = TemporalAttention::<f32>::new(config, &mut generator()).unwrap();
        let clips: Array3<f32> = seeded_array((batch, 13, 10), 2);
        let initial = CellState { hidden: seeded_array((batch, 19), 3), cell: seeded_array((batch, 19), 4) };
        let whole = model.forward(clips.view(), Some(&initial), None).unwrap();
        let mut stream = model.stream(batch, Some(&initial)).unwrap();
        for time in 0..13 {
            let output = stream.step(clips.index_axis(Axis(1), time)).unwrap();
            assert_bits_equal(&output, &whole.output.index_axis(Axis(1), time));
            assert_bits_equal(&stream.weights(), &whole.weights.index_axis(Axis(1), time));
        }
        assert_eq!(stream.state(), whole.state);
        // Another clip in the place of one sequence, while the others go on.
        let fresh = model.forward(clips.view(), None, None).unwrap();
        stream.reset_sequence(batch - 1).unwrap();
        for time in 0..5 {
            let output = stream.step(clips.index_axis(Axis(1), time)).unwrap();
            let last = s![batch - 1, ..];
            assert_bits_equal(&output.slice(last), &fresh.output.index_axis(Axis(1), time).slice(last));
        }
        stream.reset();
        for time in 0..3 {
            let output = stream.step(clips.index_axis(Axis(1), time)).unwrap();
            assert_bits_equal(&output, &fresh.output.index_axis(Axis(1), time));
        }
    }
}

#[test]
fn a_spatial_stream_and_whole_clips() {
    for (score, batch) in [(Score::Location, 1), (Score::Additive, 3), (Score::Dot, 2)] {
        let attention_size = if score == Score::Additive { 9 } else { 0 };
        let config = SpatialAttentionConfig { score, attention_size, ..SpatialAttentionConfig::new(3, 18, 18) };
        let model = SpatialAttention::<f32>::new(config, &mut generator()).unwrap();
        let clips: Array5<f32> = seeded_array((batch, 6, 3, 3, 18), 2);
        let whole = model.forward(clips.view(), None, None).unwrap();
        let initial = model.initial_state(clips.view(), None).unwrap();
        let mut stream = model.stream(batch, Some(&initial)).unwrap();
        for time in 0..6 {
            let output = stream.step(clips.index_axis(Axis(1), time)).unwrap();
            assert_bits_equal(&output, &whole.output.index_axis(Axis(1), time));
            assert_bits_equal(&stream.weights(), &whole.weights.index_axis(Axis(1), time));
        }
        assert_eq!(stream.state(), whole.state);
        let zeros = model.forward(clips.view(), Some(&CellState::zeros(batch, 18)), None).unwrap();
        stream.reset();
        let output = stream.step(clips.index_axis(Axis(1), 0)).unwrap();
        assert_bits_equal(&output, &zeros.output.index_axis(Axis(1), 0));

        let channels_first: Array5<f32> = clips.view().permuted_axes([0, 1, 4, 2, 3]).as_standard_layout().into_owned();
        let permuted = channels_first.view().permuted_axes([0, 1, 3, 4, 2]);
        assert_eq!(model.forward(permuted, None, None).unwrap(), whole);
    }
}

#[test]
fn a_decoder_stream_and_training() {
    for mechanism in
        [Mechanism::Luong { input_feeding: false }, Mechanism::Luong { input_feeding: true }, Mechanism::Bahdanau]
    {
        let config = Seq2SeqConfig {
            source_features: 6,
            encoder_size: 9,
            vocabulary: 11,
            embedding_size: 7,
            hidden_size: 13,
            mechanism,
            ..Seq2SeqConfig::default()
        };
        let model = Seq2Seq::<f32>::new(config, &mut generator()).unwrap();
        let source: Array3<f32> = seeded_array((3, 8, 6), 2);
        let lengths = [8, 3, 5];
        let tokens = Array2::from_shape_fn((3, 5), |(b, t)| (b * 4 + t * 3 + 2) % 11);
        let targets = Targets::new(tokens.view());
        let (whole, _) = model.forward_training(source.view(), Some(&lengths), &targets, &mut generator()).unwrap();
        let encoded = model.encode(source.view(), Some(&lengths)).unwrap();
        // Row 1 decodes the source of row 2, and the other way round.
        let sources = [0, 2, 1];
        let mut stream = model.decoder_stream(encoded, sources.to_vec()).unwrap();
        for _ in 0..2 {
            for time in 0..5 {
                let read = sources.map(|source| if time == 0 { 0 } else { tokens[[source, time - 1]] });
                let logits = stream.step(&read).unwrap().to_owned();
                for (row, source) in sources.into_iter().enumerate() {
                    assert_bits_equal(&logits.row(row), &whole.logits.slice(s![source, time, ..]));
                    assert_bits_equal(&stream.weights().row(row), &whole.weights.slice(s![source, time, ..]));
                }
            }
            stream.reset();
        }
    }
}

#[test]
fn an_all_masked_row_has_zero_weights() {
    let kept = ndarray::array![[true, true], [false, false]];
    let mask = AttentionMask { kept: Some(kept.view().into_dyn()), ..AttentionMask::default() };
    let values: Array3<f64> = seeded_array((2, 2, 4), 1);
    let config = AttentionConfig { attention_size: 3, ..AttentionConfig::new(Score::Additive, 4, 4) };
    let layer = Attention::<f64>::new(config, &mut generator()).unwrap();
    let output = layer.forward(values.view(), values.view(), values.view(), &mask).unwrap();
    assert!(output.weights.slice(s![.., 1, ..]).iter().all(|&weight| weight == 0.0));
    assert!(output.context.slice(s![.., 1, ..]).iter().all(|&value| value == 0.0));
    assert!(output.scores.slice(s![.., 1, ..]).iter().all(|&score| score == f64::NEG_INFINITY));
    let mut heads = MultiHeadAttention::<f64>::new(MultiHeadAttentionConfig::new(4, 2), &mut generator()).unwrap();
    heads.out_proj.bias = Some(seeded_array(4, 2));
    let (output, weights): (Array3<f64>, Array4<f64>) =
        heads.forward(values.view(), values.view(), values.view(), &mask).unwrap();
    assert!(weights.slice(s![.., .., 1, ..]).iter().all(|&weight| weight == 0.0));
    assert_eq!(output.slice(s![0, 1, ..]), heads.out_proj.bias.as_ref().unwrap().view());
}
