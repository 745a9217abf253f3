//! The layout of gate values in which a panel holds all four gates of the same units.

use super::*;

/// The number of gates of a long short-term memory.
pub const GATES: usize = 4;
/// The position of the input gate i.
pub const INPUT_GATE: usize = 0;
/// The position of the forget gate f.
pub const FORGET_GATE: usize = 1;
/// The position of the candidate g, which some call the cell gate.
pub const CELL_GATE: usize = 2;
/// The position of the output gate o.
pub const OUTPUT_GATE: usize = 3;

/// The order of gate values that the recurrent kernels work on.
///
/// A recurrent matrix has four gates × units columns. With the four gates of as many units as a vector has lanes side by
/// side, neighbouring panels of a [`PackedMatrix`] give all four gates of these units, and a thread that has computed them
/// can update their cells and hidden values at once. Units are padded with zeros to whole vectors.
///
/// ```
/// use tensor_ops::{GateLayout, Isa};
///
/// let layout = GateLayout::new::<f32>(Isa::Portable, 10);
/// assert_eq!(layout.padded_units(), 16);
/// assert_eq!(layout.column(0, 9), 33); // gate 0 of the second unit of the second group of 8
/// assert_eq!(layout.column(1, 9), 41); // gate 1 of the same unit
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLayout {
    units: usize,
    lanes: usize,
    isa: Isa,
}

impl GateLayout {
    /// The layout for `units` units and the instructions `isa`.
    pub fn new<T: Element>(isa: Isa, units: usize) -> Self {
        Self { units, lanes: lanes_and_width::<T>(isa).0, isa }
    }

    /// The instructions that the layout serves.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of units.
    pub fn units(&self) -> usize {
        self.units
    }

    /// The number of units with the padding: the columns of hidden and cell values.
    pub fn padded_units(&self) -> usize {
        self.units.next_multiple_of(self.lanes)
    }

    /// The number of gate values with the padding: four times [`Self::padded_units`].
    pub fn width(&self) -> usize {
        GATES * self.padded_units()
    }

    /// The column of a gate of a unit.
    pub fn column(&self, gate: usize, unit: usize) -> usize {
        (unit / self.lanes * GATES + gate) * self.lanes + unit % self.lanes
    }

    /// The units of an array that holds units alone, such as a column of a recurrent matrix.
    pub fn unit_run(&self) -> Run {
        Run { start: 0, length: self.units, padded: self.padded_units() }
    }

    /// The gates of an array `[4 · units, …]` in which a whole gate follows another, in the order of this layout.
    pub fn gate_runs(&self) -> Vec<Run> {
        let groups = (0..self.units).step_by(self.lanes);
        groups
            .flat_map(|unit| {
                let length = self.lanes.min(self.units - unit);
                (0..GATES).map(move |gate| Run { start: gate * self.units + unit, length, padded: self.lanes })
            })
            .collect()
    }
}
