//! Temporal attention: while it encodes a frame, an LSTM attends to the latest frames.
//!
//! With the frames v₁ … `v_t` … of a clip, N the window and e one of the [scores](crate#scores):
//!
//! ```text
//! aⱼ = softmax over j = t−N+1 … t of e(h_{t−1}, vⱼ)      c_t = Σⱼ aⱼ vⱼ      h_t = LSTM(c_t, h_{t−1})
//! ```
//!
//! The query is the previous hidden state, keys and values are the N latest input frames: the input attention of the
//! `MultiLSTM` (Yeung et al., "Every moment counts", 2018). Without a window every step attends to all frames of the clip,
//! as the decoder of Yao et al. ("Describing videos by exploiting temporal structure", 2015) does.

use lstm::{Initialisation, Lstm};
use ndarray::{Array2, Array3, ArrayView3, ArrayViewD, ArrayViewMutD, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{
    Element, PackedMatrix, Parameters, ProductStart, TensorError, check_axis, check_lengths, check_not_empty,
    visit_part, visit_part_mut,
};

use crate::cell::{INITIAL_AXES, PackedCell, cell_config, cell_weights};
use crate::clips::Clips;
use crate::error::invalid;
use crate::packed::PackedScore;
use crate::recurrence::{Reach, Recurrence, RecurrenceTrace};
use crate::{Attention, AttentionConfig, AttentionError, CellState, Score};

mod backward;
mod stream;

pub use backward::TemporalGradients;
pub use stream::{PackedTemporalAttention, TemporalStream};

const NAME: &str = "TemporalAttention";

/// The configuration of a [`TemporalAttention`].
#[derive(Clone, Debug, PartialEq)]
pub struct TemporalAttentionConfig {
    /// Features of a frame.
    pub features: usize,
    /// Units of the LSTM.
    pub hidden_size: usize,
    /// N: the frames that a step attends to, its own the last. `None`: all frames of the clip, later ones included.
    pub window: Option<usize>,
    /// The score function. [`Score::Location`] needs a window: it has one score for every distance to the current frame.
    pub score: Score,
    /// The hidden features of the score function, where it has some; else 0.
    pub attention_size: usize,
    /// τ, as in [`AttentionConfig::temperature`].
    pub temperature: f64,
    /// Whether the score function has a bias.
    pub attention_bias: bool,
    /// Whether the LSTM reads the current frame beside the context: its input is then the context followed by the frame.
    pub frame_input: bool,
    /// The sum of the forget gate's two biases at the start, as in [`lstm::LstmConfig::forget_bias`].
    pub forget_bias: Option<f64>,
    /// How the parameters of the LSTM are drawn.
    pub initialisation: Initialisation,
}

impl Default for TemporalAttentionConfig {
    /// The multiplicative score of Yeung et al. over 15 frames; the sizes are 0 and must be set.
    fn default() -> Self {
        Self {
            features: 0,
            hidden_size: 0,
            window: Some(15),
            score: Score::Multiplicative,
            attention_size: 0,
            temperature: 1.0,
            attention_bias: false,
            frame_input: false,
            forget_bias: None,
            initialisation: Initialisation::default(),
        }
    }
}

impl TemporalAttentionConfig {
    /// A model of these sizes, and [`Self::default`] in all else.
    pub fn new(features: usize, hidden_size: usize, attention_size: usize) -> Self {
        Self { features, hidden_size, attention_size, ..Self::default() }
    }

    /// Checks the sizes and options.
    ///
    /// # Errors
    /// [`TensorError`] for sizes of 0, a window of 0 frames, a location score without a window, and what
    /// [`AttentionConfig::validate`] refuses.
    pub fn validate(&self) -> Result<(), TensorError> {
        check_not_empty("TemporalAttentionConfig", "features", self.features)?;
        check_not_empty("TemporalAttentionConfig", "hidden_size", self.hidden_size)?;
        match (self.window, self.score) {
            (Some(0), _) => return Err(invalid("TemporalAttentionConfig", "window", "at least 1 frame", 0)),
            (None, Score::Location) => {
                return Err(invalid("TemporalAttentionConfig", "window", "given with a score by location", "None"));
            }
            _ => {}
        }
        self.attention().validate()
    }

    /// The configuration of the score function.
    pub fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            attention_size: self.attention_size,
            locations: if self.score == Score::Location { self.window.unwrap_or(0) } else { 0 },
            temperature: self.temperature,
            bias: self.attention_bias,
            ..AttentionConfig::new(self.score, self.hidden_size, self.features)
        }
    }

    /// Features that the LSTM reads.
    pub fn input_size(&self) -> usize {
        if self.frame_input { 2 * self.features } else { self.features }
    }

    pub(crate) fn reach(&self) -> Reach {
        self.window.map_or(Reach::Whole, Reach::Window)
    }
}

/// An LSTM that attends to the latest frames, and the gradient of one.
///
/// Parameters: `attention.…` of the score function, then `lstm.…`.
///
/// ```
/// use attention::{TemporalAttention, TemporalAttentionConfig};
/// use ndarray::Array3;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let config = TemporalAttentionConfig { window: Some(4), ..TemporalAttentionConfig::new(8, 16, 12) };
/// let model = TemporalAttention::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
/// let clips = Array3::from_shape_fn((2, 10, 8), |(b, t, i)| ((b + t * i) % 7) as f32 / 7.0);
/// let result = model.forward(clips.view(), None, Some(&[10, 6]))?;
/// assert_eq!(result.output.dim(), (2, 10, 16));
/// assert_eq!(result.weights.dim(), (2, 10, 4)); // of the frames t − 3, t − 2, t − 1 and t
/// assert_eq!(result.frame_weights().dim(), (2, 10, 10)); // the same by frame
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TemporalAttention<T> {
    config: TemporalAttentionConfig,
    /// The score function: queries are hidden values, keys are frames.
    pub attention: Attention<T>,
    /// The cell, of one layer and direction.
    pub lstm: Lstm<T>,
}

/// What temporal attention yields.
#[derive(Clone, Debug, PartialEq)]
pub struct TemporalOutput<T> {
    /// h: `[batch, time, hidden]`; zero beyond the lengths.
    pub output: Array3<T>,
    /// The values after the last valid step.
    pub state: CellState<T>,
    /// a: `[batch, time, window]`, the current frame in the last column; without a window `[batch, time, time]`. Zero for
    /// frames that do not exist.
    pub weights: Array3<T>,
    /// e, in the shape of the weights; −∞ for frames that do not exist.
    pub scores: Array3<T>,
    window: Option<usize>,
}

impl<T: Element> TemporalOutput<T> {
    /// The weights by frame, `[batch, step, frame]`.
    pub fn frame_weights(&self) -> Array3<T> {
        let Some(window) = self.window else { return self.weights.clone() };
        let (batch, time, _) = self.weights.dim();
        let mut by_frame = Array3::zeros((batch, time, time));
        for step in 0..time {
            let count = window.min(step + 1);
            by_frame.slice_mut(s![.., step, step + 1 - count..=step]).assign(&self.weights.slice(s![
                ..,
                step,
                window - count..
            ]));
        }
        by_frame
    }
}

/// What [`TemporalAttention::backward`] needs of a [`TemporalAttention::forward_training`].
#[derive(Clone, Debug)]
pub struct TemporalTrace<T> {
    config: TemporalAttentionConfig,
    clips: Clips,
    /// `[frames, features]`
    frames: Array2<T>,
    key_forms: Array2<T>,
    /// `W_c` v, `[frames, gates]`.
    values: Array2<T>,
    recurrence: RecurrenceTrace<T>,
}

impl<T: Element> TemporalAttention<T> {
    /// A model with parameters drawn as the configuration says.
    ///
    /// # Errors
    /// As [`TemporalAttentionConfig::validate`].
    pub fn new(config: TemporalAttentionConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, AttentionError> {
        config.validate()?;
        let attention = Attention::new(config.attention(), rng)?;
        let cell = cell_config(config.input_size(), config.hidden_size, config.forget_bias, config.initialisation);
        Ok(Self { attention, lstm: Lstm::new(cell, rng)?, config })
    }

    /// A model with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`TemporalAttentionConfig::validate`].
    pub fn zeros(config: TemporalAttentionConfig) -> Result<Self, AttentionError> {
        config.validate()?;
        let attention = Attention::zeros(config.attention())?;
        let cell = cell_config(config.input_size(), config.hidden_size, config.forget_bias, config.initialisation);
        Ok(Self { attention, lstm: Lstm::zeros(cell)?, config })
    }

    /// The configuration.
    pub fn config(&self) -> &TemporalAttentionConfig {
        &self.config
    }

    /// Encodes the clips `frames` `[batch, time, features]` from the state `initial`, or from zeros.
    ///
    /// With `lengths`, clip b has `lengths[b]` frames; what lies beyond them changes nothing.
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, another number of features, wrong lengths or states, and parameters that do not
    /// fit the configuration.
    pub fn forward(
        &self,
        frames: ArrayView3<'_, T>,
        initial: Option<&CellState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<TemporalOutput<T>, AttentionError> {
        Ok(self.forward_training(frames, initial, lengths)?.0)
    }

    /// Encodes the clips as [`Self::forward`] does, and keeps what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        frames: ArrayView3<'_, T>,
        initial: Option<&CellState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<(TemporalOutput<T>, TemporalTrace<T>), AttentionError> {
        let packed = self.pack_parts()?;
        let (batch, time, features) = frames.dim();
        check_not_empty(NAME, "frames batch", batch)?;
        check_not_empty(NAME, "frames time", time)?;
        check_axis(NAME, "frame features", self.config.features, features)?;
        check_lengths(NAME, lengths, batch, time)?;
        if let Some(initial) = initial {
            initial.check(NAME, INITIAL_AXES, batch, self.config.hidden_size)?;
        }
        let clips = Clips::new(batch, time, lengths);
        let units = packed.cell.layout.padded_units();
        let gates = match &packed.frame {
            Some(frame) => {
                let mut gates = Array2::zeros((clips.rows, packed.cell.layout.width()));
                let steps = clips.steps(frames, features);
                frame.multiply(steps.view(), ProductStart::Row(&packed.cell.bias), gates.view_mut())?;
                gates
            }
            None => packed.cell.bias_rows(clips.rows),
        };
        let frames = clips.frames(frames);
        let key_forms = packed.score.key_forms(frames.view())?;
        let mut values = Array2::zeros((clips.rows, packed.cell.layout.width()));
        packed.context.multiply(frames.view(), ProductStart::Zero, values.view_mut())?;
        let recurrence = Recurrence {
            clips: &clips,
            reach: self.config.reach(),
            cell: &packed.cell,
            score: &packed.score,
            key_forms: key_forms.view(),
            values: values.view(),
            context: None,
        };
        let initial_hidden = clips.sorted(initial.map(|state| state.hidden.view()), units);
        let initial_cell = clips.sorted(initial.map(|state| state.cell.view()), units);
        let trace = recurrence.run(gates, initial_hidden, initial_cell)?;
        let (hidden_size, columns) = (self.config.hidden_size, trace.weights.ncols());
        let output = TemporalOutput {
            output: clips.pad_steps(trace.hidden.view(), hidden_size, T::zero()),
            state: CellState {
                hidden: clips.last(&trace.hidden, hidden_size),
                cell: clips.last(&trace.cell, hidden_size),
            },
            weights: clips.pad_steps(trace.weights.view(), columns, T::zero()),
            scores: clips.pad_steps(trace.scores.view(), columns, T::neg_infinity()),
            window: self.config.window,
        };
        let (key_forms, frames) = (key_forms.into_owned(), frames.into_owned());
        let config = self.config.clone();
        Ok((output, TemporalTrace { config, clips, frames, key_forms, values, recurrence: trace }))
    }

    /// The parameters laid out for the kernels.
    fn pack_parts(&self) -> Result<PackedParts<T>, AttentionError> {
        let weights = cell_weights(NAME, &self.lstm, self.config.input_size(), self.config.hidden_size)?;
        check_attention(NAME, &self.attention, &self.config.attention())?;
        let cell = PackedCell::new(weights)?;
        let features = self.config.features;
        let of_frame = weights.weight_ih.slice(s![.., features..]);
        Ok(PackedParts {
            score: PackedScore::new(&self.attention)?,
            context: cell.input(weights.weight_ih.slice(s![.., ..features]))?,
            frame: self.config.frame_input.then(|| cell.input(of_frame)).transpose()?,
            cell,
        })
    }
}

/// The packed parameters.
#[derive(Clone, Debug)]
struct PackedParts<T> {
    score: PackedScore<T>,
    cell: PackedCell<T>,
    /// `W_c`, `[features, gates]`.
    context: PackedMatrix<T>,
    /// `W_x`, `[features, gates]`.
    frame: Option<PackedMatrix<T>>,
}

/// Checks that the score function, a public field, is still that of the configuration.
pub(crate) fn check_attention<T: Element>(
    layer: &'static str,
    attention: &Attention<T>,
    expected: &AttentionConfig,
) -> Result<(), TensorError> {
    if attention.config() == expected {
        return Ok(());
    }
    Err(invalid(layer, "attention", "of the configuration of the model", "another configuration"))
}

impl<T: Element> Parameters<T> for TemporalAttention<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("attention", &self.attention, visitor);
        visit_part("lstm", &self.lstm, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("attention", &mut self.attention, visitor);
        visit_part_mut("lstm", &mut self.lstm, visitor);
    }
}
