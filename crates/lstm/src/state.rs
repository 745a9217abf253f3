//! Hidden and cell values between sequences.

use ndarray::{Array2, Array3, ArrayView3, s};
use tensor_ops::{Element, GateLayout, TensorError, check_axis};

use crate::LstmConfig;
use crate::batch::Batch;

/// The hidden and cell values of all layers and directions, in PyTorch's order: layer by layer, forward before reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmState<T> {
    /// h, `[layers · directions, batch, hidden]`.
    pub hidden: Array3<T>,
    /// c, `[layers · directions, batch, hidden]`.
    pub cell: Array3<T>,
}

impl<T: Element> LstmState<T> {
    /// Zeros for `batch` sequences: what a sequence starts from if nothing else is given.
    pub fn zeros(config: &LstmConfig, batch: usize) -> Self {
        let shape = (config.layers * config.directions(), batch, config.hidden_size);
        Self { hidden: Array3::zeros(shape), cell: Array3::zeros(shape) }
    }

    /// Checks the shapes of the state that `role` names.
    pub(crate) fn check(&self, role: StateRole, config: &LstmConfig, batch: usize) -> Result<(), TensorError> {
        let [hidden_axes, cell_axes] = role.axes();
        check_shape(hidden_axes, self.hidden.view(), config, batch)?;
        check_shape(cell_axes, self.cell.view(), config, batch)
    }
}

/// Which state is checked.
#[derive(Clone, Copy)]
pub(crate) enum StateRole {
    Initial,
    FinalGradient,
}

impl StateRole {
    /// The names of the axes of the hidden and of the cell values.
    fn axes(self) -> [[&'static str; 3]; 2] {
        match self {
            Self::Initial => [
                ["initial hidden layers and directions", "initial hidden batch", "initial hidden units"],
                ["initial cell layers and directions", "initial cell batch", "initial cell units"],
            ],
            Self::FinalGradient => [
                [
                    "final hidden gradient layers and directions",
                    "final hidden gradient batch",
                    "final hidden gradient units",
                ],
                ["final cell gradient layers and directions", "final cell gradient batch", "final cell gradient units"],
            ],
        }
    }
}

fn check_shape<T>(
    axes: [&'static str; 3],
    values: ArrayView3<'_, T>,
    config: &LstmConfig,
    batch: usize,
) -> Result<(), TensorError> {
    let expected = [config.layers * config.directions(), batch, config.hidden_size];
    for ((axis, expected), &found) in axes.into_iter().zip(expected).zip(values.shape()) {
        check_axis("Lstm", axis, expected, found)?;
    }
    Ok(())
}

/// The values of one layer, `[sequences in batch order, directions · padded units]`.
pub(crate) fn sorted_state<T: Element>(
    values: Option<&Array3<T>>,
    layer: usize,
    directions: usize,
    batch: &Batch,
    layout: &GateLayout,
) -> Array2<T> {
    let mut sorted = Array2::zeros((batch.order.len(), directions * layout.padded_units()));
    let Some(values) = values else { return sorted };
    for direction in 0..directions {
        let first = direction * layout.padded_units();
        for (mut row, &sequence) in sorted.rows_mut().into_iter().zip(&batch.order) {
            let source = values.slice(s![layer * directions + direction, sequence, ..]);
            row.slice_mut(s![first..first + layout.units()]).assign(&source);
        }
    }
    sorted
}
