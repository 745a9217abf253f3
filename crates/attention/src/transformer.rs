//! Transformer layers (Vaswani et al., "Attention is all you need", 2017), with PyTorch's parameters.
//!
//! With MHA the multi-head attention of a sequence to itself and LN the layer normalisation, the layer is, with the norms
//! behind the sums as in the paper or before the parts (Xiong et al., "On layer normalization in the transformer
//! architecture", 2020):
//!
//! ```text
//! norm_first = false:  z = LN₁(x + MHA(x))        y = LN₂(z + W₂ max(W₁ z + b₁, 0) + b₂)
//! norm_first = true:   z = x + MHA(LN₁(x))        y = z + W₂ max(W₁ LN₂(z) + b₁, 0) + b₂
//! ```

use ndarray::{Array2, Array3, Array4, ArrayView3, ArrayView4, ArrayViewD, ArrayViewMutD, Ix2};
use ndarray_rand::rand::Rng;
use tensor_ops::{
    Dropout, DropoutTrace, Element, LayerNorm, LayerNormTrace, Linear, LinearConfig, LinearTrace, Parameters,
    TensorError, check_axis, check_lengths, check_not_empty, visit_part, visit_part_mut,
};

use crate::clips::Clips;
use crate::{AttentionError, AttentionMask, MultiHeadAttention, MultiHeadAttentionConfig, MultiHeadTrace};

mod backward;

pub use backward::TransformerGradients;

const NAME: &str = "TransformerLayer";

/// The configuration of a [`TransformerLayer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerConfig {
    /// Features of a step.
    pub embed_dim: usize,
    /// Heads, among which the features are divided.
    pub num_heads: usize,
    /// Units between the two fully connected layers.
    pub feedforward: usize,
    /// Whether the norms stand before the parts.
    pub norm_first: bool,
    /// Whether step t attends to the steps 0 … t alone.
    pub causal: bool,
    /// The probability that a value is dropped while training: of what each part adds, and of the units between the fully
    /// connected layers. The weights of the attention are not dropped, other than in PyTorch.
    pub dropout: f64,
}

impl TransformerConfig {
    /// A layer with `feedforward` of 4 · `embed_dim`, norms first, all steps attended to, and no dropout.
    pub fn new(embed_dim: usize, num_heads: usize) -> Self {
        let feedforward = embed_dim.saturating_mul(4);
        Self { embed_dim, num_heads, feedforward, norm_first: true, causal: false, dropout: 0.0 }
    }

    /// The configuration of the attention.
    pub fn attention(&self) -> MultiHeadAttentionConfig {
        MultiHeadAttentionConfig::new(self.embed_dim, self.num_heads)
    }

    /// Checks the sizes and options.
    ///
    /// # Errors
    /// [`TensorError`] for a size of 0, features that cannot be divided among the heads, and a probability outside 0..=1.
    pub fn validate(&self) -> Result<(), TensorError> {
        self.attention().validate()?;
        check_not_empty("TransformerConfig", "feedforward", self.feedforward)?;
        Dropout::new(self.dropout).map(|_| ())
    }
}

/// A layer of a transformer that encodes a sequence, and the gradient of one.
///
/// Parameters have the names and shapes of PyTorch's `nn.TransformerEncoderLayer` with `batch_first`. Attention knows no
/// order: add [`sinusoidal_positions`] to the first input, or features that depend on time.
///
/// ```
/// use attention::{TransformerConfig, TransformerLayer, sinusoidal_positions};
/// use ndarray::Array3;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let layer = TransformerLayer::<f32>::new(TransformerConfig::new(16, 4), &mut StdRng::seed_from_u64(1))?;
/// let frames = Array3::ones((2, 6, 16)) + sinusoidal_positions::<f32>(6, 16)?;
/// let (output, weights) = layer.forward(frames.view(), Some(&[6, 4]))?;
/// assert_eq!(output.dim(), (2, 6, 16));
/// assert_eq!(weights.dim(), (2, 4, 6, 6)); // [batch, heads, steps, steps attended to]
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TransformerLayer<T> {
    config: TransformerConfig,
    /// The attention of the sequence to itself.
    pub self_attn: MultiHeadAttention<T>,
    /// W₁ and b₁.
    pub linear1: Linear<T>,
    /// W₂ and b₂.
    pub linear2: Linear<T>,
    /// LN₁.
    pub norm1: LayerNorm<T>,
    /// LN₂.
    pub norm2: LayerNorm<T>,
}

/// What [`TransformerLayer::backward`] needs of a [`TransformerLayer::forward_training`].
#[derive(Clone, Debug)]
pub struct TransformerTrace<T> {
    config: TransformerConfig,
    clips: Clips,
    attention: MultiHeadTrace<T>,
    norms: [LayerNormTrace<T>; 2],
    linears: [LinearTrace<T>; 2],
    /// max(W₁ · + b₁, 0), before dropout.
    rectified: Array2<T>,
    /// Of what the attention adds, of the units, and of what the fully connected layers add; `None` outside training.
    dropouts: [Option<DropoutTrace<Ix2>>; 3],
}

impl<T: Element> TransformerTrace<T> {
    /// The weights of every head, `[batch, heads, time, time]`, as [`TransformerLayer::forward`] returns them.
    pub fn weights(&self) -> ArrayView4<'_, T> {
        self.attention.weights()
    }
}

impl<T: Element> TransformerLayer<T> {
    /// A layer with PyTorch's initial values.
    ///
    /// # Errors
    /// As [`TransformerConfig::validate`].
    pub fn new(config: TransformerConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, AttentionError> {
        config.validate()?;
        let linear = |in_features, out_features| LinearConfig { in_features, out_features, bias: true };
        Ok(Self {
            config,
            self_attn: MultiHeadAttention::new(config.attention(), rng)?,
            linear1: Linear::new(linear(config.embed_dim, config.feedforward), rng)?,
            linear2: Linear::new(linear(config.feedforward, config.embed_dim), rng)?,
            norm1: LayerNorm::new(config.embed_dim)?,
            norm2: LayerNorm::new(config.embed_dim)?,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The output `[batch, time, features]` for `input` of the same shape, and the weights of every head,
    /// `[batch, heads, time, time]`; both are zero beyond the lengths, and what lies there changes nothing.
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, another number of features, wrong lengths, and parameters that do not fit the
    /// configuration.
    pub fn forward(
        &self,
        input: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array3<T>, Array4<T>), AttentionError> {
        let (output, trace) = self.run(input, lengths, &mut |_| None)?;
        Ok((output, trace.attention.into_weights()))
    }

    /// The output as of [`Self::forward`], with dropout, and what [`Self::backward`] needs; the weights are
    /// [those of the trace](TransformerTrace::weights).
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        input: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<(Array3<T>, TransformerTrace<T>), AttentionError> {
        let dropout = Dropout::new(self.config.dropout)?;
        self.run(input, lengths, &mut |values| Some(dropout.forward_training_in_place(values.view_mut(), rng)))
    }

    fn run(
        &self,
        input: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
        drop: &mut dyn FnMut(&mut Array2<T>) -> Option<DropoutTrace<Ix2>>,
    ) -> Result<(Array3<T>, TransformerTrace<T>), AttentionError> {
        let (batch, time, features) = input.dim();
        check_not_empty(NAME, "input batch", batch)?;
        check_not_empty(NAME, "input time", time)?;
        check_axis(NAME, "input features", self.config.embed_dim, features)?;
        check_lengths(NAME, lengths, batch, time)?;
        self.check()?;
        let clips = Clips::new(batch, time, lengths);
        let mask = AttentionMask {
            key_lengths: Some(&clips.lengths),
            query_lengths: Some(&clips.lengths),
            causal: self.config.causal,
            kept: None,
        };
        let x = clips.frames(input).into_owned();
        let first = self.config.norm_first.then(|| self.norm1.forward_training(x.view())).transpose()?;
        let (read, norm1) = first.map_or((None, None), |(read, trace)| (Some(read), Some(trace)));
        let read = clips.pad(read.unwrap_or_else(|| x.clone()));
        let (attended, attention) = self.self_attn.forward_training(read.view(), read.view(), read.view(), &mask)?;
        let mut sum = clips.frames(attended.view()).into_owned();
        let dropped_attention = drop(&mut sum);
        sum += &x;
        let (z, norm1) = match norm1 {
            Some(trace) => (sum, trace),
            None => self.norm1.forward_training(sum.view())?,
        };
        let second = self.config.norm_first.then(|| self.norm2.forward_training(z.view())).transpose()?;
        let read = second.as_ref().map_or(&z, |(read, _)| read);
        let (mut units, linear1) = self.linear1.forward_training(read.view())?;
        units.mapv_inplace(|unit| if unit < T::zero() { T::zero() } else { unit });
        let rectified = units.clone();
        let dropped_units = drop(&mut units);
        let (mut sum, linear2) = self.linear2.forward_training(units.view())?;
        let dropped_output = drop(&mut sum);
        sum += &z;
        let (y, norm2) = match second {
            Some((_, trace)) => (sum, trace),
            None => self.norm2.forward_training(sum.view())?,
        };
        let output = clips.pad(y);
        let trace = TransformerTrace {
            config: self.config,
            clips,
            attention,
            norms: [norm1, norm2],
            linears: [linear1, linear2],
            rectified,
            dropouts: [dropped_attention, dropped_units, dropped_output],
        };
        Ok((output, trace))
    }

    /// Checks that the fully connected layers are those of the configuration; the other parts check themselves.
    fn check(&self) -> Result<(), TensorError> {
        let TransformerConfig { embed_dim, feedforward, .. } = self.config;
        check_axis(NAME, "linear1 outputs", feedforward, self.linear1.out_features())?;
        check_axis(NAME, "linear1 inputs", embed_dim, self.linear1.in_features())?;
        check_axis(NAME, "linear2 outputs", embed_dim, self.linear2.out_features())?;
        check_axis(NAME, "linear2 inputs", feedforward, self.linear2.in_features())
    }
}

impl<T: Element> Parameters<T> for TransformerLayer<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("self_attn", &self.self_attn, visitor);
        visit_part("linear1", &self.linear1, visitor);
        visit_part("linear2", &self.linear2, visitor);
        visit_part("norm1", &self.norm1, visitor);
        visit_part("norm2", &self.norm2, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("self_attn", &mut self.self_attn, visitor);
        visit_part_mut("linear1", &mut self.linear1, visitor);
        visit_part_mut("linear2", &mut self.linear2, visitor);
        visit_part_mut("norm1", &mut self.norm1, visitor);
        visit_part_mut("norm2", &mut self.norm2, visitor);
    }
}

/// The positions of Vaswani et al. (2017), section 3.5, `[time, features]`:
/// p(t, 2i) = sin(t / 10000^(2i/features)), p(t, 2i + 1) = cos(t / 10000^(2i/features)).
///
/// # Errors
/// [`TensorError::EmptyAxis`] for 0 steps or features.
pub fn sinusoidal_positions<T: Element>(time: usize, features: usize) -> Result<Array2<T>, TensorError> {
    check_not_empty("sinusoidal_positions", "time", time)?;
    check_not_empty("sinusoidal_positions", "features", features)?;
    Ok(Array2::from_shape_fn((time, features), |(step, feature)| {
        let angle = step as f64 / 10000_f64.powf((feature - feature % 2) as f64 / features as f64);
        T::from_f64(if feature.is_multiple_of(2) { angle.sin() } else { angle.cos() })
    }))
}
