//! Gradients by central differences.

use ndarray::{Array, ArrayD, Dimension, ShapeBuilder};
use ndarray_rand::rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{Element, Parameters, testing::assert_all_close};

/// Half the distance of the two points of a difference: its error, of order step², is then near that of rounding.
const STEP: f64 = 1e-5;

/// The gradient of `function` at `point` by central differences, element by element.
pub fn numeric_gradient<D: Dimension>(
    point: &Array<f64, D>,
    mut function: impl FnMut(&Array<f64, D>) -> f64,
) -> Array<f64, D> {
    let mut probe = point.clone();
    let mut gradient = Array::zeros(point.raw_dim());
    for (index, slope) in gradient.indexed_iter_mut() {
        let index = ndarray::IntoDimension::into_dimension(index);
        let centre = probe[index.clone()];
        probe[index.clone()] = centre + STEP;
        let above = function(&probe);
        probe[index.clone()] = centre - STEP;
        let below = function(&probe);
        probe[index] = centre;
        *slope = (above - below) / (2.0 * STEP);
    }
    gradient
}

/// Compares the gradient of every parameter of `model` with central differences of `function`.
///
/// # Panics
/// If `gradient` differs from the differences by more than `1e-7 + 1e-6 · |difference|`; a line before names the
/// parameter.
#[track_caller]
pub fn check_parameter_gradients<M>(model: &M, gradient: &M, mut function: impl FnMut(&M) -> f64)
where
    M: Parameters<f64> + Clone,
{
    let names: Vec<String> = model.named().into_iter().map(|(name, _)| name).collect();
    let gradients = gradient.named();
    assert_eq!(names.len(), gradients.len(), "as many gradients as parameters");
    for (position, name) in names.iter().enumerate() {
        let mut probe = model.clone();
        let point: ArrayD<f64> = probe.named()[position].1.to_owned();
        let numeric = numeric_gradient(&point, |values| {
            probe.named_mut()[position].1.assign(values);
            function(&probe)
        });
        assert_eq!(&gradients[position].0, name, "gradients in the order of the parameters");
        eprintln!("gradient of `{name}`");
        assert_all_close(&gradients[position].1.to_owned(), &numeric, 1e-6, 1e-7);
    }
}

/// An array of values uniform in −1..1 that depend on `seed` and the shape only.
pub fn seeded_array<T: Element, Sh: ShapeBuilder>(shape: Sh, seed: u64) -> Array<T, Sh::Dim> {
    let mut generator = SmallRng::seed_from_u64(seed);
    Array::from_shape_simple_fn(shape, || T::from_f64(generator.random_range(-1.0..1.0)))
}
