//! The models that read, with and without attention.

use attention::{Mechanism, Score, Seq2Seq, Seq2SeqConfig, Targets};
use ndarray::{Array2, ArrayView3, ArrayViewD, ArrayViewMutD, Axis};
use ndarray_rand::rand::Rng;
use tensor_ops::Parameters;
use tensor_ops::loss::{CrossEntropyConfig, cross_entropy_with_gradient};

use super::plain::PlainReader;
use super::{END, START, VOCABULARY};
use crate::random::{Purpose, generator};
use crate::tasks::{TaskError, TaskModel, TaskModelConfig};

/// The number of features of an embedded token.
const EMBEDDING: usize = 16;

/// A model that reads, and the gradient of one.
#[derive(Clone, Debug)]
pub(super) enum Reader {
    Plain(Box<PlainReader>),
    Attending(Box<Seq2Seq<f32>>),
}

/// What a model read in a clip.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) tokens: Vec<usize>,
    /// Whether the end was said.
    pub(super) ended: bool,
    /// `[tokens and the end, frames]`, where the model attends.
    pub(super) weights: Option<Array2<f32>>,
}

impl Reader {
    pub(super) fn new(model: TaskModel, config: &TaskModelConfig, rng: &mut impl Rng) -> Result<Self, TaskError> {
        let hidden = config.hidden;
        let base = Seq2SeqConfig {
            source_features: config.features,
            encoder_size: hidden,
            vocabulary: VOCABULARY,
            embedding_size: EMBEDDING,
            hidden_size: hidden,
            start_token: START,
            end_token: END,
            ..Seq2SeqConfig::default()
        };
        let mut attending = |config| Ok(Self::Attending(Box::new(Seq2Seq::new(config, rng)?)));
        match model {
            TaskModel::Luong => attending(base),
            TaskModel::Bahdanau => attending(Seq2SeqConfig {
                mechanism: Mechanism::Bahdanau,
                score: Score::Additive,
                attention_size: hidden,
                attention_bias: true,
                ..base
            }),
            _ => Ok(Self::Plain(Box::new(PlainReader::new(config.features, hidden, EMBEDDING, hidden, rng)?))),
        }
    }

    /// The mean cross-entropy of the tokens of `targets`, each after the true ones before it, and its gradient.
    pub(super) fn loss_gradients(
        &self,
        source: ArrayView3<'_, f32>,
        targets: &[&[usize]],
        label_smoothing: f64,
    ) -> Result<(f64, Self), TaskError> {
        let tokens = targets.first().map_or(0, |target| target.len() + 1);
        let token = |clip: usize, position: usize| targets[clip].get(position).copied().unwrap_or(END);
        let expected = Array2::from_shape_fn((targets.len(), tokens), |(clip, position)| token(clip, position));
        let loss = CrossEntropyConfig { label_smoothing, ..CrossEntropyConfig::default() };
        let classes: Vec<usize> = expected.iter().copied().collect();
        // Nothing is drawn: there is no dropout, and the decoder reads the true tokens.
        let rng = &mut generator(0, Purpose::Dropout, 0, 0);
        match self {
            Self::Plain(reader) => {
                let before =
                    |(clip, position): (usize, usize)| position.checked_sub(1).map_or(START, |p| token(clip, p));
                let inputs = Array2::from_shape_fn(expected.dim(), before);
                let (scores, trace) = reader.forward_training(source, inputs, rng)?;
                let loss = cross_entropy_with_gradient(scores.view(), &classes, &loss)?;
                let gradients = reader.backward(&trace, loss.gradient.view())?;
                Ok((f64::from(loss.value), Self::Plain(Box::new(gradients))))
            }
            Self::Attending(reader) => {
                let (decoded, trace) = reader.forward_training(source, None, &Targets::new(expected.view()), rng)?;
                let shape = decoded.logits.raw_dim();
                let rows = (shape[0] * shape[1], shape[2]);
                let scores = decoded.logits.to_shape(rows).expect("a row for every clip and token");
                let loss = cross_entropy_with_gradient(scores.view(), &classes, &loss)?;
                let gradient = loss.gradient.into_shape_with_order(shape).expect("a row for every clip and token");
                let gradients = reader.backward(&trace, gradient.view(), None)?.parameters;
                Ok((f64::from(loss.value), Self::Attending(Box::new(gradients))))
            }
        }
    }

    /// What the model reads, the most probable token at every step, at most `tokens` with the end.
    pub(super) fn read(&self, source: ArrayView3<'_, f32>, tokens: usize) -> Result<Vec<Reading>, TaskError> {
        match self {
            Self::Plain(reader) => {
                let said = reader.greedy(source, tokens)?;
                let reading = |said: ndarray::ArrayView1<'_, usize>| {
                    let end = said.iter().position(|&token| token == END);
                    let tokens = said.iter().copied().take(end.unwrap_or(tokens)).collect();
                    Reading { tokens, ended: end.is_some(), weights: None }
                };
                Ok(said.axis_iter(Axis(0)).map(reading).collect())
            }
            Self::Attending(reader) => {
                let hypotheses = reader.greedy(source, None, tokens)?;
                let reading = |hypothesis: attention::Hypothesis<f32>| {
                    let (tokens, ended) = (hypothesis.tokens, hypothesis.ended);
                    Reading { tokens, ended, weights: Some(hypothesis.weights) }
                };
                Ok(hypotheses.into_iter().map(reading).collect())
            }
        }
    }
}

impl Parameters<f32> for Reader {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
        match self {
            Self::Plain(reader) => reader.visit(visitor),
            Self::Attending(reader) => reader.visit(visitor),
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, f32>)) {
        match self {
            Self::Plain(reader) => reader.visit_mut(visitor),
            Self::Attending(reader) => reader.visit_mut(visitor),
        }
    }
}
