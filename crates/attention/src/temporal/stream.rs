//! Temporal attention frame by frame.

use std::sync::Arc;

use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use tensor_ops::{Element, ProductStart, check_axis};

use super::{PackedParts, TemporalAttention, TemporalAttentionConfig};
use crate::cell::StreamState;
use crate::recurrence::{AttendedRows, Span};
use crate::{AttentionError, CellState};

const NAME: &str = "TemporalStream";

/// The parameters of a [`TemporalAttention`], laid out once for many streams.
#[derive(Clone, Debug)]
pub struct PackedTemporalAttention<T> {
    config: TemporalAttentionConfig,
    parts: PackedParts<T>,
}

/// Clips that are fed frame by frame.
///
/// A stream owns the projected keys and values of the latest frames: a frame is projected once, when it comes.
/// [`Self::step`] allocates nothing, and its output has the bits of [`TemporalAttention::forward`] on the whole clip.
///
/// ```
/// use attention::{TemporalAttention, TemporalAttentionConfig};
/// use ndarray::{Array3, s};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let config = TemporalAttentionConfig { window: Some(3), ..TemporalAttentionConfig::new(8, 16, 12) };
/// let model = TemporalAttention::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
/// let clip = Array3::from_shape_fn((1, 9, 8), |(_, t, i)| (t * i) as f32 / 50.0);
/// let whole = model.forward(clip.view(), None, None)?;
/// let mut stream = model.stream(1, None)?;
/// for t in 0..9 {
///     assert_eq!(stream.step(clip.slice(s![.., t, ..]))?, whole.output.slice(s![.., t, ..]));
///     assert_eq!(stream.weights(), whole.weights.slice(s![.., t, ..]));
/// }
/// # Ok::<(), attention::AttentionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TemporalStream<T> {
    packed: Arc<PackedTemporalAttention<T>>,
    window: usize,
    /// `[batch, 2 · window, form]`: a window never wraps around, since the latest frames are moved to the front when the
    /// end is reached.
    keys: Array3<T>,
    /// `W_c` v, `[batch, 2 · window, gates]`.
    values: Array3<T>,
    /// Where the next frame is put.
    end: usize,
    /// Frames of every sequence since it began, at most the window.
    frames: Vec<usize>,
    state: StreamState<T>,
    gates: Array2<T>,
    forms: Array2<T>,
    scores: Array2<T>,
    weights: Array2<T>,
    scratch: Vec<T>,
}

impl<T: Element> TemporalAttention<T> {
    /// Packs the parameters for streams.
    ///
    /// # Errors
    /// [`AttentionError`] if a public array has another shape than the configuration asks for.
    pub fn pack(&self) -> Result<PackedTemporalAttention<T>, AttentionError> {
        Ok(PackedTemporalAttention { config: self.config.clone(), parts: self.pack_parts()? })
    }

    /// A stream of `batch` clips that start from `initial`, or from zeros. It keeps the parameters as they are now.
    ///
    /// # Errors
    /// As [`Self::pack`] and [`PackedTemporalAttention::stream`].
    pub fn stream(&self, batch: usize, initial: Option<&CellState<T>>) -> Result<TemporalStream<T>, AttentionError> {
        Arc::new(self.pack()?).stream(batch, initial)
    }
}

impl<T: Element> PackedTemporalAttention<T> {
    /// A stream of `batch` clips that start from `initial`, or from zeros.
    ///
    /// # Errors
    /// [`AttentionError::GlobalStream`] without a window; [`AttentionError::Tensor`] for an empty batch or a wrong shape of
    /// the state.
    pub fn stream(
        self: Arc<Self>,
        batch: usize,
        initial: Option<&CellState<T>>,
    ) -> Result<TemporalStream<T>, AttentionError> {
        let window = self.config.window.ok_or(AttentionError::GlobalStream)?;
        let (cell, score) = (&self.parts.cell, &self.parts.score);
        let (state, width) = (StreamState::new(NAME, cell, batch, initial)?, cell.layout.width());
        Ok(TemporalStream {
            window,
            keys: Array3::zeros((batch, 2 * window, score.key_form_size())),
            values: Array3::zeros((batch, 2 * window, width)),
            end: 0,
            frames: vec![0; batch],
            state,
            gates: Array2::zeros((batch, width)),
            forms: Array2::zeros((batch, score.form_size)),
            scores: Array2::from_elem((batch, window), T::neg_infinity()),
            weights: Array2::zeros((batch, window)),
            scratch: vec![T::zero(); batch * score.form_size],
            packed: self,
        })
    }
}

impl<T: Element> TemporalStream<T> {
    /// Encodes the next frame of every clip, `[batch, features]`; the output, `[batch, hidden]`.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] for another number of clips or features.
    pub fn step(&mut self, frame: ArrayView2<'_, T>) -> Result<ArrayView2<'_, T>, AttentionError> {
        let PackedTemporalAttention { config, parts } = &*self.packed;
        check_axis(NAME, "frame batch", self.frames.len(), frame.nrows())?;
        check_axis(NAME, "frame features", config.features, frame.ncols())?;
        if self.end == 2 * self.window {
            let kept = self.window - 1;
            for mut frames in self.keys.outer_iter_mut().chain(self.values.outer_iter_mut()) {
                let (mut front, back) = frames.multi_slice_mut((s![..kept, ..], s![2 * self.window - kept.., ..]));
                front.assign(&back);
            }
            self.end = kept;
        }
        parts.score.key_forms_into(frame, self.keys.index_axis_mut(Axis(1), self.end))?;
        parts.context.multiply(frame, ProductStart::Zero, self.values.index_axis_mut(Axis(1), self.end))?;
        self.end += 1;
        for frames in &mut self.frames {
            *frames = (*frames + 1).min(self.window);
        }
        match &parts.frame {
            Some(weight) => weight.multiply(frame, ProductStart::Row(&parts.cell.bias), self.gates.view_mut())?,
            None => self.gates.rows_mut().into_iter().for_each(|mut row| {
                row.iter_mut().zip(&parts.cell.bias).for_each(|(gate, &bias)| *gate = bias);
            }),
        }
        parts.score.query_forms(self.state.hidden(), self.forms.view_mut())?;
        self.scores.fill(T::neg_infinity());
        self.weights.fill(T::zero());
        let (key_size, width) = (parts.score.key_form_size(), parts.cell.layout.width());
        let (keys, values) =
            (self.keys.as_slice().expect("an owned array"), self.values.as_slice().expect("an owned array"));
        let rows = AttendedRows {
            forms: self.forms.as_slice().expect("an owned array"),
            scores: self.scores.as_slice_mut().expect("an owned array"),
            weights: self.weights.as_slice_mut().expect("an owned array"),
            out: self.gates.as_slice_mut().expect("an owned array"),
            scratch: &mut self.scratch,
        };
        let (window, end, frames) = (self.window, self.end, &self.frames);
        rows.attend(&parts.score.scorer, frames.len(), window * (key_size + width), 0, &|sequence| {
            let count = frames[sequence];
            let first = sequence * 2 * window + end - count;
            let part = |width: usize| first * width..(first + count) * width;
            let span = Span { first, count, column: window - count };
            (span, &keys[part(key_size)], &values[part(width)])
        });
        self.state.step(&parts.cell, self.gates.view_mut())?;
        Ok(self.state.hidden())
    }

    /// The weights of the last step, `[batch, window]`, the current frame in the last column.
    pub fn weights(&self) -> ArrayView2<'_, T> {
        self.weights.view()
    }

    /// Forgets all frames and sets all states to zero.
    pub fn reset(&mut self) {
        for sequence in 0..self.frames.len() {
            self.forget(sequence);
        }
        self.end = 0;
    }

    /// As [`Self::reset`], for one clip: another starts in its place.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] if there is no such clip.
    pub fn reset_sequence(&mut self, sequence: usize) -> Result<(), AttentionError> {
        self.state.check_sequence(sequence)?;
        self.forget(sequence);
        Ok(())
    }

    fn forget(&mut self, sequence: usize) {
        self.frames[sequence] = 0;
        self.state.clear(sequence);
    }

    /// The state after the last step.
    pub fn state(&self) -> CellState<T> {
        self.state.get()
    }

    /// Sets the hidden and cell values; the frames that were seen stay.
    ///
    /// # Errors
    /// [`AttentionError::Tensor`] if a shape does not fit.
    pub fn set_state(&mut self, state: &CellState<T>) -> Result<(), AttentionError> {
        Ok(self.state.set(state)?)
    }
}
