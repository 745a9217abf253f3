//! Frames carried along by a motion.

use ndarray::{Array3, ArrayView2, ArrayView3, Axis};
use tensor_ops::check_axis;

use super::error::{ForecastError, check_finite, check_leads, check_size};
use super::sampling::bilinear;

/// Rounds of the search for the middle of a path; each makes the error smaller by the change of motion per pixel.
const ROUNDS: usize = 3;

/// `frame`, `[height, width]`, carried along by `motion` for `leads` frames: `[leads, height, width]`.
///
/// Semi-Lagrangian and backward (Germann and Zawadzki, "Scale-dependence of the predictability of precipitation from
/// continental radar images", Monthly Weather Review 130, 2002): what arrives at a pixel is looked up where it came from.
/// The path back is followed frame by frame, each step `δ` being the motion at its middle, `δ = v(p − δ/2)`, and the frame
/// is interpolated once, at the end of the path, so that it does not blur from lead to lead. The motion stays the same at
/// every place. What comes in across the border is what was on the border where it comes in.
///
/// - `motion`: `[2, height, width]`, rows and columns per frame, as [`super::motion`] gives it
///
/// # Errors
/// [`ForecastError`] if the sizes differ or are 0, a value is not finite, or `leads` is not from 1 to 10000.
///
/// ```
/// use ndarray::{Array3, array};
/// use pipeline::forecast::advect;
///
/// let mut right = Array3::zeros((2, 1, 4));
/// right.index_axis_mut(ndarray::Axis(0), 1).fill(1.0);
/// let forecast = advect(array![[0.0, 1.0, 0.0, 0.0]].view(), right.view(), 2)?;
/// assert_eq!(forecast, array![[[0.0, 0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 1.0]]]);
/// # Ok::<(), pipeline::forecast::ForecastError>(())
/// ```
pub fn advect(
    frame: ArrayView2<'_, f32>,
    motion: ArrayView3<'_, f32>,
    leads: usize,
) -> Result<Array3<f32>, ForecastError> {
    const NAME: &str = "advection";
    let (height, width) = frame.dim();
    check_size(NAME, height, width)?;
    check_leads(NAME, leads)?;
    for (axis, (name, size)) in
        [("motion components", 2), ("motion height", height), ("motion width", width)].into_iter().enumerate()
    {
        check_axis(NAME, name, size, motion.len_of(Axis(axis)))?;
    }
    check_finite(NAME, "frame", &frame)?;
    check_finite(NAME, "motion", &motion)?;
    let (rows, columns) = (motion.index_axis(Axis(0), 0), motion.index_axis(Axis(0), 1));
    let mut forecast = Array3::zeros((leads, height, width));
    for y in 0..height {
        for x in 0..width {
            let mut place = [y as f32, x as f32];
            for lead in 0..leads {
                let mut step = [0.0; 2];
                for _ in 0..ROUNDS {
                    let middle = [place[0] - step[0] / 2.0, place[1] - step[1] / 2.0];
                    step = [rows, columns].map(|component| bilinear(component, middle[0], middle[1]));
                }
                place = [place[0] - step[0], place[1] - step[1]];
                forecast[[lead, y, x]] = bilinear(frame, place[0], place[1]);
            }
        }
    }
    Ok(forecast)
}
