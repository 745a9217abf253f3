//! Models, put together from parts: an encoder of single steps, a part that joins the steps, a head that scores.

mod action_model;
mod config;
mod error;
mod frame_encoder;
mod head;
mod temporal;

pub use action_model::{ActionModel, ActionTrace};
pub use config::{
    ConvolutionConfig, EncoderConfig, HeadConfig, LstmTemporalConfig, ModelConfig, ReadOut, TemporalConfig,
};
pub use error::ModelError;
pub use frame_encoder::{FrameEncoder, FrameEncoderTrace};
pub use head::{Head, HeadTrace};
pub use temporal::{LstmTemporal, LstmTemporalTrace, Temporal, TemporalTrace};
