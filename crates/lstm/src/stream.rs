//! Streams: one time step at a time, with the state kept between calls.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, s};
use tensor_ops::{Element, LstmStep, check_axis, check_not_empty, lstm_step};

use crate::state::StateRole;
use crate::{Lstm, LstmError, LstmState, PackedLstm};

/// Sequences that are fed step by step.
///
/// A stream owns its states and everything a step writes to, and shares the packed parameters that it was made with:
/// [`Self::step`] allocates nothing, and its output has the bits of [`Lstm::forward`] on the whole sequence. (A step that
/// is large enough for several threads, taken outside rayon's pool, enters the pool through rayon's own queue, which
/// allocates now and then.)
///
/// ```
/// use lstm::{Lstm, LstmConfig};
/// use ndarray::{Array2, Array3, s};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let lstm = Lstm::<f32>::new(LstmConfig::new(8, 16), &mut StdRng::seed_from_u64(7))?;
/// let clip = Array3::from_shape_fn((1, 5, 8), |(_, t, i)| (t * i) as f32 / 10.0);
/// let (whole, _) = lstm.forward(clip.view(), None, None)?;
///
/// let mut stream = lstm.stream(1, None)?;
/// for t in 0..5 {
///     assert_eq!(stream.step(clip.slice(s![.., t, ..]))?, whole.slice(s![.., t, ..]));
/// }
/// stream.reset();
/// assert_eq!(stream.step(clip.slice(s![.., 0, ..]))?, whole.slice(s![.., 0, ..]));
/// # Ok::<(), lstm::LstmError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LstmStream<T> {
    packed: Arc<PackedLstm<T>>,
    layers: Vec<StreamLayer<T>>,
}

/// The values of a layer, `[batch, padded units]`, at the last step and at the one before it.
#[derive(Clone, Debug)]
struct StreamLayer<T> {
    hidden: Array2<T>,
    cell: Array2<T>,
    previous_hidden: Array2<T>,
    previous_cell: Array2<T>,
    /// `[batch, gates]`
    gates: Array2<T>,
}

impl<T: Element> Lstm<T> {
    /// A stream of `batch` sequences that start from `initial`, or from zeros.
    ///
    /// The stream keeps the parameters as they are now. Many streams share one packing through [`PackedLstm::stream`].
    ///
    /// # Errors
    /// As [`PackedLstm::stream`] and [`Lstm::pack`].
    pub fn stream(&self, batch: usize, initial: Option<&LstmState<T>>) -> Result<LstmStream<T>, LstmError> {
        Arc::new(self.pack()?).stream(batch, initial)
    }

    /// Feeds `input` `[batch, features]` to `stream`, as [`LstmStream::step`] does.
    ///
    /// # Errors
    /// [`LstmError::BidirectionalStream`] if this LSTM has a reverse direction; else as [`LstmStream::step`].
    pub fn step<'a>(
        &self,
        input: ArrayView2<'_, T>,
        stream: &'a mut LstmStream<T>,
    ) -> Result<ArrayView2<'a, T>, LstmError> {
        if self.config().bidirectional {
            return Err(LstmError::BidirectionalStream);
        }
        stream.step(input)
    }
}

impl<T: Element> LstmStream<T> {
    pub(crate) fn new(
        packed: Arc<PackedLstm<T>>,
        batch: usize,
        initial: Option<&LstmState<T>>,
    ) -> Result<Self, LstmError> {
        if packed.config.bidirectional {
            return Err(LstmError::BidirectionalStream);
        }
        check_not_empty("LstmStream", "batch", batch)?;
        let (units, width) = (packed.layout.padded_units(), packed.layout.width());
        let layer = StreamLayer {
            hidden: Array2::zeros((batch, units)),
            cell: Array2::zeros((batch, units)),
            previous_hidden: Array2::zeros((batch, units)),
            previous_cell: Array2::zeros((batch, units)),
            gates: Array2::zeros((batch, width)),
        };
        let layers = vec![layer; packed.config.layers];
        let mut stream = Self { packed, layers };
        if let Some(initial) = initial {
            stream.set_state(initial)?;
        }
        Ok(stream)
    }

    /// Advances all sequences by `input` `[batch, features]`; the output of the last layer, `[batch, hidden]`.
    ///
    /// # Errors
    /// [`LstmError::Tensor`] for another number of sequences or features.
    pub fn step(&mut self, input: ArrayView2<'_, T>) -> Result<ArrayView2<'_, T>, LstmError> {
        check_axis("LstmStream", "input batch", self.layers[0].hidden.nrows(), input.nrows())?;
        check_axis("LstmStream", "input features", self.packed.config.input_size, input.ncols())?;
        for index in 0..self.layers.len() {
            let (below, layers) = self.layers.split_at_mut(index);
            let below = below.last().map_or(input, |layer| layer.hidden.view());
            let (weights, layer) = (&self.packed.directions[index], &mut layers[0]);
            std::mem::swap(&mut layer.hidden, &mut layer.previous_hidden);
            std::mem::swap(&mut layer.cell, &mut layer.previous_cell);
            weights.project(below, None, &self.packed.layout, &[], layer.gates.view_mut())?;
            lstm_step(LstmStep {
                recurrent: &weights.recurrent,
                peepholes: weights.peepholes.as_deref(),
                previous_hidden: layer.previous_hidden.view(),
                previous_cell: layer.previous_cell.view(),
                gates: layer.gates.view_mut(),
                hidden: layer.hidden.view_mut(),
                cell: layer.cell.view_mut(),
            })?;
        }
        let top = &self.layers[self.layers.len() - 1];
        Ok(top.hidden.slice(s![.., ..self.packed.config.hidden_size]))
    }

    /// Sets all states to zero.
    pub fn reset(&mut self) {
        for layer in &mut self.layers {
            layer.hidden.fill(T::zero());
            layer.cell.fill(T::zero());
        }
    }

    /// Sets the states of one sequence to zero: another clip starts in its place.
    ///
    /// # Errors
    /// [`LstmError::Tensor`] if there is no such sequence.
    pub fn reset_sequence(&mut self, sequence: usize) -> Result<(), LstmError> {
        let end = self.layers[0].hidden.nrows();
        if sequence >= end {
            let (operation, index) = ("LstmStream", "sequence");
            return Err(
                tensor_ops::TensorError::IndexOutOfRange { operation, index, item: 0, found: sequence, end }.into()
            );
        }
        for layer in &mut self.layers {
            layer.hidden.row_mut(sequence).fill(T::zero());
            layer.cell.row_mut(sequence).fill(T::zero());
        }
        Ok(())
    }

    /// The states after the last step.
    pub fn state(&self) -> LstmState<T> {
        let units = self.packed.config.hidden_size;
        let mut state = LstmState::zeros(&self.packed.config, self.layers[0].hidden.nrows());
        for (index, layer) in self.layers.iter().enumerate() {
            state.hidden.slice_mut(s![index, .., ..]).assign(&layer.hidden.slice(s![.., ..units]));
            state.cell.slice_mut(s![index, .., ..]).assign(&layer.cell.slice(s![.., ..units]));
        }
        state
    }

    /// Continues from `state`.
    ///
    /// # Errors
    /// [`LstmError::Tensor`] if a shape does not fit.
    pub fn set_state(&mut self, state: &LstmState<T>) -> Result<(), LstmError> {
        let units = self.packed.config.hidden_size;
        state.check(StateRole::Initial, &self.packed.config, self.layers[0].hidden.nrows())?;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.hidden.slice_mut(s![.., ..units]).assign(&state.hidden.slice(s![index, .., ..]));
            layer.cell.slice_mut(s![.., ..units]).assign(&state.cell.slice(s![index, .., ..]));
        }
        Ok(())
    }
}
