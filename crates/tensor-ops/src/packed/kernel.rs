//! The register tile of the packed product, and the loops over rows and depth around it.
//!
//! An element of the product is one chain of multiply-adds over the depth, from its start value, in rising order. Tiles,
//! blocks and threads only choose where in memory the chain rests, so an element depends on its row of A and its column
//! of B alone, bit for bit.

#![expect(unsafe_code, reason = "the tile addresses rows, panels and outputs by pointer")]

use std::mem::MaybeUninit;

use crate::Element;
use crate::gemm::pack::copy_column;
use crate::gemm::tile::{MOST_ROWS, row_tiles};
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Vectors in a row of a panel.
pub(crate) const VECTORS: usize = 4;
/// Bytes of a panel's part that stays in the first-level cache while row tiles pass over it.
const PANEL_BYTES: usize = 24 * 1024;
/// Bytes of the rows of A that are copied into tile order, to stay in the second-level cache.
const ROWS_BYTES: usize = 96 * 1024;
/// How far ahead, in bytes, a panel is fetched that a single tile streams through.
const FETCHED_AHEAD: usize = 2048;
/// With no more rows than this, rows of A are read where they are.
pub(crate) const DIRECT_ROWS: usize = 12;

/// Rows of A: `row(r)[k]` is at `pointer + r · row_stride + k · depth_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<T> {
    pub(crate) pointer: *const T,
    pub(crate) row_stride: isize,
    pub(crate) depth_stride: isize,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
}

/// Rows of C, `columns` wide.
#[derive(Clone, Copy)]
pub(crate) struct Target<T> {
    pub(crate) pointer: *mut T,
    pub(crate) row_stride: isize,
    pub(crate) column_stride: isize,
    pub(crate) columns: usize,
}

/// What a chain of multiply-adds starts from.
#[derive(Clone, Copy)]
pub(crate) enum Origin<T> {
    /// Zero; C is not read.
    Zero,
    /// One value per column, from this pointer; C is not read.
    Row(*const T),
    /// The values of C.
    Output,
}

/// Rows of a tile that keep every sum in a register.
const fn tile_rows<T, S: Simd<T>>() -> usize
where
    T: Copy,
{
    // 512-bit registers come in 32, narrower ones in 16.
    if S::LANES * size_of::<T>() == 64 { 6 } else { 3 }
}

/// Depth of a panel's part that stays in the first-level cache.
const fn depth_block<T: Copy, S: Simd<T>>() -> usize {
    PANEL_BYTES / (VECTORS * S::LANES * size_of::<T>())
}

/// C = origin + A·B for the consecutive panels from `panels`, of which the last may be wider than C.
///
/// # Safety
/// `a` must be valid for reads of `a.rows` × `a.depth` elements, `panels` for whole panels over the columns of `c`, `c` for
/// reads and writes of `a.rows` × `c.columns` elements that nothing else accesses, and the row of `origin` for reads of
/// `c.columns` elements.
#[inline(always)]
pub(crate) unsafe fn product<T: Element, S: Simd<T>>(
    simd: S,
    a: Rows<T>,
    panels: *const T,
    origin: Origin<T>,
    c: Target<T>,
) {
    // The recurrent steps and the product share it.
    simd.call(Panels { a, panels, origin, c });
}

/// The operands of [`product`], for which its caller vouches.
struct Panels<T> {
    a: Rows<T>,
    panels: *const T,
    origin: Origin<T>,
    c: Target<T>,
}

impl<T: Element> Kernel<T> for Panels<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { a, panels, origin, c } = self;
        // SAFETY: made by `product` alone, whose caller grants it.
        unsafe {
            if a.rows <= DIRECT_ROWS {
                product_direct(simd, a, panels, origin, c);
            } else {
                product_copied(simd, a, panels, origin, c);
            }
        }
    }
}

/// [`product`] that reads the rows of A in place: each panel is streamed once.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn product_direct<T: Element, S: Simd<T>>(
    simd: S,
    a: Rows<T>,
    panels: *const T,
    origin: Origin<T>,
    c: Target<T>,
) {
    let width = VECTORS * S::LANES;
    let tiles = a.rows.div_ceil(tile_rows::<T, S>());
    let block = if tiles == 1 { a.depth } else { depth_block::<T, S>() };
    for (index, column) in (0..c.columns).step_by(width).enumerate() {
        let mut origin = origin;
        let mut k = 0;
        while k < a.depth {
            let depth = block.min(a.depth - k);
            for (tile, (first, rows)) in row_tiles(a.rows, tile_rows::<T, S>()).enumerate() {
                // SAFETY: the offsets stay inside the areas that the caller grants.
                unsafe {
                    let panel = panels.add((index * a.depth + k) * width);
                    let tile_a = Tile {
                        pointer: a.pointer.offset(first as isize * a.row_stride + k as isize * a.depth_stride),
                        row_stride: a.row_stride,
                        depth_stride: a.depth_stride,
                        panel,
                        depth,
                        fetch: match tiles {
                            1 => Fetch { pointer: panel.wrapping_add(FETCHED_AHEAD / size_of::<T>()), step: width },
                            _ => Fetch::part(panel.wrapping_add(depth * width), depth, width, tile, tiles),
                        },
                    };
                    tile_at(simd, rows, tile_a, origin, c, first, column);
                }
            }
            origin = Origin::Output;
            k += depth;
        }
    }
}

/// [`product`] that copies rows of A into tile order, block by block.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn product_copied<T: Element, S: Simd<T>>(
    simd: S,
    a: Rows<T>,
    panels: *const T,
    origin: Origin<T>,
    c: Target<T>,
) {
    let width = VECTORS * S::LANES;
    let depth_block = depth_block::<T, S>();
    let rows_block = ROWS_BYTES / size_of::<T>() / depth_block / tile_rows::<T, S>() * tile_rows::<T, S>();
    let mut copy = MaybeUninit::<[u64; ROWS_BYTES / 8]>::uninit();
    let copy: *mut T = copy.as_mut_ptr().cast();

    for row in (0..a.rows).step_by(rows_block) {
        let rows_here = rows_block.min(a.rows - row);
        for k in (0..a.depth).step_by(depth_block) {
            let depth = depth_block.min(a.depth - k);
            let origin = if k == 0 { origin } else { Origin::Output };
            // SAFETY: the offsets stay inside the areas that the caller grants, and `copy` holds `rows_block` rows of
            // `depth_block` elements.
            unsafe {
                let source = a.pointer.offset(row as isize * a.row_stride + k as isize * a.depth_stride);
                copy_rows::<T, S>(Rows { pointer: source, rows: rows_here, depth, ..a }, copy);
                let tiles = rows_here.div_ceil(tile_rows::<T, S>());
                for (index, column) in (0..c.columns).step_by(width).enumerate() {
                    let panel = panels.add((index * a.depth + k) * width);
                    let next = panel.wrapping_add(a.depth * width);
                    for (tile, (first, rows)) in row_tiles(rows_here, tile_rows::<T, S>()).enumerate() {
                        let tile_a = Tile {
                            pointer: copy.add(first * depth),
                            row_stride: 1,
                            depth_stride: rows as isize,
                            panel,
                            depth,
                            fetch: Fetch::part(next, depth, width, tile, tiles),
                        };
                        tile_at(simd, rows, tile_a, origin, c, row + first, column);
                    }
                }
            }
        }
    }
}

/// Copies rows of A tile by tile, each to `[depth][rows of the tile]`.
///
/// # Safety
/// `a` must be valid for reads, and `target` for writes of `a.rows · a.depth` elements.
#[inline(always)]
unsafe fn copy_rows<T: Element, S: Simd<T>>(a: Rows<T>, target: *mut T) {
    // SAFETY: the offsets stay inside the areas that the caller grants.
    unsafe {
        if a.row_stride == 1 {
            // Neighbours in memory are rows: read each depth once, over all tiles.
            for k in 0..a.depth {
                let source = a.pointer.offset(k as isize * a.depth_stride);
                for (first, rows) in row_tiles(a.rows, tile_rows::<T, S>()) {
                    copy_column(source.add(first), 1, rows, target.add(first * a.depth + k * rows));
                }
            }
        } else {
            for (first, rows) in row_tiles(a.rows, tile_rows::<T, S>()) {
                let source = a.pointer.offset(first as isize * a.row_stride);
                for k in 0..a.depth {
                    let source = source.offset(k as isize * a.depth_stride);
                    copy_column(source, a.row_stride, rows, target.add(first * a.depth + k * rows));
                }
            }
        }
    }
}

/// The operands of a tile.
#[derive(Clone, Copy)]
struct Tile<T> {
    pointer: *const T,
    row_stride: isize,
    depth_stride: isize,
    panel: *const T,
    depth: usize,
    fetch: Fetch<T>,
}

/// What a tile fetches of the panels while it is computed; it may lie beyond their end.
#[derive(Clone, Copy)]
struct Fetch<T> {
    pointer: *const T,
    /// Elements for each row of the panel that the tile reads, at most two lines.
    step: usize,
}

impl<T> Fetch<T> {
    /// Part `tile` of `tiles` of the `depth` rows of a panel from `next`, which is used when all of these tiles are done.
    #[inline(always)]
    fn part(next: *const T, depth: usize, width: usize, tile: usize, tiles: usize) -> Self {
        Self { pointer: next.wrapping_add(tile * depth * width / tiles), step: width.div_ceil(tiles) }
    }
}

/// Computes the tile of C at (`row`, `column`), through memory of its own where C has no whole panel there.
///
/// # Safety
/// As [`product`], for the rows of this tile.
#[inline(always)]
unsafe fn tile_at<T: Element, S: Simd<T>>(
    simd: S,
    rows: usize,
    a: Tile<T>,
    origin: Origin<T>,
    c: Target<T>,
    row: usize,
    column: usize,
) {
    let width = VECTORS * S::LANES;
    // SAFETY: the offsets stay inside the areas that the caller grants.
    unsafe {
        let pointer = c.pointer.offset(row as isize * c.row_stride + column as isize * c.column_stride);
        let origin = match origin {
            Origin::Row(values) => Origin::Row(values.add(column)),
            other => other,
        };
        let columns = width.min(c.columns - column);
        if columns == width && c.column_stride == 1 {
            tile(simd, rows, a, origin, pointer, c.row_stride);
        } else {
            simd.call(EdgeTile { rows, a, origin, c: Target { pointer, columns, ..c } });
        }
    }
}

/// A tile of fewer columns than a panel, or of columns that do not lie side by side; [`tile_at`]'s caller vouches for it.
struct EdgeTile<T> {
    rows: usize,
    a: Tile<T>,
    origin: Origin<T>,
    c: Target<T>,
}

impl<T: Element> Kernel<T> for EdgeTile<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { rows, a, origin, c } = self;
        let width = VECTORS * S::LANES;
        let mut whole = [T::zero(); MOST_ROWS * VECTORS * MAX_LANES];
        // SAFETY: made by `tile_at` alone, whose caller grants it; `whole` has room for `rows` rows.
        unsafe {
            read_edge(&mut whole, width, rows, origin, c);
            tile(simd, rows, a, Origin::Output, whole.as_mut_ptr(), width as isize);
            write_edge(&whole, width, rows, c);
        }
    }
}

/// Fills `whole`, rows of `width` elements, with the start values of the tile.
///
/// # Safety
/// As [`product`], for this tile.
#[inline(never)]
unsafe fn read_edge<T: Element>(whole: &mut [T], width: usize, rows: usize, origin: Origin<T>, c: Target<T>) {
    let (source, row_stride, column_stride) = match origin {
        Origin::Zero => return,
        Origin::Row(values) => (values, 0, 1),
        Origin::Output => (c.pointer.cast_const(), c.row_stride, c.column_stride),
    };
    for (row, values) in whole.chunks_exact_mut(width).take(rows).enumerate() {
        for (column, value) in values.iter_mut().take(c.columns).enumerate() {
            // SAFETY: the offsets stay inside the areas that the caller grants.
            *value = unsafe { source.offset(row as isize * row_stride + column as isize * column_stride).read() };
        }
    }
}

/// Writes what of `whole`, rows of `width` elements, lies in the tile.
///
/// # Safety
/// As [`product`], for this tile.
#[inline(never)]
unsafe fn write_edge<T: Element>(whole: &[T], width: usize, rows: usize, c: Target<T>) {
    for (row, values) in whole.chunks_exact(width).take(rows).enumerate() {
        for (column, &value) in values.iter().take(c.columns).enumerate() {
            // SAFETY: the offsets stay inside the areas that the caller grants.
            unsafe {
                c.pointer.offset(row as isize * c.row_stride + column as isize * c.column_stride).write(value);
            }
        }
    }
}

/// Chooses the tile compiled for `rows`.
///
/// # Safety
/// As [`tile_of`].
#[inline(always)]
unsafe fn tile<T: Element, S: Simd<T>>(
    simd: S,
    rows: usize,
    a: Tile<T>,
    origin: Origin<T>,
    c: *mut T,
    row_stride: isize,
) {
    // SAFETY: granted by the caller.
    unsafe {
        match rows {
            1 => tile_of::<T, S, 1>(simd, a, origin, c, row_stride),
            2 => tile_of::<T, S, 2>(simd, a, origin, c, row_stride),
            3 => tile_of::<T, S, 3>(simd, a, origin, c, row_stride),
            // Only 512-bit registers have tiles this high; elsewhere the branch is removed.
            _ if tile_rows::<T, S>() < 4 => {}
            4 => tile_of::<T, S, 4>(simd, a, origin, c, row_stride),
            5 => tile_of::<T, S, 5>(simd, a, origin, c, row_stride),
            _ => tile_of::<T, S, 6>(simd, a, origin, c, row_stride),
        }
    }
}

/// `R` rows of a whole panel: every sum stays in a register over the depth.
///
/// # Safety
/// `a` must be valid for reads of `R` × `depth` elements, the panel for whole rows over the depth, `c` for reads and
/// writes of `R` whole rows, and the row of `origin` for reads of one whole row.
#[inline(always)]
unsafe fn tile_of<T: Element, S: Simd<T>, const R: usize>(
    simd: S,
    a: Tile<T>,
    origin: Origin<T>,
    c: *mut T,
    row_stride: isize,
) {
    // SAFETY: the offsets stay inside the areas that the caller grants.
    unsafe {
        let mut sums = [[simd.splat(T::zero()); VECTORS]; R];
        match origin {
            Origin::Zero => {}
            Origin::Row(values) => {
                for sums in &mut sums {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.load_ptr(values.add(v * S::LANES));
                    }
                }
            }
            Origin::Output => {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.load_ptr(c.offset(row as isize * row_stride).add(v * S::LANES));
                    }
                }
            }
        }
        let mut panel = a.panel;
        let mut column = a.pointer;
        let mut fetch = a.fetch.pointer;
        for _ in 0..a.depth {
            // One vector of B at a time: with all of them, the sums do not fit into 16 registers.
            let values: [S::Vector; R] =
                std::array::from_fn(|row| simd.splat(column.offset(row as isize * a.row_stride).read()));
            simd.prefetch(fetch);
            simd.prefetch(fetch.wrapping_add(a.fetch.step / 2));
            fetch = fetch.wrapping_add(a.fetch.step);
            for v in 0..VECTORS {
                let b = simd.load_ptr(panel.add(v * S::LANES));
                for (sums, &value) in sums.iter_mut().zip(&values) {
                    sums[v] = simd.mul_add(value, b, sums[v]);
                }
            }
            panel = panel.add(VECTORS * S::LANES);
            column = column.wrapping_offset(a.depth_stride);
        }
        for (row, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                simd.store_ptr(c.offset(row as isize * row_stride).add(v * S::LANES), sum);
            }
        }
    }
}
