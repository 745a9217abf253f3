//! The way back through one sequence, step by step.

use ndarray::{ArrayView3, ArrayView4, ArrayViewMut3, ArrayViewMut4, Axis, s};
use tensor_ops::Element;

use crate::cell::{StepBackward, for_each_band};
use crate::gradients::SequenceGradients;
use crate::packed::{PackedBackward, PackedDirection};
use crate::sequence::{Order, Record};
use crate::{Cell, ConvLstmError, LayerConfig};

/// The way back through one sequence in one direction of one layer.
pub(crate) struct SequencePass<'a, T, C> {
    pub(crate) sequence: usize,
    pub(crate) layer: &'a LayerConfig<C>,
    pub(crate) direction: &'a PackedDirection<T>,
    pub(crate) backward: &'a PackedBackward<T>,
    pub(crate) order: Order,
    pub(crate) truncate: Option<usize>,
    pub(crate) initial: Option<(ArrayView3<'a, T>, Option<ArrayView3<'a, T>>)>,
    pub(crate) nothing: ArrayView3<'a, T>,
    /// `[time, channels, height, width]`
    pub(crate) hidden: ArrayView4<'a, T>,
    /// `[step, channels, height, width]`
    pub(crate) cell: ArrayView4<'a, T>,
    pub(crate) record: &'a Record<T>,
    /// `[slot, maps, height, width]`
    pub(crate) grad_maps: ArrayViewMut4<'a, T>,
    /// The gradients of the states from the step that follows.
    pub(crate) grad_hidden: ArrayViewMut3<'a, T>,
    pub(crate) grad_cell: ArrayViewMut3<'a, T>,
    pub(crate) sums: &'a mut SequenceGradients<T>,
}

impl<T: Element, C: Cell> SequencePass<'_, T, C> {
    /// Takes the gradients of a step back, whose gradients of sums go to `slot`: `grad_output` is the gradient of its hidden
    /// values from outside, and that of what it read is written to `grad_below`, or added.
    pub(crate) fn retreat(
        &mut self,
        step: usize,
        slot: usize,
        grad_output: ArrayView3<'_, T>,
        grad_below: Option<ArrayViewMut3<'_, T>>,
        add: bool,
    ) -> Result<(), ConvLstmError> {
        let record = self.record;
        let (slots, sequence) = (record.maps.dim().1, self.sequence);
        let (previous_hidden, previous_cell) = match (step.checked_sub(1), self.initial) {
            (Some(before), _) => {
                (self.hidden.index_axis(Axis(0), self.order.time(before)), self.cell.index_axis(Axis(0), before))
            }
            (None, Some((hidden, cell))) => (hidden, cell.unwrap_or(self.nothing)),
            (None, None) => (self.nothing, self.nothing),
        };
        let (channels, height, width) = self.nothing.dim();
        let mut grad_maps = self.grad_maps.index_axis_mut(Axis(0), slot);
        tensor_ops::with_scratch(channels * height * width, |scratch| {
            let mut grad_hidden =
                ArrayViewMut3::from_shape((channels, height, width), scratch).expect("a buffer of this size");
            ndarray::Zip::from(&mut grad_hidden)
                .and(&grad_output)
                .and(&self.grad_hidden)
                .for_each(|sum, &outside, &after| *sum = outside + after);
            self.layer.cell.retreat(
                self.direction,
                self.backward,
                StepBackward {
                    previous_hidden,
                    previous_cell,
                    cell: self.cell.index_axis(Axis(0), step),
                    maps: record.maps.slice(s![sequence, step % slots, .., .., ..]),
                    normalised: record.normalised.slice(s![sequence, step % slots, .., .., ..]),
                    inverse_deviations: record.inverse_deviations.slice(s![sequence, step % slots, ..]),
                    grad_hidden: grad_hidden.view(),
                    grad_cell: self.grad_cell.view_mut(),
                    grad_maps: grad_maps.view_mut(),
                    grad_previous: self.grad_hidden.view_mut(),
                    sums: self.sums,
                },
            )
        })?;
        if let (Some(convolution), Some(grad_below)) = (&self.backward.input, grad_below) {
            let gates = grad_maps.slice(s![..C::GATES * channels, .., ..]);
            for_each_band([grad_below], 0, convolution.band_rows(), &|first_row, [band]| {
                Ok(convolution.backward_band(gates, first_row, add, band)?)
            })?;
        }
        if self.truncate.is_some_and(|length| step > 0 && step.is_multiple_of(length)) {
            self.grad_hidden.fill(T::zero());
            self.grad_cell.fill(T::zero());
        }
        Ok(())
    }
}
