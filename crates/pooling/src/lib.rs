//! Spatial and temporal pooling on the CPU, and the five feature-pooling architectures for video, for training and inference.

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
