//! Layer normalisation (Ba, Kiros and Hinton, "Layer normalization", 2016).
//!
//! For every item, with the mean μ and the variance v of its features: x̂ = (x − μ) / √(v + ε), y = γ ∘ x̂ + β.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewD, ArrayViewMutD, Zip};

use crate::{Element, Parameters, TensorError, check_axis, check_not_empty};

const OPERATION: &str = "LayerNorm";
/// ε, PyTorch's default.
const EPSILON: f64 = 1e-5;

/// A layer normalisation with scale and shift, and the gradient of one. ε is 10⁻⁵.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::LayerNorm;
///
/// let layer = LayerNorm::<f64>::new(2)?;
/// let output = layer.forward(array![[1.0, 3.0], [-4.0, 4.0]].view())?;
/// assert!(output.iter().zip([-1.0, 1.0, -1.0, 1.0]).all(|(y, expected): (&f64, _)| (y - expected).abs() < 1e-5));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm<T> {
    /// γ, `[features]`.
    pub weight: Array1<T>,
    /// β, `[features]`.
    pub bias: Array1<T>,
}

/// What [`LayerNorm::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct LayerNormTrace<T> {
    /// x̂, `[items, features]`.
    normalised: Array2<T>,
    /// 1 / √(v + ε), `[items]`.
    inverse_deviations: Array1<T>,
}

/// The gradients of [`LayerNorm::backward`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNormGradients<T> {
    /// `[items, features]`
    pub input: Array2<T>,
    /// The gradients of scale and shift.
    pub parameters: LayerNorm<T>,
}

impl<T: Element> LayerNorm<T> {
    /// A layer with scales of 1 and shifts of 0.
    ///
    /// # Errors
    /// [`TensorError::EmptyAxis`] for 0 features.
    pub fn new(features: usize) -> Result<Self, TensorError> {
        check_not_empty(OPERATION, "features", features)?;
        Ok(Self { weight: Array1::ones(features), bias: Array1::zeros(features) })
    }

    /// Features of an item.
    pub fn features(&self) -> usize {
        self.weight.len()
    }

    /// The output `[items, features]` of an input of the same shape.
    ///
    /// # Errors
    /// [`TensorError`] if there are no items or the sizes do not fit.
    pub fn forward(&self, input: ArrayView2<'_, T>) -> Result<Array2<T>, TensorError> {
        Ok(self.forward_training(input)?.0)
    }

    /// As [`Self::forward`], with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(&self, input: ArrayView2<'_, T>) -> Result<(Array2<T>, LayerNormTrace<T>), TensorError> {
        check_not_empty(OPERATION, "input items", input.nrows())?;
        check_axis(OPERATION, "input features", self.features(), input.ncols())?;
        check_axis(OPERATION, "bias features", self.features(), self.bias.len())?;
        let count = T::from_f64(self.features() as f64);
        let mut normalised = input.as_standard_layout().into_owned();
        let mut inverse_deviations = Array1::zeros(input.nrows());
        let mut output = Array2::zeros(input.dim());
        Zip::from(normalised.rows_mut()).and(&mut inverse_deviations).and(output.rows_mut()).for_each(
            |mut row, inverse, mut output| {
                let mean = row.sum() / count;
                row.mapv_inplace(|value| value - mean);
                let variance = row.iter().map(|&value| value * value).sum::<T>() / count;
                *inverse = T::one() / (variance + T::from_f64(EPSILON)).sqrt();
                Zip::from(&mut output).and(&mut row).and(&self.weight).and(&self.bias).for_each(
                    |output, normalised, &scale, &shift| {
                        *normalised *= *inverse;
                        *output = scale * *normalised + shift;
                    },
                );
            },
        );
        Ok((output, LayerNormTrace { normalised, inverse_deviations }))
    }

    /// The gradients of input, scale and shift for the gradient `[items, features]` of the output:
    /// δx = (γ δy − mean(γ δy) − x̂ mean(γ δy ∘ x̂)) / √(v + ε).
    ///
    /// # Errors
    /// [`TensorError::AxisSize`] if the sizes do not fit the trace or the layer.
    pub fn backward(
        &self,
        trace: &LayerNormTrace<T>,
        grad_output: ArrayView2<'_, T>,
    ) -> Result<LayerNormGradients<T>, TensorError> {
        let (items, features) = trace.normalised.dim();
        check_axis(OPERATION, "trace features", self.features(), features)?;
        check_axis(OPERATION, "output gradient items", items, grad_output.nrows())?;
        check_axis(OPERATION, "output gradient features", features, grad_output.ncols())?;
        let count = T::from_f64(features as f64);
        let mut input = grad_output.as_standard_layout().into_owned();
        let inverses = trace.inverse_deviations.view();
        Zip::from(input.rows_mut()).and(trace.normalised.rows()).and(inverses).for_each(
            |mut row, normalised, &inverse| {
                row *= &self.weight;
                let mean = row.sum() / count;
                let mean_product = row.iter().zip(normalised).map(|(&grad, &value)| grad * value).sum::<T>() / count;
                Zip::from(&mut row).and(normalised).for_each(|grad, &value| {
                    *grad = (*grad - mean - value * mean_product) * inverse;
                });
            },
        );
        let mut parameters = Self { weight: Array1::zeros(features), bias: Array1::zeros(features) };
        for (gradient, normalised) in grad_output.rows().into_iter().zip(trace.normalised.rows()) {
            accumulate(&mut parameters, gradient, normalised);
        }
        Ok(LayerNormGradients { input, parameters })
    }
}

/// Adds what one item contributes to the gradients of scale and shift.
fn accumulate<T: Element>(sums: &mut LayerNorm<T>, gradient: ArrayView1<'_, T>, normalised: ArrayView1<'_, T>) {
    Zip::from(&mut sums.weight).and(&mut sums.bias).and(gradient).and(normalised).for_each(
        |weight, bias, &gradient, &normalised| {
            *weight += gradient * normalised;
            *bias += gradient;
        },
    );
}

impl<T: Element> Parameters<T> for LayerNorm<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visitor("weight", self.weight.view().into_dyn());
        visitor("bias", self.bias.view().into_dyn());
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visitor("weight", self.weight.view_mut().into_dyn());
        visitor("bias", self.bias.view_mut().into_dyn());
    }
}
