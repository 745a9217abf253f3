//! The layer.

use ndarray::{Array1, Array4, ArrayView4, ArrayViewD, ArrayViewMut4, ArrayViewMutD, Zip};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, Isa, Parameters, check_axis, init};

use crate::backward::{backward_input_on, backward_parameters_on};
use crate::config::NAME;
use crate::forward::convolve_into_on;
use crate::sizes::{Sizes, for_each_task, zeros};
use crate::{Activation, Conv2dConfig, Conv2dError};

/// Fewer gradients are masked before another thread has begun.
const MIN_PARALLEL_VALUES: usize = 1 << 16;

/// A convolution layer, and the gradient of its parameters.
///
/// The parameters have the names and axes of PyTorch's `state_dict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d<T> {
    /// The options.
    pub config: Conv2dConfig,
    /// `[out_channels, in_channels / groups, kernel height, kernel width]`
    pub weight: Array4<T>,
    /// `[out_channels]`
    pub bias: Option<Array1<T>>,
}

/// What the backward pass needs of a forward pass.
#[derive(Clone, Debug)]
pub struct Conv2dTrace<T> {
    input: Array4<T>,
    /// Where the activation passes gradients; `None` where it always does.
    passes: Option<Array4<bool>>,
}

impl<T> Conv2dTrace<T> {
    /// The input of the forward pass.
    pub fn input(&self) -> &Array4<T> {
        &self.input
    }
}

/// The gradients of [`Conv2d::backward`].
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dGradients<T> {
    /// `[batch, in_channels, height, width]`
    pub input: Array4<T>,
    /// The gradients of weight and bias.
    pub parameters: Conv2d<T>,
}

impl<T: Element> Conv2d<T> {
    /// A layer with weight and bias from U(−1/√k, 1/√k), k = `in_channels / groups · kernel height · kernel width`, as in
    /// PyTorch.
    ///
    /// # Errors
    /// [`Conv2dError`] if the configuration is invalid or the weight too large for the memory.
    pub fn new(config: Conv2dConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Conv2dError> {
        let shape = config.weight_shape()?;
        let mut weight: Array4<T> = zeros("weight", shape)?;
        let fan_in = shape[1] * shape[2] * shape[3];
        weight.assign(&init::fan_in_uniform(shape, fan_in, rng)?);
        let bias = config.bias.then(|| init::fan_in_uniform(shape[0], fan_in, rng)).transpose()?;
        Ok(Self { config, weight, bias })
    }

    /// The output `[batch, out_channels, output height, output width]` of an `input`
    /// `[batch, in_channels, height, width]` with any strides.
    ///
    /// # Errors
    /// [`Conv2dError`] for an empty batch, sizes that do not fit, or parameters that do not fit the configuration.
    pub fn forward(&self, input: ArrayView4<'_, T>) -> Result<Array4<T>, Conv2dError> {
        self.forward_on(Isa::selected(), input)
    }

    /// As [`Self::forward`], written to `output`, whose values are not read and which may have any strides.
    ///
    /// # Errors
    /// As [`Self::forward`], and for an output of another shape.
    pub fn forward_into(&self, input: ArrayView4<'_, T>, output: ArrayViewMut4<'_, T>) -> Result<(), Conv2dError> {
        self.forward_into_on(Isa::selected(), input, output)
    }

    /// As [`Self::forward`], and what [`Self::backward`] needs of it: a copy of the input.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(&self, input: ArrayView4<'_, T>) -> Result<(Array4<T>, Conv2dTrace<T>), Conv2dError> {
        let output = self.forward(input)?;
        let trace = self.trace(input.to_owned(), &output);
        Ok((output, trace))
    }

    /// As [`Self::forward_training`] for an input that the trace keeps instead of a copy.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training_owned(&self, input: Array4<T>) -> Result<(Array4<T>, Conv2dTrace<T>), Conv2dError> {
        let output = self.forward(input.view())?;
        let trace = self.trace(input, &output);
        Ok((output, trace))
    }

    fn trace(&self, input: Array4<T>, output: &Array4<T>) -> Conv2dTrace<T> {
        let activation = self.config.activation;
        let passes = (activation != Activation::None).then(|| output.map(|&value| activation.passes(value)));
        Conv2dTrace { input, passes }
    }

    /// The gradients of the input and the parameters, for `grad_output` of the shape of the output and any strides.
    ///
    /// # Errors
    /// [`Conv2dError`] if `grad_output` has another shape than the output of the trace.
    pub fn backward(
        &self,
        trace: &Conv2dTrace<T>,
        grad_output: ArrayView4<'_, T>,
    ) -> Result<Conv2dGradients<T>, Conv2dError> {
        self.backward_on(Isa::selected(), trace, grad_output)
    }

    /// The gradients of the parameters alone, for a first layer.
    ///
    /// # Errors
    /// As [`Self::backward`].
    pub fn backward_parameters(
        &self,
        trace: &Conv2dTrace<T>,
        grad_output: ArrayView4<'_, T>,
    ) -> Result<Self, Conv2dError> {
        let masked = self.before_activation(trace, &grad_output)?;
        let grad_output = masked.as_ref().map_or(grad_output, |masked| masked.view());
        self.parameter_gradients(Isa::selected(), trace, grad_output)
    }

    /// [`Self::forward`] with the kernels of `isa`; portable ones where the CPU lacks it.
    #[doc(hidden)]
    pub fn forward_on(&self, isa: Isa, input: ArrayView4<'_, T>) -> Result<Array4<T>, Conv2dError> {
        let sizes = Sizes::check(&self.config, &self.weight.view(), [0, 1, 2, 3].map(|axis| input.shape()[axis]))?;
        let mut output = zeros("output", sizes.output_shape())?;
        self.forward_into_on(isa, input, output.view_mut())?;
        Ok(output)
    }

    /// [`Self::forward_into`] with the kernels of `isa`; portable ones where the CPU lacks it.
    #[doc(hidden)]
    pub fn forward_into_on(
        &self,
        isa: Isa,
        input: ArrayView4<'_, T>,
        output: ArrayViewMut4<'_, T>,
    ) -> Result<(), Conv2dError> {
        let bias = self.bias.as_ref().map(|bias| bias.view());
        convolve_into_on(isa, &self.config, self.weight.view(), bias, input, output)
    }

    /// [`Self::backward`] with the kernels of `isa`; portable ones where the CPU lacks it.
    #[doc(hidden)]
    pub fn backward_on(
        &self,
        isa: Isa,
        trace: &Conv2dTrace<T>,
        grad_output: ArrayView4<'_, T>,
    ) -> Result<Conv2dGradients<T>, Conv2dError> {
        let masked = self.before_activation(trace, &grad_output)?;
        let grad_output = masked.as_ref().map_or(grad_output, |masked| masked.view());
        let parameters = self.parameter_gradients(isa, trace, grad_output)?;
        let (_, _, height, width) = trace.input.dim();
        let input = backward_input_on(isa, &self.config, self.weight.view(), [height, width], grad_output)?;
        Ok(Conv2dGradients { input, parameters })
    }

    /// The gradient before the activation, where that differs from `grad_output`.
    fn before_activation(
        &self,
        trace: &Conv2dTrace<T>,
        grad_output: &ArrayView4<'_, T>,
    ) -> Result<Option<Array4<T>>, Conv2dError> {
        let Some(passes) = &trace.passes else { return Ok(None) };
        let axes = ["grad_output batch", "grad_output channels", "grad_output height", "grad_output width"];
        for ((axis, &expected), &found) in axes.into_iter().zip(passes.shape()).zip(grad_output.shape()) {
            check_axis(NAME, axis, expected, found)?;
        }
        let shape = [0, 1, 2, 3].map(|axis| passes.shape()[axis]);
        let mut masked: Array4<T> = zeros("gradient before the activation", shape)?;
        let images = masked.outer_iter_mut().zip(grad_output.outer_iter()).zip(passes.outer_iter());
        for_each_task(passes.len() >= MIN_PARALLEL_VALUES, images.collect(), |((masked, gradient), passes)| {
            Zip::from(masked).and(gradient).and(passes).for_each(|masked, &gradient, &pass| {
                *masked = if pass { gradient } else { T::zero() };
            });
            Ok(())
        })?;
        Ok(Some(masked))
    }

    fn parameter_gradients(
        &self,
        isa: Isa,
        trace: &Conv2dTrace<T>,
        grad_output: ArrayView4<'_, T>,
    ) -> Result<Self, Conv2dError> {
        let (weight, bias) = backward_parameters_on(isa, &self.config, trace.input.view(), grad_output)?;
        Ok(Self { config: self.config.clone(), weight, bias })
    }
}

impl<T: Element> Parameters<T> for Conv2d<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visitor("weight", self.weight.view().into_dyn());
        if let Some(bias) = &self.bias {
            visitor("bias", bias.view().into_dyn());
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visitor("weight", self.weight.view_mut().into_dyn());
        if let Some(bias) = &mut self.bias {
            visitor("bias", bias.view_mut().into_dyn());
        }
    }
}
