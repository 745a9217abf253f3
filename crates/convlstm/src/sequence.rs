//! One sequence in one direction of one layer, advanced step by step.

use ndarray::{Array3, Array5, ArrayView3, ArrayViewMut2, ArrayViewMut3, ArrayViewMut4, Axis};
use tensor_ops::Element;

use crate::cell::{MAPS, Step};
use crate::packed::PackedDirection;
use crate::weights::zeros;
use crate::{Cell, ConvLstmError, TraceMemory};

/// The order in which a direction meets the steps of a sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) length: usize,
    pub(crate) reverse: bool,
}

impl Order {
    /// The time of a step, both counted from 0.
    pub(crate) fn time(self, step: usize) -> usize {
        if self.reverse { self.length - 1 - step } else { step }
    }
}

/// What the steps of a batch leave in one direction of one layer: `[batch, slots, channels, height, width]`.
#[derive(Clone, Debug)]
pub(crate) struct Record<T> {
    pub(crate) cell: Array5<T>,
    pub(crate) maps: Array5<T>,
    /// The normalised sums of gates; of no channels without normalisation.
    pub(crate) normalised: Array5<T>,
    /// `[batch, slots, groups]`
    pub(crate) inverse_deviations: Array3<T>,
}

/// How many steps a record has room for; steps beyond that overwrite the first ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    pub(crate) cell: usize,
    pub(crate) maps: usize,
}

impl Slots {
    /// Enough to go on.
    pub(crate) const INFERENCE: Self = Self { cell: 2, maps: 0 };

    /// Enough for a backward pass over `time` steps.
    pub(crate) fn training(memory: TraceMemory, time: usize) -> Self {
        match memory {
            TraceMemory::Full => Self { cell: time, maps: time },
            TraceMemory::RecomputeGates => Self { cell: time, maps: 0 },
        }
    }
}

impl<T: Element> Record<T> {
    /// Room for so many steps. Without slots for maps there is one of those that the cell itself needs.
    pub(crate) fn new<C: Cell>(
        options: &C,
        direction: &PackedDirection<T>,
        batch: usize,
        slots: Slots,
    ) -> Result<Self, ConvLstmError> {
        let shapes = RecordShapes::new(options, direction, batch, slots);
        Ok(Self {
            cell: zeros("cell values", shapes.cell)?,
            maps: zeros("gates", shapes.maps)?,
            normalised: zeros("normalised gates", shapes.normalised)?,
            inverse_deviations: zeros("deviations of gates", shapes.inverse_deviations)?,
        })
    }

    /// Whether this is a record of such shapes.
    pub(crate) fn has(&self, shapes: &RecordShapes) -> bool {
        self.cell.shape() == shapes.cell
            && self.maps.shape() == shapes.maps
            && self.normalised.shape() == shapes.normalised
            && self.inverse_deviations.shape() == shapes.inverse_deviations
    }
}

/// The shapes of the arrays of a [`Record`].
#[derive(Debug)]
pub(crate) struct RecordShapes {
    cell: [usize; 5],
    maps: [usize; 5],
    normalised: [usize; 5],
    inverse_deviations: [usize; 3],
}

impl RecordShapes {
    /// As [`Record::new`] makes them.
    pub(crate) fn new<C: Cell, T>(options: &C, direction: &PackedDirection<T>, batch: usize, slots: Slots) -> Self {
        let ([height, width], channels) = (direction.size, direction.hidden_channels);
        let maps = if slots.maps > 0 || options.needs_maps() { MAPS * channels } else { 0 };
        let slots = Slots { maps: slots.maps.max(1), ..slots };
        let (groups, normalised) = direction.norm.as_ref().map_or((0, 0), |norm| (norm.groups, C::GATES * channels));
        let cell = if C::HAS_CELL { channels } else { 0 };
        Self {
            cell: [batch, slots.cell, cell, height, width],
            maps: [batch, slots.maps, maps, height, width],
            normalised: [batch, slots.maps, normalised, height, width],
            inverse_deviations: [batch, slots.maps, groups],
        }
    }
}

/// The values of one sequence in one direction of one layer.
#[derive(Debug)]
pub(crate) struct Sequence<'a, T, C> {
    pub(crate) cell_options: &'a C,
    pub(crate) direction: &'a PackedDirection<T>,
    pub(crate) order: Order,
    /// Hidden and cell values before the first step; the second of no channels for a cell that has none.
    pub(crate) initial: Option<(ArrayView3<'a, T>, Option<ArrayView3<'a, T>>)>,
    /// Zeros of the state's shape.
    pub(crate) zeros: ArrayView3<'a, T>,
    /// `[time, channels, height, width]`, every step in standard layout.
    pub(crate) hidden: ArrayViewMut4<'a, T>,
    /// `[slots, channels, height, width]`, as the rest.
    pub(crate) cell: ArrayViewMut4<'a, T>,
    pub(crate) maps: ArrayViewMut4<'a, T>,
    pub(crate) normalised: ArrayViewMut4<'a, T>,
    pub(crate) inverse_deviations: ArrayViewMut2<'a, T>,
}

impl<'a, T: Element, C: Cell> Sequence<'a, T, C> {
    /// One sequence per entry of `orders`, with the outputs `hidden` `[batch, time, channels, height, width]` and the rest
    /// of `record`; `index` is that of the direction of its layer among all.
    pub(crate) fn of_batch(
        cell_options: &'a C,
        direction: &'a PackedDirection<T>,
        orders: &[Order],
        initial: Option<&'a crate::RecurrentState<T>>,
        index: usize,
        zeros: &'a Array3<T>,
        hidden: ndarray::ArrayViewMut5<'a, T>,
        record: &'a mut Record<T>,
    ) -> Vec<Self> {
        let batch = hidden.dim().0;
        let rows = (0..batch).zip(hidden.into_outer_iter_mut()).zip(record.cell.outer_iter_mut());
        let rows = rows.zip(record.maps.outer_iter_mut()).zip(record.normalised.outer_iter_mut());
        rows.zip(record.inverse_deviations.outer_iter_mut())
            .map(|(((((sequence, hidden), cell), maps), normalised), inverse_deviations)| Self {
                cell_options,
                direction,
                order: orders[sequence],
                initial: initial.map(|state| state.of_sequence(index, sequence)),
                zeros: zeros.view(),
                hidden,
                cell,
                maps,
                normalised,
                inverse_deviations,
            })
            .collect()
    }

    /// Computes a step from the input at its time.
    pub(crate) fn advance(&mut self, step: usize, input: Option<ArrayView3<'_, T>>) -> Result<(), ConvLstmError> {
        let before = step.checked_sub(1);
        let (initial_hidden, initial_cell) = match self.initial {
            Some((hidden, cell)) => (hidden, cell.unwrap_or(self.zeros)),
            None => (self.zeros, self.zeros),
        };
        let slots = self.cell.len_of(Axis(0)).max(1);
        let (cell, previous_cell) = pair(self.cell.view_mut(), step % slots, before.map(|step| step % slots));
        let times = (self.order.time(step), before.map(|step| self.order.time(step)));
        let (hidden, previous_hidden) = pair(self.hidden.view_mut(), times.0, times.1);
        let slot = step % self.maps.len_of(Axis(0)).max(1);
        self.cell_options.advance(
            self.direction,
            Step {
                input,
                previous_hidden: previous_hidden.as_ref().map_or(initial_hidden, |maps| maps.view()),
                previous_cell: previous_cell.as_ref().map_or(initial_cell, |maps| maps.view()),
                starts: step == 0 && self.initial.is_none(),
                maps: self.maps.index_axis_mut(Axis(0), slot),
                normalised: self.normalised.index_axis_mut(Axis(0), slot),
                inverse_deviations: self.inverse_deviations.row_mut(slot),
                hidden,
                cell,
            },
        )
    }
}

impl<T: Element, C: Cell> Sequence<'_, T, C> {
    /// Computes the maps of a step again, into `slot`, from the states before it, which lie elsewhere.
    pub(crate) fn repeat(
        &mut self,
        step: usize,
        slot: usize,
        previous: Option<(ArrayView3<'_, T>, ArrayView3<'_, T>)>,
        input: Option<ArrayView3<'_, T>>,
    ) -> Result<(), ConvLstmError> {
        let (previous_hidden, previous_cell) = match (previous, self.initial) {
            (Some(previous), _) => previous,
            (None, Some((hidden, cell))) => (hidden, cell.unwrap_or(self.zeros)),
            (None, None) => (self.zeros, self.zeros),
        };
        self.cell_options.advance(
            self.direction,
            Step {
                input,
                previous_hidden,
                previous_cell,
                starts: step == 0 && self.initial.is_none(),
                maps: self.maps.index_axis_mut(Axis(0), slot),
                normalised: self.normalised.index_axis_mut(Axis(0), slot),
                inverse_deviations: self.inverse_deviations.row_mut(slot),
                hidden: self.hidden.index_axis_mut(Axis(0), slot),
                cell: self.cell.index_axis_mut(Axis(0), slot),
            },
        )
    }
}

/// The maps at `current`, and those at another place, if there is one.
fn pair<'a, T>(
    maps: ArrayViewMut4<'a, T>,
    current: usize,
    other: Option<usize>,
) -> (ArrayViewMut3<'a, T>, Option<ArrayViewMut3<'a, T>>) {
    let Some(other) = other else { return (maps.index_axis_move(Axis(0), current), None) };
    let (before, after) = maps.split_at(Axis(0), current.max(other));
    if current > other {
        (after.index_axis_move(Axis(0), 0), Some(before.index_axis_move(Axis(0), other)))
    } else {
        (before.index_axis_move(Axis(0), current), Some(after.index_axis_move(Axis(0), 0)))
    }
}
