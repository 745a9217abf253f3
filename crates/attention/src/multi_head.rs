//! Multi-head attention, with PyTorch's parameters.
//!
//! With heads h of d features each and the scaled dot product (Vaswani et al., "Attention is all you need", 2017):
//!
//! ```text
//! Q = X_q W_qᵀ + b_q      K = X_k W_kᵀ + b_k      V = X_v W_vᵀ + b_v
//! A_h = softmax(Q_h K_hᵀ / √d)      Y = [A₁ V₁ … A_n V_n] W_oᵀ + b_o
//! ```

use ndarray::{
    ArcArray2, Array1, Array2, Array3, Array4, ArrayView1, ArrayView2, ArrayView3, ArrayView4, ArrayViewD,
    ArrayViewMutD, s,
};
use ndarray_rand::rand::Rng;
use tensor_ops::init::{fan_in_uniform, glorot_uniform};
use tensor_ops::{
    Element, Linear, Parameters, TensorError, check_axis, check_not_empty, linear_into, visit_part, visit_part_mut,
};

use crate::clips::Clips;
use crate::error::{check_part, invalid};
use crate::{AttentionError, AttentionMask};

mod backward;
mod heads;

pub use backward::MultiHeadGradients;
use heads::Heads;

const NAME: &str = "MultiHeadAttention";

/// The configuration of a [`MultiHeadAttention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeadAttentionConfig {
    /// Features of a query and of the output.
    pub embed_dim: usize,
    /// Heads, among which the features are divided.
    pub num_heads: usize,
    /// Whether the projections have biases.
    pub bias: bool,
    /// Features of a key, if not `embed_dim`.
    pub kdim: Option<usize>,
    /// Features of a value, if not `embed_dim`.
    pub vdim: Option<usize>,
}

impl Default for MultiHeadAttentionConfig {
    /// One head with biases; `embed_dim` is 0 and must be set.
    fn default() -> Self {
        Self { embed_dim: 0, num_heads: 1, bias: true, kdim: None, vdim: None }
    }
}

impl MultiHeadAttentionConfig {
    /// `num_heads` heads on `embed_dim` features, and [`Self::default`] in all else.
    pub fn new(embed_dim: usize, num_heads: usize) -> Self {
        Self { embed_dim, num_heads, ..Self::default() }
    }

    /// Features of a key.
    pub fn key_size(&self) -> usize {
        self.kdim.unwrap_or(self.embed_dim)
    }

    /// Features of a value.
    pub fn value_size(&self) -> usize {
        self.vdim.unwrap_or(self.embed_dim)
    }

    /// Whether the three projections of the input are one array, as in PyTorch.
    fn is_joint(&self) -> bool {
        self.key_size() == self.embed_dim && self.value_size() == self.embed_dim
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// [`TensorError`] for a size of 0 and for features that cannot be divided among the heads.
    pub fn validate(&self) -> Result<(), TensorError> {
        const NAME: &str = "MultiHeadAttentionConfig";
        check_not_empty(NAME, "embed_dim", self.embed_dim)?;
        check_not_empty(NAME, "num_heads", self.num_heads)?;
        check_not_empty(NAME, "kdim", self.key_size())?;
        check_not_empty(NAME, "vdim", self.value_size())?;
        if !self.embed_dim.is_multiple_of(self.num_heads) {
            let found = format!("{} for {} features", self.num_heads, self.embed_dim);
            return Err(invalid(NAME, "num_heads", "a divisor of embed_dim", found));
        }
        Ok(())
    }
}

/// Multi-head attention, and the gradient of one.
///
/// Parameters have the names and shapes of PyTorch's `nn.MultiheadAttention` with `batch_first`: `in_proj_weight`, or
/// `q_proj_weight`, `k_proj_weight` and `v_proj_weight` where keys or values have another size; `in_proj_bias`;
/// `out_proj.weight`, `out_proj.bias`. Dropout, `add_bias_kv` and `add_zero_attn` are not supported.
///
/// ```
/// use attention::{AttentionMask, MultiHeadAttention, MultiHeadAttentionConfig};
/// use ndarray::Array3;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let layer = MultiHeadAttention::<f32>::new(MultiHeadAttentionConfig::new(16, 4), &mut StdRng::seed_from_u64(1))?;
/// let frames = Array3::from_shape_fn((2, 6, 16), |(b, t, i)| ((b + t * i) % 5) as f32);
/// let lengths = [6, 4];
/// let mask = AttentionMask { causal: true, ..AttentionMask::of_lengths(&lengths) };
/// let (output, weights) = layer.forward(frames.view(), frames.view(), frames.view(), &mask)?;
/// assert_eq!(output.dim(), (2, 6, 16));
/// assert_eq!(weights.dim(), (2, 4, 6, 6)); // [batch, heads, queries, keys]
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MultiHeadAttention<T> {
    config: MultiHeadAttentionConfig,
    /// `W_q`, `W_k` and `W_v` one below the other, `[3 · embed_dim, embed_dim]`, where all have the same size.
    pub in_proj_weight: Option<Array2<T>>,
    /// `W_q`, `[embed_dim, embed_dim]`, where they have not.
    pub q_proj_weight: Option<Array2<T>>,
    /// `W_k`, `[embed_dim, kdim]`, where they have not.
    pub k_proj_weight: Option<Array2<T>>,
    /// `W_v`, `[embed_dim, vdim]`, where they have not.
    pub v_proj_weight: Option<Array2<T>>,
    /// `b_q`, `b_k` and `b_v` one after another, `[3 · embed_dim]`.
    pub in_proj_bias: Option<Array1<T>>,
    /// `W_o` and `b_o`.
    pub out_proj: Linear<T>,
}

/// What [`MultiHeadAttention::backward`] needs of a [`MultiHeadAttention::forward_training`].
#[derive(Clone, Debug)]
pub struct MultiHeadTrace<T> {
    config: MultiHeadAttentionConfig,
    /// `X_q`, `X_k` and `X_v`, `[rows, features]`, those that are the same array in the same memory.
    inputs: [ArcArray2<T>; 3],
    /// Q, K and V, `[rows, embed_dim]`.
    projected: [Array2<T>; 3],
    /// A, `[batch, heads, queries, keys]`.
    weights: Array4<T>,
    /// A V, `[rows, embed_dim]`.
    contexts: Array2<T>,
    clips: [Clips; 2],
}

impl<T: Element> MultiHeadTrace<T> {
    /// The weights of every head, `[batch, heads, queries, keys]`, as [`MultiHeadAttention::forward`] returns them.
    pub fn weights(&self) -> ArrayView4<'_, T> {
        self.weights.view()
    }

    pub(crate) fn into_weights(self) -> Array4<T> {
        self.weights
    }
}

impl<T: Element> MultiHeadAttention<T> {
    /// A layer with PyTorch's initial values: input projections by Glorot's uniform distribution, biases 0, the output
    /// projection from U(−1/√n, 1/√n).
    ///
    /// # Errors
    /// As [`MultiHeadAttentionConfig::validate`].
    pub fn new(config: MultiHeadAttentionConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, AttentionError> {
        let mut layer = Self::zeros(config)?;
        for weight in
            [&mut layer.in_proj_weight, &mut layer.q_proj_weight, &mut layer.k_proj_weight, &mut layer.v_proj_weight]
                .into_iter()
                .flatten()
        {
            *weight = glorot_uniform(weight.raw_dim(), 1.0, rng)?;
        }
        layer.out_proj.weight = fan_in_uniform(layer.out_proj.weight.raw_dim(), config.embed_dim, rng)?;
        Ok(layer)
    }

    /// A layer with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`MultiHeadAttentionConfig::validate`].
    pub fn zeros(config: MultiHeadAttentionConfig) -> Result<Self, AttentionError> {
        config.validate()?;
        let (size, joint) = (config.embed_dim, config.is_joint());
        let apart = |columns: usize| (!joint).then(|| Array2::zeros((size, columns)));
        Ok(Self {
            config,
            in_proj_weight: joint.then(|| Array2::zeros((3 * size, size))),
            q_proj_weight: apart(size),
            k_proj_weight: apart(config.key_size()),
            v_proj_weight: apart(config.value_size()),
            in_proj_bias: config.bias.then(|| Array1::zeros(3 * size)),
            out_proj: Linear { weight: Array2::zeros((size, size)), bias: config.bias.then(|| Array1::zeros(size)) },
        })
    }

    /// The configuration.
    pub fn config(&self) -> &MultiHeadAttentionConfig {
        &self.config
    }

    /// The output `[batch, queries, embed_dim]` and the weights of every head, `[batch, heads, queries, keys]`, for
    /// `queries` `[batch, queries, embed_dim]`, `keys` `[batch, keys, kdim]` and `values` `[batch, keys, vdim]`.
    ///
    /// A query that no key is kept for has a context of zero, so that its output is the bias of the output projection.
    /// Beyond the query lengths output and weights are zero.
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, sizes that do not fit, a wrong mask, and parameters that do not fit the
    /// configuration.
    pub fn forward(
        &self,
        queries: ArrayView3<'_, T>,
        keys: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<(Array3<T>, Array4<T>), AttentionError> {
        let (output, run) = self.run(queries, keys, values, mask)?;
        Ok((output, run.weights))
    }

    /// The output as of [`Self::forward`], and what [`Self::backward`] needs; the weights are
    /// [those of the trace](MultiHeadTrace::weights).
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        queries: ArrayView3<'_, T>,
        keys: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<(Array3<T>, MultiHeadTrace<T>), AttentionError> {
        let (output, run) = self.run(queries, keys, values, mask)?;
        let Run { projected, weights, contexts, clips } = run;
        let inputs = [(queries, &clips[0]), (keys, &clips[1]), (values, &clips[1])];
        let mut owned: Vec<ArcArray2<T>> = Vec::with_capacity(inputs.len());
        for (index, (input, clips)) in inputs.iter().enumerate() {
            let is_same = |(other, other_clips): &(ArrayView3<'_, T>, &Clips)| {
                let layout = |view: &ArrayView3<'_, T>| (view.as_ptr(), view.dim(), view.strides().to_vec());
                layout(other) == layout(input) && other_clips.lengths == clips.lengths
            };
            owned.push(match inputs[..index].iter().position(is_same) {
                Some(same) => owned[same].clone(),
                None => clips.frames(*input).into_owned().into_shared(),
            });
        }
        let inputs = owned.try_into().expect("three inputs");
        Ok((output, MultiHeadTrace { config: self.config, inputs, projected, weights, contexts, clips }))
    }

    fn run(
        &self,
        queries: ArrayView3<'_, T>,
        keys: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<(Array3<T>, Run<T>), AttentionError> {
        self.check()?;
        let shape = self.check_input(queries, keys, values)?;
        let kept = mask.check(NAME, shape)?;
        let clips =
            [Clips::new(shape[0], shape[1], mask.query_lengths), Clips::new(shape[0], shape[2], mask.key_lengths)];
        let inputs = [clips[0].frames(queries), clips[1].frames(keys), clips[1].frames(values)];
        let project = |part: usize| {
            let mut output = Array2::zeros((inputs[part].nrows(), self.config.embed_dim));
            linear_into(inputs[part].view(), self.projection(part), self.projection_bias(part), output.view_mut())?;
            Ok::<_, TensorError>(output)
        };
        let projected = [project(0)?, project(1)?, project(2)?];
        let mut weights = Array4::zeros((shape[0], self.config.num_heads, shape[1], shape[2]));
        let mut contexts = Array2::zeros((clips[0].rows, self.config.embed_dim));
        let heads = Heads { clips: &clips, heads: self.config.num_heads, causal: mask.causal };
        heads.forward(&projected, kept, &mut weights, &mut contexts)?;
        let output = self.out_proj.forward(contexts.view())?;
        Ok((clips[0].pad(output), Run { projected, weights, contexts, clips }))
    }

    /// `W_q`, `W_k` or `W_v`.
    fn projection(&self, part: usize) -> ArrayView2<'_, T> {
        let size = self.config.embed_dim;
        let apart = [&self.q_proj_weight, &self.k_proj_weight, &self.v_proj_weight];
        match (&self.in_proj_weight, apart[part]) {
            (Some(joint), _) => joint.slice(s![part * size..(part + 1) * size, ..]),
            (None, Some(weight)) => weight.view(),
            (None, None) => unreachable!("`check` found the weights"),
        }
    }

    /// `b_q`, `b_k` or `b_v`.
    fn projection_bias(&self, part: usize) -> Option<ArrayView1<'_, T>> {
        let size = self.config.embed_dim;
        self.in_proj_bias.as_ref().map(|bias| bias.slice(s![part * size..(part + 1) * size]))
    }

    /// Batch, queries and keys.
    fn check_input(
        &self,
        queries: ArrayView3<'_, T>,
        keys: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
    ) -> Result<[usize; 3], TensorError> {
        let ((batch, query_count, _), key_count) = (queries.dim(), keys.dim().1);
        check_not_empty(NAME, "queries batch", batch)?;
        check_not_empty(NAME, "queries", query_count)?;
        check_not_empty(NAME, "keys", key_count)?;
        check_axis(NAME, "query features", self.config.embed_dim, queries.dim().2)?;
        check_axis(NAME, "keys batch", batch, keys.dim().0)?;
        check_axis(NAME, "key features", self.config.key_size(), keys.dim().2)?;
        check_axis(NAME, "values batch", batch, values.dim().0)?;
        check_axis(NAME, "values", key_count, values.dim().1)?;
        check_axis(NAME, "value features", self.config.value_size(), values.dim().2)?;
        Ok([batch, query_count, key_count])
    }

    /// Checks that the public arrays are those of the configuration.
    pub(crate) fn check(&self) -> Result<(), AttentionError> {
        let (config, size, joint) = (&self.config, self.config.embed_dim, self.config.is_joint());
        for (part, weight, expected, axes, rows, columns) in [
            (
                "in_proj_weight",
                &self.in_proj_weight,
                joint,
                ["in_proj_weight rows", "in_proj_weight columns"],
                3 * size,
                size,
            ),
            ("q_proj_weight", &self.q_proj_weight, !joint, ["q_proj_weight rows", "q_proj_weight columns"], size, size),
            (
                "k_proj_weight",
                &self.k_proj_weight,
                !joint,
                ["k_proj_weight rows", "k_proj_weight columns"],
                size,
                config.key_size(),
            ),
            (
                "v_proj_weight",
                &self.v_proj_weight,
                !joint,
                ["v_proj_weight rows", "v_proj_weight columns"],
                size,
                config.value_size(),
            ),
        ] {
            check_part(NAME, part, expected, weight.is_some())?;
            if let Some(weight) = weight {
                check_axis(NAME, axes[0], rows, weight.nrows())?;
                check_axis(NAME, axes[1], columns, weight.ncols())?;
            }
        }
        for (part, bias, length) in
            [("in_proj_bias", &self.in_proj_bias, 3 * size), ("out_proj.bias", &self.out_proj.bias, size)]
        {
            check_part(NAME, part, config.bias, bias.is_some())?;
            if let Some(bias) = bias {
                check_axis(NAME, part, length, bias.len())?;
            }
        }
        check_axis(NAME, "out_proj.weight rows", size, self.out_proj.weight.nrows())?;
        Ok(check_axis(NAME, "out_proj.weight columns", size, self.out_proj.weight.ncols())?)
    }
}

/// A forward pass.
struct Run<T> {
    projected: [Array2<T>; 3],
    weights: Array4<T>,
    contexts: Array2<T>,
    clips: [Clips; 2],
}

impl<T: Element> Parameters<T> for MultiHeadAttention<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        for (name, weight) in [
            ("in_proj_weight", &self.in_proj_weight),
            ("q_proj_weight", &self.q_proj_weight),
            ("k_proj_weight", &self.k_proj_weight),
            ("v_proj_weight", &self.v_proj_weight),
        ] {
            if let Some(weight) = weight {
                visitor(name, weight.view().into_dyn());
            }
        }
        if let Some(bias) = &self.in_proj_bias {
            visitor("in_proj_bias", bias.view().into_dyn());
        }
        visit_part("out_proj", &self.out_proj, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        for (name, weight) in [
            ("in_proj_weight", &mut self.in_proj_weight),
            ("q_proj_weight", &mut self.q_proj_weight),
            ("k_proj_weight", &mut self.k_proj_weight),
            ("v_proj_weight", &mut self.v_proj_weight),
        ] {
            if let Some(weight) = weight {
                visitor(name, weight.view_mut().into_dyn());
            }
        }
        if let Some(bias) = &mut self.in_proj_bias {
            visitor("in_proj_bias", bias.view_mut().into_dyn());
        }
        visit_part_mut("out_proj", &mut self.out_proj, visitor);
    }
}
