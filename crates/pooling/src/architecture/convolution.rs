//! The convolution over windows of frames.
//!
//! With the window w of frames w·s … w·s + F − 1 of a clip,
//!
//! `y[w, m, i, j] = max(0, b[m] + Σ_{c, t, k, l} W[m, c, t, k, l] · x[w·s + t, c, i + k − top, j + l − left])`
//!
//! with zeros around the maps, and behind the end of a clip shorter than a window.

use conv2d::Conv2dConfig;
use ndarray::{Array1, Array2, Array4, Array5, ArrayView2, ArrayViewD, ArrayViewMut2, ArrayViewMutD, s};
use rayon::prelude::*;
use tensor_ops::{Element, Parameters, check_axis};

use super::config::NAME;
use super::images::Images;
use super::unrolled::{SparseWindow, Unrolling};
use crate::error::zeros;
use crate::temporal::{Clips, Windows};
use crate::{PoolingError, Reducer};

/// The kernels of the convolution over time, and their gradient.
///
/// The arrays have the axes of PyTorch's `Conv3d`.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeConvolution<T> {
    /// W: `[kernels, channels, frames, kernel height, kernel width]`.
    pub weight: Array5<T>,
    /// b: `[kernels]`.
    pub bias: Array1<T>,
}

impl<T: Element> TimeConvolution<T> {
    /// Checks that the public arrays have the shape of the configuration.
    pub(super) fn check(&self, shape: [usize; 5]) -> Result<(), PoolingError> {
        let axes = [
            "convolution weight kernels",
            "convolution weight channels",
            "convolution weight frames",
            "convolution weight height",
            "convolution weight width",
        ];
        for ((axis, expected), &found) in axes.into_iter().zip(shape).zip(self.weight.shape()) {
            check_axis(NAME, axis, expected, found)?;
        }
        Ok(check_axis(NAME, "convolution bias", shape[0], self.bias.len())?)
    }

    /// The weight with a window's frames as channels: `[kernels, frames · channels, kernel height, kernel width]`.
    pub(super) fn folded_weight(&self) -> Array4<T> {
        let (kernels, channels, frames, height, width) = self.weight.dim();
        let weight = self.weight.view().permuted_axes([0, 2, 1, 3, 4]);
        let weight = weight.as_standard_layout().into_owned();
        weight.into_shape_with_order((kernels, frames * channels, height, width)).expect("axes side by side")
    }
}

impl<T: Element> Parameters<T> for TimeConvolution<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visitor("weight", self.weight.view().into_dyn());
        visitor("bias", self.bias.view().into_dyn());
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visitor("weight", self.weight.view_mut().into_dyn());
        visitor("bias", self.bias.view_mut().into_dyn());
    }
}

/// The windows of a batch, and the convolution over them.
pub(super) struct TimeWindows<'a, T: Element> {
    /// The convolution of a window, whose frames are channels.
    pub(super) config: &'a Conv2dConfig,
    /// Height and width of the maps.
    pub(super) size: [usize; 2],
    pub(super) clips: &'a Clips<'a, T>,
    pub(super) windows: &'a Windows,
    /// What the outputs of the windows go to.
    pub(super) reducer: Reducer,
}

/// The windows of a clip whose gradient is mostly zeros; `None` for other clips.
type SparseClip<T> = Option<Vec<SparseWindow<T>>>;

/// Windows for each value of a reducer's gradient from which the gradient counts as mostly zeros.
const SPARSE_WINDOWS: usize = 4;

/// Values of the gradient of the weights that a task sums up: a part of the second-level cache.
const WEIGHT_BLOCK: usize = 1 << 16;

impl<T: Element> TimeWindows<'_, T> {
    fn images(&self) -> Images<'_, T> {
        Images { config: self.config, size: self.size, clips: self.clips, windows: self.windows }
    }

    fn unrolling(&self) -> Option<Unrolling> {
        Unrolling::new(self.config, self.channels(), self.size)
    }

    /// Channels of a frame.
    fn channels(&self) -> usize {
        self.clips.features / (self.size[0] * self.size[1])
    }

    /// The rectified outputs of the windows: `[windows, kernels · height · width]`.
    pub(super) fn forward(&self, convolution: &TimeConvolution<T>) -> Result<Array2<T>, PoolingError> {
        let (kernels, rows) = (self.config.out_channels, self.windows.frames.len());
        let features = kernels * self.size[0] * self.size[1];
        let mut output: Array2<T> = zeros(NAME, "output of the convolution", [rows, features])?;
        let weight = convolution.folded_weight();
        let bias = convolution.bias.as_standard_layout();
        let bias = bias.as_slice().unwrap_or_default();
        self.images().forward(weight.view(), bias, &mut output)?;
        Ok(output)
    }

    /// The gradient of the convolution for that of the outputs before rectification, `[windows, kernels · height · width]`;
    /// adds those of the frames to `targets`, one matrix `[at least the frames, features]` per clip.
    pub(super) fn backward(
        &self,
        convolution: &TimeConvolution<T>,
        gradient: &Array2<T>,
        targets: Option<Vec<ArrayViewMut2<'_, T>>>,
    ) -> Result<TimeConvolution<T>, PoolingError> {
        let unrolling = self.unrolling();
        let sparse = self.sparse_clips(gradient, unrolling.is_some());
        if let Some(targets) = targets {
            self.backward_input(convolution, gradient, unrolling.as_ref(), &sparse, targets)?;
        }
        let (kernels, channels, frames, height, width) = convolution.weight.dim();
        let is_sparse = |clip: usize| sparse[clip].is_some();
        let dense = (0..sparse.len()).filter(|&clip| !is_sparse(clip));
        let weight = self.images().backward_weight(gradient, dense)?;
        let weight = weight.into_shape_with_order((kernels, frames, channels, height, width));
        let weight = weight.expect("frames are channels side by side").permuted_axes([0, 2, 1, 3, 4]);
        let mut weight = weight.as_standard_layout().into_owned();
        if let Some(unrolling) = unrolling.filter(|_| sparse.iter().any(Option::is_some)) {
            self.add_sparse_weight(&unrolling, &sparse, &mut weight);
        }
        let positions = self.size[0] * self.size[1];
        let bias: Vec<T> = (0..kernels)
            .into_par_iter()
            .map(|kernel| {
                gradient
                    .slice(s![.., kernel * positions..(kernel + 1) * positions])
                    .rows()
                    .into_iter()
                    .map(|row| row.sum())
                    .sum()
            })
            .collect();
        Ok(TimeConvolution { weight, bias: Array1::from_vec(bias) })
    }

    /// The clips whose gradient the reducer leaves mostly zeros, which depends on the number of their windows alone.
    fn sparse_clips(&self, gradient: &Array2<T>, unrolled: bool) -> Vec<SparseClip<T>> {
        let values = match self.reducer {
            Reducer::Max => 1,
            Reducer::TopKMean(count) => count,
            _ => usize::MAX,
        };
        let clip = |rows: &std::ops::Range<usize>| {
            let is_sparse = unrolled && rows.len() >= values.saturating_mul(SPARSE_WINDOWS);
            is_sparse.then(|| {
                let window = |row| {
                    let gradient = gradient.row(row);
                    let gradient =
                        gradient.into_shape_with_order((self.config.out_channels, self.size[0] * self.size[1]));
                    SparseWindow::new(self.windows.frames[row].clone(), gradient.expect("a row of the output"))
                };
                rows.clone().into_par_iter().map(window).collect()
            })
        };
        self.windows.clips.iter().map(clip).collect()
    }

    fn backward_input(
        &self,
        convolution: &TimeConvolution<T>,
        gradient: &Array2<T>,
        unrolling: Option<&Unrolling>,
        sparse: &[SparseClip<T>],
        targets: Vec<ArrayViewMut2<'_, T>>,
    ) -> Result<(), PoolingError> {
        let weight = convolution.folded_weight();
        let (mut dense, mut frames) = (Vec::new(), Vec::new());
        for (clip, (target, sparse)) in targets.into_iter().zip(sparse).enumerate() {
            match (sparse, unrolling) {
                (Some(windows), Some(unrolling)) => {
                    let met = |frame: &usize| windows.iter().any(|window| window.frames.contains(frame));
                    let targets = target.into_slice().unwrap_or_default().chunks_exact_mut(self.clips.features);
                    let targets = targets.enumerate().filter(|(frame, _)| met(frame));
                    frames.extend(targets.map(|(frame, target)| (unrolling, windows, frame, target)));
                }
                _ => dense.push((clip, target)),
            }
        }
        frames.into_par_iter().for_each(|(unrolling, windows, frame, target)| {
            unrolling.backward_frame(frame, windows, matrix_of(&weight), target);
        });
        if dense.is_empty() { Ok(()) } else { self.images().backward_input(weight.view(), gradient, dense) }
    }

    /// Adds the part of the sparse clips to the gradient of the weight, frame by frame and block by block of channels.
    fn add_sparse_weight(&self, unrolling: &Unrolling, sparse: &[SparseClip<T>], weight: &mut Array5<T>) {
        let (kernels, channels, frames, height, width) = weight.dim();
        let blocks = channels.div_ceil((WEIGHT_BLOCK / (kernels * height * width)).clamp(1, channels));
        let block = channels.div_ceil(blocks);
        let blocks = channels.div_ceil(block);
        let sums: Vec<Vec<T>> = (0..frames * blocks)
            .into_par_iter()
            .map(|task| {
                let first = task % blocks * block;
                let channels = first..channels.min(first + block);
                let mut sums = vec![T::zero(); kernels * channels.len() * height * width];
                for (clip, windows) in self.clips.clips.iter().zip(sparse) {
                    let Some(windows) = windows else { continue };
                    unrolling.backward_weight(clip, windows, task / blocks, channels.clone(), &mut sums);
                }
                sums
            })
            .collect();
        for (task, sums) in sums.iter().enumerate() {
            let (frame, first) = (task / blocks, task % blocks * block);
            let end = channels.min(first + block);
            let mut target = weight.slice_mut(s![.., first..end, frame, .., ..]);
            target.iter_mut().zip(sums).for_each(|(target, &sum)| *target += sum);
        }
    }
}

/// The weight of every kernel as a row.
fn matrix_of<T: Element>(weight: &Array4<T>) -> ArrayView2<'_, T> {
    let kernels = weight.dim().0;
    weight.view().into_shape_with_order((kernels, weight.len() / kernels)).expect("a weight in standard layout")
}
