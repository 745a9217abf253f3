//! Convolution over maps narrower than a vector, by the column matrix of an image.
//!
//! The register kernels give every output row vectors of its own, which a narrow map leaves mostly empty. Here the
//! positions of an image follow one another in a column matrix X, and the kernels take its product as a 1×1 convolution:
//! `y = W X`, `∂L/∂X = Wᵀ g` and `∂L/∂W = g Xᵀ`.

use ndarray::{Array1, Array4, ArrayView3, ArrayView4, ArrayViewMut3, ArrayViewMut4};
use tensor_ops::{Correlation, CorrelationWeights, Element, Isa, Start, Taps, with_scratch};

use crate::Conv2dError;
use crate::sizes::{Sizes, for_each_task, zeros};

/// Fewer output channels do not pay for the column matrix.
const MIN_ROWS: usize = 8;

/// Elements of the column matrix of an image: a part of L2.
const MAX_ELEMENTS: usize = 1 << 17;

/// Positions that a product of the gradient of the weight sums over at a time.
const SUMMED_POSITIONS: usize = 64;

/// The parts of the batch that are summed by themselves, at most.
const MAX_CHUNKS: usize = 8;

/// Calls a function with its last argument, a width, as a constant where it is small: runs then stay in registers.
macro_rules! for_width {
    ($width:expr, $function:ident($($argument:expr),*)) => {
        match $width {
            2 => $function($($argument),*, 2),
            3 => $function($($argument),*, 3),
            4 => $function($($argument),*, 4),
            5 => $function($($argument),*, 5),
            6 => $function($($argument),*, 6),
            7 => $function($($argument),*, 7),
            8 => $function($($argument),*, 8),
            width => $function($($argument),*, width),
        }
    };
}

/// Whether the output is so narrow that unrolling it pays.
pub(crate) fn is_narrow<T: Element>(isa: Isa, sizes: &Sizes) -> bool {
    let vector_bytes = if isa == Isa::Avx512 { 64 } else { 32 };
    let lanes = vector_bytes / size_of::<T>();
    let positions = sizes.positions();
    let columns = sizes.in_channels.saturating_mul(sizes.taps()).saturating_mul(positions);
    let padded = Unrolling::padded_size(sizes).and_then(|[height, width]| height.checked_mul(width));
    let planes = padded.map_or(usize::MAX, |plane| plane.saturating_mul(sizes.in_channels));
    isa != Isa::Portable
        && sizes.output[1] < lanes
        && positions >= lanes
        && sizes.taps() > 1
        && sizes.group_out >= MIN_ROWS
        && columns.max(planes) <= MAX_ELEMENTS
}

/// How an image becomes a column matrix `[in_channels · taps, positions]`: by way of a copy with its padding, in which
/// columns of equal remainder modulo the stride are neighbours, so that every output row is a run of it.
struct Unrolling<'a> {
    sizes: &'a Sizes,
    /// Height and width of the copy.
    padded: [usize; 2],
    /// Where the columns of the image are in a row of the copy.
    columns: Vec<usize>,
    /// Where the runs of every kernel position and output row start in a channel of the copy.
    runs: Vec<usize>,
}

impl<'a> Unrolling<'a> {
    fn padded_size(sizes: &Sizes) -> Option<[usize; 2]> {
        let padding = &sizes.window.padding;
        let height = sizes.input[0].checked_add(padding.top)?.checked_add(padding.bottom)?;
        let width = sizes.input[1].checked_add(padding.left)?.checked_add(padding.right)?;
        let stride = sizes.window.stride[1];
        Some([height, width.div_ceil(stride).checked_mul(stride)?])
    }

    /// For sizes that [`is_narrow`] accepts.
    fn new(sizes: &'a Sizes) -> Self {
        let padded = Self::padded_size(sizes).unwrap_or_default();
        let window = &sizes.window;
        let [stride_y, stride_x] = window.stride;
        let place = |column: usize| column % stride_x * (padded[1] / stride_x) + column / stride_x;
        let mut runs = Vec::with_capacity(sizes.taps() * sizes.output[0]);
        for tap in 0..sizes.taps() {
            let (k_y, k_x) = (tap / window.kernel[1], tap % window.kernel[1]);
            let row = |i: usize| i * stride_y + k_y * window.dilation[0];
            runs.extend((0..sizes.output[0]).map(|i| row(i) * padded[1] + place(k_x * window.dilation[1])));
        }
        let columns = (0..sizes.input[1]).map(|x| place(x + window.padding.left)).collect();
        Self { sizes, padded, columns, runs }
    }

    fn plane(&self) -> usize {
        self.padded[0] * self.padded[1]
    }

    fn rows(&self) -> usize {
        self.sizes.in_channels * self.sizes.taps()
    }

    /// Writes the columns of `image` `[in_channels, height, width]` in standard layout; the rows of `columns` are `pitch`
    /// apart. `planes` is scratch for the copy.
    fn unroll<T: Element>(&self, image: &[T], planes: &mut [T], columns: &mut [T], pitch: usize) {
        let Sizes { input: [height, width], output, ref window, .. } = *self.sizes;
        planes.fill(T::zero());
        for (plane, pixels) in planes.chunks_exact_mut(self.plane()).zip(image.chunks_exact(height * width)) {
            let inside = plane[window.padding.top * self.padded[1]..].chunks_mut(self.padded[1]);
            for (target, source) in inside.zip(pixels.chunks_exact(width)) {
                for (&column, &pixel) in self.columns.iter().zip(source) {
                    target[column] = pixel;
                }
            }
        }
        let kernels = columns.chunks_mut(self.sizes.taps() * pitch);
        for (kernel, plane) in kernels.zip(planes.chunks_exact(self.plane())) {
            for (row, runs) in kernel.chunks_mut(pitch).zip(self.runs.chunks_exact(output[0])) {
                for_width!(output[1], copy_runs(plane, runs, row));
            }
        }
    }

    /// The adjoint: writes to `image` what `columns`, `positions` apart, sum up to.
    fn fold<T: Element>(&self, columns: &[T], planes: &mut [T], mut image: ArrayViewMut3<'_, T>) {
        let Sizes { output, ref window, .. } = *self.sizes;
        planes.fill(T::zero());
        let kernels = columns.chunks_exact(self.sizes.taps() * self.sizes.positions());
        for (kernel, plane) in kernels.zip(planes.chunks_exact_mut(self.plane())) {
            for_width!(output[1], add_runs(plane, &self.runs, kernel));
        }
        for (plane, mut target) in planes.chunks_exact(self.plane()).zip(image.outer_iter_mut()) {
            let inside = plane[window.padding.top * self.padded[1]..].chunks(self.padded[1]);
            for (mut target, source) in target.outer_iter_mut().zip(inside) {
                for (pixel, &column) in target.iter_mut().zip(&self.columns) {
                    *pixel = source[column];
                }
            }
        }
    }
}

/// Copies the runs that start at `runs` to `row`, one after another.
#[inline(always)]
fn copy_runs<T: Element>(plane: &[T], runs: &[usize], row: &mut [T], width: usize) {
    for (target, &start) in row.chunks_exact_mut(width).zip(runs) {
        target.copy_from_slice(&plane[start..start + width]);
    }
}

/// Adds the runs of `rows` to where `runs` start.
#[inline(always)]
fn add_runs<T: Element>(plane: &mut [T], runs: &[usize], rows: &[T], width: usize) {
    for (source, &start) in rows.chunks_exact(width).zip(runs) {
        for (sum, &value) in plane[start..start + width].iter_mut().zip(source) {
            *sum += value;
        }
    }
}

/// The taps of a 1×1 convolution over `positions` pixels in a row.
fn row_of(positions: usize) -> Taps {
    Taps { source: [1, positions], output: [1, positions], stride: [1, 1], rows: vec![0], columns: vec![0] }
}

/// A product with `depth` rows of `positions` neighbouring columns, and the right packed weights of all groups: of
/// `rows` rows, the weight of row r and depth d at `r · row_stride + d · depth_stride`.
fn product<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    [depth, rows]: [usize; 2],
    weight: &[T],
    [row_stride, depth_stride]: [usize; 2],
) -> Result<(Correlation<T>, Vec<CorrelationWeights<T>>), Conv2dError> {
    let positions = sizes.positions();
    let strides = [positions as isize, positions as isize, 1];
    let plan = Correlation::new(isa, row_of(positions), depth, rows, sizes.batch).with_source_strides(&strides);
    let group = sizes.group_out * sizes.group_in * sizes.taps();
    let pack = |weight| CorrelationWeights::pack(&plan, rows, weight, row_stride, depth_stride, &[0]);
    let packed = weight.chunks_exact(group).map(pack).collect::<Result<_, _>>()?;
    Ok((plan, packed))
}

fn rows_of<T>(matrix: &[T], positions: usize) -> ArrayView3<'_, T> {
    ArrayView3::from_shape((matrix.len() / positions, 1, positions), matrix).expect("whole rows")
}

fn rows_of_mut<T>(matrix: &mut [T], positions: usize) -> ArrayViewMut3<'_, T> {
    ArrayViewMut3::from_shape((matrix.len() / positions, 1, positions), matrix).expect("whole rows")
}

/// The forward pass, for sizes that [`is_narrow`] accepts; `weight` in standard layout.
pub(crate) fn convolve<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    bias: Option<&[T]>,
    bounds: Option<[T; 2]>,
    input: ArrayView4<'_, T>,
    mut output: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    if !output.is_standard_layout() {
        let mut standard = zeros("output", sizes.output_shape())?;
        convolve(isa, sizes, weight, bias, bounds, input, standard.view_mut())?;
        output.assign(&standard);
        return Ok(());
    }
    let unrolling = Unrolling::new(sizes);
    let depth = sizes.group_in * sizes.taps();
    let (plan, packed) = product(isa, sizes, [depth, sizes.group_out], weight, [depth, 1])?;
    let input = input.as_standard_layout();
    let positions = sizes.positions();
    let tasks: Vec<_> = input.outer_iter().zip(output.outer_iter_mut()).collect();
    for_each_task(sizes.is_parallel(), tasks, |(image, mut output)| {
        let planes_len = sizes.in_channels * unrolling.plane();
        with_scratch(planes_len + unrolling.rows() * positions, |scratch| {
            let (planes, columns) = scratch.split_at_mut(planes_len);
            unrolling.unroll(image.as_slice().unwrap_or_default(), planes, columns, positions);
            let groups = columns.chunks_exact(depth * positions).enumerate();
            let targets = output.as_slice_mut().unwrap_or_default().chunks_exact_mut(sizes.group_out * positions);
            for ((group, columns), target) in groups.zip(targets) {
                let rows = group * sizes.group_out..(group + 1) * sizes.group_out;
                let start = bias.map_or(Start::Zero, |bias| Start::Bias(&bias[rows]));
                let target = rows_of_mut(target, positions);
                plan.multiply(&packed[group], rows_of(columns, positions), 0, start, bounds, target)?;
            }
            Ok(())
        })
    })
}

/// The gradient of the input, for sizes that [`is_narrow`] accepts; `weight` in standard layout.
pub(crate) fn backward_input<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    weight: &[T],
    grad_output: ArrayView4<'_, T>,
    mut grad_input: ArrayViewMut4<'_, T>,
) -> Result<(), Conv2dError> {
    let unrolling = Unrolling::new(sizes);
    let depth = sizes.group_in * sizes.taps();
    let (plan, packed) = product(isa, sizes, [sizes.group_out, depth], weight, [1, depth])?;
    let grad_output = grad_output.as_standard_layout();
    let positions = sizes.positions();
    let tasks: Vec<_> = grad_output.outer_iter().zip(grad_input.outer_iter_mut()).collect();
    for_each_task(sizes.is_parallel(), tasks, |(gradient, grad_image)| {
        let planes_len = sizes.in_channels * unrolling.plane();
        with_scratch(planes_len + unrolling.rows() * positions, |scratch| {
            let (planes, columns) = scratch.split_at_mut(planes_len);
            let gradients = gradient.as_slice().unwrap_or_default().chunks_exact(sizes.group_out * positions);
            let targets = columns.chunks_exact_mut(depth * positions);
            for ((weights, gradient), target) in packed.iter().zip(gradients).zip(targets) {
                let target = rows_of_mut(target, positions);
                plan.multiply(weights, rows_of(gradient, positions), 0, Start::Zero, None, target)?;
            }
            unrolling.fold(columns, planes, grad_image);
            Ok(())
        })
    })
}

/// The gradient of the weight, for sizes that [`is_narrow`] accepts; added to `grad_weight` in standard layout.
pub(crate) fn backward_weight<T: Element>(
    isa: Isa,
    sizes: &Sizes,
    input: ArrayView4<'_, T>,
    grad_output: ArrayView4<'_, T>,
    grad_weight: &mut Array4<T>,
) -> Result<(), Conv2dError> {
    let unrolling = Unrolling::new(sizes);
    let (input, grad_output) = (input.as_standard_layout(), grad_output.as_standard_layout());
    let images = input.as_slice().unwrap_or_default().chunks_exact(input.len() / sizes.batch).collect::<Vec<_>>();
    let gradients = grad_output.as_slice().unwrap_or_default();
    let gradients = gradients.chunks_exact(grad_output.len() / sizes.batch).collect::<Vec<_>>();

    let positions = sizes.positions();
    let depth = sizes.group_in * sizes.taps();
    let joined = SUMMED_POSITIONS.div_ceil(positions);
    let pitch = joined * positions;
    let plan = Correlation::transposed(isa, row_of(pitch), depth, sizes.group_out);
    let part_len = plan.sums_len(sizes.group_out);
    let chunk_images = sizes.batch.div_ceil(MAX_CHUNKS).next_multiple_of(joined);
    let chunks = sizes.batch.div_ceil(chunk_images);
    let mut sums: Array1<T> = zeros("sums of the gradient of the weight", [chunks * sizes.groups * part_len])?;
    let sums = sums.as_slice_mut().unwrap_or_default();

    let tasks: Vec<_> = sums.chunks_exact_mut(sizes.groups * part_len).enumerate().collect();
    for_each_task(sizes.is_parallel(), tasks, |(chunk, sums)| {
        let planes_len = sizes.in_channels * unrolling.plane();
        let columns_len = unrolling.rows() * pitch;
        with_scratch(planes_len + columns_len + sizes.out_channels * pitch, |scratch| {
            let (planes, matrices) = scratch.split_at_mut(planes_len);
            let (columns, rows) = matrices.split_at_mut(columns_len);
            let end = sizes.batch.min((chunk + 1) * chunk_images);
            for first in (chunk * chunk_images..end).step_by(joined) {
                if end - first < joined {
                    // Images that are not there add nothing.
                    columns.fill(T::zero());
                    rows.fill(T::zero());
                }
                for (slot, image) in (first..end.min(first + joined)).enumerate() {
                    unrolling.unroll(images[image], planes, &mut columns[slot * positions..], pitch);
                    let targets = rows[slot * positions..].chunks_mut(pitch);
                    for (target, source) in targets.zip(gradients[image].chunks_exact(positions)) {
                        target[..positions].copy_from_slice(source);
                    }
                }
                let groups = columns.chunks_exact(depth * pitch).zip(rows.chunks_exact(sizes.group_out * pitch));
                for ((columns, rows), sums) in groups.zip(sums.chunks_exact_mut(part_len)) {
                    plan.multiply_transposed(rows_of(columns, pitch), rows_of(rows, pitch), sums)?;
                }
            }
            Ok(())
        })
    })?;

    for chunk in sums.chunks_exact(sizes.groups * part_len) {
        for (channel, mut kernel) in grad_weight.outer_iter_mut().enumerate() {
            let (group, row) = (channel / sizes.group_out, channel % sizes.group_out);
            let sums = &chunk[group * part_len..][..part_len];
            plan.add_sums(sums, sizes.group_out, row, kernel.as_slice_mut().unwrap_or_default())?;
        }
    }
    Ok(())
}
