//! Spatial attention: an LSTM that looks at a part of every frame.
//!
//! A frame is a map of K × K regions with D features each. With the previous hidden values as the query and e one of the
//! [scores](crate#scores):
//!
//! ```text
//! aᵢ = softmax over the regions i of e(h_{t−1}, X_{t,i})      x_t = Σᵢ aᵢ X_{t,i}      h_t = LSTM(x_t, h_{t−1})
//! h₀ = tanh(A m + a)      c₀ = tanh(C m + c)      m = the mean of all X_{t,i} of the clip
//! ```
//!
//! Sharma, Kiros and Salakhutdinov, "Action recognition using visual attention", 2016. The paper's scores depend on the
//! location alone ([`Score::Location`]), those of its published code on the content too ([`Score::Additive`]).

use lstm::{Initialisation, Lstm};
use ndarray::{Array2, Array3, Array4, ArrayView2, ArrayView5, ArrayViewD, ArrayViewMutD, CowArray, Ix2, s};
use ndarray_rand::rand::Rng;
use rayon::prelude::*;
use tensor_ops::{
    Element, Linear, LinearConfig, PackedMatrix, Parameters, TensorError, check_axis, check_lengths, check_not_empty,
    vecmath, visit_part, visit_part_mut,
};

use crate::cell::{INITIAL_AXES, PackedCell, cell_config, cell_weights};
use crate::clips::Clips;
use crate::layer::{rows_of, slice_mut};
use crate::linear::{check_linear, zero_linear};
use crate::packed::PackedScore;
use crate::recurrence::{Reach, Recurrence, RecurrenceTrace};
use crate::temporal::check_attention;
use crate::{Attention, AttentionConfig, AttentionError, CellState, Score};

mod backward;
mod penalty;
mod stream;

pub use backward::SpatialGradients;
pub use penalty::{DoublyStochasticPenalty, PenaltyReduction, PenaltyTarget};
pub use stream::{PackedSpatialAttention, SpatialStream};

const NAME: &str = "SpatialAttention";

/// The configuration of a [`SpatialAttention`].
#[derive(Clone, Debug, PartialEq)]
pub struct SpatialAttentionConfig {
    /// Rows of regions of a frame.
    pub height: usize,
    /// Columns of regions of a frame.
    pub width: usize,
    /// D: features of a region.
    pub features: usize,
    /// Units of the LSTM.
    pub hidden_size: usize,
    /// The score function; [`Score::Location`] is the paper's.
    pub score: Score,
    /// The hidden features of the score function, where it has some; else 0.
    pub attention_size: usize,
    /// τ, as in [`AttentionConfig::temperature`].
    pub temperature: f64,
    /// Whether the score function has a bias.
    pub attention_bias: bool,
    /// The sum of the forget gate's two biases at the start, as in [`lstm::LstmConfig::forget_bias`].
    pub forget_bias: Option<f64>,
    /// How the parameters of the LSTM are drawn.
    pub initialisation: Initialisation,
}

impl Default for SpatialAttentionConfig {
    /// The paper's location softmax on 7 × 7 regions; the other sizes are 0 and must be set.
    fn default() -> Self {
        Self {
            height: 7,
            width: 7,
            features: 0,
            hidden_size: 0,
            score: Score::Location,
            attention_size: 0,
            temperature: 1.0,
            attention_bias: false,
            forget_bias: None,
            initialisation: Initialisation::default(),
        }
    }
}

impl SpatialAttentionConfig {
    /// A model of `size` × `size` regions, and [`Self::default`] in all else.
    pub fn new(size: usize, features: usize, hidden_size: usize) -> Self {
        Self { height: size, width: size, features, hidden_size, ..Self::default() }
    }

    /// The regions of a frame.
    pub fn regions(&self) -> usize {
        self.height * self.width
    }

    /// Checks the sizes and options.
    ///
    /// # Errors
    /// [`TensorError`] for sizes of 0 and what [`AttentionConfig::validate`] refuses.
    pub fn validate(&self) -> Result<(), TensorError> {
        const NAME: &str = "SpatialAttentionConfig";
        check_not_empty(NAME, "height", self.height)?;
        check_not_empty(NAME, "width", self.width)?;
        check_not_empty(NAME, "features", self.features)?;
        check_not_empty(NAME, "hidden_size", self.hidden_size)?;
        self.attention().validate()
    }

    /// The configuration of the score function.
    pub fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            attention_size: self.attention_size,
            locations: if self.score == Score::Location { self.regions() } else { 0 },
            temperature: self.temperature,
            bias: self.attention_bias,
            ..AttentionConfig::new(self.score, self.hidden_size, self.features)
        }
    }

    fn initial(&self) -> LinearConfig {
        LinearConfig { in_features: self.features, out_features: self.hidden_size, bias: true }
    }
}

/// An LSTM that attends to the regions of every frame, and the gradient of one.
///
/// Parameters: `attention.…` of the score function, `lstm.…`, then `initial_hidden.…` and `initial_cell.…`.
///
/// ```
/// use attention::{SpatialAttention, SpatialAttentionConfig};
/// use ndarray::Array5;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let config = SpatialAttentionConfig::new(3, 8, 16);
/// let model = SpatialAttention::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
/// let maps = Array5::<f32>::ones((2, 5, 8, 3, 3)); // [batch, time, channels, height, width] of a convolution
/// let regions = maps.view().permuted_axes([0, 1, 3, 4, 2]); // [batch, time, height, width, channels]
/// let result = model.forward(regions, None, Some(&[5, 3]))?;
/// assert_eq!(result.output.dim(), (2, 5, 16));
/// assert_eq!(result.weights.dim(), (2, 5, 3, 3));
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SpatialAttention<T> {
    config: SpatialAttentionConfig,
    /// The score function: queries are hidden values, keys are regions.
    pub attention: Attention<T>,
    /// The cell, of one layer and direction.
    pub lstm: Lstm<T>,
    /// A and a.
    pub initial_hidden: Linear<T>,
    /// C and c.
    pub initial_cell: Linear<T>,
}

/// What spatial attention yields.
#[derive(Clone, Debug, PartialEq)]
pub struct SpatialOutput<T> {
    /// h: `[batch, time, hidden]`; zero beyond the lengths.
    pub output: Array3<T>,
    /// The values after the last valid step.
    pub state: CellState<T>,
    /// a: `[batch, time, height, width]`; zero beyond the lengths.
    pub weights: Array4<T>,
    /// e: `[batch, time, height, width]`; −∞ beyond the lengths.
    pub scores: Array4<T>,
    /// x: `[batch, time, features]`; zero beyond the lengths.
    pub contexts: Array3<T>,
}

/// What [`SpatialAttention::backward`] needs of a [`SpatialAttention::forward_training`].
#[derive(Clone, Debug)]
pub struct SpatialTrace<T> {
    config: SpatialAttentionConfig,
    clips: Clips,
    /// `[frames · regions, features]`
    regions: Array2<T>,
    /// `[frames · regions, form]`; empty where it is `regions`.
    key_forms: Array2<T>,
    /// m, `[batch, features]`, where the initial state was made from it.
    mean: Option<Array2<T>>,
    recurrence: RecurrenceTrace<T>,
}

impl<T: Element> SpatialAttention<T> {
    /// A model with parameters drawn as the configuration says.
    ///
    /// # Errors
    /// As [`SpatialAttentionConfig::validate`].
    pub fn new(config: SpatialAttentionConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, AttentionError> {
        config.validate()?;
        let attention = Attention::new(config.attention(), rng)?;
        let cell = cell_config(config.features, config.hidden_size, config.forget_bias, config.initialisation);
        let lstm = Lstm::new(cell, rng)?;
        let initial_hidden = Linear::new(config.initial(), rng)?;
        let initial_cell = Linear::new(config.initial(), rng)?;
        Ok(Self { config, attention, lstm, initial_hidden, initial_cell })
    }

    /// A model with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`SpatialAttentionConfig::validate`].
    pub fn zeros(config: SpatialAttentionConfig) -> Result<Self, AttentionError> {
        config.validate()?;
        let attention = Attention::zeros(config.attention())?;
        let cell = cell_config(config.features, config.hidden_size, config.forget_bias, config.initialisation);
        let initial = zero_linear(config.initial());
        let lstm = Lstm::zeros(cell)?;
        Ok(Self { config, attention, lstm, initial_hidden: initial.clone(), initial_cell: initial })
    }

    /// The configuration.
    pub fn config(&self) -> &SpatialAttentionConfig {
        &self.config
    }

    /// Encodes the clips `regions` `[batch, time, height, width, features]` from the state `initial`, or from that of the
    /// mean features.
    ///
    /// With `lengths`, clip b has `lengths[b]` frames; what lies beyond them changes nothing, the mean included. Features
    /// that do not lie side by side are copied.
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, another number of regions or features, wrong lengths or states, and parameters
    /// that do not fit the configuration.
    pub fn forward(
        &self,
        regions: ArrayView5<'_, T>,
        initial: Option<&CellState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<SpatialOutput<T>, AttentionError> {
        let run = self.run(regions, initial, lengths)?;
        Ok(self.output(&run.clips, &run.recurrence))
    }

    /// Encodes the clips as [`Self::forward`] does, and keeps what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        regions: ArrayView5<'_, T>,
        initial: Option<&CellState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<(SpatialOutput<T>, SpatialTrace<T>), AttentionError> {
        let Run { clips, regions, key_forms, mean, recurrence } = self.run(regions, initial, lengths)?;
        let output = self.output(&clips, &recurrence);
        let config = self.config.clone();
        let key_forms = key_forms.unwrap_or_else(|| Array2::zeros((0, 0)));
        let regions = regions.into_owned();
        Ok((output, SpatialTrace { config, clips, regions, key_forms, mean, recurrence }))
    }

    /// The initial state of the clips `regions`, from their mean features: where a stream of a known clip starts.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn initial_state(
        &self,
        regions: ArrayView5<'_, T>,
        lengths: Option<&[usize]>,
    ) -> Result<CellState<T>, AttentionError> {
        self.check_input(regions, None, lengths)?;
        self.pack_parts()?;
        let (batch, time, ..) = regions.dim();
        let clips = Clips::new(batch, time, lengths);
        let regions = self.regions(&clips, regions)?;
        let mean = self.mean(&clips, regions.view());
        Ok(self.state_of_mean(mean.view())?)
    }

    fn state_of_mean(&self, mean: ArrayView2<'_, T>) -> Result<CellState<T>, TensorError> {
        let mut state =
            CellState { hidden: self.initial_hidden.forward(mean)?, cell: self.initial_cell.forward(mean)? };
        vecmath::tanh(slice_mut(&mut state.hidden));
        vecmath::tanh(slice_mut(&mut state.cell));
        Ok(state)
    }

    fn run<'a>(
        &self,
        regions: ArrayView5<'a, T>,
        initial: Option<&CellState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<Run<'a, T>, AttentionError> {
        let packed = self.pack_parts()?;
        self.check_input(regions, initial, lengths)?;
        let (batch, time, ..) = regions.dim();
        let clips = Clips::new(batch, time, lengths);
        let regions = self.regions(&clips, regions)?;
        let (mean, made);
        let state = match initial {
            Some(initial) => {
                mean = None;
                initial
            }
            None => {
                let of_clips = self.mean(&clips, regions.view());
                made = self.state_of_mean(of_clips.view())?;
                mean = Some(of_clips);
                &made
            }
        };
        let key_forms = match packed.score.key_forms(regions.view())? {
            forms if forms.is_view() => None,
            forms => Some(forms.into_owned()),
        };
        let recurrence = Recurrence {
            clips: &clips,
            reach: Reach::Regions(self.config.regions()),
            cell: &packed.cell,
            score: &packed.score,
            key_forms: key_forms.as_ref().map_or(regions.view(), |forms| forms.view()),
            values: regions.view(),
            context: Some(&packed.context),
        };
        let units = packed.cell.layout.padded_units();
        let recurrence = recurrence.run(
            packed.cell.bias_rows(clips.rows),
            clips.sorted(Some(state.hidden.view()), units),
            clips.sorted(Some(state.cell.view()), units),
        )?;
        Ok(Run { clips, regions, key_forms, mean, recurrence })
    }

    fn output(&self, clips: &Clips, trace: &RecurrenceTrace<T>) -> SpatialOutput<T> {
        let (hidden_size, regions) = (self.config.hidden_size, self.config.regions());
        let maps = (clips.batch(), clips.time, self.config.height, self.config.width);
        let maps = |steps: &Array2<T>, fill: T| {
            let padded = clips.pad_steps(steps.view(), regions, fill);
            padded.into_shape_with_order(maps).expect("as many regions")
        };
        SpatialOutput {
            output: clips.pad_steps(trace.hidden.view(), hidden_size, T::zero()),
            state: CellState {
                hidden: clips.last(&trace.hidden, hidden_size),
                cell: clips.last(&trace.cell, hidden_size),
            },
            weights: maps(&trace.weights, T::zero()),
            scores: maps(&trace.scores, T::neg_infinity()),
            contexts: clips.pad_steps(trace.contexts.view(), self.config.features, T::zero()),
        }
    }

    /// `[frames · regions, features]`, without a copy where the features lie so already.
    fn regions<'a>(&self, clips: &Clips, regions: ArrayView5<'a, T>) -> Result<CowArray<'a, T, Ix2>, TensorError> {
        let (batch, time, ..) = regions.dim();
        let width = self.config.regions() * self.config.features;
        let shape = (clips.rows * self.config.regions(), self.config.features);
        if regions.is_standard_layout() {
            let frames = regions.into_shape_with_order((batch, time, width)).expect("values side by side");
            return Ok(clips.frames(frames).into_shape_with_order(shape).expect("as many regions"));
        }
        let mut rows = Array2::zeros((clips.rows, width));
        let parts = clips.split(slice_mut(&mut rows), width);
        parts.into_par_iter().enumerate().for_each(|(sequence, part)| {
            let source = regions.slice(s![sequence, ..clips.lengths[sequence], .., .., ..]);
            let mut target = ndarray::ArrayViewMut::from_shape(source.raw_dim(), part).expect("as many values");
            target.assign(&source);
        });
        Ok(rows.into_shape_with_order(shape).expect("as many regions").into())
    }

    /// m, `[batch, features]`.
    fn mean(&self, clips: &Clips, regions: ArrayView2<'_, T>) -> Array2<T> {
        let mut mean = Array2::<T>::zeros((clips.batch(), self.config.features));
        let per_frame = self.config.regions();
        slice_mut(&mut mean).par_chunks_mut(self.config.features).enumerate().for_each(|(sequence, mean)| {
            let count = clips.lengths[sequence] * per_frame;
            let rows = rows_of(regions, clips.starts[sequence] * per_frame, count);
            crate::vector::add_weighted(&vec![T::one(); count], rows, mean);
            let share = T::from_f64(1.0 / count as f64);
            mean.iter_mut().for_each(|value| *value *= share);
        });
        mean
    }

    fn check_input(
        &self,
        regions: ArrayView5<'_, T>,
        initial: Option<&CellState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<(), TensorError> {
        let (batch, time, height, width, features) = regions.dim();
        check_not_empty(NAME, "regions batch", batch)?;
        check_not_empty(NAME, "regions time", time)?;
        check_axis(NAME, "regions height", self.config.height, height)?;
        check_axis(NAME, "regions width", self.config.width, width)?;
        check_axis(NAME, "region features", self.config.features, features)?;
        check_lengths(NAME, lengths, batch, time)?;
        initial.map_or(Ok(()), |state| state.check(NAME, INITIAL_AXES, batch, self.config.hidden_size))
    }

    /// Checks the parameters and lays them out for the kernels.
    fn pack_parts(&self) -> Result<PackedParts<T>, AttentionError> {
        let config = &self.config;
        let weights = cell_weights(NAME, &self.lstm, config.features, config.hidden_size)?;
        check_attention(NAME, &self.attention, &config.attention())?;
        for (linear, axes) in [
            (&self.initial_hidden, ["initial_hidden outputs", "initial_hidden inputs", "initial_hidden bias"]),
            (&self.initial_cell, ["initial_cell outputs", "initial_cell inputs", "initial_cell bias"]),
        ] {
            check_linear(NAME, axes, linear, config.initial())?;
        }
        let cell = PackedCell::new(weights)?;
        let context = cell.input(weights.weight_ih.view())?;
        Ok(PackedParts { score: PackedScore::new(&self.attention)?, context, cell })
    }
}

/// A forward pass.
struct Run<'a, T> {
    clips: Clips,
    regions: CowArray<'a, T, Ix2>,
    /// `None` where it is `regions`.
    key_forms: Option<Array2<T>>,
    mean: Option<Array2<T>>,
    recurrence: RecurrenceTrace<T>,
}

/// The packed parameters.
#[derive(Clone, Debug)]
struct PackedParts<T> {
    score: PackedScore<T>,
    cell: PackedCell<T>,
    /// `W_c`, `[features, gates]`.
    context: PackedMatrix<T>,
}

impl<T: Element> Parameters<T> for SpatialAttention<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("attention", &self.attention, visitor);
        visit_part("lstm", &self.lstm, visitor);
        visit_part("initial_hidden", &self.initial_hidden, visitor);
        visit_part("initial_cell", &self.initial_cell, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("attention", &mut self.attention, visitor);
        visit_part_mut("lstm", &mut self.lstm, visitor);
        visit_part_mut("initial_hidden", &mut self.initial_hidden, visitor);
        visit_part_mut("initial_cell", &mut self.initial_cell, visitor);
    }
}
