//! The register tile of the matrix product: up to six rows of C, up to [`MOST_VECTORS`] vectors wide.
//!
//! Of the operands, A is read element by element wherever it lies, B as whole vectors from a packed panel.

#![expect(unsafe_code, reason = "the tile addresses its operands by pointer")]

use std::mem::MaybeUninit;

use super::blocked::Matrix;
use crate::Element;
use crate::simd::products::{TilePanels, TileRows, vectors};
use crate::simd::{Kernel, LINE_BYTES, MAX_LANES, Simd};

/// The most rows of a tile.
pub(crate) const MOST_ROWS: usize = 6;
/// The most vectors in a row of a tile, over all instruction sets.
const MOST_VECTORS: usize = 4;
/// The most columns of a tile, over all instruction sets and elements.
pub(crate) const MOST_WIDTH: usize = MOST_VECTORS * MAX_LANES;

/// Columns of a whole tile.
pub(crate) const fn width<T: Copy, S: Simd<T>>() -> usize {
    vectors::<T, S>() * S::LANES
}

/// Columns of the panel for `columns` that are left: whole vectors, 1, 2 or 4.
pub(crate) const fn panel_width<T: Copy, S: Simd<T>>(columns: usize) -> usize {
    if columns <= S::LANES {
        S::LANES
    } else if columns <= 2 * S::LANES {
        2 * S::LANES
    } else {
        width::<T, S>()
    }
}

/// Cuts `rows` into tiles of about equal height, at most `most`: (first row, rows).
#[inline(always)]
pub(crate) fn row_tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    let (height, taller) = rows.checked_div(count).map_or((0, 0), |height| (height, rows % count));
    (0..count).map(move |tile| (tile * height + tile.min(taller), height + usize::from(tile < taller)))
}

/// What a tile multiplies.
#[derive(Clone, Copy)]
struct Operands<T> {
    rows: TileRows<T>,
    /// The panel of B, `[depth, width]`.
    panel: *const T,
    width: usize,
    depth: usize,
}

/// What becomes of the sums `AB` of a tile: `C = α AB + β C`, with C not read where β is 0.
#[derive(Clone, Copy)]
pub(crate) struct Update<T> {
    pub(crate) alpha: T,
    pub(crate) beta: T,
}

/// Rows of A.
#[derive(Clone, Copy)]
pub(crate) enum Rows<T> {
    /// `a[r, k]` is at `pointer + r · row + k`.
    Strided { pointer: *const T, row: isize },
    /// Tile by tile, as [`row_tiles`] cuts them, `[depth, rows of the tile]`.
    Tiles(*const T),
}

/// Columns of B, each of neighbouring elements, that are fetched while a strip is computed.
#[derive(Clone, Copy)]
pub(crate) struct Following<T> {
    pub(crate) pointer: *const T,
    /// From one column to the next.
    pub(crate) stride: isize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
}

impl<T: Element> Following<T> {
    /// Fetches part `index` of `count` equal ones.
    #[inline(always)]
    fn fetch<S: Simd<T>>(self, simd: S, index: usize, count: usize) {
        let line = LINE_BYTES / size_of::<T>();
        for column in self.columns * index / count..self.columns * (index + 1) / count {
            for k in (0..self.depth).step_by(line) {
                simd.prefetch(self.pointer.wrapping_offset(column as isize * self.stride + k as isize));
            }
        }
    }
}

/// The product of some rows of A with one panel of B.
struct Strip<T> {
    a: Rows<T>,
    rows: usize,
    panel: *const T,
    width: usize,
    depth: usize,
    update: Update<T>,
    c: Matrix<*mut T>,
    columns: usize,
    following: Option<Following<T>>,
}

/// Computes `rows` × `columns` of C from rows of A and a panel of B, `[depth, width]`.
///
/// # Safety
/// A must be valid for reads of `rows` × `depth` elements, the panel for `depth` × `width`, and C for reads and writes of
/// `rows` × `columns`, which nothing else accesses; `columns` is from 1 to `width`, and `width` is that of [`panel_width`].
#[inline(always)]
pub(crate) unsafe fn multiply_panel<T: Element, S: Simd<T>>(
    simd: S,
    (a, rows): (Rows<T>, usize),
    (panel, width): (*const T, usize),
    depth: usize,
    update: Update<T>,
    c: Matrix<*mut T>,
    columns: usize,
    following: Option<Following<T>>,
) {
    // All products share it.
    simd.call(Strip { a, rows, panel, width, depth, update, c, columns, following });
}

impl<T: Element> Kernel<T> for Strip<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { a, rows, panel, width, depth, update, c, columns, following } = self;
        let tiles = rows.div_ceil(MOST_ROWS);
        let is_whole = columns == width && c.column == 1;
        let mut edge = MaybeUninit::<[T; MOST_ROWS * MOST_WIDTH]>::uninit();
        let edge: *mut T = edge.as_mut_ptr().cast();
        for (tile, (row, height)) in row_tiles(rows, MOST_ROWS).enumerate() {
            if let Some(following) = following {
                following.fetch(simd, tile, tiles);
            }
            // SAFETY: made by `multiply_panel` alone, whose caller grants A, the panel and C; `edge` has room for every tile,
            // and with a β other than 0 it is filled first.
            unsafe {
                let rows = match a {
                    Rows::Strided { pointer, row: pitch } => {
                        TileRows::Strided { pointer: pointer.offset(row as isize * pitch), row: pitch }
                    }
                    Rows::Tiles(pointer) => TileRows::Packed(pointer.add(row * depth)),
                };
                let operands = Operands { rows, panel, width, depth };
                let target = Matrix { pointer: c.at(row, 0), ..c };
                if is_whole {
                    choose_size(simd, operands, update, target.pointer, c.row, height);
                    continue;
                }
                if update.beta != T::zero() {
                    for (r, w) in (0..height).flat_map(|r| (0..width).map(move |w| (r, w))) {
                        let value = if w < columns { target.at(r, w).read() } else { T::zero() };
                        edge.add(r * width + w).write(value);
                    }
                }
                choose_size(simd, operands, update, edge, width as isize, height);
                for (r, w) in (0..height).flat_map(|r| (0..columns).map(move |w| (r, w))) {
                    target.at(r, w).write(edge.add(r * width + w).read());
                }
            }
        }
    }
}

/// Evaluates `$call` with the constant `$R`, the number of rows, which is from 1 to [`MOST_ROWS`].
macro_rules! with_rows {
    (@arms $rows:expr, $R:ident, $call:expr, $($count:literal)*) => {
        match $rows {
            $($count => { const $R: usize = $count; $call })*
            _ => { const $R: usize = $crate::gemm::tile::MOST_ROWS; $call }
        }
    };
    ($rows:expr, $R:ident => $call:expr) => { with_rows!(@arms $rows, $R, $call, 1 2 3 4 5) };
}
pub(crate) use with_rows;

/// # Safety
/// As for [`multiply_panel`], for one tile with whole rows of the panel's width.
#[inline(always)]
unsafe fn choose_size<T: Element, S: Simd<T>>(
    simd: S,
    operands: Operands<T>,
    update: Update<T>,
    c: *mut T,
    c_row: isize,
    rows: usize,
) {
    // SAFETY: granted by the caller.
    unsafe {
        match operands.width / S::LANES {
            1 => with_rows!(rows, R => tile::<T, S, R, 1>(simd, operands, update, c, c_row)),
            2 => with_rows!(rows, R => tile::<T, S, R, 2>(simd, operands, update, c, c_row)),
            // Only 512-bit registers have tiles this wide; elsewhere the branch is removed.
            _ if vectors::<T, S>() < 4 => {}
            _ => with_rows!(rows, R => tile::<T, S, R, 4>(simd, operands, update, c, c_row)),
        }
    }
}

/// `R` rows of `V` vectors: every sum stays in a register over the depth.
///
/// # Safety
/// As for [`choose_size`], with `R` rows and `V` vectors.
#[inline(always)]
unsafe fn tile<T: Element, S: Simd<T>, const R: usize, const V: usize>(
    simd: S,
    operands: Operands<T>,
    update: Update<T>,
    c: *mut T,
    c_row: isize,
) {
    let Operands { rows, panel, depth, .. } = operands;
    // What the next panel updates, of which no line follows another.
    for row in 0..R {
        simd.prefetch(c.cast_const().wrapping_offset(row as isize * c_row).wrapping_add(V * S::LANES));
    }
    // SAFETY: the offsets stay inside the areas that the caller grants.
    unsafe {
        let mut sums = [[simd.splat(T::zero()); V]; R];
        let panels = TilePanels { first: panel, apart: 0, following: panel };
        simd.add_products(&mut sums, rows, panels, depth);
        let [alpha, beta] = [simd.splat(update.alpha), simd.splat(update.beta)];
        for (row, sums) in sums.iter().enumerate() {
            let c = c.offset(row as isize * c_row);
            for (v, &sum) in sums.iter().enumerate() {
                let target = c.add(v * S::LANES);
                let value = if update.beta == T::zero() {
                    simd.mul(alpha, sum)
                } else {
                    simd.mul_add(alpha, sum, simd.mul(beta, simd.load_ptr(target)))
                };
                simd.store_ptr(target, value);
            }
        }
    }
}
