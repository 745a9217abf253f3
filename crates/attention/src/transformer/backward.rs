//! A transformer layer taken back.

use ndarray::{Array2, Array3, ArrayView3, Zip};
use tensor_ops::{Dropout, Element, LayerNorm, LayerNormTrace, Linear, TensorError, check_axis};

use super::{TransformerLayer, TransformerTrace};
use crate::error::invalid;
use crate::{AttentionError, MultiHeadAttention};

const NAME: &str = "TransformerLayer::backward";

/// The gradients that [`TransformerLayer::backward`] returns.
#[derive(Clone, Debug)]
pub struct TransformerGradients<T> {
    /// Of the input, `[batch, time, features]`; zero beyond the lengths.
    pub input: Array3<T>,
    /// Of the parameters.
    pub parameters: TransformerLayer<T>,
}

impl<T: Element> TransformerLayer<T> {
    /// The gradients of a loss, from that of the output `[batch, time, features]`. Gradients beyond the lengths are not
    /// used.
    ///
    /// # Errors
    /// [`AttentionError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &TransformerTrace<T>,
        grad_output: ArrayView3<'_, T>,
    ) -> Result<TransformerGradients<T>, AttentionError> {
        let (clips, norm_first) = (&trace.clips, self.config.norm_first);
        if trace.config != self.config {
            let requirement = "that of a forward pass with the same configuration";
            return Err(invalid(NAME, "trace", requirement, "another configuration").into());
        }
        check_axis(NAME, "output gradient batch", clips.batch(), grad_output.dim().0)?;
        check_axis(NAME, "output gradient time", clips.time, grad_output.dim().1)?;
        check_axis(NAME, "output gradient features", self.config.embed_dim, grad_output.dim().2)?;
        self.check()?;
        // `gradient` is that of y, then of z, then of x; `part` is that of what a part reads.
        let mut gradient = clips.frames(grad_output).into_owned();
        let (norm2, linears, norm1, self_attn);
        let mut part;
        if norm_first {
            (part, linears) = self.connected_backward(trace, gradient.clone())?;
            norm2 = norm_backward(&self.norm2, &trace.norms[1], &mut part)?;
        } else {
            norm2 = norm_backward(&self.norm2, &trace.norms[1], &mut gradient)?;
            (part, linears) = self.connected_backward(trace, gradient.clone())?;
        }
        gradient += &part;
        if norm_first {
            (part, self_attn) = self.attention_backward(trace, gradient.clone())?;
            norm1 = norm_backward(&self.norm1, &trace.norms[0], &mut part)?;
        } else {
            norm1 = norm_backward(&self.norm1, &trace.norms[0], &mut gradient)?;
            (part, self_attn) = self.attention_backward(trace, gradient.clone())?;
        }
        gradient += &part;
        let [linear1, linear2] = linears;
        let parameters = Self { config: self.config, self_attn, linear1, linear2, norm1, norm2 };
        Ok(TransformerGradients { input: clips.pad(gradient), parameters })
    }

    /// Through the fully connected layers: the gradients of what they read and of their parameters.
    fn connected_backward(
        &self,
        trace: &TransformerTrace<T>,
        mut gradient: Array2<T>,
    ) -> Result<(Array2<T>, [Linear<T>; 2]), TensorError> {
        self.restore(trace, 2, &mut gradient)?;
        let linear2 = self.linear2.backward(&trace.linears[1], gradient.view())?;
        let mut units = linear2.input;
        self.restore(trace, 1, &mut units)?;
        check_axis(NAME, "trace units", trace.rectified.ncols(), units.ncols())?;
        Zip::from(&mut units).and(&trace.rectified).for_each(|gradient, &unit| {
            if unit <= T::zero() {
                *gradient *= T::zero(); // a NaN stays one
            }
        });
        let linear1 = self.linear1.backward(&trace.linears[0], units.view())?;
        Ok((linear1.input, [linear1.parameters, linear2.parameters]))
    }

    /// Through the attention: the gradients of what it reads and of its parameters.
    fn attention_backward(
        &self,
        trace: &TransformerTrace<T>,
        mut gradient: Array2<T>,
    ) -> Result<(Array2<T>, MultiHeadAttention<T>), AttentionError> {
        self.restore(trace, 0, &mut gradient)?;
        let gradients = self.self_attn.backward(&trace.attention, trace.clips.pad(gradient).view(), None)?;
        let sum = gradients.queries + gradients.keys + gradients.values;
        Ok((trace.clips.frames(sum.view()).into_owned(), gradients.parameters))
    }

    /// Takes the dropout of a part back.
    fn restore(&self, trace: &TransformerTrace<T>, part: usize, gradient: &mut Array2<T>) -> Result<(), TensorError> {
        match &trace.dropouts[part] {
            Some(dropped) => Dropout::new(self.config.dropout)?.backward_in_place(dropped, gradient.view_mut()),
            None => Ok(()),
        }
    }
}

/// Replaces the gradient of a norm's output by that of its input; returns that of its parameters.
fn norm_backward<T: Element>(
    norm: &LayerNorm<T>,
    trace: &LayerNormTrace<T>,
    gradient: &mut Array2<T>,
) -> Result<LayerNorm<T>, TensorError> {
    let gradients = norm.backward(trace, gradient.view())?;
    *gradient = gradients.input;
    Ok(gradients.parameters)
}
