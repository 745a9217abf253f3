//! Parameters packed for the kernels.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use tensor_ops::{Element, GATES, GateLayout, Isa, PackedMatrix, ProductStart, Run, TensorError, multiply_unpacked};

use crate::{Lstm, LstmConfig, LstmError, LstmState, LstmStream, LstmWeights, PEEPHOLES};

/// An LSTM for inference: the parameters of an [`Lstm`], laid out once for the kernels of this CPU.
///
/// It keeps the values that the [`Lstm`] had when it was packed. Packing costs about as much as reading the parameters a
/// few times; who runs many short sequences through the same parameters packs them once.
///
/// ```
/// use lstm::{Lstm, LstmConfig};
/// use ndarray::Array3;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let lstm = Lstm::<f32>::new(LstmConfig::new(8, 16), &mut StdRng::seed_from_u64(7))?;
/// let packed = lstm.pack()?;
/// let clip = Array3::ones((1, 5, 8));
/// assert_eq!(packed.forward(clip.view(), None, None)?, lstm.forward(clip.view(), None, None)?);
/// # Ok::<(), lstm::LstmError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedLstm<T> {
    pub(crate) config: LstmConfig,
    pub(crate) layout: GateLayout,
    /// In the order of [`Lstm::directions`].
    pub(crate) directions: Vec<PackedDirection<T>>,
}

/// One direction of one layer.
#[derive(Clone, Debug)]
pub(crate) struct PackedDirection<T> {
    /// Wᵀ, `[input, gates]`, with the gates in the order of the layout, as in all that follows. None where a single
    /// pass takes it from the parameters.
    pub(crate) input: Option<PackedMatrix<T>>,
    /// Rᵀ, `[units, gates]`.
    pub(crate) recurrent: PackedMatrix<T>,
    /// The sum of both biases.
    pub(crate) bias: Vec<T>,
    /// Peepholes of i, f and o, one after another.
    pub(crate) peepholes: Option<Vec<T>>,
}

impl<T: Element> Lstm<T> {
    /// Packs the parameters for inference.
    ///
    /// # Errors
    /// [`LstmError`] if a public array has another shape than the configuration asks for.
    pub fn pack(&self) -> Result<PackedLstm<T>, LstmError> {
        self.check()?;
        let layout = self.layout();
        let layers = (0..self.config().layers).map(|layer| self.pack_layer(layer, &layout, true));
        let directions = layers.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        Ok(PackedLstm { config: self.config().clone(), layout, directions })
    }

    /// The layout of the gates for the kernels of this CPU.
    pub(crate) fn layout(&self) -> GateLayout {
        GateLayout::new::<T>(Isa::selected(), self.config().hidden_size)
    }

    /// Packs the directions of a layer, the input weights only if asked to.
    pub(crate) fn pack_layer(
        &self,
        layer: usize,
        layout: &GateLayout,
        with_input: bool,
    ) -> Result<Vec<PackedDirection<T>>, TensorError> {
        let inputs = input_runs(self.config(), layout, layer);
        let inputs = with_input.then_some(&inputs);
        self.layer(layer).iter().map(|weights| PackedDirection::new(weights, layout, inputs)).collect()
    }

    /// The directions of a layer.
    pub(crate) fn layer(&self, layer: usize) -> &[LstmWeights<T>] {
        let directions = self.config().directions();
        &self.directions[layer * directions..(layer + 1) * directions]
    }
}

impl<T: Element> PackedLstm<T> {
    /// The configuration.
    pub fn config(&self) -> &LstmConfig {
        &self.config
    }

    /// A stream of `batch` sequences that start from `initial`, or from zeros.
    ///
    /// # Errors
    /// [`LstmError::BidirectionalStream`] if there is a reverse direction, [`LstmError::Tensor`] for an empty batch or a
    /// wrong shape of the state.
    pub fn stream(self: Arc<Self>, batch: usize, initial: Option<&LstmState<T>>) -> Result<LstmStream<T>, LstmError> {
        LstmStream::new(self, batch, initial)
    }
}

/// The features that a layer reads: those of the input, or the padded units of each direction of the layer below.
pub(crate) fn input_runs(config: &LstmConfig, layout: &GateLayout, layer: usize) -> Vec<Run> {
    if layer == 0 {
        return vec![Run::whole(config.input_size)];
    }
    let run = layout.unit_run();
    (0..config.directions()).map(|direction| Run { start: direction * config.hidden_size, ..run }).collect()
}

/// Rows up to which the input weights are not packed for a single pass.
const FEW_ROWS: usize = 512;

/// Whether a single pass over so many rows packs the input weights.
pub(crate) fn packs_input(rows: usize) -> bool {
    rows > FEW_ROWS
}

impl<T: Element> PackedDirection<T> {
    /// W x + b for all rows of `below`; `weights` are the parameters, where W is not packed.
    pub(crate) fn project(
        &self,
        below: ArrayView2<'_, T>,
        weights: Option<&LstmWeights<T>>,
        layout: &GateLayout,
        inputs: &[Run],
        gates: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        let start = ProductStart::Row(&self.bias);
        match (&self.input, weights) {
            (Some(input), _) => input.multiply(below, start, gates),
            (None, Some(weights)) => {
                let weight = weights.weight_ih.t();
                multiply_unpacked(layout.isa(), below, weight, inputs, &layout.gate_runs(), start, gates)
            }
            (None, None) => unreachable!("input weights are packed, or the parameters are given"),
        }
    }

    fn new(weights: &LstmWeights<T>, layout: &GateLayout, inputs: Option<&Vec<Run>>) -> Result<Self, TensorError> {
        let (isa, gates) = (layout.isa(), layout.gate_runs());
        let mut bias = vec![T::zero(); layout.width()];
        if let (Some(bias_ih), Some(bias_hh)) = (&weights.bias_ih, &weights.bias_hh) {
            for gate in 0..GATES {
                for unit in 0..layout.units() {
                    let row = gate * layout.units() + unit;
                    bias[layout.column(gate, unit)] = bias_ih[row] + bias_hh[row];
                }
            }
        }
        Ok(Self {
            input: match inputs {
                Some(inputs) => Some(PackedMatrix::from_runs(isa, weights.weight_ih.t(), inputs, &gates)?),
                None => None,
            },
            recurrent: PackedMatrix::from_runs(isa, weights.weight_hh.t(), &[layout.unit_run()], &gates)?,
            bias,
            peepholes: weights.peepholes.as_ref().map(|peepholes| padded_peepholes(peepholes, layout)),
        })
    }
}

/// `[3, hidden]` with zeros up to the padded units.
pub(crate) fn padded_peepholes<T: Element>(peepholes: &Array2<T>, layout: &GateLayout) -> Vec<T> {
    let mut padded = Array2::zeros((PEEPHOLES, layout.padded_units()));
    padded.slice_mut(s![.., ..layout.units()]).assign(peepholes);
    padded.into_raw_vec_and_offset().0
}
