//! Forecasts of frames: their figures per lead time, and the forecasts that need no model.
//!
//! Sequences are `[sequences, time, height, width]`, values from 0 to 1. The lead of a forecast frame is its distance from
//! the last frame that was seen, from 1.
//!
//! [`persistence`] repeats the last frame. [`extrapolation`] does what weather services do: it estimates the [`motion`]
//! in the frames seen, by optical flow, and carries the last frame along with it ([`advect`]).
//!
//! ```
//! use ndarray::Array4;
//! use pipeline::forecast::{Event, MotionConfig, extrapolation, persistence, score};
//!
//! // A blob that moves to the right by half a pixel per frame.
//! let blob = |t: usize, y: usize, x: usize| {
//!     let (y, x) = (y as f32 - 12.0, x as f32 - 8.0 - 0.5 * t as f32);
//!     (-(y * y + x * x) / 18.0).exp()
//! };
//! let frames = Array4::from_shape_fn((1, 12, 24, 32), |(_, t, y, x)| blob(t, y, x));
//! let (seen, truth) = frames.view().split_at(ndarray::Axis(1), 6);
//! let events = [Event::new("half", 0.5)];
//! let still = score(persistence(seen, 6)?.view(), truth, &events)?;
//! let moved = score(extrapolation(seen, 6, &MotionConfig::default())?.view(), truth, &events)?;
//! assert!(moved.mean_mse() < 0.05 * still.mean_mse());
//! # Ok::<(), pipeline::forecast::ForecastError>(())
//! ```

mod advection;
mod baselines;
mod contingency;
mod error;
mod motion;
mod sampling;
mod scores;
mod smoothing;

pub use advection::advect;
pub use baselines::{all_zero, extrapolation, persistence};
pub use contingency::Contingency;
pub use error::ForecastError;
pub use motion::{MotionConfig, motion};
pub use scores::{Event, ForecastScorer, ForecastScores, LeadScores, score};
