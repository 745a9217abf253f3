//! The states between sequences.

use ndarray::{Array4, ArrayView3, Axis};
use tensor_ops::{Element, check_axis};

use crate::packed::PackedDirection;
use crate::weights::zeros;
use crate::{Cell, ConvLstmError, RecurrentConfig};

/// The states of a stack before the first or after the last step, or their gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentState<T> {
    /// The hidden values, `[batch, channels, height, width]`: of layer l and direction d at `l · directions + d`.
    pub hidden: Vec<Array4<T>>,
    /// The cell values, of the same shapes; empty for cells that have none.
    pub cell: Vec<Array4<T>>,
}

impl<T: Element> RecurrentState<T> {
    /// Zeros, for `batch` sequences of inputs of height and width `size`.
    ///
    /// # Errors
    /// As [`RecurrentConfig::map_sizes`].
    pub fn zeros<C: Cell>(config: &RecurrentConfig<C>, batch: usize, size: [usize; 2]) -> Result<Self, ConvLstmError> {
        let (mut hidden, mut cell) = (Vec::new(), Vec::new());
        for (layer, [height, width]) in config.layers.iter().zip(config.map_sizes(size)?) {
            for _ in 0..config.directions() {
                let shape = [batch, layer.hidden_channels, height, width];
                hidden.push(zeros("state", shape)?);
                if C::HAS_CELL {
                    cell.push(zeros("state", shape)?);
                }
            }
        }
        Ok(Self { hidden, cell })
    }

    pub(crate) fn of_packed<C: Cell>(packed: &[PackedDirection<T>], batch: usize) -> Result<Self, ConvLstmError> {
        let maps = |direction: &PackedDirection<T>| {
            zeros("state", [batch, direction.hidden_channels, direction.size[0], direction.size[1]])
        };
        let hidden = packed.iter().map(maps).collect::<Result<_, _>>()?;
        let cell = packed.iter().filter(|_| C::HAS_CELL).map(maps).collect::<Result<_, _>>()?;
        Ok(Self { hidden, cell })
    }

    /// The states of one sequence in one direction of one layer: hidden and cell values.
    pub(crate) fn of_sequence(&self, index: usize, sequence: usize) -> (ArrayView3<'_, T>, Option<ArrayView3<'_, T>>) {
        let cell = self.cell.get(index).map(|cell| cell.index_axis(Axis(0), sequence));
        (self.hidden[index].index_axis(Axis(0), sequence), cell)
    }

    /// Checks the shapes.
    pub(crate) fn check<C: Cell>(
        &self,
        role: [&'static str; 5],
        packed: &[PackedDirection<T>],
        batch: usize,
    ) -> Result<(), ConvLstmError> {
        check_axis(C::NAME, role[0], packed.len(), self.hidden.len())?;
        check_axis(C::NAME, role[0], if C::HAS_CELL { packed.len() } else { 0 }, self.cell.len())?;
        for (index, direction) in packed.iter().enumerate() {
            let shape = [batch, direction.hidden_channels, direction.size[0], direction.size[1]];
            for maps in self.hidden.get(index).into_iter().chain(self.cell.get(index)) {
                for axis in 0..4 {
                    check_axis(C::NAME, role[axis + 1], shape[axis], maps.shape()[axis])?;
                }
            }
        }
        Ok(())
    }
}

/// The names of the axes of initial states.
pub(crate) const INITIAL: [&str; 5] = [
    "initial state layers and directions",
    "initial state batch",
    "initial state channels",
    "initial state height",
    "initial state width",
];

/// The names of the axes of the gradient of final states.
pub(crate) const GRAD_FINAL: [&str; 5] = [
    "final gradient layers and directions",
    "final gradient batch",
    "final gradient channels",
    "final gradient height",
    "final gradient width",
];
