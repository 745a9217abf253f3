//! LSTM layers on maps, and a read-out that keeps places apart.

use convlstm::{ConvLstm, ConvLstmConfig, LayerConfig, LstmCell, RecurrentTrace};
use ndarray::{Array2, Array4, Array5, ArrayView2, ArrayViewD, ArrayViewMutD, Ix5};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{Element, Parameters, TensorError, visit_part, visit_part_mut};

use super::Part;
use super::projection::reshaped;
use super::read_out::Reading;
use crate::model::steps::{Steps, from_map_sequences};
use crate::model::{ConvLstmPartConfig, ModelError, ReadOut};

/// A stack of LSTM layers on maps with a read-out.
#[derive(Clone, Debug)]
pub struct ConvLstmPart<T> {
    /// The layers.
    pub layers: ConvLstm<T>,
    /// Height and width of the maps.
    size: [usize; 2],
    read_out: ReadOut,
}

/// What the backward pass of [`ConvLstmPart`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct ConvLstmPartTrace<T> {
    lengths: Vec<usize>,
    layers: RecurrentTrace<T>,
    /// Of the output of the layers.
    shape: Ix5,
    reading: Reading,
}

impl<T: Element> ConvLstmPart<T> {
    pub(super) fn new(
        config: &ConvLstmPartConfig,
        [channels, height, width]: [usize; 3],
        rng: &mut impl Rng,
    ) -> Result<Self, ModelError> {
        let layer = |&channels: &usize| LayerConfig::<LstmCell>::new(channels, config.kernel);
        let layers = config.channels.iter().map(layer).collect();
        let stack = ConvLstmConfig { input_channels: channels, layers, ..ConvLstmConfig::default() };
        Ok(Self { layers: ConvLstm::new(stack, rng)?, size: [height, width], read_out: config.read_out })
    }

    /// The vectors of the outputs `[clips, time, channels, height, width]`.
    fn read(&self, outputs: Array5<T>, lengths: &[usize]) -> Result<(Array2<T>, Reading), ModelError> {
        let (clips, time, channels, height, width) = outputs.dim();
        let flat = reshaped(outputs, (clips, time, channels * height * width))?;
        self.read_out.forward(flat.view(), lengths)
    }
}

impl<T: Element> Part<T> for ConvLstmPart<T> {
    type Trace = ConvLstmPartTrace<T>;

    fn output_features(&self) -> usize {
        let channels = self.layers.config().layers.last().map_or(0, |layer| layer.hidden_channels);
        self.read_out.output_features(channels * self.size[0] * self.size[1])
    }

    fn forward(&self, steps: Steps<'_, T>) -> Result<Array2<T>, ModelError> {
        let (outputs, _) = self.layers.forward(steps.sequences().view(), None, Some(steps.lengths))?;
        Ok(self.read(outputs, steps.lengths)?.0)
    }

    fn forward_training(
        &self,
        steps: Steps<'_, T>,
        _rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError> {
        let (outputs, _, layers) = self.layers.forward_training(steps.sequences().view(), None, Some(steps.lengths))?;
        let shape = outputs.raw_dim();
        let (vectors, reading) = self.read(outputs, steps.lengths)?;
        Ok((vectors, ConvLstmPartTrace { lengths: steps.lengths.to_vec(), layers, shape, reading }))
    }

    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array4<T>, Self), ModelError> {
        let grad_outputs = reshaped(ReadOut::backward(&trace.reading, grad_vectors)?, trace.shape)?;
        let gradients = self.layers.backward(&trace.layers, grad_outputs.view(), None)?;
        let unfit = TensorError::EmptyAxis { operation: "ConvLstmPart", axis: "input channels" };
        let grad_maps = from_map_sequences(gradients.input.ok_or(unfit)?.view(), &trace.lengths);
        Ok((grad_maps, Self { layers: gradients.parameters, size: self.size, read_out: self.read_out }))
    }
}

impl<T: Element> Parameters<T> for ConvLstmPart<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("convlstm", &self.layers, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("convlstm", &mut self.layers, visitor);
    }
}
