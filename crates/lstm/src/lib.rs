//! Long short-term memory on the CPU, for training and for inference.
//!
//! ```
//! use lstm::{Lstm, LstmConfig};
//! use ndarray::Array3;
//! use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
//!
//! let config = LstmConfig { layers: 2, bidirectional: true, ..LstmConfig::new(16, 32) };
//! let lstm = Lstm::<f32>::new(config, &mut StdRng::seed_from_u64(7))?;
//! let clips = Array3::ones((3, 10, 16)); // [batch, time, features]
//! let (output, state) = lstm.forward(clips.view(), None, Some(&[10, 4, 7]))?;
//! assert_eq!(output.dim(), (3, 10, 2 * 32));
//! assert_eq!(state.hidden.dim(), (2 * 2, 3, 32)); // [layers · directions, batch, hidden]
//! # Ok::<(), lstm::LstmError>(())
//! ```
//!
//! # The cell
//!
//! With x the input, h' and c' the previous hidden and cell values, σ the logistic function and ∘ the product of
//! elements (Hochreiter and Schmidhuber, 1997; forget gate of Gers, Schmidhuber and Cummins, 2000):
//!
//! ```text
//! i = σ(Wᵢ x + Rᵢ h' + bᵢ + pᵢ∘c')       f = σ(W_f x + R_f h' + b_f + p_f∘c')
//! g = tanh(W_g x + R_g h' + b_g)          c = f∘c' + i∘g
//! o = σ(Wₒ x + Rₒ h' + bₒ + pₒ∘c)        h = o∘tanh(c)
//! ```
//!
//! The peepholes p (one value per unit; Graves, "Generating sequences with recurrent neural networks", 2013) are an
//! option. Gates stand in PyTorch's order i, f, g, o everywhere: [`INPUT_GATE`], [`FORGET_GATE`], [`CELL_GATE`],
//! [`OUTPUT_GATE`]. Biases come in two, as in PyTorch, and only their sum matters.
//!
//! # What holds exactly
//!
//! - A sequence has the same outputs, states and gradient of its input, bit for bit, alone and in a batch, whatever its
//!   length and that of the others. What the input holds beyond a sequence's length, NaN included, influences nothing.
//! - The gradient of the parameters is a sum over the batch in a fixed order; sequences whose gradient is zero do not
//!   change its bits.
//! - Results do not depend on the number of threads.
//! - A stream gives the bits of the whole sequence.
//!
//! # What is not here
//!
//! Projections (PyTorch's `proj_size`), clipping of cells, coupled gates and layer normalisation.

mod backward;
mod batch;
mod config;
mod error;
mod exchange;
mod forward;
mod packed;
mod readout;
mod state;
mod stream;
mod weights;

pub use backward::LstmGradients;
pub use config::{Initialisation, LstmConfig};
pub use error::LstmError;
pub use exchange::OnnxLstm;
pub use forward::LstmTrace;
pub use packed::PackedLstm;
pub use readout::{Readout, ReadoutTrace, frame_loss_weights};
pub use state::LstmState;
pub use stream::LstmStream;
pub use tensor_ops::{CELL_GATE, FORGET_GATE, GATES, INPUT_GATE, OUTPUT_GATE};
pub use weights::{Lstm, LstmWeights};

/// The rows of a peephole array: of the input, the forget and the output gate.
pub const PEEPHOLES: usize = 3;
