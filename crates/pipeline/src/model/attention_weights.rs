//! Where a model with attention looks.

use ndarray::{Array2, Array3};

/// The weights that a model gives to what it attends to, clip by clip.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AttentionWeights<T> {
    /// Over time: for each clip `[rows, steps]`. A row adds up to 1. It belongs to a step that attends to the steps of the
    /// clip, or there is one row for the whole clip.
    Steps(Vec<Array2<T>>),
    /// Over the places of the maps: for each clip `[steps, height, width]`. Every step adds up to 1.
    Places(Vec<Array3<T>>),
}
