//! The assembled model: gradients, ragged clips, threads, and misuse.

use ndarray::{Array2, Array4, ArrayView4, Axis, concatenate, s};
use pipeline::model::{
    ActionModel, AttentionWeights, ConvolutionConfig, LstmPartConfig, ModelConfig, ModelName, ReadOut,
    TemporalAttentionPartConfig, TemporalConfig,
};
use pipeline::random::{Purpose, generator};
use tensor_ops::loss::{CrossEntropyConfig, cross_entropy, cross_entropy_with_gradient};
use tensor_ops::testing::{assert_independent_of_threads, check_parameter_gradients, run_cases, seeded_array};
use tensor_ops::{Element, Parameters};

use crate::common::tiny_model;

const LENGTHS: [usize; 3] = [3, 1, 2];

fn model<T: Element>(config: &ModelConfig) -> ActionModel<T> {
    ActionModel::new(config, 2, [8, 8], 3, &mut generator(1, Purpose::Weights, 0, 0)).unwrap()
}

fn frames<T: Element>() -> Array4<T> {
    seeded_array((6, 2, 8, 8), 2)
}

#[test]
fn gradients_are_those_of_the_loss() {
    for (layers, bidirectional, dropout, read_out) in [
        (1, true, 0.0, ReadOut::MaxMean),
        (2, false, 0.4, ReadOut::Linear),
        (1, true, 0.0, ReadOut::Last),
        (1, false, 0.0, ReadOut::Sum),
    ] {
        let lstm = LstmPartConfig { features: 6, hidden: 3, layers, bidirectional, dropout, read_out };
        let config = ModelConfig { temporal: TemporalConfig::Lstm(lstm), ..tiny_model() };
        let mut model = model::<f64>(&config);
        // Biases of 0 would put every dead pixel on the kink of ReLU.
        for convolution in &mut model.encoder.convolutions {
            convolution.bias = convolution.bias.as_ref().map(|bias| seeded_array(bias.raw_dim(), 5) * 0.3);
        }
        let loss = CrossEntropyConfig { label_smoothing: 0.1, ..CrossEntropyConfig::default() };
        // The same generator drops the same values at every evaluation.
        let rng = || generator(4, Purpose::Dropout, 0, 0);
        let (scores, trace) = model.forward_training(frames().view(), &LENGTHS, &mut rng()).unwrap();
        let gradient = cross_entropy_with_gradient(scores.view(), &[0, 2, 1], &loss).unwrap().gradient;
        let gradients = model.backward(&trace, gradient.view()).unwrap();
        check_parameter_gradients(&model, &gradients, |model| {
            let (scores, _) = model.forward_training(frames().view(), &LENGTHS, &mut rng()).unwrap();
            cross_entropy(scores.view(), &[0, 2, 1], &loss).unwrap()
        });
    }
}

/// The temporal part of `name` in sizes that finite differences can afford.
fn small(name: ModelName) -> TemporalConfig {
    let mut temporal = name.temporal();
    match &mut temporal {
        TemporalConfig::Pooling(part) => {
            (part.units, part.window, part.stride, part.steps) = (vec![5, 4], 2, 3, 5);
            (part.kernels, part.dropout) = (3, 0.2);
        }
        TemporalConfig::Lstm(part) => (part.features, part.hidden) = (6, 5),
        TemporalConfig::ConvLstm(part) => part.channels = vec![2, 3],
        TemporalConfig::TemporalAttention(part) => {
            (part.features, part.hidden, part.attention_size, part.window) = (6, 5, 4, 2);
        }
        TemporalConfig::SpatialAttention(part) => (part.hidden, part.attention_size, part.penalty) = (5, 4, 0.3),
        TemporalConfig::AttentionPooling(part) => (part.features, part.hidden, part.attention_size) = (6, 5, 4),
        TemporalConfig::Transformer(part) => {
            (part.features, part.heads, part.feedforward, part.layers) = (6, 2, 5, 2);
        }
    }
    temporal
}

fn small_model(name: ModelName) -> ModelConfig {
    ModelConfig { temporal: small(name), ..tiny_model() }
}

#[test]
fn gradients_of_every_model() {
    run_cases(ModelName::ALL, |&name| {
        let mut model = model::<f64>(&small_model(name));
        for convolution in &mut model.encoder.convolutions {
            convolution.bias = convolution.bias.as_ref().map(|bias| seeded_array(bias.raw_dim(), 5) * 0.3);
        }
        let weights: Array2<f64> = seeded_array((3, 3), 6);
        let rng = || generator(4, Purpose::Dropout, 0, 0);
        let (scores, trace) = model.forward_training(frames().view(), &LENGTHS, &mut rng()).unwrap();
        assert_eq!(scores.dim(), (3, model.classes()));
        let gradients = model.backward(&trace, weights.view()).unwrap();
        check_parameter_gradients(&model, &gradients, |model| {
            let (scores, trace) = model.forward_training(frames().view(), &LENGTHS, &mut rng()).unwrap();
            (scores * &weights).sum() + trace.penalty()
        });
    });
}

#[test]
fn attention_adds_up_to_one_over_the_steps_of_a_clip() {
    run_cases(ModelName::ALL, |&name| {
        let model = model::<f32>(&small_model(name));
        let found = model.attention(frames().view(), &LENGTHS).unwrap();
        let sums: Vec<(Vec<usize>, Vec<f32>)> = match &found {
            None => Vec::new(),
            Some(AttentionWeights::Steps(clips)) => {
                clips.iter().map(|clip| (clip.shape()[1..].to_vec(), clip.sum_axis(Axis(1)).to_vec())).collect()
            }
            Some(AttentionWeights::Places(clips)) => clips
                .iter()
                .map(|clip| (vec![clip.len_of(Axis(0))], clip.sum_axis(Axis(2)).sum_axis(Axis(1)).to_vec()))
                .collect(),
            other => panic!("{other:?}"),
        };
        use ModelName::{AttentionPooling, SpatialAttention, TemporalAttention, Transformer};
        let attends = matches!(name, AttentionPooling | SpatialAttention | TemporalAttention | Transformer);
        assert_eq!(sums.len(), if attends { LENGTHS.len() } else { 0 });
        for ((shape, sums), length) in sums.iter().zip(LENGTHS) {
            assert_eq!(shape[..], [length]);
            assert_eq!(sums.len(), if name == AttentionPooling { 1 } else { length });
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
        }
    });
}

#[test]
fn pooling_does_not_see_the_order_of_steps_and_recurrence_does() {
    let frames = frames::<f32>();
    let backwards = frames.slice(s![..;-1, .., .., ..]);
    run_cases(ModelName::ALL, |&name| {
        let model = model::<f32>(&small_model(name));
        let scores = |frames: ArrayView4<'_, f32>| model.forward(frames, &[6]).unwrap();
        let blind = matches!(name, ModelName::ConvPooling | ModelName::LatePooling);
        assert_eq!(scores(frames.view()) == scores(backwards), blind);
    });
}

#[test]
fn a_short_clip_is_stretched_for_local_pooling() {
    let model = model::<f32>(&small_model(ModelName::LocalPooling));
    let clip: Array4<f32> = seeded_array((1, 2, 8, 8), 3);
    let repeated = concatenate(Axis(0), &[clip.view(); 5]).unwrap();
    assert_eq!(model.forward(clip.view(), &[1]).unwrap(), model.forward(repeated.view(), &[5]).unwrap());
}

#[test]
fn names_read_back() {
    for name in ModelName::ALL {
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
    }
    let error = "lstn".parse::<ModelName>().unwrap_err().to_string();
    assert!(error.starts_with("no model is called `lstn`; the models are conv-pooling, "), "{error}");
}

#[test]
fn clips_have_the_same_scores_alone_and_together() {
    run_cases(ModelName::ALL, |&name| same_scores_alone_and_together(&small_model(name)));
}

fn same_scores_alone_and_together(config: &ModelConfig) {
    let model = model::<f32>(config);
    let frames = frames();
    let together = model.forward(frames.view(), &LENGTHS).unwrap();
    let mut start = 0;
    for (clip, length) in LENGTHS.into_iter().enumerate() {
        let alone = model.forward(frames.slice(s![start..start + length, .., .., ..]), &[length]).unwrap();
        let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&alone.into_raw_vec_and_offset().0), bits(&together.row(clip).to_vec()), "clip {clip}");
        start += length;
    }
}

#[test]
fn nothing_depends_on_the_threads() {
    let config = ModelConfig {
        encoder: pipeline::model::EncoderConfig {
            convolutions: vec![
                ConvolutionConfig { channels: 16, kernel: 3, stride: 1, padding: 1 },
                ConvolutionConfig { channels: 24, kernel: 3, stride: 2, padding: 1 },
            ],
            ..tiny_model().encoder
        },
        ..tiny_model()
    };
    run_cases(ModelName::ALL, |&name| independent_of_threads(&ModelConfig { temporal: small(name), ..config.clone() }));
}

fn independent_of_threads(config: &ModelConfig) {
    let model = ActionModel::<f32>::new(config, 2, [16, 16], 3, &mut generator(1, Purpose::Weights, 0, 0)).unwrap();
    let frames: Array4<f32> = seeded_array((120, 2, 16, 16), 2);
    let lengths = [40, 50, 30];
    let gradient: Array2<f32> = seeded_array((3, 3), 3);
    assert_independent_of_threads(|| {
        let mut rng = generator(4, Purpose::Dropout, 0, 0);
        let (scores, trace) = model.forward_training(frames.view(), &lengths, &mut rng).unwrap();
        let gradients = model.backward(&trace, gradient.view()).unwrap();
        let mut arrays = vec![scores.into_dyn()];
        arrays.extend(gradients.named().into_iter().map(|(_, values)| values.to_owned()));
        arrays
    });
}

#[test]
fn training_without_dropout_computes_what_inference_computes() {
    run_cases(ModelName::ALL, |&name| training_computes_what_inference_computes(small_model(name)));
}

fn training_computes_what_inference_computes(mut config: ModelConfig) {
    (config.encoder.dropout, config.head.dropout) = (0.0, 0.0);
    match &mut config.temporal {
        TemporalConfig::Pooling(part) => part.dropout = 0.0,
        TemporalConfig::Transformer(part) => part.dropout = 0.0,
        _ => {}
    }
    let model = model::<f32>(&config);
    let mut rng = generator(4, Purpose::Dropout, 0, 0);
    let (scores, _) = model.forward_training(frames().view(), &LENGTHS, &mut rng).unwrap();
    assert_eq!(scores, model.forward(frames().view(), &LENGTHS).unwrap());
}

#[test]
fn wrong_sizes_are_errors() {
    let model = model::<f32>(&tiny_model());
    let frames = frames();
    let reason =
        |frames: Array4<f32>, lengths: &[usize]| model.forward(frames.view(), lengths).unwrap_err().to_string();
    assert_eq!(reason(frames.clone(), &[]), "ActionModel: clips: expected at least 1 entry, found 0");
    assert_eq!(reason(frames.clone(), &[3, 2]), "ActionModel: steps of all clips: expected size 5, found 6");
    assert_eq!(
        reason(frames.clone(), &[3, 0, 3]),
        "ActionModel: length of sequence 1: expected 1 to 6 time steps, found 0"
    );
    assert_eq!(
        reason(frames.clone(), &[usize::MAX, 7]),
        format!("ActionModel: steps of all clips: expected size {}, found 6", usize::MAX)
    );
    assert_eq!(reason(seeded_array((6, 3, 8, 8), 1), &LENGTHS), "Conv2d: input channels: expected size 2, found 3");
    assert!(reason(seeded_array((6, 2, 12, 12), 1), &LENGTHS).starts_with("Linear: input features"));
    assert!(model.attention(frames.view(), &[3, 2]).is_err());

    let mut rng = generator(1, Purpose::Weights, 0, 0);
    let (_, trace) = model.forward_training(frames.view(), &LENGTHS, &mut rng).unwrap();
    let error = model.backward(&trace, Array2::zeros((3, 4)).view()).unwrap_err();
    assert_eq!(error.to_string(), "Linear: output gradient features: expected size 3, found 4");

    let mut other = tiny_model();
    let part = TemporalAttentionPartConfig { features: 6, hidden: 10, ..TemporalAttentionPartConfig::default() };
    other.temporal = TemporalConfig::TemporalAttention(part);
    let (_, trace) = self::model::<f32>(&other).forward_training(frames.view(), &LENGTHS, &mut rng).unwrap();
    let error = model.backward(&trace, Array2::zeros((3, 3)).view()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ActionModel: option `trace` must be that of a model with the same temporal part, found that of another"
    );

    let mut config = tiny_model();
    config.encoder.convolutions[1].kernel = 9;
    let error = ActionModel::<f32>::new(&config, 2, [8, 8], 3, &mut rng).unwrap_err();
    assert!(
        error.to_string().starts_with("Conv2d: option `kernel height` must be at most the padded input"),
        "{error}"
    );
    for (channels, size, classes) in [(0, [8, 8], 3), (2, [0, 8], 3), (2, [8, 8], 0)] {
        assert!(ActionModel::<f32>::new(&tiny_model(), channels, size, classes, &mut rng).is_err());
    }
}
