//! Whole sequences: the input projection of all time steps at once, then the recurrence.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{
    Element, GATES, GateLayout, LstmStep, TensorError, check_axis, check_lengths, check_not_empty, lstm_step, on_pool,
};

use crate::batch::{Batch, Group};
use crate::packed::{PackedDirection, input_runs, packs_input};
use crate::state::{StateRole, sorted_state};
use crate::{Lstm, LstmConfig, LstmError, LstmState, LstmWeights, PackedLstm};

/// What [`Lstm::backward`] needs of a [`Lstm::forward_training`].
#[derive(Clone, Debug)]
pub struct LstmTrace<T> {
    pub(crate) config: LstmConfig,
    pub(crate) layout: GateLayout,
    pub(crate) batch: Batch,
    /// The packed input, `[rows, features]`.
    pub(crate) input: Array2<T>,
    pub(crate) layers: Vec<LayerTrace<T>>,
}

/// The values of one layer; rows are packed as [`Batch`] says, columns are the padded units of each direction.
#[derive(Clone, Debug)]
pub(crate) struct LayerTrace<T> {
    /// i, f, g and o of each direction, `[rows, gates]` in the order of the layout.
    pub(crate) gates: Vec<Array2<T>>,
    /// h, `[rows, directions · units]`.
    pub(crate) hidden: Array2<T>,
    /// c, `[rows, directions · units]`.
    pub(crate) cell: Array2<T>,
    /// h before the first step, `[sequences, directions · units]`.
    pub(crate) initial_hidden: Array2<T>,
    /// c before the first step, `[sequences, directions · units]`.
    pub(crate) initial_cell: Array2<T>,
    /// What h was multiplied by on its way to the layer above: 0 or 1 / (1 − dropout).
    pub(crate) mask: Option<Array2<T>>,
}

impl<T: Element> Lstm<T> {
    /// Runs the sequences `input` `[batch, time, features]` from the states `initial`, or from zeros.
    ///
    /// With `lengths`, sequence b has `lengths[b]` steps: what `input` holds beyond them is never used, the output is
    /// zero there, the final state is that of the last valid step, and the reverse direction starts at that step.
    ///
    /// Returns the output of the last layer, `[batch, time, directions · hidden]`, and the final states.
    ///
    /// # Errors
    /// [`LstmError`] for an empty batch, no time steps, another number of features, wrong lengths, wrong shapes of the
    /// states, or parameters that do not fit the configuration.
    pub fn forward(
        &self,
        input: ArrayView3<'_, T>,
        initial: Option<&LstmState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array3<T>, LstmState<T>), LstmError> {
        self.check()?;
        let layout = self.layout();
        run_layers(self.config(), &layout, input, initial, lengths, |index, batch, below| {
            self.run_layer(index, &layout, batch, below, initial)
        })
    }

    /// Runs the sequences as [`Self::forward`] does, with dropout between layers, and keeps what [`Self::backward`]
    /// needs.
    ///
    /// The masks are drawn from `rng` layer by layer, sequence by sequence, step by step; without dropout nothing is
    /// drawn.
    ///
    /// # Errors
    /// As [`Self::forward`].
    #[expect(clippy::type_complexity, reason = "output, state and trace have no other place together")]
    pub fn forward_training(
        &self,
        input: ArrayView3<'_, T>,
        initial: Option<&LstmState<T>>,
        lengths: Option<&[usize]>,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<(Array3<T>, LstmState<T>, LstmTrace<T>), LstmError> {
        self.check()?;
        let (config, layout) = (self.config().clone(), self.layout());
        let batch = check_input(&config, &layout, input, initial, lengths)?;
        let input = batch.pack(input, config.input_size, config.input_size);
        let masks: Vec<Option<Array2<T>>> = (0..config.layers)
            .map(|layer| {
                let dropped = config.dropout > 0.0 && layer + 1 < config.layers;
                dropped.then(|| draw_mask(&config, &layout, &batch, rng))
            })
            .collect();
        on_pool(multiply_adds(&config, &batch), move || {
            let mut state = LstmState::zeros(&config, batch.order.len());
            let mut layers: Vec<LayerTrace<T>> = Vec::with_capacity(config.layers);
            for (index, mask) in masks.into_iter().enumerate() {
                let dropped = layers.last().and_then(LayerTrace::dropped);
                let below = dropped.as_ref().or(layers.last().map(|layer| &layer.hidden)).unwrap_or(&input);
                let mut layer = self.run_layer(index, &layout, &batch, below.view(), initial)?;
                write_final_state(&config, &layout, &batch, index, &layer, &mut state);
                layer.mask = mask;
                layers.push(layer);
            }
            let top = &layers.last().expect("at least one layer").hidden;
            let output = batch.unpack(top, config.hidden_size, layout.padded_units());
            Ok((output, state, LstmTrace { config, layout, batch, input, layers }))
        })
    }
}

impl<T: Element> PackedLstm<T> {
    /// [`Lstm::forward`] on the packed parameters.
    ///
    /// # Errors
    /// As [`Lstm::forward`].
    pub fn forward(
        &self,
        input: ArrayView3<'_, T>,
        initial: Option<&LstmState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array3<T>, LstmState<T>), LstmError> {
        let Self { config, layout, directions } = self;
        run_layers(config, layout, input, initial, lengths, |index, batch, below| {
            let packed = &directions[index * config.directions()..(index + 1) * config.directions()];
            Layer { config, layout, index, packed, parameters: None }.run(batch, below, initial)
        })
    }
}

/// Runs the layers one after the other by `run`, which gets the index of the layer and its packed input.
fn run_layers<T: Element>(
    config: &LstmConfig,
    layout: &GateLayout,
    input: ArrayView3<'_, T>,
    initial: Option<&LstmState<T>>,
    lengths: Option<&[usize]>,
    run: impl Fn(usize, &Batch, ArrayView2<'_, T>) -> Result<LayerTrace<T>, TensorError> + Sync,
) -> Result<(Array3<T>, LstmState<T>), LstmError> {
    let batch = check_input(config, layout, input, initial, lengths)?;
    on_pool(multiply_adds(config, &batch), || {
        let mut below = batch.pack(input, config.input_size, config.input_size);
        let mut state = LstmState::zeros(config, batch.order.len());
        for index in 0..config.layers {
            let layer = run(index, &batch, below.view())?;
            write_final_state(config, layout, &batch, index, &layer, &mut state);
            below = layer.hidden;
        }
        Ok((batch.unpack(&below, config.hidden_size, layout.padded_units()), state))
    })
}

/// Those of a forward pass, about.
pub(crate) fn multiply_adds(config: &LstmConfig, batch: &Batch) -> usize {
    let inputs = config.input_size.saturating_add(config.hidden_size);
    let weights = inputs.saturating_mul(GATES * config.hidden_size).saturating_mul(config.layers * config.directions());
    weights.saturating_mul(batch.rows)
}

impl<T: Element> Lstm<T> {
    /// Packs a layer and runs it: the memory of its packed weights serves the next layer again.
    fn run_layer(
        &self,
        index: usize,
        layout: &GateLayout,
        batch: &Batch,
        below: ArrayView2<'_, T>,
        initial: Option<&LstmState<T>>,
    ) -> Result<LayerTrace<T>, TensorError> {
        let packed = self.pack_layer(index, layout, packs_input(batch.rows))?;
        let parameters = Some(self.layer(index));
        Layer { config: self.config(), layout, index, packed: &packed, parameters }.run(batch, below, initial)
    }
}

/// One layer, packed.
struct Layer<'a, T> {
    config: &'a LstmConfig,
    layout: &'a GateLayout,
    index: usize,
    /// Its directions.
    packed: &'a [PackedDirection<T>],
    /// They hold the input weights where these are not packed.
    parameters: Option<&'a [LstmWeights<T>]>,
}

impl<T: Element> Layer<'_, T> {
    /// Runs the layer on its packed input `[rows, features]`.
    fn run(
        &self,
        batch: &Batch,
        below: ArrayView2<'_, T>,
        initial: Option<&LstmState<T>>,
    ) -> Result<LayerTrace<T>, TensorError> {
        let Layer { config, layout, index, packed, parameters } = *self;
        let (directions, units) = (config.directions(), layout.padded_units());
        let sorted = |values| sorted_state(values, index, directions, batch, layout);
        let initial_hidden = sorted(initial.map(|state| &state.hidden));
        let initial_cell = sorted(initial.map(|state| &state.cell));
        let mut hidden = Array2::zeros((batch.rows, directions * units));
        let mut cell = Array2::zeros((batch.rows, directions * units));
        // The input part of all gates of all steps: W x + b.
        let inputs = input_runs(config, layout, index);
        let mut gates: Vec<Array2<T>> = (0..directions)
            .map(|direction| {
                let mut gates = Array2::zeros((batch.rows, layout.width()));
                let parameters = parameters.map(|parameters| &parameters[direction]);
                packed[direction].project(below, parameters, layout, &inputs, gates.view_mut())?;
                Ok(gates)
            })
            .collect::<Result<_, TensorError>>()?;

        let run = |direction: usize, gates: &mut Array2<T>, hidden, cell| {
            let columns = direction * units..(direction + 1) * units;
            let recurrence = Recurrence {
                weights: &packed[direction],
                reverse: direction == 1,
                initial_hidden: initial_hidden.slice(s![.., columns.clone()]),
                initial_cell: initial_cell.slice(s![.., columns]),
            };
            recurrence.run(&batch.groups, gates.view_mut(), hidden, cell)
        };
        let (hidden_forward, hidden_reverse) = hidden.view_mut().split_at(Axis(1), units);
        let (cell_forward, cell_reverse) = cell.view_mut().split_at(Axis(1), units);
        if let [forward, reverse] = gates.as_mut_slice() {
            let (forward, reverse) = rayon::join(
                || run(0, forward, hidden_forward, cell_forward),
                || run(1, reverse, hidden_reverse, cell_reverse),
            );
            forward.and(reverse)?;
        } else {
            run(0, &mut gates[0], hidden_forward, cell_forward)?;
        }
        Ok(LayerTrace { gates, hidden, cell, initial_hidden, initial_cell, mask: None })
    }
}

impl<T: Element> LayerTrace<T> {
    /// What the layer above reads, if not h itself.
    pub(crate) fn dropped(&self) -> Option<Array2<T>> {
        self.mask.as_ref().map(|mask| &self.hidden * mask)
    }
}

/// One direction of one layer.
struct Recurrence<'a, T> {
    weights: &'a PackedDirection<T>,
    reverse: bool,
    /// `[sequences, units]`
    initial_hidden: ArrayView2<'a, T>,
    /// `[sequences, units]`
    initial_cell: ArrayView2<'a, T>,
}

impl<T: Element> Recurrence<'_, T> {
    /// Turns the input part in `gates` `[rows, gates]` into the gates, and writes `hidden` and `cell` `[rows, units]`.
    fn run(
        &self,
        groups: &[Group],
        gates: ArrayViewMut2<'_, T>,
        hidden: ArrayViewMut2<'_, T>,
        cell: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        let [group] = groups else {
            let (left, right) = groups.split_at(groups.len() / 2);
            let rows = left.iter().map(|group| group.rows).sum();
            let (gates_left, gates_right) = gates.split_at(Axis(0), rows);
            let (hidden_left, hidden_right) = hidden.split_at(Axis(0), rows);
            let (cell_left, cell_right) = cell.split_at(Axis(0), rows);
            let (left, right) = rayon::join(
                || self.run(left, gates_left, hidden_left, cell_left),
                || self.run(right, gates_right, hidden_right, cell_right),
            );
            return left.and(right);
        };
        self.run_group(group, gates, hidden, cell)
    }

    fn run_group(
        &self,
        group: &Group,
        mut gates: ArrayViewMut2<'_, T>,
        mut hidden: ArrayViewMut2<'_, T>,
        mut cell: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        let (recurrent, peepholes) = (&self.weights.recurrent, self.weights.peepholes.as_deref());
        for time in group.times(self.reverse) {
            let (row, active) = (group.offsets[time], group.active[time]);
            let previous = group.previous(time, self.reverse);
            let linked = group.linked(time, previous);
            // Sequences that this direction has begun.
            if let Some(previous) = previous {
                let (before, now) = (group.offsets[previous], row);
                let (before, now) = (s![before..before + linked, ..], s![now..now + linked, ..]);
                let (previous_hidden, hidden) = hidden.multi_slice_mut((before, now));
                let (previous_cell, cell) = cell.multi_slice_mut((before, now));
                lstm_step(LstmStep {
                    recurrent,
                    peepholes,
                    previous_hidden: previous_hidden.view(),
                    previous_cell: previous_cell.view(),
                    gates: gates.slice_mut(now),
                    hidden,
                    cell,
                })?;
            }
            // Sequences that begin here.
            if linked < active {
                let (initial, now) = (group.first + linked..group.first + active, row + linked..row + active);
                let now = s![now, ..];
                lstm_step(LstmStep {
                    recurrent,
                    peepholes,
                    previous_hidden: self.initial_hidden.slice(s![initial.clone(), ..]),
                    previous_cell: self.initial_cell.slice(s![initial, ..]),
                    gates: gates.slice_mut(now),
                    hidden: hidden.slice_mut(now),
                    cell: cell.slice_mut(now),
                })?;
            }
        }
        Ok(())
    }
}

/// Checks the arguments of a forward pass and lays out the batch.
fn check_input<T: Element>(
    config: &LstmConfig,
    layout: &GateLayout,
    input: ArrayView3<'_, T>,
    initial: Option<&LstmState<T>>,
    lengths: Option<&[usize]>,
) -> Result<Batch, TensorError> {
    let (batch, time, features) = input.dim();
    check_not_empty("Lstm", "input batch", batch)?;
    check_not_empty("Lstm", "input time", time)?;
    check_axis("Lstm", "input features", config.input_size, features)?;
    check_lengths("Lstm", lengths, batch, time)?;
    if let Some(initial) = initial {
        initial.check(StateRole::Initial, config, batch)?;
    }
    Ok(Batch::new::<T>(batch, time, lengths, layout))
}

/// A mask of 0 and 1 / (1 − dropout) for the output of a layer.
fn draw_mask<T: Element>(
    config: &LstmConfig,
    layout: &GateLayout,
    batch: &Batch,
    rng: &mut (impl Rng + ?Sized),
) -> Array2<T> {
    let (kept, units) = (T::from_f64(1.0 / (1.0 - config.dropout)), layout.padded_units());
    let mut mask = Array2::zeros((batch.rows, config.directions() * units));
    for sequence in 0..batch.order.len() {
        for row in (0..batch.time).map_while(|time| batch.row(sequence, time)) {
            for mut part in mask.row_mut(row).exact_chunks_mut(units) {
                for value in part.iter_mut().take(layout.units()) {
                    *value = if rng.random::<f64>() < config.dropout { T::zero() } else { kept };
                }
            }
        }
    }
    mask
}

/// Writes the states of a layer after the last valid step.
fn write_final_state<T: Element>(
    config: &LstmConfig,
    layout: &GateLayout,
    batch: &Batch,
    index: usize,
    layer: &LayerTrace<T>,
    state: &mut LstmState<T>,
) {
    for direction in 0..config.directions() {
        let first = direction * layout.padded_units();
        for (&sequence, &length) in batch.order.iter().zip(&batch.lengths) {
            let time = if direction == 1 { 0 } else { length - 1 };
            let row = batch.row(sequence, time).expect("a time within the length");
            let source = s![row, first..first + layout.units()];
            let target = s![index * config.directions() + direction, sequence, ..];
            state.hidden.slice_mut(target).assign(&layer.hidden.slice(source));
            state.cell.slice_mut(target).assign(&layer.cell.slice(source));
        }
    }
}
