//! The backward pass: back-propagation through time.
//!
//! Step by step from the last one, the cell takes the gradient of its state back to that of the sums before the gates; the
//! convolutions of input and state take that to the maps below and before. The gradients of the weights are summed afterwards,
//! over the pairs of maps and gradients of a section of steps at a time, so that memory for gradients is bounded.

use std::ops::Range;

use conv2d::convolve_backward_weight;
use ndarray::{Array3, Array4, Array5, ArrayView5, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Element, check_axis};

use crate::cell::MAPS;
use crate::forward::LayerTrace;
use crate::gradients::SequenceGradients;
use crate::packed::{PackedBackward, PackedStack};
use crate::sequence::{Order, Record, Sequence, Slots};
use crate::state::GRAD_FINAL;
use crate::weights::zeros;
use crate::{
    Cell, ConvLstmError, ConvRecurrent, LayerConfig, LayerWeights, RecurrentGradients, RecurrentState, RecurrentTrace,
    TraceMemory,
};

mod pass;

pub(crate) use pass::SequencePass;

/// The elements of the gradients of sums that are kept until the gradients of the weights are summed.
const SECTION_ELEMENTS: usize = 1 << 24;

/// The steps of a section, for so many elements of a step.
pub(crate) fn section_steps(step_elements: usize, steps: usize) -> usize {
    (SECTION_ELEMENTS / step_elements.max(1)).clamp(1, steps.max(1))
}

const GRAD_OUTPUT: [&str; 5] =
    ["grad_output batch", "grad_output time", "grad_output channels", "grad_output height", "grad_output width"];

impl<T: Element, C: Cell> ConvRecurrent<T, C> {
    /// Takes the gradient of the output, and of the final states if given, back to the input, the initial states and the
    /// parameters.
    ///
    /// - `grad_output`: `[batch, time, channels, height, width]`, any strides; not read beyond the lengths
    ///
    /// # Errors
    /// [`ConvLstmError`] if a shape does not fit the trace, or the trace is that of another configuration.
    pub fn backward(
        &self,
        trace: &RecurrentTrace<T>,
        grad_output: ArrayView5<'_, T>,
        grad_final: Option<&RecurrentState<T>>,
    ) -> Result<RecurrentGradients<T, C>, ConvLstmError> {
        let layers = self.config().layers.len();
        let grad_outputs: Vec<_> = (0..layers).map(|layer| (layer + 1 == layers).then_some(grad_output)).collect();
        self.backward_layers(trace, &grad_outputs, grad_final, true)
    }

    /// As [`Self::backward`], with a gradient of the output of every layer that has one: for what reads the maps of several
    /// layers, [`RecurrentTrace::outputs`].
    ///
    /// # Errors
    /// As [`Self::backward`], and for another number of gradients than layers.
    pub fn backward_layers(
        &self,
        trace: &RecurrentTrace<T>,
        grad_outputs: &[Option<ArrayView5<'_, T>>],
        grad_final: Option<&RecurrentState<T>>,
        with_input: bool,
    ) -> Result<RecurrentGradients<T, C>, ConvLstmError> {
        let config = self.config();
        let shape = trace.shape;
        let packed = PackedStack::new(self, shape.size, shape.batch)?;
        trace.check(config, &packed)?;
        check_axis(C::NAME, "layers of grad_output", config.layers.len(), grad_outputs.len())?;
        for (layer, gradient) in trace.layers.iter().zip(grad_outputs) {
            for axis in 0..5 {
                if let Some(gradient) = gradient {
                    check_axis(C::NAME, GRAD_OUTPUT[axis], layer.output.shape()[axis], gradient.shape()[axis])?;
                }
            }
        }
        if let Some(grad_final) = grad_final {
            grad_final.check::<C>(GRAD_FINAL, &packed.directions, shape.batch)?;
        }
        let mut gradients = RecurrentGradients::zeros(self, &packed.directions, shape.batch)?;
        let mut grad_above: Option<Array5<T>> = None;
        for layer in (0..config.layers.len()).rev() {
            let below = match layer.checked_sub(1) {
                Some(below) => Some(trace.layers[below].output.view()),
                None => trace.input.as_ref().map(|input| input.view()),
            };
            let grad_output = match (grad_above.take(), grad_outputs[layer]) {
                (None, None) => {
                    zeros("gradient", [0, 1, 2, 3, 4].map(|axis| trace.layers[layer].output.shape()[axis]))?
                }
                (None, Some(outside)) => outside.to_owned(),
                (Some(above), None) => above,
                (Some(above), Some(outside)) => above + outside,
            };
            let pass = LayerPass { layers: self, trace, packed: &packed, layer, below };
            grad_above = pass.run(grad_output.view(), grad_final, layer > 0 || with_input, &mut gradients)?;
        }
        gradients.input = grad_above;
        Ok(gradients)
    }
}

/// The way back through one layer.
pub(crate) struct LayerPass<'a, T, C> {
    pub(crate) layers: &'a ConvRecurrent<T, C>,
    pub(crate) trace: &'a RecurrentTrace<T>,
    pub(crate) packed: &'a PackedStack<T>,
    pub(crate) layer: usize,
    /// What the layer read.
    pub(crate) below: Option<ArrayView5<'a, T>>,
}

impl<T: Element, C: Cell> LayerPass<'_, T, C> {
    /// The gradient of what the layer read, if it is asked for; those of its parameters and initial states go to `gradients`.
    fn run(
        &self,
        grad_output: ArrayView5<'_, T>,
        grad_final: Option<&RecurrentState<T>>,
        with_below: bool,
        gradients: &mut RecurrentGradients<T, C>,
    ) -> Result<Option<Array5<T>>, ConvLstmError> {
        let config = self.layers.config();
        let mut grad_below = match self.below.filter(|_| with_below) {
            Some(below) => {
                let (batch, time, channels, height, width) = below.dim();
                Some(zeros("gradient of the input", [batch, time, channels, height, width])?)
            }
            None => None,
        };
        for reverse in 0..config.directions() {
            let channels = config.layers[self.layer].hidden_channels;
            let grad_hidden = grad_output.slice(s![.., .., reverse * channels..(reverse + 1) * channels, .., ..]);
            let index = self.layer * config.directions() + reverse;
            self.run_direction(index, reverse == 1, grad_hidden, grad_final, grad_below.as_mut(), gradients)?;
        }
        Ok(grad_below)
    }

    fn run_direction(
        &self,
        index: usize,
        reverse: bool,
        grad_output: ArrayView5<'_, T>,
        grad_final: Option<&RecurrentState<T>>,
        mut grad_below: Option<&mut Array5<T>>,
        gradients: &mut RecurrentGradients<T, C>,
    ) -> Result<(), ConvLstmError> {
        let (trace, config) = (self.trace, self.layers.config());
        let (layer, weights) = (&config.layers[self.layer], &self.layers.directions[index]);
        let direction = &self.packed.directions[index];
        let ([height, width], batch) = (direction.size, trace.shape.batch);
        let backward = PackedBackward::new(layer, weights, self.packed.input_sizes[self.layer], direction.size, batch)?;
        let LayerTrace { output, records } = &trace.layers[self.layer];
        let channels = direction.hidden_channels;
        let hidden =
            output.slice(s![.., .., usize::from(reverse) * channels..(1 + usize::from(reverse)) * channels, .., ..]);
        let orders: Vec<_> = trace.lengths.iter().map(|&length| Order { length, reverse }).collect();
        let nothing = Array3::zeros((channels, height, width));

        let most_steps = trace.lengths.iter().copied().max().unwrap_or(0);
        let step_elements = batch * MAPS * channels * height * width;
        let section = section_steps(step_elements, most_steps);
        let mut grad_maps: Array5<T> = zeros("gradients of gates", [batch, section, MAPS * channels, height, width])?;
        // With the gates of a section computed again, in the shape of a record.
        let mut again = match config.memory {
            TraceMemory::Full => None,
            TraceMemory::RecomputeGates => {
                let slots = Slots { cell: section, maps: section };
                let hidden: Array5<T> = zeros("states", [batch, section, channels, height, width])?;
                Some((Record::new::<C>(&layer.cell, direction, batch, slots)?, hidden))
            }
        };
        let of_final = |maps: &[Array4<T>]| maps.get(index).cloned();
        let grad_hidden = grad_final.and_then(|state| of_final(&state.hidden));
        let mut grad_hidden = grad_hidden.map_or_else(|| zeros("gradient", [batch, channels, height, width]), Ok)?;
        let grad_cell = grad_final.and_then(|state| of_final(&state.cell));
        let cell_channels = if C::HAS_CELL { channels } else { 0 };
        let mut grad_cell = grad_cell.map_or_else(|| zeros("gradient", [batch, cell_channels, height, width]), Ok)?;
        let mut sums = vec![SequenceGradients::zeros(weights); batch];

        for first in (0..most_steps).step_by(section).collect::<Vec<_>>().into_iter().rev() {
            let steps = first..most_steps.min(first + section);
            let maps = match &mut again {
                None => &records[usize::from(reverse)],
                Some((record, hidden)) => {
                    self.recompute(index, &orders, steps.clone(), &nothing, hidden, record)?;
                    &*record
                }
            };
            let runs = grad_maps.outer_iter_mut().zip(grad_hidden.outer_iter_mut());
            let runs = runs.zip(grad_cell.outer_iter_mut()).zip(&mut sums).enumerate();
            let runs: Vec<_> = runs
                .map(|(sequence, (((grad_maps, grad_hidden), grad_cell), sums))| SequencePass {
                    sequence,
                    layer,
                    direction,
                    backward: &backward,
                    order: orders[sequence],
                    truncate: config.truncate,
                    initial: trace.initial.as_ref().map(|state| state.of_sequence(index, sequence)),
                    nothing: nothing.view(),
                    hidden: hidden.index_axis(Axis(0), sequence),
                    cell: records[usize::from(reverse)].cell.index_axis(Axis(0), sequence),
                    record: maps,
                    grad_maps,
                    grad_hidden,
                    grad_cell,
                    sums,
                })
                .collect();
            let mut of_below: Vec<_> = match &mut grad_below {
                Some(grad_below) => grad_below.outer_iter_mut().map(Some).collect(),
                None => (0..batch).map(|_| None).collect(),
            };
            runs.into_par_iter().zip(&mut of_below).try_for_each(|(mut run, of_below)| {
                let grad_output = grad_output.index_axis(Axis(0), run.sequence);
                (steps.start..steps.end.min(run.order.length)).rev().try_for_each(|step| {
                    let time = run.order.time(step);
                    let of_below = of_below.as_mut().map(|maps| maps.index_axis_mut(Axis(0), time));
                    // The second direction adds to what the first has written.
                    run.retreat(step, step - steps.start, grad_output.index_axis(Axis(0), time), of_below, reverse)
                })
            })?;
            let target = &mut gradients.parameters.directions[index];
            self.add_weights(index, &orders, steps, hidden, maps, &grad_maps, target)?;
        }

        sums.iter().for_each(|sums| sums.add_to(&mut gradients.parameters.directions[index]));
        gradients.initial.hidden[index] = grad_hidden;
        if let Some(cell) = gradients.initial.cell.get_mut(index) {
            *cell = grad_cell;
        }
        Ok(())
    }

    /// Computes the gates of a section of steps again.
    fn recompute(
        &self,
        index: usize,
        orders: &[Order],
        steps: Range<usize>,
        nothing: &Array3<T>,
        scratch: &mut Array5<T>,
        record: &mut Record<T>,
    ) -> Result<(), ConvLstmError> {
        let direction = &self.packed.directions[index];
        let LayerTrace { output, records } = &self.trace.layers[self.layer];
        let reverse = index % self.layers.config().directions();
        let channels = direction.hidden_channels;
        let cell = &self.layers.config().layers[self.layer].cell;
        let initial = self.trace.initial.as_ref();
        let sequences =
            Sequence::of_batch(cell, direction, orders, initial, index, nothing, scratch.view_mut(), record);
        sequences.into_par_iter().enumerate().try_for_each(|(sequence, mut run)| {
            let hidden = output.index_axis(Axis(0), sequence);
            let hidden = hidden.slice(s![.., reverse * channels..(reverse + 1) * channels, .., ..]);
            let cells = records[reverse].cell.index_axis(Axis(0), sequence);
            (steps.start..steps.end.min(run.order.length)).try_for_each(|step| {
                let input = self.below.map(|below| below.index_axis_move(Axis(0), sequence));
                let input = input.map(|input| input.index_axis_move(Axis(0), run.order.time(step)));
                let previous = step.checked_sub(1).map(|before| {
                    (hidden.index_axis(Axis(0), run.order.time(before)), cells.index_axis(Axis(0), before))
                });
                run.repeat(step, step - steps.start, previous, input)
            })
        })
    }

    /// Adds the gradients of the weights over a section of steps.
    pub(crate) fn add_weights(
        &self,
        index: usize,
        orders: &[Order],
        steps: Range<usize>,
        hidden: ArrayView5<'_, T>,
        record: &Record<T>,
        grad_maps: &Array5<T>,
        target: &mut LayerWeights<T>,
    ) -> Result<(), ConvLstmError> {
        let layer: &LayerConfig<C> = &self.layers.config().layers[self.layer];
        let channels = layer.hidden_channels;
        let size = self.packed.directions[index].size;
        let (mut of_input, mut of_state, mut of_candidate) = (Vec::new(), Vec::new(), Vec::new());
        let gates = C::GATES * channels;
        let separate = C::GATES - C::separate_gates();
        for (sequence, &order) in orders.iter().enumerate() {
            let initial = self.trace.initial.as_ref().map(|state| state.of_sequence(index, sequence).0);
            for step in steps.start..steps.end.min(order.length) {
                let slot = step - steps.start;
                let gradient = |rows: Range<usize>| grad_maps.slice(s![sequence, slot, rows, .., ..]);
                let map =
                    |rows: Range<usize>| record.maps.slice(s![sequence, step % record.maps.dim().1, rows, .., ..]);
                if let Some(below) = &self.below {
                    of_input.push((below.slice(s![sequence, order.time(step), .., .., ..]), gradient(0..gates)));
                }
                let previous = match step.checked_sub(1) {
                    Some(before) => Some(hidden.slice(s![sequence, order.time(before), .., .., ..])),
                    None => initial,
                };
                let Some(previous) = previous else { continue };
                of_state.push((previous, gradient(0..separate * channels)));
                if let Some((seen, gradients)) = layer.cell.candidate_maps(channels) {
                    of_candidate.push((seen.map_or(previous, map), gradient(gradients)));
                }
            }
        }
        // Maps of a slot hold what `record` was made for: of all steps, or of this section.
        if let (Some(weight), Some(below)) = (&mut target.weight_ih, &self.below) {
            let convolution = layer.input_convolution(below.dim().2);
            *weight += &convolve_backward_weight(&convolution, self.packed.input_sizes[self.layer], &of_input)?;
        }
        let (mut of_gates, mut of_separate) = target.weight_hh.view_mut().split_at(Axis(0), separate * channels);
        of_gates += &convolve_backward_weight(&layer.state_convolution(separate), size, &of_state)?;
        if C::separate_gates() > 0 {
            let convolution = layer.state_convolution(C::separate_gates());
            of_separate += &convolve_backward_weight(&convolution, size, &of_candidate)?;
        }
        Ok(())
    }
}
