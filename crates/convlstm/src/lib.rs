//! Recurrent layers whose states are maps, on the CPU, for training and for inference: [`ConvLstm`] and [`ConvGru`].
//!
//! ```
//! use convlstm::{ConvLstm, ConvLstmConfig, LayerConfig, LstmCell, Peepholes};
//! use ndarray::Array5;
//! use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
//!
//! let cell = LstmCell { peepholes: Peepholes::PerChannel, ..LstmCell::default() };
//! let config = ConvLstmConfig {
//!     input_channels: 3,
//!     layers: vec![LayerConfig { cell, ..LayerConfig::new(16, 5) }, LayerConfig::new(8, 3)],
//!     ..ConvLstmConfig::default()
//! };
//! let layers = ConvLstm::<f32>::new(config, &mut StdRng::seed_from_u64(7))?;
//! let clips = Array5::ones((2, 4, 3, 12, 10)); // [batch, time, channels, height, width]
//! let (output, state) = layers.forward(clips.view(), None, Some(&[4, 3]))?;
//! assert_eq!(output.dim(), (2, 4, 8, 12, 10));
//! assert_eq!(state.hidden[0].dim(), (2, 16, 12, 10)); // of the first layer: [batch, channels, height, width]
//! # Ok::<(), convlstm::ConvLstmError>(())
//! ```
//!
//! # The cells
//!
//! With X the input, H' and C' the hidden and cell maps of the previous step, ∗ the convolution, σ the logistic function and ∘
//! the product of elements, the LSTM on maps is (Shi et al., "Convolutional LSTM network: a machine learning approach for
//! precipitation nowcasting", 2015, equation 3):
//!
//! ```text
//! i = σ(Wxi∗X + Whi∗H' + b_i + p_i∘C')       f = σ(Wxf∗X + Whf∗H' + b_f + p_f∘C')
//! g = tanh(Wxg∗X + Whg∗H' + b_g)             C = f∘C' + i∘g
//! o = σ(Wxo∗X + Who∗H' + b_o + p_o∘C)        H = o∘tanh(C)
//! ```
//!
//! and the GRU on maps (Ballas et al., "Delving deeper into convolutional networks for learning video representations", 2016):
//!
//! ```text
//! r = σ(Wxr∗X + Whr∗H' + b_r)     z = σ(Wxz∗X + Whz∗H' + b_z)     H = (1 − z)∘n + z∘H'
//! n = tanh(Wxn∗X + b_n + r∘(Whn∗H' + b_hn))     with the reset gate after the convolution, or
//! n = tanh(Wxn∗X + b_n + Whn∗(r∘H'))            with the reset gate before it
//! ```
//!
//! The two forms of the last line are different models, and [`GruCell::reset_after`] says which one it is. The convolutions of
//! input and state have kernels of their own, of any height and width; that of the input has stride, padding and dilation too,
//! and that of the state keeps the size, with zeros beyond the border. The [`Peepholes`] p are an option: one value per channel,
//! as the parameter counts of Shi et al. imply, or per position, as their equation says. So is the normalisation of the gates.
//! Gates stand in PyTorch's order, i, f, g, o and r, z, n.
//!
//! # Models
//!
//! [`EncoderForecaster`] reads known frames and says those of the future, in the two ways of [`Mode`]. [`NextFrame`] says the next
//! frame at every step and goes on by reading what it has said; [`ScheduledSampling`] is how it learns to. [`patchify`] cuts
//! frames into patches, which makes maps small and channels many.
//!
//! # What holds exactly
//!
//! - A sequence has the same outputs, states and gradients of its input and initial states, bit for bit, alone and in a batch,
//!   whatever its length and that of the others. What the input holds beyond a sequence's length, NaN included, influences
//!   nothing.
//! - The gradient of the parameters is a sum over the batch in a fixed order.
//! - Results do not depend on the number of threads.
//! - A stream gives the bits of the whole sequence, and a training pass those of inference.
//! - [`TraceMemory::RecomputeGates`] gives the bits of [`TraceMemory::Full`].
//!
//! # What is not here
//!
//! Dropout of inputs or states, other activations than σ and tanh (`hard_sigmoid` of Keras before version 3 is one), strides
//! and other padding than zeros in the convolution of the state, grouped convolutions, and batch normalisation.

mod backward;
mod cell;
mod config;
mod error;
mod forecaster;
mod forward;
mod gradients;
mod import;
mod memory;
mod next_frame;
mod packed;
mod patches;
mod sampling;
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
pub use next_frame::{Feedback, NextFrame, NextFrameConfig, NextFrameTrace, OutputMaps};
pub use patches::{patched_size, patchify, unpatchify};
pub use sampling::ScheduledSampling;
pub use state::RecurrentState;
pub use stream::{PackedRecurrent, RecurrentStream};
pub use weights::{ConvRecurrent, LayerWeights};

/// A stack of LSTM layers on maps.
pub type ConvLstm<T> = ConvRecurrent<T, LstmCell>;
/// A stack of GRU layers on maps.
pub type ConvGru<T> = ConvRecurrent<T, GruCell>;
/// The configuration of a [`ConvLstm`].
pub type ConvLstmConfig = RecurrentConfig<LstmCell>;
/// The configuration of a [`ConvGru`].
pub type ConvGruConfig = RecurrentConfig<GruCell>;
