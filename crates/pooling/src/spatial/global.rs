//! Pooling of whole maps.
//!
//! `y[n, c] = max x[n, c, ·, ·]` or the mean of all pixels of a map (Lin, Chen and Yan, "Network in network", 2014). The
//! gradient of the maximum goes to the first pixel, row by row, that has it; a NaN is larger than all numbers.

use ndarray::{Array2, Array4, ArrayView2, ArrayView4, Axis};
use tensor_ops::{Element, Window, check_axis};

use super::planes::shape_of;
use super::sizes::check_images;
use super::{AdaptiveAvgPool2d, MaxPool2d, MaxPool2dTrace};
use crate::PoolingError;

const NAME: &str = "GlobalPool";

/// How all pixels of a map become one value.
///
/// ```
/// use ndarray::array;
/// use pooling::GlobalPool;
///
/// let images = array![[[[1.0, 2.0], [3.0, 6.0]]]];
/// assert_eq!(GlobalPool::Mean.forward(images.view())?, array![[3.0]]);
/// let (output, trace) = GlobalPool::Max.forward_training(images.view())?;
/// assert_eq!(output, array![[6.0]]);
/// let gradient = GlobalPool::backward(&trace, array![[2.0]].view())?;
/// assert_eq!(gradient, array![[[[0.0, 0.0], [0.0, 2.0]]]]);
/// # Ok::<(), pooling::PoolingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GlobalPool {
    /// The maximum.
    Max,
    /// The mean.
    Mean,
}

/// What [`GlobalPool::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct GlobalPoolTrace {
    input: [usize; 4],
    /// Where the maxima are.
    maxima: Option<MaxPool2dTrace>,
}

impl GlobalPool {
    /// The output `[batch, channels]` of `input` `[batch, channels, height, width]`, of any strides.
    ///
    /// # Errors
    /// [`PoolingError`] for an empty axis, or where there is no memory for the output.
    pub fn forward<T: Element>(self, input: ArrayView4<'_, T>) -> Result<Array2<T>, PoolingError> {
        let shape = shape_of(&input);
        check_images(NAME, shape)?;
        Ok(match self {
            Self::Max => maximum(shape).forward(input)?,
            Self::Mean => MEAN.forward(input)?,
        }
        .index_axis_move(Axis(3), 0)
        .index_axis_move(Axis(2), 0))
    }

    /// As [`Self::forward`], with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training<T: Element>(
        self,
        input: ArrayView4<'_, T>,
    ) -> Result<(Array2<T>, GlobalPoolTrace), PoolingError> {
        let shape = shape_of(&input);
        check_images(NAME, shape)?;
        if self == Self::Mean {
            return Ok((self.forward(input)?, GlobalPoolTrace { input: shape, maxima: None }));
        }
        let (output, trace) = maximum(shape).forward_training(input)?;
        let output = output.index_axis_move(Axis(3), 0).index_axis_move(Axis(2), 0);
        Ok((output, GlobalPoolTrace { input: shape, maxima: Some(trace) }))
    }

    /// The gradient of the input for `grad_output` `[batch, channels]`.
    ///
    /// # Errors
    /// [`PoolingError`] if `grad_output` has another shape than the output of the trace.
    pub fn backward<T: Element>(
        trace: &GlobalPoolTrace,
        grad_output: ArrayView2<'_, T>,
    ) -> Result<Array4<T>, PoolingError> {
        let [batch, channels, height, width] = trace.input;
        check_axis(NAME, "grad_output batch", batch, grad_output.nrows())?;
        check_axis(NAME, "grad_output channels", channels, grad_output.ncols())?;
        let grad_output = grad_output.insert_axis(Axis(2)).insert_axis(Axis(3));
        match &trace.maxima {
            Some(maxima) => maximum(trace.input).backward(maxima, grad_output),
            None => MEAN.backward([height, width], grad_output),
        }
    }
}

const MEAN: AdaptiveAvgPool2d = AdaptiveAvgPool2d { output: [1, 1] };

fn maximum([_, _, height, width]: [usize; 4]) -> MaxPool2d {
    MaxPool2d { window: Window::new([height, width]), ceil_mode: false }
}
