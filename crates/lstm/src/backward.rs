//! Back-propagation through time.
//!
//! A direction is taken back step by step to the gradients of the sums before its gates; all else is a product over all
//! steps at once: the gradients of the input, of the weights and of the biases.

use ndarray::{Array2, Array3, ArrayView3, s};
use tensor_ops::{
    Element, GateLayout, PackedMatrix, ProductStart, TensorError, check_axis, multiply_unpacked, on_pool,
};

use crate::batch::Batch;
use crate::forward::multiply_adds;
use crate::packed::{input_runs, packs_input};
use crate::state::StateRole;
use crate::{Lstm, LstmError, LstmState, LstmTrace};

mod parameters;
mod sweep;

use parameters::{pack_columns, parameter_gradients};
use sweep::sweep_layer;

/// The gradients that [`Lstm::backward`] returns.
#[derive(Clone, Debug)]
pub struct LstmGradients<T> {
    /// Of the input, `[batch, time, features]`; zero beyond the lengths.
    pub input: Array3<T>,
    /// Of the initial states.
    pub initial: LstmState<T>,
    /// Of the parameters.
    pub parameters: Lstm<T>,
}

impl<T: Element> Lstm<T> {
    /// The gradients of a loss, from the gradient of the output `[batch, time, directions · hidden]` and of the final
    /// states, if the loss depends on them. Gradients of the output beyond the lengths are not used.
    ///
    /// The parameters must be those of the forward pass of `trace`.
    ///
    /// # Errors
    /// [`LstmError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &LstmTrace<T>,
        grad_output: ArrayView3<'_, T>,
        grad_final: Option<&LstmState<T>>,
    ) -> Result<LstmGradients<T>, LstmError> {
        self.check()?;
        self.check_gradients(trace, grad_output, grad_final)?;
        on_pool(multiply_adds(self.config(), &trace.batch), || self.run_backward(trace, grad_output, grad_final))
    }

    /// [`Self::backward`] for what has been checked.
    fn run_backward(
        &self,
        trace: &LstmTrace<T>,
        grad_output: ArrayView3<'_, T>,
        grad_final: Option<&LstmState<T>>,
    ) -> Result<LstmGradients<T>, LstmError> {
        let (config, layout, batch) = (self.config(), &trace.layout, &trace.batch);
        let directions = config.directions();
        let sequences = batch.order.len();
        let mut initial = LstmState::zeros(config, sequences);
        let mut parameters = Vec::with_capacity(self.directions.len());
        let mut grad_hidden = batch.pack(grad_output, config.hidden_size, layout.padded_units());
        for index in (0..config.layers).rev() {
            let layer = &trace.layers[index];
            if let Some(mask) = &layer.mask {
                grad_hidden *= mask;
            }
            let weights = self.layer(index);
            let inputs = input_runs(config, layout, index);

            let swept = sweep_layer(trace, weights, index, grad_hidden, grad_final)?;
            let dropped = index.checked_sub(1).and_then(|below| trace.layers[below].dropped());
            let below = match index {
                0 => &trace.input,
                _ => dropped.as_ref().unwrap_or(&trace.layers[index - 1].hidden),
            };
            let packed_below = pack_columns(below.view(), layout, &inputs)?;
            let mut grad_below = Array2::zeros(below.dim());
            let mut of_layer = Vec::with_capacity(directions);
            for (direction, swept) in swept.iter().enumerate() {
                let position = index * directions + direction;
                write_sorted(&swept.grad_initial_hidden, layout, batch, position, &mut initial.hidden);
                write_sorted(&swept.grad_initial_cell, layout, batch, position, &mut initial.cell);

                let start = if direction == 0 { ProductStart::Zero } else { ProductStart::Output };
                let weight = weights[direction].weight_ih.view();
                let (grad_gates, gates) = (swept.grad_gates.view(), layout.gate_runs());
                if packs_input(batch.rows) {
                    PackedMatrix::from_runs(layout.isa(), weight, &gates, &inputs)?.multiply(
                        grad_gates,
                        start,
                        grad_below.view_mut(),
                    )?;
                } else {
                    let target = grad_below.view_mut();
                    multiply_unpacked(layout.isa(), grad_gates, weight, &gates, &inputs, start, target)?;
                }
                let (grad_gates, weights) = (&swept.grad_gates, &weights[direction]);
                let of = parameter_gradients(layer, batch, layout, direction, grad_gates, &packed_below, weights)?;
                of_layer.push(of);
            }
            parameters.splice(..0, of_layer);
            grad_hidden = grad_below;
        }
        let parameters = Self { config: config.clone(), directions: parameters };
        let input = batch.unpack(&grad_hidden, config.input_size, config.input_size);
        Ok(LstmGradients { input, initial, parameters })
    }

    fn check_gradients(
        &self,
        trace: &LstmTrace<T>,
        grad_output: ArrayView3<'_, T>,
        grad_final: Option<&LstmState<T>>,
    ) -> Result<(), TensorError> {
        if trace.config != *self.config() {
            return Err(TensorError::InvalidOption {
                operation: "Lstm::backward",
                option: "trace",
                requirement: "that of a forward pass with the same configuration",
                found: "another configuration".to_owned(),
            });
        }
        let batch = trace.batch.order.len();
        let (found_batch, time, features) = grad_output.dim();
        check_axis("Lstm::backward", "output gradient batch", batch, found_batch)?;
        check_axis("Lstm::backward", "output gradient time", trace.batch.time, time)?;
        check_axis("Lstm::backward", "output gradient features", self.config().output_size(), features)?;
        grad_final.map_or(Ok(()), |state| state.check(StateRole::FinalGradient, self.config(), batch))
    }
}

/// Writes `[sequences in batch order, padded units]` to the state array of a layer and direction.
fn write_sorted<T: Element>(
    sorted: &Array2<T>,
    layout: &GateLayout,
    batch: &Batch,
    position: usize,
    target: &mut Array3<T>,
) {
    for (row, &sequence) in sorted.rows().into_iter().zip(&batch.order) {
        target.slice_mut(s![position, sequence, ..]).assign(&row.slice(s![..layout.units()]));
    }
}
