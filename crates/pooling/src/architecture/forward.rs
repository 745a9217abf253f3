//! The forward pass: from the maps of frames to the scores of classes.
//!
//! Rows are frames, windows or clips, one behind the other and clip by clip; padding has no rows.

use ndarray::{Array2, Array3, ArrayView2, ArrayView5, CowArray, Ix2};
use ndarray_rand::rand::Rng;
use tensor_ops::{Dropout, Element, check_axis};

use super::config::NAME;
use super::connected::{self, ConnectedTrace};
use super::convolution::TimeWindows;
use super::{Architecture, FeaturePooling, FeaturePoolingConfig, pooled_linear};
use crate::PoolingError;
use crate::temporal::{Clips, Windows, check_sequences, pack, reduce};

/// What [`FeaturePooling::backward`] needs of a forward pass.
///
/// It borrows the input where the gradient needs it: for late pooling, time-domain convolution and
/// [`Reducer::SoftmaxWeighted`](crate::Reducer::SoftmaxWeighted).
#[derive(Clone, Debug)]
pub struct FeaturePoolingTrace<'a, T: Element> {
    pub(super) config: FeaturePoolingConfig,
    /// Batch, time, channels, height and width of the input.
    pub(super) input: [usize; 5],
    pub(super) first: First<'a, T>,
    pub(super) shared: ConnectedTrace<'a, T>,
    /// The pooling behind the shared layers.
    pub(super) second: Option<Pooled>,
    pub(super) hidden: ConnectedTrace<'a, T>,
}

/// A pooling: its windows, and the frames of the largest values.
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    pub(super) windows: Windows,
    pub(super) steps: Array3<u32>,
}

/// How the input became the rows that the shared layers read.
#[derive(Clone, Debug)]
pub(super) enum First<'a, T: Element> {
    /// Frames as they are, so many of each clip.
    Frames(Vec<usize>),
    /// Pooled; with the input if the reducer's gradient needs it.
    Pooled(Pooled, Option<Clips<'a, T>>),
    /// Convolved over windows.
    Convolved(Windows, Clips<'a, T>),
}

impl<T: Element> FeaturePoolingTrace<'_, T> {
    /// The trace with a copy of the input where it borrows it.
    pub fn into_owned(self) -> FeaturePoolingTrace<'static, T> {
        let Self { config, input, first, shared, second, hidden } = self;
        let first = match first {
            First::Frames(counts) => First::Frames(counts),
            First::Pooled(pooled, clips) => First::Pooled(pooled, clips.map(Clips::into_owned)),
            First::Convolved(windows, clips) => First::Convolved(windows, clips.into_owned()),
        };
        FeaturePoolingTrace { config, input, first, shared: shared.into_owned(), second, hidden: hidden.into_owned() }
    }
}

/// Rows, the number of them for each clip, and how they came about.
type Rows<'a, T> = (CowArray<'a, T, Ix2>, Vec<usize>, First<'a, T>);

impl<T: Element> FeaturePooling<T> {
    /// The scores `[batch, classes]`, before softmax, of `input` `[batch, time, channels, height, width]`, of any strides;
    /// frames beyond the lengths do not count.
    ///
    /// # Errors
    /// [`PoolingError`] for an empty axis, sizes that do not fit, wrong lengths, parameters that do not fit the
    /// configuration, results without memory, and in local pooling clips of another number of windows.
    pub fn forward(&self, input: ArrayView5<'_, T>, lengths: Option<&[usize]>) -> Result<Array2<T>, PoolingError> {
        let lengths = self.check_input(&input, lengths)?;
        let (rows, counts) = self.shared_rows(input, &lengths)?;
        let (clips, _) = self.second_rows(rows.view(), &counts, false)?;
        let clips = match clips {
            Some(clips) => CowArray::from(clips),
            None => by_clip(rows, counts.len())?,
        };
        let clips = connected::forward(&self.hidden, clips)?;
        connected::linear(&self.classifier, clips.view())
    }

    /// As [`Self::forward`], with dropout drawn from `rng` and what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training<'a>(
        &self,
        input: ArrayView5<'a, T>,
        lengths: Option<&[usize]>,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<(Array2<T>, FeaturePoolingTrace<'a, T>), PoolingError> {
        let lengths = self.check_input(&input, lengths)?;
        let dropout = Dropout::new(self.config().dropout)?;
        let input_shape = [0, 1, 2, 3, 4].map(|axis| input.shape()[axis]);
        let (rows, counts, first) = self.first_rows(input, &lengths, true)?;
        let shared = connected::forward_training(&self.shared, dropout, rows, rng)?;
        let (clips, second) = self.second_rows(shared.output(), &counts, true)?;
        let clips = match clips {
            Some(clips) => clips,
            None => by_clip(CowArray::from(shared.output()), counts.len())?.into_owned(),
        };
        let hidden = connected::forward_training(&self.hidden, dropout, CowArray::from(clips), rng)?;
        let scores = connected::linear(&self.classifier, hidden.output())?;
        Ok((
            scores,
            FeaturePoolingTrace { config: self.config().clone(), input: input_shape, first, shared, second, hidden },
        ))
    }

    /// The lengths of all clips, after all checks.
    fn check_input(&self, input: &ArrayView5<'_, T>, lengths: Option<&[usize]>) -> Result<Vec<usize>, PoolingError> {
        self.check()?;
        let axes = ["input channels", "input height", "input width"];
        for ((axis, expected), &found) in axes.into_iter().zip(self.config().input).zip(&input.shape()[2..]) {
            check_axis(NAME, axis, expected, found)?;
        }
        let lengths = check_sequences(NAME, input.shape(), lengths)?;
        if let Architecture::Local { window, windows: expected } = self.config().architecture {
            for (item, &frames) in lengths.iter().enumerate() {
                let found = window.count(frames);
                if found != expected {
                    return Err(PoolingError::Windows { item, frames, expected, found });
                }
            }
        }
        Ok(lengths)
    }

    /// The rows behind the shared layers.
    fn shared_rows<'a>(
        &self,
        input: ArrayView5<'a, T>,
        lengths: &[usize],
    ) -> Result<(CowArray<'a, T, Ix2>, Vec<usize>), PoolingError> {
        let config = self.config();
        let pooled = matches!(config.architecture, Architecture::Slow { .. } | Architecture::Local { .. });
        let (Some((first, rest)), true) = (self.shared.split_first(), pooled) else {
            let (rows, counts, _) = self.first_rows(input, lengths, false)?;
            return Ok((connected::forward(&self.shared, rows)?, counts));
        };
        let windows = Windows::new(config.window(), lengths);
        let mut rows = pooled_linear::forward(first, config.reducer, &Clips::of_batch(&input), &windows)?;
        connected::rectify(&mut rows);
        Ok((connected::forward(rest, CowArray::from(rows))?, windows.counts()))
    }

    /// The rows that the shared layers read.
    fn first_rows<'a>(
        &self,
        input: ArrayView5<'a, T>,
        lengths: &[usize],
        keep: bool,
    ) -> Result<Rows<'a, T>, PoolingError> {
        let config = self.config();
        if config.architecture == Architecture::Late {
            let rows = pack(NAME, input.into_dyn(), lengths)?;
            return Ok((rows, lengths.to_vec(), First::Frames(lengths.to_vec())));
        }
        let clips = Clips::of_batch(&input);
        let windows = Windows::new(config.window(), lengths);
        let counts = windows.counts();
        if let (Some(convolution), Some(conv2d)) = (&self.convolution, config.convolution()?) {
            let size = [config.input[1], config.input[2]];
            let reducer = config.reducer;
            let of_time = TimeWindows { config: &conv2d, size, clips: &clips, windows: &windows, reducer };
            let rows = of_time.forward(convolution)?;
            return Ok((CowArray::from(rows), counts, First::Convolved(windows, clips)));
        }
        let (rows, steps) = reduce(NAME, config.reducer, &clips, &windows, keep)?;
        let clips = config.reducer.keeps_values().then_some(clips);
        Ok((CowArray::from(rows), counts, First::Pooled(Pooled { windows, steps }, clips)))
    }

    /// One row for each clip by the pooling behind the shared layers; `None` if the architecture has none.
    fn second_rows(
        &self,
        rows: ArrayView2<'_, T>,
        counts: &[usize],
        keep: bool,
    ) -> Result<(Option<Array2<T>>, Option<Pooled>), PoolingError> {
        if matches!(self.config().architecture, Architecture::Conv | Architecture::Local { .. }) {
            return Ok((None, None));
        }
        let windows = Windows::new(None, counts);
        let (clips, steps) = reduce(NAME, self.config().reducer, &Clips::of_rows(rows, counts), &windows, keep)?;
        Ok((Some(clips), Some(Pooled { windows, steps })))
    }
}

/// The rows of each clip side by side; every clip has as many.
fn by_clip<T: Element>(rows: CowArray<'_, T, Ix2>, clips: usize) -> Result<CowArray<'_, T, Ix2>, PoolingError> {
    let features = rows.len() / clips.max(1);
    let found = rows.len();
    rows.into_shape_with_order((clips, features)).map_err(|_| {
        tensor_ops::TensorError::AxisSize { operation: NAME, axis: "windows", expected: clips * features, found }.into()
    })
}
