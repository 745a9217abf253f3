//! Spatial attention frame by frame.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayView3, ArrayView4};
use tensor_ops::{Element, ProductStart, check_axis};

use super::{PackedParts, SpatialAttention, SpatialAttentionConfig};
use crate::cell::StreamState;
use crate::recurrence::{AttendedRows, Span, rows_at};
use crate::{AttentionError, CellState};

const NAME: &str = "SpatialStream";

/// The parameters of a [`SpatialAttention`], laid out once for many streams.
#[derive(Clone, Debug)]
pub struct PackedSpatialAttention<T> {
    config: SpatialAttentionConfig,
    parts: PackedParts<T>,
}

/// Clips that are fed frame by frame.
///
/// A stream cannot know the mean features of the whole clip, so it starts from a state that is given, such as
/// [`SpatialAttention::initial_state`] of the clip or of its first frames, or from zeros. [`Self::step`] allocates nothing,
/// and its output has the bits of [`SpatialAttention::forward`] from the same state.
///
/// ```
/// use attention::{SpatialAttention, SpatialAttentionConfig};
/// use ndarray::{Array5, s};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let model = SpatialAttention::<f32>::new(SpatialAttentionConfig::new(3, 8, 16), &mut StdRng::seed_from_u64(1))?;
/// let clip = Array5::from_shape_fn((1, 4, 3, 3, 8), |(_, t, y, x, i)| (t * y + x * i) as f32 / 20.0);
/// let whole = model.forward(clip.view(), None, None)?;
/// let mut stream = model.stream(1, Some(&model.initial_state(clip.view(), None)?))?;
/// for t in 0..4 {
///     assert_eq!(stream.step(clip.slice(s![.., t, .., .., ..]))?, whole.output.slice(s![.., t, ..]));
///     assert_eq!(stream.weights(), whole.weights.slice(s![.., t, .., ..]));
/// }
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SpatialStream<T> {
    packed: Arc<PackedSpatialAttention<T>>,
    /// The regions of the frame, `[batch · regions, features]`, and their forms.
    regions: Array2<T>,
    key_forms: Array2<T>,
    state: StreamState<T>,
    gates: Array2<T>,
    forms: Array2<T>,
    contexts: Array2<T>,
    scores: Array2<T>,
    weights: Array2<T>,
    scratch: Vec<T>,
}

impl<T: Element> SpatialAttention<T> {
    /// Packs the parameters for streams.
    ///
    /// # Errors
    /// [`AttentionError`] if a public array has another shape than the configuration asks for.
    pub fn pack(&self) -> Result<PackedSpatialAttention<T>, AttentionError> {
        Ok(PackedSpatialAttention { config: self.config.clone(), parts: self.pack_parts()? })
    }

    /// A stream of `batch` clips that start from `initial`, or from zeros. It keeps the parameters as they are now.
    ///
    /// # Errors
    /// As [`Self::pack`] and [`PackedSpatialAttention::stream`].
    pub fn stream(&self, batch: usize, initial: Option<&CellState<T>>) -> Result<SpatialStream<T>, AttentionError> {
        Arc::new(self.pack()?).stream(batch, initial)
    }
}

impl<T: Element> PackedSpatialAttention<T> {
    /// A stream of `batch` clips that start from `initial`, or from zeros.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] for an empty batch or a wrong shape of the state.
    pub fn stream(
        self: Arc<Self>,
        batch: usize,
        initial: Option<&CellState<T>>,
    ) -> Result<SpatialStream<T>, AttentionError> {
        let (cell, score, regions) = (&self.parts.cell, &self.parts.score, self.config.regions());
        let state = StreamState::new(NAME, cell, batch, initial)?;
        Ok(SpatialStream {
            regions: Array2::zeros((batch * regions, self.config.features)),
            key_forms: Array2::zeros((batch * regions, score.key_form_size())),
            state,
            gates: Array2::zeros((batch, cell.layout.width())),
            forms: Array2::zeros((batch, score.form_size)),
            contexts: Array2::zeros((batch, self.config.features)),
            scores: Array2::zeros((batch, regions)),
            weights: Array2::zeros((batch, regions)),
            scratch: vec![T::zero(); batch * score.form_size],
            packed: self,
        })
    }
}

impl<T: Element> SpatialStream<T> {
    /// Encodes the next frame of every clip, `[batch, height, width, features]`; the output, `[batch, hidden]`.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] for another number of clips, regions or features.
    pub fn step(&mut self, frame: ArrayView4<'_, T>) -> Result<ArrayView2<'_, T>, AttentionError> {
        let PackedSpatialAttention { config, parts } = &*self.packed;
        let (batch, height, width, features) = frame.dim();
        check_axis(NAME, "frame batch", self.state.batch(), batch)?;
        check_axis(NAME, "frame height", config.height, height)?;
        check_axis(NAME, "frame width", config.width, width)?;
        check_axis(NAME, "frame features", config.features, features)?;
        let mut target = self.regions.view_mut().into_shape_with_order(frame.raw_dim()).expect("as many values");
        target.assign(&frame);
        parts.score.key_forms_into(self.regions.view(), self.key_forms.view_mut())?;
        parts.score.query_forms(self.state.hidden(), self.forms.view_mut())?;
        self.contexts.fill(T::zero());
        let rows = AttendedRows {
            forms: self.forms.as_slice().expect("an owned array"),
            scores: self.scores.as_slice_mut().expect("an owned array"),
            weights: self.weights.as_slice_mut().expect("an owned array"),
            out: self.contexts.as_slice_mut().expect("an owned array"),
            scratch: &mut self.scratch,
        };
        let count = config.regions();
        let (keys, values) = (self.key_forms.view(), self.regions.view());
        rows.attend(&parts.score.scorer, batch, count * (keys.ncols() + features), 0, &|sequence| {
            let first = sequence * count;
            (Span { first, count, column: 0 }, rows_at(keys, first, count), rows_at(values, first, count))
        });
        self.gates.rows_mut().into_iter().for_each(|mut row| {
            row.iter_mut().zip(&parts.cell.bias).for_each(|(gate, &bias)| *gate = bias);
        });
        parts.context.multiply(self.contexts.view(), ProductStart::Output, self.gates.view_mut())?;
        self.state.step(&parts.cell, self.gates.view_mut())?;
        Ok(self.state.hidden())
    }

    /// The weights of the last step, `[batch, height, width]`.
    pub fn weights(&self) -> ArrayView3<'_, T> {
        let shape = (self.weights.nrows(), self.packed.config.height, self.packed.config.width);
        self.weights.view().into_shape_with_order(shape).expect("as many regions")
    }

    /// Sets all states to zero.
    pub fn reset(&mut self) {
        for sequence in 0..self.state.batch() {
            self.state.clear(sequence);
        }
    }

    /// Sets the states of one clip to zero: another starts in its place.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] if there is no such clip.
    pub fn reset_sequence(&mut self, sequence: usize) -> Result<(), AttentionError> {
        self.state.check_sequence(sequence)?;
        self.state.clear(sequence);
        Ok(())
    }

    /// The state after the last step.
    pub fn state(&self) -> CellState<T> {
        self.state.get()
    }

    /// Continues from `state`.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] if a shape does not fit.
    pub fn set_state(&mut self, state: &CellState<T>) -> Result<(), AttentionError> {
        Ok(self.state.set(state)?)
    }
}
