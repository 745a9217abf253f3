//! The gradients of the convolution over windows of small maps.
//!
//! A frame becomes a matrix U with a row for every position, which holds the pixels that the kernels meet there, channel by
//! channel. With the weights Wₜ of a window's frame t, the outputs of a window are Y = Σₜ Uₜ Wₜᵀ.
//!
//! The maximum over windows leaves the gradient G of Y mostly zeros, one value in so many windows for each kernel and
//! position. Then `∂L/∂Wₜ` = Σ Gᵀ Uₜ and `∂L/∂Uₜ` = Σ G Wₜ are sums over the values of G that are not zero.

use std::ops::Range;

use conv2d::Conv2dConfig;
use ndarray::ArrayView2;
use tensor_ops::{Element, with_scratch};

/// Positions of the largest maps that are unrolled.
const MAX_POSITIONS: usize = 256;

/// Columns of the widest maps that are unrolled.
const MAX_WIDTH: usize = 15;

/// How the maps of a frame become a matrix `[height · width, channels · kernel height · kernel width]`.
#[derive(Clone, Debug)]
pub(super) struct Unrolling {
    channels: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    /// Height and width of maps with their padding.
    padded: [usize; 2],
    /// Rows above and columns on the left that are padding.
    before: [usize; 2],
}

/// A value of the gradient of a window's outputs that is not zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<T> {
    position: u32,
    kernel: u32,
    value: T,
}

/// A window and its part in the gradient.
#[derive(Clone, Debug)]
pub(super) struct SparseWindow<T> {
    pub(super) frames: Range<usize>,
    /// By position, then by kernel.
    pub(super) entries: Vec<Entry<T>>,
}

impl<T: Element> SparseWindow<T> {
    /// Of the gradient `[kernels, positions]` of a window's outputs.
    pub(super) fn new(frames: Range<usize>, gradient: ArrayView2<'_, T>) -> Self {
        let mut entries = Vec::new();
        for (position, column) in gradient.columns().into_iter().enumerate() {
            for (kernel, &value) in column.iter().enumerate().filter(|&(_, &value)| value != T::zero()) {
                entries.push(Entry { position: position as u32, kernel: kernel as u32, value });
            }
        }
        Self { frames, entries }
    }
}

impl Unrolling {
    /// Of frames of `channels` maps of `size` height and width, for maps that are small.
    pub(super) fn new(config: &Conv2dConfig, channels: usize, size: [usize; 2]) -> Option<Self> {
        let [height, width] = size;
        if width > MAX_WIDTH || height.checked_mul(width)? > MAX_POSITIONS {
            return None;
        }
        let padding = config.padding;
        let padded = [height + padding.top + padding.bottom, width + padding.left + padding.right];
        Some(Self { channels, size, kernel: config.kernel, padded, before: [padding.top, padding.left] })
    }

    pub(super) fn positions(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Columns of the matrix of a frame.
    pub(super) fn depth(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    /// Values of maps with padding.
    fn padded_len(&self, channels: usize) -> usize {
        channels * self.padded[0] * self.padded[1]
    }

    /// Writes the matrix of some channels of `frame`, `[channels, height, width]`; `planes` is scratch for the padded maps.
    fn unroll<T: Element>(&self, frame: &[T], planes: &mut [T], matrix: &mut [T]) {
        let [height, width] = self.size;
        let plane = self.padded[0] * self.padded[1];
        planes.fill(T::zero());
        for (target, source) in planes.chunks_exact_mut(plane).zip(frame.chunks_exact(height * width)) {
            let rows = target.chunks_exact_mut(self.padded[1]).skip(self.before[0]);
            for (target, source) in rows.zip(source.chunks_exact(width)) {
                target[self.before[1]..][..width].copy_from_slice(source);
            }
        }
        let depth = matrix.len() / (height * width);
        for (position, row) in matrix.chunks_exact_mut(depth).enumerate() {
            let first = position / width * self.padded[1] + position % width;
            let kernels = row.chunks_exact_mut(self.kernel[0] * self.kernel[1]);
            for (target, plane) in kernels.zip(planes.chunks_exact(plane)) {
                for (k, target) in target.chunks_exact_mut(self.kernel[1]).enumerate() {
                    let source = &plane[first + k * self.padded[1]..][..self.kernel[1]];
                    target.iter_mut().zip(source).for_each(|(target, &source)| *target = source);
                }
            }
        }
    }

    /// The adjoint: adds to `frame` what the rows of `matrix` hold of its pixels.
    fn fold<T: Element>(&self, matrix: &[T], planes: &mut [T], frame: &mut [T]) {
        let [height, width] = self.size;
        let plane = self.padded[0] * self.padded[1];
        planes.fill(T::zero());
        for (position, row) in matrix.chunks_exact(self.depth()).enumerate() {
            let first = position / width * self.padded[1] + position % width;
            let kernels = row.chunks_exact(self.kernel[0] * self.kernel[1]);
            for (source, plane) in kernels.zip(planes.chunks_exact_mut(plane)) {
                for (k, source) in source.chunks_exact(self.kernel[1]).enumerate() {
                    let target = &mut plane[first + k * self.padded[1]..][..self.kernel[1]];
                    target.iter_mut().zip(source).for_each(|(target, &source)| *target += source);
                }
            }
        }
        for (source, target) in planes.chunks_exact(plane).zip(frame.chunks_exact_mut(height * width)) {
            let rows = source.chunks_exact(self.padded[1]).skip(self.before[0]);
            for (source, target) in rows.zip(target.chunks_exact_mut(width)) {
                target.iter_mut().zip(&source[self.before[1]..]).for_each(|(target, &source)| *target += source);
            }
        }
    }

    /// Adds the gradients of one frame of a clip to `target`, `[channels · height · width]`.
    ///
    /// `weight`: `[kernels, frames · depth]`.
    pub(super) fn backward_frame<T: Element>(
        &self,
        frame: usize,
        windows: &[SparseWindow<T>],
        weight: ArrayView2<'_, T>,
        target: &mut [T],
    ) {
        let (matrix_len, planes_len) = (self.positions() * self.depth(), self.padded_len(self.channels));
        let Some(weights) = weight.to_slice() else { return };
        with_scratch(matrix_len + planes_len, |scratch| {
            let (matrix, planes) = scratch.split_at_mut(matrix_len);
            matrix.fill(T::zero());
            for window in windows.iter().filter(|window| window.frames.contains(&frame)) {
                let first = (frame - window.frames.start) * self.depth();
                for entry in &window.entries {
                    let weights = &weights[entry.kernel as usize * weight.ncols() + first..][..self.depth()];
                    let row = &mut matrix[entry.position as usize * self.depth()..][..self.depth()];
                    add_scaled(row, weights, entry.value);
                }
            }
            self.fold(matrix, planes, target);
        });
    }

    /// Adds the gradients of the weights of frame `offset` of a window and of some channels to `target`,
    /// `[kernels, channels · kernel height · kernel width]`.
    pub(super) fn backward_weight<T: Element>(
        &self,
        clip: &[T],
        windows: &[SparseWindow<T>],
        offset: usize,
        channels: Range<usize>,
        target: &mut [T],
    ) {
        let positions = self.positions();
        let depth = channels.len() * self.kernel[0] * self.kernel[1];
        let (matrix_len, planes_len) = (positions * depth, self.padded_len(channels.len()));
        with_scratch(matrix_len + planes_len, |scratch| {
            let (matrix, planes) = scratch.split_at_mut(matrix_len);
            for window in windows.iter().filter(|window| offset < window.frames.len()) {
                let frame = (window.frames.start + offset) * self.channels * positions;
                let maps = frame + channels.start * positions..frame + channels.end * positions;
                self.unroll(&clip[maps], planes, matrix);
                for entry in &window.entries {
                    let row = &matrix[entry.position as usize * depth..][..depth];
                    add_scaled(&mut target[entry.kernel as usize * depth..][..depth], row, entry.value);
                }
            }
        });
    }
}

/// Adds `factor` times `values` to `sums`.
fn add_scaled<T: Element>(sums: &mut [T], values: &[T], factor: T) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}
