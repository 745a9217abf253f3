//! The configuration of an LSTM and its checks.

use tensor_ops::{TensorError, check_not_empty};

/// How the parameters of a new LSTM are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Initialisation {
    /// PyTorch's: all parameters from U(−1/√hidden, 1/√hidden).
    #[default]
    Uniform,
    /// Keras's: input weights by Glorot's uniform distribution, recurrent weights orthogonal gate by gate, biases and
    /// peepholes zero.
    GlorotOrthogonal,
}

/// The configuration of an [`Lstm`](crate::Lstm).
///
/// ```
/// use lstm::LstmConfig;
///
/// // The recurrent model of Ng et al., "Beyond Short Snippets", 2015.
/// let snippets = LstmConfig { layers: 5, peepholes: true, ..LstmConfig::new(1024, 512) };
/// assert!(snippets.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LstmConfig {
    /// Features of a time step.
    pub input_size: usize,
    /// Units of a layer in one direction.
    pub hidden_size: usize,
    /// Layers, each of which reads the output of the one below.
    pub layers: usize,
    /// Whether every layer also runs from the last step to the first; its output is both directions' side by side.
    pub bidirectional: bool,
    /// Whether gates have biases.
    pub bias: bool,
    /// Whether i, f and o see the cell through peepholes, one value per unit.
    pub peepholes: bool,
    /// The probability with which an output value is dropped on its way to the layer above, while training.
    pub dropout: f64,
    /// If given, the sum of the forget gate's two biases at the start: `bias_ih` is set to it and `bias_hh` to 0.
    /// If not, both are drawn as the other biases are.
    pub forget_bias: Option<f64>,
    /// How the parameters are drawn.
    pub initialisation: Initialisation,
    /// Truncated back-propagation through time: with `Some(k)`, no gradient passes from step m·k of a sequence to the
    /// hidden and cell values of step m·k − 1, for m = 1, 2, …. Steps are counted from 0 in the order in which a
    /// direction runs: for the reverse direction from the last valid step. Gradients within a section of k steps, from
    /// above and to the layer below, pass as always. The forward pass is not changed.
    pub truncate: Option<usize>,
}

impl Default for LstmConfig {
    /// One layer with biases, in one direction; `input_size` and `hidden_size` are 0 and must be set.
    fn default() -> Self {
        Self {
            input_size: 0,
            hidden_size: 0,
            layers: 1,
            bidirectional: false,
            bias: true,
            peepholes: false,
            dropout: 0.0,
            forget_bias: None,
            initialisation: Initialisation::Uniform,
            truncate: None,
        }
    }
}

impl LstmConfig {
    /// One layer of `hidden_size` units on `input_size` features, and [`Self::default`] in all else.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self { input_size, hidden_size, ..Self::default() }
    }

    /// The directions of a layer: 1 or 2.
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// The features of the output: those of all directions.
    pub fn output_size(&self) -> usize {
        self.directions() * self.hidden_size
    }

    /// The features that a layer reads.
    pub fn layer_input_size(&self, layer: usize) -> usize {
        if layer == 0 { self.input_size } else { self.output_size() }
    }

    /// Checks the sizes and options.
    ///
    /// # Errors
    /// [`TensorError::EmptyAxis`] for a size of 0; [`TensorError::InvalidOption`] for a dropout outside `0..1` or without
    /// a layer above, a forget-gate bias without biases or not finite, and a truncation to 0 steps.
    pub fn validate(&self) -> Result<(), TensorError> {
        check_not_empty("LstmConfig", "input_size", self.input_size)?;
        check_not_empty("LstmConfig", "hidden_size", self.hidden_size)?;
        check_not_empty("LstmConfig", "layers", self.layers)?;
        let invalid = |option, requirement, found: String| {
            Err(TensorError::InvalidOption { operation: "LstmConfig", option, requirement, found })
        };
        if !(0.0..1.0).contains(&self.dropout) {
            return invalid("dropout", "at least 0 and below 1", self.dropout.to_string());
        }
        if self.dropout > 0.0 && self.layers == 1 {
            return invalid("dropout", "0 with a single layer, as it acts between layers", self.dropout.to_string());
        }
        match self.forget_bias {
            Some(bias) if !bias.is_finite() => return invalid("forget_bias", "finite", bias.to_string()),
            Some(bias) if !self.bias => return invalid("forget_bias", "`None` without biases", bias.to_string()),
            _ => {}
        }
        if self.truncate == Some(0) {
            return invalid("truncate", "at least 1 step", "0".to_owned());
        }
        Ok(())
    }
}
