//! The network: an encoder-forecaster, and what its output means.

use convlstm::{
    ConvLstmError, EncoderForecaster, EncoderForecasterConfig, EncoderForecasterTrace, Forecast, LayerConfig, LstmCell,
    Peepholes,
};
use ndarray::{Array4, ArrayView4, ArrayViewD, ArrayViewMutD, Axis, Zip};
use ndarray_rand::rand::Rng;
use serde::{Deserialize, Serialize};
use tensor_ops::{Parameters, vecmath};

use crate::forecast::{ForecastError, MotionConfig, extrapolation};
use crate::recipe::{RecipeError, require};

/// The largest number of channels of a layer; a file that asks for more is damaged or hostile.
const MAX_CHANNELS: usize = 4096;

/// Which simpler forecast the network starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guide {
    /// None: the network says the frames themselves.
    None,
    /// The extrapolation of the last frame along its motion. The forecaster reads it, and the network says what is to be
    /// added to it.
    Extrapolation,
}

/// What the output of a network means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameOutput {
    /// The values of pixels, from 0 to 1 where they are not cut off.
    Values,
    /// The logits of pixels that are on or off.
    Logits,
}

/// How the gates see the cell values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeepholeKind {
    /// They do not.
    None,
    /// Through one weight per channel.
    PerChannel,
}

/// One layer of encoder and forecaster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSize {
    /// The channels of its states.
    pub channels: usize,
    /// The height and the width of the input's kernel. Default: 3.
    #[serde(default = "three")]
    pub input_kernel: usize,
    /// The height and the width of the state's kernel. Default: 3.
    #[serde(default = "three")]
    pub state_kernel: usize,
}

fn three() -> usize {
    3
}

/// The parts of a network and their sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// The side of the patches that frames are cut into. Default: 4.
    pub patch: usize,
    /// The layers of encoder and forecaster. Default: two of 48 channels.
    pub layers: Vec<LayerSize>,
    /// How the gates see the cell values. Default: per channel.
    pub peepholes: PeepholeKind,
    /// The simpler forecast it starts from. Default: `extrapolation`.
    pub guide: Guide,
    /// How motion is estimated for the extrapolation.
    pub motion: MotionConfig,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let layer = LayerSize { channels: 48, input_kernel: 3, state_kernel: 3 };
        Self {
            patch: 4,
            layers: vec![layer.clone(), layer],
            peepholes: PeepholeKind::PerChannel,
            guide: Guide::Extrapolation,
            motion: MotionConfig::default(),
        }
    }
}

impl NetworkConfig {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        require((1..=64).contains(&self.patch), "network.patch", "1 to 64", self.patch)?;
        require((1..=16).contains(&self.layers.len()), "the number of network.layers", "1 to 16", self.layers.len())?;
        for layer in &self.layers {
            let channels = layer.channels;
            require((1..=MAX_CHANNELS).contains(&channels), "network.layers.channels", "1 to 4096", channels)?;
            let kernels = [
                ("network.layers.input_kernel", layer.input_kernel),
                ("network.layers.state_kernel", layer.state_kernel),
            ];
            for (option, kernel) in kernels {
                require((1..=31).contains(&kernel), option, "1 to 31", kernel)?;
            }
        }
        self.motion.validate()
    }

    /// The simpler forecast of `context`, `[sequences, time, height, width]`, if the network starts from one.
    ///
    /// # Errors
    /// [`ForecastError`] if the frames are too few or hold values that are not finite.
    pub fn guide(&self, context: ArrayView4<'_, f32>, horizon: usize) -> Result<Option<Array4<f32>>, ForecastError> {
        match self.guide {
            Guide::None => Ok(None),
            Guide::Extrapolation => extrapolation(context, horizon, &self.motion).map(Some),
        }
    }

    /// The layers that these sizes make.
    pub fn encoder_forecaster(&self) -> EncoderForecasterConfig<LstmCell> {
        let peepholes = match self.peepholes {
            PeepholeKind::None => Peepholes::None,
            PeepholeKind::PerChannel => Peepholes::PerChannel,
        };
        let cell = LstmCell { peepholes, forget_bias: Some(1.0), ..LstmCell::default() };
        let layer = |size: &LayerSize| LayerConfig {
            input_kernel: [size.input_kernel; 2],
            state_kernel: [size.state_kernel; 2],
            cell: cell.clone(),
            ..LayerConfig::new(size.channels, 1)
        };
        EncoderForecasterConfig {
            patch: self.patch,
            layers: self.layers.iter().map(layer).collect(),
            guide_channels: usize::from(self.guide != Guide::None),
            ..EncoderForecasterConfig::default()
        }
    }
}

/// An encoder-forecaster of frames of one channel, and the gradient of one.
#[derive(Clone, Debug)]
pub struct ForecastNetwork {
    /// The layers.
    pub network: EncoderForecaster<f32, LstmCell>,
    config: NetworkConfig,
    output: FrameOutput,
}

impl ForecastNetwork {
    /// A network with random weights. With a guide it starts as the guide: the last convolution is 0.
    ///
    /// # Errors
    /// [`ConvLstmError`] if the parts do not fit together.
    pub fn new(config: &NetworkConfig, output: FrameOutput, rng: &mut impl Rng) -> Result<Self, ConvLstmError> {
        let mut network = EncoderForecaster::new(config.encoder_forecaster(), rng)?;
        if config.guide != Guide::None {
            network.forecaster.output.fill(0.0);
        }
        Ok(Self { network, config: config.clone(), output })
    }

    /// The network's output for `context`, `[sequences, time, height, width]`: frames, or logits of frames.
    ///
    /// # Errors
    /// [`ConvLstmError`] if a size does not fit.
    pub(super) fn output(
        &self,
        context: ArrayView4<'_, f32>,
        guide: Option<ArrayView4<'_, f32>>,
        horizon: usize,
    ) -> Result<Array4<f32>, ConvLstmError> {
        let context = context.insert_axis(Axis(2));
        let said = match guide {
            Some(guide) => self.network.forward_guided(context, guide.insert_axis(Axis(2)))?,
            None => self.network.forward(context, horizon)?,
        };
        Ok(add(said.future.index_axis_move(Axis(2), 0), guide))
    }

    /// As [`Self::output`], and what [`Self::backward`] needs.
    pub(super) fn output_training(
        &self,
        context: ArrayView4<'_, f32>,
        guide: Option<ArrayView4<'_, f32>>,
        horizon: usize,
    ) -> Result<(Array4<f32>, EncoderForecasterTrace<f32>), ConvLstmError> {
        let context = context.insert_axis(Axis(2));
        let (said, trace) = match guide {
            Some(guide) => self.network.forward_guided_training(context, guide.insert_axis(Axis(2)))?,
            None => self.network.forward_training(context, horizon)?,
        };
        Ok((add(said.future.index_axis_move(Axis(2), 0), guide), trace))
    }

    /// The gradient of the parameters for that of the output.
    pub(super) fn backward(
        &self,
        trace: &EncoderForecasterTrace<f32>,
        gradient: Array4<f32>,
    ) -> Result<Self, ConvLstmError> {
        let gradient = Forecast { future: gradient.insert_axis(Axis(2)), reconstruction: None };
        let network = self.network.backward_parameters(trace, &gradient)?;
        Ok(Self { network, config: self.config.clone(), output: self.output })
    }

    /// Forecasts `horizon` frames, values from 0 to 1.
    ///
    /// # Errors
    /// [`super::ForecastingError`] if a size does not fit or the frames cannot be extrapolated.
    pub fn forecast(
        &self,
        context: ArrayView4<'_, f32>,
        horizon: usize,
    ) -> Result<Array4<f32>, super::ForecastingError> {
        let guide = self.config.guide(context, horizon)?;
        let mut frames = self.output(context, guide.as_ref().map(|guide| guide.view()), horizon)?;
        match self.output {
            FrameOutput::Values => frames.mapv_inplace(|value| value.clamp(0.0, 1.0)),
            FrameOutput::Logits => vecmath::sigmoid(frames.as_slice_mut().expect("a new array in standard layout")),
        }
        Ok(frames)
    }
}

/// Frames in standard layout, added to the guide.
fn add(mut frames: Array4<f32>, guide: Option<ArrayView4<'_, f32>>) -> Array4<f32> {
    if let Some(guide) = guide {
        Zip::from(&mut frames).and(guide).for_each(|frame, &guide| *frame += guide);
    }
    frames
}

impl Parameters<f32> for ForecastNetwork {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
        self.network.visit(visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, f32>)) {
        self.network.visit_mut(visitor);
    }
}
