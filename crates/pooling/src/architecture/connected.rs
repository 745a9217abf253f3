//! Fully connected layers with rectified outputs, row by row: `y = dropout(max(W x + b, 0))`.
//!
//! A row has the same outputs and the same gradient of its input, bit for bit, whatever the other rows are.

use ndarray::{Array1, Array2, ArrayView2, Axis, CowArray, Ix2};
use ndarray_rand::rand::Rng;
use rayon::prelude::*;
use tensor_ops::{Dropout, DropoutTrace, Element, Linear, gemm, linear_backward, vecmath};

use super::config::NAME;
use crate::PoolingError;
use crate::error::zeros;

/// Values of a task of element-by-element work.
const PART: usize = 1 << 14;

/// Rows and layers of a forward pass.
#[derive(Clone, Debug)]
pub(super) struct ConnectedTrace<'a, T: Element> {
    pub(super) input: CowArray<'a, T, Ix2>,
    /// The outputs of the layers, after dropout.
    outputs: Vec<Array2<T>>,
    dropped: Vec<DropoutTrace<Ix2>>,
}

impl<T: Element> ConnectedTrace<'_, T> {
    pub(super) fn into_owned(self) -> ConnectedTrace<'static, T> {
        let Self { input, outputs, dropped } = self;
        ConnectedTrace { input: CowArray::from(input.into_owned()), outputs, dropped }
    }

    /// The output of the last layer, or the input where there is none.
    pub(super) fn output(&self) -> ArrayView2<'_, T> {
        self.outputs.last().map_or_else(|| self.input.view(), |output| output.view())
    }
}

/// The gradients of [`backward`].
pub(super) struct ConnectedGradients<T> {
    pub(super) layers: Vec<Linear<T>>,
    /// That of the rows, where it was asked for.
    pub(super) input: Option<Array2<T>>,
}

/// The output of a layer without activation.
pub(super) fn linear<T: Element>(layer: &Linear<T>, input: ArrayView2<'_, T>) -> Result<Array2<T>, PoolingError> {
    let mut output: Array2<T> =
        zeros(NAME, "output of a fully connected layer", [input.nrows(), layer.out_features()])?;
    layer.forward_into(input, output.view_mut())?;
    Ok(output)
}

/// max(x, 0) of a new array.
pub(super) fn rectify<T: Element>(output: &mut Array2<T>) {
    for_each_part(output.as_slice_mut().unwrap_or_default(), vecmath::relu);
}

/// The outputs of all layers for rows `[rows, features]`, of which only the last remains.
pub(super) fn forward<'a, T: Element>(
    layers: &[Linear<T>],
    input: CowArray<'a, T, Ix2>,
) -> Result<CowArray<'a, T, Ix2>, PoolingError> {
    let mut rows = input;
    for layer in layers {
        let mut output = linear(layer, rows.view())?;
        rectify(&mut output);
        rows = CowArray::from(output);
    }
    Ok(rows)
}

/// As [`forward`], with dropout and all that [`backward`] needs.
pub(super) fn forward_training<'a, T: Element>(
    layers: &[Linear<T>],
    dropout: Dropout,
    input: CowArray<'a, T, Ix2>,
    rng: &mut (impl Rng + ?Sized),
) -> Result<ConnectedTrace<'a, T>, PoolingError> {
    let mut trace = ConnectedTrace { input, outputs: Vec::new(), dropped: Vec::new() };
    for layer in layers {
        let mut output = linear(layer, trace.output())?;
        rectify(&mut output);
        trace.dropped.push(dropout.forward_training_in_place(output.view_mut(), rng));
        trace.outputs.push(output);
    }
    Ok(trace)
}

/// The gradients of the layers and, with `input_too`, of the rows, for that of the output.
pub(super) fn backward<T: Element>(
    layers: &[Linear<T>],
    dropout: Dropout,
    trace: &ConnectedTrace<'_, T>,
    grad_output: Array2<T>,
    input_too: bool,
) -> Result<ConnectedGradients<T>, PoolingError> {
    let mut gradient = grad_output;
    let mut gradients = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate().rev() {
        let input = if index == 0 { trace.input.view() } else { trace.outputs[index - 1].view() };
        dropout.backward_in_place(&trace.dropped[index], gradient.view_mut())?;
        rectify_gradient(trace.outputs[index].as_slice().unwrap_or_default(), &mut gradient)?;
        let (parameters, grad_input) = linear_gradients(layer, input, gradient.view(), index > 0 || input_too)?;
        gradients.push(parameters);
        match grad_input {
            Some(grad_input) => gradient = grad_input,
            None => {
                gradients.reverse();
                return Ok(ConnectedGradients { layers: gradients, input: None });
            }
        }
    }
    gradients.reverse();
    Ok(ConnectedGradients { layers: gradients, input: Some(gradient) })
}

/// The gradients of a layer without activation, that of its input with `input_too`.
pub(super) fn linear_gradients<T: Element>(
    layer: &Linear<T>,
    input: ArrayView2<'_, T>,
    grad_output: ArrayView2<'_, T>,
    input_too: bool,
) -> Result<(Linear<T>, Option<Array2<T>>), PoolingError> {
    if input_too {
        let gradients = linear_backward(input, layer.weight.view(), layer.bias.is_some(), grad_output)?;
        return Ok((gradients.parameters, Some(gradients.input)));
    }
    let mut weight: Array2<T> = zeros(NAME, "gradient of a weight", [layer.out_features(), layer.in_features()])?;
    gemm(T::one(), grad_output.t(), input, T::zero(), weight.view_mut())?;
    let mut bias = Array1::zeros(layer.out_features());
    grad_output.axis_iter(Axis(0)).for_each(|row| bias += &row);
    Ok((Linear { weight, bias: layer.bias.is_some().then_some(bias) }, None))
}

/// Multiplies the gradient of a rectified output by the derivative.
pub(super) fn rectify_gradient<T: Element>(output: &[T], gradient: &mut Array2<T>) -> Result<(), PoolingError> {
    if gradient.as_slice().is_none() {
        *gradient = gradient.as_standard_layout().into_owned();
    }
    let gradient = gradient.as_slice_mut().unwrap_or_default();
    let parts = gradient.par_chunks_mut(PART).zip(output.par_chunks(PART));
    parts.try_for_each(|(gradient, output)| vecmath::relu_grad(output, gradient))?;
    Ok(())
}

/// Calls `work` with all values, part by part.
pub(super) fn for_each_part<T: Element>(values: &mut [T], work: impl Fn(&mut [T]) + Sync + Send) {
    if values.len() <= PART {
        work(values);
    } else {
        values.par_chunks_mut(PART).for_each(work);
    }
}
