//! Multi-head attention taken back.

use ndarray::{Array2, Array3, ArrayView3, ArrayView4, s};
use tensor_ops::{Element, TensorError, check_axis, gemm};

use super::heads::Heads;
use super::{MultiHeadAttention, MultiHeadTrace};
use crate::AttentionError;
use crate::error::invalid;
use crate::vector::{add_rows, weight_gradient};

const NAME: &str = "MultiHeadAttention::backward";

/// The gradients that [`MultiHeadAttention::backward`] returns.
#[derive(Clone, Debug)]
pub struct MultiHeadGradients<T> {
    /// Of the queries, `[batch, queries, embed_dim]`. Where queries, keys and values are one array, its gradient is the sum.
    pub queries: Array3<T>,
    /// Of the keys, `[batch, keys, kdim]`.
    pub keys: Array3<T>,
    /// Of the values, `[batch, keys, vdim]`.
    pub values: Array3<T>,
    /// Of the parameters.
    pub parameters: MultiHeadAttention<T>,
}

impl<T: Element> MultiHeadAttention<T> {
    /// The gradients of a loss, from those of the output `[batch, queries, embed_dim]` and, where the loss has a term of
    /// them, of the weights `[batch, heads, queries, keys]`. Gradients beyond the lengths are not used.
    ///
    /// # Errors
    /// [`AttentionError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &MultiHeadTrace<T>,
        grad_output: ArrayView3<'_, T>,
        grad_weights: Option<ArrayView4<'_, T>>,
    ) -> Result<MultiHeadGradients<T>, AttentionError> {
        self.check()?;
        self.check_gradients(trace, grad_output, grad_weights)?;
        let mut parameters = Self::zeros(self.config)?;
        let grad_output = trace.clips[0].frames(grad_output);
        let mut grad_contexts = Array2::zeros(trace.contexts.dim());
        let out = self.out_proj.weight.view();
        gemm(T::one(), grad_output.view(), out, T::zero(), grad_contexts.view_mut())?;
        weight_gradient(grad_output.view(), trace.contexts.view(), parameters.out_proj.weight.view_mut())?;
        if let Some(bias) = &mut parameters.out_proj.bias {
            add_rows(grad_output.view(), bias.as_slice_mut().expect("a new array"));
        }
        let heads = Heads { clips: &trace.clips, heads: self.config.num_heads, causal: false };
        let projected = heads.backward(&trace.projected, &trace.weights, &grad_contexts, grad_weights)?;
        let size = self.config.embed_dim;
        let mut inputs = Vec::with_capacity(projected.len());
        for (part, (grad, input)) in projected.iter().zip(&trace.inputs).enumerate() {
            let mut grad_input = Array2::zeros(input.dim());
            gemm(T::one(), grad.view(), self.projection(part), T::zero(), grad_input.view_mut())?;
            let apart = [&mut parameters.q_proj_weight, &mut parameters.k_proj_weight, &mut parameters.v_proj_weight];
            let target = match (&mut parameters.in_proj_weight, apart) {
                (Some(joint), _) => joint.slice_mut(s![part * size..(part + 1) * size, ..]),
                (None, apart) => {
                    apart.into_iter().nth(part).and_then(Option::as_mut).expect("`zeros` made the weights").view_mut()
                }
            };
            weight_gradient(grad.view(), input.view(), target)?;
            if let Some(bias) = &mut parameters.in_proj_bias {
                let bias = bias.as_slice_mut().expect("a new array");
                add_rows(grad.view(), &mut bias[part * size..(part + 1) * size]);
            }
            inputs.push(trace.clips[part.min(1)].pad(grad_input));
        }
        let [queries, keys, values]: [Array3<T>; 3] = inputs.try_into().expect("three inputs");
        Ok(MultiHeadGradients { queries, keys, values, parameters })
    }

    fn check_gradients(
        &self,
        trace: &MultiHeadTrace<T>,
        grad_output: ArrayView3<'_, T>,
        grad_weights: Option<ArrayView4<'_, T>>,
    ) -> Result<(), TensorError> {
        if trace.config != self.config {
            let requirement = "that of a forward pass with the same configuration";
            return Err(invalid(NAME, "trace", requirement, "another configuration"));
        }
        let (batch, heads, queries, keys) = trace.weights.dim();
        check_axis(NAME, "output gradient batch", batch, grad_output.dim().0)?;
        check_axis(NAME, "output gradient queries", queries, grad_output.dim().1)?;
        check_axis(NAME, "output gradient features", self.config.embed_dim, grad_output.dim().2)?;
        let Some(grad) = grad_weights else { return Ok(()) };
        check_axis(NAME, "weight gradient batch", batch, grad.dim().0)?;
        check_axis(NAME, "weight gradient heads", heads, grad.dim().1)?;
        check_axis(NAME, "weight gradient queries", queries, grad.dim().2)?;
        check_axis(NAME, "weight gradient keys", keys, grad.dim().3)
    }
}
