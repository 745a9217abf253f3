//! Forecasts that need no training, to compare models with.

use ndarray::{Array4, ArrayView4, Axis, s, stack};
use rayon::prelude::*;
use tensor_ops::check_not_empty;

use super::error::{ForecastError, check_finite, check_leads, check_size};
use super::{MotionConfig, advect, motion};

/// The last frame of every sequence of `inputs`, `[sequences, time, height, width]`, again and again:
/// `[sequences, leads, height, width]`.
///
/// # Errors
/// [`ForecastError`] if a size is 0, or `leads` is not from 1 to 10000.
///
/// ```
/// use ndarray::Array4;
///
/// let inputs = Array4::from_shape_fn((2, 5, 8, 8), |(_, t, _, _)| t as f32);
/// assert_eq!(pipeline::forecast::persistence(inputs.view(), 3)?, Array4::from_elem((2, 3, 8, 8), 4.0));
/// # Ok::<(), pipeline::forecast::ForecastError>(())
/// ```
pub fn persistence(inputs: ArrayView4<'_, f32>, leads: usize) -> Result<Array4<f32>, ForecastError> {
    check_inputs("persistence", inputs, leads)?;
    let (sequences, _, height, width) = inputs.dim();
    let last = inputs.slice(s![.., -1.., .., ..]);
    Ok(last.broadcast((sequences, leads, height, width)).expect("an axis of one frame is repeated").to_owned())
}

/// Empty frames for every sequence of `inputs`, `[sequences, time, height, width]`: what a network learns first where most
/// pixels are dark, and some never get beyond. `[sequences, leads, height, width]`.
///
/// # Errors
/// As [`persistence`].
///
/// ```
/// let forecast = pipeline::forecast::all_zero(ndarray::Array4::ones((2, 3, 4, 5)).view(), 6)?;
/// assert_eq!((forecast.dim(), forecast.sum()), ((2, 6, 4, 5), 0.0));
/// # Ok::<(), pipeline::forecast::ForecastError>(())
/// ```
pub fn all_zero(inputs: ArrayView4<'_, f32>, leads: usize) -> Result<Array4<f32>, ForecastError> {
    check_inputs("all_zero", inputs, leads)?;
    let (sequences, _, height, width) = inputs.dim();
    Ok(Array4::zeros((sequences, leads, height, width)))
}

/// The last frame of every sequence of `inputs`, `[sequences, time, height, width]`, carried along by the motion of the
/// frames before it: `[sequences, leads, height, width]`. See [`motion`] and [`advect`].
///
/// # Errors
/// [`ForecastError`] if there are fewer than 2 frames, a size is 0, a value is not finite, `leads` is not from 1 to 10000,
/// or an option is not allowed.
pub fn extrapolation(
    inputs: ArrayView4<'_, f32>,
    leads: usize,
    config: &MotionConfig,
) -> Result<Array4<f32>, ForecastError> {
    check_inputs("extrapolation", inputs, leads)?;
    check_finite("extrapolation", "inputs", &inputs)?;
    let last = inputs.len_of(Axis(1)) - 1;
    let continue_one = |sequence: usize| {
        let frames = inputs.index_axis(Axis(0), sequence);
        let motion = motion(frames, config)?;
        advect(frames.index_axis(Axis(0), last), motion.view(), leads)
    };
    let forecasts = (0..inputs.len_of(Axis(0))).into_par_iter().map(continue_one);
    let forecasts = forecasts.collect::<Result<Vec<_>, ForecastError>>()?;
    let views: Vec<_> = forecasts.iter().map(|forecast| forecast.view()).collect();
    Ok(stack(Axis(0), &views).expect("forecasts of at least one sequence, all of one size"))
}

fn check_inputs(name: &'static str, inputs: ArrayView4<'_, f32>, leads: usize) -> Result<(), ForecastError> {
    let (sequences, time, height, width) = inputs.dim();
    check_not_empty(name, "sequences", sequences)?;
    check_not_empty(name, "time", time)?;
    check_size(name, height, width)?;
    Ok(check_leads(name, leads)?)
}
