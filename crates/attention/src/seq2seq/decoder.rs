//! One step of the decoder, shared by training, streams and searches: all have the same bits.

use ndarray::{ArrayView2, ArrayViewMut2, s};
use tensor_ops::{Element, PackedMatrix, ProductStart, TensorError, vecmath};

use super::{Mechanism, Seq2Seq};
use crate::AttentionError;
use crate::cell::PackedCell;
use crate::packed::PackedScore;
use crate::recurrence::{AttendedRows, Span};

/// The parameters of a decoder, packed.
#[derive(Clone, Debug)]
pub(super) struct PackedDecoder<T> {
    pub(super) mechanism: Mechanism,
    pub(super) score: PackedScore<T>,
    pub(super) cell: PackedCell<T>,
    /// From the embedded token to the gates.
    token: PackedMatrix<T>,
    /// From the context, or what is fed, to the gates.
    extra: Option<PackedMatrix<T>>,
    /// W, the columns of the context and those of the hidden values.
    combine_context: PackedMatrix<T>,
    combine_hidden: PackedMatrix<T>,
    combine_bias: Vec<T>,
    output: PackedMatrix<T>,
    output_bias: Vec<T>,
}

/// The values of a step; a row is a sequence.
pub(super) struct Step<'a, T> {
    /// y, `[rows, embedding_size]`.
    pub(super) token: ArrayView2<'a, T>,
    /// `[rows, padded units]`
    pub(super) previous_hidden: ArrayView2<'a, T>,
    pub(super) previous_cell: ArrayView2<'a, T>,
    /// s̃ of the step before, `[rows, hidden_size]`.
    pub(super) previous_attentional: ArrayView2<'a, T>,
    pub(super) gates: ArrayViewMut2<'a, T>,
    pub(super) hidden: ArrayViewMut2<'a, T>,
    pub(super) cell: ArrayViewMut2<'a, T>,
    pub(super) forms: ArrayViewMut2<'a, T>,
    /// `[rows, source time]`
    pub(super) scores: ArrayViewMut2<'a, T>,
    pub(super) weights: ArrayViewMut2<'a, T>,
    /// `[rows, memory]`
    pub(super) contexts: ArrayViewMut2<'a, T>,
    /// `[rows, hidden_size]`
    pub(super) attentional: ArrayViewMut2<'a, T>,
    /// `[rows, vocabulary]`
    pub(super) logits: ArrayViewMut2<'a, T>,
    /// As many values as `forms`.
    pub(super) scratch: &'a mut [T],
}

impl<T: Element> PackedDecoder<T> {
    /// Packs parameters that were checked.
    pub(super) fn new(model: &Seq2Seq<T>) -> Result<Self, AttentionError> {
        let (config, weights) = (&model.config, &model.decoder.directions[0]);
        let cell = PackedCell::new(weights)?;
        let (token, memory) = (config.embedding_size, config.memory_size());
        let of_extra = weights.weight_ih.slice(s![.., token..]);
        let bias = |layer: &tensor_ops::Linear<T>| layer.bias.as_ref().expect("checked to be there").to_vec();
        Ok(Self {
            mechanism: config.mechanism,
            score: PackedScore::new(&model.attention)?,
            token: cell.input(weights.weight_ih.slice(s![.., ..token]))?,
            extra: (config.extra_size() > 0).then(|| cell.input(of_extra)).transpose()?,
            combine_context: PackedMatrix::new(model.combine.weight.slice(s![.., ..memory]).reversed_axes())?,
            combine_hidden: PackedMatrix::new(model.combine.weight.slice(s![.., memory..]).reversed_axes())?,
            combine_bias: bias(&model.combine),
            output: PackedMatrix::new(model.output.weight.t())?,
            output_bias: bias(&model.output),
            cell,
        })
    }

    /// Takes a step; `operands` give the keys and values of a row, `work` is what a row multiplies. Allocates nothing.
    pub(super) fn step<'k>(
        &self,
        mut step: Step<'_, T>,
        work: usize,
        operands: &(impl Fn(usize) -> (Span, &'k [T], &'k [T]) + Sync),
    ) -> Result<(), TensorError> {
        let units = s![.., ..self.cell.layout.units()];
        self.token.multiply(step.token, ProductStart::Row(&self.cell.bias), step.gates.view_mut())?;
        match (self.mechanism, &self.extra) {
            (Mechanism::Bahdanau, Some(extra)) => {
                self.score.query_forms(step.previous_hidden.slice(units), step.forms.view_mut())?;
                self.attend(&mut step, work, operands);
                extra.multiply(step.contexts.view(), ProductStart::Output, step.gates.view_mut())?;
            }
            (Mechanism::Luong { .. }, Some(extra)) => {
                extra.multiply(step.previous_attentional, ProductStart::Output, step.gates.view_mut())?;
            }
            (_, None) => {}
        }
        self.cell.step(
            step.previous_hidden,
            step.previous_cell,
            step.gates.view_mut(),
            step.hidden.view_mut(),
            step.cell.view_mut(),
        )?;
        if self.mechanism != Mechanism::Bahdanau {
            self.score.query_forms(step.hidden.slice(units), step.forms.view_mut())?;
            self.attend(&mut step, work, operands);
        }
        let start = ProductStart::Row(&self.combine_bias);
        self.combine_context.multiply(step.contexts.view(), start, step.attentional.view_mut())?;
        let hidden = step.hidden.slice(units);
        self.combine_hidden.multiply(hidden, ProductStart::Output, step.attentional.view_mut())?;
        vecmath::tanh(slice(&mut step.attentional));
        self.output.multiply(step.attentional.view(), ProductStart::Row(&self.output_bias), step.logits)
    }

    fn attend<'k>(
        &self,
        step: &mut Step<'_, T>,
        work: usize,
        operands: &(impl Fn(usize) -> (Span, &'k [T], &'k [T]) + Sync),
    ) {
        let rows = step.forms.nrows();
        let attended = AttendedRows {
            forms: step.forms.as_slice().expect("rows side by side"),
            scores: slice(&mut step.scores),
            weights: slice(&mut step.weights),
            out: slice(&mut step.contexts),
            scratch: step.scratch,
        };
        attended.attend(&self.score.scorer, rows, work, 0, operands);
    }
}

fn slice<'a, T>(rows: &'a mut ArrayViewMut2<'_, T>) -> &'a mut [T] {
    rows.as_slice_mut().expect("rows side by side")
}
