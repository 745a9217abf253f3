//! The GRU cell on maps (Ballas et al., "Delving deeper into convolutional networks for learning video representations", 2016).
//!
//! ```text
//! r = σ(Wxr∗X + Whr∗H' + b_r)     z = σ(Wxz∗X + Whz∗H' + b_z)     H = (1 − z)∘n + z∘H'
//! n = tanh(Wxn∗X + b_n + r∘(Whn∗H' + b_hn))     with the reset gate after the convolution, or
//! n = tanh(Wxn∗X + b_n + Whn∗(r∘H'))            with the reset gate before it
//! ```

use std::ops::Range;

use ndarray::s;
use tensor_ops::{
    Element, GruMaps, GruMapsBackward, Start, gru_maps, gru_maps_backward, gru_reset_maps, gru_reset_maps_backward,
    with_scratch,
};

use super::{Cell, CellSteps, Parts, Step, StepBackward, for_each_band, positions, positions_mut};
use crate::ConvLstmError;
use crate::packed::{PackedBackward, PackedDirection};

/// The options of a GRU layer; the gates stand in PyTorch's order r, z, n.
#[derive(Clone, Debug, PartialEq)]
pub struct GruCell {
    /// Whether the reset gate acts on the state's convolution, as in PyTorch and cuDNN, or on the state that the convolution
    /// sees, as in the papers. The two are different models: weights of one do not serve the other.
    pub reset_after: bool,
}

impl Default for GruCell {
    /// The reset gate after the convolution.
    fn default() -> Self {
        Self { reset_after: true }
    }
}

const RESET_AND_UPDATE: usize = 2;
const CANDIDATE: usize = 2;
const STATE_PART: usize = 3;

impl Cell for GruCell {
    const NAME: &'static str = "ConvGru";
    const GATES: usize = 3;
    const HAS_CELL: bool = false;
}

impl CellSteps for GruCell {
    fn validate(&self, _hidden_channels: usize, _bias: bool) -> Result<(), ConvLstmError> {
        Ok(())
    }

    fn parts(&self) -> Parts {
        Parts { bias_hn: self.reset_after, ..Parts::default() }
    }

    fn needs_maps(&self) -> bool {
        true
    }

    fn separate_gates() -> usize {
        1
    }

    fn candidate_maps(&self, channels: usize) -> Option<(Option<Range<usize>>, Range<usize>)> {
        let state_part = STATE_PART * channels..(STATE_PART + 1) * channels;
        let candidate = CANDIDATE * channels..STATE_PART * channels;
        Some(if self.reset_after { (None, state_part) } else { (Some(state_part), candidate) })
    }

    fn advance<T: Element>(&self, direction: &PackedDirection<T>, step: Step<'_, T>) -> Result<(), ConvLstmError> {
        let Step { input, previous_hidden, starts, mut maps, mut hidden, .. } = step;
        let (channels, reset_after) = (direction.hidden_channels, self.reset_after);
        let state = (!starts).then_some(previous_hidden);
        let before = |first_row: usize, rows: usize| {
            positions(previous_hidden.slice_move(s![.., first_row..first_row + rows, ..]))
        };
        let band_rows = direction.band_rows;
        let targets = [maps.view_mut(), hidden.view_mut()];
        for_each_band(targets, 0, band_rows, &|first_row, [mut maps, hidden]| {
            direction.add_convolutions(input, state, first_row, maps.slice_mut(s![..3 * channels, .., ..]))?;
            if reset_after {
                let part = maps.slice_mut(s![STATE_PART * channels.., .., ..]);
                direction.convolve_candidate(state, first_row, Start::Bias(&direction.bias_hn), part)?;
            }
            let previous_hidden = before(first_row, hidden.dim().1);
            let (maps, hidden) = (positions_mut(maps), positions_mut(hidden));
            Ok(gru_reset_maps(GruMaps { reset_after, previous_hidden, maps, hidden })?)
        })?;
        let (mut gates, seen) = maps.view_mut().split_at(ndarray::Axis(0), STATE_PART * channels);
        if !reset_after && !starts {
            let seen = seen.view();
            let candidate = gates.slice_mut(s![CANDIDATE * channels.., .., ..]);
            for_each_band([candidate], 0, band_rows, &|first_row, [candidate]| {
                direction.convolve_candidate(Some(seen), first_row, Start::Existing, candidate)
            })?;
        }
        for_each_band([maps, hidden], 0, band_rows, &|first_row, [maps, hidden]| {
            let previous_hidden = before(first_row, hidden.dim().1);
            let (maps, hidden) = (positions_mut(maps), positions_mut(hidden));
            Ok(gru_maps(GruMaps { reset_after, previous_hidden, maps, hidden })?)
        })
    }

    fn retreat<T: Element>(
        &self,
        direction: &PackedDirection<T>,
        backward: &PackedBackward<T>,
        step: StepBackward<'_, T>,
    ) -> Result<(), ConvLstmError> {
        let StepBackward { previous_hidden, maps, grad_hidden, mut grad_maps, mut grad_previous, sums, .. } = step;
        let (channels, reset_after) = (direction.hidden_channels, self.reset_after);
        let targets = [grad_maps.view_mut(), grad_previous.view_mut()];
        for_each_band(targets, 0, direction.band_rows, &|first_row, [grad_maps, grad_previous]| {
            let rows = first_row..first_row + grad_maps.dim().1;
            gru_maps_backward(GruMapsBackward {
                reset_after,
                previous_hidden: positions(previous_hidden.slice(s![.., rows.clone(), ..])),
                maps: positions(maps.slice(s![.., rows.clone(), ..])),
                gradient: positions(grad_hidden.slice(s![.., rows, ..])),
                grad_previous: positions_mut(grad_previous),
                grad_maps: positions_mut(grad_maps),
            })?;
            Ok(())
        })?;
        let Some(candidate) = &backward.candidate else { return Ok(()) };
        if reset_after {
            let part = grad_maps.slice(s![STATE_PART * channels.., .., ..]);
            for_each_band([grad_previous.view_mut()], 0, candidate.band_rows(), &|first_row, [band]| {
                Ok(candidate.backward_band(part, first_row, true, band)?)
            })?;
            sums.add_bias_hn(&part);
        } else {
            let (_, height, width) = grad_previous.dim();
            with_scratch(channels * height * width, |scratch| {
                let mut grad_seen = ndarray::ArrayViewMut3::from_shape((channels, height, width), scratch)
                    .expect("a buffer of this size");
                let part = grad_maps.slice(s![CANDIDATE * channels..STATE_PART * channels, .., ..]);
                for_each_band([grad_seen.view_mut()], 0, candidate.band_rows(), &|first_row, [band]| {
                    Ok(candidate.backward_band(part, first_row, false, band)?)
                })?;
                let grad_seen = grad_seen.view();
                let targets = [grad_maps.view_mut(), grad_previous.view_mut()];
                for_each_band(targets, 0, direction.band_rows, &|first_row, [grad_maps, grad_previous]| {
                    let rows = first_row..first_row + grad_maps.dim().1;
                    gru_reset_maps_backward(GruMapsBackward {
                        reset_after,
                        previous_hidden: positions(previous_hidden.slice(s![.., rows.clone(), ..])),
                        maps: positions(maps.slice(s![.., rows.clone(), ..])),
                        gradient: positions(grad_seen.slice(s![.., rows, ..])),
                        grad_previous: positions_mut(grad_previous),
                        grad_maps: positions_mut(grad_maps),
                    })?;
                    Ok(())
                })
            })?;
        }
        sums.add_bias(&grad_maps.slice(s![..3 * channels, .., ..]));
        let gates = grad_maps.slice(s![..RESET_AND_UPDATE * channels, .., ..]);
        for_each_band([grad_previous], 0, backward.state.band_rows(), &|first_row, [band]| {
            Ok(backward.state.backward_band(gates, first_row, true, band)?)
        })
    }
}
