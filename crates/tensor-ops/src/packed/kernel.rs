//! The register tile of the packed product, and the loops over rows and depth around it.
//!
//! An element of the product is one chain of multiply-adds over the depth, from its start value, in rising order. Tiles,
//! blocks and threads only choose where in memory the chain rests, so an element depends on its row of A and its column
//! of B alone, bit for bit.

#![expect(unsafe_code, reason = "the tile addresses rows, panels and outputs by pointer")]

use std::mem::MaybeUninit;

use crate::Element;
use crate::gemm::pack::copy_column;
use crate::gemm::tile::{MOST_ROWS, row_tiles, width, with_rows};
use crate::simd::products::{STEPS_PER_LINE, TilePanels, TileRows, vectors};
use crate::simd::{Kernel, LINE_BYTES, Simd};

mod edge;

use edge::EdgeTile;

/// Bytes of a panel's part that tiles of rows pass over one after the other, about those of the first-level cache.
const PANEL_BYTES: usize = 32 * 1024;
/// Bytes of the rows of A that are copied into tile order, to stay in the second-level cache.
const ROWS_BYTES: usize = 96 * 1024;
/// With no more rows than this, a tile takes two panels at a time where the sums of one are too few: each waits for the
/// multiply-add before it.
const PAIR_ROWS: usize = 3;
/// With no more rows than this, rows of A are read where they are.
pub(crate) const DIRECT_ROWS: usize = 16;
/// With no more columns than this, so few that a copy is not read often.
const DIRECT_COLUMNS: usize = 128;
/// Rows of A, read where they are, that a panel is multiplied with before the next one.
const BLOCK_ROWS: usize = 48;

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

impl<T> Target<MaybeUninit<T>> {
    /// The same, for kernels that write before they read.
    pub(crate) fn cast(self) -> Target<T> {
        let Self { pointer, row_stride, column_stride, columns } = self;
        Target { pointer: pointer.cast(), row_stride, column_stride, columns }
    }
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

/// Depth of a panel's part that stays in the first-level cache.
const fn depth_block<T: Copy, S: Simd<T>>() -> usize {
    PANEL_BYTES / (width::<T, S>() * size_of::<T>())
}

/// The part of a panel that is multiplied next, which the tiles of this one fetch in turn.
struct Following<T> {
    next: *const T,
    /// Elements that are still to be fetched.
    left: usize,
    /// What is at hand.
    here: *const T,
}

impl<T> Following<T> {
    fn new(next: *const T, length: usize, here: *const T) -> Self {
        Self { next, left: length, here }
    }

    /// From where a tile over `depth` fetches: once all has been, from where it costs least.
    #[inline(always)]
    fn advance(&mut self, depth: usize) -> *const T {
        if self.left == 0 {
            return self.here;
        }
        let fetched = depth / STEPS_PER_LINE * (LINE_BYTES / size_of::<T>());
        let now = self.next;
        self.next = now.wrapping_add(fetched);
        self.left = self.left.saturating_sub(fetched);
        now
    }
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
            if a.depth_stride == 1 && (a.rows <= DIRECT_ROWS || c.columns <= DIRECT_COLUMNS) {
                product_direct(simd, a, panels, origin, c);
            } else {
                product_copied(simd, a, panels, origin, c);
            }
        }
    }
}

/// [`product`] that reads the rows of A in place, their elements side by side.
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
    for first in (0..a.rows).step_by(BLOCK_ROWS) {
        let rows = BLOCK_ROWS.min(a.rows - first);
        // SAFETY: these rows lie in A and in C.
        unsafe {
            let a = Rows { pointer: a.pointer.offset(first as isize * a.row_stride), rows, ..a };
            let c = Target { pointer: c.pointer.offset(first as isize * c.row_stride), ..c };
            block_direct(simd, a, panels, origin, c);
        }
    }
}

/// [`product_direct`] for a block of rows: each panel is streamed once.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn block_direct<T: Element, S: Simd<T>>(simd: S, a: Rows<T>, panels: *const T, origin: Origin<T>, c: Target<T>) {
    let (width, block) = (width::<T, S>(), depth_block::<T, S>());
    let pairs = a.rows <= PAIR_ROWS && vectors::<T, S>() == 2 && c.column_stride == 1;
    let mut column = 0;
    while column < c.columns {
        let panel_count = if pairs && column + 2 * width <= c.columns { 2 } else { 1 };
        let mut origin = origin;
        for k in (0..a.depth).step_by(block) {
            let depth = block.min(a.depth - k);
            let panel = panels.wrapping_add(column * a.depth + k * width);
            let next = if k + depth < a.depth { k + depth } else { panel_count * a.depth };
            let mut following =
                Following::new(panels.wrapping_add(column * a.depth + next * width), depth * width, panel);
            for (first, rows) in row_tiles(a.rows, MOST_ROWS) {
                // SAFETY: the offsets stay inside the areas that the caller grants.
                unsafe {
                    let pointer = a.pointer.offset(first as isize * a.row_stride + k as isize);
                    let tile = Tile {
                        rows: TileRows::Strided { pointer, row: a.row_stride },
                        panels: TilePanels {
                            first: panel,
                            apart: a.depth * width,
                            following: following.advance(depth),
                        },
                        panel_count,
                        depth,
                    };
                    tile_at(simd, rows, tile, origin, c, first, column);
                }
            }
            origin = Origin::Output;
        }
        column += panel_count * width;
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
    let (width, depth_block) = (width::<T, S>(), depth_block::<T, S>());
    let rows_block = ROWS_BYTES / size_of::<T>() / depth_block / MOST_ROWS * MOST_ROWS;
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
                copy_rows(Rows { pointer: source, rows: rows_here, depth, ..a }, copy);
                for column in (0..c.columns).step_by(width) {
                    let panel = panels.add(column * a.depth + k * width);
                    let mut following = Following::new(panel.wrapping_add(a.depth * width), depth * width, panel);
                    for (first, rows) in row_tiles(rows_here, MOST_ROWS) {
                        let tile = Tile {
                            rows: TileRows::Packed(copy.add(first * depth)),
                            panels: TilePanels { first: panel, apart: 0, following: following.advance(depth) },
                            panel_count: 1,
                            depth,
                        };
                        tile_at(simd, rows, tile, origin, c, row + first, column);
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
unsafe fn copy_rows<T: Element>(a: Rows<T>, target: *mut T) {
    // SAFETY: the offsets stay inside the areas that the caller grants.
    unsafe {
        if a.row_stride == 1 {
            // Neighbours in memory are rows: read each depth once, over all tiles.
            for k in 0..a.depth {
                let source = a.pointer.offset(k as isize * a.depth_stride);
                for (first, rows) in row_tiles(a.rows, MOST_ROWS) {
                    copy_column(source.add(first), 1, rows, target.add(first * a.depth + k * rows));
                }
            }
        } else {
            for (first, rows) in row_tiles(a.rows, MOST_ROWS) {
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
    rows: TileRows<T>,
    panels: TilePanels<T>,
    /// The panels that it takes: two, or one.
    panel_count: usize,
    depth: usize,
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
    let width = a.panel_count * width::<T, S>();
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

/// Chooses the tile compiled for `rows` and the panels that it takes.
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
    // SAFETY: granted by the caller; two panels are those of a few rows, and of 2 vectors each.
    unsafe {
        match (a.panel_count, const { vectors::<T, S>() }, rows) {
            (_, 4, _) => with_rows!(rows, R => tile_of::<T, S, R, 4>(simd, a, origin, c, row_stride)),
            (1, ..) => with_rows!(rows, R => tile_of::<T, S, R, 2>(simd, a, origin, c, row_stride)),
            (.., 1) => tile_of::<T, S, 1, 4>(simd, a, origin, c, row_stride),
            (.., 2) => tile_of::<T, S, 2, 4>(simd, a, origin, c, row_stride),
            _ => tile_of::<T, S, PAIR_ROWS, 4>(simd, a, origin, c, row_stride),
        }
    }
}

/// `R` rows of `V` vectors: every sum stays in a register over the depth.
///
/// # Safety
/// The rows must be valid for reads of `R` × `depth` elements, the panels for `V` vectors at each depth, `c` for reads and
/// writes of `R` rows of `V` vectors, and the row of `origin` for reads of `V` vectors.
#[inline(always)]
unsafe fn tile_of<T: Element, S: Simd<T>, const R: usize, const V: usize>(
    simd: S,
    a: Tile<T>,
    origin: Origin<T>,
    c: *mut T,
    row_stride: isize,
) {
    // What the next panel adds to or writes, of which no line follows another.
    for row in 0..R {
        simd.prefetch(c.cast_const().wrapping_offset(row as isize * row_stride).wrapping_add(V * S::LANES));
    }
    // SAFETY: the offsets stay inside the areas that the caller grants.
    unsafe {
        let mut sums = [[simd.splat(T::zero()); V]; R];
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
        simd.add_products(&mut sums, a.rows, a.panels, a.depth);
        for (row, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                simd.store_ptr(c.offset(row as isize * row_stride).add(v * S::LANES), sum);
            }
        }
    }
}
