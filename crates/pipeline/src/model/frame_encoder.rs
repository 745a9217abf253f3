//! From the images of a step to a vector of features.

use conv2d::{Activation, Conv2d, Conv2dConfig, Conv2dTrace};
use ndarray::{
    Array, Array2, Array4, ArrayView2, ArrayView4, ArrayViewD, ArrayViewMutD, Dimension, IntoDimension, Ix2, Zip,
};
use ndarray_rand::rand::Rng;
use tensor_ops::init::{FanMode, Nonlinearity, kaiming_normal};
use tensor_ops::{
    Dropout, DropoutTrace, Element, Linear, LinearConfig, LinearTrace, Padding, Parameters, TensorError, check_axis,
    visit_part, visit_part_mut,
};

use super::{EncoderConfig, ModelError};

const OPERATION: &str = "FrameEncoder";

/// Convolutions, dropout, and a fully connected layer; `max(x, 0)` follows each layer.
#[derive(Clone, Debug)]
pub struct FrameEncoder<T> {
    /// The convolutions, with `max(x, 0)` included.
    pub convolutions: Vec<Conv2d<T>>,
    dropout: Dropout,
    /// The fully connected layer.
    pub projection: Linear<T>,
}

/// What [`FrameEncoder::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct FrameEncoderTrace<T> {
    convolutions: Vec<Conv2dTrace<T>>,
    /// The shape of the last convolution's output.
    maps: (usize, usize, usize, usize),
    dropout: DropoutTrace<Ix2>,
    projection: LinearTrace<T>,
    features: Array2<T>,
}

impl<T: Element> FrameEncoder<T> {
    /// An encoder of images of `channels` channels and `size` pixels (height and width).
    ///
    /// The weights of convolutions are normal with variance 2 / fan-in (He et al. 2015), their biases 0; the fully
    /// connected layer starts as PyTorch's does.
    ///
    /// # Errors
    /// [`ModelError`] if a size is 0 or a kernel is larger than its padded input.
    pub fn new(
        config: &EncoderConfig,
        channels: usize,
        size: [usize; 2],
        rng: &mut impl Rng,
    ) -> Result<Self, ModelError> {
        let mut convolutions = Vec::with_capacity(config.convolutions.len());
        let (mut channels, mut size) = (channels, size);
        for part in &config.convolutions {
            let convolution = Conv2dConfig {
                in_channels: channels,
                out_channels: part.channels,
                kernel: [part.kernel; 2],
                stride: [part.stride; 2],
                padding: Padding::symmetric(part.padding, part.padding),
                activation: Activation::Relu,
                ..Conv2dConfig::default()
            };
            (channels, size) = (part.channels, convolution.output_size(size)?);
            let mut layer = Conv2d::new(convolution, rng)?;
            layer.weight = kaiming_normal(layer.weight.raw_dim(), FanMode::In, Nonlinearity::Relu, rng)?;
            if let Some(bias) = &mut layer.bias {
                bias.fill(T::zero());
            }
            convolutions.push(layer);
        }
        let in_features = channels * size[0] * size[1];
        let projection = Linear::new(LinearConfig { in_features, out_features: config.features, bias: true }, rng)?;
        Ok(Self { convolutions, dropout: Dropout::new(config.dropout)?, projection })
    }

    /// The features `[steps, features]` of images `[steps, channels, height, width]`.
    ///
    /// # Errors
    /// [`ModelError`] if there are no steps or the sizes do not fit.
    pub fn forward(&self, images: ArrayView4<'_, T>) -> Result<Array2<T>, ModelError> {
        let mut maps: Option<Array4<T>> = None;
        for convolution in &self.convolutions {
            maps = Some(convolution.forward(maps.as_ref().map_or(images, |maps| maps.view()))?);
        }
        let mut features = self.projection.forward(flatten(maps.unwrap_or_else(|| images.to_owned()))?.view())?;
        rectify(&mut features);
        Ok(features)
    }

    /// As [`Self::forward`], with dropout and with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        images: ArrayView4<'_, T>,
        rng: &mut impl Rng,
    ) -> Result<(Array2<T>, FrameEncoderTrace<T>), ModelError> {
        let mut convolutions = Vec::with_capacity(self.convolutions.len());
        let mut maps = images.to_owned();
        for convolution in &self.convolutions {
            let (output, trace) = convolution.forward_training_owned(maps)?;
            convolutions.push(trace);
            maps = output;
        }
        let shape = maps.dim();
        let mut flat = flatten(maps)?;
        let dropout = self.dropout.forward_training_in_place(flat.view_mut(), rng);
        let (mut features, projection) = self.projection.forward_training(flat.view())?;
        rectify(&mut features);
        let trace = FrameEncoderTrace { convolutions, maps: shape, dropout, projection, features: features.clone() };
        Ok((features, trace))
    }

    /// The gradients of the parameters for the gradient `[steps, features]` of the features. That of the images is not
    /// computed: nothing below them learns.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit the trace.
    pub fn backward(&self, trace: &FrameEncoderTrace<T>, grad_features: ArrayView2<'_, T>) -> Result<Self, ModelError> {
        let grad_projection = rectify_backward(&trace.features, grad_features)?;
        let projection = self.projection.backward(&trace.projection, grad_projection.view())?;
        let mut flat = projection.input;
        self.dropout.backward_in_place(&trace.dropout, flat.view_mut())?;
        let mut grad_maps = reshaped(flat, trace.maps)?;
        let mut convolutions = Vec::with_capacity(self.convolutions.len());
        for (index, (layer, trace)) in self.convolutions.iter().zip(&trace.convolutions).enumerate().rev() {
            if index == 0 {
                convolutions.push(layer.backward_parameters(trace, grad_maps.view())?);
            } else {
                let gradients = layer.backward(trace, grad_maps.view())?;
                convolutions.push(gradients.parameters);
                grad_maps = gradients.input;
            }
        }
        convolutions.reverse();
        Ok(Self { convolutions, dropout: self.dropout, projection: projection.parameters })
    }
}

/// Each step's maps as one row.
fn flatten<T: Element>(maps: Array4<T>) -> Result<Array2<T>, TensorError> {
    let (steps, channels, height, width) = maps.dim();
    reshaped(maps, (steps, channels * height * width))
}

/// The values in row-major order under another shape.
fn reshaped<T: Element, D: Dimension, S: IntoDimension>(
    values: Array<T, D>,
    shape: S,
) -> Result<Array<T, S::Dim>, TensorError> {
    let (shape, found) = (shape.into_dimension(), values.len());
    let expected = shape.size();
    let unfit = |_| TensorError::AxisSize { operation: OPERATION, axis: "values of the maps", expected, found };
    values.into_shape_clone(shape).map_err(unfit)
}

/// max(x, 0)
fn rectify<T: Element>(features: &mut Array2<T>) {
    features.mapv_inplace(|feature| if feature < T::zero() { T::zero() } else { feature });
}

/// The gradient before the `max(x, 0)` that gave `features`.
fn rectify_backward<T: Element>(features: &Array2<T>, gradient: ArrayView2<'_, T>) -> Result<Array2<T>, TensorError> {
    check_axis(OPERATION, "steps of the gradient", features.nrows(), gradient.nrows())?;
    check_axis(OPERATION, "features of the gradient", features.ncols(), gradient.ncols())?;
    let mut gradient = gradient.as_standard_layout().into_owned();
    Zip::from(&mut gradient).and(features).for_each(|gradient, &feature| {
        if feature <= T::zero() {
            *gradient *= T::zero(); // a NaN stays one
        }
    });
    Ok(gradient)
}

impl<T: Element> Parameters<T> for FrameEncoder<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        for (index, convolution) in self.convolutions.iter().enumerate() {
            visit_part(&format!("convolutions.{index}"), convolution, visitor);
        }
        visit_part("projection", &self.projection, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        for (index, convolution) in self.convolutions.iter_mut().enumerate() {
            visit_part_mut(&format!("convolutions.{index}"), convolution, visitor);
        }
        visit_part_mut("projection", &mut self.projection, visitor);
    }
}
