//! Matrices packed once for many products, and the recurrent kernels that run on them.

use std::mem::MaybeUninit;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use crate::gemm::tile;
use crate::packed::buffer::AlignedBuffer;
use crate::packed::kernel::{Origin, Rows, Target, product};
use crate::packed::lstm::{Backward, Forward};
use crate::packed::pack::BlockCopy;
use crate::simd::{Dispatch, Kernel, Simd};
use crate::{Element, Isa, TensorError, check_axis, check_not_empty};

mod buffer;
mod gates;
mod kernel;
mod lstm;
mod once;
mod pack;
#[cfg(test)]
mod tests;

pub use gates::{CELL_GATE, FORGET_GATE, GATES, GateLayout, INPUT_GATE, OUTPUT_GATE};
pub use lstm::{LstmStep, LstmStepBackward, lstm_step, lstm_step_backward};
pub use once::multiply_unpacked;
pub use pack::Run;

/// Multiply-adds that a thread should have: fewer are done before another thread has woken up.
const LEAST_WORK: usize = 1 << 18;

/// What the elements of a product start from.
#[derive(Clone, Copy, Debug)]
pub enum ProductStart<'a, T> {
    /// Zero: the destination is written, never read.
    Zero,
    /// A value for each column, such as a bias: the destination is written, never read.
    Row(&'a [T]),
    /// The values of the destination: the product is added to them.
    Output,
}

impl<T> ProductStart<'_, T> {
    /// The starts of the columns before `column` and of those from it.
    fn split_at(self, column: usize) -> (Self, Self) {
        match self {
            Self::Zero => (Self::Zero, Self::Zero),
            Self::Row(row) => {
                let (left, right) = row.split_at(column);
                (Self::Row(left), Self::Row(right))
            }
            Self::Output => (Self::Output, Self::Output),
        }
    }

    /// The start of some columns.
    fn part(self, columns: Range<usize>) -> Self {
        self.split_at(columns.start).1.split_at(columns.len()).0
    }
}

/// The number of parts that a product of this shape is worth.
fn parts(rows: usize, depth: usize, columns: usize) -> usize {
    let work = rows.max(2) * depth * columns;
    if work < 2 * LEAST_WORK { 1 } else { rayon::current_num_threads().min(work / LEAST_WORK) }
}

/// Checks the operands of a product with a matrix `[depth, columns]`.
fn check_operands<T: Element, C>(
    depth: usize,
    columns: usize,
    a: &ArrayView2<'_, T>,
    start: ProductStart<'_, T>,
    c: &ArrayViewMut2<'_, C>,
) -> Result<(), TensorError> {
    check_axis("PackedMatrix", "columns of the left operand", depth, a.ncols())?;
    check_axis("PackedMatrix", "rows of the output", a.nrows(), c.nrows())?;
    check_axis("PackedMatrix", "columns of the output", columns, c.ncols())?;
    match start {
        ProductStart::Row(row) => check_axis("PackedMatrix", "columns of the start row", columns, row.len()),
        ProductStart::Zero | ProductStart::Output => Ok(()),
    }
}

/// The right operand B of products C = A·B, laid out once for the kernel of this CPU.
///
/// The columns are cut into panels of a few vectors, and a panel holds its part of every row of B one after another, so
/// that a product streams B once: a product with few rows runs at the speed of memory, one with many at that of the
/// arithmetic units.
///
/// An element of C is computed from its row of A and its column of B in one order, rising along the depth, whatever the
/// number of rows, their positions and the number of threads: the same row gives the same bits everywhere.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::{PackedMatrix, ProductStart};
///
/// let weight = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
/// let packed = PackedMatrix::new(weight.t())?;
/// let mut output = array![[f32::NAN, f32::NAN]];
/// packed.multiply(array![[1.0, 0.0, -1.0]].view(), ProductStart::Zero, output.view_mut())?;
/// assert_eq!(output, array![[-2.0, -2.0]]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedMatrix<T> {
    panels: AlignedBuffer<T>,
    depth: usize,
    columns: usize,
    /// Columns of a panel.
    width: usize,
    isa: Isa,
}

impl<T: Element> PackedMatrix<T> {
    /// Packs the matrix `[depth, columns]`, of any strides.
    ///
    /// # Errors
    /// [`TensorError::EmptyAxis`] if an axis has no entry.
    pub fn new(matrix: ArrayView2<'_, T>) -> Result<Self, TensorError> {
        Self::with_isa(Isa::selected(), matrix)
    }

    /// Packs the matrix for the instructions `isa`, or for portable ones where the CPU lacks `isa`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_isa(isa: Isa, matrix: ArrayView2<'_, T>) -> Result<Self, TensorError> {
        let (rows, columns) = matrix.dim();
        Self::from_runs(isa, matrix, &[Run::whole(rows)], &[Run::whole(columns)])
    }

    /// The number of rows of B.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The number of columns of B.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The instructions that the matrix is packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// C = start + A·B for `a` `[rows, depth]` and `c` `[rows, columns]`, of any strides; fastest where the columns of C
    /// lie side by side. Allocates nothing.
    ///
    /// # Errors
    /// [`TensorError::AxisSize`] if an axis of `a`, of `c` or of the start row does not fit.
    pub fn multiply(
        &self,
        a: ArrayView2<'_, T>,
        start: ProductStart<'_, T>,
        c: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        self.multiply_to(a, start, view_for_writing(c))
    }

    /// A·B as a new array, which is not filled with zeros first.
    ///
    /// # Errors
    /// As [`Self::multiply`].
    ///
    /// ```
    /// use ndarray::array;
    /// use tensor_ops::PackedMatrix;
    ///
    /// let packed = PackedMatrix::new(array![[1.0_f32, 2.0], [3.0, 4.0]].view())?;
    /// assert_eq!(packed.product(array![[1.0, -1.0]].view())?, array![[-2.0, -2.0]]);
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn product(&self, a: ArrayView2<'_, T>) -> Result<Array2<T>, TensorError> {
        let mut c = Array2::uninit((a.nrows(), self.columns));
        self.multiply_to(a, ProductStart::Zero, c.view_mut())?;
        // SAFETY: products that start from zero write every element.
        #[expect(unsafe_code, reason = "large results are written once")]
        Ok(unsafe { c.assume_init() })
    }

    /// [`Self::multiply`] to elements that are initialised where they are what `start` says.
    fn multiply_to(
        &self,
        a: ArrayView2<'_, T>,
        start: ProductStart<'_, T>,
        c: ArrayViewMut2<'_, MaybeUninit<T>>,
    ) -> Result<(), TensorError> {
        check_operands(self.depth, self.columns, &a, start, &c)?;
        if a.nrows() > 0 {
            let parts = self.parts(a.nrows());
            self.multiply_parts(a, start, c, 0..self.panel_count(), parts);
        }
        Ok(())
    }

    /// The number of parts that a product with `rows` rows is worth.
    fn parts(&self, rows: usize) -> usize {
        parts(rows, self.depth, self.columns)
    }

    fn panel_count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// Computes the columns of `panels`, which are those of `c`, in `parts` parts.
    fn multiply_parts(
        &self,
        a: ArrayView2<'_, T>,
        start: ProductStart<'_, T>,
        c: ArrayViewMut2<'_, MaybeUninit<T>>,
        panels: Range<usize>,
        parts: usize,
    ) {
        if parts > 1 && panels.len() > 1 && (c.ncols() >= c.nrows() || c.nrows() < 2 * parts) {
            let left = panels.len() * (parts / 2) / parts;
            let left = left.max(1);
            let middle = panels.start + left;
            let (c_left, c_right) = c.split_at(Axis(1), left * self.width);
            let (start_left, start_right) = start.split_at(left * self.width);
            rayon::join(
                || self.multiply_parts(a, start_left, c_left, panels.start..middle, parts / 2),
                || self.multiply_parts(a, start_right, c_right, middle..panels.end, parts - parts / 2),
            );
        } else if parts > 1 && c.nrows() > 1 {
            let middle = (c.nrows() * (parts / 2) / parts).max(1);
            let (c_upper, c_lower) = c.split_at(Axis(0), middle);
            let (a_upper, a_lower) = a.split_at(Axis(0), middle);
            rayon::join(
                || self.multiply_parts(a_upper, start, c_upper, panels.clone(), parts / 2),
                || self.multiply_parts(a_lower, start, c_lower, panels.clone(), parts - parts / 2),
            );
        } else {
            T::run_product(self.isa, Product { matrix: self, a, start, c, panels });
        }
    }

    /// The first element of the panels from `panel`.
    fn panels_from(&self, panel: usize) -> *const T {
        self.panels.as_slice()[panel * self.width * self.depth..].as_ptr()
    }
}

/// Entries of the kernels per element type, so that they are compiled in this crate and not again in every crate that
/// uses them.
pub(crate) trait PackedKernels: Sized {
    fn run_product(isa: Isa, product: Product<'_, Self>);
    fn run_forward(isa: Isa, step: Forward<'_, Self>);
    fn run_backward(isa: Isa, step: Backward<'_, Self>);
    fn run_copy(isa: Isa, copy: BlockCopy<'_, Self>);
}

macro_rules! impl_packed_kernels {
    ($($element:ty),*) => {$(
        impl PackedKernels for $element {
            fn run_product(isa: Isa, product: Product<'_, Self>) {
                Self::dispatch_on(isa, product);
            }
            fn run_forward(isa: Isa, step: Forward<'_, Self>) {
                Self::dispatch_on(isa, step);
            }
            fn run_backward(isa: Isa, step: Backward<'_, Self>) {
                Self::dispatch_on(isa, step);
            }
            fn run_copy(isa: Isa, copy: BlockCopy<'_, Self>) {
                Self::dispatch_on(isa, copy);
            }
        }
    )*};
}

impl_packed_kernels!(f32, f64);

/// The elements in a vector of `isa`, and the columns of a panel.
fn lanes_and_width<T: Element>(isa: Isa) -> (usize, usize) {
    struct Sizes;
    impl<T: Copy> Kernel<T> for Sizes {
        type Output = (usize, usize);
        #[inline(always)]
        fn run<S: Simd<T>>(self, _: S) -> Self::Output {
            (S::LANES, tile::width::<T, S>())
        }
    }
    T::dispatch_on(isa, Sizes)
}

/// The rows of a view, as the kernels take them.
fn rows_of<T: Element>(view: &ArrayView2<'_, T>) -> Rows<T> {
    Rows {
        pointer: view.as_ptr(),
        row_stride: view.strides()[0],
        depth_stride: view.strides()[1],
        rows: view.nrows(),
        depth: view.ncols(),
    }
}

/// The destination of a view, as the kernels take it.
fn target_of<T>(view: &mut ArrayViewMut2<'_, T>) -> Target<T> {
    Target {
        pointer: view.as_mut_ptr(),
        row_stride: view.strides()[0],
        column_stride: view.strides()[1],
        columns: view.ncols(),
    }
}

/// The same elements, to be written without being read.
fn view_for_writing<T>(mut view: ArrayViewMut2<'_, T>) -> ArrayViewMut2<'_, MaybeUninit<T>> {
    // SAFETY: the layout is the same, and the borrow is passed on. Kernels write values of T.
    #[expect(unsafe_code, reason = "ndarray has no safe form of it")]
    unsafe {
        view.raw_view_mut().cast::<MaybeUninit<T>>().deref_into_view_mut()
    }
}

/// The product of one thread.
pub(crate) struct Product<'a, T> {
    matrix: &'a PackedMatrix<T>,
    a: ArrayView2<'a, T>,
    start: ProductStart<'a, T>,
    /// Initialised where it is what `start` says.
    c: ArrayViewMut2<'a, MaybeUninit<T>>,
    panels: Range<usize>,
}

impl<T: Element> Kernel<T> for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, simd: S) {
        debug_assert_eq!(self.matrix.width, tile::width::<T, S>(), "packed for these instructions");
        let origin = match self.start {
            ProductStart::Zero => Origin::Zero,
            ProductStart::Row(row) => Origin::Row(row.as_ptr()),
            ProductStart::Output => Origin::Output,
        };
        let panels = self.matrix.panels_from(self.panels.start);
        // SAFETY: `check_operands` found that the shapes fit, `c` is borrowed uniquely and covers the columns of `panels`, and
        // the matrix was packed with the width of `S`.
        #[expect(unsafe_code, reason = "the kernel addresses its operands by pointer")]
        unsafe {
            product(simd, rows_of(&self.a), panels, origin, target_of(&mut self.c).cast());
        }
    }
}
