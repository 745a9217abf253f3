//! The way back through all layers step by step, because what is said at a step is read at the next.
//!
//! The gradient δ of what is said comes from the loss and, where it was fed back, from what was read at the next step:
//!
//! ```text
//! δY_t = ∂L/∂Y_t + f'(Y_t)∘δX_{t+1}
//! ```
//!
//! From it the 1×1 convolution takes the gradients of the hidden maps, the layers from the last to the first those of what they
//! read, and the first that of X.

use conv2d::{convolve_backward_input, convolve_backward_parameters};
use ndarray::{Array3, Array4, Array5, ArrayView3, ArrayView5, ArrayViewMut3, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Element, Parameters, check_axis, vecmath};

use super::{Feedback, NAME, NextFrame, NextFrameTrace};
use crate::backward::{LayerPass, SequencePass, section_steps};
use crate::cell::MAPS;
use crate::forecaster::side_by_side;
use crate::gradients::SequenceGradients;
use crate::packed::{PackedBackward, PackedStack};
use crate::sequence::Order;
use crate::weights::zeros;
use crate::{Cell, ConvLstmError, ConvRecurrent, patchify, unpatchify};

/// What the way back through one layer writes to, for all sequences.
struct LayerGradients<T> {
    packed: PackedBackward<T>,
    /// Zeros of the state's shape.
    nothing: Array3<T>,
    /// `[batch, section, maps, height, width]`
    grad_maps: Array5<T>,
    /// `[batch, channels, height, width]`, as the next two.
    grad_hidden: Array4<T>,
    grad_cell: Array4<T>,
    /// The gradient of a step's hidden values, from the frame and the layer above.
    grad_output: Array4<T>,
    sums: Vec<SequenceGradients<T>>,
}

/// The way back through one layer of one sequence, and the gradient of a step's hidden values.
type LayerPart<'a, T, C> = (SequencePass<'a, T, C>, ArrayViewMut3<'a, T>);

impl<T: Element, C: Cell> NextFrame<T, C> {
    /// The gradients of the frames, which is zero where they were not read, and of the parameters, for the gradient of what was
    /// said, `[batch, time, channels, height, width]`.
    ///
    /// # Errors
    /// [`ConvLstmError`] if a shape does not fit the trace, or the trace is that of another configuration.
    pub fn backward(
        &self,
        trace: &NextFrameTrace<T>,
        gradient: ArrayView5<'_, T>,
    ) -> Result<(Array5<T>, Self), ConvLstmError> {
        let (recurrent, [height, width]) = (&trace.recurrent, trace.size);
        let (batch, time, size) = (recurrent.shape.batch, recurrent.shape.time, recurrent.shape.size);
        let axes = ["gradient batch", "gradient time", "gradient channels", "gradient height", "gradient width"];
        for (axis, expected) in [batch, time, self.config.channels, height, width].into_iter().enumerate() {
            check_axis(NAME, axes[axis], expected, gradient.shape()[axis])?;
        }
        let packed = PackedStack::new(&self.layers, size, batch)?;
        recurrent.check(self.layers.config(), &packed)?;
        let mut grad_said = patchify(gradient, self.config.patch)?;
        let mut grad_read: Array5<T> =
            zeros("gradient of the input", [0, 1, 2, 3, 4].map(|axis| grad_said.shape()[axis]))?;
        let inside = self.inside(trace.size)?;
        let channels: usize = self.config.layers.iter().map(|layer| layer.hidden_channels).sum();
        let section = section_steps(batch * MAPS * channels * size[0] * size[1], time);
        let mut layers = self.layer_gradients(&packed, batch, section)?;
        let mut parameters = ConvRecurrent::zeros(self.layers.config().clone())?;
        let orders = vec![Order { length: time, reverse: false }; batch];

        for first in (0..time).step_by(section).collect::<Vec<_>>().into_iter().rev() {
            let steps = first..time.min(first + section);
            let mut passes = self.passes(trace, &packed, &mut layers);
            for step in steps.clone().rev() {
                if step + 1 < time {
                    for sequence in (0..batch).filter(|&sequence| !trace.truth[[sequence, step + 1]]) {
                        let next = s![sequence, step + 1, .., .., ..];
                        let read = recurrent.input.as_ref().map(|read| read.slice(next));
                        let (grad_read, grad_said) =
                            (grad_read.slice_mut(next), grad_said.slice_mut(s![sequence, step, .., .., ..]));
                        self.take_back(read, &inside, grad_read, grad_said)?;
                    }
                }
                let of_step = grad_said.index_axis(Axis(1), step);
                let of_maps = convolve_backward_input(&self.config.output(), self.output.weight.view(), size, of_step)?;
                let runs: Vec<_> =
                    passes.iter_mut().zip(of_maps.outer_iter()).zip(grad_read.outer_iter_mut()).collect();
                runs.into_par_iter().try_for_each(|((layers, of_maps), grad_read)| {
                    self.retreat(layers, step, step - first, of_maps, grad_read.index_axis_move(Axis(0), step))
                })?;
            }
            drop(passes);
            for (layer, of_layer) in layers.iter().enumerate() {
                let below = match layer.checked_sub(1) {
                    Some(below) => Some(recurrent.layers[below].output.view()),
                    None => recurrent.input.as_ref().map(|read| read.view()),
                };
                let pass = LayerPass { layers: &self.layers, trace: recurrent, packed: &packed, layer, below };
                let (hidden, record) = (recurrent.layers[layer].output.view(), &recurrent.layers[layer].records[0]);
                let target = &mut parameters.directions[layer];
                pass.add_weights(layer, &orders, steps.clone(), hidden, record, &of_layer.grad_maps, target)?;
            }
        }
        for (of_layer, target) in layers.iter().zip(&mut parameters.directions) {
            of_layer.sums.iter().for_each(|sums| sums.add_to(target));
        }
        let views: Vec<_> = recurrent.outputs().skip(self.config.first_output_layer()).collect();
        let mut output = self.output.zeros_like();
        let images = grad_said.to_shape((batch * time, self.config.patched_channels(), size[0], size[1]));
        let images = images.map_err(|_| ConvLstmError::Memory { part: "gradient", shape: vec![batch, time] })?;
        (output.weight, output.bias) =
            convolve_backward_parameters(&self.config.output(), side_by_side(&views)?.view(), images.view())?;
        let frames = unpatchify(grad_read.view(), self.config.patch, trace.size)?;
        Ok((frames, Self { config: self.config.clone(), layers: parameters, output }))
    }

    fn layer_gradients(
        &self,
        packed: &PackedStack<T>,
        batch: usize,
        section: usize,
    ) -> Result<Vec<LayerGradients<T>>, ConvLstmError> {
        let of_layer = |index: usize| -> Result<_, ConvLstmError> {
            let (layer, weights) = (&self.config.layers[index], &self.layers.directions[index]);
            let ([height, width], channels) = (packed.sizes[index], layer.hidden_channels);
            let shape = [batch, channels, height, width];
            Ok(LayerGradients {
                packed: PackedBackward::new(layer, weights, packed.input_sizes[index], packed.sizes[index], batch)?,
                nothing: Array3::zeros((channels, height, width)),
                grad_maps: zeros("gradients of gates", [batch, section, MAPS * channels, height, width])?,
                grad_hidden: zeros("gradient", shape)?,
                grad_cell: zeros("gradient", [batch, if C::HAS_CELL { channels } else { 0 }, height, width])?,
                grad_output: zeros("gradient", shape)?,
                sums: vec![SequenceGradients::zeros(weights); batch],
            })
        };
        (0..self.config.layers.len()).map(of_layer).collect()
    }

    /// For every sequence the way back through its layers, each with the gradient of a step's hidden values.
    fn passes<'a>(
        &'a self,
        trace: &'a NextFrameTrace<T>,
        packed: &'a PackedStack<T>,
        layers: &'a mut [LayerGradients<T>],
    ) -> Vec<Vec<LayerPart<'a, T, C>>> {
        let (recurrent, batch) = (&trace.recurrent, trace.recurrent.shape.batch);
        let mut passes: Vec<Vec<_>> = (0..batch).map(|_| Vec::new()).collect();
        for (index, of_layer) in layers.iter_mut().enumerate() {
            let LayerGradients { packed: backward, nothing, grad_maps, grad_hidden, grad_cell, grad_output, sums } =
                of_layer;
            let (backward, nothing): (&'a _, &'a Array3<T>) = (backward, nothing);
            let record = &recurrent.layers[index].records[0];
            let rows = grad_maps.outer_iter_mut().zip(grad_hidden.outer_iter_mut()).zip(grad_cell.outer_iter_mut());
            let rows = rows.zip(grad_output.outer_iter_mut()).zip(sums).enumerate();
            for (sequence, ((((grad_maps, grad_hidden), grad_cell), grad_output), sums)) in rows {
                let pass = SequencePass {
                    sequence,
                    layer: &self.config.layers[index],
                    direction: &packed.directions[index],
                    backward,
                    order: Order { length: recurrent.shape.time, reverse: false },
                    truncate: None,
                    initial: None,
                    nothing: nothing.view(),
                    hidden: recurrent.layers[index].output.index_axis(Axis(0), sequence),
                    cell: record.cell.index_axis(Axis(0), sequence),
                    record,
                    grad_maps,
                    grad_hidden,
                    grad_cell,
                    sums,
                };
                passes[sequence].push((pass, grad_output));
            }
        }
        passes
    }

    /// The way back through a step of all layers of one sequence, from the gradient of the maps that said a frame to that of
    /// what the first layer read.
    fn retreat(
        &self,
        layers: &mut [LayerPart<'_, T, C>],
        step: usize,
        slot: usize,
        of_maps: ArrayView3<'_, T>,
        mut grad_read: ArrayViewMut3<'_, T>,
    ) -> Result<(), ConvLstmError> {
        let mut first = 0;
        for (layer, (_, grad_output)) in layers.iter_mut().enumerate() {
            if layer < self.config.first_output_layer() {
                grad_output.fill(T::zero());
            } else {
                let channels = grad_output.dim().0;
                grad_output.assign(&of_maps.slice(s![first..first + channels, .., ..]));
                first += channels;
            }
        }
        for layer in (0..layers.len()).rev() {
            let (below, rest) = layers.split_at_mut(layer);
            let (pass, grad_output) = &mut rest[0];
            let (target, add) = match below.last_mut() {
                Some((_, of_below)) => (of_below.view_mut(), true),
                None => (grad_read.view_mut(), false),
            };
            pass.retreat(step, slot, grad_output.view(), Some(target), add)?;
        }
        Ok(())
    }

    /// Takes the gradient of what was read in place of a frame to what was said before; the frame gets none.
    fn take_back(
        &self,
        read: Option<ArrayView3<'_, T>>,
        inside: &Array3<bool>,
        mut grad_read: ArrayViewMut3<'_, T>,
        mut grad_said: ArrayViewMut3<'_, T>,
    ) -> Result<(), ConvLstmError> {
        if self.config.feedback == Feedback::Sigmoid
            && let (Some(read), Some(gradient)) =
                (read.as_ref().and_then(|read| read.as_slice()), grad_read.as_slice_mut())
        {
            vecmath::sigmoid_grad(read, gradient)?;
        }
        ndarray::Zip::from(&mut grad_said).and(&mut grad_read).and(inside).for_each(|said, read, &inside| {
            if inside {
                *said += *read;
            }
            *read = T::zero();
        });
        Ok(())
    }
}
