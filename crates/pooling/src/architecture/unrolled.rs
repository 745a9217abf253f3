//! The convolution over windows of small maps.
//!
//! The rows of small maps leave the vectors of the two-dimensional convolution partly empty. Here a frame becomes a matrix
//! U with a row for every position, which holds the pixels that the kernels meet there, channel by channel. With the weights
//! Wₜ of a window's frame t, the outputs of a window are Y = Σₜ Uₜ Wₜᵀ: a frame is unrolled once for all its windows.
//!
//! The maximum over windows leaves the gradient G of Y mostly zeros, one value in so many windows for each kernel and
//! position. Then `∂L/∂Wₜ` = Σ Gᵀ Uₜ and `∂L/∂Uₜ` = Σ G Wₜ are sums over the values of G that are not zero.

use std::ops::Range;

use conv2d::Conv2dConfig;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Element, Isa, PackedMatrix, ProductStart, Run, vecmath, with_scratch};

use crate::PoolingError;

/// Positions of the largest maps that are unrolled.
const MAX_POSITIONS: usize = 256;

/// Columns of the widest maps that are unrolled.
const MAX_WIDTH: usize = 15;

/// Windows of a task of the forward pass: with their part of the matrix of all frames they stay in the second-level cache.
const WINDOWS: usize = 4;

/// Columns of a frame's matrix that are multiplied at a time, at most.
const DEPTH: usize = 320;

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

/// The packed weights of a window, frame by frame.
pub(super) struct FrameWeights<T> {
    /// For every frame those of all parts.
    frames: Vec<Vec<PackedMatrix<T>>>,
    /// Columns of a frame's matrix.
    parts: Vec<Range<usize>>,
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

    /// The weights of every frame of a window in parts of some columns of the frame's matrix, packed for
    /// [`Self::forward`]; `weight`: `[kernels, frames · depth]`.
    pub(super) fn pack<T: Element>(&self, weight: ArrayView2<'_, T>) -> Result<FrameWeights<T>, PoolingError> {
        let columns = [Run::whole(weight.nrows())];
        let parts: Vec<Range<usize>> = {
            let length = self.depth().div_ceil(self.depth().div_ceil(DEPTH));
            (0..self.depth()).step_by(length).map(|start| start..self.depth().min(start + length)).collect()
        };
        let pack = |frame: usize, part: &Range<usize>| {
            let rows = Run { start: frame * self.depth() + part.start, length: part.len(), padded: part.len() };
            PackedMatrix::from_runs(Isa::selected(), weight.t(), &[rows], &columns)
        };
        let frames = 0..weight.ncols() / self.depth();
        let frames = frames.map(|frame| parts.iter().map(|part| pack(frame, part)).collect::<Result<_, _>>());
        Ok(FrameWeights { frames: frames.collect::<Result<_, _>>()?, parts })
    }

    /// The rectified outputs of the windows of one clip, `[windows, kernels · positions]`; the windows start `stride` frames
    /// apart.
    pub(super) fn forward<T: Element>(
        &self,
        clip: &[T],
        windows: &[Range<usize>],
        stride: usize,
        weights: &FrameWeights<T>,
        bias: &[T],
        mut output: ArrayViewMut2<'_, T>,
    ) -> Result<(), PoolingError> {
        let tasks = windows.chunks(WINDOWS).zip(output.axis_chunks_iter_mut(Axis(0), WINDOWS));
        let tasks: Vec<_> = tasks.collect();
        tasks
            .into_par_iter()
            .try_for_each(|(windows, output)| self.forward_windows(clip, windows, stride, weights, bias, output))
    }

    /// Frame t of some windows in a row is frame t of the first, a stride further for every window. Frames whose numbers
    /// are equal modulo the stride are unrolled one behind the other, so that these are neighbours.
    fn forward_windows<T: Element>(
        &self,
        clip: &[T],
        windows: &[Range<usize>],
        stride: usize,
        weights: &FrameWeights<T>,
        bias: &[T],
        mut output: ArrayViewMut2<'_, T>,
    ) -> Result<(), PoolingError> {
        let (positions, depth, kernels) = (self.positions(), self.depth(), bias.len());
        let (features, frame_len) = (self.channels * positions, positions * depth);
        let (start, frames) = (windows[0].start, windows[0].len());
        // Frames with the same remainder that the windows have, at most; frames of no window are left out.
        let (remainders, in_row) = (stride.min(frames), windows.len() - 1 + frames.div_ceil(stride));
        let slot = |frame: usize| frame % stride * in_row + frame / stride;
        let (matrix_len, planes_len) = (remainders * in_row * frame_len, self.padded_len(self.channels));
        let sums_len = windows.len() * positions * kernels;
        with_scratch(matrix_len + planes_len + sums_len, |scratch| -> Result<(), PoolingError> {
            let (matrix, rest) = scratch.split_at_mut(matrix_len);
            let (planes, sums) = rest.split_at_mut(planes_len);
            for frame in 0..windows[windows.len() - 1].end - start {
                if windows.iter().any(|window| window.contains(&(start + frame))) {
                    let target = &mut matrix[slot(frame) * frame_len..][..frame_len];
                    self.unroll(&clip[(start + frame) * features..][..features], planes, target);
                }
            }
            let rows = windows.len() * positions;
            for frame in 0..frames {
                let matrix = matrix_of(&matrix[slot(frame) * frame_len..][..rows * depth], rows, depth);
                for (part, (columns, weights)) in weights.parts.iter().zip(&weights.frames[frame]).enumerate() {
                    let is_first = frame == 0 && part == 0;
                    let start = if is_first { ProductStart::Row(bias) } else { ProductStart::Output };
                    let sums = ArrayViewMut2::from_shape((rows, kernels), &mut *sums).expect("sums of the windows");
                    weights.multiply(matrix.slice(s![.., columns.clone()]), start, sums)?;
                }
            }
            for (sums, row) in sums.chunks_exact(positions * kernels).zip(output.outer_iter_mut()) {
                let Some(row) = row.into_slice() else { continue };
                for (kernel, target) in row.chunks_exact_mut(positions).enumerate() {
                    let values = sums[kernel..].iter().step_by(kernels);
                    target.iter_mut().zip(values).for_each(|(target, &value)| *target = value);
                }
                vecmath::relu(row);
            }
            Ok(())
        })
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

fn matrix_of<T>(values: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), values).expect("a matrix of its length")
}
