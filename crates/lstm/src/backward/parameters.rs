//! The gradients of the parameters: products over all steps at once.
//!
//! With δ the gradients of the sums before the gates, x the inputs, h' the hidden values before every step, and c the
//! cell values that a peephole sees:
//!
//! ```text
//! ∂W = δᵀ x        ∂R = δᵀ h'        ∂b = Σ δ        ∂p = Σ δ∘c
//! ```

use ndarray::{Array2, ArrayView2, Axis, Zip, s};
use tensor_ops::{Element, FORGET_GATE, GATES, GateLayout, INPUT_GATE, OUTPUT_GATE, PackedMatrix, Run, TensorError};

use crate::LstmWeights;
use crate::batch::{Batch, for_each_row};
use crate::forward::LayerTrace;

/// The gradients of `weights`, the parameters of a direction of `layer`.
pub(super) fn parameter_gradients<T: Element>(
    layer: &LayerTrace<T>,
    batch: &Batch,
    layout: &GateLayout,
    direction: usize,
    grad_gates: &Array2<T>,
    packed_below: &PackedMatrix<T>,
    weights: &LstmWeights<T>,
) -> Result<LstmWeights<T>, TensorError> {
    let units = layout.padded_units();
    let columns = direction * units..(direction + 1) * units;
    let reverse = direction == 1;
    let grad_gates = gate_by_gate(grad_gates, layout);
    let weight_ih = packed_below.product(grad_gates.t())?;

    let hidden = layer.hidden.slice(s![.., columns.clone()]);
    let before = shifted(hidden, layer.initial_hidden.slice(s![.., columns.clone()]), batch, reverse);
    let packed_before = pack_columns(before.view(), layout, &[layout.unit_run()])?;
    let weight_hh = packed_before.product(grad_gates.t())?;

    // Both biases, or none, are added to the same sum.
    let bias_ih = weights.bias_ih.as_ref().map(|_| grad_gates.sum_axis(Axis(0)));
    let bias_hh = bias_ih.clone();
    let peepholes = weights.peepholes.as_ref().map(|peepholes| {
        let mut gradients = Array2::zeros(peepholes.dim());
        let cell = layer.cell.slice(s![.., columns.clone()]);
        let before = shifted(cell, layer.initial_cell.slice(s![.., columns]), batch, reverse);
        let seen = [(INPUT_GATE, before.view()), (FORGET_GATE, before.view()), (OUTPUT_GATE, cell)];
        for (mut peepholes, (gate, cell)) in gradients.rows_mut().into_iter().zip(seen) {
            let gate = s![.., gate * layout.units()..(gate + 1) * layout.units()];
            for (grad, cell) in grad_gates.slice(gate).rows().into_iter().zip(cell.rows()) {
                Zip::from(&mut peepholes).and(&grad).and(&cell.slice(s![..layout.units()])).for_each(
                    |peephole, &grad, &cell| {
                        *peephole += grad * cell;
                    },
                );
            }
        }
        gradients
    });
    Ok(LstmWeights { weight_ih, weight_hh, bias_ih, bias_hh, peepholes })
}

/// Packs `[rows, padded columns]` without the padding of `runs`, which say how the columns were padded.
pub(super) fn pack_columns<T: Element>(
    values: ArrayView2<'_, T>,
    layout: &GateLayout,
    runs: &[Run],
) -> Result<PackedMatrix<T>, TensorError> {
    PackedMatrix::from_runs(layout.isa(), values, &[Run::whole(values.nrows())], &Run::unpadded(runs))
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
