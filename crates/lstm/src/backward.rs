//! Back-propagation through time.
//!
//! A direction is taken back step by step to the gradients of the sums before its gates; all else is a product over all
//! steps at once: the gradients of the input, of the weights and of the biases.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut2, Axis, Zip, s};
use tensor_ops::{
    Element, FORGET_GATE, GATES, GateLayout, INPUT_GATE, LstmStepBackward, OUTPUT_GATE, PackedMatrix, ProductStart,
    Run, TensorError, check_axis, lstm_step_backward, multiply_unpacked,
};

use crate::batch::{Batch, Group, for_each_row};
use crate::forward::LayerTrace;
use crate::packed::{input_runs, packs_input, padded_peepholes};
use crate::state::{StateRole, sorted_state};
use crate::{Lstm, LstmError, LstmState, LstmTrace, LstmWeights};

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
        let (config, layout, batch) = (self.config(), &trace.layout, &trace.batch);
        let directions = config.directions();
        let sequences = batch.order.len();
        let mut initial = LstmState::zeros(config, sequences);
        let mut parameters = Self::zeros(config.clone())?;
        let mut grad_hidden = batch.pack(grad_output, config.hidden_size, layout.padded_units());
        for index in (0..config.layers).rev() {
            let layer = &trace.layers[index];
            if let Some(mask) = &layer.mask {
                grad_hidden *= mask;
            }
            let weights = &self.directions[index * directions..(index + 1) * directions];
            let inputs = input_runs(config, layout, index);

            let swept = sweep_layer(trace, weights, index, grad_hidden, grad_final)?;
            let dropped = index.checked_sub(1).and_then(|below| trace.layers[below].dropped());
            let below = match index {
                0 => &trace.input,
                _ => dropped.as_ref().unwrap_or(&trace.layers[index - 1].hidden),
            };
            let packed_below = pack_columns(below.view(), layout, &inputs)?;
            let mut grad_below = Array2::zeros(below.dim());
            for (direction, swept) in swept.iter().enumerate() {
                let position = index * directions + direction;
                write_sorted(&swept.grad_initial_hidden, layout, batch, position, &mut initial.hidden);
                write_sorted(&swept.grad_initial_cell, layout, batch, position, &mut initial.cell);

                let start = if direction == 0 { ProductStart::Zero } else { ProductStart::Output };
                let weight = weights[direction].weight_ih.view();
                let (grad_gates, gates) = (swept.grad_gates.view(), layout.gate_runs());
                if packs_input(sequences, batch.time) {
                    PackedMatrix::from_runs(layout.isa(), weight, &gates, &inputs)?.multiply(
                        grad_gates,
                        start,
                        grad_below.view_mut(),
                    )?;
                } else {
                    let target = grad_below.view_mut();
                    multiply_unpacked(layout.isa(), grad_gates, weight, &gates, &inputs, start, target)?;
                }
                let gradients = &mut parameters.directions[position];
                parameter_gradients(layer, batch, layout, direction, &swept.grad_gates, &packed_below, gradients)?;
            }
            grad_hidden = grad_below;
        }
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

/// One direction of one layer, taken back.
struct Swept<T> {
    /// Of the sums before the gates, `[rows, gates]`.
    grad_gates: Array2<T>,
    /// Of h before the first step, `[sequences, units]`.
    grad_initial_hidden: Array2<T>,
    /// Of c before the first step, `[sequences, units]`.
    grad_initial_cell: Array2<T>,
}

/// Takes the directions of a layer back; `grad_hidden` is the gradient of its output.
fn sweep_layer<T: Element>(
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

/// Writes the gradients of the parameters of a direction of `layer`.
fn parameter_gradients<T: Element>(
    layer: &LayerTrace<T>,
    batch: &Batch,
    layout: &GateLayout,
    direction: usize,
    grad_gates: &Array2<T>,
    packed_below: &PackedMatrix<T>,
    gradients: &mut LstmWeights<T>,
) -> Result<(), TensorError> {
    let units = layout.padded_units();
    let columns = direction * units..(direction + 1) * units;
    let reverse = direction == 1;
    let grad_gates = gate_by_gate(grad_gates, layout);
    packed_below.multiply(grad_gates.t(), ProductStart::Zero, gradients.weight_ih.view_mut())?;

    let hidden = layer.hidden.slice(s![.., columns.clone()]);
    let before = shifted(hidden, layer.initial_hidden.slice(s![.., columns.clone()]), batch, reverse);
    let packed_before = pack_columns(before.view(), layout, &[layout.unit_run()])?;
    packed_before.multiply(grad_gates.t(), ProductStart::Zero, gradients.weight_hh.view_mut())?;

    if let (Some(bias_ih), Some(bias_hh)) = (&mut gradients.bias_ih, &mut gradients.bias_hh) {
        // Both are added to the same sum.
        for row in grad_gates.rows() {
            *bias_ih += &row;
        }
        bias_hh.assign(bias_ih);
    }
    if let Some(peepholes) = &mut gradients.peepholes {
        let cell = layer.cell.slice(s![.., columns.clone()]);
        let before = shifted(cell, layer.initial_cell.slice(s![.., columns]), batch, reverse);
        let seen = [(INPUT_GATE, before.view()), (FORGET_GATE, before.view()), (OUTPUT_GATE, cell)];
        for (mut peepholes, (gate, cell)) in peepholes.rows_mut().into_iter().zip(seen) {
            let gate = s![.., gate * layout.units()..(gate + 1) * layout.units()];
            for (grad, cell) in grad_gates.slice(gate).rows().into_iter().zip(cell.rows()) {
                Zip::from(&mut peepholes).and(&grad).and(&cell.slice(s![..layout.units()])).for_each(
                    |peephole, &grad, &cell| {
                        *peephole += grad * cell;
                    },
                );
            }
        }
    }
    Ok(())
}

/// Packs `[rows, padded columns]` without the padding of `runs`, which say how the columns were padded.
fn pack_columns<T: Element>(
    values: ArrayView2<'_, T>,
    layout: &GateLayout,
    runs: &[Run],
) -> Result<PackedMatrix<T>, TensorError> {
    let mut start = 0;
    let columns: Vec<Run> = runs
        .iter()
        .map(|run| {
            start += run.padded;
            Run { start: start - run.padded, length: run.length, padded: run.length }
        })
        .collect();
    PackedMatrix::from_runs(layout.isa(), values, &[Run::whole(values.nrows())], &columns)
}

/// `[rows, gates in the order of the layout]` as `[rows, 4 · units]`, one gate after another.
fn gate_by_gate<T: Element>(gates: &Array2<T>, layout: &GateLayout) -> Array2<T> {
    let runs = layout.gate_runs();
    let mut ordered = Array2::zeros((gates.nrows(), GATES * layout.units()));
    let columns = ordered.ncols();
    for_each_row(ordered.as_slice_mut().expect("a new array"), columns, |row, target| {
        let source = gates.row(row);
        let source = source.as_slice().expect("rows of an owned array");
        let mut first = 0;
        for run in &runs {
            target[run.start..run.start + run.length].copy_from_slice(&source[first..first + run.length]);
            first += run.padded;
        }
    });
    ordered
}

/// The values of the step before every step: `values` `[rows, units]` moved by one step, `initial` before the first.
fn shifted<T: Element>(
    values: ArrayView2<'_, T>,
    initial: ArrayView2<'_, T>,
    batch: &Batch,
    reverse: bool,
) -> Array2<T> {
    let mut shifted = Array2::zeros(values.dim());
    let mut first_row = 0;
    for group in &batch.groups {
        for time in group.times(reverse) {
            let (row, active) = (first_row + group.offsets[time], group.active[time]);
            let previous = group.previous(time, reverse);
            let linked = group.linked(time, previous);
            if let Some(previous) = previous {
                let before = first_row + group.offsets[previous];
                let source = values.slice(s![before..before + linked, ..]);
                shifted.slice_mut(s![row..row + linked, ..]).assign(&source);
            }
            let source = initial.slice(s![group.first + linked..group.first + active, ..]);
            shifted.slice_mut(s![row + linked..row + active, ..]).assign(&source);
        }
        first_row += group.rows;
    }
    shifted
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
