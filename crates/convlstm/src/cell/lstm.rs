//! The LSTM cell on maps (Shi et al., "Convolutional LSTM network", 2015, equation 3).
//!
//! ```text
//! i = σ(Wxi∗X + Whi∗H' + b_i + p_i∘C')       f = σ(Wxf∗X + Whf∗H' + b_f + p_f∘C')
//! g = tanh(Wxg∗X + Whg∗H' + b_g)             C = f∘C' + i∘g
//! o = σ(Wxo∗X + Who∗H' + b_o + p_o∘C)        H = o∘tanh(C)
//! ```

use ndarray::{ArrayView3, ArrayViewMut3, Zip, s};
use tensor_ops::{
    Element, FORGET_GATE, GATES, INPUT_GATE, LstmMaps, LstmMapsBackward, OUTPUT_GATE, check_axis, lstm_maps,
    lstm_maps_backward,
};

use super::{
    Cell, CellSteps, Parts, Step, StepBackward, for_each_band, normalisation, positions, positions_mut, with_band,
};
use crate::ConvLstmError;
use crate::config::invalid;
use crate::gradients::dot;
use crate::packed::{PackedBackward, PackedDirection};

/// How i, f and o see the cell values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peepholes {
    /// They do not.
    #[default]
    None,
    /// Through one weight per channel, the same at all positions: what the parameter counts of Shi et al. imply.
    PerChannel,
    /// Through one weight per channel and position, for maps of this height and width: the form of their equation.
    PerPosition([usize; 2]),
}

/// The options of an LSTM layer; the gates stand in PyTorch's order i, f, g, o.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LstmCell {
    /// How i, f and o see the cell values: i and f those of the previous step, o those of this one.
    pub peepholes: Peepholes,
    /// If given, the bias of the forget gate at the start; if not, it is drawn as the other biases are.
    pub forget_bias: Option<f64>,
    /// If given, the sums before the gates are normalised over so many groups of neighbouring channels and all positions
    /// (Wu and He, "Group normalization", 2018; 1 group: Ba et al., "Layer normalization", 2016), then scaled and shifted
    /// channel by channel; peepholes are added after that. It divides four times the channels of the state.
    pub normalisation_groups: Option<usize>,
}

impl Cell for LstmCell {
    const NAME: &'static str = "ConvLstm";
    const GATES: usize = GATES;
    const HAS_CELL: bool = true;
}

impl CellSteps for LstmCell {
    fn validate(&self, hidden_channels: usize, bias: bool) -> Result<(), ConvLstmError> {
        match self.forget_bias {
            Some(value) if !value.is_finite() => return Err(invalid::<Self>("forget_bias", "finite", value)),
            Some(value) if !bias => return Err(invalid::<Self>("forget_bias", "none without biases", value)),
            _ => {}
        }
        if let Some(groups) = self.normalisation_groups
            && (groups == 0 || !(GATES * hidden_channels).is_multiple_of(groups))
        {
            let requirement = "a divisor of four times hidden_channels";
            return Err(invalid::<Self>("normalisation_groups", requirement, groups));
        }
        match self.peepholes {
            Peepholes::PerPosition(size) if size.contains(&0) => {
                Err(invalid::<Self>("peepholes", "at least one position on both axes", format!("{size:?}")))
            }
            _ => Ok(()),
        }
    }

    fn check_size(&self, size: [usize; 2]) -> Result<(), ConvLstmError> {
        if let Peepholes::PerPosition([height, width]) = self.peepholes {
            check_axis(Self::NAME, "height of the maps with peepholes per position", height, size[0])?;
            check_axis(Self::NAME, "width of the maps with peepholes per position", width, size[1])?;
        }
        Ok(())
    }

    fn parts(&self) -> Parts {
        let peepholes = match self.peepholes {
            Peepholes::None => None,
            Peepholes::PerChannel => Some([1, 1]),
            Peepholes::PerPosition(size) => Some(size),
        };
        Parts { peepholes, normalised: self.normalisation_groups.is_some(), ..Parts::default() }
    }

    fn forget_bias(&self) -> Option<(usize, f64)> {
        self.forget_bias.map(|value| (FORGET_GATE, value))
    }

    fn normalisation_groups(&self) -> usize {
        self.normalisation_groups.unwrap_or(0)
    }

    fn needs_maps(&self) -> bool {
        self.normalisation_groups.is_some()
    }

    fn separate_gates() -> usize {
        0
    }

    fn advance<T: Element>(&self, direction: &PackedDirection<T>, step: Step<'_, T>) -> Result<(), ConvLstmError> {
        let Step { input, previous_hidden, previous_cell, starts, mut maps, hidden, cell, .. } = step;
        let band_rows = direction.band_rows;
        let state = (!starts).then_some(previous_hidden);
        let gates = |first_row: usize, sums: ArrayView3<'_, T>, [maps, cell, hidden]: [ArrayViewMut3<'_, T>; 3]| {
            let rows = first_row..first_row + sums.dim().1;
            let before = previous_cell.slice(s![.., rows.clone(), ..]);
            lstm_maps(LstmMaps {
                peepholes: direction.peepholes(rows),
                previous_cell: positions(before),
                sums: positions(sums),
                gates: (maps.dim().0 > 0).then(|| positions_mut(maps)),
                cell: positions_mut(cell),
                hidden: positions_mut(hidden),
            })?;
            Ok(())
        };
        let channels = GATES * direction.hidden_channels;
        let Some(norm) = &direction.norm else {
            return for_each_band([maps, cell, hidden], 0, band_rows, &|first_row, targets| {
                let (_, rows, width) = targets[0].dim();
                with_band([channels, rows, width], |mut sums| {
                    direction.add_convolutions(input, state, first_row, sums.view_mut())?;
                    gates(first_row, sums.view(), targets)
                })
            });
        };
        for_each_band([maps.view_mut()], 0, band_rows, &|first_row, [maps]| {
            direction.add_convolutions(input, state, first_row, maps)
        })?;
        normalisation::forward(norm, positions_mut(maps.view_mut()), step.normalised, step.inverse_deviations);
        for_each_band([maps, cell, hidden], 0, band_rows, &|first_row, targets| {
            let (_, rows, width) = targets[0].dim();
            with_band([channels, rows, width], |mut sums| {
                sums.assign(&targets[0]);
                gates(first_row, sums.view(), targets)
            })
        })
    }

    fn retreat<T: Element>(
        &self,
        direction: &PackedDirection<T>,
        backward: &PackedBackward<T>,
        step: StepBackward<'_, T>,
    ) -> Result<(), ConvLstmError> {
        let StepBackward {
            previous_cell, cell, maps, grad_hidden, grad_cell, mut grad_maps, grad_previous, sums, ..
        } = step;
        let targets = [grad_maps.view_mut(), grad_cell];
        for_each_band(targets, 0, direction.band_rows, &|first_row, [grad_maps, grad_cell]| {
            let rows = first_row..first_row + grad_maps.dim().1;
            lstm_maps_backward(LstmMapsBackward {
                peepholes: direction.peepholes(rows.clone()),
                previous_cell: positions(previous_cell.slice(s![.., rows.clone(), ..])),
                cell: positions(cell.slice(s![.., rows.clone(), ..])),
                gates: positions(maps.slice(s![.., rows.clone(), ..])),
                grad_hidden: positions(grad_hidden.slice(s![.., rows, ..])),
                grad_cell: positions_mut(grad_cell),
                grad_gates: positions_mut(grad_maps),
            })?;
            Ok(())
        })?;
        if let Some(peepholes) = &mut sums.peepholes {
            let seen = [(INPUT_GATE, previous_cell), (FORGET_GATE, previous_cell), (OUTPUT_GATE, cell)];
            let channels = direction.hidden_channels;
            for (mut sums, (gate, cell)) in peepholes.outer_iter_mut().zip(seen) {
                let gradients = grad_maps.slice(s![gate * channels..(gate + 1) * channels, .., ..]);
                let (gradients, cell) = (positions(gradients), positions(cell));
                if sums.ncols() == gradients.ncols() {
                    Zip::from(&mut sums).and(gradients).and(cell).for_each(|sum, &g, &c| *sum += g * c);
                } else {
                    let rows = Zip::from(sums.column_mut(0)).and(gradients.rows()).and(cell.rows());
                    rows.for_each(|sum, gradient, cell| *sum += dot(&gradient, &cell));
                }
            }
        }
        if let Some(norm) = &direction.norm {
            let grad_maps = positions_mut(grad_maps.view_mut());
            normalisation::backward(norm, step.normalised, step.inverse_deviations, grad_maps, sums);
        }
        sums.add_bias(&grad_maps.view());
        let gates = grad_maps.view();
        for_each_band([grad_previous], 0, backward.state.band_rows(), &|first_row, [band]| {
            Ok(backward.state.backward_band(gates, first_row, false, band)?)
        })
    }
}
