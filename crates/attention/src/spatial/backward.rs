//! Spatial attention taken back.

use ndarray::{Array2, Array5, ArrayView3, ArrayView4, s};
use rayon::prelude::*;
use tensor_ops::{Element, TensorError, check_axis, linear_backward, vecmath};

use super::{SpatialAttention, SpatialTrace};
use crate::AttentionError;
use crate::cell::{CellState, FINAL_AXES, recurrent_gradients};
use crate::clips::Clips;
use crate::error::invalid;
use crate::layer::{row_of, slice_mut};
use crate::packed::ScoreBackward;
use crate::recurrence::{Reach, Recurrence, RecurrenceBackward};
use crate::vector::{add_scaled, weight_gradient};

const NAME: &str = "SpatialAttention::backward";

/// The gradients that [`SpatialAttention::backward`] returns.
#[derive(Clone, Debug)]
pub struct SpatialGradients<T> {
    /// Of the regions, `[batch, time, height, width, features]`; zero beyond the lengths.
    pub input: Array5<T>,
    /// Of the initial state; where that was made from the mean features, its gradient is in the others too.
    pub initial: CellState<T>,
    /// Of the parameters.
    pub parameters: SpatialAttention<T>,
}

impl<T: Element> SpatialAttention<T> {
    /// The gradients of a loss, from those of the output `[batch, time, hidden]` and, where the loss depends on them, of
    /// the weights `[batch, time, height, width]`, such as those of a [penalty](crate::DoublyStochasticPenalty), and of the
    /// final state. Gradients beyond the lengths are not used.
    ///
    /// # Errors
    /// [`AttentionError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &SpatialTrace<T>,
        grad_output: ArrayView3<'_, T>,
        grad_weights: Option<ArrayView4<'_, T>>,
        grad_final: Option<&CellState<T>>,
    ) -> Result<SpatialGradients<T>, AttentionError> {
        let packed = self.pack_parts()?;
        let (clips, steps, config) = (&trace.clips, &trace.recurrence, &self.config);
        if trace.config != *config {
            let requirement = "that of a forward pass with the same configuration";
            return Err(invalid(NAME, "trace", requirement, "another configuration").into());
        }
        check_axis(NAME, "output gradient batch", clips.batch(), grad_output.dim().0)?;
        check_axis(NAME, "output gradient time", clips.time, grad_output.dim().1)?;
        check_axis(NAME, "output gradient units", config.hidden_size, grad_output.dim().2)?;
        let grad_weights = grad_weights.map(|grad| self.grad_weights(clips, grad)).transpose()?;
        if let Some(grad) = grad_final {
            grad.check(NAME, FINAL_AXES, clips.batch(), config.hidden_size)?;
        }
        let (cell, units, regions) = (&packed.cell, packed.cell.layout.padded_units(), trace.regions.view());
        let key_forms = if trace.key_forms.nrows() == 0 { regions } else { trace.key_forms.view() };
        let weights = &self.lstm.directions[0];
        let back = RecurrenceBackward {
            recurrence: Recurrence {
                clips,
                reach: Reach::Regions(config.regions()),
                cell,
                score: &packed.score,
                key_forms,
                values: regions,
                context: Some(&packed.context),
            },
            trace: steps,
            recurrent: cell.recurrent_backward(weights.weight_hh.view())?,
            context: Some(cell.input_backward(weights.weight_ih.view())?),
            score: ScoreBackward::new(&self.attention, &packed.score)?,
            grad_weights,
        };
        let found = back.run(
            clips.steps(grad_output, units),
            clips.sorted(grad_final.map(|state| state.hidden.view()), units),
            clips.sorted(grad_final.map(|state| state.cell.view()), units),
        )?;

        let mut parameters = Self::zeros(config.clone())?;
        let gradients = &mut parameters.lstm.directions[0];
        let grad_gates = cell.gate_by_gate(&found.gates);
        let before = clips.before(&steps.hidden, &steps.initial_hidden);
        recurrent_gradients(&grad_gates, &before, gradients)?;
        weight_gradient(grad_gates.view(), steps.contexts.view(), gradients.weight_ih.view_mut())?;

        let initial = CellState {
            hidden: clips.unsorted(found.initial_hidden.view(), config.hidden_size),
            cell: clips.unsorted(found.initial_cell.view(), config.hidden_size),
        };
        let grad_mean = self.mean_backward(trace, &initial, &mut parameters)?;
        let mut grad_regions = self.value_gradients(trace, &found.contexts, grad_mean.as_ref());
        parameters.attention = back.score.finish(
            regions,
            key_forms,
            found.keys,
            grad_regions.view_mut(),
            before.slice(s![.., ..config.hidden_size]),
            found.forms.view(),
            &found.vector,
        )?;
        let frames = (clips.rows, config.regions() * config.features);
        let frames = grad_regions.into_shape_with_order(frames).expect("as many values");
        let shape = (clips.batch(), clips.time, config.height, config.width, config.features);
        let input = clips.pad(frames).into_shape_with_order(shape).expect("as many values");
        Ok(SpatialGradients { input, initial, parameters })
    }

    /// The gradient of the weights as steps.
    fn grad_weights(&self, clips: &Clips, grad: ArrayView4<'_, T>) -> Result<Array2<T>, TensorError> {
        let (batch, time, height, width) = grad.dim();
        check_axis(NAME, "weight gradient batch", clips.batch(), batch)?;
        check_axis(NAME, "weight gradient time", clips.time, time)?;
        check_axis(NAME, "weight gradient height", self.config.height, height)?;
        check_axis(NAME, "weight gradient width", self.config.width, width)?;
        let grad = grad.to_shape((batch, time, height * width)).expect("as many values");
        Ok(clips.steps(grad.view(), height * width))
    }

    /// Through h₀ and c₀ to their layers and to the mean features.
    fn mean_backward(
        &self,
        trace: &SpatialTrace<T>,
        initial: &CellState<T>,
        parameters: &mut Self,
    ) -> Result<Option<Array2<T>>, AttentionError> {
        let Some(mean) = &trace.mean else { return Ok(None) };
        let state = self.state_of_mean(mean.view())?;
        let mut grad_mean = Array2::zeros(mean.dim());
        for (layer, output, grad, target) in [
            (&self.initial_hidden, &state.hidden, &initial.hidden, &mut parameters.initial_hidden),
            (&self.initial_cell, &state.cell, &initial.cell, &mut parameters.initial_cell),
        ] {
            let mut grad = grad.clone();
            vecmath::tanh_grad(output.as_slice().expect("a new array"), slice_mut(&mut grad))?;
            let gradients = linear_backward(mean.view(), layer.weight.view(), true, grad.view())?;
            grad_mean += &gradients.input;
            *target = gradients.parameters;
        }
        Ok(Some(grad_mean))
    }

    /// The gradients of the regions as values and in the mean: aᵢ `δx_t` + δm / (T·K²).
    fn value_gradients(
        &self,
        trace: &SpatialTrace<T>,
        grad_contexts: &Array2<T>,
        grad_mean: Option<&Array2<T>>,
    ) -> Array2<T> {
        let (clips, regions, features) = (&trace.clips, self.config.regions(), self.config.features);
        let steps = clips.steps_of_frames();
        let mut gradient = Array2::<T>::zeros(trace.regions.dim());
        let parts = clips.split(slice_mut(&mut gradient), regions * features);
        parts.into_par_iter().enumerate().for_each(|(sequence, part)| {
            let share = T::from_f64(1.0 / (clips.lengths[sequence] * regions) as f64);
            let of_mean = grad_mean.map(|grad| grad.row(sequence).mapv(|grad| grad * share));
            part.par_chunks_mut(regions * features).enumerate().for_each(|(time, frame)| {
                let step = steps[clips.starts[sequence] + time];
                let weights = row_of(trace.recurrence.weights.view(), step);
                let context = row_of(grad_contexts.view(), step);
                for (region, &weight) in frame.chunks_exact_mut(features).zip(weights) {
                    match of_mean.as_ref().and_then(|mean| mean.as_slice()) {
                        Some(mean) => {
                            for ((region, &context), &mean) in region.iter_mut().zip(context).zip(mean) {
                                *region = weight * context + mean;
                            }
                        }
                        None => add_scaled(weight, context, region),
                    }
                }
            });
        });
        gradient
    }
}
