//! The configuration of stacks of recurrent layers, and its checks.

use conv2d::Conv2dConfig;
use tensor_ops::{Padding, TensorError, check_not_empty};

use crate::{Cell, ConvLstmError};

/// How the parameters of new layers are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initialisation {
    /// PyTorch's for convolutions: weights and biases from U(−1/√n, 1/√n), with n the inputs of a gate value: those of its
    /// window on the input and on the state together.
    #[default]
    Uniform,
    /// Keras's: input weights by Glorot's uniform distribution, state weights orthogonal gate by gate, biases zero.
    GlorotOrthogonal,
}

/// What a training pass keeps for the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceMemory {
    /// States and gates of all steps.
    #[default]
    Full,
    /// States alone: the backward pass computes the gates again, which costs about another forward pass and gives the same
    /// bits.
    RecomputeGates,
}

/// One layer of a stack; pairs are `[vertical, horizontal]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerConfig<C> {
    /// Channels of the state.
    pub hidden_channels: usize,
    /// The kernel of the input's convolution.
    pub input_kernel: [usize; 2],
    /// Rows and columns between neighbouring positions of the input's convolution: with 2, the maps have half the size.
    pub input_stride: [usize; 2],
    /// Zeros around the input. `None` keeps the size where the stride is 1: half of the kernel on both sides, one more row
    /// below and column to the right for even kernels.
    pub input_padding: Option<Padding>,
    /// Rows and columns between neighbouring positions of the input's kernel.
    pub input_dilation: [usize; 2],
    /// The kernel of the state's convolution, which always keeps the size: zeros stand for the state beyond the border.
    pub state_kernel: [usize; 2],
    /// Rows and columns between neighbouring positions of the state's kernel.
    pub state_dilation: [usize; 2],
    /// The options of the cell.
    pub cell: C,
}

impl<C: Cell> LayerConfig<C> {
    /// A layer of `hidden_channels` whose both convolutions have a kernel of `kernel × kernel`, stride 1 and no dilation.
    pub fn new(hidden_channels: usize, kernel: usize) -> Self {
        let (input_kernel, state_kernel, one) = ([kernel; 2], [kernel; 2], [1, 1]);
        Self {
            hidden_channels,
            input_kernel,
            input_stride: one,
            input_padding: None,
            input_dilation: one,
            state_kernel,
            state_dilation: one,
            cell: C::default(),
        }
    }

    /// The convolution of an input of `input_channels`.
    pub(crate) fn input_convolution(&self, input_channels: usize) -> Conv2dConfig {
        let padding = self.input_padding.unwrap_or_else(|| centred(self.input_kernel, self.input_dilation));
        Conv2dConfig {
            in_channels: input_channels,
            out_channels: C::GATES * self.hidden_channels,
            kernel: self.input_kernel,
            stride: self.input_stride,
            padding,
            dilation: self.input_dilation,
            bias: false,
            ..Conv2dConfig::default()
        }
    }

    /// The convolution of the state, for some of the gates.
    pub(crate) fn state_convolution(&self, gates: usize) -> Conv2dConfig {
        Conv2dConfig {
            in_channels: self.hidden_channels,
            out_channels: gates * self.hidden_channels,
            kernel: self.state_kernel,
            padding: centred(self.state_kernel, self.state_dilation),
            dilation: self.state_dilation,
            bias: false,
            ..Conv2dConfig::default()
        }
    }
}

/// The padding that keeps the size at stride 1.
fn centred(kernel: [usize; 2], dilation: [usize; 2]) -> Padding {
    let [vertical, horizontal] = [0, 1].map(|axis| kernel[axis].saturating_sub(1).saturating_mul(dilation[axis]));
    Padding {
        top: vertical / 2,
        bottom: vertical - vertical / 2,
        left: horizontal / 2,
        right: horizontal - horizontal / 2,
    }
}

/// The configuration of a stack of layers: [`crate::ConvLstmConfig`] or [`crate::ConvGruConfig`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentConfig<C> {
    /// Channels of the input; 0 for a stack whose first layer reads no input, as the forecaster of Shi et al. does.
    pub input_channels: usize,
    /// The layers, each of which reads the states of the one below.
    pub layers: Vec<LayerConfig<C>>,
    /// Whether every layer also runs from the last step to the first; its output is both directions' channels, one after the
    /// other.
    pub bidirectional: bool,
    /// Whether gates have biases.
    pub bias: bool,
    /// How the parameters are drawn.
    pub initialisation: Initialisation,
    /// Truncated back-propagation through time: with `Some(k)`, no gradient passes from step m·k of a sequence to step
    /// m·k − 1, for m = 1, 2, …. Steps are counted from 0 in the order in which a direction runs. The forward pass is not
    /// changed.
    pub truncate: Option<usize>,
    /// What a training pass keeps.
    pub memory: TraceMemory,
}

impl<C> Default for RecurrentConfig<C> {
    /// No layers, which must be added; biases, one direction.
    fn default() -> Self {
        Self {
            input_channels: 0,
            layers: Vec::new(),
            bidirectional: false,
            bias: true,
            initialisation: Initialisation::default(),
            truncate: None,
            memory: TraceMemory::default(),
        }
    }
}

impl<C: Cell> RecurrentConfig<C> {
    /// One layer of `hidden_channels` on `input_channels`, with kernels of `kernel × kernel`.
    pub fn new(input_channels: usize, hidden_channels: usize, kernel: usize) -> Self {
        Self { input_channels, layers: vec![LayerConfig::new(hidden_channels, kernel)], ..Self::default() }
    }

    /// The directions of a layer: 1 or 2.
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// The channels that a layer reads; 0 beyond the stack.
    pub fn layer_input_channels(&self, layer: usize) -> usize {
        match layer.checked_sub(1) {
            None => self.input_channels,
            Some(below) => self.layer_output_channels(below),
        }
    }

    /// The channels of a layer's output: those of all directions.
    pub fn layer_output_channels(&self, layer: usize) -> usize {
        self.layers.get(layer).map_or(0, |layer| self.directions() * layer.hidden_channels)
    }

    /// The channels of the output.
    pub fn output_channels(&self) -> usize {
        self.layer_output_channels(self.layers.len().wrapping_sub(1))
    }

    /// Height and width of every layer's maps, for an input, or without one for states, of height and width `size`.
    ///
    /// # Errors
    /// As [`Self::validate`], and if a kernel is larger than its padded input.
    pub fn map_sizes(&self, size: [usize; 2]) -> Result<Vec<[usize; 2]>, ConvLstmError> {
        self.validate()?;
        let mut size = size;
        let mut sizes = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            if self.layer_input_channels(index) > 0 {
                size = layer.input_convolution(self.layer_input_channels(index)).output_size(size)?;
            }
            layer.state_convolution(1).output_size(size)?;
            layer.cell.check_size(size)?;
            sizes.push(size);
        }
        Ok(sizes)
    }

    /// Multiply-adds of the convolutions of one step of one sequence, for an input of height and width `size`.
    ///
    /// # Errors
    /// As [`Self::map_sizes`].
    pub fn multiply_adds(&self, size: [usize; 2]) -> Result<u64, ConvLstmError> {
        let mut total = 0_u64;
        for (index, (layer, size)) in self.layers.iter().zip(self.map_sizes(size)?).enumerate() {
            let product = |sizes: &[usize]| sizes.iter().fold(1_u64, |all, &size| all.saturating_mul(size as u64));
            let rows = product(&[C::GATES, layer.hidden_channels, size[0], size[1], self.directions()]);
            let input = product(&[self.layer_input_channels(index), layer.input_kernel[0], layer.input_kernel[1]]);
            let state = product(&[layer.hidden_channels, layer.state_kernel[0], layer.state_kernel[1]]);
            total = total.saturating_add(rows.saturating_mul(input.saturating_add(state)));
        }
        Ok(total)
    }

    /// Checks the options that do not depend on an input.
    ///
    /// # Errors
    /// [`ConvLstmError`] for sizes of 0, a truncation to 0 steps, and options of a cell that are not allowed.
    pub fn validate(&self) -> Result<(), ConvLstmError> {
        check_not_empty(C::NAME, "layers", self.layers.len())?;
        if self.truncate == Some(0) {
            return Err(invalid::<C>("truncate", "at least 1 step", 0));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            check_not_empty(C::NAME, "hidden_channels", layer.hidden_channels)?;
            if layer.hidden_channels.checked_mul(2 * C::GATES).is_none() {
                return Err(invalid::<C>("hidden_channels", "fewer", layer.hidden_channels));
            }
            layer.state_convolution(C::GATES).validate()?;
            layer.input_convolution(self.layer_input_channels(index).max(1)).validate()?;
            layer.cell.validate(layer.hidden_channels, self.bias)?;
        }
        Ok(())
    }
}

/// Checks that the maps of all layers have the size of the input, for models that read those of several layers.
pub(crate) fn check_one_size<C: Cell>(option: &'static str, layers: &[LayerConfig<C>]) -> Result<(), ConvLstmError> {
    match layers.iter().find(|layer| layer.input_stride != [1, 1] || layer.input_padding.is_some()) {
        Some(layer) => {
            let requirement = "[1, 1] with the padding that keeps the size";
            let found = format!("{:?}, padding {:?}", layer.input_stride, layer.input_padding);
            Err(invalid::<C>(option, requirement, found))
        }
        None => Ok(()),
    }
}

pub(crate) fn invalid<C: Cell>(option: &'static str, requirement: &'static str, found: impl ToString) -> ConvLstmError {
    TensorError::InvalidOption { operation: C::NAME, option, requirement, found: found.to_string() }.into()
}
