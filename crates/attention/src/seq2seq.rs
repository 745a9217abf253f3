//! Sequence to sequence with attention: an encoder LSTM, and a decoder that attends to its outputs.
//!
//! With the outputs h₁ … `h_S` of the encoder, s the hidden values of the decoder and y the embedded previous token:
//!
//! ```text
//! Luong, Pham and Manning, 2015                      Bahdanau, Cho and Bengio, 2015
//! s_t = LSTM([y; f], s_{t−1})                        aⱼ = softmax over j of e(s_{t−1}, hⱼ)
//! aⱼ = softmax over j of e(s_t, hⱼ)                  c_t = Σⱼ aⱼ hⱼ
//! c_t = Σⱼ aⱼ hⱼ                                     s_t = LSTM([y; c_t], s_{t−1})
//! ```
//!
//! In both the output is `W_o` `s̃_t` + `b_o` with the attentional state `s̃_t` = tanh(W [`c_t`; `s_t`] + b), where Bahdanau et al. have
//! a maxout layer. With input feeding, f is s̃_{t−1}.

use lstm::Lstm;
use ndarray::{Array2, Array3, ArrayView3, ArrayViewD, ArrayViewMutD, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, Linear, Parameters, TensorError, check_axis, init, vecmath, visit_part, visit_part_mut};

use crate::cell::cell_weights;
use crate::clips::Clips;
use crate::error::{check_part, invalid};
use crate::layer::slice_mut;
use crate::linear::{check_linear, zero_linear};
use crate::packed::PackedScore;
use crate::temporal::check_attention;
use crate::{Attention, AttentionError, CellState};

mod backward;
mod config;
mod decoder;
mod forward;
mod search;
mod stream;

pub use backward::Seq2SeqGradients;
pub use config::{Bridge, Mechanism, Seq2SeqConfig};
pub use forward::{DecoderOutput, Seq2SeqTrace, Targets};
pub use search::{BeamConfig, Hypothesis};
pub use stream::DecoderStream;

const NAME: &str = "Seq2Seq";

/// An encoder and a decoder with attention, and the gradient of one.
///
/// Parameters: `encoder.…`, `bridge_hidden.…` and `bridge_cell.…` where there is a bridge, `embedding.weight`,
/// `attention.…`, `decoder.…`, `combine.…`, `output.…`.
///
/// ```
/// use attention::{BeamConfig, Seq2Seq, Seq2SeqConfig, Targets};
/// use ndarray::{Array3, array};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let mut rng = StdRng::seed_from_u64(1);
/// let config = Seq2SeqConfig {
///     source_features: 6,
///     encoder_size: 8,
///     vocabulary: 12,
///     embedding_size: 5,
///     hidden_size: 10,
///     ..Seq2SeqConfig::default()
/// };
/// let model = Seq2Seq::<f32>::new(config, &mut rng)?;
/// let clips = Array3::from_shape_fn((2, 9, 6), |(b, t, i)| ((b + t * i) % 4) as f32);
/// let tokens = array![[4, 7, 1], [3, 1, 1]]; // 1 ends a sequence
/// let targets = Targets { lengths: Some(&[3, 2]), ..Targets::new(tokens.view()) };
/// let (decoded, trace) = model.forward_training(clips.view(), Some(&[9, 5]), &targets, &mut rng)?;
/// assert_eq!(decoded.logits.dim(), (2, 3, 12));
/// assert_eq!(decoded.weights.dim(), (2, 3, 9)); // the alignment matrix of every sequence
///
/// let best = model.beam_search(clips.view(), Some(&[9, 5]), &BeamConfig { width: 3, ..BeamConfig::new(20) })?;
/// assert!(best[0][0].score >= best[0][1].score);
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Seq2Seq<T> {
    config: Seq2SeqConfig,
    /// The encoder.
    pub encoder: Lstm<T>,
    /// The layer to the hidden values of s₀.
    pub bridge_hidden: Option<Linear<T>>,
    /// The layer to the cell values of s₀.
    pub bridge_cell: Option<Linear<T>>,
    /// The embedded tokens, `[vocabulary, embedding_size]`.
    pub embedding: Array2<T>,
    /// The score function: queries are hidden values of the decoder, keys are outputs of the encoder.
    pub attention: Attention<T>,
    /// The decoder's cell, of one layer and direction: it reads the token, then the context or what is fed.
    pub decoder: Lstm<T>,
    /// W `[hidden_size, memory + hidden_size]` and b.
    pub combine: Linear<T>,
    /// `W_o` and `b_o`.
    pub output: Linear<T>,
}

/// Encoded sources, with what the decoder needs of them: keys are projected once.
#[derive(Clone, Debug)]
pub struct Encoded<T> {
    clips: Clips,
    /// h, `[frames, memory]`.
    memory: Array2<T>,
    key_forms: Array2<T>,
    state: CellState<T>,
}

impl<T: Element> Encoded<T> {
    /// h₁ … `h_S`: `[batch, source time, memory]`; zero beyond the lengths.
    pub fn memory(&self) -> Array3<T> {
        self.clips.pad(self.memory.clone())
    }

    /// s₀.
    pub fn state(&self) -> &CellState<T> {
        &self.state
    }

    /// The number of sources.
    pub fn batch(&self) -> usize {
        self.clips.batch()
    }
}

impl<T: Element> Seq2Seq<T> {
    /// A model with PyTorch's initial values; embedded tokens from N(0, 1).
    ///
    /// # Errors
    /// As [`Seq2SeqConfig::validate`].
    pub fn new(config: Seq2SeqConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, AttentionError> {
        config.validate()?;
        let encoder = Lstm::new(config.encoder(), rng)?;
        let mut bridge =
            || (config.bridge == Bridge::Tanh).then(|| Linear::new(config.bridge_layer(), rng)).transpose();
        let (bridge_hidden, bridge_cell) = (bridge()?, bridge()?);
        Ok(Self {
            encoder,
            bridge_hidden,
            bridge_cell,
            embedding: init::normal((config.vocabulary, config.embedding_size), 0.0, 1.0, rng)?,
            attention: Attention::new(config.attention(), rng)?,
            decoder: Lstm::new(config.decoder(), rng)?,
            combine: Linear::new(config.combine(), rng)?,
            output: Linear::new(config.output(), rng)?,
            config,
        })
    }

    /// A model with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`Seq2SeqConfig::validate`].
    pub fn zeros(config: Seq2SeqConfig) -> Result<Self, AttentionError> {
        config.validate()?;
        let bridge = (config.bridge == Bridge::Tanh).then(|| zero_linear(config.bridge_layer()));
        Ok(Self {
            encoder: Lstm::zeros(config.encoder())?,
            bridge_hidden: bridge.clone(),
            bridge_cell: bridge,
            embedding: Array2::zeros((config.vocabulary, config.embedding_size)),
            attention: Attention::zeros(config.attention())?,
            decoder: Lstm::zeros(config.decoder())?,
            combine: zero_linear(config.combine()),
            output: zero_linear(config.output()),
            config,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Seq2SeqConfig {
        &self.config
    }

    /// Encodes `source` `[batch, source time, features]`.
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, another number of features, wrong lengths, and parameters that do not fit the
    /// configuration.
    pub fn encode(&self, source: ArrayView3<'_, T>, lengths: Option<&[usize]>) -> Result<Encoded<T>, AttentionError> {
        self.check()?;
        let (output, state) = self.encoder.forward(source, None, lengths)?;
        self.encoded(output, state, lengths)
    }

    /// Projects the keys and makes s₀.
    fn encoded(
        &self,
        output: Array3<T>,
        state: lstm::LstmState<T>,
        lengths: Option<&[usize]>,
    ) -> Result<Encoded<T>, AttentionError> {
        let (batch, time, _) = output.dim();
        let clips = Clips::new(batch, time, lengths);
        let memory = clips.frames(output.view()).into_owned();
        let key_forms = PackedScore::new(&self.attention)?.key_forms(memory.view())?.into_owned();
        let last = CellState { hidden: self.last(&state.hidden), cell: self.last(&state.cell) };
        let state = match (&self.bridge_hidden, &self.bridge_cell) {
            (Some(hidden), Some(cell)) => {
                let mut state =
                    CellState { hidden: hidden.forward(last.hidden.view())?, cell: cell.forward(last.cell.view())? };
                vecmath::tanh(slice_mut(&mut state.hidden));
                vecmath::tanh(slice_mut(&mut state.cell));
                state
            }
            _ => last,
        };
        Ok(Encoded { clips, memory, key_forms, state })
    }

    /// The values of the last layer's directions one after the other, `[batch, memory]`.
    fn last(&self, values: &Array3<T>) -> Array2<T> {
        let (directions, size) = (self.encoder.config().directions(), self.config.encoder_size);
        let first = values.dim().0 - directions;
        let mut last = Array2::zeros((values.dim().1, directions * size));
        for direction in 0..directions {
            let target = s![.., direction * size..(direction + 1) * size];
            last.slice_mut(target).assign(&values.slice(s![first + direction, .., ..]));
        }
        last
    }

    /// Checks that the public parts are those of the configuration; the encoder checks itself.
    fn check(&self) -> Result<(), AttentionError> {
        let config = &self.config;
        if *self.encoder.config() != config.encoder() {
            let requirement = "of the configuration of the model";
            return Err(invalid(NAME, "encoder", requirement, "another configuration").into());
        }
        cell_weights(NAME, &self.decoder, config.decoder().input_size, config.hidden_size)?;
        check_attention(NAME, &self.attention, &config.attention())?;
        check_axis(NAME, "embedding tokens", config.vocabulary, self.embedding.nrows())?;
        check_axis(NAME, "embedding features", config.embedding_size, self.embedding.ncols())?;
        let has_bridge = config.bridge == Bridge::Tanh;
        for (part, bridge, axes) in [
            (
                "bridge_hidden",
                &self.bridge_hidden,
                ["bridge_hidden outputs", "bridge_hidden inputs", "bridge_hidden bias"],
            ),
            ("bridge_cell", &self.bridge_cell, ["bridge_cell outputs", "bridge_cell inputs", "bridge_cell bias"]),
        ] {
            check_part(NAME, part, has_bridge, bridge.is_some())?;
            if let Some(bridge) = bridge {
                check_linear(NAME, axes, bridge, config.bridge_layer())?;
            }
        }
        check_linear(NAME, ["combine outputs", "combine inputs", "combine bias"], &self.combine, config.combine())?;
        check_linear(NAME, ["output outputs", "output inputs", "output bias"], &self.output, config.output())
    }
}

/// Checks that a token is one of the vocabulary.
fn check_token(
    operation: &'static str,
    index: &'static str,
    item: usize,
    found: usize,
    vocabulary: usize,
) -> Result<(), TensorError> {
    if found < vocabulary {
        return Ok(());
    }
    Err(TensorError::IndexOutOfRange { operation, index, item, found, end: vocabulary })
}

impl<T: Element> Parameters<T> for Seq2Seq<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("encoder", &self.encoder, visitor);
        for (name, bridge) in [("bridge_hidden", &self.bridge_hidden), ("bridge_cell", &self.bridge_cell)] {
            if let Some(bridge) = bridge {
                visit_part(name, bridge, visitor);
            }
        }
        visitor("embedding.weight", self.embedding.view().into_dyn());
        visit_part("attention", &self.attention, visitor);
        visit_part("decoder", &self.decoder, visitor);
        visit_part("combine", &self.combine, visitor);
        visit_part("output", &self.output, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        for (name, bridge) in [("bridge_hidden", &mut self.bridge_hidden), ("bridge_cell", &mut self.bridge_cell)] {
            if let Some(bridge) = bridge {
                visit_part_mut(name, bridge, visitor);
            }
        }
        visitor("embedding.weight", self.embedding.view_mut().into_dyn());
        visit_part_mut("attention", &mut self.attention, visitor);
        visit_part_mut("decoder", &mut self.decoder, visitor);
        visit_part_mut("combine", &mut self.combine, visitor);
        visit_part_mut("output", &mut self.output, visitor);
    }
}
