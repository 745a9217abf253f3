//! Spatial and temporal pooling on the CPU, and the five feature-pooling architectures for video, for training and inference.
//!
//! ```
//! use ndarray::Array5;
//! use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
//! use pooling::{FeaturePooling, FeaturePoolingConfig, Reducer};
//!
//! let mut generator = StdRng::seed_from_u64(7);
//! let paper = FeaturePoolingConfig::conv([8, 4, 4], 7); // of maps [channels, height, width], to 7 classes
//! let config = FeaturePoolingConfig { hidden: vec![32], reducer: Reducer::TopKMean(3), ..paper };
//! let model = FeaturePooling::<f32>::new(config, &mut generator)?;
//! let clips = Array5::ones((3, 24, 8, 4, 4)); // [batch, time, channels, height, width]
//! let scores = model.forward(clips.view(), Some(&[24, 11, 5]))?;
//! assert_eq!(scores.dim(), (3, 7)); // [batch, classes]
//! # Ok::<(), pooling::PoolingError>(())
//! ```
//!
//! # What is here
//!
//! - Over images `[batch, channels, height, width]`, with the semantics of PyTorch: [`MaxPool2d`], [`AvgPool2d`],
//!   [`AdaptiveAvgPool2d`] and [`GlobalPool`].
//! - Over time, `[batch, time, …]`: a [`Reducer`] for whole clips, a [`TemporalPool`] for windows of frames
//!   ([`TemporalWindow`]).
//! - [`FeaturePooling`]: the architectures of Ng et al., "Beyond short snippets: deep networks for video classification",
//!   2015: conv, late, slow and local pooling, and time-domain convolution ([`Architecture`]).
//!
//! # What holds exactly
//!
//! - A clip has the same output and the same gradient of its input, bit for bit, alone and in a batch, whatever its length
//!   and that of the others. What the input holds beyond a clip's length, NaN included, influences nothing.
//! - The gradient of the parameters is a sum over the batch in a fixed order.
//! - Results do not depend on the number of threads.
//! - Conv and late pooling by the maximum do not see the order of the frames.
//!
//! # What is not here
//!
//! Fractional and power-average pooling, a given divisor of averages, softmax behind the scores (the losses of [`tensor_ops`]
//! have it), and learned weights over time, which are attention.

mod architecture;
mod error;
mod ordering;
mod spatial;
mod temporal;

pub use architecture::{
    Architecture, FeaturePooling, FeaturePoolingConfig, FeaturePoolingGradients, FeaturePoolingTrace, TimeConvolution,
};
pub use error::PoolingError;
pub use spatial::{AdaptiveAvgPool2d, AvgPool2d, GlobalPool, GlobalPoolTrace, MaxPool2d, MaxPool2dTrace};
pub use temporal::{Reducer, TemporalPool, TemporalTrace, TemporalWindow};
