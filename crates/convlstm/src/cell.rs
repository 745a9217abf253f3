//! The cells: what one step does with the sums of its convolutions.

use std::fmt::Debug;
use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, Axis, ShapeBuilder};
use tensor_ops::Element;

use crate::ConvLstmError;
use crate::gradients::SequenceGradients;
use crate::packed::{PackedBackward, PackedDirection};

mod gru;
mod lstm;
mod normalisation;

pub use gru::GruCell;
pub use lstm::{LstmCell, Peepholes};

/// A kind of cell, [`LstmCell`] or [`GruCell`], whose value holds the options of one layer.
///
/// Sealed: other types cannot implement it.
#[expect(private_bounds, reason = "a supertrait that other crates cannot name seals the trait")]
pub trait Cell: CellSteps + Clone + Debug + Default + PartialEq + Send + Sync + 'static {
    /// The name of the layer, as errors spell it.
    const NAME: &'static str;
    /// The gates: the rows of the weights are this many blocks of the state's channels.
    const GATES: usize;
    /// Whether there are cell values beside the hidden ones.
    const HAS_CELL: bool;
}

/// The maps that a step keeps for each channel of the state: the four gates of an LSTM; r, z, n and m of a GRU.
pub(crate) const MAPS: usize = 4;

/// The arrays that a cell has beside weights and biases.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) bias_hn: bool,
    /// Height and width.
    pub(crate) peepholes: Option<[usize; 2]>,
    pub(crate) normalised: bool,
}

/// The steps of a cell.
pub(crate) trait CellSteps {
    /// Checks the options for a layer of so many channels.
    fn validate(&self, hidden_channels: usize, bias: bool) -> Result<(), ConvLstmError>;

    /// Checks that the options allow maps of this size.
    fn check_size(&self, _size: [usize; 2]) -> Result<(), ConvLstmError> {
        Ok(())
    }

    fn parts(&self) -> Parts;

    /// The block of the bias that is set at the start, and its value.
    fn forget_bias(&self) -> Option<(usize, f64)> {
        None
    }

    /// The groups over which gates are normalised; 0 where they are not.
    fn normalisation_groups(&self) -> usize {
        0
    }

    /// Whether a step needs room for its maps even where no backward pass follows.
    fn needs_maps(&self) -> bool;

    /// The gates whose part of the state's convolution is computed by itself: the last so many blocks of rows.
    fn separate_gates() -> usize;

    /// For the separate gates: the maps that their convolution sees, where it is not the state, and those whose gradients it
    /// meets.
    fn candidate_maps(&self, _hidden_channels: usize) -> Option<(Option<Range<usize>>, Range<usize>)> {
        None
    }

    /// Computes one step of one sequence.
    fn advance<T: Element>(&self, direction: &PackedDirection<T>, step: Step<'_, T>) -> Result<(), ConvLstmError>;

    /// Takes the gradients of one step of one sequence back.
    fn retreat<T: Element>(
        &self,
        direction: &PackedDirection<T>,
        backward: &PackedBackward<T>,
        step: StepBackward<'_, T>,
    ) -> Result<(), ConvLstmError>;
}

/// One step of one sequence: maps `[channels, height, width]` in standard layout.
#[derive(Debug)]
pub(crate) struct Step<'a, T> {
    pub(crate) input: Option<ArrayView3<'a, T>>,
    /// The state of the previous step, which is zero where `starts`.
    pub(crate) previous_hidden: ArrayView3<'a, T>,
    pub(crate) previous_cell: ArrayView3<'a, T>,
    /// Whether nothing came before: the state's convolution is left out.
    pub(crate) starts: bool,
    /// What a backward pass or the cell itself reads; of no channels where neither does.
    pub(crate) maps: ArrayViewMut3<'a, T>,
    /// The normalised sums and the inverse deviations of the groups; empty without normalisation.
    pub(crate) normalised: ArrayViewMut3<'a, T>,
    pub(crate) inverse_deviations: ArrayViewMut1<'a, T>,
    pub(crate) hidden: ArrayViewMut3<'a, T>,
    pub(crate) cell: ArrayViewMut3<'a, T>,
}

/// The way back through one step of one sequence, with maps as in [`Step`].
#[derive(Debug)]
pub(crate) struct StepBackward<'a, T> {
    pub(crate) previous_hidden: ArrayView3<'a, T>,
    pub(crate) previous_cell: ArrayView3<'a, T>,
    pub(crate) cell: ArrayView3<'a, T>,
    pub(crate) maps: ArrayView3<'a, T>,
    pub(crate) normalised: ArrayView3<'a, T>,
    pub(crate) inverse_deviations: ndarray::ArrayView1<'a, T>,
    /// The gradient of the hidden values, from the output and from the step that follows.
    pub(crate) grad_hidden: ArrayView3<'a, T>,
    /// On entry the gradient of the cell values from the step that follows; on return that of the previous ones.
    pub(crate) grad_cell: ArrayViewMut3<'a, T>,
    /// On return the gradients of the sums.
    pub(crate) grad_maps: ArrayViewMut3<'a, T>,
    /// On return the gradient of the previous hidden values; not read.
    pub(crate) grad_previous: ArrayViewMut3<'a, T>,
    /// What this sequence adds to the gradients of the vectors among the parameters.
    pub(crate) sums: &'a mut SequenceGradients<T>,
}

/// `[channels, height, width]` as `[channels, positions]`; rows lie side by side.
pub(crate) fn positions<T>(mut maps: ArrayView3<'_, T>) -> ndarray::ArrayView2<'_, T> {
    let merged = maps.merge_axes(Axis(1), Axis(2));
    debug_assert!(merged, "rows lie side by side");
    maps.index_axis_move(Axis(1), 0)
}

/// [`positions`] to be written.
pub(crate) fn positions_mut<T>(mut maps: ArrayViewMut3<'_, T>) -> ArrayViewMut2<'_, T> {
    let merged = maps.merge_axes(Axis(1), Axis(2));
    debug_assert!(merged, "rows lie side by side");
    maps.index_axis_move(Axis(1), 0)
}

/// Calls `work` with maps `[channels, rows, width]` of unspecified values, close together in memory: a band that stays in
/// the cache between its sums and what is made of them. Channels lie at a distance at which they do not compete for lines.
pub(crate) fn with_band<T: Element>(
    [channels, rows, width]: [usize; 3],
    work: impl FnOnce(ArrayViewMut3<'_, T>) -> Result<(), ConvLstmError>,
) -> Result<(), ConvLstmError> {
    let pitch = rows * width + LINE_BYTES / size_of::<T>();
    tensor_ops::with_scratch(channels * pitch, |scratch| {
        let shape = (channels, rows, width).strides((pitch, width, 1));
        work(ArrayViewMut3::from_shape(shape, scratch).expect("a buffer of this size"))
    })
}

/// A cache line.
const LINE_BYTES: usize = 64;

/// Calls `work` with the first row and the rows of every band of all `maps`, on all threads.
pub(crate) fn for_each_band<T: Element, const N: usize>(
    maps: [ArrayViewMut3<'_, T>; N],
    first_row: usize,
    band_rows: usize,
    work: &(impl Fn(usize, [ArrayViewMut3<'_, T>; N]) -> Result<(), ConvLstmError> + Sync),
) -> Result<(), ConvLstmError> {
    let rows = maps[0].dim().1;
    let bands = rows.div_ceil(band_rows);
    if bands <= 1 {
        return work(first_row, maps);
    }
    let middle = bands / 2 * band_rows;
    let mut lower = [const { None }; N];
    let mut index = 0;
    let upper = maps.map(|maps| {
        let (above, below) = maps.split_at(Axis(1), middle);
        lower[index] = Some(below);
        index += 1;
        above
    });
    let lower = lower.map(|maps| maps.expect("as many as above"));
    let (above, below) = rayon::join(
        || for_each_band(upper, first_row, band_rows, work),
        || for_each_band(lower, first_row + middle, band_rows, work),
    );
    above.and(below)
}
