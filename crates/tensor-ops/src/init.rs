//! Initial values of parameters, drawn through `ndarray-rand`.
//!
//! Every function takes the generator, so that one seed reproduces a model. Values are drawn and scaled in double
//! precision in row-major order and rounded once: one seed gives the same values in `f32` and `f64` up to that
//! rounding.
//!
//! Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010;
//! He et al., "Delving deep into rectifiers", ICCV 2015;
//! Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", ICLR 2014.

use ndarray::{Array, Dimension, IntoDimension};
use ndarray_rand::RandomExt;
use ndarray_rand::rand::Rng;
use ndarray_rand::rand_distr::{Distribution, Normal, Uniform};

use crate::{Element, TensorError};

mod fans;
mod orthogonal;

pub use fans::{FanMode, Fans, Nonlinearity};
pub use orthogonal::{orthogonal, orthogonal_blocks};

/// Values distributed evenly over `low..=high`.
///
/// # Errors
/// [`TensorError::InvalidOption`] unless both limits are finite and `low <= high`.
///
/// ```
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::init;
///
/// let weight = init::uniform::<f32, _>((3, 4), -0.1, 0.1, &mut StdRng::seed_from_u64(1))?;
/// assert!(weight.iter().all(|v| v.abs() <= 0.1));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn uniform<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    low: f64,
    high: f64,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    let distribution = Uniform::new_inclusive(low, high).map_err(|_| TensorError::InvalidOption {
        operation: "init::uniform",
        option: "low..=high",
        requirement: "a finite interval that is not empty",
        found: format!("{low}..={high}"),
    })?;
    Ok(draw(shape, distribution, rng))
}

/// Values of the normal distribution N(`mean`, `standard_deviation`²).
///
/// # Errors
/// [`TensorError::InvalidOption`] unless both are finite and `standard_deviation` is not negative.
///
/// ```
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::init;
///
/// let mut rng = StdRng::seed_from_u64(1);
/// let error = init::normal::<f32, _>(5, 0.0, -1.0, &mut rng).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "init::normal: option `standard_deviation` must be finite and not negative, found -1",
/// );
/// ```
pub fn normal<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    mean: f64,
    standard_deviation: f64,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    let operation = "init::normal";
    if !mean.is_finite() {
        return Err(invalid_number(operation, "mean", "finite", mean));
    }
    check_not_negative(operation, "standard_deviation", standard_deviation)?;
    let distribution = Normal::new(mean, standard_deviation).expect("both were checked to be finite");
    Ok(draw(shape, distribution, rng))
}

/// Glorot's uniform distribution: U(−a, a) with a = `gain` · √(6 / (fan in + fan out)).
///
/// `shape` is that of a weight, `[outputs, inputs, kernel axes …]`.
///
/// # Errors
/// [`TensorError`] for a shape without [`Fans`] and for a `gain` that is negative or not finite.
///
/// ```
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::init;
///
/// let weight = init::glorot_uniform::<f32, _>((4, 2), 1.0, &mut StdRng::seed_from_u64(1))?;
/// assert!(weight.iter().all(|v| v.abs() <= 1.0));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn glorot_uniform<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    gain: f64,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    let shape = shape.into_dimension();
    check_not_negative("init::glorot_uniform", "gain", gain)?;
    let fans = Fans::of_shape(shape.slice())?;
    Ok(symmetric(shape, gain * (6.0 / fans.total()).sqrt(), rng))
}

/// Glorot's normal distribution: N(0, σ²) with σ = `gain` · √(2 / (fan in + fan out)).
///
/// # Errors
/// As for [`glorot_uniform`].
pub fn glorot_normal<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    gain: f64,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    let shape = shape.into_dimension();
    check_not_negative("init::glorot_normal", "gain", gain)?;
    let fans = Fans::of_shape(shape.slice())?;
    normal(shape, 0.0, gain * (2.0 / fans.total()).sqrt(), rng)
}

/// He's uniform distribution: U(−a, a) with a = gain · √(3 / fan), where the gain is that of `nonlinearity`.
///
/// `shape` is that of a weight, `[outputs, inputs, kernel axes …]`.
///
/// # Errors
/// [`TensorError`] for a shape without [`Fans`] and for a slope of the nonlinearity that is not finite.
///
/// ```
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::init::{self, FanMode, Nonlinearity};
///
/// let mut rng = StdRng::seed_from_u64(1);
/// let weight = init::kaiming_uniform::<f32, _>((8, 3, 3, 3), FanMode::In, Nonlinearity::Relu, &mut rng)?;
/// assert!(weight.iter().all(|v| v.abs() <= (6.0_f32 / 27.0).sqrt()));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn kaiming_uniform<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    mode: FanMode,
    nonlinearity: Nonlinearity,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    let shape = shape.into_dimension();
    let gain = nonlinearity.gain()?;
    let fan = Fans::of_shape(shape.slice())?.select(mode);
    Ok(symmetric(shape, gain * (3.0 / fan as f64).sqrt(), rng))
}

/// He's normal distribution: N(0, σ²) with σ = gain / √fan, where the gain is that of `nonlinearity`.
///
/// # Errors
/// As for [`kaiming_uniform`].
pub fn kaiming_normal<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    mode: FanMode,
    nonlinearity: Nonlinearity,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    let shape = shape.into_dimension();
    let gain = nonlinearity.gain()?;
    let fan = Fans::of_shape(shape.slice())?.select(mode);
    normal(shape, 0.0, gain / (fan as f64).sqrt(), rng)
}

/// U(−1/√`fan_in`, 1/√`fan_in`): what PyTorch's linear and convolution layers draw their weight and bias from.
///
/// For a weight this is [`kaiming_uniform`] with `Nonlinearity::LeakyRelu { negative_slope: √5 }`. PyTorch's recurrent
/// layers use it with the hidden size for all their parameters.
///
/// # Errors
/// [`TensorError::EmptyAxis`] if `fan_in` is 0.
///
/// ```
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::init;
///
/// let bias = init::fan_in_uniform::<f32, _>(8, 25, &mut StdRng::seed_from_u64(1))?;
/// assert!(bias.iter().all(|v| v.abs() <= 0.2));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn fan_in_uniform<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    fan_in: usize,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Array<T, D>, TensorError> {
    crate::check_not_empty("init::fan_in_uniform", "fan in", fan_in)?;
    Ok(symmetric(shape, 1.0 / (fan_in as f64).sqrt(), rng))
}

/// U(−`bound`, `bound`) for a bound that is finite and not negative.
fn symmetric<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    bound: f64,
    rng: &mut (impl Rng + ?Sized),
) -> Array<T, D> {
    let distribution = Uniform::new_inclusive(-bound, bound).expect("bounds are checked by the callers");
    draw(shape, distribution, rng)
}

fn draw<T: Element, D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    distribution: impl Distribution<f64>,
    rng: &mut (impl Rng + ?Sized),
) -> Array<T, D> {
    Array::random_using(shape.into_dimension(), distribution.map(T::from_f64), rng)
}

fn check_not_negative(operation: &'static str, option: &'static str, value: f64) -> Result<(), TensorError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(invalid_number(operation, option, "finite and not negative", value))
    }
}

fn invalid_number(operation: &'static str, option: &'static str, requirement: &'static str, value: f64) -> TensorError {
    TensorError::InvalidOption { operation, option, requirement, found: value.to_string() }
}
