//! One step of a long short-term memory, forward and backward, on packed recurrent matrices.
//!
//! With x the input part of the gates and p the peepholes, where there are any (Graves, "Generating sequences with
//! recurrent neural networks", 2013):
//!
//! ```text
//! i = σ(xᵢ + Wᵢ h' + pᵢ∘c')     f = σ(x_f + W_f h' + p_f∘c')     g = tanh(x_g + W_g h')
//! c = f∘c' + i∘g                o = σ(xₒ + Wₒ h' + pₒ∘c)         h = o∘tanh(c)
//! ```
//!
//! h' and c' are the values of the previous step. Neighbouring panels of the recurrent matrix hold the four gates of the
//! same units, so a thread that has multiplied them updates these units while their gates are in its cache.

#![expect(unsafe_code, reason = "the kernels address gates and states by pointer")]

use super::gates::{CELL_GATE, FORGET_GATE, INPUT_GATE, OUTPUT_GATE};
use super::kernel::DIRECT_ROWS;
use super::*;
use crate::vecmath::{sigmoid_vector, tanh_vector};

/// The number of peephole vectors: of the input, the forget and the output gate.
const PEEPHOLES: usize = 3;

/// The arguments of [`lstm_step`], for `rows` sequences and the units U and gates 4U of a [`GateLayout`] with its padding.
#[derive(Debug)]
pub struct LstmStep<'a, T> {
    /// W: the recurrent matrix `[U, 4U]`, with its columns in the order of the layout.
    pub recurrent: &'a PackedMatrix<T>,
    /// Peepholes of i, f and o, one after another: `3 · U` values.
    pub peepholes: Option<&'a [T]>,
    /// h', `[rows, U]`.
    pub previous_hidden: ArrayView2<'a, T>,
    /// c', `[rows, U]`.
    pub previous_cell: ArrayView2<'a, T>,
    /// On entry the input part with the biases; on return i, f, g and o; `[rows, 4U]`.
    pub gates: ArrayViewMut2<'a, T>,
    /// h, `[rows, U]`.
    pub hidden: ArrayViewMut2<'a, T>,
    /// c, `[rows, U]`.
    pub cell: ArrayViewMut2<'a, T>,
}

/// Advances `rows` sequences by one step. Allocates nothing.
///
/// A sequence has the same values, bit for bit, whatever other sequences are advanced with it and on however many threads.
///
/// # Errors
/// [`TensorError::AxisSize`] if a shape does not fit the recurrent matrix, [`TensorError::InvalidOption`] if the columns of
/// a view do not lie side by side.
pub fn lstm_step<T: Element>(step: LstmStep<'_, T>) -> Result<(), TensorError> {
    const NAME: &str = "lstm_step";
    let (rows, units) = (step.gates.nrows(), step.recurrent.depth());
    check_units(NAME, step.recurrent, units, step.recurrent.columns(), step.peepholes)?;
    check_rows(NAME, "previous hidden values", step.previous_hidden.view(), rows, units)?;
    check_rows(NAME, "previous cell values", step.previous_cell.view(), rows, units)?;
    check_rows(NAME, "gates", step.gates.view(), rows, GATES * units)?;
    check_rows(NAME, "hidden values", step.hidden.view(), rows, units)?;
    check_rows(NAME, "cell values", step.cell.view(), rows, units)?;
    if rows > 0 {
        let parts = step.recurrent.parts(rows);
        forward_parts(step, 0, parts);
    }
    Ok(())
}

/// The arguments of [`lstm_step_backward`], with the shapes of [`LstmStep`].
#[derive(Debug)]
pub struct LstmStepBackward<'a, T> {
    /// Wᵀ: the transposed recurrent matrix `[4U, U]`, with its rows in the order of the layout.
    pub recurrent: &'a PackedMatrix<T>,
    /// Peepholes as in [`LstmStep`].
    pub peepholes: Option<&'a [T]>,
    /// The gradient of the sums before the gates of the step that follows, `[rows, 4U]`; `None` where none follows.
    pub next_gradient: Option<ArrayView2<'a, T>>,
    /// c', `[rows, U]`.
    pub previous_cell: ArrayView2<'a, T>,
    /// c, `[rows, U]`.
    pub cell: ArrayView2<'a, T>,
    /// i, f, g and o, `[rows, 4U]`.
    pub gates: ArrayView2<'a, T>,
    /// On return the gradient of the sums before the gates, `[rows, 4U]`; not read.
    pub grad_gates: ArrayViewMut2<'a, T>,
    /// On entry the gradient of h from outside the recurrence; the part of the step that follows is added; `[rows, U]`.
    pub grad_hidden: ArrayViewMut2<'a, T>,
    /// On entry the gradient of c from the step that follows; on return that of c'; `[rows, U]`.
    pub grad_cell: ArrayViewMut2<'a, T>,
}

/// Takes the gradients of `rows` sequences one step back. Allocates nothing.
///
/// With δ the gradients, a the sums before the gates and a⁺ those of the step that follows:
///
/// ```text
/// δh += Wᵀ δa⁺                  δo = δh∘tanh(c)∘o(1−o)            δc += δh∘o∘(1−tanh²(c)) + pₒ∘δo
/// δi = δc∘g∘i(1−i)              δf = δc∘c'∘f(1−f)                 δg = δc∘i∘(1−g²)
/// δc' = δc∘f + pᵢ∘δi + p_f∘δf
/// ```
///
/// # Errors
/// As [`lstm_step`].
pub fn lstm_step_backward<T: Element>(step: LstmStepBackward<'_, T>) -> Result<(), TensorError> {
    const NAME: &str = "lstm_step_backward";
    let (rows, units) = (step.gates.nrows(), step.recurrent.columns());
    check_units(NAME, step.recurrent, units, step.recurrent.depth(), step.peepholes)?;
    if let Some(next_gradient) = &step.next_gradient {
        check_rows(NAME, "next gradient", next_gradient.view(), rows, GATES * units)?;
    }
    check_rows(NAME, "previous cell values", step.previous_cell.view(), rows, units)?;
    check_rows(NAME, "cell values", step.cell.view(), rows, units)?;
    check_rows(NAME, "gates", step.gates.view(), rows, GATES * units)?;
    check_rows(NAME, "gradient of gates", step.grad_gates.view(), rows, GATES * units)?;
    check_rows(NAME, "gradient of hidden values", step.grad_hidden.view(), rows, units)?;
    check_rows(NAME, "gradient of cell values", step.grad_cell.view(), rows, units)?;
    if rows > 0 {
        let parts = if step.next_gradient.is_some() { step.recurrent.parts(rows) } else { 1 };
        let panels = 0..step.recurrent.panel_count();
        backward_parts(step, panels, parts);
    }
    Ok(())
}

/// Checks the recurrent matrix and the peepholes.
pub(super) fn check_units<T: Element>(
    operation: &'static str,
    recurrent: &PackedMatrix<T>,
    units: usize,
    gates: usize,
    peepholes: Option<&[T]>,
) -> Result<(), TensorError> {
    check_axis(operation, "gates of the recurrent matrix", GATES * units, gates)?;
    let (lanes, _) = lanes_and_width::<T>(recurrent.isa);
    check_axis(operation, "units with their padding", units.next_multiple_of(lanes), units)?;
    peepholes.map_or(Ok(()), |peepholes| check_axis(operation, "peepholes", PEEPHOLES * units, peepholes.len()))
}

/// Checks the shape of an argument, and that its columns lie side by side.
fn check_rows<T: Element>(
    operation: &'static str,
    axis: &'static str,
    view: ArrayView2<'_, T>,
    rows: usize,
    columns: usize,
) -> Result<(), TensorError> {
    check_axis(operation, axis, rows, view.nrows())?;
    check_axis(operation, axis, columns, view.ncols())?;
    if view.strides()[1] == 1 {
        Ok(())
    } else {
        Err(TensorError::InvalidOption {
            operation,
            option: axis,
            requirement: "rows of values side by side",
            found: format!("a stride of {}", view.strides()[1]),
        })
    }
}

/// Computes the units from `unit`, which are those of the views, in `parts` parts.
fn forward_parts<T: Element>(step: LstmStep<'_, T>, unit: usize, parts: usize) {
    let (lanes, _) = lanes_and_width::<T>(step.recurrent.isa);
    let groups = step.hidden.ncols() / lanes;
    if parts > 1 && groups > 1 {
        let units = (groups * (parts / 2) / parts).max(1) * lanes;
        let (gates, gates_right) = step.gates.split_at(Axis(1), GATES * units);
        let (hidden, hidden_right) = step.hidden.split_at(Axis(1), units);
        let (cell, cell_right) = step.cell.split_at(Axis(1), units);
        let (previous_cell, previous_cell_right) = step.previous_cell.split_at(Axis(1), units);
        let right = LstmStep {
            gates: gates_right,
            hidden: hidden_right,
            cell: cell_right,
            previous_cell: previous_cell_right,
            previous_hidden: step.previous_hidden,
            ..step
        };
        let left = LstmStep {
            gates,
            hidden,
            cell,
            previous_cell,
            recurrent: right.recurrent,
            peepholes: right.peepholes,
            previous_hidden: right.previous_hidden,
        };
        rayon::join(|| forward_parts(left, unit, parts / 2), || forward_parts(right, unit + units, parts - parts / 2));
    } else {
        T::run_forward(step.recurrent.isa, Forward { step, unit });
    }
}

/// [`lstm_step`] for the units of its views, of which the first is `unit`.
pub(crate) struct Forward<'a, T> {
    step: LstmStep<'a, T>,
    unit: usize,
}

impl<T: Element> Kernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { mut step, unit } = self;
        debug_assert_eq!(step.recurrent.width, tile::width::<T, S>(), "packed for these instructions");
        let groups = step.hidden.ncols() / S::LANES;
        let hidden = rows_of(&step.previous_hidden);
        let gates = target_of(&mut step.gates);
        // Few rows: a vector of units at a time, its gates still in the first-level cache. Many rows: all units, so that
        // copied rows of h' serve them all.
        let at_once = if hidden.rows <= DIRECT_ROWS { 1 } else { groups };
        let gates_of_vector = GATES * S::LANES;
        for first in (0..groups).step_by(at_once) {
            // SAFETY: `lstm_step` checked the shapes and the strides; the views were split at whole panels.
            unsafe {
                let pointer = gates.pointer.add(first * gates_of_vector);
                let part = Target { pointer, columns: at_once * gates_of_vector, ..gates };
                let panel = (unit / S::LANES + first) * gates_of_vector / step.recurrent.width;
                product(simd, hidden, step.recurrent.panels_from(panel), Origin::Output, part);
                for row in 0..hidden.rows {
                    for group in first..first + at_once {
                        update_units::<T, S>(simd, &mut step, unit, row, group);
                    }
                }
            }
        }
    }
}

/// Gates, cells and hidden values of one row and one vector of units.
///
/// # Safety
/// The views of `step` must have the shapes that [`lstm_step`] checks, split at whole panels.
#[inline(always)]
unsafe fn update_units<T: Element, S: Simd<T>>(
    simd: S,
    step: &mut LstmStep<'_, T>,
    unit: usize,
    row: usize,
    group: usize,
) {
    let column = group * S::LANES;
    // SAFETY: row and column are inside the views, whose columns lie side by side.
    unsafe {
        let gates = row_mut(&mut step.gates, row).add(GATES * column);
        let gate = |position: usize| gates.add(position * S::LANES);
        let previous_cell = simd.load_ptr(row_of(&step.previous_cell, row).add(column));
        let mut input = simd.load_ptr(gate(INPUT_GATE));
        let mut forget = simd.load_ptr(gate(FORGET_GATE));
        let mut output = simd.load_ptr(gate(OUTPUT_GATE));
        if let Some(peepholes) = step.peepholes {
            let [of_input, of_forget, _] = load_peepholes(simd, peepholes, unit + column);
            input = simd.mul_add(of_input, previous_cell, input);
            forget = simd.mul_add(of_forget, previous_cell, forget);
        }
        let input = sigmoid_vector::<T, S>(simd, input);
        let forget = sigmoid_vector::<T, S>(simd, forget);
        let candidate = tanh_vector::<T, S>(simd, simd.load_ptr(gate(CELL_GATE)));
        let cell = simd.mul_add(forget, previous_cell, simd.mul(input, candidate));
        if let Some(peepholes) = step.peepholes {
            let [_, _, of_output] = load_peepholes(simd, peepholes, unit + column);
            output = simd.mul_add(of_output, cell, output);
        }
        let output = sigmoid_vector::<T, S>(simd, output);
        let hidden = simd.mul(output, tanh_vector::<T, S>(simd, cell));

        simd.store_ptr(gate(INPUT_GATE), input);
        simd.store_ptr(gate(FORGET_GATE), forget);
        simd.store_ptr(gate(CELL_GATE), candidate);
        simd.store_ptr(gate(OUTPUT_GATE), output);
        simd.store_ptr(row_mut(&mut step.cell, row).add(column), cell);
        simd.store_ptr(row_mut(&mut step.hidden, row).add(column), hidden);
    }
}

/// Computes the units of `panels`, which are those of the views, in `parts` parts.
fn backward_parts<T: Element>(step: LstmStepBackward<'_, T>, panels: Range<usize>, parts: usize) {
    if parts > 1 && panels.len() > 1 {
        let middle = (panels.len() * (parts / 2) / parts).max(1);
        let units = middle * step.recurrent.width;
        let (previous_cell, previous_cell_right) = step.previous_cell.split_at(Axis(1), units);
        let (cell, cell_right) = step.cell.split_at(Axis(1), units);
        let (gates, gates_right) = step.gates.split_at(Axis(1), GATES * units);
        let (grad_gates, grad_gates_right) = step.grad_gates.split_at(Axis(1), GATES * units);
        let (grad_hidden, grad_hidden_right) = step.grad_hidden.split_at(Axis(1), units);
        let (grad_cell, grad_cell_right) = step.grad_cell.split_at(Axis(1), units);
        let right = LstmStepBackward {
            previous_cell: previous_cell_right,
            cell: cell_right,
            gates: gates_right,
            grad_gates: grad_gates_right,
            grad_hidden: grad_hidden_right,
            grad_cell: grad_cell_right,
            ..step
        };
        let left = LstmStepBackward {
            previous_cell,
            cell,
            gates,
            grad_gates,
            grad_hidden,
            grad_cell,
            recurrent: right.recurrent,
            peepholes: right.peepholes,
            next_gradient: right.next_gradient,
        };
        let middle = panels.start + middle;
        rayon::join(
            || backward_parts(left, panels.start..middle, parts / 2),
            || backward_parts(right, middle..panels.end, parts - parts / 2),
        );
    } else {
        T::run_backward(step.recurrent.isa, Backward { step, panels });
    }
}

/// [`lstm_step_backward`] for the units of its views, which are the columns of `panels`.
pub(crate) struct Backward<'a, T> {
    step: LstmStepBackward<'a, T>,
    panels: Range<usize>,
}

impl<T: Element> Kernel<T> for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { mut step, panels } = self;
        debug_assert_eq!(step.recurrent.width, tile::width::<T, S>(), "packed for these instructions");
        let unit = panels.start * step.recurrent.width;
        // SAFETY: `lstm_step_backward` checked the shapes and the strides; the views were split at whole panels.
        unsafe {
            if let Some(next_gradient) = &step.next_gradient {
                let matrix = step.recurrent.panels_from(panels.start);
                product(simd, rows_of(next_gradient), matrix, Origin::Output, target_of(&mut step.grad_hidden));
            }
            for row in 0..step.gates.nrows() {
                for column in (0..step.grad_hidden.ncols()).step_by(S::LANES) {
                    gradients_of_units::<T, S>(simd, &mut step, unit, row, column);
                }
            }
        }
    }
}

/// Gradients of one row and one vector of units.
///
/// # Safety
/// The views of `step` must have the shapes that [`lstm_step_backward`] checks, split at whole panels.
#[inline(always)]
unsafe fn gradients_of_units<T: Element, S: Simd<T>>(
    simd: S,
    step: &mut LstmStepBackward<'_, T>,
    unit: usize,
    row: usize,
    column: usize,
) {
    // SAFETY: row and column are inside the views, whose columns lie side by side.
    unsafe {
        let one = simd.splat(T::one());
        // x(1 − x), the derivative of σ where x is its value.
        let slope = |x: S::Vector| simd.mul(x, simd.sub(one, x));
        let gates = row_of(&step.gates, row).add(GATES * column);
        let gate = |position: usize| gates.add(position * S::LANES);
        let input = simd.load_ptr(gate(INPUT_GATE));
        let forget = simd.load_ptr(gate(FORGET_GATE));
        let candidate = simd.load_ptr(gate(CELL_GATE));
        let output = simd.load_ptr(gate(OUTPUT_GATE));
        let previous_cell = simd.load_ptr(row_of(&step.previous_cell, row).add(column));
        let squashed = tanh_vector::<T, S>(simd, simd.load_ptr(row_of(&step.cell, row).add(column)));
        let grad_hidden = simd.load_ptr(row_mut(&mut step.grad_hidden, row).add(column));
        let grad_cell_at = row_mut(&mut step.grad_cell, row).add(column);

        let grad_output = simd.mul(simd.mul(grad_hidden, squashed), slope(output));
        let squash_slope = simd.sub(one, simd.mul(squashed, squashed));
        let through_hidden = simd.mul(simd.mul(grad_hidden, output), squash_slope);
        let mut grad_cell = simd.add(simd.load_ptr(grad_cell_at), through_hidden);
        if let Some(peepholes) = step.peepholes {
            let [_, _, of_output] = load_peepholes(simd, peepholes, unit + column);
            grad_cell = simd.mul_add(of_output, grad_output, grad_cell);
        }
        let grad_input = simd.mul(simd.mul(grad_cell, candidate), slope(input));
        let grad_forget = simd.mul(simd.mul(grad_cell, previous_cell), slope(forget));
        let candidate_slope = simd.sub(one, simd.mul(candidate, candidate));
        let grad_candidate = simd.mul(simd.mul(grad_cell, input), candidate_slope);
        let mut grad_previous = simd.mul(grad_cell, forget);
        if let Some(peepholes) = step.peepholes {
            let [of_input, of_forget, _] = load_peepholes(simd, peepholes, unit + column);
            grad_previous = simd.mul_add(of_input, grad_input, grad_previous);
            grad_previous = simd.mul_add(of_forget, grad_forget, grad_previous);
        }

        let grad_gates = row_mut(&mut step.grad_gates, row).add(GATES * column);
        simd.store_ptr(grad_gates.add(INPUT_GATE * S::LANES), grad_input);
        simd.store_ptr(grad_gates.add(FORGET_GATE * S::LANES), grad_forget);
        simd.store_ptr(grad_gates.add(CELL_GATE * S::LANES), grad_candidate);
        simd.store_ptr(grad_gates.add(OUTPUT_GATE * S::LANES), grad_output);
        simd.store_ptr(grad_cell_at, grad_previous);
    }
}

/// The peepholes of i, f and o of the vector of units from `unit`.
///
/// # Safety
/// `unit` must be the first of a whole vector of units.
#[inline(always)]
unsafe fn load_peepholes<T: Element, S: Simd<T>>(simd: S, peepholes: &[T], unit: usize) -> [S::Vector; PEEPHOLES] {
    let units = peepholes.len() / PEEPHOLES;
    // SAFETY: there are `units` values for each gate.
    std::array::from_fn(|gate| unsafe { simd.load_ptr(peepholes.as_ptr().add(gate * units + unit)) })
}

/// The first element of a row.
///
/// # Safety
/// `row` must be below the number of rows.
#[inline(always)]
unsafe fn row_of<T: Element>(view: &ArrayView2<'_, T>, row: usize) -> *const T {
    // SAFETY: granted by the caller.
    unsafe { view.as_ptr().offset(row as isize * view.strides()[0]) }
}

/// The first element of a row, to be written.
///
/// # Safety
/// `row` must be below the number of rows.
#[inline(always)]
unsafe fn row_mut<T: Element>(view: &mut ArrayViewMut2<'_, T>, row: usize) -> *mut T {
    // SAFETY: granted by the caller.
    unsafe { view.as_mut_ptr().offset(row as isize * view.strides()[0]) }
}
