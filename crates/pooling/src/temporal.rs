//! Pooling over time: of whole clips and of windows of frames.
//!
//! Ng et al., "Beyond short snippets: deep networks for video classification", 2015, compare architectures that pool the
//! features of frames; [`Reducer`] has their maximum and its alternatives.

mod backward;
mod clips;
mod forward;
mod kernels;
mod reducer;
mod trace;
mod window;

pub(crate) use backward::{Forward, reduce_backward};
pub(crate) use clips::Clips;
pub(crate) use forward::{reduce, reduce_columns};
pub use reducer::Reducer;
pub use trace::{TemporalPool, TemporalTrace};
pub(crate) use trace::{check_sequences, pack};
pub use window::TemporalWindow;
pub(crate) use window::Windows;
