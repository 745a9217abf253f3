//! The assembled model: gradients, ragged clips, threads, and misuse.

use ndarray::{Array2, Array4, ShapeBuilder, s};
use pipeline::model::{ActionModel, ConvolutionConfig, LstmTemporalConfig, ModelConfig, ReadOut, TemporalConfig};
use pipeline::random::{Purpose, generator};
use tensor_ops::loss::{CrossEntropyConfig, cross_entropy, cross_entropy_with_gradient};
use tensor_ops::testing::{assert_independent_of_threads, check_parameter_gradients, seeded_array};
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
        let lstm = LstmTemporalConfig { hidden: 3, layers, bidirectional, dropout, read_out };
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

#[test]
fn clips_have_the_same_scores_alone_and_together() {
    let model = model::<f32>(&tiny_model());
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
    let model = ActionModel::<f32>::new(&config, 2, [16, 16], 3, &mut generator(1, Purpose::Weights, 0, 0)).unwrap();
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
    let mut config = tiny_model();
    (config.encoder.dropout, config.head.dropout) = (0.0, 0.0);
    let model = model::<f32>(&config);
    let mut rng = generator(4, Purpose::Dropout, 0, 0);
    let (scores, _) = model.forward_training(frames().view(), &LENGTHS, &mut rng).unwrap();
    assert_eq!(scores, model.forward(frames().view(), &LENGTHS).unwrap());
}

#[test]
fn an_encoder_without_convolutions_takes_images_in_any_order() {
    let mut model = model::<f64>(&tiny_model());
    model.encoder.convolutions.clear();
    let features = model.encoder.projection.out_features();
    model.encoder.projection.weight = seeded_array((features, 2 * 8 * 8), 3);
    let rows = frames::<f64>();
    let mut columns = Array4::zeros(rows.raw_dim().f());
    columns.assign(&rows);
    let run = |frames: &Array4<f64>| {
        let mut rng = generator(1, Purpose::Weights, 0, 0);
        let (scores, trace) = model.forward_training(frames.view(), &LENGTHS, &mut rng).unwrap();
        let gradients = model.backward(&trace, seeded_array(scores.raw_dim(), 4).view()).unwrap();
        (model.forward(frames.view(), &LENGTHS).unwrap(), scores, gradients.encoder.projection.weight)
    };
    assert_eq!(run(&rows), run(&columns));

    let mut rng = generator(1, Purpose::Weights, 0, 0);
    let (_, trace) = model.encoder.forward_training(rows.view(), &mut rng).unwrap();
    let reason = |steps, features| {
        let gradient = Array2::zeros((steps, features));
        model.encoder.backward(&trace, gradient.view()).unwrap_err().to_string()
    };
    assert_eq!(reason(5, features), "FrameEncoder: steps of the gradient: expected size 6, found 5");
    let expected = format!("FrameEncoder: features of the gradient: expected size {features}, found {}", features + 1);
    assert_eq!(reason(6, features + 1), expected);
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

    let mut rng = generator(1, Purpose::Weights, 0, 0);
    let (_, trace) = model.forward_training(frames.view(), &LENGTHS, &mut rng).unwrap();
    let error = model.backward(&trace, Array2::zeros((3, 4)).view()).unwrap_err();
    assert_eq!(error.to_string(), "Linear: output gradient features: expected size 3, found 4");

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
