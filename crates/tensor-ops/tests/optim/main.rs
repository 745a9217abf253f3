//! Optimisers and clipping: PyTorch's values, resuming, independence of threads and memory order, and errors.

mod adam;
mod checks;
mod clipping;
mod misuse;
mod model;
mod rmsprop;
mod sgd;
