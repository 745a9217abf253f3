//! Dropout.
//!
//! Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014, in the inverted
//! form: y = m x / (1 − p) with m = 0 at probability p, so that inference changes nothing.

use ndarray::{Array, ArrayView, ArrayViewMut, Dimension};
use ndarray_rand::rand::Rng;

use crate::{Element, TensorError, check_axis};

const OPERATION: &str = "Dropout";

/// Sets values to 0 at random in training and scales the others such that the expectation stays.
///
/// ```
/// use ndarray::Array1;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::Dropout;
///
/// let dropout = Dropout::new(0.5)?;
/// let mut rng = StdRng::seed_from_u64(1);
/// let (output, trace) = dropout.forward_training(Array1::<f32>::ones(8).view(), &mut rng);
/// assert!(output.iter().all(|&v| v == 0.0 || v == 2.0));
/// let grad_input = dropout.backward(&trace, Array1::<f32>::ones(8).view())?;
/// assert_eq!(grad_input, output);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    probability: f64,
}

/// Which values [`Dropout`] kept.
#[derive(Clone, Debug, PartialEq)]
pub struct DropoutTrace<D> {
    shape: D,
    mask: Mask,
}

#[derive(Clone, Debug, PartialEq)]
enum Mask {
    KeepAll,
    DropAll,
    /// For each value in row-major order.
    Keep(Vec<bool>),
}

impl Dropout {
    /// Dropout of values with this probability.
    ///
    /// With 0 the values stay as they are; with 1 all outputs and gradients are 0, whatever the input.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] if it is not in 0..=1.
    pub fn new(probability: f64) -> Result<Self, TensorError> {
        if (0.0..=1.0).contains(&probability) {
            Ok(Self { probability })
        } else {
            Err(TensorError::InvalidOption {
                operation: OPERATION,
                option: "probability",
                requirement: "in 0..=1",
                found: probability.to_string(),
            })
        }
    }

    /// The probability that a value is dropped.
    pub fn probability(&self) -> f64 {
        self.probability
    }

    /// The output for an input of any shape, with what [`Self::backward`] needs.
    ///
    /// One draw of 32 bits decides on each value, in row-major order, so the mask depends on the generator and the shape
    /// alone. Nothing is drawn where the probability is 0 or 1.
    pub fn forward_training<T: Element, D: Dimension>(
        &self,
        input: ArrayView<'_, T, D>,
        rng: &mut (impl Rng + ?Sized),
    ) -> (Array<T, D>, DropoutTrace<D>) {
        let mut output = input.to_owned();
        let trace = self.forward_training_in_place(output.view_mut(), rng);
        (output, trace)
    }

    /// As [`Self::forward_training`], replacing the values.
    pub fn forward_training_in_place<T: Element, D: Dimension>(
        &self,
        values: ArrayViewMut<'_, T, D>,
        rng: &mut (impl Rng + ?Sized),
    ) -> DropoutTrace<D> {
        let mask = if self.probability == 0.0 {
            Mask::KeepAll
        } else if self.probability == 1.0 {
            Mask::DropAll
        } else {
            let kept_draws = ((1.0 - self.probability) * (u32::MAX as f64 + 1.0)).round() as u64;
            Mask::Keep((0..values.len()).map(|_| u64::from(rng.next_u32()) < kept_draws).collect())
        };
        let trace = DropoutTrace { shape: values.raw_dim(), mask };
        self.apply(&trace.mask, values);
        trace
    }

    /// The gradient of the input for the gradient of the output.
    ///
    /// # Errors
    /// [`TensorError::AxisSize`] if the shape is not that of the forward pass.
    pub fn backward<T: Element, D: Dimension>(
        &self,
        trace: &DropoutTrace<D>,
        grad_output: ArrayView<'_, T, D>,
    ) -> Result<Array<T, D>, TensorError> {
        let mut grad_input = grad_output.to_owned();
        self.backward_in_place(trace, grad_input.view_mut())?;
        Ok(grad_input)
    }

    /// As [`Self::backward`], replacing the gradient of the output by that of the input.
    ///
    /// # Errors
    /// As for [`Self::backward`].
    pub fn backward_in_place<T: Element, D: Dimension>(
        &self,
        trace: &DropoutTrace<D>,
        gradient: ArrayViewMut<'_, T, D>,
    ) -> Result<(), TensorError> {
        check_axis(OPERATION, "rank of the output gradient", trace.shape.ndim(), gradient.ndim())?;
        for (&expected, &found) in trace.shape.slice().iter().zip(gradient.shape()) {
            check_axis(OPERATION, "output gradient", expected, found)?;
        }
        self.apply(&trace.mask, gradient);
        Ok(())
    }

    /// v ← m v / (1 − p)
    fn apply<T: Element, D: Dimension>(&self, mask: &Mask, mut values: ArrayViewMut<'_, T, D>) {
        let scale = T::from_f64(1.0 / (1.0 - self.probability));
        let masked = |(value, &keep): (&mut T, &bool)| *value = if keep { *value * scale } else { T::zero() };
        match mask {
            Mask::KeepAll => {}
            Mask::DropAll => values.fill(T::zero()),
            Mask::Keep(keep) => match values.as_slice_mut() {
                Some(values) => values.iter_mut().zip(keep).for_each(masked),
                None => values.iter_mut().zip(keep).for_each(masked),
            },
        }
    }
}
