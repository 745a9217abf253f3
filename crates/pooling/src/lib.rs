//! Spatial and temporal pooling on the CPU, and the five feature-pooling architectures for video, for training and inference.
