//! Attention pooling: the outputs of all steps, weighted by a learned softmax over time.
//!
//! ```text
//! e_t = v·tanh(W y_t + b)   or   e_t = v·y_t      a = softmax(e)      c = Σ_t a_t y_t
//! ```
//!
//! The head that weighs the outputs of a bidirectional LSTM; the first form is that of Yang et al., "Hierarchical attention
//! networks for document classification", 2016.

use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD};
use ndarray_rand::rand::Rng;
use rayon::prelude::*;
use tensor_ops::init::fan_in_uniform;
use tensor_ops::{
    Element, Linear, LinearConfig, PackedMatrix, Parameters, ProductStart, TensorError, check_axis, check_lengths,
    check_not_empty, gemm, visit_part, visit_part_mut,
};

use crate::AttentionError;
use crate::clips::Clips;
use crate::error::check_part;
use crate::layer::{row_of, rows_of, slice_mut};
use crate::linear::{check_linear, zero_linear};
use crate::row::{Attended, Comparison, Operands, RowGradients, Scorer};
use crate::vector::{add_rows, weight_gradient};

const NAME: &str = "AttentionPooling";

/// The configuration of an [`AttentionPooling`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttentionPoolingConfig {
    /// Features of a step.
    pub features: usize,
    /// The hidden features of the score; `None` for the linear score v·y.
    pub attention_size: Option<usize>,
}

impl AttentionPoolingConfig {
    /// Checks the sizes.
    ///
    /// # Errors
    /// [`TensorError::EmptyAxis`] for a size of 0.
    pub fn validate(&self) -> Result<(), TensorError> {
        check_not_empty("AttentionPoolingConfig", "features", self.features)?;
        self.attention_size.map_or(Ok(()), |size| check_not_empty("AttentionPoolingConfig", "attention_size", size))
    }

    fn hidden(&self) -> Option<LinearConfig> {
        self.attention_size.map(|size| LinearConfig { in_features: self.features, out_features: size, bias: true })
    }

    fn score_size(&self) -> usize {
        self.attention_size.unwrap_or(self.features)
    }
}

/// A learned softmax over time, and the gradient of one.
///
/// Parameters: `hidden.weight` and `hidden.bias` where there is a hidden layer, then `weight_score`.
///
/// ```
/// use attention::{AttentionPooling, AttentionPoolingConfig};
/// use ndarray::Array3;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let config = AttentionPoolingConfig { features: 8, attention_size: Some(4) };
/// let pooling = AttentionPooling::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
/// let outputs = Array3::ones((2, 10, 8)); // of a bidirectional LSTM of 4 units
/// let pooled = pooling.forward(outputs.view(), Some(&[10, 4]))?;
/// assert_eq!(pooled.context.dim(), (2, 8));
/// assert_eq!(pooled.weights.row(1).iter().filter(|&&w| w > 0.0).count(), 4);
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionPooling<T> {
    config: AttentionPoolingConfig,
    /// W and b.
    pub hidden: Option<Linear<T>>,
    /// v: `[attention_size]`, or `[features]` without a hidden layer.
    pub weight_score: Array1<T>,
}

/// What attention pooling yields.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolingOutput<T> {
    /// c: `[batch, features]`.
    pub context: Array2<T>,
    /// a: `[batch, time]`; zero beyond the lengths.
    pub weights: Array2<T>,
    /// e: `[batch, time]`; −∞ beyond the lengths.
    pub scores: Array2<T>,
}

/// What [`AttentionPooling::backward`] needs of an [`AttentionPooling::forward_training`].
#[derive(Clone, Debug)]
pub struct PoolingTrace<T> {
    clips: Clips,
    frames: Array2<T>,
    forms: Array2<T>,
    weights: Array2<T>,
}

/// The gradients that [`AttentionPooling::backward`] returns.
#[derive(Clone, Debug)]
pub struct PoolingGradients<T> {
    /// Of the outputs, `[batch, time, features]`; zero beyond the lengths.
    pub input: Array3<T>,
    /// Of the parameters.
    pub parameters: AttentionPooling<T>,
}

impl<T: Element> AttentionPooling<T> {
    /// A layer with all parameters from U(−1/√n, 1/√n), n the values that each adds up.
    ///
    /// # Errors
    /// As [`AttentionPoolingConfig::validate`].
    pub fn new(config: AttentionPoolingConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, AttentionError> {
        config.validate()?;
        let hidden = config.hidden().map(|hidden| Linear::new(hidden, rng)).transpose()?;
        Ok(Self { config, hidden, weight_score: fan_in_uniform(config.score_size(), config.score_size(), rng)? })
    }

    /// A layer with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`AttentionPoolingConfig::validate`].
    pub fn zeros(config: AttentionPoolingConfig) -> Result<Self, AttentionError> {
        config.validate()?;
        let weight_score = Array1::zeros(config.score_size());
        Ok(Self { config, hidden: config.hidden().map(zero_linear), weight_score })
    }

    /// The configuration.
    pub fn config(&self) -> &AttentionPoolingConfig {
        &self.config
    }

    /// Pools `outputs` `[batch, time, features]`; steps beyond the lengths do not count.
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, another number of features, wrong lengths, and parameters that do not fit the
    /// configuration.
    pub fn forward(
        &self,
        outputs: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
    ) -> Result<PoolingOutput<T>, AttentionError> {
        Ok(self.forward_training(outputs, lengths)?.0)
    }

    /// Pools as [`Self::forward`] does, and keeps what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        outputs: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
    ) -> Result<(PoolingOutput<T>, PoolingTrace<T>), AttentionError> {
        self.check()?;
        let (batch, time, features) = outputs.dim();
        check_not_empty(NAME, "outputs batch", batch)?;
        check_not_empty(NAME, "outputs time", time)?;
        check_axis(NAME, "output features", self.config.features, features)?;
        check_lengths(NAME, lengths, batch, time)?;
        let clips = Clips::new(batch, time, lengths);
        let frames = clips.frames(outputs).into_owned();
        let forms = match &self.hidden {
            Some(hidden) => {
                let mut forms = Array2::zeros((clips.rows, hidden.out_features()));
                let bias = hidden.bias.as_ref().expect("checked to be there").to_vec();
                let weight = PackedMatrix::new(hidden.weight.t())?;
                weight.multiply(frames.view(), ProductStart::Row(&bias), forms.view_mut())?;
                forms
            }
            None => Array2::zeros((0, 0)),
        };
        let scorer = self.scorer();
        let query = self.query();
        let mut output = PoolingOutput {
            context: Array2::zeros((batch, features)),
            weights: Array2::zeros((batch, time)),
            scores: Array2::from_elem((batch, time), T::neg_infinity()),
        };
        let keys = if self.hidden.is_some() { forms.view() } else { frames.view() };
        let rows = slice_mut(&mut output.context).par_chunks_mut(features);
        let rows = rows.zip(slice_mut(&mut output.weights).par_chunks_mut(time));
        let rows = rows.zip(slice_mut(&mut output.scores).par_chunks_mut(time)).enumerate();
        rows.for_each(|(sequence, ((context, weights), scores))| {
            let length = clips.lengths[sequence];
            let part = |rows| rows_of(rows, clips.starts[sequence], length);
            let operands = Operands { form: &query, keys: part(keys), values: part(frames.view()) };
            let (scores, weights) = (&mut scores[..length], &mut weights[..length]);
            let scratch = &mut vec![T::zero(); query.len()];
            scorer.attend(operands, None, Attended { scores, weights, context, scratch });
        });
        let weights = output.weights.clone();
        Ok((output, PoolingTrace { clips, frames, forms, weights }))
    }

    /// The gradients of a loss, from that of the context `[batch, features]` and, where the loss has a term of them, of the
    /// weights `[batch, time]`.
    ///
    /// # Errors
    /// [`AttentionError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &PoolingTrace<T>,
        grad_context: ArrayView2<'_, T>,
        grad_weights: Option<ArrayView2<'_, T>>,
    ) -> Result<PoolingGradients<T>, AttentionError> {
        const NAME: &str = "AttentionPooling::backward";
        self.check()?;
        let (clips, features) = (&trace.clips, self.config.features);
        check_axis(NAME, "trace features", features, trace.frames.ncols())?;
        check_axis(NAME, "trace hidden features", self.config.attention_size.unwrap_or(0), trace.forms.ncols())?;
        check_axis(NAME, "context gradient batch", clips.batch(), grad_context.nrows())?;
        check_axis(NAME, "context gradient features", features, grad_context.ncols())?;
        if let Some(grad) = grad_weights {
            check_axis(NAME, "weight gradient batch", clips.batch(), grad.nrows())?;
            check_axis(NAME, "weight gradient time", clips.time, grad.ncols())?;
        }
        let (scorer, query) = (self.scorer(), self.query());
        let size = query.len();
        let keys = if self.hidden.is_some() { trace.forms.view() } else { trace.frames.view() };
        let mut grad_keys = Array2::zeros(keys.dim());
        let mut grad_frames = Array2::zeros(trace.frames.dim());
        // Of v and of the query, which is v where the score is linear.
        let mut grad_vectors = Array2::<T>::zeros((clips.batch(), scorer.vector.len()));
        let mut grad_queries = Array2::<T>::zeros((clips.batch(), size));
        let parts = clips
            .split(slice_mut(&mut grad_keys), size)
            .into_iter()
            .zip(clips.split(slice_mut(&mut grad_frames), features))
            .zip(grad_vectors.rows_mut().into_iter().zip(grad_queries.rows_mut()))
            .collect::<Vec<_>>();
        parts.into_par_iter().enumerate().try_for_each(
            |(sequence, ((grad_keys, grad_frames), (mut vector, mut form)))| {
                let length = clips.lengths[sequence];
                let part = |rows| rows_of(rows, clips.starts[sequence], length);
                let operands = Operands { form: &query, keys: part(keys), values: part(trace.frames.view()) };
                let context = grad_context.row(sequence).to_vec();
                let weights = grad_weights.map(|grad| grad.row(sequence).to_vec());
                let gradients = RowGradients {
                    context: &context,
                    weights: weights.as_ref().map(|weights| &weights[..length]),
                    form: form.as_slice_mut().expect("a row of a new array"),
                    keys: grad_keys,
                    values: Some(grad_frames),
                    vector: vector.as_slice_mut().expect("a row of a new array"),
                    scores: &mut vec![T::zero(); length],
                    scratch: &mut vec![T::zero(); size],
                };
                scorer.attend_backward(operands, &row_of(trace.weights.view(), sequence)[..length], gradients)
            },
        )?;
        let mut parameters = Self::zeros(self.config)?;
        let of_score = if self.hidden.is_some() { &grad_vectors } else { &grad_queries };
        add_rows(of_score.view(), parameters.weight_score.as_slice_mut().expect("a new array"));
        match (&self.hidden, &mut parameters.hidden) {
            (Some(hidden), Some(gradient)) => {
                gemm(T::one(), grad_keys.view(), hidden.weight.view(), T::one(), grad_frames.view_mut())?;
                weight_gradient(grad_keys.view(), trace.frames.view(), gradient.weight.view_mut())?;
                if let Some(bias) = &mut gradient.bias {
                    add_rows(grad_keys.view(), bias.as_slice_mut().expect("a new array"));
                }
            }
            _ => grad_frames += &grad_keys,
        }
        Ok(PoolingGradients { input: clips.pad(grad_frames), parameters })
    }

    /// v·tanh(0 + (W y + b)), or v·y.
    fn scorer(&self) -> Scorer<T> {
        let hidden = self.hidden.is_some();
        Scorer {
            comparison: if hidden { Comparison::Additive } else { Comparison::Product },
            vector: if hidden { self.weight_score.to_vec() } else { Vec::new() },
            scale: T::one(),
            inverse_temperature: T::one(),
        }
    }

    fn query(&self) -> Vec<T> {
        if self.hidden.is_some() { vec![T::zero(); self.weight_score.len()] } else { self.weight_score.to_vec() }
    }

    fn check(&self) -> Result<(), AttentionError> {
        check_part(NAME, "hidden", self.config.attention_size.is_some(), self.hidden.is_some())?;
        if let (Some(linear), Some(config)) = (&self.hidden, self.config.hidden()) {
            check_linear(NAME, ["hidden outputs", "hidden inputs", "hidden bias"], linear, config)?;
        }
        Ok(check_axis(NAME, "weight_score", self.config.score_size(), self.weight_score.len())?)
    }
}

impl<T: Element> Parameters<T> for AttentionPooling<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        if let Some(hidden) = &self.hidden {
            visit_part("hidden", hidden, visitor);
        }
        visitor("weight_score", self.weight_score.view().into_dyn());
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        if let Some(hidden) = &mut self.hidden {
            visit_part_mut("hidden", hidden, visitor);
        }
        visitor("weight_score", self.weight_score.view_mut().into_dyn());
    }
}
