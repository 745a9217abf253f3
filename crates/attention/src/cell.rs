//! The LSTM cell inside the recurrent models: its packed parameters, its states and its checks.

use lstm::{Initialisation, Lstm, LstmConfig, LstmWeights};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use tensor_ops::{Element, GATES, GateLayout, Isa, LstmStep, PackedMatrix, Run, TensorError, check_axis, lstm_step};

use crate::AttentionError;
use crate::error::check_part;
use crate::vector::{add_rows, weight_gradient};

mod stream;

pub(crate) use stream::StreamState;

/// Hidden and cell values of the sequences of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct CellState<T> {
    /// h, `[batch, hidden]`.
    pub hidden: Array2<T>,
    /// c, `[batch, hidden]`.
    pub cell: Array2<T>,
}

impl<T: Element> CellState<T> {
    /// Zeros for `batch` sequences and `hidden_size` units.
    pub fn zeros(batch: usize, hidden_size: usize) -> Self {
        Self { hidden: Array2::zeros((batch, hidden_size)), cell: Array2::zeros((batch, hidden_size)) }
    }

    /// Checks the shapes; `axes` name those of the hidden and of the cell values.
    pub(crate) fn check(
        &self,
        operation: &'static str,
        axes: [&'static str; 4],
        batch: usize,
        units: usize,
    ) -> Result<(), TensorError> {
        check_axis(operation, axes[0], batch, self.hidden.nrows())?;
        check_axis(operation, axes[1], units, self.hidden.ncols())?;
        check_axis(operation, axes[2], batch, self.cell.nrows())?;
        check_axis(operation, axes[3], units, self.cell.ncols())
    }
}

/// The axes of an initial state.
pub(crate) const INITIAL_AXES: [&str; 4] =
    ["initial hidden batch", "initial hidden units", "initial cell batch", "initial cell units"];
/// The axes of the gradient of a final state.
pub(crate) const FINAL_AXES: [&str; 4] = [
    "final hidden gradient batch",
    "final hidden gradient units",
    "final cell gradient batch",
    "final cell gradient units",
];

/// The configuration of a cell: an LSTM of one layer and one direction.
pub(crate) fn cell_config(
    input_size: usize,
    hidden_size: usize,
    forget_bias: Option<f64>,
    initialisation: Initialisation,
) -> LstmConfig {
    LstmConfig { forget_bias, initialisation, ..LstmConfig::new(input_size, hidden_size) }
}

/// The parameters of a cell, checked to be those of one layer and direction with these sizes.
pub(crate) fn cell_weights<'a, T: Element>(
    layer: &'static str,
    cell: &'a Lstm<T>,
    input_size: usize,
    hidden_size: usize,
) -> Result<&'a LstmWeights<T>, AttentionError> {
    check_axis(layer, "layers and directions of the LSTM", 1, cell.directions.len())?;
    let weights = &cell.directions[0];
    check_axis(layer, "weight_ih gates", GATES * hidden_size, weights.weight_ih.nrows())?;
    check_axis(layer, "weight_ih input features", input_size, weights.weight_ih.ncols())?;
    check_axis(layer, "weight_hh gates", GATES * hidden_size, weights.weight_hh.nrows())?;
    check_axis(layer, "weight_hh units", hidden_size, weights.weight_hh.ncols())?;
    check_part(layer, "peepholes", false, weights.peepholes.is_some())?;
    for (part, bias) in [("bias_ih", &weights.bias_ih), ("bias_hh", &weights.bias_hh)] {
        check_part(layer, part, true, bias.is_some())?;
        check_axis(layer, part, GATES * hidden_size, bias.as_ref().map_or(0, |bias| bias.len()))?;
    }
    Ok(weights)
}

/// The recurrent part of a cell, packed.
#[derive(Clone, Debug)]
pub(crate) struct PackedCell<T> {
    pub(crate) layout: GateLayout,
    /// `W_hhᵀ`.
    recurrent: PackedMatrix<T>,
    /// The sum of both biases, in the order of the layout.
    pub(crate) bias: Vec<T>,
}

impl<T: Element> PackedCell<T> {
    /// Packs parameters that were checked by [`cell_weights`].
    pub(crate) fn new(weights: &LstmWeights<T>) -> Result<Self, TensorError> {
        let layout = GateLayout::new::<T>(Isa::selected(), weights.weight_hh.ncols());
        let mut bias = vec![T::zero(); layout.width()];
        if let (Some(bias_ih), Some(bias_hh)) = (&weights.bias_ih, &weights.bias_hh) {
            for row in 0..bias_ih.len() {
                bias[layout.column(row / layout.units(), row % layout.units())] = bias_ih[row] + bias_hh[row];
            }
        }
        let recurrent =
            PackedMatrix::from_runs(layout.isa(), weights.weight_hh.t(), &[layout.unit_run()], &layout.gate_runs())?;
        Ok(Self { layout, recurrent, bias })
    }

    /// Columns of `W_ih` as the right operand that takes them to gates, `[inputs, gates]`.
    pub(crate) fn input(&self, weight_ih: ArrayView2<'_, T>) -> Result<PackedMatrix<T>, TensorError> {
        let inputs = [Run::whole(weight_ih.ncols())];
        PackedMatrix::from_runs(self.layout.isa(), weight_ih.t(), &inputs, &self.layout.gate_runs())
    }

    /// The right operand that takes gradients of gates to those of inputs, `[gates, inputs]`.
    pub(crate) fn input_backward(&self, weight_ih: ArrayView2<'_, T>) -> Result<PackedMatrix<T>, TensorError> {
        let inputs = [Run::whole(weight_ih.ncols())];
        PackedMatrix::from_runs(self.layout.isa(), weight_ih, &self.layout.gate_runs(), &inputs)
    }

    /// The right operand that takes gradients of gates to those of the hidden values, `[gates, padded units]`.
    pub(crate) fn recurrent_backward(&self, weight_hh: ArrayView2<'_, T>) -> Result<PackedMatrix<T>, TensorError> {
        PackedMatrix::from_runs(self.layout.isa(), weight_hh, &self.layout.gate_runs(), &[self.layout.unit_run()])
    }

    /// One step; `gates` hold the input part. Allocates nothing.
    pub(crate) fn step(
        &self,
        previous_hidden: ArrayView2<'_, T>,
        previous_cell: ArrayView2<'_, T>,
        gates: ArrayViewMut2<'_, T>,
        hidden: ArrayViewMut2<'_, T>,
        cell: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        let recurrent = &self.recurrent;
        lstm_step(LstmStep { recurrent, peepholes: None, previous_hidden, previous_cell, gates, hidden, cell })
    }

    /// `rows` rows that hold the bias.
    pub(crate) fn bias_rows(&self, rows: usize) -> Array2<T> {
        let mut gates = Array2::zeros((rows, self.layout.width()));
        for mut row in gates.rows_mut() {
            row.as_slice_mut().expect("a row of a new array").copy_from_slice(&self.bias);
        }
        gates
    }

    /// `[rows, gates in the order of the layout]` as `[rows, 4 · units]`, one gate after another.
    pub(crate) fn gate_by_gate(&self, gates: &Array2<T>) -> Array2<T> {
        let runs = self.layout.gate_runs();
        let mut ordered = Array2::zeros((gates.nrows(), GATES * self.layout.units()));
        for (source, mut target) in gates.rows().into_iter().zip(ordered.rows_mut()) {
            let source = source.to_slice().expect("a row of an owned array");
            let target = target.as_slice_mut().expect("a row of a new array");
            let mut first = 0;
            for run in &runs {
                target[run.start..run.start + run.length].copy_from_slice(&source[first..first + run.length]);
                first += run.padded;
            }
        }
        ordered
    }
}

/// The gradients of the recurrent weight and of the biases, for gradients of gates one gate after another and the hidden
/// values before every step.
pub(crate) fn recurrent_gradients<T: Element>(
    grad_gates: &Array2<T>,
    before: &Array2<T>,
    gradients: &mut LstmWeights<T>,
) -> Result<(), TensorError> {
    let units = gradients.weight_hh.ncols();
    weight_gradient(grad_gates.view(), before.slice(s![.., ..units]), gradients.weight_hh.view_mut())?;
    if let (Some(bias_ih), Some(bias_hh)) = (&mut gradients.bias_ih, &mut gradients.bias_hh) {
        // Both are added to the same sum.
        add_rows(grad_gates.view(), bias_ih.as_slice_mut().expect("a new array"));
        bias_hh.assign(bias_ih);
    }
    Ok(())
}
