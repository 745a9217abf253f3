//! A direction of a layer, taken back step by step.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use tensor_ops::{Element, LstmStepBackward, PackedMatrix, ProductStart, TensorError, lstm_step_backward};

use crate::batch::Group;
use crate::packed::padded_peepholes;
use crate::state::sorted_state;
use crate::{LstmState, LstmTrace, LstmWeights};

/// One direction of one layer, taken back.
pub(super) struct Swept<T> {
    /// Of the sums before the gates, `[rows, gates]`.
    pub(super) grad_gates: Array2<T>,
    /// Of h before the first step, `[sequences, units]`.
    pub(super) grad_initial_hidden: Array2<T>,
    /// Of c before the first step, `[sequences, units]`.
    pub(super) grad_initial_cell: Array2<T>,
}

/// Takes the directions of a layer back; `grad_hidden` is the gradient of its output.
pub(super) fn sweep_layer<T: Element>(
    trace: &LstmTrace<T>,
    weights: &[LstmWeights<T>],
    index: usize,
    mut grad_hidden: Array2<T>,
    grad_final: Option<&LstmState<T>>,
) -> Result<Vec<Swept<T>>, TensorError> {
    let (layout, batch, layer) = (&trace.layout, &trace.batch, &trace.layers[index]);
    let units = layout.padded_units();
    let sorted = |values| sorted_state(values, index, weights.len(), batch, layout);
    let grad_final_hidden = sorted(grad_final.map(|state| &state.hidden));
    let grad_final_cell = sorted(grad_final.map(|state| &state.cell));

    let run = |direction: usize, mut grad_hidden: ArrayViewMut2<'_, T>| {
        let columns = s![.., direction * units..(direction + 1) * units];
        let weight_hh = weights[direction].weight_hh.view();
        let sweep = Sweep {
            recurrent: PackedMatrix::from_runs(layout.isa(), weight_hh, &layout.gate_runs(), &[layout.unit_run()])?,
            peepholes: weights[direction].peepholes.as_ref().map(|peepholes| padded_peepholes(peepholes, layout)),
            reverse: direction == 1,
            truncate: trace.config.truncate,
            lengths: &batch.lengths,
            gates: layer.gates[direction].view(),
            cell: layer.cell.slice(columns),
            initial_cell: layer.initial_cell.slice(columns),
            grad_final_hidden: grad_final_hidden.slice(columns),
        };
        let mut swept = Swept {
            grad_gates: Array2::zeros((batch.rows, layout.width())),
            grad_initial_hidden: Array2::zeros((batch.order.len(), units)),
            grad_initial_cell: grad_final_cell.slice(columns).to_owned(),
        };
        let views = SweepViews {
            grad_gates: swept.grad_gates.view_mut(),
            grad_hidden: grad_hidden.view_mut(),
            grad_cell: swept.grad_initial_cell.view_mut(),
            grad_initial_hidden: swept.grad_initial_hidden.view_mut(),
        };
        sweep.run(&batch.groups, 0, views)?;
        Ok(swept)
    };
    let (forward, reverse) = grad_hidden.view_mut().split_at(Axis(1), units);
    if weights.len() == 2 {
        let (forward, reverse) = rayon::join(|| run(0, forward), || run(1, reverse));
        Ok(vec![forward?, reverse?])
    } else {
        Ok(vec![run(0, forward)?])
    }
}

/// What taking a direction back reads.
struct Sweep<'a, T> {
    /// R, `[gates, units]`.
    recurrent: PackedMatrix<T>,
    peepholes: Option<Vec<T>>,
    reverse: bool,
    truncate: Option<usize>,
    /// Of the sequences in batch order.
    lengths: &'a [usize],
    /// `[rows, gates]`
    gates: ArrayView2<'a, T>,
    /// `[rows, units]`
    cell: ArrayView2<'a, T>,
    /// `[sequences, units]`
    initial_cell: ArrayView2<'a, T>,
    /// `[sequences, units]`
    grad_final_hidden: ArrayView2<'a, T>,
}

/// What taking a direction back writes, for the rows and sequences of some groups.
struct SweepViews<'a, T> {
    /// `[rows, gates]`
    grad_gates: ArrayViewMut2<'a, T>,
    /// `[rows, units]`: at first the gradient from above.
    grad_hidden: ArrayViewMut2<'a, T>,
    /// `[sequences, units]`: at first the gradient of the final cell values, at last that of the initial ones.
    grad_cell: ArrayViewMut2<'a, T>,
    /// `[sequences, units]`
    grad_initial_hidden: ArrayViewMut2<'a, T>,
}

impl<'a, T: Element> SweepViews<'a, T> {
    fn split(self, rows: usize, sequences: usize) -> (Self, Self) {
        let (grad_gates, grad_gates_right) = self.grad_gates.split_at(Axis(0), rows);
        let (grad_hidden, grad_hidden_right) = self.grad_hidden.split_at(Axis(0), rows);
        let (grad_cell, grad_cell_right) = self.grad_cell.split_at(Axis(0), sequences);
        let (grad_initial_hidden, grad_initial_right) = self.grad_initial_hidden.split_at(Axis(0), sequences);
        let left = Self { grad_gates, grad_hidden, grad_cell, grad_initial_hidden };
        let right = Self {
            grad_gates: grad_gates_right,
            grad_hidden: grad_hidden_right,
            grad_cell: grad_cell_right,
            grad_initial_hidden: grad_initial_right,
        };
        (left, right)
    }
}

/// Where the gradient of h and c comes from, besides the layer above.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// From the step that follows.
    Next,
    /// From the final state: this is the last step.
    Final,
    /// From nowhere: truncated.
    Nothing,
}

impl<T: Element> Sweep<'_, T> {
    /// Takes the groups back; `row` is the first row of the first group.
    fn run(&self, groups: &[Group], row: usize, views: SweepViews<'_, T>) -> Result<(), TensorError> {
        let [group] = groups else {
            let (left, right) = groups.split_at(groups.len() / 2);
            let rows = left.iter().map(|group| group.rows).sum();
            let sequences = left.iter().map(|group| group.sequences).sum();
            let (views_left, views_right) = views.split(rows, sequences);
            let (left, right) =
                rayon::join(|| self.run(left, row, views_left), || self.run(right, row + rows, views_right));
            return left.and(right);
        };
        self.run_group(group, row, views)
    }

    fn run_group(&self, group: &Group, row: usize, mut views: SweepViews<'_, T>) -> Result<(), TensorError> {
        for time in group.times(self.reverse).rev() {
            let active = group.active[time];
            let next = group.next(time, self.reverse);
            let previous = group.previous(time, self.reverse);
            let has_next = group.linked(time, next);
            let has_previous = group.linked(time, previous);
            let source = |sequence: usize| {
                if sequence >= has_next {
                    Source::Final
                } else if self.is_cut(self.lengths[group.first + sequence], time) {
                    Source::Nothing
                } else {
                    Source::Next
                }
            };
            let mut first = 0;
            while first < active {
                let from = source(first);
                let alike =
                    |&sequence: &usize| source(sequence) == from && (sequence < has_previous) == (first < has_previous);
                let end = first + (first..active).take_while(alike).count();
                let previous = previous.filter(|_| first < has_previous);
                self.step(group, row, time, next, previous, from, first..end, &mut views)?;
                first = end;
            }
            // h before the first step of the sequences that begin here.
            let (begun, now) = (s![has_previous..active, ..], group.offsets[time] + has_previous);
            let grad_gates = views.grad_gates.slice(s![now..now + active - has_previous, ..]);
            let target = views.grad_initial_hidden.slice_mut(begun);
            self.recurrent.multiply(grad_gates, ProductStart::Zero, target)?;
        }
        Ok(())
    }

    /// Whether truncation separates the step at `time` from the one that follows.
    fn is_cut(&self, length: usize, time: usize) -> bool {
        let step = if self.reverse { length - 1 - time } else { time };
        self.truncate.is_some_and(|steps| (step + 1).is_multiple_of(steps))
    }

    /// Takes the `sequences` of the group back over the step at `time`.
    fn step(
        &self,
        group: &Group,
        row: usize,
        time: usize,
        next: Option<usize>,
        previous: Option<usize>,
        source: Source,
        sequences: std::ops::Range<usize>,
        views: &mut SweepViews<'_, T>,
    ) -> Result<(), TensorError> {
        let rows = |time: usize| group.offsets[time] + sequences.start..group.offsets[time] + sequences.end;
        let absolute = |time: usize| s![row + rows(time).start..row + rows(time).end, ..];
        let in_batch = s![group.first + sequences.start..group.first + sequences.end, ..];
        let mut grad_hidden = views.grad_hidden.slice_mut(s![rows(time), ..]);
        let mut grad_cell = views.grad_cell.slice_mut(s![sequences.clone(), ..]);
        match source {
            Source::Final => grad_hidden += &self.grad_final_hidden.slice(in_batch),
            Source::Nothing => grad_cell.fill(T::zero()),
            Source::Next => {}
        }
        let (now, after);
        let (grad_gates, next_gradient) = match next.filter(|_| source == Source::Next) {
            Some(next) => {
                (now, after) = views.grad_gates.multi_slice_mut((s![rows(time), ..], s![rows(next), ..]));
                (now, Some(after.view()))
            }
            None => (views.grad_gates.slice_mut(s![rows(time), ..]), None),
        };
        lstm_step_backward(LstmStepBackward {
            recurrent: &self.recurrent,
            peepholes: self.peepholes.as_deref(),
            next_gradient,
            previous_cell: match previous {
                Some(previous) => self.cell.slice(absolute(previous)),
                None => self.initial_cell.slice(in_batch),
            },
            cell: self.cell.slice(absolute(time)),
            gates: self.gates.slice(absolute(time)),
            grad_gates,
            grad_hidden,
            grad_cell,
        })
    }
}
