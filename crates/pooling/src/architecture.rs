//! The five feature-pooling architectures of Ng et al., "Beyond short snippets: deep networks for video classification", 2015.
//!
//! They take the maps that a convolutional network made of T frames to the scores of classes:
//!
//! | architecture | from maps to scores |
//! |---|---|
//! | conv | pooling over all frames, fully connected layers, classifier |
//! | late | fully connected layers for every frame, pooling over all frames, classifier |
//! | slow | pooling over windows of frames, a fully connected layer for every window, pooling over the windows, a fully connected layer, classifier |
//! | local | pooling over windows, fully connected layers for every window, one classifier that reads all windows |
//! | time domain | convolution over windows of frames, pooling over the windows, fully connected layers, classifier |

mod backward;
mod config;
mod connected;
mod convolution;
mod forward;
mod images;
mod model;
mod pooled_linear;
mod unrolled;

pub use backward::FeaturePoolingGradients;
pub use config::{Architecture, FeaturePoolingConfig};
pub use convolution::TimeConvolution;
pub use forward::FeaturePoolingTrace;
pub use model::FeaturePooling;
