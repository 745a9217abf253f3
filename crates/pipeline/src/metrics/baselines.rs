//! Forecasts without a model, which a model has to beat.

use ndarray::{Array4, ArrayView4, Axis, s};
use tensor_ops::{Element, TensorError, check_not_empty};

/// Repeats the last frame of each context: what holds if nothing moves.
///
/// - `context`: `[clips, time, height, width]`, the frames that are known
/// - `leads`: the number of frames to predict
///
/// Returns the forecast `[clips, leads, height, width]`.
///
/// # Errors
/// [`TensorError::EmptyAxis`] if an axis of the context or the forecast has no entries.
///
/// ```
/// use ndarray::{Array4, s};
/// use pipeline::metrics::baselines::copy_last_frame;
///
/// let context = Array4::from_shape_fn((1, 3, 2, 2), |(_, t, y, x)| (100 * t + 10 * y + x) as f32);
/// let forecast = copy_last_frame(context.view(), 5)?;
/// assert_eq!(forecast.slice(s![0, 4, .., ..]), context.slice(s![0, 2, .., ..]));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn copy_last_frame<T: Element>(context: ArrayView4<'_, T>, leads: usize) -> Result<Array4<T>, TensorError> {
    let mut forecast = blank("copy_last_frame", context, leads)?;
    let last = context.len_of(Axis(1)) - 1;
    forecast.assign(&context.slice(s![.., last..=last, .., ..]));
    Ok(forecast)
}

/// Predicts empty frames: what a model learns first where most pixels are dark, and some never get beyond.
///
/// Arguments, result and errors as in [`copy_last_frame`].
///
/// # Errors
/// [`TensorError::EmptyAxis`] if an axis of the context or the forecast has no entries.
///
/// ```
/// let context = ndarray::Array4::<f32>::ones((2, 3, 4, 5));
/// let forecast = pipeline::metrics::baselines::all_zero(context.view(), 6)?;
/// assert_eq!((forecast.dim(), forecast.sum()), ((2, 6, 4, 5), 0.0));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn all_zero<T: Element>(context: ArrayView4<'_, T>, leads: usize) -> Result<Array4<T>, TensorError> {
    blank("all_zero", context, leads)
}

fn blank<T: Element>(
    operation: &'static str,
    context: ArrayView4<'_, T>,
    leads: usize,
) -> Result<Array4<T>, TensorError> {
    let (clips, time, height, width) = context.dim();
    let axes = [
        ("context clips", clips),
        ("context time", time),
        ("context height", height),
        ("context width", width),
        ("forecast leads", leads),
    ];
    for (axis, size) in axes {
        check_not_empty(operation, axis, size)?;
    }
    Ok(Array4::zeros((clips, leads, height, width)))
}
