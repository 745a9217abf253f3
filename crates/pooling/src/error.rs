//! The error of this crate.

use std::fmt;

use conv2d::Conv2dError;
use ndarray::{Array, Dimension, IntoDimension};
use tensor_ops::{Element, TensorError};

/// Why an operation of this crate refused its arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PoolingError {
    /// A shape, a length or an option is wrong.
    Tensor(TensorError),
    /// The convolution over time refused its configuration.
    Convolution(Conv2dError),
    /// Local pooling was given a clip with another number of windows than its classifier reads.
    Windows {
        /// The position of the clip in the batch.
        item: usize,
        /// The frames of the clip.
        frames: usize,
        /// The windows that the classifier reads.
        expected: usize,
        /// The windows that the clip has.
        found: usize,
    },
    /// The parameters are not those of the configuration: another number of layers, or a convolution or a bias too many
    /// or too few.
    Parts {
        /// What is wrong, such as `hidden`.
        part: String,
        /// What the configuration asks for.
        expected: String,
    },
    /// The memory of a result cannot be had.
    Memory {
        /// The operation or layer that was called.
        operation: &'static str,
        /// The result.
        result: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
}

impl fmt::Display for PoolingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(error) => error.fmt(f),
            Self::Convolution(error) => error.fmt(f),
            Self::Windows { item, frames, expected, found } => write!(
                f,
                "FeaturePooling: windows of clip {item} with {frames} frames: local pooling expected {expected}, found {found}"
            ),
            Self::Parts { part, expected } => {
                write!(f, "FeaturePooling: {part}: the configuration asks for {expected}")
            }
            Self::Memory { operation, result, shape } => {
                write!(f, "{operation}: {result}: no memory for shape {shape:?}")
            }
        }
    }
}

impl std::error::Error for PoolingError {}

impl From<TensorError> for PoolingError {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}

impl From<Conv2dError> for PoolingError {
    fn from(error: Conv2dError) -> Self {
        Self::Convolution(error)
    }
}

/// An array of one value, or an error where the memory cannot be had.
pub(crate) fn filled<T: Clone, D: Dimension>(
    operation: &'static str,
    result: &'static str,
    shape: impl IntoDimension<Dim = D>,
    value: T,
) -> Result<Array<T, D>, PoolingError> {
    let shape = shape.into_dimension();
    let no_memory = || PoolingError::Memory { operation, result, shape: shape.slice().to_vec() };
    let length = shape.slice().iter().try_fold(1_usize, |length, &size| length.checked_mul(size));
    let length = length.ok_or_else(no_memory)?;
    Vec::<T>::new().try_reserve_exact(length).map_err(|_| no_memory())?;
    Array::from_shape_vec(shape.clone(), vec![value; length]).map_err(|_| no_memory())
}

/// An array of zeros, or an error where the memory cannot be had.
pub(crate) fn zeros<T: Element, D: Dimension>(
    operation: &'static str,
    result: &'static str,
    shape: impl IntoDimension<Dim = D>,
) -> Result<Array<T, D>, PoolingError> {
    filled(operation, result, shape, T::zero())
}
