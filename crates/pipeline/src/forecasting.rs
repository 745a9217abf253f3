//! Models that continue sequences of frames: a ConvLSTM encoder-forecaster, its losses, and how it is trained.
//!
//! The network either says the frames themselves or, with a guide, what is to be added to the forecast of a simpler method,
//! which its forecaster reads frame by frame. [`nowcast`] trains it on radar, [`moving_mnist`] on moving digits.

mod drawing;
mod loss;
pub mod moving_mnist;
mod network;
pub mod nowcast;
mod recipe;
mod run;
mod stepper;

pub use loss::{LossConfig, WeightedLossConfig};
pub use network::{ForecastNetwork, FrameOutput, Guide, LayerSize, NetworkConfig, PeepholeKind};
pub use recipe::{ForecastTrainingConfig, FrameDataConfig, MovingMnistPreset, MovingMnistRecipe, NowcastRecipe};
pub use run::{ForecastDescription, ForecastingError, ForecastingEvent, TrainingRecord};
