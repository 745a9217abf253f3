//! The register tiles of [`Correlation::multiply`].

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use ndarray::{ArrayView3, ArrayViewMut3};

use super::fill::fill;
use super::layout::{Direct, Slot};
use super::scratch::with_scratch;
use super::weights::Panel;
use super::{Correlation, CorrelationWeights, MAX_LANES, Start, tile_vectors};
use crate::Element;
use crate::element_job::{ElementJob, on_element_type};
use crate::simd::{Dispatch, Kernel, Simd};

/// The size of the weights that all positions of a band are multiplied with before the next ones: a part of L2.
const WEIGHTS_BYTES: usize = 256 << 10;

/// The rows of the tallest panel.
const MAX_PANEL_ROWS: usize = 8;

/// Correlates a band; the caller has checked all shapes.
pub(super) fn run<T: Element>(
    plan: &Correlation<T>,
    weights: &CorrelationWeights<T>,
    source: ArrayView3<'_, T>,
    first_row: usize,
    start: Start<'_, T>,
    clamp: Option<[T; 2]>,
    mut output: ArrayViewMut3<'_, T>,
) {
    let source_strides = [source.strides()[0], source.strides()[1], source.strides()[2]];
    let output_strides = [output.strides()[0], output.strides()[1], output.strides()[2]];
    let direct = plan.direct.as_ref().filter(|direct| direct.strides == source_strides);
    let rows = output.dim().1;
    let buffer_len = if direct.is_some() { 0 } else { plan.layout.buffer_len };
    let sums_len = if plan.channels > plan.block_channels { weights.rows() * sums_pitch(plan, rows) } else { 0 };
    with_scratch(buffer_len, |buffer| {
        with_scratch(sums_len, |sums| {
            on_element_type(Product {
                plan,
                weights,
                direct,
                source: source.as_ptr(),
                source_strides,
                first_row,
                rows,
                start,
                clamp,
                output: output.as_mut_ptr(),
                output_strides,
                buffer,
                sums,
            });
        });
    });
}

/// The distance of the channels of a band's sums: not one at which they compete for the same lines of a cache.
fn sums_pitch<T>(plan: &Correlation<T>, rows: usize) -> usize {
    rows * plan.taps.output[1] + MAX_LANES
}

struct Product<'a, T> {
    plan: &'a Correlation<T>,
    weights: &'a CorrelationWeights<T>,
    direct: Option<&'a Direct>,
    source: *const T,
    source_strides: [isize; 3],
    first_row: usize,
    rows: usize,
    start: Start<'a, T>,
    clamp: Option<[T; 2]>,
    output: *mut T,
    output_strides: [isize; 3],
    buffer: &'a mut [T],
    /// The sums of a band between one block of channels and the next, `[row, band row, column]`, close together.
    sums: &'a mut [T],
}

impl<'a, T: Element> ElementJob<T> for Product<'a, T> {
    type Of<E: Element> = Product<'a, E>;

    fn run_f32(job: Product<'a, f32>) {
        f32::dispatch_on(job.plan.isa, job);
    }

    fn run_f64(job: Product<'a, f64>) {
        f64::dispatch_on(job.plan.isa, job);
    }
}

/// A register tile: `M` rows of a panel at `N` vectors of positions.
struct Tile<'a, T> {
    panel: *const T,
    /// The pixels of the block, from which slots and offsets count.
    pixels: *const T,
    offsets: &'a [isize],
    slots: &'a [Slot],
    start: TileStart<T>,
    clamp: Option<[T; 2]>,
    /// What [`TileStart::Existing`] starts from.
    existing: Place<T>,
    output: Place<T>,
    /// The rows of the panel that are not filled up.
    rows: usize,
}

/// Where the first row of a panel lies, and the strides of its rows, of band rows and of columns.
#[derive(Clone, Copy)]
struct Place<T> {
    pointer: *mut T,
    strides: [isize; 3],
}

impl<T> Place<T> {
    fn row(self, row: usize) -> Self {
        Self { pointer: self.pointer.wrapping_offset(row as isize * self.strides[0]), ..self }
    }
}

#[derive(Clone, Copy)]
enum TileStart<T> {
    Zero,
    Bias(*const T),
    Existing,
}

impl<T: Element> Kernel<T> for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Product { plan, weights, source_strides, output_strides, .. } = self;
        let slots_per_row = plan.taps.output[1].div_ceil(S::LANES);
        let slots = self.direct.map_or(&plan.layout.slots, |direct| &direct.slots);
        let slots = &slots[..slots_per_row * self.rows];
        let offsets = self.direct.map_or(&plan.layout.offsets, |direct| &direct.offsets);
        let blocks = plan.channels.div_ceil(plan.block_channels);
        let output = Place { pointer: self.output, strides: output_strides };
        let strides = [sums_pitch(plan, self.rows) as isize, plan.taps.output[1] as isize, 1];
        let between = Place { pointer: self.sums.as_mut_ptr(), strides };
        for block in 0..blocks {
            let first_channel = block * plan.block_channels;
            let channels = plan.block_channels.min(plan.channels - first_channel);
            // SAFETY: the source view has all channels and rows that the plan names; in place, offsets and slots stay in
            // it by construction, and the band's rows begin at its first row. The buffer has the layout's length.
            let pixels = unsafe {
                let source = self.source.offset(first_channel as isize * source_strides[0]);
                if self.direct.is_some() {
                    source.offset((self.first_row * plan.taps.stride[0]) as isize * source_strides[1])
                } else {
                    let buffer = self.buffer.as_mut_ptr();
                    fill(simd, plan, source, source_strides, channels, self.first_row, self.rows, buffer);
                    buffer.cast_const()
                }
            };
            let depth = channels * plan.taps.count();
            let offsets = &offsets[..depth];
            let panels = weights.block(first_channel, depth);
            let existing = if block > 0 { between } else { output };
            let (clamp, output) = if block + 1 == blocks { (self.clamp, output) } else { (None, between) };
            let panel_bytes = depth * MAX_PANEL_ROWS * size_of::<T>();
            for group in weights.panels().chunks((WEIGHTS_BYTES / panel_bytes.max(1)).max(1)) {
                let mut first_slot = 0;
                while first_slot < slots.len() {
                    let vectors = tile_vectors(slots.len() - first_slot, weights.tile_vectors());
                    let slots = &slots[first_slot..first_slot + vectors];
                    first_slot += vectors;
                    for &Panel { first, height } in group {
                        let start = match self.start {
                            _ if block > 0 => TileStart::Existing,
                            Start::Zero => TileStart::Zero,
                            Start::Bias(bias) => TileStart::Bias(bias[first..].as_ptr()),
                            Start::Existing => TileStart::Existing,
                        };
                        let tile = Tile {
                            panel: panels[first * depth..][..height * depth].as_ptr(),
                            pixels,
                            offsets,
                            slots,
                            start,
                            clamp,
                            existing: existing.row(first),
                            output: output.row(first),
                            rows: height.min(weights.rows() - first),
                        };
                        // SAFETY: every slot plus every offset lies in the buffer or the source, a vector long; the panel
                        // has `height` rows; the first `rows` of them and all slots lie in the output, and in the sums
                        // where there are several blocks.
                        unsafe {
                            match (height, vectors) {
                                (8, 3) => tile.run::<S, 8, 3>(simd),
                                (8, 2) => tile.run::<S, 8, 2>(simd),
                                (8, _) => tile.run::<S, 8, 1>(simd),
                                (6, 3) => tile.run::<S, 6, 3>(simd),
                                (6, 2) => tile.run::<S, 6, 2>(simd),
                                (6, _) => tile.run::<S, 6, 1>(simd),
                                (4, 3) => tile.run::<S, 4, 3>(simd),
                                (4, 2) => tile.run::<S, 4, 2>(simd),
                                (4, _) => tile.run::<S, 4, 1>(simd),
                                (2, 3) => tile.run::<S, 2, 3>(simd),
                                (2, 2) => tile.run::<S, 2, 2>(simd),
                                (2, _) => tile.run::<S, 2, 1>(simd),
                                (_, 3) => tile.run::<S, 1, 3>(simd),
                                (_, 2) => tile.run::<S, 1, 2>(simd),
                                (_, _) => tile.run::<S, 1, 1>(simd),
                            }
                        }
                    }
                }
            }
        }
    }
}

impl<T: Element> Tile<'_, T> {
    /// # Safety
    /// The panel must have `M` rows of as many elements as there are offsets, there must be `N` slots, a vector must be
    /// readable at every slot plus every offset, and `rows` rows of all slots must be writable (readable too for
    /// [`TileStart::Existing`]); a bias must have `rows` elements.
    #[inline(always)]
    unsafe fn run<S: Simd<T>, const M: usize, const N: usize>(&self, simd: S) {
        let mut sums = [[simd.splat(T::zero()); N]; M];
        let mut pixels = [self.pixels; N];
        // SAFETY: as the caller grants.
        unsafe {
            match self.start {
                TileStart::Zero => {}
                TileStart::Bias(bias) => {
                    for m in 0..M {
                        if m < self.rows {
                            for v in 0..N {
                                sums[m][v] = simd.splat(*bias.add(m));
                            }
                        }
                    }
                }
                TileStart::Existing => {
                    for m in 0..M {
                        if m < self.rows {
                            for v in 0..N {
                                sums[m][v] = self.load(simd, m, v);
                            }
                        }
                    }
                }
            }
            for v in 0..N {
                pixels[v] = self.pixels.offset(self.slots.get_unchecked(v).source);
            }
            let mut weights = self.panel;
            for &offset in self.offsets {
                let mut vectors = [simd.splat(T::zero()); N];
                for v in 0..N {
                    vectors[v] = simd.load_ptr(pixels[v].offset(offset));
                }
                for m in 0..M {
                    let weight = simd.splat(*weights.add(m));
                    for v in 0..N {
                        sums[m][v] = simd.mul_add(weight, vectors[v], sums[m][v]);
                    }
                }
                weights = weights.add(M);
            }
            if let Some([low, high]) = self.clamp {
                for m in 0..M {
                    for v in 0..N {
                        // The sum stands second, where NaN passes.
                        let bounded = simd.max(simd.splat(low), sums[m][v]);
                        sums[m][v] = simd.min(simd.splat(high), bounded);
                    }
                }
            }
            for m in 0..M {
                if m < self.rows {
                    for v in 0..N {
                        self.store(simd, m, v, sums[m][v]);
                    }
                }
            }
        }
    }

    /// Where the first valid lane of a slot lies.
    #[inline(always)]
    unsafe fn address(place: &Place<T>, row: usize, slot: &Slot) -> *mut T {
        let [channel_stride, row_stride, column_stride] = place.strides;
        let distance =
            row as isize * channel_stride + slot.row as isize * row_stride + slot.column as isize * column_stride;
        // SAFETY: the caller grants that rows and slots lie in the output.
        unsafe { place.pointer.offset(distance) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd<T>>(&self, simd: S, row: usize, vector: usize, sums: S::Vector) {
        let column_stride = self.output.strides[2];
        // SAFETY: the valid lanes of a slot lie in the output; the array has at least LANES elements.
        unsafe {
            let slot = self.slots.get_unchecked(vector);
            let place = Self::address(&self.output, row, slot);
            if slot.count == S::LANES && column_stride == 1 {
                simd.store_ptr(place, sums);
            } else {
                let mut lanes = [T::zero(); MAX_LANES];
                simd.store_ptr(lanes.as_mut_ptr(), sums);
                for lane in 0..slot.count {
                    place.offset(lane as isize * column_stride).write(*lanes.get_unchecked(slot.first + lane));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn load<S: Simd<T>>(&self, simd: S, row: usize, vector: usize) -> S::Vector {
        let column_stride = self.existing.strides[2];
        // SAFETY: the valid lanes of a slot lie in what exists; the array has at least LANES elements.
        unsafe {
            let slot = self.slots.get_unchecked(vector);
            let place = Self::address(&self.existing, row, slot);
            if slot.count == S::LANES && column_stride == 1 {
                simd.load_ptr(place)
            } else {
                let mut lanes = [T::zero(); MAX_LANES];
                for lane in 0..slot.count {
                    *lanes.get_unchecked_mut(slot.first + lane) = *place.offset(lane as isize * column_stride);
                }
                simd.load_ptr(lanes.as_ptr())
            }
        }
    }
}
