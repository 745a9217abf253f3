//! The forward pass over whole sequences.

use ndarray::{Array3, Array5, ArrayView4, ArrayView5, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Element, check_axis, check_lengths, check_not_empty};

use crate::config::invalid;
use crate::packed::PackedStack;
use crate::sequence::{Order, Record, RecordShapes, Sequence, Slots};
use crate::state::INITIAL;
use crate::weights::zeros;
use crate::{Cell, ConvLstmError, ConvRecurrent, RecurrentConfig, RecurrentState};

/// What [`ConvRecurrent::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct RecurrentTrace<T> {
    pub(crate) input: Option<Array5<T>>,
    pub(crate) initial: Option<RecurrentState<T>>,
    pub(crate) shape: Shape,
    pub(crate) lengths: Vec<usize>,
    pub(crate) layers: Vec<LayerTrace<T>>,
}

/// What a layer leaves: its output `[batch, time, channels, height, width]`, and the record of each direction.
#[derive(Clone, Debug)]
pub(crate) struct LayerTrace<T> {
    pub(crate) output: Array5<T>,
    pub(crate) records: Vec<Record<T>>,
}

impl<T> RecurrentTrace<T> {
    /// The output of every layer, `[batch, time, channels, height, width]`.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = ArrayView5<'_, T>> {
        self.layers.iter().map(|layer| layer.output.view())
    }
}

impl<T: Element> RecurrentTrace<T> {
    /// Checks that the arrays are what a forward pass of `config` keeps.
    pub(crate) fn check<C: Cell>(
        &self,
        config: &RecurrentConfig<C>,
        packed: &PackedStack<T>,
    ) -> Result<(), ConvLstmError> {
        let Shape { batch, time, .. } = self.shape;
        let slots = Slots::training(config.memory, time);
        let fits = |(index, trace): (usize, &LayerTrace<T>)| {
            let (layer, [height, width]) = (&config.layers[index], packed.sizes[index]);
            let directions = &packed.directions[index * config.directions()..][..config.directions()];
            trace.output.shape() == [batch, time, config.layer_output_channels(index), height, width]
                && trace.records.len() == directions.len()
                && trace
                    .records
                    .iter()
                    .zip(directions)
                    .all(|(record, direction)| record.has(&RecordShapes::new(&layer.cell, direction, batch, slots)))
        };
        let input_channels = self.input.as_ref().map_or(0, |input| input.dim().2);
        if self.layers.len() != config.layers.len()
            || input_channels != config.input_channels
            || !self.layers.iter().enumerate().all(fits)
        {
            let requirement = "that of a forward pass with the same configuration";
            return Err(invalid::<C>("trace", requirement, "another configuration"));
        }
        Ok(())
    }
}

/// What of a pass is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keep {
    /// The output of the last layer.
    Top,
    /// The outputs of all layers.
    Outputs,
    /// What a backward pass needs.
    Trace,
}

/// The number of sequences and steps, and height and width of the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) time: usize,
    pub(crate) size: [usize; 2],
}

impl<T: Element, C: Cell> ConvRecurrent<T, C> {
    /// Runs sequences through all layers.
    ///
    /// - `input`: `[batch, time, channels, height, width]`, any strides
    /// - `initial`: the states before the first step, zeros if not given; a reverse direction starts with its state at the
    ///   last valid step
    /// - `lengths`: the valid steps of each sequence, all if not given; what the input holds beyond them is not read
    ///
    /// Returns the output of the last layer, `[batch, time, channels, height, width]`, which is zero beyond the lengths, and
    /// the states after each sequence's last step.
    ///
    /// # Errors
    /// [`ConvLstmError`] for an empty batch, no steps, a length of 0 or beyond the steps, or a size that does not fit.
    pub fn forward(
        &self,
        input: ArrayView5<'_, T>,
        initial: Option<&RecurrentState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array5<T>, RecurrentState<T>), ConvLstmError> {
        let shape = self.check_input(&input)?;
        let (layers, state, _) = self.run(Some(input), shape, initial, lengths, Keep::Top)?;
        Ok((top(layers), state))
    }

    /// As [`Self::forward`], and what [`Self::backward`] needs: a copy of the input, and what the configuration's
    /// [`crate::TraceMemory`] says.
    ///
    /// # Errors
    /// As [`Self::forward`].
    #[expect(clippy::type_complexity, reason = "output, states and trace, as `forward` returns them")]
    pub fn forward_training(
        &self,
        input: ArrayView5<'_, T>,
        initial: Option<&RecurrentState<T>>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array5<T>, RecurrentState<T>, RecurrentTrace<T>), ConvLstmError> {
        let shape = self.check_input(&input)?;
        let (layers, state, lengths) = self.run(Some(input), shape, initial, lengths, Keep::Trace)?;
        let output = layers.last().map(|layer| layer.output.clone()).unwrap_or_default();
        let input = Some(input.as_standard_layout().into_owned());
        Ok((output, state, RecurrentTrace { input, initial: initial.cloned(), shape, lengths, layers }))
    }

    /// Runs a stack without input for `steps` steps from `initial`: `input_channels` is 0.
    ///
    /// # Errors
    /// [`ConvLstmError`] if the stack reads an input, there are no steps, or the states do not fit.
    pub fn forward_from_state(
        &self,
        initial: &RecurrentState<T>,
        steps: usize,
    ) -> Result<(Array5<T>, RecurrentState<T>), ConvLstmError> {
        let shape = self.check_state(initial, steps)?;
        let (layers, state, _) = self.run(None, shape, Some(initial), None, Keep::Top)?;
        Ok((top(layers), state))
    }

    /// As [`Self::forward_from_state`], and what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward_from_state`].
    #[expect(clippy::type_complexity, reason = "output, states and trace, as `forward` returns them")]
    pub fn forward_from_state_training(
        &self,
        initial: &RecurrentState<T>,
        steps: usize,
    ) -> Result<(Array5<T>, RecurrentState<T>, RecurrentTrace<T>), ConvLstmError> {
        let shape = self.check_state(initial, steps)?;
        let (layers, state, lengths) = self.run(None, shape, Some(initial), None, Keep::Trace)?;
        let output = layers.last().map(|layer| layer.output.clone()).unwrap_or_default();
        Ok((output, state, RecurrentTrace { input: None, initial: Some(initial.clone()), shape, lengths, layers }))
    }

    /// The outputs of all layers from `initial`, over the steps of `input` or, for a stack without input, over `steps`.
    pub(crate) fn all_from_state(
        &self,
        input: Option<ArrayView5<'_, T>>,
        initial: &RecurrentState<T>,
        steps: usize,
    ) -> Result<Vec<Array5<T>>, ConvLstmError> {
        let shape = match &input {
            Some(input) => self.check_input(input)?,
            None => self.check_state(initial, steps)?,
        };
        let (layers, _, _) = self.run(input, shape, Some(initial), None, Keep::Outputs)?;
        Ok(layers.into_iter().map(|layer| layer.output).collect())
    }

    fn check_input(&self, input: &ArrayView5<'_, T>) -> Result<Shape, ConvLstmError> {
        let (batch, time, channels, height, width) = input.dim();
        check_not_empty(C::NAME, "input channels of the configuration", self.config().input_channels)?;
        check_not_empty(C::NAME, "input batch", batch)?;
        check_not_empty(C::NAME, "input time", time)?;
        check_axis(C::NAME, "input channels", self.config().input_channels, channels)?;
        check_not_empty(C::NAME, "input height", height)?;
        check_not_empty(C::NAME, "input width", width)?;
        Ok(Shape { batch, time, size: [height, width] })
    }

    fn check_state(&self, initial: &RecurrentState<T>, steps: usize) -> Result<Shape, ConvLstmError> {
        check_axis(C::NAME, "input channels of a stack without input", 0, self.config().input_channels)?;
        check_not_empty(C::NAME, "steps", steps)?;
        let directions = self.directions.len();
        check_axis(C::NAME, INITIAL[0], directions, initial.hidden.len())?;
        let (batch, _, height, width) = initial.hidden.first().map_or((0, 0, 0, 0), |maps| maps.dim());
        check_not_empty(C::NAME, INITIAL[1], batch)?;
        check_not_empty(C::NAME, INITIAL[3], height)?;
        check_not_empty(C::NAME, INITIAL[4], width)?;
        Ok(Shape { batch, time: steps, size: [height, width] })
    }

    /// What the layers leave as far as it is kept, the final states and the lengths.
    #[expect(clippy::type_complexity, reason = "two callers take it apart at once")]
    fn run(
        &self,
        input: Option<ArrayView5<'_, T>>,
        shape: Shape,
        initial: Option<&RecurrentState<T>>,
        lengths: Option<&[usize]>,
        keep: Keep,
    ) -> Result<(Vec<LayerTrace<T>>, RecurrentState<T>, Vec<usize>), ConvLstmError> {
        let Shape { batch, time, size } = shape;
        check_lengths(C::NAME, lengths, batch, time)?;
        let packed = PackedStack::new(self, size, batch)?;
        if let Some(initial) = initial {
            initial.check::<C>(INITIAL, &packed.directions, batch)?;
        }
        let lengths = lengths.map_or_else(|| vec![time; batch], <[usize]>::to_vec);
        let slots = match keep {
            Keep::Trace => Slots::training(self.config().memory, time),
            Keep::Top | Keep::Outputs => Slots::INFERENCE,
        };
        let mut state = RecurrentState::of_packed::<C>(&packed.directions, batch)?;
        let mut layers: Vec<LayerTrace<T>> = Vec::new();
        for layer in 0..self.config().layers.len() {
            let below = layers.last().map(|below| below.output.view()).or(input);
            let trace = self.run_layer(layer, &packed, below, time, initial, &lengths, slots)?;
            self.store_final(layer, &trace, &lengths, &mut state);
            if keep == Keep::Top {
                layers.clear();
            }
            layers.push(trace);
        }
        Ok((layers, state, lengths))
    }

    fn run_layer(
        &self,
        layer: usize,
        packed: &PackedStack<T>,
        input: Option<ArrayView5<'_, T>>,
        time: usize,
        initial: Option<&RecurrentState<T>>,
        lengths: &[usize],
        slots: Slots,
    ) -> Result<LayerTrace<T>, ConvLstmError> {
        let (config, batch) = (self.config(), lengths.len());
        let ([height, width], hidden) = (packed.sizes[layer], config.layers[layer].hidden_channels);
        let first = layer * config.directions();
        let directions = &packed.directions[first..first + config.directions()];
        let mut output: Array5<T> = zeros("output", [batch, time, config.layer_output_channels(layer), height, width])?;
        let cell = &config.layers[layer].cell;
        let record = |direction| Record::new::<C>(cell, direction, batch, slots);
        let mut records = directions.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let nothing = Array3::zeros((hidden, height, width));
        let mut sequences = Vec::new();
        let mut rest = output.view_mut();
        for (reverse, (direction, record)) in directions.iter().zip(&mut records).enumerate() {
            let (hidden, others) = rest.split_at(Axis(2), hidden);
            rest = others;
            let orders: Vec<_> = lengths.iter().map(|&length| Order { length, reverse: reverse == 1 }).collect();
            let index = first + reverse;
            let of_batch = Sequence::of_batch(cell, direction, &orders, initial, index, &nothing, hidden, record);
            sequences.extend(of_batch.into_iter().enumerate());
        }
        // Sequences do not wait for each other; threads without one share the bands of those that are left.
        sequences.into_par_iter().try_for_each(|(sequence, mut run)| {
            let input: Option<ArrayView4<'_, T>> = input.map(|input| input.index_axis_move(Axis(0), sequence));
            (0..run.order.length).try_for_each(|step| {
                let time = run.order.time(step);
                run.advance(step, input.map(|input| input.index_axis_move(Axis(0), time)))
            })
        })?;
        Ok(LayerTrace { output, records })
    }

    /// Copies the states after the last step of each sequence.
    fn store_final(&self, layer: usize, trace: &LayerTrace<T>, lengths: &[usize], state: &mut RecurrentState<T>) {
        let channels = self.config().layers[layer].hidden_channels;
        for (reverse, record) in trace.records.iter().enumerate() {
            let index = layer * self.config().directions() + reverse;
            for (sequence, &length) in lengths.iter().enumerate() {
                let time = Order { length, reverse: reverse == 1 }.time(length - 1);
                let hidden =
                    trace.output.slice(s![sequence, time, reverse * channels..(reverse + 1) * channels, .., ..]);
                state.hidden[index].index_axis_mut(Axis(0), sequence).assign(&hidden);
                if let Some(cell) = state.cell.get_mut(index) {
                    let slot = (length - 1) % record.cell.len_of(Axis(1));
                    cell.index_axis_mut(Axis(0), sequence).assign(&record.cell.slice(s![sequence, slot, .., .., ..]));
                }
            }
        }
    }
}

fn top<T>(mut layers: Vec<LayerTrace<T>>) -> Array5<T>
where
    T: Element,
{
    layers.pop().map(|layer| layer.output).unwrap_or_default()
}
