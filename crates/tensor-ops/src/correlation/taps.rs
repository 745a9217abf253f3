//! Which source pixels an output position meets.

use crate::{TensorError, Window};

/// The offsets between output positions and source pixels: all pairs of a row offset and a column offset.
///
/// Output position `(i, j)` meets pixel `(i · stride[0] + rows[a], j · stride[1] + columns[b])`; pixels outside of the
/// source are zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taps {
    /// Height and width of the source.
    pub source: [usize; 2],
    /// Rows and columns of output positions.
    pub output: [usize; 2],
    /// Source rows and columns between neighbouring output positions; 0 counts as 1.
    pub stride: [usize; 2],
    /// Row offsets.
    pub rows: Vec<isize>,
    /// Column offsets.
    pub columns: Vec<isize>,
}

/// The taps that the gradient of one phase of a convolution's input has, and the kernel positions they stand for.
#[derive(Clone, Debug)]
pub struct PhaseTaps {
    /// From positions of the phase to output positions of the convolution.
    pub taps: Taps,
    /// The kernel row of every row offset.
    pub kernel_rows: Vec<usize>,
    /// The kernel column of every column offset.
    pub kernel_columns: Vec<usize>,
}

impl Taps {
    /// The taps of a convolution with `window` over images of `source` = `[height, width]`.
    ///
    /// # Errors
    /// [`TensorError`], in the name of `operation`, if the window does not fit.
    pub fn of_window(operation: &'static str, window: &Window, source: [usize; 2]) -> Result<Self, TensorError> {
        let output = window.output_size_of(operation, source)?;
        let offsets = |axis: usize, before: usize| {
            let offset = |k| (k * window.dilation[axis]) as isize - before as isize;
            (0..window.kernel[axis]).map(offset).collect()
        };
        let (rows, columns) = (offsets(0, window.padding.top), offsets(1, window.padding.left));
        Ok(Self { source, output, stride: window.stride, rows, columns })
    }

    /// The number of pixels that an output position meets.
    pub fn count(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    pub(super) fn with_least_stride(self) -> Self {
        Self { stride: self.stride.map(|stride| stride.max(1)), ..self }
    }

    /// The source rows from the first to the last one that a band of output rows meets.
    pub(super) fn source_rows(&self, band_rows: usize) -> usize {
        (band_rows.max(1) - 1) * self.stride[0] + span(&self.rows) + 1
    }
}

impl PhaseTaps {
    /// The taps of the gradient of the input pixels `(phase[0] + i · stride, phase[1] + j · stride)`.
    ///
    /// Pixel `y` meets output row `(y + top − k · dilation) / stride` through kernel row `k`, where that is integral;
    /// this depends on `y` modulo the stride alone. A phase that no kernel position meets has no taps.
    ///
    /// # Errors
    /// [`TensorError`], in the name of `operation`, if the window does not fit the input.
    pub fn of_window(
        operation: &'static str,
        window: &Window,
        input: [usize; 2],
        phase: [usize; 2],
    ) -> Result<Self, TensorError> {
        let source = window.output_size_of(operation, input)?;
        let before = [window.padding.top, window.padding.left];
        let meet = |axis: usize| -> (Vec<usize>, Vec<isize>) {
            let stride = window.stride[axis] as isize;
            let distance = |k| (phase[axis] + before[axis]) as isize - (k * window.dilation[axis]) as isize;
            let kernel = (0..window.kernel[axis]).filter(|&k| distance(k) % stride == 0);
            kernel.map(|k| (k, distance(k) / stride)).unzip()
        };
        let (kernel_rows, rows) = meet(0);
        let (kernel_columns, columns) = meet(1);
        let positions = |axis: usize| input[axis].saturating_sub(phase[axis]).div_ceil(window.stride[axis]);
        let taps = Taps { source, output: [positions(0), positions(1)], stride: [1, 1], rows, columns };
        Ok(Self { taps, kernel_rows, kernel_columns })
    }
}

/// The distance from the least to the greatest offset.
pub(super) fn span(offsets: &[isize]) -> usize {
    match (offsets.iter().min(), offsets.iter().max()) {
        (Some(least), Some(greatest)) => (greatest - least) as usize,
        _ => 0,
    }
}
