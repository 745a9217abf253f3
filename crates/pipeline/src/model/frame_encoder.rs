//! From the images of a step to its maps.

use conv2d::{Activation, Conv2d, Conv2dConfig, Conv2dTrace};
use ndarray::{Array4, ArrayView4, ArrayViewD, ArrayViewMutD, Ix4};
use ndarray_rand::rand::Rng;
use tensor_ops::init::{FanMode, Nonlinearity, kaiming_normal};
use tensor_ops::{Dropout, DropoutTrace, Element, Padding, Parameters, check_axis, visit_part, visit_part_mut};

use super::{EncoderConfig, ModelError};

const OPERATION: &str = "FrameEncoder";

/// Convolutions, each followed by `max(x, 0)`, and dropout.
#[derive(Clone, Debug)]
pub struct FrameEncoder<T> {
    /// The convolutions, with `max(x, 0)` included.
    pub convolutions: Vec<Conv2d<T>>,
    dropout: Dropout,
}

/// What [`FrameEncoder::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct FrameEncoderTrace<T> {
    convolutions: Vec<Conv2dTrace<T>>,
    dropout: DropoutTrace<Ix4>,
}

impl<T: Element> FrameEncoder<T> {
    /// An encoder of images of `channels` channels and `size` pixels (height and width), and the shape of its maps:
    /// channels, height and width.
    ///
    /// The weights of convolutions are normal with variance 2 / fan-in (He et al. 2015), their biases 0.
    ///
    /// # Errors
    /// [`ModelError`] if a size is 0 or a kernel is larger than its padded input.
    pub fn new(
        config: &EncoderConfig,
        channels: usize,
        size: [usize; 2],
        rng: &mut impl Rng,
    ) -> Result<(Self, [usize; 3]), ModelError> {
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
        Ok((Self { convolutions, dropout: Dropout::new(config.dropout)? }, [channels, size[0], size[1]]))
    }

    /// The maps `[steps, channels, height, width]` of images of that layout.
    ///
    /// # Errors
    /// [`ModelError`] if there are no steps or the sizes do not fit.
    pub fn forward(&self, images: ArrayView4<'_, T>) -> Result<Array4<T>, ModelError> {
        let mut maps: Option<Array4<T>> = None;
        for convolution in &self.convolutions {
            maps = Some(convolution.forward(maps.as_ref().map_or(images, |maps| maps.view()))?);
        }
        Ok(maps.unwrap_or_else(|| images.as_standard_layout().into_owned()))
    }

    /// As [`Self::forward`], with dropout and with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        images: ArrayView4<'_, T>,
        rng: &mut impl Rng,
    ) -> Result<(Array4<T>, FrameEncoderTrace<T>), ModelError> {
        let mut convolutions = Vec::with_capacity(self.convolutions.len());
        let mut maps = images.as_standard_layout().into_owned();
        for convolution in &self.convolutions {
            let (output, trace) = convolution.forward_training_owned(maps)?;
            convolutions.push(trace);
            maps = output;
        }
        let dropout = self.dropout.forward_training_in_place(maps.view_mut(), rng);
        Ok((maps, FrameEncoderTrace { convolutions, dropout }))
    }

    /// The gradients of the parameters for the gradient `[steps, channels, height, width]` of the maps. That of the
    /// images is not computed: nothing below them learns.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit the trace.
    pub fn backward(&self, trace: &FrameEncoderTrace<T>, grad_maps: Array4<T>) -> Result<Self, ModelError> {
        check_axis(OPERATION, "convolutions of the trace", self.convolutions.len(), trace.convolutions.len())?;
        let mut grad_maps = grad_maps;
        self.dropout.backward_in_place(&trace.dropout, grad_maps.view_mut())?;
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
        Ok(Self { convolutions, dropout: self.dropout })
    }
}

impl<T: Element> Parameters<T> for FrameEncoder<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        for (index, convolution) in self.convolutions.iter().enumerate() {
            visit_part(&format!("convolutions.{index}"), convolution, visitor);
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        for (index, convolution) in self.convolutions.iter_mut().enumerate() {
            visit_part_mut(&format!("convolutions.{index}"), convolution, visitor);
        }
    }
}
