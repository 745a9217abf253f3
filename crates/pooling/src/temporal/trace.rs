//! The layer, and what its backward pass needs.

use ndarray::{Array, Array2, Array3, ArrayView, ArrayViewD, ArrayViewMut2, CowArray, Dimension, Ix2, RemoveAxis, s};
use tensor_ops::{Element, TensorError, check_axis, check_lengths, check_not_empty};

use super::backward::{Forward, reduce_backward};
use super::clips::features_of;
use super::{Clips, Reducer, TemporalWindow, Windows, reduce};
use crate::PoolingError;
use crate::error::zeros;

const NAME: &str = "TemporalPool";

/// Pooling over time: a reducer, for whole clips or for windows of their frames.
///
/// The output of a clip has `window.count(length)` windows, 1 without a window; in a batch of clips of different lengths
/// zeros follow.
///
/// ```
/// use ndarray::array;
/// use pooling::{Reducer, TemporalPool, TemporalWindow};
///
/// let window = Some(TemporalWindow { frames: 2, stride: 1 });
/// let pool = TemporalPool { reducer: Reducer::Max, window };
/// let clips = array![[[1.0], [5.0], [2.0], [3.0]], [[4.0], [7.0], [9.0], [9.0]]]; // [batch, time, features]
/// let (output, trace) = pool.forward_training(clips.view(), Some(&[4, 1]))?;
/// assert_eq!(output, array![[[5.0], [5.0], [3.0]], [[4.0], [0.0], [0.0]]]); // [batch, windows, features]
/// let gradient = TemporalPool::backward(&trace, array![[[1.0], [2.0], [4.0]], [[8.0], [0.0], [0.0]]].view())?;
/// assert_eq!(gradient, array![[[0.0], [3.0], [0.0], [4.0]], [[8.0], [0.0], [0.0], [0.0]]]);
/// # Ok::<(), pooling::PoolingError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TemporalPool {
    /// How the values of a window become one.
    pub reducer: Reducer,
    /// The windows; without them a clip is one window, whatever its length.
    pub window: Option<TemporalWindow>,
}

/// What [`TemporalPool::backward`] and [`Reducer::backward`] need of a forward pass.
///
/// For [`Reducer::SoftmaxWeighted`] it borrows the input.
#[derive(Clone, Debug)]
pub struct TemporalTrace<'a, T: Element, D> {
    reducer: Reducer,
    input: D,
    windows: Windows,
    /// The frames of the largest values, `[windows, ranks, features]`.
    steps: Array3<u32>,
    /// Input and output, for [`Reducer::SoftmaxWeighted`].
    values: Option<(Clips<'a, T>, Array2<T>)>,
}

impl<T: Element, D> TemporalTrace<'_, T, D> {
    /// The trace with a copy of the input where it borrows it.
    pub fn into_owned(self) -> TemporalTrace<'static, T, D> {
        let Self { reducer, input, windows, steps, values } = self;
        let values = values.map(|(clips, output)| (clips.into_owned(), output));
        TemporalTrace { reducer, input, windows, steps, values }
    }
}

impl TemporalPool {
    /// The output `[batch, windows, …]` of `input` `[batch, time, …]`, of any strides; frames beyond the lengths do not
    /// count.
    ///
    /// # Errors
    /// [`PoolingError::Tensor`] for fewer than two axes, an empty axis, wrong lengths or an option as in
    /// [`Self::validate`]; [`PoolingError::Memory`] where there is no memory for the output.
    pub fn forward<T: Element, D: RemoveAxis>(
        &self,
        input: ArrayView<'_, T, D>,
        lengths: Option<&[usize]>,
    ) -> Result<Array<T, D>, PoolingError> {
        let windows = self.windows(&input, lengths)?;
        let (rows, _) = reduce(NAME, self.reducer, &Clips::of_batch(&input), &windows, false)?;
        unpack(NAME, rows, &windows.counts(), input.raw_dim())
    }

    /// As [`Self::forward`], with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    #[expect(clippy::type_complexity, reason = "output and trace, as for all layers")]
    pub fn forward_training<'a, T: Element, D: RemoveAxis>(
        &self,
        input: ArrayView<'a, T, D>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array<T, D>, TemporalTrace<'a, T, D>), PoolingError> {
        let windows = self.windows(&input, lengths)?;
        let clips = Clips::of_batch(&input);
        let (rows, steps) = reduce(NAME, self.reducer, &clips, &windows, true)?;
        let values = self.reducer.keeps_values().then(|| (clips, rows.clone()));
        let output = unpack(NAME, rows, &windows.counts(), input.raw_dim())?;
        Ok((output, TemporalTrace { reducer: self.reducer, input: input.raw_dim(), windows, steps, values }))
    }

    /// The gradient of the input `[batch, time, …]` for `grad_output` `[batch, windows, …]`; zero beyond the lengths.
    ///
    /// # Errors
    /// [`PoolingError::Tensor`] if `grad_output` has another shape than the output.
    pub fn backward<T: Element, D: RemoveAxis>(
        trace: &TemporalTrace<'_, T, D>,
        grad_output: ArrayView<'_, T, D>,
    ) -> Result<Array<T, D>, PoolingError> {
        Self::backward_dyn(trace, grad_output.into_dyn())
    }

    pub(super) fn backward_dyn<T: Element, D: RemoveAxis>(
        trace: &TemporalTrace<'_, T, D>,
        grad_output: ArrayViewD<'_, T>,
    ) -> Result<Array<T, D>, PoolingError> {
        let counts = trace.windows.counts();
        let shape = trace.input.slice();
        check_axis(NAME, "grad_output axes", shape.len(), grad_output.ndim())?;
        check_axis(NAME, "grad_output batch", shape[0], grad_output.shape()[0])?;
        let windows = counts.iter().copied().max().unwrap_or(0);
        check_axis(NAME, "grad_output windows", windows, grad_output.shape()[1])?;
        for (&expected, &found) in shape.iter().zip(grad_output.shape()).skip(2) {
            check_axis(NAME, "grad_output features", expected, found)?;
        }
        let grad_rows = pack(NAME, grad_output, &counts)?;
        let mut grad_input: Array<T, D> = zeros(NAME, "gradient of the input", trace.input.clone())?;
        let forward = Forward {
            reducer: trace.reducer,
            windows: &trace.windows,
            steps: trace.steps.view(),
            values: trace.values.as_ref().map(|(clips, output)| (clips, output.view())),
        };
        let features = features_of(&trace.input);
        let clips = grad_input.as_slice_mut().unwrap_or_default().chunks_exact_mut(shape[1] * features);
        let targets = clips.filter_map(|clip| ArrayViewMut2::from_shape((shape[1], features), clip).ok()).collect();
        reduce_backward(&forward, grad_rows.view(), targets);
        Ok(grad_input)
    }

    /// Checks reducer and window.
    ///
    /// # Errors
    /// As [`Reducer::validate`] and [`TemporalWindow::validate`].
    pub fn validate(&self) -> Result<(), TensorError> {
        self.reducer.validate()?;
        self.window.map_or(Ok(()), |window| window.validate())
    }

    /// The windows of `input`, after all checks.
    fn windows<T, D: Dimension>(
        &self,
        input: &ArrayView<'_, T, D>,
        lengths: Option<&[usize]>,
    ) -> Result<Windows, PoolingError> {
        self.validate()?;
        let lengths = check_sequences(NAME, input.shape(), lengths)?;
        Ok(Windows::new(self.window, &lengths))
    }
}

impl Reducer {
    /// Whether the gradient needs input and output.
    pub(crate) fn keeps_values(self) -> bool {
        matches!(self, Self::SoftmaxWeighted { .. })
    }
}

/// Checks `[batch, time, …]` and returns the lengths of all clips.
pub(crate) fn check_sequences(
    operation: &'static str,
    shape: &[usize],
    lengths: Option<&[usize]>,
) -> Result<Vec<usize>, TensorError> {
    let [batch, time, features @ ..] = shape else {
        let (requirement, found) = ("an array of batch, time and any further axes", format!("{shape:?}"));
        return Err(TensorError::InvalidOption { operation, option: "input", requirement, found });
    };
    check_not_empty(operation, "input batch", *batch)?;
    check_not_empty(operation, "input time", *time)?;
    for &size in features {
        check_not_empty(operation, "input features", size)?;
    }
    if u32::try_from(*time).is_err() {
        let (requirement, found) = ("of at most 2³² − 1 frames", time.to_string());
        return Err(TensorError::InvalidOption { operation, option: "input", requirement, found });
    }
    check_lengths(operation, lengths, *batch, *time)?;
    Ok(lengths.map_or_else(|| vec![*time; *batch], <[usize]>::to_vec))
}

/// From rows, clip by clip, to `[batch, most rows of a clip, …]`, with zeros where a clip has fewer rows. `shape` gives
/// the other axes.
pub(crate) fn unpack<T: Element, D: Dimension>(
    operation: &'static str,
    rows: Array2<T>,
    counts: &[usize],
    mut shape: D,
) -> Result<Array<T, D>, PoolingError> {
    let most = counts.iter().copied().max().unwrap_or(0);
    shape.slice_mut()[1] = most;
    let features = rows.ncols();
    let rows = if counts.iter().all(|&count| count == most) {
        rows
    } else {
        let mut padded = zeros(operation, "output", [counts.len() * most, features])?;
        let mut first = 0;
        for (clip, &count) in counts.iter().enumerate() {
            padded
                .slice_mut(s![clip * most..clip * most + count, ..])
                .assign(&rows.slice(s![first..first + count, ..]));
            first += count;
        }
        padded
    };
    let length = rows.len();
    rows.into_shape_with_order(shape.clone())
        .map_err(|_| TensorError::AxisSize { operation, axis: "output", expected: shape.size(), found: length }.into())
}

/// From `[batch, time, …]` to the valid rows `[rows, features]`, clip by clip: a view where no frame is padding and the
/// layout allows it.
pub(crate) fn pack<'a, T: Element>(
    operation: &'static str,
    padded: ArrayViewD<'a, T>,
    counts: &[usize],
) -> Result<CowArray<'a, T, Ix2>, PoolingError> {
    let time = padded.shape()[1];
    let features = padded.len() / (counts.len() * time).max(1);
    let rows: usize = counts.iter().sum();
    if rows == counts.len() * time
        && let Some(slice) = padded.to_slice()
        && let Ok(view) = ndarray::ArrayView2::from_shape((rows, features), slice)
    {
        return Ok(CowArray::from(view));
    }
    let mut packed: Array2<T> = zeros(operation, "valid frames", [rows, features])?;
    let clips = Clips::of_batch(&padded);
    let mut rest = packed.as_slice_mut().unwrap_or_default();
    for (clip, &count) in clips.clips.iter().zip(counts) {
        let (target, following) = rest.split_at_mut(count * features);
        target.copy_from_slice(&clip[..count * features]);
        rest = following;
    }
    Ok(CowArray::from(packed))
}
