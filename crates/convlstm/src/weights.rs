//! The parameters.

use ndarray::{Array1, Array4, ArrayViewD, ArrayViewMutD, s};
use ndarray_rand::rand::Rng;
use tensor_ops::init::{fan_in_uniform, glorot_uniform, orthogonal_blocks};
use tensor_ops::{Element, Parameters, check_axis};

use crate::{Cell, ConvLstmError, Initialisation, LayerConfig, RecurrentConfig};

/// The parameters of one direction of one layer, with F channels of the state.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights<T> {
    /// Wx: `[gates · F, input channels, kernel height, kernel width]`; `None` for a layer without input.
    pub weight_ih: Option<Array4<T>>,
    /// Wh: `[gates · F, F, kernel height, kernel width]`.
    pub weight_hh: Array4<T>,
    /// One bias per gate channel: `[gates · F]`.
    pub bias: Option<Array1<T>>,
    /// For a GRU whose reset gate acts after the convolution: the bias that it acts on too, `[F]`.
    pub bias_hn: Option<Array1<T>>,
    /// Peepholes of i, f and o: `[3, F, 1, 1]` per channel, `[3, F, height, width]` per position.
    pub peepholes: Option<Array4<T>>,
    /// The scale of normalised gates: `[gates · F]`.
    pub norm_weight: Option<Array1<T>>,
    /// The shift of normalised gates: `[gates · F]`.
    pub norm_bias: Option<Array1<T>>,
}

/// The shapes of the arrays of a [`LayerWeights`].
#[derive(Debug)]
pub(crate) struct Shapes {
    weight_ih: Option<[usize; 4]>,
    weight_hh: [usize; 4],
    bias: Option<usize>,
    bias_hn: Option<usize>,
    peepholes: Option<[usize; 4]>,
    norm: Option<usize>,
}

impl Shapes {
    fn of<C: Cell>(config: &RecurrentConfig<C>, layer: usize) -> Result<Self, ConvLstmError> {
        let input_channels = config.layer_input_channels(layer);
        let layer = &config.layers[layer];
        let (hidden, gates) = (layer.hidden_channels, C::GATES * layer.hidden_channels);
        let weight_ih = (input_channels > 0).then(|| layer.input_convolution(input_channels).weight_shape());
        let cell = layer.cell.parts();
        Ok(Self {
            weight_ih: weight_ih.transpose()?,
            weight_hh: layer.state_convolution(C::GATES).weight_shape()?,
            bias: config.bias.then_some(gates),
            bias_hn: (config.bias && cell.bias_hn).then_some(hidden),
            peepholes: cell.peepholes.map(|[height, width]| [3, hidden, height, width]),
            norm: cell.normalised.then_some(gates),
        })
    }
}

/// A stack of recurrent layers: its configuration and its parameters; [`crate::ConvLstm`] or [`crate::ConvGru`].
///
/// The gradient of the parameters has the same type. Parameters are visited as `weight_ih_l0`, `weight_hh_l0`, `bias_l0`,
/// then what the cell has beyond (`bias_hn_l0`, `peepholes_l0`, `norm_weight_l0`, `norm_bias_l0`), then the reverse
/// direction (`weight_ih_l0_reverse`, …), then the next layer.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvRecurrent<T, C> {
    config: RecurrentConfig<C>,
    /// The parameters: of layer l and direction d at `l · directions + d`, forward before reverse.
    pub directions: Vec<LayerWeights<T>>,
}

impl<T: Element, C: Cell> ConvRecurrent<T, C> {
    /// New layers with parameters drawn as the configuration says; the same generator state gives the same parameters.
    ///
    /// Peepholes start at 0, the scale of normalised gates at 1.
    ///
    /// # Errors
    /// As [`RecurrentConfig::validate`].
    pub fn new(config: RecurrentConfig<C>, rng: &mut (impl Rng + ?Sized)) -> Result<Self, ConvLstmError> {
        let mut layers = Self::zeros(config)?;
        let (initialisation, directions) = (layers.config.initialisation, layers.config.directions());
        for (index, weights) in layers.directions.iter_mut().enumerate() {
            weights.draw(initialisation, &layers.config.layers[index / directions], rng)?;
        }
        Ok(layers)
    }

    /// Layers with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`RecurrentConfig::validate`].
    pub fn zeros(config: RecurrentConfig<C>) -> Result<Self, ConvLstmError> {
        config.validate()?;
        let mut directions = Vec::new();
        for layer in 0..config.layers.len() {
            let shapes = Shapes::of(&config, layer)?;
            let weights = LayerWeights {
                weight_ih: shapes.weight_ih.map(|shape| zeros("weight_ih", shape)).transpose()?,
                weight_hh: zeros("weight_hh", shapes.weight_hh)?,
                bias: shapes.bias.map(Array1::zeros),
                bias_hn: shapes.bias_hn.map(Array1::zeros),
                peepholes: shapes.peepholes.map(|shape| zeros("peepholes", shape)).transpose()?,
                norm_weight: shapes.norm.map(Array1::zeros),
                norm_bias: shapes.norm.map(Array1::zeros),
            };
            directions.extend(std::iter::repeat_n(weights, config.directions()));
        }
        Ok(Self { config, directions })
    }

    /// The configuration.
    pub fn config(&self) -> &RecurrentConfig<C> {
        &self.config
    }

    /// The same parameters with another choice of what a training pass keeps.
    #[must_use]
    pub fn with_memory(mut self, memory: crate::TraceMemory) -> Self {
        self.config.memory = memory;
        self
    }

    /// The same parameters with another truncation of the backward pass.
    ///
    /// # Errors
    /// [`ConvLstmError`] for a truncation to 0 steps.
    pub fn with_truncation(mut self, truncate: Option<usize>) -> Result<Self, ConvLstmError> {
        self.config.truncate = truncate;
        self.config.validate()?;
        Ok(self)
    }

    /// The parameters of `layer`, of its reverse direction if `reverse`; `None` if there are none.
    pub fn weights(&self, layer: usize, reverse: bool) -> Option<&LayerWeights<T>> {
        if reverse && !self.config.bidirectional {
            return None;
        }
        self.directions.get(layer * self.config.directions() + usize::from(reverse))
    }

    /// Checks that the public arrays still have the shapes of the configuration.
    pub(crate) fn check(&self) -> Result<(), ConvLstmError> {
        let directions = self.config.directions();
        check_axis(C::NAME, "layers and directions", self.config.layers.len() * directions, self.directions.len())?;
        for (index, weights) in self.directions.iter().enumerate() {
            let shapes = Shapes::of(&self.config, index / directions)?;
            let suffix = suffix(index, directions);
            let mut parts = Vec::new();
            weights.visit_as(&suffix, &mut |name, values| parts.push((name.to_owned(), values.shape().to_vec())));
            let gates = |len: Option<usize>| len.map(|len| vec![len]);
            let expected = [
                ("weight_ih", shapes.weight_ih.map(|shape| shape.to_vec())),
                ("weight_hh", Some(shapes.weight_hh.to_vec())),
                ("bias", gates(shapes.bias)),
                ("bias_hn", gates(shapes.bias_hn)),
                ("peepholes", shapes.peepholes.map(|shape| shape.to_vec())),
                ("norm_weight", gates(shapes.norm)),
                ("norm_bias", gates(shapes.norm)),
            ];
            for (name, shape) in expected {
                let part = format!("{name}{suffix}");
                let found = parts.iter().find(|(name, _)| *name == part).map(|(_, shape)| shape);
                let expected = match (&shape, found) {
                    (None, Some(_)) => "no such array",
                    (Some(_), None) => "this array",
                    (Some(expected), Some(found)) if expected != found => {
                        let found = format!("{found:?}");
                        let part = format!("{part} of shape {found}");
                        return Err(ConvLstmError::Parts { part, expected: "the shape of the configuration" });
                    }
                    _ => continue,
                };
                return Err(ConvLstmError::Parts { part, expected });
            }
        }
        Ok(())
    }
}

impl<T: Element> LayerWeights<T> {
    fn draw<C: Cell>(
        &mut self,
        initialisation: Initialisation,
        layer: &LayerConfig<C>,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<(), ConvLstmError> {
        let hidden = layer.hidden_channels;
        let window = |shape: &[usize]| shape[1] * shape[2] * shape[3];
        let fan_in = window(self.weight_hh.shape()) + self.weight_ih.as_ref().map_or(0, |w| window(w.shape()));
        match initialisation {
            Initialisation::Uniform => {
                for weight in self.weight_ih.iter_mut().chain([&mut self.weight_hh]) {
                    *weight = fan_in_uniform(weight.raw_dim(), fan_in, rng)?;
                }
                for bias in [&mut self.bias, &mut self.bias_hn].into_iter().flatten() {
                    *bias = fan_in_uniform(bias.raw_dim(), fan_in, rng)?;
                }
            }
            Initialisation::GlorotOrthogonal => {
                if let Some(weight) = &mut self.weight_ih {
                    *weight = glorot_uniform(weight.raw_dim(), 1.0, rng)?;
                }
                self.weight_hh = orthogonal_blocks(self.weight_hh.raw_dim(), C::GATES, 1.0, rng)?;
            }
        }
        if let (Some((gate, value)), Some(bias)) = (layer.cell.forget_bias(), &mut self.bias) {
            bias.slice_mut(s![gate * hidden..(gate + 1) * hidden]).fill(T::from_f64(value));
        }
        if let Some(scale) = &mut self.norm_weight {
            scale.fill(T::one());
        }
        Ok(())
    }

    fn visit_as<'a>(&'a self, suffix: &str, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        if let Some(weight) = &self.weight_ih {
            visitor(&format!("weight_ih{suffix}"), weight.view().into_dyn());
        }
        visitor(&format!("weight_hh{suffix}"), self.weight_hh.view().into_dyn());
        for (name, vector) in [("bias", &self.bias), ("bias_hn", &self.bias_hn)] {
            if let Some(vector) = vector {
                visitor(&format!("{name}{suffix}"), vector.view().into_dyn());
            }
        }
        if let Some(peepholes) = &self.peepholes {
            visitor(&format!("peepholes{suffix}"), peepholes.view().into_dyn());
        }
        for (name, vector) in [("norm_weight", &self.norm_weight), ("norm_bias", &self.norm_bias)] {
            if let Some(vector) = vector {
                visitor(&format!("{name}{suffix}"), vector.view().into_dyn());
            }
        }
    }

    fn visit_mut_as<'a>(&'a mut self, suffix: &str, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        if let Some(weight) = &mut self.weight_ih {
            visitor(&format!("weight_ih{suffix}"), weight.view_mut().into_dyn());
        }
        visitor(&format!("weight_hh{suffix}"), self.weight_hh.view_mut().into_dyn());
        for (name, vector) in [("bias", &mut self.bias), ("bias_hn", &mut self.bias_hn)] {
            if let Some(vector) = vector {
                visitor(&format!("{name}{suffix}"), vector.view_mut().into_dyn());
            }
        }
        if let Some(peepholes) = &mut self.peepholes {
            visitor(&format!("peepholes{suffix}"), peepholes.view_mut().into_dyn());
        }
        for (name, vector) in [("norm_weight", &mut self.norm_weight), ("norm_bias", &mut self.norm_bias)] {
            if let Some(vector) = vector {
                visitor(&format!("{name}{suffix}"), vector.view_mut().into_dyn());
            }
        }
    }
}

/// What follows the name of an array: `_l0`, `_l0_reverse`, `_l1`, ….
fn suffix(index: usize, directions: usize) -> String {
    let reverse = if index % directions == 1 { "_reverse" } else { "" };
    format!("_l{}{reverse}", index / directions)
}

impl<T: Element, C: Cell> Parameters<T> for ConvRecurrent<T, C> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        let directions = self.config.directions();
        for (index, weights) in self.directions.iter().enumerate() {
            weights.visit_as(&suffix(index, directions), visitor);
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        let directions = self.config.directions();
        for (index, weights) in self.directions.iter_mut().enumerate() {
            weights.visit_mut_as(&suffix(index, directions), visitor);
        }
    }
}

/// An array of zeros, or an error where the memory cannot be had.
pub(crate) fn zeros<T: Element, const N: usize, D: ndarray::Dimension>(
    part: &'static str,
    shape: [usize; N],
) -> Result<ndarray::Array<T, D>, ConvLstmError>
where
    [usize; N]: ndarray::IntoDimension<Dim = D>,
{
    use ndarray::IntoDimension;
    let no_memory = || ConvLstmError::Memory { part, shape: shape.to_vec() };
    let len = shape.iter().try_fold(1_usize, |len, &size| len.checked_mul(size)).ok_or_else(no_memory)?;
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| no_memory())?;
    ndarray::Array::from_shape_vec(shape.into_dimension(), vec![T::zero(); len]).map_err(|_| no_memory())
}
