//! Work on the planes of images: one map of one channel each.

use ndarray::{Array4, ArrayView4};
use rayon::prelude::*;
use tensor_ops::Element;

/// Output positions times kernel positions that a task has at least.
const LEAST_WORK: usize = 1 << 14;

/// Calls `work` with every plane of `input` and of `output`; `work_per_plane` decides how many a task takes.
pub(crate) fn for_each_plane<T: Element, U: Send>(
    input: ArrayView4<'_, T>,
    output: &mut [U],
    work_per_plane: usize,
    work: impl Fn(&[T], &mut [U]) + Sync,
) {
    for_each_plane_at(input, output, work_per_plane, |_, input, output| work(input, output));
}

/// [`for_each_plane`] with the position of the plane among all of the batch.
pub(crate) fn for_each_plane_at<T: Element, U: Send>(
    input: ArrayView4<'_, T>,
    output: &mut [U],
    work_per_plane: usize,
    work: impl Fn(usize, &[T], &mut [U]) + Sync,
) {
    let (batch, channels, height, width) = input.dim();
    let input = input.as_standard_layout();
    let input = input.as_slice().unwrap_or_default();
    let plane = output.len() / (batch * channels).max(1);
    if plane == 0 {
        return;
    }
    let pairs = input.par_chunks_exact(height * width).zip(output.par_chunks_exact_mut(plane));
    let pairs = pairs.enumerate().with_min_len(LEAST_WORK.div_ceil(work_per_plane.max(1)));
    pairs.for_each(|(index, (input, output))| work(index, input, output));
}

/// The shape of images as an array.
pub(crate) fn shape_of<T>(images: &ArrayView4<'_, T>) -> [usize; 4] {
    let (batch, channels, height, width) = images.dim();
    [batch, channels, height, width]
}

/// The elements of an array in standard layout.
pub(crate) fn slice_of<T>(images: &mut Array4<T>) -> &mut [T] {
    images.as_slice_mut().unwrap_or_default()
}
