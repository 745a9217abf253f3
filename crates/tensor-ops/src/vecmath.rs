//! Elementary functions and their derivatives on slices, vectorised.
//!
//! Each function replaces the values of a slice; each `…_grad` function multiplies a gradient by the derivative, which
//! it takes from the *output* of the function, so that a layer need not keep the input. For `f32` the instructions are
//! chosen at run time ([`Isa`]) and the errors are bounded over all 2³² arguments, in units in the last place (ULP) of
//! the exact result:
//!
//! | function | largest error |
//! |---|---|
//! | [`exp`] | 1 ULP |
//! | [`sigmoid`] | 3 ULP |
//! | [`tanh`] | 3 ULP |
//! | [`softplus`] | 3 ULP |
//! | [`relu`], [`relu6`] | exact |
//!
//! The bounds hold where the result is subnormal (results are not flushed to zero) and at the thresholds of overflow.
//! For `f64` the functions are those of the standard library. NaN gives NaN. The result of an element depends on
//! neither its position in the slice nor the length of the slice. The portable instructions round products and sums
//! apart, so they may differ from the others within the bounds.
//!
//! All functions run on the calling thread: they are meant for the body of a parallel loop over the parts of a tensor.

use crate::simd::{Isa, Simd};
use crate::{Element, TensorError, check_axis};

mod double;
mod map;
mod single;
#[cfg(test)]
mod tests;
mod vector;

use map::{Binary, Unary, map, zip_map};
pub(crate) use map::{load_part, max_of_lanes, store_part, sum_of_lanes};
pub(crate) use vector::VectorMath;
pub(crate) use vector::{exp_vector, sigmoid_vector, softplus_vector, tanh_vector};

/// Replaces every value by `eˣ`.
///
/// ```
/// let mut values = [0.0_f32, f32::NEG_INFINITY, 100.0];
/// tensor_ops::vecmath::exp(&mut values);
/// assert_eq!(values, [1.0, 0.0, f32::INFINITY]);
/// ```
pub fn exp<T: Element>(values: &mut [T]) {
    map(Isa::selected(), Exp, values);
}

/// Replaces every value by `σ(x) = 1 / (1 + e⁻ˣ)`, accurate in both tails.
///
/// ```
/// let mut values = [0.0_f32, 200.0, -80.0];
/// tensor_ops::vecmath::sigmoid(&mut values);
/// assert_eq!(values[..2], [0.5, 1.0]);
/// assert!((values[2] / 1.804_851_4e-35 - 1.0).abs() < 1e-6);
/// ```
pub fn sigmoid<T: Element>(values: &mut [T]) {
    map(Isa::selected(), Sigmoid, values);
}

/// Replaces every value by `tanh x`.
///
/// ```
/// let mut values = [0.0_f32, 1e-20, -30.0];
/// tensor_ops::vecmath::tanh(&mut values);
/// assert_eq!(values, [0.0, 1e-20, -1.0]);
/// ```
pub fn tanh<T: Element>(values: &mut [T]) {
    map(Isa::selected(), Tanh, values);
}

/// Replaces every value by `max(x, 0)`.
///
/// ```
/// let mut values = [-1.0_f32, 0.0, 2.5];
/// tensor_ops::vecmath::relu(&mut values);
/// assert_eq!(values, [0.0, 0.0, 2.5]);
/// ```
pub fn relu<T: Element>(values: &mut [T]) {
    map(Isa::selected(), Relu, values);
}

/// Replaces every value by `min(max(x, 0), 6)`.
///
/// ```
/// let mut values = [-1.0_f32, 2.5, 7.0];
/// tensor_ops::vecmath::relu6(&mut values);
/// assert_eq!(values, [0.0, 2.5, 6.0]);
/// ```
pub fn relu6<T: Element>(values: &mut [T]) {
    map(Isa::selected(), Relu6, values);
}

/// Replaces every value by `log(1 + eˣ)`, without overflow for large `x` and without loss for small ones.
///
/// ```
/// let mut values = [1000.0_f32, -1000.0];
/// tensor_ops::vecmath::softplus(&mut values);
/// assert_eq!(values, [1000.0, 0.0]);
/// ```
pub fn softplus<T: Element>(values: &mut [T]) {
    map(Isa::selected(), Softplus, values);
}

/// Multiplies `grad` by the derivative of [`exp`], `y`, with `output` = y.
///
/// # Errors
/// [`TensorError::AxisSize`] if the lengths differ, as in all functions below.
pub fn exp_grad<T: Element>(output: &[T], grad: &mut [T]) -> Result<(), TensorError> {
    multiply_by_derivative("exp_grad", ExpGrad, output, grad)
}

/// Multiplies `grad` by the derivative of [`sigmoid`], `y · (1 − y)`, with `output` = y.
///
/// ```
/// let mut grad = [2.0_f32];
/// tensor_ops::vecmath::sigmoid_grad(&[0.5], &mut grad)?;
/// assert_eq!(grad, [0.5]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// [`TensorError::AxisSize`] if the lengths differ.
pub fn sigmoid_grad<T: Element>(output: &[T], grad: &mut [T]) -> Result<(), TensorError> {
    multiply_by_derivative("sigmoid_grad", SigmoidGrad, output, grad)
}

/// Multiplies `grad` by the derivative of [`tanh`], `1 − y²`, with `output` = y.
///
/// # Errors
/// [`TensorError::AxisSize`] if the lengths differ.
pub fn tanh_grad<T: Element>(output: &[T], grad: &mut [T]) -> Result<(), TensorError> {
    multiply_by_derivative("tanh_grad", TanhGrad, output, grad)
}

/// Multiplies `grad` by the derivative of [`relu`]: 1 where `output` is positive, else 0. NaN in `output` gives NaN.
///
/// # Errors
/// [`TensorError::AxisSize`] if the lengths differ.
pub fn relu_grad<T: Element>(output: &[T], grad: &mut [T]) -> Result<(), TensorError> {
    multiply_by_derivative("relu_grad", ReluGrad, output, grad)
}

/// Multiplies `grad` by the derivative of [`relu6`]: 1 where `output` is inside (0, 6), else 0. NaN in `output` gives
/// NaN.
///
/// # Errors
/// [`TensorError::AxisSize`] if the lengths differ.
pub fn relu6_grad<T: Element>(output: &[T], grad: &mut [T]) -> Result<(), TensorError> {
    multiply_by_derivative("relu6_grad", Relu6Grad, output, grad)
}

/// Multiplies `grad` by the derivative of [`softplus`], `σ(x) = 1 − e⁻ʸ`, with `output` = y.
///
/// # Errors
/// [`TensorError::AxisSize`] if the lengths differ.
pub fn softplus_grad<T: Element>(output: &[T], grad: &mut [T]) -> Result<(), TensorError> {
    multiply_by_derivative("softplus_grad", SoftplusGrad, output, grad)
}

fn multiply_by_derivative<T: Element>(
    operation: &'static str,
    derivative: impl Binary<T>,
    output: &[T],
    grad: &mut [T],
) -> Result<(), TensorError> {
    check_axis(operation, "output", grad.len(), output.len())?;
    zip_map(Isa::selected(), derivative, output, grad);
    Ok(())
}

macro_rules! unary {
    ($($name:ident: |$simd:ident, $x:ident| $value:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;

        impl<T: Element> Unary<T> for $name {
            #[inline(always)]
            fn apply<S: Simd<T>>(self, $simd: S, $x: S::Vector) -> S::Vector {
                $value
            }
        }
    )*};
}

macro_rules! derivative {
    ($($name:ident: |$simd:ident, $y:ident, $grad:ident| $value:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;

        impl<T: Element> Binary<T> for $name {
            #[inline(always)]
            fn apply<S: Simd<T>>(self, $simd: S, $y: S::Vector, $grad: S::Vector) -> S::Vector {
                $value
            }
        }
    )*};
}

// The constant stands first in `min` and `max`, which return their second operand where one is NaN.
unary! {
    Exp: |simd, x| exp_vector(simd, x);
    Sigmoid: |simd, x| sigmoid_vector(simd, x);
    Tanh: |simd, x| tanh_vector(simd, x);
    Relu: |simd, x| simd.max(simd.splat(T::zero()), x);
    Relu6: |simd, x| simd.min(simd.splat(T::from_f64(6.0)), simd.max(simd.splat(T::zero()), x));
    Softplus: |simd, x| softplus_vector(simd, x);
}

derivative! {
    ExpGrad: |simd, y, grad| simd.mul(grad, y);
    SigmoidGrad: |simd, y, grad| simd.mul(grad, simd.mul(y, simd.sub(simd.splat(T::one()), y)));
    // (1 − y)(1 + y) does not cancel where |y| is near 1.
    TanhGrad: |simd, y, grad| {
        let one = simd.splat(T::one());
        simd.mul(grad, simd.mul(simd.sub(one, y), simd.add(one, y)))
    };
    // y · 0 is NaN where y is.
    ReluGrad: |simd, y, grad| {
        let zero = simd.splat(T::zero());
        simd.select_lt(zero, y, grad, simd.mul(y, zero))
    };
    Relu6Grad: |simd, y, grad| {
        let zero = simd.splat(T::zero());
        let below = simd.select_lt(y, simd.splat(T::from_f64(6.0)), grad, zero);
        simd.select_lt(zero, y, below, simd.mul(y, zero))
    };
    SoftplusGrad: |simd, y, grad| simd.mul(grad, vector::one_minus_exp_neg_vector(simd, y));
}
