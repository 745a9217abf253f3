//! Against plain loops: the steps of the decoder by name, searches, and windows.

use attention::{
    BeamConfig, Bridge, Mechanism, Score, Seq2Seq, Seq2SeqConfig, Targets, TemporalAttention, TemporalAttentionConfig,
};
use ndarray::{Array1, Array2, Array3, Axis, array, concatenate, s};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{assert_all_close, seeded_array};

fn model(mechanism: Mechanism, vocabulary: usize) -> Seq2Seq<f64> {
    let config = Seq2SeqConfig {
        source_features: 3,
        encoder_size: 4,
        bidirectional: false,
        vocabulary,
        embedding_size: 3,
        hidden_size: 4,
        mechanism,
        score: Score::Dot,
        bridge: Bridge::Copy,
        ..Seq2SeqConfig::default()
    };
    let mut model = Seq2Seq::new(config, &mut StdRng::seed_from_u64(3)).unwrap();
    // Sharper than at the start, so that the most probable token depends on the source.
    model.output.weight *= 4.0;
    model
}

fn softmax(scores: &Array1<f64>) -> Array1<f64> {
    let exponentials = scores.mapv(f64::exp);
    &exponentials / exponentials.sum()
}

/// One step of an LSTM by its equations.
fn cell(model: &Seq2Seq<f64>, input: &Array1<f64>, hidden: &Array1<f64>, cell: &Array1<f64>) -> [Array1<f64>; 2] {
    let weights = &model.decoder.directions[0];
    let sums = weights.weight_ih.dot(input)
        + weights.weight_hh.dot(hidden)
        + weights.bias_ih.as_ref().unwrap()
        + weights.bias_hh.as_ref().unwrap();
    let gate = |gate: usize| sums.slice(s![gate * 4..(gate + 1) * 4]).to_owned();
    let sigmoid = |values: Array1<f64>| values.mapv(|v| 1.0 / (1.0 + (-v).exp()));
    let cell = sigmoid(gate(1)) * cell + sigmoid(gate(0)) * gate(2).mapv(f64::tanh);
    [sigmoid(gate(3)) * cell.mapv(f64::tanh), cell]
}

/// The walk through the eight steps: every value that the decoder returns is recomputed from those before it.
#[test]
fn every_step_of_the_decoder() {
    for mechanism in
        [Mechanism::Luong { input_feeding: false }, Mechanism::Luong { input_feeding: true }, Mechanism::Bahdanau]
    {
        let model = model(mechanism, 6);
        let source: Array3<f64> = seeded_array((1, 3, 3), 2);
        let tokens = array![[3, 5, 1]];
        // 1. h₁, h₂, h₃.
        let encoded = model.encode(source.view(), None).unwrap();
        let (h, states) = model.encoder.forward(source.view(), None, None).unwrap();
        assert_eq!(encoded.memory(), h);
        // 2. s₀ = h₃.
        assert_eq!(encoded.state().hidden, h.slice(s![.., 2, ..]));
        let mut state = [encoded.state().hidden.row(0).to_owned(), states.cell.slice(s![0, 0, ..]).to_owned()];
        let targets = Targets::new(tokens.view());
        let (decoded, _) =
            model.forward_training(source.view(), None, &targets, &mut StdRng::seed_from_u64(0)).unwrap();
        let h = h.index_axis(Axis(0), 0).to_owned();
        let mut attentional = Array1::zeros(4);
        for (step, read) in [0, 3, 5].into_iter().enumerate() {
            let embedded = model.embedding.row(read).to_owned();
            let attend = |query: &Array1<f64>| {
                let scores = h.dot(query);
                let weights = softmax(&scores);
                let context = h.t().dot(&weights);
                [scores, weights, context]
            };
            let [scores, weights, context] = match mechanism {
                Mechanism::Bahdanau => {
                    let attended = attend(&state[0]);
                    let input = concatenate![Axis(0), embedded, attended[2]];
                    state = cell(&model, &input, &state[0], &state[1]);
                    attended
                }
                Mechanism::Luong { input_feeding } => {
                    let input = if input_feeding { concatenate![Axis(0), embedded, attentional] } else { embedded };
                    state = cell(&model, &input, &state[0], &state[1]);
                    attend(&state[0])
                }
            };
            let joined = concatenate![Axis(0), context, state[0]];
            attentional = (model.combine.weight.dot(&joined) + model.combine.bias.as_ref().unwrap()).mapv(f64::tanh);
            let logits = model.output.weight.dot(&attentional) + model.output.bias.as_ref().unwrap();
            for (name, found, expected) in [
                // 3. Scores. 4. Weights. 5. and 6. Context. 7. Attentional state. 8. Output.
                ("scores", decoded.scores.slice(s![0, step, ..]), &scores),
                ("weights", decoded.weights.slice(s![0, step, ..]), &weights),
                ("context", decoded.contexts.slice(s![0, step, ..]), &context),
                ("hidden", decoded.hidden.slice(s![0, step, ..]), &state[0]),
                ("attentional state", decoded.attentional.slice(s![0, step, ..]), &attentional),
                ("logits", decoded.logits.slice(s![0, step, ..]), &logits),
            ] {
                println!("{mechanism:?}, step {step}: {name}");
                assert_all_close(&found, expected, 1e-12, 1e-13);
            }
        }
    }
}

/// The log-probability that the model gives to `tokens`, by teacher forcing.
fn log_probability(model: &Seq2Seq<f64>, source: &Array3<f64>, tokens: &[usize]) -> f64 {
    let row = Array2::from_shape_vec((1, tokens.len()), tokens.to_vec()).unwrap();
    let targets = Targets::new(row.view());
    let (decoded, _) = model.forward_training(source.view(), None, &targets, &mut StdRng::seed_from_u64(0)).unwrap();
    let logits = decoded.logits.index_axis(Axis(0), 0).to_owned();
    tokens.iter().zip(logits.rows()).map(|(&token, logits)| softmax(&logits.to_owned())[token].ln()).sum()
}

/// All sequences of at most `longest` tokens that end, or are cut off there.
fn all_sequences(vocabulary: usize, longest: usize) -> Vec<Vec<usize>> {
    let mut sequences = vec![Vec::new()];
    let mut finished = Vec::new();
    for _ in 0..longest {
        let mut next = Vec::new();
        for sequence in sequences {
            for token in 0..vocabulary {
                let mut longer: Vec<usize> = sequence.clone();
                longer.push(token);
                if token == 1 { finished.push(longer) } else { next.push(longer) }
            }
        }
        sequences = next;
    }
    finished.extend(sequences);
    finished
}

#[test]
fn a_wide_beam_finds_the_best_of_all_sequences() {
    for mechanism in [Mechanism::Luong { input_feeding: true }, Mechanism::Bahdanau] {
        let model = model(mechanism, 4);
        for seed in 0..4 {
            let source: Array3<f64> = seeded_array((1, 3, 3), seed);
            for length_normalisation in [0.0, 1.0] {
                let config = BeamConfig { width: 64, max_length: 3, length_normalisation };
                let found = model.beam_search(source.view(), None, &config).unwrap().remove(0);
                let mut all: Vec<(f64, Vec<usize>)> = all_sequences(4, 3)
                    .into_iter()
                    .map(|tokens| {
                        let divisor = ((5.0 + tokens.len() as f64) / 6.0).powf(length_normalisation);
                        (log_probability(&model, &source, &tokens) / divisor, tokens)
                    })
                    .collect();
                all.sort_by(|a, b| b.0.total_cmp(&a.0));
                assert_eq!(found.len(), all.len());
                for (found, (score, tokens)) in found.iter().zip(&all) {
                    let said = if found.ended { [&found.tokens[..], &[1]].concat() } else { found.tokens.clone() };
                    assert_eq!(&said, tokens);
                    assert!((found.score - score).abs() < 1e-12);
                    assert_eq!(found.weights.dim(), (tokens.len(), 3));
                }
                let narrow = BeamConfig { width: 2, ..config };
                let narrow = model.beam_search(source.view(), None, &narrow).unwrap().remove(0);
                assert!(narrow.len() <= 2 && narrow[0].score <= found[0].score + 1e-12);
            }
            let greedy = model.greedy(source.view(), None, 3).unwrap().remove(0);
            let config = BeamConfig { width: 1, max_length: 3, length_normalisation: 0.0 };
            let beam = model.beam_search(source.view(), None, &config).unwrap().remove(0).remove(0);
            assert_eq!(greedy.tokens, beam.tokens, "a beam of 1 is greedy");
            assert_eq!(greedy.log_probability, beam.log_probability);
        }
    }
}

#[test]
fn greedy_decodes_a_batch_as_its_sequences() {
    let model = model(Mechanism::Luong { input_feeding: false }, 5);
    let source: Array3<f64> = seeded_array((5, 6, 3), 7);
    let lengths = [6, 2, 4, 1, 5];
    let batch = model.greedy(source.view(), Some(&lengths), 8).unwrap();
    for (sequence, &length) in lengths.iter().enumerate() {
        let clip = source.slice(s![sequence..=sequence, ..length, ..]);
        let alone = model.greedy(clip, None, 8).unwrap().remove(0);
        assert_eq!(batch[sequence].tokens, alone.tokens);
        assert_eq!(batch[sequence].log_probability, alone.log_probability);
        assert_eq!(batch[sequence].weights.slice(s![.., ..length]), alone.weights);
    }
}

#[test]
fn scheduled_sampling_reads_the_model_s_own_tokens() {
    let model = model(Mechanism::Bahdanau, 6);
    let source: Array3<f64> = seeded_array((1, 4, 3), 2);
    let greedy = model.greedy(source.view(), None, 5).unwrap().remove(0);
    let read = [&greedy.tokens[..], &[1; 5]].concat()[..5].to_vec();
    // Targets that the decoder never reads: its own tokens are those of greedy decoding.
    let wrong = Array2::from_elem((1, 5), 2);
    let run = |tokens: &Array2<usize>, sampling: f64, seed: u64| {
        let targets = Targets { sampling, ..Targets::new(tokens.view()) };
        model.forward_training(source.view(), None, &targets, &mut StdRng::seed_from_u64(seed)).unwrap().0
    };
    let sampled = run(&wrong, 1.0, 1);
    let steps = greedy.weights.nrows();
    let forced = run(&Array2::from_shape_vec((1, 5), read).unwrap(), 0.0, 1);
    assert_eq!(sampled.logits.slice(s![.., ..steps, ..]), forced.logits.slice(s![.., ..steps, ..]));
    assert_eq!(sampled.weights.slice(s![0, ..steps, ..]), greedy.weights);
    assert_ne!(run(&wrong, 0.0, 1), sampled);
    assert_eq!(run(&wrong, 0.0, 1), run(&wrong, 0.0, 2), "nothing is drawn without sampling");
}

/// A window as long as the clip sees what it sees, and weights by frame are those of the window.
#[test]
fn windows_of_frames() {
    let clips: Array3<f64> = seeded_array((2, 6, 3), 1);
    let output = |window: Option<usize>| {
        let config = TemporalAttentionConfig { window, ..TemporalAttentionConfig::new(3, 4, 5) };
        let model = TemporalAttention::<f64>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
        model.forward(clips.view(), None, None).unwrap()
    };
    assert_eq!(output(Some(6)).output, output(Some(40)).output);
    let narrow = output(Some(2));
    let by_frame = narrow.frame_weights();
    for step in 0..6 {
        for frame in 0..6 {
            let expected = if frame > step || frame + 2 <= step {
                array![0.0, 0.0]
            } else {
                narrow.weights.slice(s![.., step, frame + 1 - step]).to_owned()
            };
            assert_eq!(by_frame.slice(s![.., step, frame]), expected, "step {step}, frame {frame}");
        }
    }
    // Without a window the first step sees the last frame.
    assert!(output(None).weights.slice(s![.., 0, 5]).iter().all(|&weight| weight > 0.0));
}
