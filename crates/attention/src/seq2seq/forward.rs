//! Training passes: the decoder reads the true previous tokens, or now and then its own.

use lstm::LstmTrace;
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, TensorError, check_axis, check_lengths, check_not_empty, on_pool};

use super::decoder::{PackedDecoder, Step};
use super::{Encoded, NAME, Seq2Seq, Seq2SeqConfig, check_token};
use crate::AttentionError;
use crate::clips::Clips;
use crate::error::invalid;
use crate::layer::rows_of;
use crate::recurrence::Span;

/// What a decoder is to say.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `[batch, target time]`; the last valid token of a sequence is usually the end token. The decoder reads the start
    /// token, then these but for the last.
    pub tokens: ArrayView2<'a, usize>,
    /// The number of tokens of every sequence; those beyond are not read.
    pub lengths: Option<&'a [usize]>,
    /// Scheduled sampling (Bengio et al., 2015): the probability, drawn for every sequence and step, that the decoder reads
    /// its own last most probable token instead of the true one. No gradient passes through the choice. With 0 nothing is
    /// drawn.
    pub sampling: f64,
}

impl<'a> Targets<'a> {
    /// Teacher forcing with tokens of equal length.
    pub fn new(tokens: ArrayView2<'a, usize>) -> Self {
        Self { tokens, lengths: None, sampling: 0.0 }
    }
}

/// What the decoder yields; all is zero beyond the target lengths but the scores.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderOutput<T> {
    /// `W_o` s̃ + `b_o`: `[batch, target time, vocabulary]`.
    pub logits: Array3<T>,
    /// a, the alignment: `[batch, target time, source time]`.
    pub weights: Array3<T>,
    /// e: `[batch, target time, source time]`; −∞ where there is no source frame or no step.
    pub scores: Array3<T>,
    /// c: `[batch, target time, memory]`.
    pub contexts: Array3<T>,
    /// s: `[batch, target time, hidden]`.
    pub hidden: Array3<T>,
    /// s̃: `[batch, target time, hidden]`.
    pub attentional: Array3<T>,
}

/// What [`Seq2Seq::backward`] needs of a [`Seq2Seq::forward_training`].
#[derive(Clone, Debug)]
pub struct Seq2SeqTrace<T> {
    pub(super) config: Seq2SeqConfig,
    pub(super) encoder: LstmTrace<T>,
    /// The encoder's last states, `[batch, memory]`.
    pub(super) last: [Array2<T>; 2],
    pub(super) encoded: Encoded<T>,
    pub(super) clips: Clips,
    pub(super) steps: Steps<T>,
}

/// The values of all steps of the decoder; rows are steps as [`Clips`] orders them.
#[derive(Clone, Debug)]
pub(super) struct Steps<T> {
    /// The tokens that were read.
    pub(super) tokens: Vec<usize>,
    /// `[rows, embedding_size]`
    pub(super) embedded: Array2<T>,
    pub(super) initial_hidden: Array2<T>,
    pub(super) initial_cell: Array2<T>,
    pub(super) gates: Array2<T>,
    pub(super) hidden: Array2<T>,
    pub(super) cell: Array2<T>,
    pub(super) forms: Array2<T>,
    pub(super) scores: Array2<T>,
    pub(super) weights: Array2<T>,
    pub(super) contexts: Array2<T>,
    pub(super) attentional: Array2<T>,
    pub(super) logits: Array2<T>,
}

impl<T: Element> Seq2Seq<T> {
    /// Encodes `source` `[batch, source time, features]` and decodes with the tokens of `targets`; `rng` decides where the
    /// decoder reads its own.
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, sizes that do not fit, wrong lengths, tokens beyond the vocabulary, a probability
    /// outside 0 to 1, and parameters that do not fit the configuration.
    pub fn forward_training(
        &self,
        source: ArrayView3<'_, T>,
        source_lengths: Option<&[usize]>,
        targets: &Targets<'_>,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<(DecoderOutput<T>, Seq2SeqTrace<T>), AttentionError> {
        self.check()?;
        let (batch, time) = targets.tokens.dim();
        check_axis(NAME, "target batch", source.dim().0, batch)?;
        check_not_empty(NAME, "target time", time)?;
        check_lengths(NAME, targets.lengths, batch, time)?;
        let clips = Clips::new(batch, time, targets.lengths);
        for (sequence, tokens) in targets.tokens.outer_iter().enumerate() {
            for &token in tokens.iter().take(clips.lengths[sequence]) {
                check_token(NAME, "target token", sequence, token, self.config.vocabulary)?;
            }
        }
        if !(0.0..=1.0).contains(&targets.sampling) {
            return Err(invalid(NAME, "sampling", "a probability", targets.sampling).into());
        }
        let own =
            Array2::from_shape_fn((batch, time), |_| targets.sampling > 0.0 && rng.random::<f64>() < targets.sampling);
        let (output, state, encoder) = self.encoder.forward_training(source, None, source_lengths, rng)?;
        let last = [self.last(&state.hidden), self.last(&state.cell)];
        let encoded = self.encoded(output, state, source_lengths)?;
        let steps = on_pool(self.multiply_adds(&clips), || self.decode(&encoded, &clips, targets.tokens, &own))?;
        let pad = |steps: &Array2<T>, columns: usize| clips.pad_steps(steps.view(), columns, T::zero());
        let columns = encoded.clips.time;
        let decoded = DecoderOutput {
            logits: pad(&steps.logits, self.config.vocabulary),
            weights: pad(&steps.weights, columns),
            scores: clips.pad_steps(steps.scores.view(), columns, T::neg_infinity()),
            contexts: pad(&steps.contexts, self.config.memory_size()),
            hidden: pad(&steps.hidden, self.config.hidden_size),
            attentional: pad(&steps.attentional, self.config.hidden_size),
        };
        Ok((decoded, Seq2SeqTrace { config: self.config.clone(), encoder, last, encoded, clips, steps }))
    }

    /// Those of the products of all steps, about.
    pub(super) fn multiply_adds(&self, clips: &Clips) -> usize {
        clips.rows.saturating_mul(self.config.vocabulary * self.config.hidden_size)
    }

    fn decode(
        &self,
        encoded: &Encoded<T>,
        clips: &Clips,
        targets: ArrayView2<'_, usize>,
        own: &Array2<bool>,
    ) -> Result<Steps<T>, AttentionError> {
        let packed = PackedDecoder::new(self)?;
        let (rows, config, layout) = (clips.rows, &self.config, packed.cell.layout);
        let (units, form, columns) = (layout.padded_units(), packed.score.form_size, encoded.clips.time);
        let mut steps = Steps {
            tokens: vec![config.start_token; rows],
            embedded: Array2::zeros((rows, config.embedding_size)),
            initial_hidden: clips.sorted(Some(encoded.state.hidden.view()), units),
            initial_cell: clips.sorted(Some(encoded.state.cell.view()), units),
            gates: Array2::zeros((rows, layout.width())),
            hidden: Array2::zeros((rows, units)),
            cell: Array2::zeros((rows, units)),
            forms: Array2::zeros((rows, form)),
            scores: Array2::from_elem((rows, columns), T::neg_infinity()),
            weights: Array2::zeros((rows, columns)),
            contexts: Array2::zeros((rows, config.memory_size())),
            attentional: Array2::zeros((rows, config.hidden_size)),
            logits: Array2::zeros((rows, config.vocabulary)),
        };
        let no_feed = Array2::zeros((clips.batch(), config.hidden_size));
        let mut scratch = vec![T::zero(); clips.batch() * form];
        for time in 0..clips.active.len() {
            let now = clips.step_rows(time);
            let active = now.len();
            for (position, row) in now.clone().enumerate() {
                if let Some(previous) = time.checked_sub(1) {
                    let sequence = clips.order[position];
                    steps.tokens[row] = if own[[sequence, time]] {
                        most_probable(steps.logits.row(clips.offsets[previous] + position))
                    } else {
                        targets[[sequence, previous]]
                    };
                }
                let embedded = self.embedding.row(steps.tokens[row]);
                steps.embedded.row_mut(row).assign(&embedded);
            }
            let before = |values: &Array2<T>, initial: &Array2<T>| match time.checked_sub(1) {
                Some(previous) => {
                    let row = clips.offsets[previous];
                    values.slice(s![row..row + active, ..]).to_owned()
                }
                None => initial.slice(s![..active, ..]).to_owned(),
            };
            let previous_hidden = before(&steps.hidden, &steps.initial_hidden);
            let previous_cell = before(&steps.cell, &steps.initial_cell);
            let previous_attentional = before(&steps.attentional, &no_feed);
            let now = s![now, ..];
            let step = Step {
                token: steps.embedded.slice(now),
                previous_hidden: previous_hidden.view(),
                previous_cell: previous_cell.view(),
                previous_attentional: previous_attentional.view(),
                gates: steps.gates.slice_mut(now),
                hidden: steps.hidden.slice_mut(now),
                cell: steps.cell.slice_mut(now),
                forms: steps.forms.slice_mut(now),
                scores: steps.scores.slice_mut(now),
                weights: steps.weights.slice_mut(now),
                contexts: steps.contexts.slice_mut(now),
                attentional: steps.attentional.slice_mut(now),
                logits: steps.logits.slice_mut(now),
                scratch: &mut scratch[..active * form],
            };
            packed.step(step, encoded.work(), &|position| encoded.operands(clips.order[position]))?;
        }
        Ok(steps)
    }
}

impl<T: Element> Encoded<T> {
    /// The keys and values of a source.
    pub(super) fn operands(&self, sequence: usize) -> (Span, &[T], &[T]) {
        let (first, count) = (self.clips.starts[sequence], self.clips.lengths[sequence]);
        let span = Span { first: 0, count, column: 0 };
        (span, rows_of(self.key_forms.view(), first, count), rows_of(self.memory.view(), first, count))
    }

    /// What attending to a source multiplies.
    pub(super) fn work(&self) -> usize {
        self.clips.time * (self.key_forms.ncols() + self.memory.ncols())
    }
}

/// The first token of the largest logit; NaN is never larger.
pub(super) fn most_probable<T: Element>(logits: ArrayView1<'_, T>) -> usize {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best
}

/// Checks the gradients that a trace is taken back from.
pub(super) fn check_gradient<T>(
    axes: [&'static str; 3],
    expected: [usize; 3],
    found: ArrayView3<'_, T>,
) -> Result<(), TensorError> {
    for ((axis, expected), &found) in axes.into_iter().zip(expected).zip(found.shape()) {
        check_axis("Seq2Seq::backward", axis, expected, found)?;
    }
    Ok(())
}
