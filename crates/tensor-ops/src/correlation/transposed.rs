//! The register tiles of [`Correlation::multiply_transposed`]: sums over positions.
//!
//! With many gradient channels a vector holds neighbouring channels of the gradient at one position, which meet one
//! pixel; with few it holds neighbouring positions of one channel, which meet neighbouring pixels, and its lanes are
//! added at the end.

#![expect(unsafe_code, reason = "tiles are addressed by pointer and stride")]

use ndarray::ArrayView3;

use super::fill::fill;
use super::scratch::with_scratch;
use super::winograd::Image;
use super::{Backward, Correlation, has_wide_tiles, lanes, tile_vectors};
use crate::simd::{Kernel, Simd};
use crate::{Element, Isa};

mod tiles;

use tiles::{PositionsTile, RowsTile};

/// The order of the sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    order: Order,
    /// Channels · taps of the plan.
    products: usize,
    rows: usize,
    lanes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// `[product, row]`, the rows filled up to whole vectors.
    RowsInLanes,
    /// `[row, product, lane]`
    PositionsInLanes,
}

impl Sums {
    pub(super) fn of<T: Element>(plan: &Correlation<T>, rows: usize) -> Self {
        Self::new(lanes::<T>(plan.isa), plan.channels * plan.taps.count(), rows)
    }

    pub(super) fn new(lanes: usize, products: usize, rows: usize) -> Self {
        let order = if rows <= lanes / 2 { Order::PositionsInLanes } else { Order::RowsInLanes };
        Self { order, products, rows, lanes }
    }

    pub(super) fn len(&self) -> usize {
        match self.order {
            Order::RowsInLanes => self.products.saturating_mul(self.padded_rows()),
            Order::PositionsInLanes => self.products.saturating_mul(self.rows * self.lanes),
        }
    }

    fn padded_rows(&self) -> usize {
        self.rows.next_multiple_of(self.lanes)
    }

    pub(super) fn add_row<T: Element>(&self, sums: &[T], row: usize, gradient: &mut [T]) {
        match self.order {
            Order::RowsInLanes => {
                let column = sums[row..].iter().step_by(self.padded_rows());
                gradient.iter_mut().zip(column).for_each(|(value, &sum)| *value += sum);
            }
            Order::PositionsInLanes => {
                let vectors = sums[row * self.products * self.lanes..].chunks_exact(self.lanes);
                gradient.iter_mut().zip(vectors).for_each(|(value, lanes)| *value += lanes.iter().copied().sum::<T>());
            }
        }
    }
}

/// Adds the sums of an image; the caller has checked all shapes.
pub(super) fn run<T: Element>(
    plan: &Correlation<T>,
    source: ArrayView3<'_, T>,
    grad_output: ArrayView3<'_, T>,
    sums: &mut [T],
) {
    if let Some(grid) = &plan.winograd {
        let (channels, rows) = (source.dim().0, grad_output.dim().0);
        with_scratch(Backward::<T>::buffer_len(grid, channels, rows, lanes::<T>(plan.isa)), |buffer| {
            let backward = Backward {
                grid,
                channels: [channels, plan.channels],
                rows,
                source: Image::of(&source),
                gradient: Image::of(&grad_output),
                sums,
                buffer,
            };
            T::run_winograd_transposed(plan.isa, backward);
        });
        return;
    }
    let order = Sums::of(plan, grad_output.dim().0);
    let row_positions = match order.order {
        Order::RowsInLanes => plan.taps.output[1] * order.padded_rows(),
        Order::PositionsInLanes => plan.taps.output[1].next_multiple_of(order.lanes) * order.rows,
    };
    let packed_len = row_positions * plan.band_rows;
    with_scratch(plan.layout.buffer_len + packed_len, |scratch| {
        let (packed, buffer) = scratch.split_at_mut(packed_len);
        let source_strides = [source.strides()[0], source.strides()[1], source.strides()[2]];
        let channels = source.dim().0;
        let source = source.as_ptr();
        let transposed =
            Transposed { plan, order, source, source_strides, channels, grad_output, packed, buffer, sums };
        T::run_transposed(plan.isa, transposed);
    });
}

/// The sums of an image.
pub(crate) struct Transposed<'a, T> {
    plan: &'a Correlation<T>,
    order: Sums,
    source: *const T,
    source_strides: [isize; 3],
    channels: usize,
    grad_output: ArrayView3<'a, T>,
    packed: &'a mut [T],
    buffer: &'a mut [T],
    sums: &'a mut [T],
}

impl<T: Element> Kernel<T> for Transposed<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, simd: S) {
        let plan = self.plan;
        let output_height = plan.taps.output[0];
        for first_row in (0..output_height).step_by(plan.band_rows) {
            let rows = plan.band_rows.min(output_height - first_row);
            match self.order.order {
                Order::RowsInLanes => self.pack_rows_in_lanes(first_row, rows),
                Order::PositionsInLanes => self.pack_positions_in_lanes(first_row, rows),
            }
            for first_channel in (0..self.channels).step_by(plan.block_channels) {
                let channels = plan.block_channels.min(self.channels - first_channel);
                // SAFETY: the source has the channels and the rows of the plan, the buffer the layout's length.
                unsafe {
                    let source = self.source.offset(first_channel as isize * self.source_strides[0]);
                    let buffer = self.buffer.as_mut_ptr();
                    fill(
                        simd,
                        &plan.taps,
                        &plan.layout,
                        source,
                        self.source_strides,
                        channels,
                        first_row,
                        rows,
                        buffer,
                    );
                }
                let taps = plan.taps.count();
                match self.order.order {
                    Order::RowsInLanes => self.sum_rows_in_lanes(simd, first_channel * taps, channels * taps, rows),
                    Order::PositionsInLanes => {
                        self.sum_positions_in_lanes(simd, first_channel * taps, channels * taps, rows);
                    }
                }
            }
        }
    }
}

impl<T: Element> Transposed<'_, T> {
    /// Packs a band of the gradient: per group of vectors `[position, row of the group]`.
    #[inline(always)]
    fn pack_rows_in_lanes(&mut self, first_row: usize, band_rows: usize) {
        let width = self.plan.taps.output[1];
        let lanes = self.order.lanes;
        let vectors = self.order.padded_rows() / lanes;
        let strides = [0, 1, 2].map(|axis| self.grad_output.strides()[axis]);
        let origin = self.grad_output.as_ptr();
        let mut target = self.packed.as_mut_ptr();
        let mut vector = 0;
        while vector < vectors {
            let group = tile_vectors(vectors - vector, group_vectors::<T>(self.plan.isa)) * lanes;
            let first = vector * lanes;
            let rows = group.min(self.order.rows - first);
            // SAFETY: the gradient has `order.rows` channels of the plan's output size; the packed band has a group's
            // rows for all positions of the band, one group after another.
            unsafe {
                for i in 0..band_rows {
                    for row in 0..group {
                        let place = target.add(i * width * group + row);
                        if row < rows {
                            let channel = (first + row) as isize * strides[0];
                            let line = origin.offset(channel + (first_row + i) as isize * strides[1]);
                            for j in 0..width {
                                place.add(j * group).write(*line.offset(j as isize * strides[2]));
                            }
                        } else {
                            for j in 0..width {
                                place.add(j * group).write(T::zero());
                            }
                        }
                    }
                }
                target = target.add(band_rows * width * group);
            }
            vector += group / lanes;
        }
    }

    /// Packs a band of the gradient: `[row, band row, position]`, with zeros up to whole vectors.
    #[inline(always)]
    fn pack_positions_in_lanes(&mut self, first_row: usize, band_rows: usize) {
        let width = self.plan.taps.output[1];
        let mut lines = self.packed.chunks_exact_mut(width.next_multiple_of(self.order.lanes));
        for row in 0..self.order.rows {
            for i in 0..band_rows {
                let Some(line) = lines.next() else { return };
                for j in 0..width {
                    line[j] = self.grad_output[[row, first_row + i, j]];
                }
                line[width..].fill(T::zero());
            }
        }
    }

    #[inline(always)]
    fn sum_rows_in_lanes<S: Simd<T>>(&mut self, simd: S, first: usize, products: usize, band_rows: usize) {
        let plan = self.plan;
        let padded_rows = self.order.padded_rows();
        let vectors = padded_rows / S::LANES;
        let positions = band_rows * plan.taps.output[1];
        let mut vector = 0;
        while vector < vectors {
            let group = tile_vectors(vectors - vector, group_vectors::<T>(plan.isa));
            let mut product = 0;
            while product < products {
                let left = products - product;
                let height = transposed_height(plan.isa, group, left);
                let tile = RowsTile {
                    pixels: self.buffer.as_ptr(),
                    offsets: &plan.layout.offsets[product..product + height],
                    gradient: self.packed[vector * S::LANES * positions..][..group * S::LANES * positions].as_ptr(),
                    band_rows,
                    width: plan.taps.output[1],
                    row_step: plan.taps.stride[0] * plan.layout.row_pitch,
                    sums: self.sums[(first + product) * padded_rows + vector * S::LANES..].as_mut_ptr(),
                    sums_pitch: padded_rows,
                };
                // SAFETY: offsets and positions stay in the buffer; the gradient has a group's vectors per position; the
                // sums have a row of whole vectors per product.
                unsafe {
                    match (height, group) {
                        (12, 2) if const { vectors_of::<T, S>() >= 3 } => tile.run::<S, 12, 2>(simd),
                        (8, 3) if const { vectors_of::<T, S>() >= 3 } => tile.run::<S, 8, 3>(simd),
                        (8, 2) if const { vectors_of::<T, S>() >= 3 } => tile.run::<S, 8, 2>(simd),
                        (8, 1) => tile.run::<S, 8, 1>(simd),
                        (6, 2) if const { vectors_of::<T, S>() == 2 } => tile.run::<S, 6, 2>(simd),
                        (4, 3) if const { vectors_of::<T, S>() >= 3 } => tile.run::<S, 4, 3>(simd),
                        (4, 2) if const { vectors_of::<T, S>() >= 2 } => tile.run::<S, 4, 2>(simd),
                        (4, 1) => tile.run::<S, 4, 1>(simd),
                        (2, 3) if const { vectors_of::<T, S>() >= 3 } => tile.run::<S, 2, 3>(simd),
                        (2, 2) if const { vectors_of::<T, S>() >= 2 } => tile.run::<S, 2, 2>(simd),
                        (2, 1) => tile.run::<S, 2, 1>(simd),
                        (1, 3) if const { vectors_of::<T, S>() >= 3 } => tile.run::<S, 1, 3>(simd),
                        (1, 2) if const { vectors_of::<T, S>() >= 2 } => tile.run::<S, 1, 2>(simd),
                        (1, 1) => tile.run::<S, 1, 1>(simd),
                        _ => unreachable!("no tile of {height} products and {group} vectors"),
                    }
                }
                product += height;
            }
            vector += group;
        }
    }

    #[inline(always)]
    fn sum_positions_in_lanes<S: Simd<T>>(&mut self, simd: S, first: usize, products: usize, band_rows: usize) {
        let plan = self.plan;
        let padded_width = plan.taps.output[1].next_multiple_of(S::LANES);
        let band_len = band_rows * padded_width;
        for row in 0..self.order.rows {
            let mut product = 0;
            while product < products {
                let height = match products - product {
                    8.. => 8,
                    4.. => 4,
                    2.. => 2,
                    _ => 1,
                };
                let sum = (row * self.order.products + first + product) * S::LANES;
                let tile = PositionsTile {
                    pixels: self.buffer.as_ptr(),
                    offsets: &plan.layout.offsets[product..product + height],
                    gradient: self.packed[row * band_len..][..band_len].as_ptr(),
                    band_rows,
                    padded_width,
                    row_step: plan.taps.stride[0] * plan.layout.row_pitch,
                    sums: self.sums[sum..sum + height * S::LANES].as_mut_ptr(),
                };
                // SAFETY: offsets and positions, to whole vectors, stay in the buffer; the gradient has whole vectors.
                unsafe {
                    match height {
                        8 => tile.run::<S, 8>(simd),
                        4 => tile.run::<S, 4>(simd),
                        2 => tile.run::<S, 2>(simd),
                        _ => tile.run::<S, 1>(simd),
                    }
                }
                product += height;
            }
        }
    }
}

/// The vectors of gradient rows that a tile takes.
#[inline(always)]
fn group_vectors<T>(isa: Isa) -> usize {
    match isa {
        _ if !has_wide_tiles::<T>(isa != Isa::Portable) => 1,
        Isa::Avx512 => 3,
        _ => 2,
    }
}

/// The same, for the instructions that the kernel is compiled for.
const fn vectors_of<T: Copy, S: Simd<T>>() -> usize {
    if !has_wide_tiles::<T>(S::NATIVE) {
        1
    } else if S::LANES * size_of::<T>() == 64 {
        3
    } else {
        2
    }
}

/// The products of a tile with `vectors` vectors of gradient rows: as many as registers hold, at most `left`.
#[inline(always)]
fn transposed_height(isa: Isa, vectors: usize, left: usize) -> usize {
    let most = match (isa, vectors) {
        (Isa::Avx512, 2) => 12,
        (Isa::Avx512, _) | (_, 1) => 8,
        _ => 6,
    };
    match left {
        _ if left >= most => most,
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}
