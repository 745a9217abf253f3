//! The parameters of an architecture.

use ndarray::{Array1, Array2, Array5, ArrayViewD, ArrayViewMutD};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, Linear, Parameters, check_axis, init::fan_in_uniform, visit_part, visit_part_mut};

use super::config::NAME;
use super::{FeaturePoolingConfig, TimeConvolution};
use crate::PoolingError;
use crate::error::zeros;

/// A feature-pooling architecture: its configuration and its parameters.
///
/// The gradient of the parameters has the same type. Parameters are visited as `convolution.weight`, `convolution.bias`,
/// then `shared.0.weight`, `shared.0.bias`, …, `hidden.0.weight`, …, `classifier.weight`, `classifier.bias`.
///
/// ```
/// use ndarray::Array5;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use pooling::{FeaturePooling, FeaturePoolingConfig};
///
/// let mut generator = StdRng::seed_from_u64(1);
/// let config = FeaturePoolingConfig { shared: vec![16], hidden: vec![8], ..FeaturePoolingConfig::slow([4, 3, 3], 5) };
/// let model = FeaturePooling::<f32>::new(config, &mut generator)?;
/// let clips = Array5::ones((2, 30, 4, 3, 3)); // [batch, time, channels, height, width]
/// let (scores, trace) = model.forward_training(clips.view(), Some(&[30, 17]), &mut generator)?;
/// assert_eq!(scores.dim(), (2, 5)); // [batch, classes]
/// let gradients = model.backward(&trace, scores.view())?;
/// assert_eq!(gradients.input.dim(), (2, 30, 4, 3, 3));
/// # Ok::<(), pooling::PoolingError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturePooling<T> {
    config: FeaturePoolingConfig,
    /// The convolution over time, of [`Architecture::TimeDomain`](crate::Architecture::TimeDomain).
    pub convolution: Option<TimeConvolution<T>>,
    /// The fully connected layers that every frame or window has in common.
    pub shared: Vec<Linear<T>>,
    /// The fully connected layers behind the last pooling.
    pub hidden: Vec<Linear<T>>,
    /// The last layer, whose outputs are the scores of the classes.
    pub classifier: Linear<T>,
}

impl<T: Element> FeaturePooling<T> {
    /// A model with all parameters drawn from U(−1/√k, 1/√k) as in PyTorch, k being the values that an output is made of; the
    /// same generator state gives the same parameters.
    ///
    /// # Errors
    /// As [`FeaturePoolingConfig::validate`], and [`PoolingError::Memory`] where there is no memory for the parameters.
    pub fn new(config: FeaturePoolingConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, PoolingError> {
        let mut model = Self::zeros(config)?;
        if let Some(convolution) = &mut model.convolution {
            let fan_in: usize = convolution.weight.shape()[1..].iter().product();
            convolution.weight = fan_in_uniform(convolution.weight.raw_dim(), fan_in, rng)?;
            convolution.bias = fan_in_uniform(convolution.bias.raw_dim(), fan_in, rng)?;
        }
        for layer in model.shared.iter_mut().chain(&mut model.hidden).chain([&mut model.classifier]) {
            let fan_in = layer.in_features();
            layer.weight = fan_in_uniform(layer.weight.raw_dim(), fan_in, rng)?;
            if let Some(bias) = &mut layer.bias {
                *bias = fan_in_uniform(bias.raw_dim(), fan_in, rng)?;
            }
        }
        Ok(model)
    }

    /// A model with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn zeros(config: FeaturePoolingConfig) -> Result<Self, PoolingError> {
        config.validate()?;
        let linear = |&[inputs, outputs]: &[usize; 2]| -> Result<Linear<T>, PoolingError> {
            let weight: Array2<T> = zeros(NAME, "weight", [outputs, inputs])?;
            Ok(Linear { weight, bias: Some(Array1::zeros(outputs)) })
        };
        let convolution = config.convolution_shape().map(|shape| -> Result<_, PoolingError> {
            let weight: Array5<T> = zeros(NAME, "convolution weight", shape)?;
            Ok(TimeConvolution { weight, bias: zeros(NAME, "convolution bias", [shape[0]])? })
        });
        let shared = config.shared_sizes().iter().map(linear).collect::<Result<_, _>>()?;
        let mut hidden = config.hidden_sizes().iter().map(linear).collect::<Result<Vec<_>, _>>()?;
        let Some(classifier) = hidden.pop() else { return Err(layers("classifier", 1)) };
        Ok(Self { convolution: convolution.transpose()?, shared, hidden, classifier, config })
    }

    /// A model of the same configuration with these parameters.
    pub(super) fn with_parameters(
        &self,
        convolution: Option<TimeConvolution<T>>,
        shared: Vec<Linear<T>>,
        hidden: Vec<Linear<T>>,
        classifier: Linear<T>,
    ) -> Self {
        Self { config: self.config.clone(), convolution, shared, hidden, classifier }
    }

    /// The configuration.
    pub fn config(&self) -> &FeaturePoolingConfig {
        &self.config
    }

    /// Checks that the public arrays still have the shapes of the configuration.
    pub(super) fn check(&self) -> Result<(), PoolingError> {
        let expected = self.config.convolution_shape();
        match (&self.convolution, expected) {
            (Some(convolution), Some(shape)) => convolution.check(shape)?,
            (None, None) => {}
            (_, expected) => return Err(layers("convolution", usize::from(expected.is_some()))),
        }
        let sizes = self.config.shared_sizes();
        if self.shared.len() != sizes.len() {
            return Err(layers("shared", sizes.len()));
        }
        check_layers(["shared weight outputs", "shared weight inputs", "shared bias"], &self.shared, &sizes)?;
        let sizes = self.config.hidden_sizes();
        let (classifier, sizes) = sizes.split_last().ok_or_else(|| layers("classifier", 1))?;
        if self.hidden.len() != sizes.len() {
            return Err(layers("hidden", sizes.len()));
        }
        check_layers(["hidden weight outputs", "hidden weight inputs", "hidden bias"], &self.hidden, sizes)?;
        let axes = ["classifier weight outputs", "classifier weight inputs", "classifier bias"];
        check_layers(axes, std::slice::from_ref(&self.classifier), std::slice::from_ref(classifier))
    }
}

/// An error of another number of layers than the configuration asks for.
fn layers(part: &str, expected: usize) -> PoolingError {
    PoolingError::Parts { part: part.to_owned(), expected: format!("{expected} of them") }
}

fn check_layers<T: Element>(
    [outputs_axis, inputs_axis, bias_axis]: [&'static str; 3],
    layers: &[Linear<T>],
    sizes: &[[usize; 2]],
) -> Result<(), PoolingError> {
    for (layer, &[inputs, outputs]) in layers.iter().zip(sizes) {
        check_axis(NAME, outputs_axis, outputs, layer.out_features())?;
        check_axis(NAME, inputs_axis, inputs, layer.in_features())?;
        match &layer.bias {
            Some(bias) => check_axis(NAME, bias_axis, outputs, bias.len())?,
            None => {
                let (part, expected) = (bias_axis.to_owned(), "this array".to_owned());
                return Err(PoolingError::Parts { part, expected });
            }
        }
    }
    Ok(())
}

impl<T: Element> Parameters<T> for FeaturePooling<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        if let Some(convolution) = &self.convolution {
            visit_part("convolution", convolution, visitor);
        }
        for (index, layer) in self.shared.iter().enumerate() {
            visit_part(&format!("shared.{index}"), layer, visitor);
        }
        for (index, layer) in self.hidden.iter().enumerate() {
            visit_part(&format!("hidden.{index}"), layer, visitor);
        }
        visit_part("classifier", &self.classifier, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        if let Some(convolution) = &mut self.convolution {
            visit_part_mut("convolution", convolution, visitor);
        }
        for (index, layer) in self.shared.iter_mut().enumerate() {
            visit_part_mut(&format!("shared.{index}"), layer, visitor);
        }
        for (index, layer) in self.hidden.iter_mut().enumerate() {
            visit_part_mut(&format!("hidden.{index}"), layer, visitor);
        }
        visit_part_mut("classifier", &mut self.classifier, visitor);
    }
}
