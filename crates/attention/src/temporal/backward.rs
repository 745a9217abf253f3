//! Temporal attention taken back.

use ndarray::{Array2, Array3, ArrayView3, s};
use tensor_ops::{Element, ProductStart, TensorError, check_axis};

use super::{TemporalAttention, TemporalTrace};
use crate::AttentionError;
use crate::cell::{CellState, FINAL_AXES, recurrent_gradients};
use crate::clips::Clips;
use crate::error::invalid;
use crate::packed::ScoreBackward;
use crate::recurrence::{Recurrence, RecurrenceBackward};
use crate::vector::weight_gradient;

const NAME: &str = "TemporalAttention::backward";

/// The gradients that [`TemporalAttention::backward`] returns.
#[derive(Clone, Debug)]
pub struct TemporalGradients<T> {
    /// Of the frames, `[batch, time, features]`; zero beyond the lengths.
    pub input: Array3<T>,
    /// Of the initial state.
    pub initial: CellState<T>,
    /// Of the parameters.
    pub parameters: TemporalAttention<T>,
}

impl<T: Element> TemporalAttention<T> {
    /// The gradients of a loss, from those of the output `[batch, time, hidden]` and, where the loss depends on them, of
    /// the weights and of the final state. Gradients beyond the lengths are not used.
    ///
    /// # Errors
    /// [`AttentionError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &TemporalTrace<T>,
        grad_output: ArrayView3<'_, T>,
        grad_weights: Option<ArrayView3<'_, T>>,
        grad_final: Option<&CellState<T>>,
    ) -> Result<TemporalGradients<T>, AttentionError> {
        let packed = self.pack_parts()?;
        let (clips, steps, config) = (&trace.clips, &trace.recurrence, &self.config);
        if trace.config != *config {
            let requirement = "that of a forward pass with the same configuration";
            return Err(invalid(NAME, "trace", requirement, "another configuration").into());
        }
        let axes = ["output gradient batch", "output gradient time", "output gradient units"];
        check_gradient(axes, clips, config.hidden_size, grad_output)?;
        if let Some(grad) = grad_weights {
            let axes = ["weight gradient batch", "weight gradient time", "weight gradient columns"];
            check_gradient(axes, clips, steps.weights.ncols(), grad)?;
        }
        if let Some(grad) = grad_final {
            grad.check(NAME, FINAL_AXES, clips.batch(), config.hidden_size)?;
        }
        let (cell, units) = (&packed.cell, packed.cell.layout.padded_units());
        let weights = &self.lstm.directions[0];
        let of_context = weights.weight_ih.slice(s![.., ..config.features]);
        let back = RecurrenceBackward {
            recurrence: Recurrence {
                clips,
                reach: config.reach(),
                cell,
                score: &packed.score,
                key_forms: trace.key_forms.view(),
                values: trace.values.view(),
                context: None,
            },
            trace: steps,
            recurrent: cell.recurrent_backward(weights.weight_hh.view())?,
            context: None,
            score: ScoreBackward::new(&self.attention, &packed.score)?,
            grad_weights: grad_weights.map(|grad| clips.steps(grad, grad.dim().2)),
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

        let mut grad_frames = Array2::zeros(trace.frames.dim());
        let grad_values = found.values.expect("values of frames are multiplied by W_c");
        cell.input_backward(of_context)?.multiply(grad_values.view(), ProductStart::Zero, grad_frames.view_mut())?;
        let target = gradients.weight_ih.slice_mut(s![.., ..config.features]);
        weight_gradient(cell.gate_by_gate(&grad_values).view(), trace.frames.view(), target)?;
        let queries = before.slice(s![.., ..config.hidden_size]);
        parameters.attention = back.score.finish(
            trace.frames.view(),
            trace.key_forms.view(),
            found.keys,
            grad_frames.view_mut(),
            queries,
            found.forms.view(),
            &found.vector,
        )?;
        let mut input = clips.pad(grad_frames);
        if config.frame_input {
            let padded = clips.pad(trace.frames.clone());
            let target = parameters.lstm.directions[0].weight_ih.slice_mut(s![.., config.features..]);
            weight_gradient(grad_gates.view(), clips.steps(padded.view(), config.features).view(), target)?;
            let mut grad_steps = Array2::zeros((clips.rows, config.features));
            let of_frame = cell.input_backward(weights.weight_ih.slice(s![.., config.features..]))?;
            of_frame.multiply(found.gates.view(), ProductStart::Zero, grad_steps.view_mut())?;
            input += &clips.pad_steps(grad_steps.view(), config.features, T::zero());
        }
        let initial = CellState {
            hidden: clips.unsorted(found.initial_hidden.view(), config.hidden_size),
            cell: clips.unsorted(found.initial_cell.view(), config.hidden_size),
        };
        Ok(TemporalGradients { input, initial, parameters })
    }
}

/// Checks the shape of a gradient whose axes have these names.
fn check_gradient<T>(
    axes: [&'static str; 3],
    clips: &Clips,
    features: usize,
    found: ArrayView3<'_, T>,
) -> Result<(), TensorError> {
    let expected = [clips.batch(), clips.time, features];
    axes.into_iter()
        .zip(expected)
        .zip(found.shape())
        .try_for_each(|((axis, expected), &found)| check_axis(NAME, axis, expected, found))
}
