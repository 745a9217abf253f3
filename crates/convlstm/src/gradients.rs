//! The results of a backward pass.

use ndarray::{Array1, Array3, Array5, ArrayBase, ArrayView3, Data, Dimension};
use tensor_ops::Element;

use crate::packed::PackedDirection;
use crate::{Cell, ConvRecurrent, LayerWeights, RecurrentState};

/// The gradients of a backward pass.
#[derive(Clone, Debug)]
pub struct RecurrentGradients<T, C> {
    /// The gradient of the input, `[batch, time, channels, height, width]`, zero beyond the lengths; `None` for a stack without
    /// input, and where it was not asked for.
    pub input: Option<Array5<T>>,
    /// The gradient of the initial states, also where none were given.
    pub initial: RecurrentState<T>,
    /// The gradients of the parameters.
    pub parameters: ConvRecurrent<T, C>,
}

/// What one sequence adds to the gradients of the vectors among the parameters.
#[derive(Clone, Debug)]
pub(crate) struct SequenceGradients<T> {
    bias: Option<Array1<T>>,
    bias_hn: Option<Array1<T>>,
    /// `[3, channels, positions]`, or one position for weights per channel.
    pub(crate) peepholes: Option<Array3<T>>,
    pub(crate) norm_weight: Option<Array1<T>>,
    pub(crate) norm_bias: Option<Array1<T>>,
}

impl<T: Element> SequenceGradients<T> {
    /// Zeros for the parameters `weights`.
    pub(crate) fn zeros(weights: &LayerWeights<T>) -> Self {
        let zeros = |vector: &Option<Array1<T>>| vector.as_ref().map(|vector| Array1::zeros(vector.len()));
        Self {
            bias: zeros(&weights.bias),
            bias_hn: zeros(&weights.bias_hn),
            peepholes: weights.peepholes.as_ref().map(|peepholes| {
                let (gates, channels, height, width) = peepholes.dim();
                Array3::zeros((gates, channels, height * width))
            }),
            norm_weight: zeros(&weights.norm_weight),
            norm_bias: zeros(&weights.norm_bias),
        }
    }

    /// Adds the sums over positions of the gradient `[gates, height, width]` to that of the bias.
    pub(crate) fn add_bias(&mut self, gradient: &ArrayView3<'_, T>) {
        add_sums(&mut self.bias, gradient);
    }

    /// As [`Self::add_bias`], for the bias that the reset gate acts on.
    pub(crate) fn add_bias_hn(&mut self, gradient: &ArrayView3<'_, T>) {
        add_sums(&mut self.bias_hn, gradient);
    }

    /// Adds these gradients to those of all sequences.
    pub(crate) fn add_to(&self, weights: &mut LayerWeights<T>) {
        let vectors = [
            (&self.bias, &mut weights.bias),
            (&self.bias_hn, &mut weights.bias_hn),
            (&self.norm_weight, &mut weights.norm_weight),
            (&self.norm_bias, &mut weights.norm_bias),
        ];
        for (sums, total) in vectors {
            if let (Some(sums), Some(total)) = (sums, total) {
                *total += sums;
            }
        }
        if let (Some(sums), Some(total)) = (&self.peepholes, &mut weights.peepholes) {
            total.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
        }
    }
}

fn add_sums<T: Element>(total: &mut Option<Array1<T>>, gradient: &ArrayView3<'_, T>) {
    if let Some(total) = total {
        total.iter_mut().zip(gradient.outer_iter()).for_each(|(total, gate)| *total += sum(&gate));
    }
}

/// Sums at a time, enough to hide the latency of additions and to fill vectors.
const PARTS: usize = 32;

/// The sum of all values, in interleaved parts.
pub(crate) fn sum<T: Element, D: Dimension>(values: &ArrayBase<impl Data<Elem = T>, D>) -> T {
    let mut parts = [T::zero(); PARTS];
    if let Some(values) = values.as_slice() {
        let chunks = values.chunks_exact(PARTS);
        parts.iter_mut().zip(chunks.remainder()).for_each(|(part, &value)| *part = value);
        for chunk in chunks {
            for index in 0..PARTS {
                parts[index] += chunk[index];
            }
        }
    } else {
        values.iter().enumerate().for_each(|(index, &value)| parts[index % PARTS] += value);
    }
    parts.into_iter().sum()
}

/// The sum of the products of all values, in interleaved parts.
pub(crate) fn dot<T: Element, D: Dimension>(
    a: &ArrayBase<impl Data<Elem = T>, D>,
    b: &ArrayBase<impl Data<Elem = T>, D>,
) -> T {
    let mut parts = [T::zero(); PARTS];
    if let (Some(a), Some(b)) = (a.as_slice(), b.as_slice()) {
        let (a, b) = (a.chunks_exact(PARTS), b.chunks_exact(PARTS));
        for (part, (&a, &b)) in parts.iter_mut().zip(a.remainder().iter().zip(b.remainder())) {
            *part = a * b;
        }
        for (a, b) in a.zip(b) {
            for index in 0..PARTS {
                parts[index] += a[index] * b[index];
            }
        }
    } else {
        a.iter().zip(b).enumerate().for_each(|(index, (&a, &b))| parts[index % PARTS] += a * b);
    }
    parts.into_iter().sum()
}

impl<T: Element, C: Cell> RecurrentGradients<T, C> {
    /// Zeros for the parameters and initial states of `layers` on `batch` sequences.
    pub(crate) fn zeros(
        layers: &ConvRecurrent<T, C>,
        packed: &[PackedDirection<T>],
        batch: usize,
    ) -> Result<Self, crate::ConvLstmError> {
        let parameters = ConvRecurrent::zeros(layers.config().clone())?;
        Ok(Self { input: None, initial: RecurrentState::of_packed::<C>(packed, batch)?, parameters })
    }
}
