//! The recurrence that attends, taken back step by step.
//!
//! The hidden values of a step get gradients from the output, through the recurrent weight and as the query of the next
//! step. What can wait for all steps, the gradients of the weights, is a product over them at the end.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;
use tensor_ops::{Element, LstmStepBackward, PackedMatrix, ProductStart, TensorError, lstm_step_backward, on_pool};

use super::{LEAST_WORK, Reach, Recurrence, RecurrenceTrace, Span, rows_at, shifted};
use crate::clips::Clips;
use crate::layer::{row_of, slice_mut};
use crate::packed::ScoreBackward;
use crate::row::{Comparison, Operands, RowGradients};
use crate::vector::add_rows;

/// What taking a [`Recurrence`] back reads besides it.
pub(crate) struct RecurrenceBackward<'a, T> {
    pub(crate) recurrence: Recurrence<'a, T>,
    pub(crate) trace: &'a RecurrenceTrace<T>,
    /// `W_hh`, `[gates, padded units]`.
    pub(crate) recurrent: PackedMatrix<T>,
    /// `W_c`, `[gates, value features]`, where the recurrence multiplies contexts by it.
    pub(crate) context: Option<PackedMatrix<T>>,
    pub(crate) score: ScoreBackward<'a, T>,
    /// Of the weights, `[rows, columns]`.
    pub(crate) grad_weights: Option<Array2<T>>,
}

/// The gradients of a recurrence; rows are steps.
pub(crate) struct RecurrenceGradients<T> {
    /// Of the sums before the gates, `[rows, gates]`.
    pub(crate) gates: Array2<T>,
    /// Of W q, `[rows, form]`.
    pub(crate) forms: Array2<T>,
    /// Of the forms of the keys, `[keys, form]`.
    pub(crate) keys: Array2<T>,
    /// Of the values, `[keys, gates]`, where they are multiplied by `W_c` already.
    pub(crate) values: Option<Array2<T>>,
    /// Of the contexts, `[rows, value features]`, where they are multiplied by `W_c`.
    pub(crate) contexts: Array2<T>,
    /// Of v.
    pub(crate) vector: Vec<T>,
    /// Of the values before the first step, `[batch in the order of the steps, padded units]`.
    pub(crate) initial_hidden: Array2<T>,
    pub(crate) initial_cell: Array2<T>,
}

/// The gradients that one sequence accumulates.
struct Sequence<'a, T> {
    keys: &'a mut [T],
    values: Option<&'a mut [T]>,
    vector: &'a mut [T],
    scores: Vec<T>,
    scratch: Vec<T>,
}

impl<T: Element> RecurrenceBackward<'_, T> {
    /// Takes all steps back; `grad_hidden` `[rows, padded units]` is the gradient of the output, those of the final states
    /// are `[batch in the order of the steps, padded units]`.
    pub(crate) fn run(
        &self,
        grad_hidden: Array2<T>,
        grad_final_hidden: Array2<T>,
        grad_final_cell: Array2<T>,
    ) -> Result<RecurrenceGradients<T>, TensorError> {
        let multiply_adds = self.recurrence.multiply_adds();
        on_pool(multiply_adds, || self.steps(grad_hidden, grad_final_hidden, grad_final_cell))
    }

    fn steps(
        &self,
        mut grad_hidden: Array2<T>,
        grad_final_hidden: Array2<T>,
        grad_final_cell: Array2<T>,
    ) -> Result<RecurrenceGradients<T>, TensorError> {
        let Recurrence { clips, reach, cell, score, key_forms, values, .. } = &self.recurrence;
        let (trace, layout) = (self.trace, cell.layout);
        let in_gates = self.context.is_none();
        let mut grad_gates = Array2::zeros(trace.gates.dim());
        let mut grad_cell = grad_final_cell;
        let mut grad_initial_hidden = Array2::zeros(trace.initial_hidden.dim());
        let mut grad_forms = Array2::zeros(trace.forms.dim());
        let mut grad_keys = Array2::zeros(key_forms.dim());
        let mut grad_values = in_gates.then(|| Array2::zeros(values.dim()));
        let mut grad_contexts = Array2::zeros(trace.contexts.dim());
        let mut grad_vectors = Array2::<T>::zeros((clips.batch(), score.scorer.vector.len()));
        let mut sequences = self.sequences(&mut grad_keys, grad_values.as_mut(), &mut grad_vectors);

        for (position, &sequence) in clips.order.iter().enumerate() {
            let row = clips.offsets[clips.lengths[sequence] - 1] + position;
            let mut last = grad_hidden.row_mut(row);
            last += &grad_final_hidden.row(position);
        }
        for time in (0..clips.active.len()).rev() {
            let now = clips.step_rows(time);
            cell_backward(
                clips,
                time,
                [trace.gates.view(), trace.cell.view(), trace.initial_cell.view()],
                &self.recurrent,
                grad_gates.view_mut(),
                grad_hidden.view_mut(),
                grad_cell.view_mut(),
            )?;
            if let Some(context) = &self.context {
                let now = s![now.clone(), ..];
                context.multiply(grad_gates.slice(now), ProductStart::Zero, grad_contexts.slice_mut(now))?;
            }
            let grad_out = if in_gates { grad_gates.view() } else { grad_contexts.view() };
            let form = score.form_size;
            let forms = &mut slice_mut(&mut grad_forms)[now.start * form..now.end * form];
            self.attend_backward(time, &mut sequences[..now.len()], forms, grad_out)?;

            let query_forms = trace.forms.slice(s![now.clone(), ..]);
            let grad_query_forms = grad_forms.slice_mut(s![now.clone(), ..]);
            let units = layout.units();
            let target = match time.checked_sub(1) {
                Some(previous) => {
                    let row = clips.offsets[previous];
                    grad_hidden.slice_mut(s![row..row + now.len(), ..units])
                }
                None => {
                    self.recurrent.multiply(
                        grad_gates.slice(s![now.clone(), ..]),
                        ProductStart::Zero,
                        grad_initial_hidden.view_mut(),
                    )?;
                    grad_initial_hidden.slice_mut(s![.., ..units])
                }
            };
            self.score.queries(query_forms, grad_query_forms, target)?;
        }
        drop(sequences);
        debug_assert!(matches!(reach, Reach::Regions(_)) || in_gates, "values of frames are multiplied by W_c");
        let mut vector = vec![T::zero(); grad_vectors.ncols()];
        add_rows(clips.unsorted(grad_vectors.view(), vector.len()).view(), &mut vector);
        Ok(RecurrenceGradients {
            gates: grad_gates,
            forms: grad_forms,
            keys: grad_keys,
            values: grad_values,
            contexts: grad_contexts,
            vector,
            initial_hidden: grad_initial_hidden,
            initial_cell: grad_cell,
        })
    }

    /// The gradient arrays cut into sequences, in the order of the steps.
    fn sequences<'a>(
        &self,
        grad_keys: &'a mut Array2<T>,
        grad_values: Option<&'a mut Array2<T>>,
        grad_vectors: &'a mut Array2<T>,
    ) -> Vec<Sequence<'a, T>> {
        let Recurrence { clips, reach, score, .. } = &self.recurrence;
        let cut = |values: &'a mut Array2<T>| {
            let features = values.ncols() * reach.per_frame();
            clips.split(slice_mut(values), features).into_iter().map(Some).collect::<Vec<_>>()
        };
        let mut keys = cut(grad_keys);
        let mut values = grad_values.map(cut);
        let columns = reach.columns(clips.time);
        let vectors = grad_vectors.rows_mut().into_iter().map(|row| row.into_slice().expect("a row of a new array"));
        clips
            .order
            .iter()
            .zip(vectors)
            .map(|(&sequence, vector)| Sequence {
                keys: keys[sequence].take().expect("every sequence once"),
                values: values.as_mut().and_then(|values| values[sequence].take()),
                vector,
                scores: vec![T::zero(); columns],
                scratch: vec![T::zero(); score.form_size],
            })
            .collect()
    }

    /// The gradients of the attention of the step at `time`.
    fn attend_backward(
        &self,
        time: usize,
        sequences: &mut [Sequence<'_, T>],
        grad_forms: &mut [T],
        grad_out: ArrayView2<'_, T>,
    ) -> Result<(), TensorError> {
        let Recurrence { clips, reach, score, key_forms, values, .. } = &self.recurrence;
        let row = clips.offsets[time];
        let one = |(position, (sequence, grad_form)): (usize, (&mut Sequence<'_, T>, &mut [T]))| {
            let clip = clips.order[position];
            let span = reach.span(time, clips.lengths[clip]);
            let first = clips.starts[clip] * reach.per_frame() + span.first;
            self.sequence_backward(row + position, first, span, sequence, grad_form, grad_out)
        };
        let work = reach.span(time, clips.time).count * (key_forms.ncols() + values.ncols());
        if sequences.len() > 1 && sequences.len() * work >= LEAST_WORK {
            sequences.par_iter_mut().zip(grad_forms.par_chunks_mut(score.form_size)).enumerate().try_for_each(one)
        } else {
            sequences.iter_mut().zip(grad_forms.chunks_mut(score.form_size)).enumerate().try_for_each(one)
        }
    }

    fn sequence_backward(
        &self,
        row: usize,
        first: usize,
        span: Span,
        sequence: &mut Sequence<'_, T>,
        grad_form: &mut [T],
        grad_out: ArrayView2<'_, T>,
    ) -> Result<(), TensorError> {
        let Recurrence { score, key_forms, values, .. } = &self.recurrence;
        let scorer = &score.scorer;
        let columns = span.column..span.column + span.count;
        let key_rows = |width: usize| span.first * width..(span.first + span.count) * width;
        let operands = Operands {
            form: shifted(scorer, row_of(self.trace.forms.view(), row), span),
            keys: rows_at(*key_forms, first, span.count),
            values: rows_at(*values, first, span.count),
        };
        let shift = if scorer.comparison == Comparison::Location { span.column } else { 0 };
        let gradients = RowGradients {
            context: row_of(grad_out, row),
            weights: self.grad_weights.as_ref().map(|grad| &row_of(grad.view(), row)[columns.clone()]),
            form: &mut grad_form[shift..],
            keys: &mut sequence.keys[key_rows(key_forms.ncols())],
            values: sequence.values.as_mut().map(|grad| &mut grad[key_rows(values.ncols())]),
            vector: sequence.vector,
            scores: &mut sequence.scores[..span.count],
            scratch: &mut sequence.scratch,
        };
        scorer.attend_backward(operands, &row_of(self.trace.weights.view(), row)[columns], gradients)
    }
}

/// The gradients of the cells of the step at `time`, from the gates and cell values of all steps and the cell values before
/// the first.
pub(crate) fn cell_backward<T: Element>(
    clips: &Clips,
    time: usize,
    [gates, cell, initial_cell]: [ArrayView2<'_, T>; 3],
    recurrent: &PackedMatrix<T>,
    mut grad_gates: ArrayViewMut2<'_, T>,
    mut grad_hidden: ArrayViewMut2<'_, T>,
    mut grad_cell: ArrayViewMut2<'_, T>,
) -> Result<(), TensorError> {
    let (row, active, linked) = (clips.offsets[time], clips.active[time], clips.next_active(time));
    for part in [0..linked, linked..active] {
        if part.is_empty() {
            continue;
        }
        let now = s![row + part.start..row + part.end, ..];
        let (of_now, of_next);
        let (of_gates, next_gradient) = if part.start < linked {
            let after = clips.offsets[time + 1];
            (of_now, of_next) = grad_gates.multi_slice_mut((now, s![after..after + linked, ..]));
            (of_now, Some(of_next.view()))
        } else {
            (grad_gates.slice_mut(now), None)
        };
        let previous_cell = match time.checked_sub(1).map(|previous| clips.offsets[previous]) {
            Some(before) => cell.slice(s![before + part.start..before + part.end, ..]),
            None => initial_cell.slice(s![part.clone(), ..]),
        };
        lstm_step_backward(LstmStepBackward {
            recurrent,
            peepholes: None,
            next_gradient,
            previous_cell,
            cell: cell.slice(now),
            gates: gates.slice(now),
            grad_gates: of_gates,
            grad_hidden: grad_hidden.slice_mut(now),
            grad_cell: grad_cell.slice_mut(s![part, ..]),
        })?;
    }
    Ok(())
}
