//! The encoder-forecaster (Shi et al., "Convolutional LSTM network", 2015, section 3.2), and the composite model of Srivastava
//! et al. ("Unsupervised learning of video representations using LSTMs", 2015) on maps.
//!
//! An encoder reads the frames that are known. A forecaster of the same layers starts from the encoder's final states, layer by
//! layer, reads no input at its first layer, and the hidden maps of all its layers, side by side, go through one 1×1
//! convolution to the frames of the future. The composite model has a second such decoder, which learns to give back the known
//! frames, the last one first; it keeps the encoder from forgetting.

use conv2d::{Conv2d, Conv2dTrace};
use ndarray::{Array4, Array5, ArrayView5, ArrayViewD, ArrayViewMutD, Axis, concatenate, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{Element, Parameters, check_axis, check_not_empty, visit_part, visit_part_mut};

use crate::{
    Cell, ConvLstmError, ConvRecurrent, RecurrentGradients, RecurrentState, RecurrentTrace, patchify, unpatchify,
};

mod config;

pub use config::{EncoderForecasterConfig, Mode};

/// A decoder: layers without input, and the 1×1 convolution of the maps of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder<T, C> {
    /// The layers.
    pub layers: ConvRecurrent<T, C>,
    /// The convolution to frames, with a bias.
    pub output: Conv2d<T>,
}

/// An encoder-forecaster: its configuration and its parameters, or the gradient of these.
///
/// ```
/// use convlstm::{EncoderForecaster, EncoderForecasterConfig, LayerConfig, LstmCell};
/// use ndarray::Array5;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let config = EncoderForecasterConfig::<LstmCell> {
///     patch: 4,
///     layers: vec![LayerConfig::new(8, 3), LayerConfig::new(4, 3)],
///     ..EncoderForecasterConfig::default()
/// };
/// let model = EncoderForecaster::<f32, _>::new(config, &mut StdRng::seed_from_u64(1))?;
/// let frames = Array5::ones((2, 5, 1, 16, 16)); // [batch, time, channels, height, width]
/// let forecast = model.forward(frames.view(), 3)?;
/// assert_eq!(forecast.future.dim(), (2, 3, 1, 16, 16));
/// # Ok::<(), convlstm::ConvLstmError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderForecaster<T, C> {
    config: EncoderForecasterConfig<C>,
    /// Reads the known frames.
    pub encoder: ConvRecurrent<T, C>,
    /// Says the frames of the future.
    pub forecaster: Decoder<T, C>,
    /// Says the known frames, the last one first, in the composite mode.
    pub reconstructor: Option<Decoder<T, C>>,
}

/// What an encoder-forecaster says: values before any function of the output, `[batch, time, channels, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast<T> {
    /// The frames of the future.
    pub future: Array5<T>,
    /// The known frames, the last one first, in the composite mode.
    pub reconstruction: Option<Array5<T>>,
}

/// What [`EncoderForecaster::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct EncoderForecasterTrace<T> {
    size: [usize; 2],
    encoder: RecurrentTrace<T>,
    forecaster: DecoderTrace<T>,
    reconstructor: Option<DecoderTrace<T>>,
}

#[derive(Clone, Debug)]
struct DecoderTrace<T> {
    layers: RecurrentTrace<T>,
    output: Conv2dTrace<T>,
}

impl<T: Element, C: Cell> EncoderForecaster<T, C> {
    /// A model with random parameters; the same generator state gives the same parameters.
    ///
    /// # Errors
    /// As [`EncoderForecasterConfig::validate`].
    pub fn new(config: EncoderForecasterConfig<C>, rng: &mut impl Rng) -> Result<Self, ConvLstmError> {
        config.validate()?;
        let encoder = ConvRecurrent::new(config.encoder(), rng)?;
        let mut decoder = |guide_channels| -> Result<_, ConvLstmError> {
            let layers = ConvRecurrent::new(config.decoder(guide_channels), rng)?;
            Ok(Decoder { layers, output: Conv2d::new(config.output(), rng)? })
        };
        let forecaster = decoder(config.guide_channels)?;
        let reconstructor = (config.mode == Mode::Composite).then(|| decoder(0)).transpose()?;
        Ok(Self { config, encoder, forecaster, reconstructor })
    }

    /// The configuration.
    pub fn config(&self) -> &EncoderForecasterConfig<C> {
        &self.config
    }

    /// Reads `context` frames and says the next `horizon` ones.
    ///
    /// - `context`: `[batch, time, channels, height, width]`, any strides
    ///
    /// # Errors
    /// [`ConvLstmError`] for an empty axis, no steps to forecast, other channels than the configuration's, or a model that needs
    /// a guide.
    pub fn forward(&self, context: ArrayView5<'_, T>, horizon: usize) -> Result<Forecast<T>, ConvLstmError> {
        check_axis("EncoderForecaster", "guide channels", self.config.guide_channels, 0)?;
        self.say(context, None, horizon)
    }

    /// Reads `context` frames and says as many of the next ones as `guide` has.
    ///
    /// - `context`: `[batch, time, channels, height, width]`, any strides
    /// - `guide`: `[batch, horizon, guide channels, height, width]`, any strides
    ///
    /// # Errors
    /// As [`Self::forward`], and for a guide that does not fit.
    pub fn forward_guided(
        &self,
        context: ArrayView5<'_, T>,
        guide: ArrayView5<'_, T>,
    ) -> Result<Forecast<T>, ConvLstmError> {
        let patches = self.guide(&context, guide)?;
        self.say(context, Some(patches.view()), guide.dim().1)
    }

    /// As [`Self::forward`], and what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        context: ArrayView5<'_, T>,
        horizon: usize,
    ) -> Result<(Forecast<T>, EncoderForecasterTrace<T>), ConvLstmError> {
        check_axis("EncoderForecaster", "guide channels", self.config.guide_channels, 0)?;
        self.say_training(context, None, horizon)
    }

    /// As [`Self::forward_guided`], and what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward_guided`].
    pub fn forward_guided_training(
        &self,
        context: ArrayView5<'_, T>,
        guide: ArrayView5<'_, T>,
    ) -> Result<(Forecast<T>, EncoderForecasterTrace<T>), ConvLstmError> {
        let patches = self.guide(&context, guide)?;
        self.say_training(context, Some(patches.view()), guide.dim().1)
    }

    fn say(
        &self,
        context: ArrayView5<'_, T>,
        guide: Option<ArrayView5<'_, T>>,
        horizon: usize,
    ) -> Result<Forecast<T>, ConvLstmError> {
        let (patches, size) = self.patches(context)?;
        let (_, state) = self.encoder.forward(patches.view(), None, None)?;
        let decode = |decoder: &Decoder<T, C>, guide, steps| -> Result<_, ConvLstmError> {
            let outputs = decoder.layers.all_from_state(guide, &state, steps)?;
            let views: Vec<_> = outputs.iter().map(|output| output.view()).collect();
            let frames = decoder.output.forward(side_by_side(&views)?.view())?;
            self.frames(frames, steps, size)
        };
        let future = decode(&self.forecaster, guide, horizon)?;
        let reconstruct = |decoder| decode(decoder, None, context.dim().1);
        Ok(Forecast { future, reconstruction: self.reconstructor.as_ref().map(reconstruct).transpose()? })
    }

    fn say_training(
        &self,
        context: ArrayView5<'_, T>,
        guide: Option<ArrayView5<'_, T>>,
        horizon: usize,
    ) -> Result<(Forecast<T>, EncoderForecasterTrace<T>), ConvLstmError> {
        let (patches, size) = self.patches(context)?;
        let (_, state, encoder) = self.encoder.forward_training(patches.view(), None, None)?;
        let decode = |decoder: &Decoder<T, C>, guide: Option<ArrayView5<'_, T>>, steps| -> Result<_, ConvLstmError> {
            let (_, _, layers) = match guide {
                Some(guide) => decoder.layers.forward_training(guide, Some(&state), None)?,
                None => decoder.layers.forward_from_state_training(&state, steps)?,
            };
            let views: Vec<_> = layers.outputs().collect();
            let (frames, output) = decoder.output.forward_training_owned(side_by_side(&views)?)?;
            Ok((self.frames(frames, steps, size)?, DecoderTrace { layers, output }))
        };
        let (future, forecaster) = decode(&self.forecaster, guide, horizon)?;
        let reconstruct = |decoder| decode(decoder, None, context.dim().1);
        let (reconstruction, reconstructor) = self.reconstructor.as_ref().map(reconstruct).transpose()?.unzip();
        let trace = EncoderForecasterTrace { size, encoder, forecaster, reconstructor };
        Ok((Forecast { future, reconstruction }, trace))
    }

    /// The patches of a guide for `context`.
    fn guide(&self, context: &ArrayView5<'_, T>, guide: ArrayView5<'_, T>) -> Result<Array5<T>, ConvLstmError> {
        const NAME: &str = "EncoderForecaster";
        check_not_empty(NAME, "guide channels of the configuration", self.config.guide_channels)?;
        check_axis(NAME, "guide batch", context.dim().0, guide.dim().0)?;
        check_axis(NAME, "guide channels", self.config.guide_channels, guide.dim().2)?;
        check_axis(NAME, "guide height", context.dim().3, guide.dim().3)?;
        check_axis(NAME, "guide width", context.dim().4, guide.dim().4)?;
        patchify(guide, self.config.patch)
    }

    /// The gradients of the context and the parameters, for the gradients of what was said.
    ///
    /// # Errors
    /// [`ConvLstmError`] if a shape does not fit the trace, or the reconstruction's gradient is missing or superfluous.
    pub fn backward(
        &self,
        trace: &EncoderForecasterTrace<T>,
        gradient: &Forecast<T>,
    ) -> Result<(Array5<T>, Self), ConvLstmError> {
        let (input, parameters) = self.take_back(trace, gradient, true)?;
        Ok((unpatchify(input.unwrap_or_default().view(), self.config.patch, trace.size)?, parameters))
    }

    /// The gradients of the parameters alone, for frames that are data.
    ///
    /// # Errors
    /// As [`Self::backward`].
    pub fn backward_parameters(
        &self,
        trace: &EncoderForecasterTrace<T>,
        gradient: &Forecast<T>,
    ) -> Result<Self, ConvLstmError> {
        Ok(self.take_back(trace, gradient, false)?.1)
    }

    fn take_back(
        &self,
        trace: &EncoderForecasterTrace<T>,
        gradient: &Forecast<T>,
        with_context: bool,
    ) -> Result<(Option<Array5<T>>, Self), ConvLstmError> {
        let (mut grad_state, forecaster) =
            self.decoder_backward(&self.forecaster, &trace.forecaster, gradient.future.view(), trace.size)?;
        let reconstructor = match (&self.reconstructor, &trace.reconstructor, &gradient.reconstruction) {
            (Some(decoder), Some(of_decoder), Some(gradient)) => {
                let (state, decoder) = self.decoder_backward(decoder, of_decoder, gradient.view(), trace.size)?;
                let pairs = grad_state.hidden.iter_mut().chain(&mut grad_state.cell);
                pairs.zip(state.hidden.iter().chain(&state.cell)).for_each(|(sum, maps)| *sum += maps);
                Some(decoder)
            }
            (None, None, None) => None,
            _ => {
                let part = "gradient of the reconstruction".to_owned();
                return Err(ConvLstmError::Parts { part, expected: "one in the composite mode alone" });
            }
        };
        let nothing = vec![None; self.config.layers.len()];
        let RecurrentGradients { input, parameters: encoder, .. } =
            self.encoder.backward_layers(&trace.encoder, &nothing, Some(&grad_state), with_context)?;
        Ok((input, Self { config: self.config.clone(), encoder, forecaster, reconstructor }))
    }

    fn decoder_backward(
        &self,
        decoder: &Decoder<T, C>,
        trace: &DecoderTrace<T>,
        gradient: ArrayView5<'_, T>,
        size: [usize; 2],
    ) -> Result<(RecurrentState<T>, Decoder<T, C>), ConvLstmError> {
        check_axis("EncoderForecaster", "gradient channels", self.config.channels, gradient.dim().2)?;
        check_axis("EncoderForecaster", "gradient height", size[0], gradient.dim().3)?;
        check_axis("EncoderForecaster", "gradient width", size[1], gradient.dim().4)?;
        let patches = patchify(gradient, self.config.patch)?;
        let (batch, steps, channels, height, width) = patches.dim();
        let images = patches.into_shape_with_order((batch * steps, channels, height, width));
        let images = images.map_err(|_| ConvLstmError::Memory { part: "gradient", shape: vec![batch, steps] })?;
        let of_output = decoder.output.backward(&trace.output, images.view())?;
        let (_, hidden, _, _) = of_output.input.dim();
        let maps = of_output.input.into_shape_with_order((batch, steps, hidden, height, width));
        let maps = maps.map_err(|_| ConvLstmError::Memory { part: "gradient", shape: vec![batch, steps] })?;
        let mut first = 0;
        let mut of_layers = Vec::new();
        for layer in &self.config.layers {
            of_layers.push(Some(maps.slice(s![.., .., first..first + layer.hidden_channels, .., ..])));
            first += layer.hidden_channels;
        }
        let gradients = decoder.layers.backward_layers(&trace.layers, &of_layers, None, false)?;
        Ok((gradients.initial, Decoder { layers: gradients.parameters, output: of_output.parameters }))
    }

    fn patches(&self, context: ArrayView5<'_, T>) -> Result<(Array5<T>, [usize; 2]), ConvLstmError> {
        let (_, _, channels, height, width) = context.dim();
        check_axis("EncoderForecaster", "context channels", self.config.channels, channels)?;
        Ok((patchify(context, self.config.patch)?, [height, width]))
    }

    /// Images of patches `[batch · steps, …]` as frames.
    fn frames(&self, images: Array4<T>, steps: usize, size: [usize; 2]) -> Result<Array5<T>, ConvLstmError> {
        let (images_count, channels, height, width) = images.dim();
        let shape = (images_count / steps, steps, channels, height, width);
        let maps = images.into_shape_with_order(shape);
        let maps = maps.map_err(|_| ConvLstmError::Memory { part: "frames", shape: vec![images_count, channels] })?;
        unpatchify(maps.view(), self.config.patch, size)
    }
}

/// The channels of all `maps` `[batch, time, channels, height, width]` side by side, as images of all steps.
pub(crate) fn side_by_side<T: Element>(maps: &[ArrayView5<'_, T>]) -> Result<Array4<T>, ConvLstmError> {
    let failed = |_| ConvLstmError::Parts { part: "maps of all layers".to_owned(), expected: "one size" };
    let joined = concatenate(Axis(2), maps).map_err(failed)?;
    let (batch, steps, channels, height, width) = joined.dim();
    let joined = joined.as_standard_layout().into_owned();
    joined.into_shape_with_order((batch * steps, channels, height, width)).map_err(failed)
}

impl<T: Element, C: Cell> Parameters<T> for Decoder<T, C> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("layers", &self.layers, visitor);
        visit_part("output", &self.output, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("layers", &mut self.layers, visitor);
        visit_part_mut("output", &mut self.output, visitor);
    }
}

impl<T: Element, C: Cell> Parameters<T> for EncoderForecaster<T, C> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("encoder", &self.encoder, visitor);
        visit_part("forecaster", &self.forecaster, visitor);
        if let Some(reconstructor) = &self.reconstructor {
            visit_part("reconstructor", reconstructor, visitor);
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        visit_part_mut("forecaster", &mut self.forecaster, visitor);
        if let Some(reconstructor) = &mut self.reconstructor {
            visit_part_mut("reconstructor", reconstructor, visitor);
        }
    }
}
