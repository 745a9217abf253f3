//! The recurrence that attends: at every step the previous hidden values are the query, and the context enters the cell.
//!
//! ```text
//! a = softmax(e(h', P) / τ)      c = Σⱼ aⱼ vⱼ      (h, cell) = LSTM(W_c c + W_x x + b, h', cell')
//! ```
//!
//! `W_c` c is Σⱼ aⱼ (`W_c` vⱼ): where a value serves many steps, `W_c` vⱼ is computed once and the weighted sum goes straight to
//! the gates. Where it serves one, the context is multiplied by `W_c`.

use ndarray::{Array2, ArrayView2, s};
use tensor_ops::{Element, PackedMatrix, ProductStart, TensorError, on_pool};

use crate::cell::PackedCell;
use crate::clips::Clips;
use crate::layer::slice_mut;
use crate::packed::PackedScore;
use crate::row::{Attended, Comparison, Operands, Scorer};

mod backward;

pub(crate) use backward::{RecurrenceBackward, cell_backward};

/// Which keys of its sequence a step attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The frames up to that of the step, at most so many.
    Window(usize),
    /// All frames.
    Whole,
    /// The regions of the frame of the step: so many.
    Regions(usize),
}

/// The keys of a step.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// The first key, counted from the first of the sequence.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// The column of the first key among the weights.
    pub(crate) column: usize,
}

impl Reach {
    /// The keys of the step at `time` of a sequence of `length` frames.
    pub(crate) fn span(self, time: usize, length: usize) -> Span {
        match self {
            Self::Window(size) => {
                let count = size.min(time + 1);
                Span { first: time + 1 - count, count, column: size - count }
            }
            Self::Whole => Span { first: 0, count: length, column: 0 },
            Self::Regions(regions) => Span { first: time * regions, count: regions, column: 0 },
        }
    }

    /// Keys of a frame.
    pub(crate) fn per_frame(self) -> usize {
        if let Self::Regions(regions) = self { regions } else { 1 }
    }

    /// Columns of the weights of a step, for sequences of at most `time` frames.
    pub(crate) fn columns(self, time: usize) -> usize {
        match self {
            Self::Window(size) => size,
            Self::Whole => time,
            Self::Regions(regions) => regions,
        }
    }
}

/// What a recurrence reads.
pub(crate) struct Recurrence<'a, T> {
    pub(crate) clips: &'a Clips,
    pub(crate) reach: Reach,
    pub(crate) cell: &'a PackedCell<T>,
    pub(crate) score: &'a PackedScore<T>,
    /// `[keys, form]`, sequence by sequence.
    pub(crate) key_forms: ArrayView2<'a, T>,
    /// `[keys, value features]`, or `[keys, gates]` where they are multiplied by `W_c` already.
    pub(crate) values: ArrayView2<'a, T>,
    /// `W_c`, where the values are not.
    pub(crate) context: Option<&'a PackedMatrix<T>>,
}

/// The values of all steps; rows are steps as [`Clips`] orders them.
#[derive(Clone, Debug)]
pub(crate) struct RecurrenceTrace<T> {
    /// i, f, g and o, `[rows, gates]` in the order of the layout.
    pub(crate) gates: Array2<T>,
    /// h and c, `[rows, padded units]`.
    pub(crate) hidden: Array2<T>,
    pub(crate) cell: Array2<T>,
    /// Before the first step, `[batch in the order of the steps, padded units]`.
    pub(crate) initial_hidden: Array2<T>,
    pub(crate) initial_cell: Array2<T>,
    /// The forms of the queries, `[rows, form]`.
    pub(crate) forms: Array2<T>,
    /// `[rows, keys of a step]`; −∞ and 0 where a step has no key.
    pub(crate) scores: Array2<T>,
    pub(crate) weights: Array2<T>,
    /// `[rows, value features]`, where it is multiplied by `W_c`; else without columns.
    pub(crate) contexts: Array2<T>,
}

impl<T: Element> Recurrence<'_, T> {
    /// Runs all steps; `gates` hold the part of the gates that does not come from the context, with the bias.
    pub(crate) fn run(
        &self,
        gates: Array2<T>,
        initial_hidden: Array2<T>,
        initial_cell: Array2<T>,
    ) -> Result<RecurrenceTrace<T>, TensorError> {
        on_pool(self.multiply_adds(), || self.steps(gates, initial_hidden, initial_cell))
    }

    /// Those of the recurrent products, about.
    fn multiply_adds(&self) -> usize {
        self.clips.rows.saturating_mul(self.cell.layout.width() * self.cell.layout.padded_units())
    }

    fn steps(
        &self,
        mut gates: Array2<T>,
        initial_hidden: Array2<T>,
        initial_cell: Array2<T>,
    ) -> Result<RecurrenceTrace<T>, TensorError> {
        let (rows, units, form) = (self.clips.rows, self.cell.layout.padded_units(), self.score.form_size);
        let columns = self.reach.columns(self.clips.time);
        let mut hidden = Array2::zeros((rows, units));
        let mut cell = Array2::zeros((rows, units));
        let mut forms = Array2::zeros((rows, form));
        let mut scores = Array2::from_elem((rows, columns), T::neg_infinity());
        let mut weights = Array2::zeros((rows, columns));
        let mut contexts = Array2::zeros((rows, self.context.map_or(0, |_| self.values.ncols())));
        let mut scratch = vec![T::zero(); self.clips.batch() * form];
        for time in 0..self.clips.active.len() {
            let now = self.clips.step_rows(time);
            let active = now.len();
            let previous = time.checked_sub(1).map(|time| self.clips.offsets[time]);
            let before = |values: ArrayView2<'_, T>| match previous {
                Some(row) => values.slice_move(s![row..row + active, ..]).to_owned(),
                None => values.slice_move(s![..active, ..]).to_owned(),
            };
            let (previous_hidden, previous_cell) = match previous {
                Some(_) => (before(hidden.view()), before(cell.view())),
                None => (before(initial_hidden.view()), before(initial_cell.view())),
            };
            let queries = previous_hidden.slice(s![.., ..self.cell.layout.units()]);
            self.score.query_forms(queries, forms.slice_mut(s![now.clone(), ..]))?;
            let out = if self.context.is_some() { &mut contexts } else { &mut gates };
            let width = out.ncols();
            let part = |columns: usize| now.start * columns..now.end * columns;
            let step = AttendedRows {
                forms: &forms.as_slice().expect("a new array")[part(form)],
                scores: &mut slice_mut(&mut scores)[part(columns)],
                weights: &mut slice_mut(&mut weights)[part(columns)],
                out: &mut slice_mut(out)[part(width)],
                scratch: &mut scratch[..active * form],
            };
            self.attend(time, step, 0);
            if let Some(context) = self.context {
                let now = s![now.clone(), ..];
                context.multiply(contexts.slice(now), ProductStart::Output, gates.slice_mut(now))?;
            }
            let now = s![now, ..];
            self.cell.step(
                previous_hidden.view(),
                previous_cell.view(),
                gates.slice_mut(now),
                hidden.slice_mut(now),
                cell.slice_mut(now),
            )?;
        }
        Ok(RecurrenceTrace { gates, hidden, cell, initial_hidden, initial_cell, forms, scores, weights, contexts })
    }

    /// Attends for the rows of the step at `time`, of which the first is that of the sequence at `position`.
    fn attend(&self, time: usize, rows: AttendedRows<'_, T>, position: usize) {
        let count = rows.forms.len() / self.score.form_size;
        let keys = self.reach.span(time, self.clips.time).count;
        let work = keys * (self.key_forms.ncols() + self.values.ncols());
        rows.attend(&self.score.scorer, count, work, position, &|position| {
            let sequence = self.clips.order[position];
            let span = self.reach.span(time, self.clips.lengths[sequence]);
            let first = self.clips.starts[sequence] * self.reach.per_frame() + span.first;
            (span, rows_at(self.key_forms, first, span.count), rows_at(self.values, first, span.count))
        });
    }
}

/// `count` rows from `first` of a view whose rows lie side by side.
pub(crate) fn rows_at<T>(values: ArrayView2<'_, T>, first: usize, count: usize) -> &[T] {
    let width = values.ncols();
    &values.to_slice().expect("rows side by side")[first * width..(first + count) * width]
}

/// Work, in values that are multiplied, that a thread should have.
const LEAST_WORK: usize = 1 << 15;

/// Rows that attend, one after another.
pub(crate) struct AttendedRows<'a, T> {
    pub(crate) forms: &'a [T],
    pub(crate) scores: &'a mut [T],
    pub(crate) weights: &'a mut [T],
    /// What the contexts are added to.
    pub(crate) out: &'a mut [T],
    pub(crate) scratch: &'a mut [T],
}

impl<'a, T: Element> AttendedRows<'a, T> {
    /// Attends for `rows` rows of `work` values each; `operands` gives the keys and values of a row. Allocates nothing.
    pub(crate) fn attend<'k>(
        self,
        scorer: &Scorer<T>,
        rows: usize,
        work: usize,
        first: usize,
        operands: &(impl Fn(usize) -> (Span, &'k [T], &'k [T]) + Sync),
    ) {
        if rows > 1 && rows * work >= 2 * LEAST_WORK {
            let (left, right) = self.split(rows, rows / 2);
            rayon::join(
                || left.attend(scorer, rows / 2, work, first, operands),
                || right.attend(scorer, rows - rows / 2, work, first + rows / 2, operands),
            );
            return;
        }
        let [form, columns, width] = [self.forms.len(), self.scores.len(), self.out.len()].map(|length| length / rows);
        let rows = self.forms.chunks_exact(form).zip(self.scores.chunks_exact_mut(columns));
        let rows = rows.zip(self.weights.chunks_exact_mut(columns)).zip(self.out.chunks_exact_mut(width));
        for (row, ((((form, scores), weights), context), scratch)) in
            rows.zip(self.scratch.chunks_exact_mut(form)).enumerate()
        {
            let (span, keys, values) = operands(first + row);
            let columns = span.column..span.column + span.count;
            let (scores, weights) = (&mut scores[columns.clone()], &mut weights[columns]);
            let operands = Operands { form: shifted(scorer, form, span), keys, values };
            scorer.attend(operands, None, Attended { scores, weights, context, scratch });
        }
    }

    fn split(self, rows: usize, middle: usize) -> (Self, Self) {
        let at = |length: usize| length / rows * middle;
        let (forms, forms_right) = self.forms.split_at(at(self.forms.len()));
        let length = at(self.scores.len());
        let (scores, scores_right) = self.scores.split_at_mut(length);
        let (weights, weights_right) = self.weights.split_at_mut(length);
        let length = at(self.out.len());
        let (out, out_right) = self.out.split_at_mut(length);
        let length = at(self.scratch.len());
        let (scratch, scratch_right) = self.scratch.split_at_mut(length);
        let right = Self {
            forms: forms_right,
            scores: scores_right,
            weights: weights_right,
            out: out_right,
            scratch: scratch_right,
        };
        (Self { forms, scores, weights, out, scratch }, right)
    }
}

/// The form as the keys of a span see it: a location keeps its score while a window fills up.
fn shifted<'a, T>(scorer: &Scorer<T>, form: &'a [T], span: Span) -> &'a [T] {
    if scorer.comparison == Comparison::Location { &form[span.column..] } else { form }
}
