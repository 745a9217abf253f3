//! The configuration of an encoder-forecaster, and what it takes.

use conv2d::Conv2dConfig;
use tensor_ops::{Element, check_not_empty};

use crate::config::check_one_size;
use crate::patches::patched_size;
use crate::{Cell, ConvLstmError, Initialisation, LayerConfig, RecurrentConfig, TraceMemory};

/// What an encoder-forecaster learns to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The frames of the future.
    #[default]
    EncodeForecast,
    /// The frames of the future, and the known ones in reverse order.
    Composite,
}

/// The configuration of an [`crate::EncoderForecaster`].
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderForecasterConfig<C> {
    /// Channels of a frame, read and forecast.
    pub channels: usize,
    /// The side of the patches that frames are cut into; 1 for none. Frames whose size is no multiple are filled up with zeros
    /// and cut off again.
    pub patch: usize,
    /// The layers of the encoder; each decoder has the same. The maps of all layers must have one size: strides are 1.
    pub layers: Vec<LayerConfig<C>>,
    /// What it learns to say.
    pub mode: Mode,
    /// Channels of the guide: frames that the forecaster reads at its first layer, one for each frame that it says, such as the
    /// forecast of a simpler method; 0 for none, as in the paper.
    pub guide_channels: usize,
    /// How the parameters are drawn.
    pub initialisation: Initialisation,
    /// What a training pass keeps.
    pub memory: TraceMemory,
}

impl<C> Default for EncoderForecasterConfig<C> {
    /// Frames of one channel without patches; layers must be added.
    fn default() -> Self {
        Self {
            channels: 1,
            patch: 1,
            layers: Vec::new(),
            mode: Mode::default(),
            guide_channels: 0,
            initialisation: Initialisation::default(),
            memory: TraceMemory::default(),
        }
    }
}

impl<C: Cell> EncoderForecasterConfig<C> {
    pub(super) fn encoder(&self) -> RecurrentConfig<C> {
        RecurrentConfig {
            input_channels: self.channels.saturating_mul(self.patch).saturating_mul(self.patch),
            layers: self.layers.clone(),
            initialisation: self.initialisation,
            memory: self.memory,
            ..RecurrentConfig::default()
        }
    }

    /// A decoder that reads frames of `guide_channels`.
    pub(super) fn decoder(&self, guide_channels: usize) -> RecurrentConfig<C> {
        let input_channels = guide_channels.saturating_mul(self.patch).saturating_mul(self.patch);
        RecurrentConfig { input_channels, ..self.encoder() }
    }

    pub(super) fn output(&self) -> Conv2dConfig {
        let hidden = self.layers.iter().map(|layer| layer.hidden_channels).sum();
        let out_channels = self.channels.saturating_mul(self.patch).saturating_mul(self.patch);
        Conv2dConfig { in_channels: hidden, out_channels, ..Conv2dConfig::default() }
    }

    /// Multiply-adds of the convolutions of one sequence: `context` frames of height and width `size` read, `horizon` forecast.
    ///
    /// # Errors
    /// As [`Self::validate`], and for a size that does not fit.
    pub fn multiply_adds(&self, context: usize, horizon: usize, size: [usize; 2]) -> Result<u64, ConvLstmError> {
        self.validate()?;
        let size = patched_size(size, self.patch);
        let of = |steps: usize, products: u64| products.saturating_mul(steps as u64);
        let output = self.output().operations(1, size)? / 2;
        let forecaster = self.decoder(self.guide_channels).multiply_adds(size)?.saturating_add(output);
        let total = of(context, self.encoder().multiply_adds(size)?).saturating_add(of(horizon, forecaster));
        let reconstructor = self.decoder(0).multiply_adds(size)?.saturating_add(output);
        let reconstructed = if self.mode == Mode::Composite { context } else { 0 };
        Ok(total.saturating_add(of(reconstructed, reconstructor)))
    }

    /// The memory of a training step on `batch` sequences, in bytes, without the moments of an optimiser.
    ///
    /// # Errors
    /// As [`Self::multiply_adds`].
    pub fn training_memory<T: Element>(
        &self,
        batch: usize,
        context: usize,
        horizon: usize,
        size: [usize; 2],
    ) -> Result<u64, ConvLstmError> {
        self.validate()?;
        let size = patched_size(size, self.patch);
        let of = |config: RecurrentConfig<C>, time| config.memory_estimate::<T>(batch, time, size, true);
        let mut total = of(self.encoder(), context)?
            .total()
            .saturating_add(of(self.decoder(self.guide_channels), horizon)?.total());
        if self.mode == Mode::Composite {
            total = total.saturating_add(of(self.decoder(0), context)?.total());
        }
        Ok(total)
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`ConvLstmError`] as [`RecurrentConfig::validate`], for a patch of 0 pixels, and for strides.
    pub fn validate(&self) -> Result<(), ConvLstmError> {
        check_not_empty("EncoderForecaster", "channels", self.channels)?;
        check_not_empty("EncoderForecaster", "patch", self.patch)?;
        self.encoder().validate()?;
        self.decoder(self.guide_channels).validate()?;
        check_one_size("input_stride of an encoder-forecaster", &self.layers)
    }
}
