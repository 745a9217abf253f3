//! The frames of a batch, clip by clip, as rows of features.

use std::borrow::Cow;

use ndarray::{ArrayView, ArrayView2, Axis, Dimension, RemoveAxis};
use tensor_ops::Element;

/// Clips, each a matrix `[frames, features]` of contiguous rows: the caller's memory where that is in order, else a copy.
#[derive(Clone, Debug)]
pub(crate) struct Clips<'a, T: Element> {
    pub(crate) clips: Vec<Cow<'a, [T]>>,
    pub(crate) features: usize,
}

impl<'a, T: Element> Clips<'a, T> {
    /// The clips of `input` `[batch, time, …]`, at least two axes, all with entries.
    pub(crate) fn of_batch<D: RemoveAxis>(input: &ArrayView<'a, T, D>) -> Self {
        let time = input.shape()[1];
        let features = input.len() / (input.shape()[0] * time).max(1);
        let clip = |index| {
            let clip = input.clone().index_axis_move(Axis(0), index);
            clip.to_slice().map_or_else(|| Cow::Owned(clip.iter().copied().collect()), Cow::Borrowed)
        };
        Self { clips: (0..input.shape()[0]).map(clip).collect(), features }
    }

    /// The clips of `rows` in standard layout, of which each has as many as `counts` says.
    pub(crate) fn of_rows(rows: ArrayView2<'a, T>, counts: &[usize]) -> Self {
        let features = rows.ncols();
        let mut rest = rows.to_slice().unwrap_or_default();
        let mut clips = Vec::with_capacity(counts.len());
        for &count in counts {
            let (clip, following) = rest.split_at(count * features);
            clips.push(Cow::Borrowed(clip));
            rest = following;
        }
        Self { clips, features }
    }

    /// The clips without the lifetime of what they borrow.
    pub(crate) fn into_owned(self) -> Clips<'static, T> {
        let clips = self.clips.into_iter().map(|clip| Cow::Owned(clip.into_owned())).collect();
        Clips { clips, features: self.features }
    }
}

/// The features of a frame of `[batch, time, …]`.
pub(crate) fn features_of<D: Dimension>(shape: &D) -> usize {
    shape.slice().iter().skip(2).product()
}
