//! Streams: one time step at a time, with the state kept between calls.

use std::sync::Arc;

use ndarray::{Array1, Array3, Array4, ArrayView3, ArrayView4, Axis};
use rayon::prelude::*;
use tensor_ops::{Element, TensorError, check_axis, check_not_empty};

use crate::cell::{MAPS, Step};
use crate::packed::{PackedDirection, PackedStack};
use crate::state::INITIAL;
use crate::weights::zeros;
use crate::{Cell, ConvLstmError, ConvRecurrent, RecurrentConfig, RecurrentState};

/// A stack for inference on maps of one size: its parameters, laid out once for the kernels of this CPU, for many streams.
#[derive(Clone, Debug)]
pub struct PackedRecurrent<T, C> {
    config: RecurrentConfig<C>,
    stack: PackedStack<T>,
}

/// Sequences that are fed step by step.
///
/// A stream owns its states and everything a step writes to, and shares the packed parameters: [`Self::step`] allocates
/// nothing once it has run for the first time on every thread, and its output has the bits of [`ConvRecurrent::forward`] on
/// the whole sequence. (A step taken outside rayon's pool enters it through rayon's own queue, which allocates now and then;
/// with [`tensor_ops::Isa::Portable`], `matrixmultiply` takes the buffers of its products anew.)
///
/// ```
/// use convlstm::{ConvLstm, ConvLstmConfig};
/// use ndarray::{Array5, Axis, s};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let layer = ConvLstm::<f32>::new(ConvLstmConfig::new(1, 4, 3), &mut StdRng::seed_from_u64(7))?;
/// let clip = Array5::from_shape_fn((1, 3, 1, 8, 8), |(_, t, _, y, x)| (t * y + x) as f32 / 20.0);
/// let (whole, _) = layer.forward(clip.view(), None, None)?;
///
/// let mut stream = layer.stream(1, [8, 8], None)?;
/// for t in 0..3 {
///     assert_eq!(stream.step(clip.index_axis(Axis(1), t))?, whole.index_axis(Axis(1), t));
/// }
/// stream.reset();
/// assert_eq!(stream.step(clip.index_axis(Axis(1), 0))?, whole.index_axis(Axis(1), 0));
/// # Ok::<(), convlstm::ConvLstmError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RecurrentStream<T, C> {
    packed: Arc<PackedRecurrent<T, C>>,
    sequences: Vec<StreamSequence<T>>,
    /// `[batch, channels, height, width]`
    output: Array4<T>,
}

#[derive(Clone, Debug)]
struct StreamSequence<T> {
    layers: Vec<StreamLayer<T>>,
    /// Whether nothing came before.
    starts: bool,
}

/// The values of a layer, `[channels, height, width]`, at the last step and at the one before it.
#[derive(Clone, Debug)]
struct StreamLayer<T> {
    hidden: Array3<T>,
    previous_hidden: Array3<T>,
    cell: Array3<T>,
    previous_cell: Array3<T>,
    maps: Array3<T>,
    normalised: Array3<T>,
    inverse_deviations: Array1<T>,
}

impl<T: Element, C: Cell> ConvRecurrent<T, C> {
    /// Packs the parameters for streams of maps of height and width `size`, `batch` at a time; another batch works too, with
    /// the same results.
    ///
    /// # Errors
    /// [`ConvLstmError`] if a public array has another shape than the configuration asks for, or the size does not fit.
    pub fn pack(&self, batch: usize, size: [usize; 2]) -> Result<PackedRecurrent<T, C>, ConvLstmError> {
        let stack = PackedStack::new(self, size, batch)?;
        Ok(PackedRecurrent { config: self.config().clone(), stack })
    }

    /// A stream of `batch` sequences of maps of height and width `size` that start from `initial`, or from nothing.
    ///
    /// The stream keeps the parameters as they are now. Many streams share one packing through [`PackedRecurrent::stream`].
    ///
    /// # Errors
    /// As [`Self::pack`] and [`PackedRecurrent::stream`].
    pub fn stream(
        &self,
        batch: usize,
        size: [usize; 2],
        initial: Option<&RecurrentState<T>>,
    ) -> Result<RecurrentStream<T, C>, ConvLstmError> {
        Arc::new(self.pack(batch, size)?).stream(batch, initial)
    }
}

impl<T: Element, C: Cell> PackedRecurrent<T, C> {
    /// The configuration.
    pub fn config(&self) -> &RecurrentConfig<C> {
        &self.config
    }

    /// A stream of `batch` sequences that start from `initial`, or from nothing.
    ///
    /// # Errors
    /// [`ConvLstmError::BidirectionalStream`] if there is a reverse direction, [`ConvLstmError::Tensor`] for an empty batch,
    /// a stack without input or a wrong shape of the state.
    pub fn stream(
        self: Arc<Self>,
        batch: usize,
        initial: Option<&RecurrentState<T>>,
    ) -> Result<RecurrentStream<T, C>, ConvLstmError> {
        if self.config.bidirectional {
            return Err(ConvLstmError::BidirectionalStream);
        }
        check_not_empty(C::NAME, "stream batch", batch)?;
        check_not_empty(C::NAME, "input channels of the configuration", self.config.input_channels)?;
        let layers = self
            .stack
            .directions
            .iter()
            .zip(&self.config.layers)
            .map(|(direction, layer)| StreamLayer::new(&layer.cell, direction))
            .collect::<Result<Vec<_>, _>>()?;
        let (channels, height, width) = layers.last().map_or((0, 0, 0), |layer| layer.hidden.dim());
        let output = zeros("output", [batch, channels, height, width])?;
        let sequences = vec![StreamSequence { layers, starts: true }; batch];
        let mut stream = RecurrentStream { packed: self, sequences, output };
        if let Some(initial) = initial {
            stream.set_state(initial)?;
        }
        Ok(stream)
    }
}

impl<T: Element, C: Cell> RecurrentStream<T, C> {
    /// Advances all sequences by `input` `[batch, channels, height, width]`; the output of the last layer,
    /// `[batch, hidden channels, height, width]`.
    ///
    /// # Errors
    /// [`ConvLstmError`] for another number of sequences, channels, rows or columns; the states stay as they were.
    pub fn step(&mut self, input: ArrayView4<'_, T>) -> Result<ArrayView4<'_, T>, ConvLstmError> {
        let (batch, channels, height, width) = input.dim();
        let [rows, columns] = self.packed.stack.input_sizes[0];
        check_axis(C::NAME, "input batch", self.sequences.len(), batch)?;
        check_axis(C::NAME, "input channels", self.packed.config.input_channels, channels)?;
        check_axis(C::NAME, "input height", rows, height)?;
        check_axis(C::NAME, "input width", columns, width)?;
        let packed = &*self.packed;
        let values = self.output.len() / batch;
        let outputs = self.output.as_slice_mut().expect("a new array").par_chunks_mut(values);
        self.sequences.par_iter_mut().zip(outputs).enumerate().try_for_each(|(index, (sequence, output))| {
            sequence.step(packed, input.index_axis(Axis(0), index))?;
            let top = &sequence.layers[sequence.layers.len() - 1].hidden;
            output.copy_from_slice(top.as_slice().expect("a new array"));
            Ok::<_, ConvLstmError>(())
        })?;
        Ok(self.output.view())
    }

    /// Forgets all states: the next step is the first of its sequence.
    pub fn reset(&mut self) {
        self.sequences.iter_mut().for_each(StreamSequence::forget);
    }

    /// Forgets the states of one sequence: another clip starts in its place.
    ///
    /// # Errors
    /// [`ConvLstmError::Tensor`] if there is no such sequence.
    pub fn reset_sequence(&mut self, sequence: usize) -> Result<(), ConvLstmError> {
        let end = self.sequences.len();
        let Some(found) = self.sequences.get_mut(sequence) else {
            let (operation, index) = (C::NAME, "stream sequence");
            return Err(TensorError::IndexOutOfRange { operation, index, item: 0, found: sequence, end }.into());
        };
        found.forget();
        Ok(())
    }

    /// The states after the last step.
    pub fn state(&self) -> RecurrentState<T> {
        let gather = |of: fn(&StreamLayer<T>) -> &Array3<T>| -> Vec<Array4<T>> {
            let layers = 0..self.packed.stack.directions.len();
            let maps = |layer: usize| {
                let first = of(&self.sequences[0].layers[layer]).dim();
                let mut maps = Array4::zeros((self.sequences.len(), first.0, first.1, first.2));
                maps.outer_iter_mut().zip(&self.sequences).for_each(|(mut maps, s)| maps.assign(of(&s.layers[layer])));
                maps
            };
            layers.map(maps).collect()
        };
        let cell = if C::HAS_CELL { gather(|layer| &layer.cell) } else { Vec::new() };
        RecurrentState { hidden: gather(|layer| &layer.hidden), cell }
    }

    /// Continues from `state`.
    ///
    /// # Errors
    /// [`ConvLstmError::Tensor`] if a shape does not fit; the states stay as they were.
    pub fn set_state(&mut self, state: &RecurrentState<T>) -> Result<(), ConvLstmError> {
        state.check::<C>(INITIAL, &self.packed.stack.directions, self.sequences.len())?;
        for (index, sequence) in self.sequences.iter_mut().enumerate() {
            for (layer, values) in sequence.layers.iter_mut().enumerate() {
                values.hidden.assign(&state.hidden[layer].index_axis(Axis(0), index));
                if let Some(cell) = state.cell.get(layer) {
                    values.cell.assign(&cell.index_axis(Axis(0), index));
                }
            }
            sequence.starts = false;
        }
        Ok(())
    }
}

impl<T: Element> StreamSequence<T> {
    fn step<C: Cell>(&mut self, packed: &PackedRecurrent<T, C>, input: ArrayView3<'_, T>) -> Result<(), ConvLstmError> {
        for index in 0..self.layers.len() {
            let (below, layers) = self.layers.split_at_mut(index);
            let (input, layer) = (below.last().map_or(input, |layer| layer.hidden.view()), &mut layers[0]);
            std::mem::swap(&mut layer.hidden, &mut layer.previous_hidden);
            std::mem::swap(&mut layer.cell, &mut layer.previous_cell);
            packed.config.layers[index].cell.advance(
                &packed.stack.directions[index],
                Step {
                    input: Some(input),
                    previous_hidden: layer.previous_hidden.view(),
                    previous_cell: layer.previous_cell.view(),
                    starts: self.starts,
                    maps: layer.maps.view_mut(),
                    normalised: layer.normalised.view_mut(),
                    inverse_deviations: layer.inverse_deviations.view_mut(),
                    hidden: layer.hidden.view_mut(),
                    cell: layer.cell.view_mut(),
                },
            )?;
        }
        self.starts = false;
        Ok(())
    }

    fn forget(&mut self) {
        for layer in &mut self.layers {
            layer.hidden.fill(T::zero());
            layer.cell.fill(T::zero());
        }
        self.starts = true;
    }
}

impl<T: Element> StreamLayer<T> {
    fn new<C: Cell>(options: &C, direction: &PackedDirection<T>) -> Result<Self, ConvLstmError> {
        let (channels, [height, width]) = (direction.hidden_channels, direction.size);
        let hidden: Array3<T> = zeros("states", [channels, height, width])?;
        let cell: Array3<T> = zeros("states", [if C::HAS_CELL { channels } else { 0 }, height, width])?;
        let (groups, normalised) = direction.norm.as_ref().map_or((0, 0), |norm| (norm.groups, C::GATES * channels));
        Ok(Self {
            previous_hidden: hidden.clone(),
            previous_cell: cell.clone(),
            hidden,
            cell,
            maps: zeros("gates", [if options.needs_maps() { MAPS * channels } else { 0 }, height, width])?,
            normalised: zeros("normalised gates", [normalised, height, width])?,
            inverse_deviations: zeros("deviations of gates", [groups])?,
        })
    }
}
