//! Products with a matrix that is used once, of which at most a part is packed at a time.

use ndarray::{ArrayView2, ArrayViewMut2, s};

use super::buffer::for_writing;
use super::pack::{has_gaps, pack_panels, packed_shape, part_of};
use super::*;
use crate::with_scratch;

/// C = start + A·B for a matrix B that is used once: as [`PackedMatrix::from_runs`] followed by
/// [`PackedMatrix::multiply`] and of the same bits where all values are finite, but B is not packed as a whole.
///
/// Where the columns of B are read in order, as those of transposed weights are, A is packed instead, and the product is that
/// of the transposed matrices. Otherwise B is packed a few panels at a time, to memory that stays in the cache.
///
/// It pays where `a` has few rows: with many, packing all of B costs less than reading A anew for every part of it.
///
/// # Errors
/// As [`PackedMatrix::from_runs`] and [`PackedMatrix::multiply`].
pub fn multiply_unpacked<T: Element>(
    isa: Isa,
    a: ArrayView2<'_, T>,
    source: ArrayView2<'_, T>,
    rows: &[Run],
    columns: &[Run],
    start: ProductStart<'_, T>,
    c: ArrayViewMut2<'_, T>,
) -> Result<(), TensorError> {
    let (depth, column_count) = packed_shape(source, rows, columns)?;
    check_operands(depth, column_count, &a, start, &c)?;
    if a.nrows() == 0 {
        return Ok(());
    }
    let (_, width) = lanes_and_width::<T>(isa);
    let parts = parts(a.nrows(), depth, column_count);
    let is_worth_it = (LEAST_TURNED..=depth / LEAST_DEPTH_PER_ROW).contains(&a.nrows());
    let fits = source.strides()[0] == 1 && c.strides()[1] == 1 && c.strides()[0] > 0;
    match source_rows(rows).filter(|_| is_worth_it && fits) {
        Some(source_rows) => {
            let packed = PackedMatrix::from_runs(isa, a.t(), &Run::unpadded(rows), &[Run::whole(a.nrows())])?;
            let turned = Turned { packed, source: source.slice(s![source_rows, ..]).reversed_axes(), columns };
            share(width, start, c, 0, parts, &|start, c, first| turned.part(start, c, first));
        }
        None => {
            let blocks = Blocks { isa, a, source, rows: &depth_blocks(rows, depth), columns, width };
            share(width, start, c, 0, parts, &|start, c, first| blocks.part(start, c, first));
        }
    }
    Ok(())
}

/// Calls `part` for `parts` parts of C that are whole panels of `width` columns, each with its first packed column.
fn share<T: Element>(
    width: usize,
    start: ProductStart<'_, T>,
    c: ArrayViewMut2<'_, T>,
    first: usize,
    parts: usize,
    part: &(impl Fn(ProductStart<'_, T>, ArrayViewMut2<'_, T>, usize) + Sync),
) {
    let panels = c.ncols().div_ceil(width);
    if parts > 1 && panels > 1 {
        let columns = (panels * (parts / 2) / parts).max(1) * width;
        let (left, right) = c.split_at(Axis(1), columns);
        let (start_left, start_right) = start.split_at(columns);
        rayon::join(
            || share(width, start_left, left, first, parts / 2, part),
            || share(width, start_right, right, first + columns, parts - parts / 2, part),
        );
    } else {
        part(start, c, first);
    }
}

/// Panels that are packed at a time.
const PANELS_AT_ONCE: usize = 8;
/// Their depth: they take half of a second-level cache of 512 KiB.
const DEPTH_AT_ONCE: usize = 512;

/// The packed rows in blocks of [`DEPTH_AT_ONCE`].
fn depth_blocks(rows: &[Run], depth: usize) -> Vec<Vec<Run>> {
    (0..depth).step_by(DEPTH_AT_ONCE).map(|first| part_of(rows, first..first + DEPTH_AT_ONCE)).collect()
}

/// A product with some panels over some depth at a time.
struct Blocks<'a, T> {
    isa: Isa,
    a: ArrayView2<'a, T>,
    source: ArrayView2<'a, T>,
    rows: &'a [Vec<Run>],
    columns: &'a [Run],
    width: usize,
}

impl<T: Element> Blocks<'_, T> {
    /// Computes the packed columns from `first`, which are those of `c`.
    fn part(&self, mut start: ProductStart<'_, T>, mut c: ArrayViewMut2<'_, T>, mut first: usize) {
        let most_depth = self.a.ncols().min(DEPTH_AT_ONCE);
        let most_panels = c.ncols().div_ceil(self.width).min(PANELS_AT_ONCE);
        let mut matrix = PackedMatrix {
            panels: AlignedBuffer::zeros(most_panels * most_depth * self.width),
            depth: 0,
            columns: 0,
            width: self.width,
            isa: self.isa,
        };
        while c.ncols() > 0 {
            matrix.columns = c.ncols().min(most_panels * self.width);
            let panels = matrix.columns.div_ceil(self.width);
            let (mut now, rest) = c.split_at(Axis(1), matrix.columns);
            let (mut start_now, start_rest) = start.split_at(matrix.columns);
            let columns = part_of(self.columns, first..first + matrix.columns);
            for (block, rows) in self.rows.iter().enumerate() {
                let k = block * DEPTH_AT_ONCE;
                matrix.depth = DEPTH_AT_ONCE.min(self.a.ncols() - k);
                let target = &mut matrix.panels.as_mut_slice()[..panels * matrix.depth * self.width];
                if has_gaps(rows, &columns) {
                    target.fill(T::zero());
                }
                pack_panels(self.isa, self.source, rows, &columns, self.width, for_writing(target));
                let a = self.a.slice(s![.., k..k + matrix.depth]);
                let c = view_for_writing(now.view_mut());
                T::run_product(self.isa, Product { matrix: &matrix, a, start: start_now, c, panels: 0..panels });
                start_now = ProductStart::Output;
            }
            first += matrix.columns;
            (c, start) = (rest, start_rest);
        }
    }
}

/// With fewer rows of A, the panels of its transpose would be too empty.
const LEAST_TURNED: usize = 8;
/// With less depth for every row of A, packing B costs less than packing A and turning C.
const LEAST_DEPTH_PER_ROW: usize = 8;

/// Columns of C that are written together.
const TURNED_COLUMNS: usize = 96;

/// The rows of the source that the runs name, where they follow one another.
fn source_rows(rows: &[Run]) -> Option<Range<usize>> {
    let start = rows.first()?.start;
    let mut end = start;
    for run in rows {
        if run.start != end {
            return None;
        }
        end += run.length;
    }
    (start < end).then_some(start..end)
}

/// Columns of the source that are neighbours in C too.
#[derive(Clone, Copy)]
struct Piece {
    /// The first of them in the source.
    source: usize,
    length: usize,
    /// The first of them in C.
    place: usize,
}

impl Piece {
    /// Where it is in C.
    fn columns(self) -> Range<usize> {
        self.place..self.place + self.length
    }
}

/// The product of the transposed matrices, which reads the columns of B in place.
struct Turned<'a, T> {
    /// Aᵀ, without the rows that meet no row of the source.
    packed: PackedMatrix<T>,
    /// The columns of the source, as rows.
    source: ArrayView2<'a, T>,
    columns: &'a [Run],
}

impl<T: Element> Turned<'_, T> {
    /// Computes the packed columns from `first`, which are those of `c`.
    fn part(&self, start: ProductStart<'_, T>, mut c: ArrayViewMut2<'_, T>, first: usize) {
        // Neighbours in C together, so that its lines are written once.
        for place in (0..c.ncols()).step_by(TURNED_COLUMNS) {
            let end = c.ncols().min(place + TURNED_COLUMNS);
            let columns = c.slice_mut(s![.., place..end]);
            self.columns(start.part(place..end), columns, first + place);
        }
    }

    /// Computes some columns, of which the first is the packed column `first`.
    fn columns(&self, start: ProductStart<'_, T>, mut c: ArrayViewMut2<'_, T>, first: usize) {
        let (mut place, mut pieces) = (0, Vec::new());
        for run in part_of(self.columns, first..first + c.ncols()) {
            pieces.push(Piece { source: run.start, length: run.length, place });
            let gap = place + run.length..place + run.padded;
            write_start(start.part(gap.clone()), c.slice_mut(s![.., gap]).reversed_axes());
            place += run.padded;
        }
        pieces.sort_unstable_by_key(|piece| piece.source);
        for pieces in pieces.chunk_by(|piece, next| piece.source + piece.length == next.source) {
            self.multiply(pieces, start, &mut c);
        }
    }

    /// Computes the columns of pieces that follow one another in the source.
    fn multiply(&self, pieces: &[Piece], start: ProductStart<'_, T>, c: &mut ArrayViewMut2<'_, T>) {
        let (first, rows, isa) = (pieces[0].source, c.nrows(), self.packed.isa);
        let columns = pieces.iter().map(|piece| piece.length).sum::<usize>();
        if columns == 0 {
            return;
        }
        with_scratch(columns * rows, |scratch| {
            let mut turned = ArrayViewMut2::from_shape((columns, rows), scratch).expect("as many elements");
            let rows_of = |piece: &Piece| s![piece.source - first..piece.source - first + piece.length, ..];
            for piece in pieces {
                let mut target = turned.slice_mut(rows_of(piece));
                if matches!(start, ProductStart::Output) {
                    target.assign(&c.slice(s![.., piece.columns()]).t());
                } else {
                    write_start(start.part(piece.columns()), target);
                }
            }
            T::run_product(
                isa,
                Product {
                    matrix: &self.packed,
                    a: self.source.slice(s![first..first + columns, ..]),
                    start: ProductStart::Output,
                    c: view_for_writing(turned.view_mut()),
                    panels: 0..self.packed.panel_count(),
                },
            );
            for piece in pieces {
                let block = turned.slice(rows_of(piece)).reversed_axes();
                let mut target = c.slice_mut(s![.., piece.columns()]);
                // The rows of C are those of one panel, as wide as they are apart.
                let width = target.strides()[0].unsigned_abs();
                let copy = BlockCopy { block, target: target.as_mut_ptr(), place: 0, width, panel_length: 0 };
                T::run_copy(isa, copy);
            }
        });
    }
}

/// Writes what the columns of a product start from to its transpose; nothing for those that start from what they hold.
fn write_start<T: Element>(start: ProductStart<'_, T>, mut columns: ArrayViewMut2<'_, T>) {
    match start {
        ProductStart::Zero => columns.fill(T::zero()),
        ProductStart::Row(row) => {
            columns.rows_mut().into_iter().zip(row).for_each(|(mut column, &value)| column.fill(value));
        }
        ProductStart::Output => {}
    }
}
