//! Parameters laid out for the kernels, for maps of one size.

use std::ops::Range;

use conv2d::{PackedConv2d, PackedConv2dBackward};
use ndarray::{Array3, ArrayView3, ArrayViewMut3, s};
use tensor_ops::{Element, MapPeepholes, Start};

use crate::cell::positions;
use crate::{Cell, ConvLstmError, ConvRecurrent, LayerConfig, LayerWeights};

/// One direction of one layer.
#[derive(Clone, Debug)]
pub(crate) struct PackedDirection<T> {
    pub(crate) hidden_channels: usize,
    /// Height and width of the maps.
    pub(crate) size: [usize; 2],
    pub(crate) band_rows: usize,
    input: Option<PackedConv2d<T>>,
    state: PackedConv2d<T>,
    /// The state's convolution of the gates that are computed by themselves.
    candidate: Option<PackedConv2d<T>>,
    /// Zeros where there is none.
    bias: Vec<T>,
    pub(crate) bias_hn: Vec<T>,
    peepholes: Option<Array3<T>>,
    per_position: bool,
    pub(crate) norm: Option<Norm<T>>,
}

/// Scale and shift of normalised gates.
#[derive(Clone, Debug)]
pub(crate) struct Norm<T> {
    pub(crate) groups: usize,
    pub(crate) weight: Vec<T>,
    pub(crate) bias: Vec<T>,
}

/// The convolutions of one direction of one layer that take gradients back.
#[derive(Clone, Debug)]
pub(crate) struct PackedBackward<T> {
    pub(crate) input: Option<PackedConv2dBackward<T>>,
    pub(crate) state: PackedConv2dBackward<T>,
    pub(crate) candidate: Option<PackedConv2dBackward<T>>,
}

/// The size of a band's sums before the gates, a part of the second-level cache.
const BAND_BYTES: usize = 256 << 10;

impl<T: Element> PackedDirection<T> {
    /// Packs checked weights for inputs `[input_channels, height, width]` of the size `input` and maps of the size `size`,
    /// `images` at a time.
    pub(crate) fn new<C: Cell>(
        layer: &LayerConfig<C>,
        weights: &LayerWeights<T>,
        input: [usize; 2],
        size: [usize; 2],
        images: usize,
    ) -> Result<Self, ConvLstmError> {
        let hidden = layer.hidden_channels;
        let pack_input = |weight: &ndarray::Array4<T>| {
            PackedConv2d::new(&layer.input_convolution(weight.dim().1), weight.view(), input, images)
        };
        let input = weights.weight_ih.as_ref().map(pack_input).transpose()?;
        let (gates, separate) = (C::GATES - C::separate_gates(), C::separate_gates());
        let pack_state = |gates: usize, rows: Range<usize>| {
            let weight = weights.weight_hh.slice(s![rows.start * hidden..rows.end * hidden, .., .., ..]);
            PackedConv2d::new(&layer.state_convolution(gates), weight, size, images)
        };
        let state = pack_state(gates, 0..gates)?;
        let candidate = (separate > 0).then(|| pack_state(separate, gates..C::GATES)).transpose()?;
        let all = [input.as_ref(), Some(&state), candidate.as_ref()];
        let band_rows = all.into_iter().flatten().map(PackedConv2d::band_rows).min().unwrap_or(1);
        let row_bytes = C::GATES * hidden * size[1] * size_of::<T>();
        let band_rows = band_rows.min((BAND_BYTES / row_bytes.max(1)).max(1));
        let multiple = all.into_iter().flatten().map(PackedConv2d::row_multiple).max().unwrap_or(1);
        let band_rows = if band_rows > multiple { band_rows / multiple * multiple } else { band_rows };
        let vector = |values: &Option<ndarray::Array1<T>>, len: usize| {
            values.as_ref().map_or_else(|| vec![T::zero(); len], |values| values.to_vec())
        };
        let peepholes = weights.peepholes.as_ref().map(|peepholes| {
            let (gates, channels, height, width) = peepholes.dim();
            let values = peepholes.iter().copied().collect();
            Array3::from_shape_vec((gates, channels, height * width), values).expect("as many values")
        });
        Ok(Self {
            hidden_channels: hidden,
            size,
            band_rows,
            input,
            state,
            candidate,
            bias: vector(&weights.bias, C::GATES * hidden),
            bias_hn: vector(&weights.bias_hn, hidden),
            peepholes,
            per_position: weights.peepholes.as_ref().is_some_and(|peepholes| peepholes.dim().2 * peepholes.dim().3 > 1),
            norm: (layer.cell.normalisation_groups() > 0).then(|| Norm {
                groups: layer.cell.normalisation_groups(),
                weight: vector(&weights.norm_weight, C::GATES * hidden),
                bias: vector(&weights.norm_bias, C::GATES * hidden),
            }),
        })
    }

    /// The peepholes for a range of rows.
    pub(crate) fn peepholes(&self, rows: Range<usize>) -> MapPeepholes<'_, T> {
        match &self.peepholes {
            None => MapPeepholes::None,
            Some(weights) if self.per_position => {
                let width = self.size[1];
                MapPeepholes::PerPosition(weights.slice(s![.., .., rows.start * width..rows.end * width]))
            }
            Some(weights) => MapPeepholes::PerChannel(positions(weights.view())),
        }
    }

    /// The biases and both convolutions at a band of rows, written to `band`.
    pub(crate) fn add_convolutions(
        &self,
        input: Option<ArrayView3<'_, T>>,
        state: Option<ArrayView3<'_, T>>,
        first_row: usize,
        mut band: ArrayViewMut3<'_, T>,
    ) -> Result<(), ConvLstmError> {
        match (&self.input, input) {
            (Some(convolution), Some(input)) => {
                convolution.convolve_band(input, first_row, Start::Bias(&self.bias), band.view_mut())?;
            }
            _ => band.outer_iter_mut().zip(&self.bias).for_each(|(mut rows, &bias)| rows.fill(bias)),
        }
        if let Some(state_maps) = state {
            let rows = self.state.output_channels();
            self.state.convolve_band(state_maps, first_row, Start::Existing, band.slice_mut(s![..rows, .., ..]))?;
        }
        Ok(())
    }

    /// The state's convolution of the separate gates at a band of rows; without a state what `start` says.
    pub(crate) fn convolve_candidate(
        &self,
        state: Option<ArrayView3<'_, T>>,
        first_row: usize,
        start: Start<'_, T>,
        mut band: ArrayViewMut3<'_, T>,
    ) -> Result<(), ConvLstmError> {
        match (&self.candidate, state, start) {
            (Some(convolution), Some(state), start) => Ok(convolution.convolve_band(state, first_row, start, band)?),
            (_, _, Start::Bias(bias)) => {
                band.outer_iter_mut().zip(bias).for_each(|(mut rows, &bias)| rows.fill(bias));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl<T: Element> PackedBackward<T> {
    /// Packs checked weights as [`PackedDirection::new`] does.
    pub(crate) fn new<C: Cell>(
        layer: &LayerConfig<C>,
        weights: &LayerWeights<T>,
        input: [usize; 2],
        size: [usize; 2],
        images: usize,
    ) -> Result<Self, ConvLstmError> {
        let hidden = layer.hidden_channels;
        let pack_input = |weight: &ndarray::Array4<T>| {
            PackedConv2dBackward::new(&layer.input_convolution(weight.dim().1), weight.view(), input, images)
        };
        let (gates, separate) = (C::GATES - C::separate_gates(), C::separate_gates());
        let pack_state = |gates: usize, rows: Range<usize>| {
            let weight = weights.weight_hh.slice(s![rows.start * hidden..rows.end * hidden, .., .., ..]);
            PackedConv2dBackward::new(&layer.state_convolution(gates), weight, size, images)
        };
        Ok(Self {
            input: weights.weight_ih.as_ref().map(pack_input).transpose()?,
            state: pack_state(gates, 0..gates)?,
            candidate: (separate > 0).then(|| pack_state(separate, gates..C::GATES)).transpose()?,
        })
    }
}

/// All directions of a stack, for inputs of one size.
#[derive(Clone, Debug)]
pub(crate) struct PackedStack<T> {
    /// Of layer l and direction d at `l · directions + d`.
    pub(crate) directions: Vec<PackedDirection<T>>,
    /// The size of the maps that each layer reads.
    pub(crate) input_sizes: Vec<[usize; 2]>,
    /// The size of each layer's maps.
    pub(crate) sizes: Vec<[usize; 2]>,
}

impl<T: Element> PackedStack<T> {
    pub(crate) fn new<C: Cell>(
        layers: &ConvRecurrent<T, C>,
        input: [usize; 2],
        images: usize,
    ) -> Result<Self, ConvLstmError> {
        layers.check()?;
        let config = layers.config();
        let sizes = config.map_sizes(input)?;
        let input_sizes: Vec<_> = std::iter::once(input).chain(sizes.iter().copied()).take(sizes.len()).collect();
        let directions = layers.directions.iter().enumerate().map(|(index, weights)| {
            let layer = index / config.directions();
            PackedDirection::new(&config.layers[layer], weights, input_sizes[layer], sizes[layer], images)
        });
        Ok(Self { directions: directions.collect::<Result<_, _>>()?, input_sizes, sizes })
    }
}
