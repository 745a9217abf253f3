//! The decoder token by token.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, s};
use tensor_ops::{Element, TensorError, check_axis, check_not_empty};

use super::decoder::{PackedDecoder, Step};
use super::{Encoded, Seq2Seq, check_token};
use crate::AttentionError;

const NAME: &str = "DecoderStream";

/// Sequences that are decoded token by token: every row decodes one of the encoded sources.
///
/// [`Self::step`] allocates nothing, and its logits have the bits of [`Seq2Seq::forward_training`] on the same tokens.
///
/// ```
/// use attention::{Seq2Seq, Seq2SeqConfig, Targets};
/// use ndarray::{Array3, array, s};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let mut rng = StdRng::seed_from_u64(1);
/// let config = Seq2SeqConfig {
///     source_features: 4,
///     encoder_size: 8,
///     vocabulary: 6,
///     embedding_size: 5,
///     hidden_size: 7,
///     ..Seq2SeqConfig::default()
/// };
/// let model = Seq2Seq::<f32>::new(config, &mut rng)?;
/// let clips = Array3::from_shape_fn((1, 5, 4), |(_, t, i)| (t * i) as f32 / 10.0);
/// let tokens = array![[3, 2, 1]];
/// let (decoded, _) = model.forward_training(clips.view(), None, &Targets::new(tokens.view()), &mut rng)?;
/// let mut stream = model.decoder_stream(model.encode(clips.view(), None)?, vec![0])?;
/// for (t, read) in [0, 3, 2].into_iter().enumerate() {
///     assert_eq!(stream.step(&[read])?, decoded.logits.slice(s![.., t, ..])); // 0 starts
/// }
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DecoderStream<T> {
    packed: Arc<PackedDecoder<T>>,
    encoded: Arc<Encoded<T>>,
    embedding: Arc<Array2<T>>,
    /// The source of every row.
    sources: Vec<usize>,
    token: Array2<T>,
    pub(super) now: DecoderState<T>,
    previous: DecoderState<T>,
    gates: Array2<T>,
    forms: Array2<T>,
    scores: Array2<T>,
    weights: Array2<T>,
    contexts: Array2<T>,
    logits: Array2<T>,
    scratch: Vec<T>,
}

/// What a row takes from step to step.
#[derive(Clone, Debug)]
pub(super) struct DecoderState<T> {
    hidden: Array2<T>,
    cell: Array2<T>,
    attentional: Array2<T>,
}

impl<T: Element> Seq2Seq<T> {
    /// A decoder for the `encoded` sources: row r decodes the source `sources[r]`, from its s₀. It keeps the parameters as
    /// they are now.
    ///
    /// # Errors
    /// [`AttentionError`] if there are no rows, a source does not exist, or parts do not fit the configuration.
    pub fn decoder_stream(&self, encoded: Encoded<T>, sources: Vec<usize>) -> Result<DecoderStream<T>, AttentionError> {
        self.check()?;
        check_not_empty(NAME, "rows", sources.len())?;
        if let Some(item) = sources.iter().position(|&source| source >= encoded.batch()) {
            let (index, found, end) = ("source", sources[item], encoded.batch());
            return Err(TensorError::IndexOutOfRange { operation: NAME, index, item, found, end }.into());
        }
        check_axis(NAME, "memory features", self.config.memory_size(), encoded.memory.ncols())?;
        check_axis(NAME, "state units", self.config.hidden_size, encoded.state.hidden.ncols())?;
        let packed = PackedDecoder::new(self)?;
        check_axis(NAME, "key features", packed.score.key_form_size(), encoded.key_forms.ncols())?;
        let (rows, layout, config) = (sources.len(), packed.cell.layout, &self.config);
        let state = DecoderState {
            hidden: Array2::zeros((rows, layout.padded_units())),
            cell: Array2::zeros((rows, layout.padded_units())),
            attentional: Array2::zeros((rows, config.hidden_size)),
        };
        let form = packed.score.form_size;
        let mut stream = DecoderStream {
            token: Array2::zeros((rows, config.embedding_size)),
            now: state.clone(),
            previous: state,
            gates: Array2::zeros((rows, layout.width())),
            forms: Array2::zeros((rows, form)),
            scores: Array2::zeros((rows, encoded.clips.time)),
            weights: Array2::zeros((rows, encoded.clips.time)),
            contexts: Array2::zeros((rows, config.memory_size())),
            logits: Array2::zeros((rows, config.vocabulary)),
            scratch: vec![T::zero(); rows * form],
            embedding: Arc::new(self.embedding.clone()),
            packed: Arc::new(packed),
            encoded: Arc::new(encoded),
            sources,
        };
        stream.reset();
        Ok(stream)
    }
}

impl<T: Element> DecoderStream<T> {
    /// Feeds the last token of every row, the start token first; the logits of the next, `[rows, vocabulary]`.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] for another number of tokens, or one beyond the vocabulary.
    pub fn step(&mut self, tokens: &[usize]) -> Result<ArrayView2<'_, T>, AttentionError> {
        check_axis(NAME, "tokens", self.sources.len(), tokens.len())?;
        for (row, &token) in tokens.iter().enumerate() {
            check_token(NAME, "token", row, token, self.embedding.nrows())?;
            self.token.row_mut(row).assign(&self.embedding.row(token));
        }
        std::mem::swap(&mut self.now, &mut self.previous);
        self.scores.fill(T::neg_infinity());
        self.weights.fill(T::zero());
        self.contexts.fill(T::zero());
        let step = Step {
            token: self.token.view(),
            previous_hidden: self.previous.hidden.view(),
            previous_cell: self.previous.cell.view(),
            previous_attentional: self.previous.attentional.view(),
            gates: self.gates.view_mut(),
            hidden: self.now.hidden.view_mut(),
            cell: self.now.cell.view_mut(),
            forms: self.forms.view_mut(),
            scores: self.scores.view_mut(),
            weights: self.weights.view_mut(),
            contexts: self.contexts.view_mut(),
            attentional: self.now.attentional.view_mut(),
            logits: self.logits.view_mut(),
            scratch: &mut self.scratch,
        };
        let (encoded, sources) = (&self.encoded, &self.sources);
        self.packed.step(step, encoded.work(), &|row| encoded.operands(sources[row]))?;
        Ok(self.logits.view())
    }

    /// The weights of the last step, `[rows, source time]`.
    pub fn weights(&self) -> ArrayView2<'_, T> {
        self.weights.view()
    }

    /// Goes back to s₀.
    pub fn reset(&mut self) {
        let units = self.packed.cell.layout.units();
        for (row, &source) in self.sources.iter().enumerate() {
            self.now.hidden.slice_mut(s![row, ..units]).assign(&self.encoded.state.hidden.row(source));
            self.now.cell.slice_mut(s![row, ..units]).assign(&self.encoded.state.cell.row(source));
        }
        self.now.attentional.fill(T::zero());
    }

    /// Row r goes on from what row `parents[r]` has; all rows decode the same source.
    pub(super) fn reorder(&mut self, parents: &[usize]) {
        std::mem::swap(&mut self.now, &mut self.previous);
        for (row, &parent) in parents.iter().enumerate() {
            self.now.hidden.row_mut(row).assign(&self.previous.hidden.row(parent));
            self.now.cell.row_mut(row).assign(&self.previous.cell.row(parent));
            self.now.attentional.row_mut(row).assign(&self.previous.attentional.row(parent));
        }
    }
}
