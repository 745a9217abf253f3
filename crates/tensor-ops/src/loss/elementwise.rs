//! Losses that are a sum over elements: one pass, in blocks of fixed size.

use ndarray::{Array, ArrayView, Dimension};
use rayon::prelude::*;

use super::{Loss, Reduction, check_pair};
use crate::simd::{Kernel, Simd};
use crate::vecmath::{load_part, store_part, sum_of_lanes};
use crate::{Element, TensorError};

/// Elements that are added in the precision of `T`, and the work of one task.
const BLOCK: usize = 1 << 13;
/// Blocks from which they are shared out to threads.
const PARALLEL_BLOCKS: usize = 8;

/// The loss of one element and its derivative with respect to the input, on vectors.
pub(super) trait ElementLoss<T: Element>: Copy + Send + Sync {
    fn value<S: Simd<T>>(self, simd: S, input: S::Vector, target: S::Vector) -> S::Vector;
    fn slope<S: Simd<T>>(self, simd: S, input: S::Vector, target: S::Vector) -> S::Vector;
}

/// The reduced loss.
pub(super) fn value<T: Element, D: Dimension>(
    operation: &'static str,
    loss: impl ElementLoss<T>,
    input: &ArrayView<'_, T, D>,
    target: &ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<T, TensorError> {
    check_pair(operation, input, target)?;
    let (input, target) = (input.as_standard_layout(), target.as_standard_layout());
    let sum = sum(loss, input.as_slice().unwrap_or_default(), target.as_slice().unwrap_or_default());
    Ok(T::from_f64(sum * scale(input.shape(), reduction)))
}

/// The reduced loss and its gradient.
pub(super) fn value_and_gradient<T: Element, D: Dimension>(
    operation: &'static str,
    loss: impl ElementLoss<T>,
    input: &ArrayView<'_, T, D>,
    target: &ArrayView<'_, T, D>,
    reduction: Reduction,
) -> Result<Loss<T, D>, TensorError> {
    check_pair(operation, input, target)?;
    let scale = scale(input.shape(), reduction);
    let (input, target) = (input.as_standard_layout(), target.as_standard_layout());
    let mut gradient = Array::zeros(input.raw_dim());
    let sum = sum_with_slopes(
        loss,
        input.as_slice().unwrap_or_default(),
        target.as_slice().unwrap_or_default(),
        gradient.as_slice_mut().unwrap_or_default(),
        T::from_f64(scale),
    );
    Ok(Loss { value: T::from_f64(sum * scale), gradient })
}

fn scale(shape: &[usize], reduction: Reduction) -> f64 {
    match reduction {
        Reduction::Sum => 1.0,
        Reduction::Mean => 1.0 / shape.iter().product::<usize>() as f64,
        Reduction::BatchMean => 1.0 / shape.first().copied().unwrap_or(1) as f64,
    }
}

fn sum<T: Element>(loss: impl ElementLoss<T>, input: &[T], target: &[T]) -> f64 {
    let block = |(input, target): (&[T], &[T])| T::dispatch(SumBlock { loss, input, target }).to_f64();
    if input.len() < PARALLEL_BLOCKS * BLOCK {
        return input.chunks(BLOCK).zip(target.chunks(BLOCK)).map(block).sum();
    }
    let sums: Vec<f64> = input.par_chunks(BLOCK).zip(target.par_chunks(BLOCK)).map(block).collect();
    sums.into_iter().sum()
}

fn sum_with_slopes<T: Element>(
    loss: impl ElementLoss<T>,
    input: &[T],
    target: &[T],
    gradient: &mut [T],
    scale: T,
) -> f64 {
    let block = |((input, target), gradient): ((&[T], &[T]), &mut [T])| {
        T::dispatch(SlopeBlock { loss, input, target, gradient, scale }).to_f64()
    };
    if input.len() < PARALLEL_BLOCKS * BLOCK {
        return input.chunks(BLOCK).zip(target.chunks(BLOCK)).zip(gradient.chunks_mut(BLOCK)).map(block).sum();
    }
    let blocks = input.par_chunks(BLOCK).zip(target.par_chunks(BLOCK)).zip(gradient.par_chunks_mut(BLOCK));
    let sums: Vec<f64> = blocks.map(block).collect();
    sums.into_iter().sum()
}

/// The sum of the losses of one block.
struct SumBlock<'a, T, L> {
    loss: L,
    input: &'a [T],
    target: &'a [T],
}

impl<T: Element, L: ElementLoss<T>> Kernel<T> for SumBlock<'_, T, L> {
    type Output = T;

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) -> T {
        let mut sum = simd.splat(T::zero());
        let (mut inputs, mut targets) = (self.input.chunks_exact(S::LANES), self.target.chunks_exact(S::LANES));
        for (input, target) in (&mut inputs).zip(&mut targets) {
            sum = simd.add(sum, self.loss.value(simd, simd.load(input), simd.load(target)));
        }
        let rest = rest_of_losses(simd, self.loss, inputs.remainder(), targets.remainder());
        sum_of_lanes(simd, simd.add(sum, rest))
    }
}

/// The same sum of one block, whose gradient is written.
struct SlopeBlock<'a, T, L> {
    loss: L,
    input: &'a [T],
    target: &'a [T],
    gradient: &'a mut [T],
    scale: T,
}

impl<T: Element, L: ElementLoss<T>> Kernel<T> for SlopeBlock<'_, T, L> {
    type Output = T;

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) -> T {
        let Self { loss, input, target, gradient, scale } = self;
        let scale = simd.splat(scale);
        let mut sum = simd.splat(T::zero());
        let (mut inputs, mut targets) = (input.chunks_exact(S::LANES), target.chunks_exact(S::LANES));
        let mut gradients = gradient.chunks_exact_mut(S::LANES);
        for ((input, target), gradient) in (&mut inputs).zip(&mut targets).zip(&mut gradients) {
            let (input, target) = (simd.load(input), simd.load(target));
            sum = simd.add(sum, loss.value(simd, input, target));
            simd.store(gradient, simd.mul(loss.slope(simd, input, target), scale));
        }
        let (input, target) = (inputs.remainder(), targets.remainder());
        let slope = loss.slope(simd, load_part(simd, input, T::zero()), load_part(simd, target, T::zero()));
        store_part(simd, gradients.into_remainder(), simd.mul(slope, scale));
        sum_of_lanes(simd, simd.add(sum, rest_of_losses(simd, loss, input, target)))
    }
}

/// The losses of elements that do not fill a vector, and 0 in the other lanes.
#[inline(always)]
fn rest_of_losses<T: Element, S: Simd<T>>(simd: S, loss: impl ElementLoss<T>, input: &[T], target: &[T]) -> S::Vector {
    let mut losses = [T::zero(); 16];
    let value = loss.value(simd, load_part(simd, input, T::zero()), load_part(simd, target, T::zero()));
    store_part(simd, &mut losses[..input.len()], value);
    simd.load(&losses)
}
