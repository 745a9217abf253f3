//! ConvLSTM and ConvGRU on the CPU: stacked, bidirectional, variable lengths, peepholes, encoder-forecasters, training and streams.

mod backward;
mod cell;
mod config;
mod error;
mod forecaster;
mod forward;
mod gradients;
mod import;
mod memory;
mod packed;
mod patches;
mod sequence;
mod state;
mod stream;
mod weights;

pub use cell::{Cell, GruCell, LstmCell, Peepholes};
pub use config::{Initialisation, LayerConfig, RecurrentConfig, TraceMemory};
pub use error::ConvLstmError;
pub use forecaster::{Decoder, EncoderForecaster, EncoderForecasterConfig, EncoderForecasterTrace, Forecast, Mode};
pub use forward::RecurrentTrace;
pub use gradients::RecurrentGradients;
pub use memory::MemoryEstimate;
pub use patches::{patched_size, patchify, unpatchify};
pub use state::RecurrentState;
pub use stream::{PackedRecurrent, RecurrentStream};
pub use weights::{ConvRecurrent, LayerWeights};

/// A stack of ConvLSTM layers.
pub type ConvLstm<T> = ConvRecurrent<T, LstmCell>;
/// A stack of ConvGRU layers.
pub type ConvGru<T> = ConvRecurrent<T, GruCell>;
/// The configuration of a [`ConvLstm`].
pub type ConvLstmConfig = RecurrentConfig<LstmCell>;
/// The configuration of a [`ConvGru`].
pub type ConvGruConfig = RecurrentConfig<GruCell>;
