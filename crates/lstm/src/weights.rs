//! The parameters of an LSTM.

use ndarray::{Array1, Array2, ArrayViewD, ArrayViewMutD, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{
    Element, FORGET_GATE, GATES, Parameters, TensorError, check_axis, init::fan_in_uniform, init::glorot_uniform,
    init::orthogonal_blocks,
};

use crate::{Initialisation, LstmConfig, LstmError, PEEPHOLES};

/// The parameters of one direction of one layer.
///
/// The first axis of weights and biases holds the gates i, f, g, o one after another, as in PyTorch. The names in the
/// `state_dict` have the suffix `_l{layer}` and for the reverse direction `_reverse` after it.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmWeights<T> {
    /// W: `[4 · hidden, input]`.
    pub weight_ih: Array2<T>,
    /// R: `[4 · hidden, hidden]`.
    pub weight_hh: Array2<T>,
    /// The bias that PyTorch adds to W x: `[4 · hidden]`.
    pub bias_ih: Option<Array1<T>>,
    /// The bias that PyTorch adds to R h: `[4 · hidden]`.
    pub bias_hh: Option<Array1<T>>,
    /// Peepholes of i, f and o: `[3, hidden]`; PyTorch has none.
    pub peepholes: Option<Array2<T>>,
}

/// A long short-term memory: its configuration and its parameters.
///
/// The gradient of the parameters has the same type. Parameters are visited in PyTorch's order:
/// `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, then `peepholes_l0`, then the reverse direction
/// (`weight_ih_l0_reverse`, …), then the next layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Lstm<T> {
    pub(crate) config: LstmConfig,
    /// The parameters: of layer l and direction d at `l · directions + d`, forward before reverse.
    pub directions: Vec<LstmWeights<T>>,
}

impl<T: Element> Lstm<T> {
    /// A new LSTM with parameters drawn as the configuration says; the same generator state gives the same parameters.
    ///
    /// # Errors
    /// As [`LstmConfig::validate`].
    pub fn new(config: LstmConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, LstmError> {
        let mut lstm = Self::zeros(config)?;
        let config = lstm.config.clone();
        for weights in &mut lstm.directions {
            weights.draw(&config, rng)?;
        }
        Ok(lstm)
    }

    /// An LSTM with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`LstmConfig::validate`].
    pub fn zeros(config: LstmConfig) -> Result<Self, LstmError> {
        config.validate()?;
        let gates = GATES * config.hidden_size;
        let directions = (0..config.layers * config.directions())
            .map(|index| LstmWeights {
                weight_ih: Array2::zeros((gates, config.layer_input_size(index / config.directions()))),
                weight_hh: Array2::zeros((gates, config.hidden_size)),
                bias_ih: config.bias.then(|| Array1::zeros(gates)),
                bias_hh: config.bias.then(|| Array1::zeros(gates)),
                peepholes: config.peepholes.then(|| Array2::zeros((PEEPHOLES, config.hidden_size))),
            })
            .collect();
        Ok(Self { config, directions })
    }

    /// The configuration.
    pub fn config(&self) -> &LstmConfig {
        &self.config
    }

    /// The parameters of `layer`, of its reverse direction if `reverse`; `None` if there are none.
    ///
    /// ```
    /// use lstm::{Lstm, LstmConfig};
    ///
    /// let lstm = Lstm::<f32>::zeros(LstmConfig::new(3, 5))?;
    /// assert_eq!(lstm.weights(0, false).unwrap().weight_ih.dim(), (20, 3));
    /// assert!(lstm.weights(0, true).is_none());
    /// # Ok::<(), lstm::LstmError>(())
    /// ```
    pub fn weights(&self, layer: usize, reverse: bool) -> Option<&LstmWeights<T>> {
        if reverse && !self.config.bidirectional {
            return None;
        }
        self.directions.get(layer * self.config.directions() + usize::from(reverse))
    }

    /// Checks that the public arrays still have the shapes of the configuration.
    pub(crate) fn check(&self) -> Result<(), LstmError> {
        let directions = self.config.directions();
        let count = self.config.layers * directions;
        check_axis("Lstm", "layers and directions", count, self.directions.len())?;
        for (index, weights) in self.directions.iter().enumerate() {
            weights.check(&self.config, index / directions)?;
            let suffix = suffix(index, directions);
            for (name, found, expected) in [
                ("bias_ih", weights.bias_ih.is_some(), self.config.bias),
                ("bias_hh", weights.bias_hh.is_some(), self.config.bias),
                ("peepholes", weights.peepholes.is_some(), self.config.peepholes),
            ] {
                if found != expected {
                    let expected = if expected { "this array" } else { "no such array" };
                    return Err(LstmError::Parts { part: format!("{name}{suffix}"), expected });
                }
            }
        }
        Ok(())
    }
}

impl<T: Element> LstmWeights<T> {
    fn draw(&mut self, config: &LstmConfig, rng: &mut (impl Rng + ?Sized)) -> Result<(), TensorError> {
        match config.initialisation {
            Initialisation::Uniform => {
                self.weight_ih = fan_in_uniform(self.weight_ih.raw_dim(), config.hidden_size, rng)?;
                self.weight_hh = fan_in_uniform(self.weight_hh.raw_dim(), config.hidden_size, rng)?;
                for bias in [&mut self.bias_ih, &mut self.bias_hh].into_iter().flatten() {
                    *bias = fan_in_uniform(bias.raw_dim(), config.hidden_size, rng)?;
                }
                if let Some(peepholes) = &mut self.peepholes {
                    *peepholes = fan_in_uniform(peepholes.raw_dim(), config.hidden_size, rng)?;
                }
            }
            Initialisation::GlorotOrthogonal => {
                self.weight_ih = glorot_uniform(self.weight_ih.raw_dim(), 1.0, rng)?;
                self.weight_hh = orthogonal_blocks(self.weight_hh.raw_dim(), GATES, 1.0, rng)?;
            }
        }
        if let (Some(value), Some(bias_ih), Some(bias_hh)) = (config.forget_bias, &mut self.bias_ih, &mut self.bias_hh)
        {
            let forget = s![FORGET_GATE * config.hidden_size..(FORGET_GATE + 1) * config.hidden_size];
            bias_ih.slice_mut(forget).fill(T::from_f64(value));
            bias_hh.slice_mut(forget).fill(T::zero());
        }
        Ok(())
    }

    fn check(&self, config: &LstmConfig, layer: usize) -> Result<(), TensorError> {
        let (gates, hidden) = (GATES * config.hidden_size, config.hidden_size);
        check_axis("Lstm", "weight_ih gates", gates, self.weight_ih.nrows())?;
        check_axis("Lstm", "weight_ih input features", config.layer_input_size(layer), self.weight_ih.ncols())?;
        check_axis("Lstm", "weight_hh gates", gates, self.weight_hh.nrows())?;
        check_axis("Lstm", "weight_hh units", hidden, self.weight_hh.ncols())?;
        for (axis, bias) in [("bias_ih gates", &self.bias_ih), ("bias_hh gates", &self.bias_hh)] {
            if let Some(bias) = bias {
                check_axis("Lstm", axis, gates, bias.len())?;
            }
        }
        if let Some(peepholes) = &self.peepholes {
            check_axis("Lstm", "peephole gates", PEEPHOLES, peepholes.nrows())?;
            check_axis("Lstm", "peephole units", hidden, peepholes.ncols())?;
        }
        Ok(())
    }
}

/// What follows the name of an array: `_l0`, `_l0_reverse`, `_l1`, ….
fn suffix(index: usize, directions: usize) -> String {
    let reverse = if index % directions == 1 { "_reverse" } else { "" };
    format!("_l{}{reverse}", index / directions)
}

impl<T: Element> Parameters<T> for Lstm<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        for (index, weights) in self.directions.iter().enumerate() {
            let suffix = suffix(index, self.config.directions());
            visitor(&format!("weight_ih{suffix}"), weights.weight_ih.view().into_dyn());
            visitor(&format!("weight_hh{suffix}"), weights.weight_hh.view().into_dyn());
            if let Some(bias) = &weights.bias_ih {
                visitor(&format!("bias_ih{suffix}"), bias.view().into_dyn());
            }
            if let Some(bias) = &weights.bias_hh {
                visitor(&format!("bias_hh{suffix}"), bias.view().into_dyn());
            }
            if let Some(peepholes) = &weights.peepholes {
                visitor(&format!("peepholes{suffix}"), peepholes.view().into_dyn());
            }
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        let directions = self.config.directions();
        for (index, weights) in self.directions.iter_mut().enumerate() {
            let suffix = suffix(index, directions);
            visitor(&format!("weight_ih{suffix}"), weights.weight_ih.view_mut().into_dyn());
            visitor(&format!("weight_hh{suffix}"), weights.weight_hh.view_mut().into_dyn());
            if let Some(bias) = &mut weights.bias_ih {
                visitor(&format!("bias_ih{suffix}"), bias.view_mut().into_dyn());
            }
            if let Some(bias) = &mut weights.bias_hh {
                visitor(&format!("bias_hh{suffix}"), bias.view_mut().into_dyn());
            }
            if let Some(peepholes) = &mut weights.peepholes {
                visitor(&format!("peepholes{suffix}"), peepholes.view_mut().into_dyn());
            }
        }
    }
}
