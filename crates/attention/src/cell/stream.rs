//! The state of a stream.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use tensor_ops::{Element, TensorError, check_not_empty};

use super::{CellState, INITIAL_AXES, PackedCell};

/// The hidden and cell values of the sequences of a stream, after the last step and before it.
#[derive(Clone, Debug)]
pub(crate) struct StreamState<T> {
    /// The name that errors carry.
    operation: &'static str,
    units: usize,
    hidden: Array2<T>,
    cell: Array2<T>,
    previous_hidden: Array2<T>,
    previous_cell: Array2<T>,
}

impl<T: Element> StreamState<T> {
    /// `initial`, or zeros, for `batch` sequences.
    pub(crate) fn new(
        operation: &'static str,
        cell: &PackedCell<T>,
        batch: usize,
        initial: Option<&CellState<T>>,
    ) -> Result<Self, TensorError> {
        check_not_empty(operation, "batch", batch)?;
        let zeros = Array2::zeros((batch, cell.layout.padded_units()));
        let mut state = Self {
            operation,
            units: cell.layout.units(),
            hidden: zeros.clone(),
            cell: zeros.clone(),
            previous_hidden: zeros.clone(),
            previous_cell: zeros,
        };
        if let Some(initial) = initial {
            state.set(initial)?;
        }
        Ok(state)
    }

    pub(crate) fn batch(&self) -> usize {
        self.hidden.nrows()
    }

    /// h, `[batch, hidden]`.
    pub(crate) fn hidden(&self) -> ArrayView2<'_, T> {
        self.hidden.slice(s![.., ..self.units])
    }

    /// One step of `cell`; `gates` hold the input part.
    pub(crate) fn step(&mut self, cell: &PackedCell<T>, gates: ArrayViewMut2<'_, T>) -> Result<(), TensorError> {
        std::mem::swap(&mut self.hidden, &mut self.previous_hidden);
        std::mem::swap(&mut self.cell, &mut self.previous_cell);
        let (hidden, new_cell) = (self.hidden.view_mut(), self.cell.view_mut());
        cell.step(self.previous_hidden.view(), self.previous_cell.view(), gates, hidden, new_cell)
    }

    /// Checks that there is such a sequence.
    pub(crate) fn check_sequence(&self, sequence: usize) -> Result<(), TensorError> {
        let (operation, end) = (self.operation, self.batch());
        if sequence < end {
            return Ok(());
        }
        Err(TensorError::IndexOutOfRange { operation, index: "sequence", item: 0, found: sequence, end })
    }

    /// Zeros for one sequence.
    pub(crate) fn clear(&mut self, sequence: usize) {
        self.hidden.row_mut(sequence).fill(T::zero());
        self.cell.row_mut(sequence).fill(T::zero());
    }

    pub(crate) fn get(&self) -> CellState<T> {
        let units = s![.., ..self.units];
        CellState { hidden: self.hidden.slice(units).to_owned(), cell: self.cell.slice(units).to_owned() }
    }

    pub(crate) fn set(&mut self, state: &CellState<T>) -> Result<(), TensorError> {
        state.check(self.operation, INITIAL_AXES, self.batch(), self.units)?;
        self.hidden.slice_mut(s![.., ..self.units]).assign(&state.hidden);
        self.cell.slice_mut(s![.., ..self.units]).assign(&state.cell);
        Ok(())
    }
}
