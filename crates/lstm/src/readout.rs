//! From the outputs of all steps to one vector per sequence, and the weights of per-frame losses.
//!
//! The read-outs are those that Ng et al. compare ("Beyond Short Snippets", 2015): the last step, the maximum, the sum and
//! the sum weighted linearly in time; and the mean.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, s};
use tensor_ops::{Element, TensorError, check_axis, check_lengths, check_not_empty};

/// How the outputs y of the steps 1 … T of a sequence become one vector; T is the length of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readout {
    /// y at the last valid step.
    Last,
    /// The maximum over time of every feature; the gradient goes to the first step that has it.
    Max,
    /// The mean over time.
    Mean,
    /// The sum over time.
    Sum,
    /// Σ gₜ yₜ with gₜ = t/T.
    LinearlyWeighted,
}

/// What [`Readout::backward`] needs of a [`Readout::forward_training`].
#[derive(Clone, Debug)]
pub struct ReadoutTrace {
    readout: Readout,
    shape: (usize, usize, usize),
    lengths: Vec<usize>,
    /// For [`Readout::Max`]: the step of the maximum, `[batch, features]`.
    steps: Option<Array2<usize>>,
}

impl Readout {
    /// Reads `[batch, features]` out of `outputs` `[batch, time, features]`; steps beyond the lengths do not count.
    ///
    /// # Errors
    /// [`TensorError`] for an empty axis or wrong lengths.
    ///
    /// ```
    /// use lstm::Readout;
    /// use ndarray::array;
    ///
    /// let outputs = array![[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]];
    /// assert_eq!(Readout::Max.forward(outputs.view(), Some(&[2]))?, array![[3.0, 4.0]]);
    /// assert_eq!(Readout::LinearlyWeighted.forward(outputs.view(), Some(&[2]))?, array![[3.5, 4.0]]);
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn forward<T: Element>(
        self,
        outputs: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
    ) -> Result<Array2<T>, TensorError> {
        Ok(self.forward_training(outputs, lengths)?.0)
    }

    /// As [`Self::forward`], with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training<T: Element>(
        self,
        outputs: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array2<T>, ReadoutTrace), TensorError> {
        let shape = outputs.dim();
        let (batch, time, features) = shape;
        check_not_empty("Readout", "outputs batch", batch)?;
        check_not_empty("Readout", "outputs time", time)?;
        check_not_empty("Readout", "outputs features", features)?;
        check_lengths("Readout", lengths, batch, time)?;
        let lengths = lengths.map_or_else(|| vec![time; batch], <[usize]>::to_vec);
        let mut result = Array2::zeros((batch, features));
        let mut steps = (self == Self::Max).then(|| Array2::zeros((batch, features)));
        for (sequence, &length) in lengths.iter().enumerate() {
            let mut result = result.row_mut(sequence);
            if self == Self::Max {
                result.assign(&outputs.slice(s![sequence, 0, ..]));
            }
            for step in 0..length {
                let outputs = outputs.slice(s![sequence, step, ..]);
                match (&mut steps, self.weight(step, length)) {
                    (Some(steps), _) => {
                        for ((result, output), at) in result.iter_mut().zip(outputs).zip(steps.row_mut(sequence)) {
                            if *output > *result {
                                (*result, *at) = (*output, step);
                            }
                        }
                    }
                    (None, Some(weight)) => result.scaled_add(weight, &outputs),
                    (None, None) => {}
                }
            }
        }
        Ok((result, ReadoutTrace { readout: self, shape, lengths, steps }))
    }

    /// The gradient of the outputs `[batch, time, features]`, from that of the read-out `[batch, features]`; zero beyond
    /// the lengths.
    ///
    /// # Errors
    /// [`TensorError::AxisSize`] if the gradient has another shape than the read-out.
    pub fn backward<T: Element>(
        trace: &ReadoutTrace,
        grad_readout: ArrayView2<'_, T>,
    ) -> Result<Array3<T>, TensorError> {
        check_axis("Readout", "gradient batch", trace.shape.0, grad_readout.nrows())?;
        check_axis("Readout", "gradient features", trace.shape.2, grad_readout.ncols())?;
        let mut grad = Array3::zeros(trace.shape);
        for (sequence, &length) in trace.lengths.iter().enumerate() {
            let grad_readout = grad_readout.row(sequence);
            if let Some(steps) = &trace.steps {
                for (feature, (&step, &value)) in steps.row(sequence).iter().zip(grad_readout).enumerate() {
                    grad[[sequence, step, feature]] = value;
                }
                continue;
            }
            for step in 0..length {
                if let Some(weight) = trace.readout.weight(step, length) {
                    grad.slice_mut(s![sequence, step, ..]).scaled_add(weight, &grad_readout);
                }
            }
        }
        Ok(grad)
    }

    /// What the output at a step, from 0, is multiplied by in the sum; `None` if it is not in it.
    fn weight<T: Element>(self, step: usize, length: usize) -> Option<T> {
        match self {
            Self::Last => (step + 1 == length).then(T::one),
            Self::Max => None,
            Self::Mean => Some(T::from_f64(1.0 / length as f64)),
            Self::Sum => Some(T::one()),
            Self::LinearlyWeighted => Some(linear_weight(step, length)),
        }
    }
}

/// gₜ = t/T for the step t, from 0, of T steps: 1/T, 2/T, …, 1.
fn linear_weight<T: Element>(step: usize, length: usize) -> T {
    T::from_f64((step + 1) as f64 / length as f64)
}

/// The weights of per-frame losses of Ng et al.: gₜ = t/T for the steps t = 1 … T of a sequence of length T, zero beyond
/// it; `[batch, time]`. Every step is trained to name the class, later ones more so.
///
/// # Errors
/// [`TensorError`] for an empty axis or wrong lengths.
///
/// ```
/// let weights = lstm::frame_loss_weights::<f64>(2, 4, Some(&[4, 2]))?;
/// assert_eq!(weights, ndarray::array![[0.25, 0.5, 0.75, 1.0], [0.5, 1.0, 0.0, 0.0]]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn frame_loss_weights<T: Element>(
    batch: usize,
    time: usize,
    lengths: Option<&[usize]>,
) -> Result<Array2<T>, TensorError> {
    check_not_empty("frame_loss_weights", "batch", batch)?;
    check_not_empty("frame_loss_weights", "time", time)?;
    check_lengths("frame_loss_weights", lengths, batch, time)?;
    Ok(Array2::from_shape_fn((batch, time), |(sequence, step)| {
        let length = lengths.map_or(time, |lengths| lengths[sequence]);
        if step < length { linear_weight(step, length) } else { T::zero() }
    }))
}
