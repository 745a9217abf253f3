//! The matrix product in blocks for the caches: B in panels that stay in L1, rows of A in a block that stays in L2.

#![expect(unsafe_code, reason = "operands are addressed by pointer and stride")]

use std::ops::Range;

use super::pack;
use super::tile::{self, Following, MOST_ROWS, MOST_WIDTH, Rows, Update, panel_width};
use crate::Element;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// The most products that are summed before the sum goes to C: a panel of B stays in L1 beside the rows of A.
const MOST_DEPTH: usize = 256;
/// The most rows of A that are packed together, a multiple of a tile's: with [`MOST_DEPTH`], two fifths of an L2 of 512 KiB.
const BLOCK_ROWS: usize = 192;
/// Columns of B that stay packed while all rows of A pass over them, where there are more than [`BLOCK_ROWS`].
const BLOCK_COLUMNS: usize = 1024;
/// Columns of B that are packed together where the elements of its rows lie side by side, a multiple of every panel: so
/// each row is read in order for some lines.
const GROUP_COLUMNS: usize = 128;
const _: () = assert!(GROUP_COLUMNS.is_multiple_of(MOST_WIDTH), "groups are made of whole panels");
/// With no more columns than this, rows of A that are read in order are not copied.
const DIRECT_COLUMNS: usize = 64;

/// A matrix by pointer, row stride and column stride.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<P> {
    pub(crate) pointer: P,
    pub(crate) row: isize,
    pub(crate) column: isize,
}

impl<P> Matrix<P> {
    fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

impl<T> Matrix<*const T> {
    pub(super) fn at(self, row: usize, column: usize) -> *const T {
        self.pointer.wrapping_offset(row as isize * self.row + column as isize * self.column)
    }
}

impl<T> Matrix<*mut T> {
    pub(super) fn at(self, row: usize, column: usize) -> *mut T {
        self.pointer.wrapping_offset(row as isize * self.row + column as isize * self.column)
    }
}

/// `C = α A B + β C` with sizes `[m, k, n]`; none of them is 0.
#[derive(Clone, Copy)]
pub(crate) struct Product<T> {
    pub(crate) sizes: [usize; 3],
    pub(crate) alpha: T,
    pub(crate) a: Matrix<*const T>,
    pub(crate) b: Matrix<*const T>,
    pub(crate) beta: T,
    pub(crate) c: Matrix<*mut T>,
}

impl<T: Element> Product<T> {
    /// Elements of the buffer for sizes `[m, k, n]`, on any instruction set.
    pub(crate) fn buffer_len([rows, depth, columns]: [usize; 3]) -> usize {
        // The product may be turned, so either may be the rows.
        let longer = rows.max(columns);
        let kept_columns = if longer <= BLOCK_ROWS { GROUP_COLUMNS } else { BLOCK_COLUMNS }.min(longer);
        (longer.min(BLOCK_ROWS) + kept_columns + MOST_WIDTH) * depth.min(MOST_DEPTH) + MAX_LANES
    }

    /// The product as a kernel, in a buffer of [`Self::buffer_len`].
    ///
    /// # Safety
    /// The matrices must address `[m, k]`, `[k, n]` and `[m, n]` valid elements, and no two elements of C may be the same, nor
    /// be elements of A or B.
    pub(crate) unsafe fn blocked(self, buffer: &mut [T]) -> Blocked<'_, T> {
        let Self { sizes: [m, k, n], a, b, c, .. } = self;
        // Cᵀ = Bᵀ Aᵀ where that has neighbouring columns.
        let is_turned = c.column != 1 && c.row == 1;
        let turned = Self { sizes: [n, k, m], a: b.transposed(), b: a.transposed(), c: c.transposed(), ..self };
        Blocked { product: if is_turned { turned } else { self }, buffer }
    }
}

/// A product in blocks.
///
/// An element of C is the sum of `A B` over each block of the depth, one chain of multiply-adds, times α and added to β C
/// or to what the blocks before left. The blocks follow from the depth alone, so an element depends on its row of A, its
/// column of B and itself, bit for bit.
pub(crate) struct Blocked<'a, T> {
    product: Product<T>,
    buffer: &'a mut [T],
}

impl<T: Element> Kernel<T> for Blocked<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { product: Product { sizes: [rows, depth, columns], alpha, a, b, beta, c }, buffer } = self;
        let depth_block = depth.div_ceil(depth.div_ceil(MOST_DEPTH));
        let block_rows = rows.div_ceil(rows.div_ceil(BLOCK_ROWS)).next_multiple_of(MOST_ROWS);
        let copies_rows = columns > DIRECT_COLUMNS || a.column != 1;
        // Whole vectors are written: the last one may pass the end of the rows.
        let rows_len = if copies_rows { rows.min(block_rows) * depth_block + S::LANES } else { 0 };
        let (packed_rows, packed_columns) = buffer.split_at_mut(rows_len);
        for k in (0..depth).step_by(depth_block) {
            let block = Block {
                a: Matrix { pointer: a.at(0, k), ..a },
                b: Matrix { pointer: b.at(k, 0), ..b },
                c,
                depth: depth_block.min(depth - k),
                update: Update { alpha, beta: if k == 0 { beta } else { T::one() } },
                copies_rows,
            };
            let blocks_columns = if rows <= BLOCK_ROWS { columns } else { BLOCK_COLUMNS };
            for column in (0..columns).step_by(blocks_columns) {
                let columns = column..columns.min(column + blocks_columns);
                for row in (0..rows).step_by(block_rows) {
                    let panels = match row {
                        _ if rows <= BLOCK_ROWS => Panels::Passing,
                        0 => Panels::Fill,
                        _ => Panels::Filled,
                    };
                    let rows = row..rows.min(row + block_rows);
                    block.rows(simd, rows, columns.clone(), packed_rows, packed_columns, panels);
                }
            }
        }
    }
}

/// What becomes of the packed panels of B.
#[derive(Clone, Copy, PartialEq)]
enum Panels {
    /// Each is used up at once, and the next one takes its place.
    Passing,
    /// They are kept for other rows.
    Fill,
    /// They are there.
    Filled,
}

/// A part of the depth.
struct Block<T> {
    a: Matrix<*const T>,
    b: Matrix<*const T>,
    c: Matrix<*mut T>,
    depth: usize,
    update: Update<T>,
    copies_rows: bool,
}

impl<T: Element> Block<T> {
    #[inline(always)]
    fn rows<S: Simd<T>>(
        &self,
        simd: S,
        rows: Range<usize>,
        columns: Range<usize>,
        packed_rows: &mut [T],
        packed_columns: &mut [T],
        panels: Panels,
    ) {
        let Self { a, b, c, depth, update, copies_rows } = *self;
        if copies_rows {
            let source = Matrix { pointer: a.at(rows.start, 0), ..a };
            // SAFETY: the rows lie in A; the buffer holds all of them, and a vector more.
            unsafe { pack::rows(simd, source, rows.len(), depth, packed_rows.as_mut_ptr()) };
        }
        let a_rows = if copies_rows {
            Rows::Tiles(packed_rows.as_ptr())
        } else {
            Rows::Strided { pointer: a.at(rows.start, 0), row: a.row }
        };
        // One panel at a time would read B in pieces of a line.
        let is_grouped = b.column == 1 && panels != Panels::Filled;
        let mut column = columns.start;
        while column < columns.end {
            let left = columns.end - column;
            let width = panel_width::<T, S>(left);
            let passed = column - columns.start;
            let place = match panels {
                Panels::Passing if is_grouped => passed % GROUP_COLUMNS * depth,
                Panels::Passing => 0,
                Panels::Fill | Panels::Filled => passed * depth,
            };
            let columns_here = width.min(left);
            if is_grouped && passed.is_multiple_of(GROUP_COLUMNS) {
                let group = GROUP_COLUMNS.min(left);
                let target = packed_columns[place..place + group.next_multiple_of(width) * depth].as_mut_ptr();
                let source = Matrix { pointer: b.at(0, column), ..b };
                // SAFETY: the columns lie in B; the panels are those of the buffer, the last of which is the narrowest.
                unsafe { pack::panels(simd, source, group, depth, target) };
            }
            let panel = packed_columns[place..place + width * depth].as_mut_ptr();
            if panels != Panels::Filled && !is_grouped {
                // SAFETY: the columns lie in B; the panel is one of the buffer.
                unsafe {
                    let source = Matrix { pointer: b.at(0, column), row: b.column, column: b.row };
                    pack::lanes(simd, source, columns_here, depth, panel, width);
                }
            }
            let following =
                (panels != Panels::Filled && b.row == 1 && column + width < columns.end).then(|| Following {
                    pointer: b.at(0, column + width),
                    stride: b.column,
                    columns: width.min(columns.end - column - width),
                    depth,
                });
            // SAFETY: A, packed or not, has these rows, the panel is whole, and the strip lies in C.
            unsafe {
                let target = Matrix { pointer: c.at(rows.start, column), row: c.row, column: c.column };
                let panel = (panel.cast_const(), width);
                tile::multiply_panel(simd, (a_rows, rows.len()), panel, depth, update, target, columns_here, following);
            }
            column += width;
        }
    }
}
