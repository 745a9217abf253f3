//! Convolution of channels by themselves: one kernel per channel.

#![expect(unsafe_code, reason = "tiles are addressed by pointer")]

use std::marker::PhantomData;

use ndarray::{ArrayView3, ArrayViewMut3};

use super::fill::{copy, fill};
use super::layout::{Layout, Slot};
use super::scratch::with_scratch;
use super::{MAX_LANES, Taps, lanes};
use crate::simd::{Kernel, Simd};
use crate::{Element, Isa, TensorError, check_axis};

const NAME: &str = "Depthwise";

/// The most vectors of a tile: with one weight at a time they hide the latency of the multiply-adds.
const MAX_VECTORS: usize = 8;

/// The size of the rows that a band of output rows meets: a part of L1.
const BAND_BYTES: usize = 24 << 10;

/// A correlation of every channel with a kernel of its own, for images of one size.
///
/// `out[c, i, j] = bias[c] + Σ_{r, c'} weights[c, r, c'] · source[c, i·s_y + r, j·s_x + c']`, each a chain of fused
/// multiply-adds in the order of the taps. An output row is a tile of vectors; where it is longer than one, the last vector
/// starts early enough to end with the row.
///
/// ```
/// use ndarray::{Array3, array};
/// use tensor_ops::{Depthwise, Isa, Padding, Taps, Window};
///
/// let window = Window { padding: Padding::symmetric(0, 1), ..Window::new([1, 3]) };
/// let plan = Depthwise::<f32>::new(Isa::selected(), Taps::of_window("example", &window, [1, 4])?);
/// let source = array![[[1.0, 2.0, 3.0, 4.0]], [[1.0, 1.0, 1.0, 1.0]]];
/// let mut output = Array3::zeros((2, 1, 4));
/// plan.convolve(&[1.0, 0.0, -1.0, 1.0, 1.0, 1.0], Some(&[0.0, 5.0]), None, source.view(), output.view_mut())?;
/// assert_eq!(output, array![[[-2.0, -2.0, -2.0, 3.0]], [[7.0, 8.0, 8.0, 7.0]]]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Depthwise<T> {
    isa: Isa,
    taps: Taps,
    band_rows: usize,
    layout: Layout,
    inside: Inside,
    element: PhantomData<T>,
}

/// Where the pixels of the source lie in the buffer of all output rows; the rest of it is padding.
#[derive(Clone, Debug)]
struct Inside {
    /// Rows of the buffer and of the source.
    rows: Vec<[usize; 2]>,
    /// The columns of each phase.
    spans: Vec<Span>,
}

/// Columns that a phase takes from the source.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Where they begin in a row of the buffer.
    target: usize,
    /// The column of the source that they begin with.
    source: usize,
    len: usize,
}

impl Inside {
    fn new(taps: &Taps, layout: &Layout) -> Self {
        let least = |offsets: &[isize]| offsets.iter().min().copied().unwrap_or(0);
        let (row_least, column_least) = (least(&taps.rows), least(&taps.columns));
        let [stride_y, stride_x] = taps.stride;
        let buffer_rows = (0..taps.source_rows(taps.output[0])).filter(|row| layout.row_used[row % stride_y]);
        let rows = buffer_rows.filter_map(|row| {
            let y = usize::try_from(row as isize + row_least).ok()?;
            (y < taps.source[0]).then_some([row, y])
        });
        let spans = layout.phases.iter().enumerate().filter_map(|(index, &phase)| {
            let start = phase as isize + column_least;
            let positions_before = |column: usize| ((column as isize - start).max(0) as usize).div_ceil(stride_x);
            let left = positions_before(0).min(layout.used_width);
            let end = positions_before(taps.source[1]).clamp(left, layout.used_width);
            let source = usize::try_from((left * stride_x) as isize + start).ok()?;
            (left < end).then_some(Span { target: index * layout.width + left, source, len: end - left })
        });
        Self { rows: rows.collect(), spans: spans.collect() }
    }
}

impl<T: Element> Depthwise<T> {
    /// The correlation for images and kernels as `taps` describe.
    pub fn new(isa: Isa, taps: Taps) -> Self {
        let taps = taps.with_least_stride();
        let isa = if Isa::available().contains(&isa) { isa } else { Isa::Portable };
        let lanes = lanes::<T>(isa);
        let buffer_rows = BAND_BYTES / (Layout::row_pitch(&taps, lanes) * size_of::<T>()).max(1);
        let fitting = buffer_rows.saturating_sub(taps.source_rows(1)) / taps.stride[0] + 1;
        let bands = taps.output[0].div_ceil(fitting).max(1);
        let band_rows = taps.output[0].div_ceil(bands);
        let mut layout = Layout::new(&taps, 1, band_rows, lanes, size_of::<T>());
        if taps.output[1] >= lanes {
            for slot in &mut layout.slots {
                let early = lanes - slot.count;
                slot.column -= early;
                slot.source -= early as isize;
                slot.count = lanes;
            }
        }
        let inside = Inside::new(&taps, &layout);
        Self { isa, taps, band_rows, layout, inside, element: PhantomData }
    }

    /// Correlates the channels of `source`.
    ///
    /// - `weights`: `[channels, taps]`, the taps in row-major order of row and column offsets
    /// - `bias`: `[channels]`; 0 where absent
    /// - `clamp`: lower and upper bound of the output, which NaN passes
    /// - `source`: `[channels, height, width]`, any strides
    /// - `output`: `[channels, output height, output width]`, any strides; its values are not read
    ///
    /// # Errors
    /// [`TensorError`] if a shape differs from the plan or `source`.
    pub fn convolve(
        &self,
        weights: &[T],
        bias: Option<&[T]>,
        clamp: Option<[T; 2]>,
        source: ArrayView3<'_, T>,
        mut output: ArrayViewMut3<'_, T>,
    ) -> Result<(), TensorError> {
        let (channels, height, width) = source.dim();
        check_axis(NAME, "source height", self.taps.source[0], height)?;
        check_axis(NAME, "source width", self.taps.source[1], width)?;
        let (output_channels, rows, columns) = output.dim();
        check_axis(NAME, "output channels", channels, output_channels)?;
        check_axis(NAME, "output height", self.taps.output[0], rows)?;
        check_axis(NAME, "output width", self.taps.output[1], columns)?;
        check_axis(NAME, "weights", channels.saturating_mul(self.taps.count()), weights.len())?;
        check_axis(NAME, "bias", channels, bias.map_or(channels, <[T]>::len))?;
        with_scratch(self.layout.buffer_len, |buffer| {
            let planes = Planes {
                plan: self,
                weights,
                bias,
                clamp,
                channels,
                source: source.as_ptr(),
                source_strides: [source.strides()[0], source.strides()[1], source.strides()[2]],
                output_strides: [output.strides()[0], output.strides()[1], output.strides()[2]],
                output: output.as_mut_ptr(),
                buffer,
            };
            T::run_depthwise(self.isa, planes);
        });
        Ok(())
    }
}

impl<T: Element> Depthwise<T> {
    /// Replaces the pixels of another channel in the buffer of all output rows.
    ///
    /// # Safety
    /// As [`fill`].
    #[inline(always)]
    unsafe fn fill_inside<S: Simd<T>>(
        &self,
        simd: S,
        source: *const T,
        [_, row_stride, column_stride]: [isize; 3],
        buffer: *mut T,
    ) {
        let step = column_stride * self.taps.stride[1] as isize;
        for &[row, y] in &self.inside.rows {
            for span in &self.inside.spans {
                // SAFETY: rows and spans lie in the source and in the buffer.
                unsafe {
                    let first = source.offset(y as isize * row_stride + span.source as isize * column_stride);
                    copy(simd, first, step, buffer.add(row * self.layout.row_pitch + span.target), span.len);
                }
            }
        }
    }
}

/// The channels of an image, with checked shapes.
pub(crate) struct Planes<'a, T> {
    plan: &'a Depthwise<T>,
    weights: &'a [T],
    bias: Option<&'a [T]>,
    clamp: Option<[T; 2]>,
    channels: usize,
    source: *const T,
    source_strides: [isize; 3],
    output: *mut T,
    output_strides: [isize; 3],
    buffer: &'a mut [T],
}

/// A register tile: some vectors of a channel.
struct Tile<'a, T> {
    weights: &'a [T],
    offsets: &'a [isize],
    pixels: *const T,
    bias: T,
    clamp: Option<[T; 2]>,
    output: *mut T,
    row_stride: isize,
    column_stride: isize,
}

impl<T: Element> Kernel<T> for Planes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { plan, source_strides, output_strides, .. } = self;
        let Depthwise { taps, layout, .. } = plan;
        let buffer = self.buffer.as_mut_ptr();
        let slots_per_row = taps.output[1].div_ceil(S::LANES);
        for channel in 0..self.channels {
            let output = self.output.wrapping_offset(channel as isize * output_strides[0]);
            for first_row in (0..taps.output[0]).step_by(plan.band_rows.max(1)) {
                let rows = plan.band_rows.min(taps.output[0] - first_row);
                // SAFETY: the source has the height and width of the taps in each channel, and the buffer the layout's
                // length. Where one band has all rows, the padding around them is that of the channel before.
                unsafe {
                    let source = self.source.offset(channel as isize * source_strides[0]);
                    if channel == 0 || rows < taps.output[0] {
                        fill(simd, taps, layout, source, source_strides, 1, first_row, rows, buffer);
                    } else {
                        plan.fill_inside(simd, source, source_strides, buffer);
                    }
                }
                let tile = Tile {
                    weights: &self.weights[channel * taps.count()..][..taps.count()],
                    offsets: &layout.offsets,
                    pixels: buffer.cast_const(),
                    bias: self.bias.map_or(T::zero(), |bias| bias[channel]),
                    clamp: self.clamp,
                    output: output.wrapping_offset(first_row as isize * output_strides[1]),
                    row_stride: output_strides[1],
                    column_stride: output_strides[2],
                };
                for slots in layout.slots[..slots_per_row * rows].chunks(MAX_VECTORS) {
                    // SAFETY: every slot plus every offset lies in the buffer, a vector long, and every slot in the output.
                    unsafe {
                        match slots.len() {
                            8 => tile.run::<S, 8>(simd, slots),
                            7 => tile.run::<S, 7>(simd, slots),
                            6 => tile.run::<S, 6>(simd, slots),
                            5 => tile.run::<S, 5>(simd, slots),
                            4 => tile.run::<S, 4>(simd, slots),
                            3 => tile.run::<S, 3>(simd, slots),
                            2 => tile.run::<S, 2>(simd, slots),
                            _ => tile.run::<S, 1>(simd, slots),
                        }
                    }
                }
            }
        }
    }
}

impl<T: Element> Tile<'_, T> {
    /// # Safety
    /// There must be `N` slots, a vector must be readable at every slot plus every offset, and the valid lanes of all slots
    /// must be writable in the output.
    #[inline(always)]
    unsafe fn run<S: Simd<T>, const N: usize>(&self, simd: S, slots: &[Slot]) {
        debug_assert!(slots.len() == N && self.weights.len() == self.offsets.len(), "as many vectors as slots");
        let mut sums = [simd.splat(self.bias); N];
        let mut pixels = [self.pixels; N];
        // SAFETY: as the caller grants.
        unsafe {
            for v in 0..N {
                pixels[v] = self.pixels.offset(slots.get_unchecked(v).source);
            }
            for (&weight, &offset) in self.weights.iter().zip(self.offsets) {
                let weight = simd.splat(weight);
                for v in 0..N {
                    sums[v] = simd.mul_add(weight, simd.load_ptr(pixels[v].offset(offset)), sums[v]);
                }
            }
            if let Some([low, high]) = self.clamp {
                for v in 0..N {
                    // The sum stands second, where NaN passes.
                    sums[v] = simd.min(simd.splat(high), simd.max(simd.splat(low), sums[v]));
                }
            }
            for v in 0..N {
                let slot = slots.get_unchecked(v);
                let distance = slot.row as isize * self.row_stride + slot.column as isize * self.column_stride;
                let place = self.output.offset(distance);
                if slot.count == S::LANES && self.column_stride == 1 {
                    simd.store_ptr(place, sums[v]);
                } else {
                    let mut lanes = [T::zero(); MAX_LANES];
                    simd.store_ptr(lanes.as_mut_ptr(), sums[v]);
                    for (lane, &value) in lanes.iter().enumerate().take(slot.count) {
                        place.offset(lane as isize * self.column_stride).write(value);
                    }
                }
            }
        }
    }
}
