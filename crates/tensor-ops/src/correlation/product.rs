//! The register tiles of [`Correlation::multiply`].

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut3, s};

use super::fill::fill;
use super::layout::{Direct, Slot};
use super::scratch::with_scratch;
use super::weights::Panel;
use super::winograd::{Image, Winograd};
use super::{Correlation, CorrelationWeights, Forward, MAX_LANES, Start, has_wide_tiles, lanes, tile_vectors};
use crate::Element;
use crate::simd::{Kernel, Simd};

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
    let rows = output.dim().1;
    if let Some(grid) = &plan.winograd {
        let (sources, outputs) = ([Image::of(&source)], [Image::of_mut(&mut output)]);
        return run_tiles(plan, grid, weights, &sources, first_row..first_row + rows, start, clamp, &outputs);
    }
    let source_strides = [source.strides()[0], source.strides()[1], source.strides()[2]];
    let output_strides = [output.strides()[0], output.strides()[1], output.strides()[2]];
    let direct = plan.direct.as_ref().filter(|direct| direct.strides == source_strides);
    let buffer_len = if direct.is_some() { 0 } else { plan.layout.buffer_len };
    with_scratch(buffer_len, |buffer| {
        let product = Product {
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
        };
        T::run_correlation(plan.isa, product);
    });
}

/// Correlates all output rows of many images; the caller has checked all shapes.
pub(super) fn run_images<T: Element>(
    plan: &Correlation<T>,
    weights: &CorrelationWeights<T>,
    images: &mut [(ArrayView3<'_, T>, ArrayViewMut3<'_, T>)],
    start: Start<'_, T>,
    clamp: Option<[T; 2]>,
) {
    let rows = plan.taps.output[0];
    if let Some(grid) = &plan.winograd {
        let sources: Vec<_> = images.iter().map(|(source, _)| Image::of(source)).collect();
        let outputs: Vec<_> = images.iter_mut().map(|(_, output)| Image::of_mut(output)).collect();
        return run_tiles(plan, grid, weights, &sources, 0..rows, start, clamp, &outputs);
    }
    for (source, output) in images {
        for first_row in (0..rows).step_by(plan.band_rows) {
            let band = output.slice_mut(s![.., first_row..rows.min(first_row + plan.band_rows), ..]);
            run(plan, weights, *source, first_row, start, clamp, band);
        }
    }
}

/// Correlates some output rows of images by way of tiles.
fn run_tiles<T: Element>(
    plan: &Correlation<T>,
    grid: &Winograd,
    weights: &CorrelationWeights<T>,
    sources: &[Image<*const T>],
    output_rows: Range<usize>,
    start: Start<'_, T>,
    clamp: Option<[T; 2]>,
    outputs: &[Image<*mut T>],
) {
    let channels = plan.channels;
    with_scratch(Forward::<T>::buffer_len(grid, channels, lanes::<T>(plan.isa)), |buffer| {
        let forward = Forward {
            grid,
            channels,
            weights: weights.points(),
            rows: weights.rows(),
            sources,
            first_row: output_rows.start,
            band_rows: output_rows.len(),
            start,
            clamp,
            outputs,
            buffer,
        };
        T::run_winograd(plan.isa, forward);
    });
}

/// The product of a band.
pub(crate) struct Product<'a, T> {
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
}

/// Offsets whose products are written out: what a loop does beside its multiply-adds is shared by them.
const STEPS: usize = 4;

/// A register tile: `M` rows of a panel at `N` vectors of positions.
struct Tile<'a, T> {
    panel: *const T,
    /// The pixels of the block, from which slots and offsets count.
    pixels: *const T,
    offsets: &'a [isize],
    slots: &'a [Slot],
    start: TileStart<T>,
    clamp: Option<[T; 2]>,
    output: *mut T,
    output_strides: [isize; 3],
    /// The rows of the panel that are not filled up.
    rows: usize,
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
                    fill(
                        simd,
                        &plan.taps,
                        &plan.layout,
                        source,
                        source_strides,
                        channels,
                        self.first_row,
                        self.rows,
                        buffer,
                    );
                    buffer.cast_const()
                }
            };
            let depth = channels * plan.taps.count();
            let offsets = &offsets[..depth];
            let panels = weights.block(first_channel, depth);
            let clamp = if block + 1 == blocks { self.clamp } else { None };
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
                            output: self.output.wrapping_offset(first as isize * output_strides[0]),
                            output_strides,
                            rows: height.min(weights.rows() - first),
                        };
                        // SAFETY: every slot plus every offset lies in the buffer or the source, a vector long; the panel
                        // has `height` rows; the first `rows` of them and all slots lie in the output.
                        unsafe {
                            match height {
                                8 if const { is_512_bit::<T, S>() } => tile.run::<S, 8>(simd),
                                6 => tile.run::<S, 6>(simd),
                                4 => tile.run::<S, 4>(simd),
                                2 => tile.run::<S, 2>(simd),
                                _ => tile.run::<S, 1>(simd),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether vectors are registers of 512 bits, of which there are 32.
const fn is_512_bit<T: Copy, S: Simd<T>>() -> bool {
    S::NATIVE && S::LANES * size_of::<T>() == 64
}

/// The most vectors beside `M` rows: see [`CorrelationWeights::tile_vectors`].
const fn most_vectors<T: Copy, S: Simd<T>>(rows: usize) -> usize {
    if !has_wide_tiles::<T>(S::NATIVE) {
        1
    } else if is_512_bit::<T, S>() || rows <= 2 {
        3
    } else {
        2
    }
}

/// Adds to `sums` the products of `M` weights for each of `K` offsets with the vectors there.
///
/// # Safety
/// The weights must be valid for reads of `M · K` elements, and every one of `pixels` plus every offset for a vector.
#[inline(always)]
unsafe fn add_products<T: Element, S: Simd<T>, const M: usize, const N: usize, const K: usize>(
    simd: S,
    sums: &mut [[S::Vector; N]; M],
    weights: *const T,
    pixels: [*const T; N],
    offsets: &[isize; K],
) {
    for (k, &offset) in offsets.iter().enumerate() {
        // SAFETY: granted by the caller.
        unsafe {
            let mut vectors = [simd.splat(T::zero()); N];
            for v in 0..N {
                vectors[v] = simd.load_ptr(pixels[v].offset(offset));
            }
            for m in 0..M {
                let weight = simd.splat(*weights.add(k * M + m));
                for v in 0..N {
                    sums[m][v] = simd.mul_add(weight, vectors[v], sums[m][v]);
                }
            }
        }
    }
}

impl<T: Element> Tile<'_, T> {
    /// Chooses the tile compiled for the number of slots.
    ///
    /// # Safety
    /// As [`Self::run_vectors`].
    #[inline(always)]
    unsafe fn run<S: Simd<T>, const M: usize>(&self, simd: S) {
        debug_assert!(self.slots.len() <= most_vectors::<T, S>(M), "as many slots as tiles have vectors");
        // SAFETY: granted by the caller.
        unsafe {
            match self.slots.len() {
                3 if const { most_vectors::<T, S>(M) >= 3 } => self.run_vectors::<S, M, 3>(simd),
                2 if const { most_vectors::<T, S>(M) >= 2 } => self.run_vectors::<S, M, 2>(simd),
                _ => self.run_vectors::<S, M, 1>(simd),
            }
        }
    }

    /// # Safety
    /// The panel must have `M` rows of as many elements as there are offsets, there must be `N` slots, a vector must be
    /// readable at every slot plus every offset, and `rows` rows of all slots must be writable (readable too for
    /// [`TileStart::Existing`]); a bias must have `rows` elements.
    #[inline(always)]
    unsafe fn run_vectors<S: Simd<T>, const M: usize, const N: usize>(&self, simd: S) {
        let mut sums = [[simd.splat(T::zero()); N]; M];
        let mut pixels = [self.pixels; N];
        // Whether a vector lies in the output as a whole.
        let mut whole = [self.output_strides[2] == 1; N];
        // SAFETY: as the caller grants; the array has room for `M` rows of `N` vectors.
        unsafe {
            for v in 0..N {
                let slot = self.slots.get_unchecked(v);
                pixels[v] = self.pixels.offset(slot.source);
                whole[v] &= slot.count == S::LANES;
            }
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
                    for v in 0..N {
                        let slot = self.slots.get_unchecked(v);
                        if whole[v] {
                            for m in 0..M {
                                if m < self.rows {
                                    sums[m][v] = simd.load_ptr(self.place(m, slot));
                                }
                            }
                        } else {
                            let mut lanes = [[T::zero(); MAX_LANES]; M];
                            self.read_lanes(slot, &mut lanes);
                            for m in 0..M {
                                sums[m][v] = simd.load_ptr(lanes[m].as_ptr());
                            }
                        }
                    }
                }
            }
            let mut weights = self.panel;
            let (steps, rest) = self.offsets.as_chunks::<STEPS>();
            for offsets in steps {
                add_products(simd, &mut sums, weights, pixels, offsets);
                weights = weights.add(STEPS * M);
            }
            for offset in rest {
                add_products(simd, &mut sums, weights, pixels, std::array::from_ref(offset));
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
            for v in 0..N {
                let slot = self.slots.get_unchecked(v);
                if whole[v] {
                    for m in 0..M {
                        if m < self.rows {
                            simd.store_ptr(self.place(m, slot), sums[m][v]);
                        }
                    }
                } else {
                    let mut lanes = [[T::zero(); MAX_LANES]; M];
                    for m in 0..M {
                        simd.store_ptr(lanes[m].as_mut_ptr(), sums[m][v]);
                    }
                    self.write_lanes(slot, &lanes);
                }
            }
        }
    }

    /// Where the first valid lane of a slot lies in the output.
    #[inline(always)]
    unsafe fn place(&self, row: usize, slot: &Slot) -> *mut T {
        let [channel_stride, row_stride, column_stride] = self.output_strides;
        let distance =
            row as isize * channel_stride + slot.row as isize * row_stride + slot.column as isize * column_stride;
        // SAFETY: the caller grants that rows and slots lie in the output.
        unsafe { self.output.offset(distance) }
    }

    /// Writes the valid lanes of a slot to the output, for each row.
    ///
    /// # Safety
    /// As [`Self::run_vectors`].
    #[inline(never)]
    unsafe fn write_lanes(&self, slot: &Slot, lanes: &[[T; MAX_LANES]]) {
        let column_stride = self.output_strides[2];
        for (row, lanes) in lanes.iter().take(self.rows).enumerate() {
            // SAFETY: the valid lanes of a slot lie in the output.
            unsafe {
                let place = self.place(row, slot);
                for lane in 0..slot.count {
                    place.offset(lane as isize * column_stride).write(*lanes.get_unchecked(slot.first + lane));
                }
            }
        }
    }

    /// The reverse of [`Self::write_lanes`].
    ///
    /// # Safety
    /// As [`Self::run_vectors`].
    #[inline(never)]
    unsafe fn read_lanes(&self, slot: &Slot, lanes: &mut [[T; MAX_LANES]]) {
        let column_stride = self.output_strides[2];
        for (row, lanes) in lanes.iter_mut().take(self.rows).enumerate() {
            // SAFETY: the valid lanes of a slot lie in the output.
            unsafe {
                let place = self.place(row, slot);
                for lane in 0..slot.count {
                    *lanes.get_unchecked_mut(slot.first + lane) = place.offset(lane as isize * column_stride).read();
                }
            }
        }
    }
}
