//! How the values of a feature over time become one.

use ndarray::{Array, ArrayView, Axis, RemoveAxis};
use tensor_ops::{Element, TensorError};

use super::{TemporalPool, TemporalTrace};
use crate::PoolingError;

/// How the values x₁ … xₙ of a feature in n frames become one value y, feature by feature.
///
/// | reducer | y | ∂y/∂xₜ |
/// |---|---|---|
/// | [`Max`](Self::Max) | maxₜ xₜ | 1 at the first frame that has the maximum, else 0 |
/// | [`Mean`](Self::Mean) | Σₜ xₜ / n | 1/n |
/// | [`Sum`](Self::Sum) | Σₜ xₜ | 1 |
/// | [`TopKMean`](Self::TopKMean) | the mean of the m = min(k, n) largest values | 1/m at their frames, earlier ones first on ties, else 0 |
/// | [`SoftmaxWeighted`](Self::SoftmaxWeighted) | Σₜ wₜ xₜ with wₜ = exp(β xₜ) / Σₛ exp(β xₛ) | wₜ (1 + β (xₜ − y)) |
///
/// The maximum is that of Ng et al. (2015), who hold that its sparse gradient learns faster than that of the mean. The mean of
/// the k largest and the softmax-weighted mean lie between the two: k = 1 is the maximum and k ≥ n the mean; β = 0 is the
/// mean, and β → ∞ the maximum (`McFee`, Salamon and Bello, "Adaptive pooling operators for weakly labeled sound event detection", 2018).
///
/// A NaN in a valid frame makes y NaN. Infinities make y NaN with [`SoftmaxWeighted`](Self::SoftmaxWeighted).
///
/// ```
/// use ndarray::array;
/// use pooling::Reducer;
///
/// let clips = array![[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]]; // [batch, time, features]
/// let lengths = [2];
/// assert_eq!(Reducer::Max.forward(clips.view(), Some(&lengths))?, array![[3.0, 4.0]]);
/// assert_eq!(Reducer::Mean.forward(clips.view(), Some(&lengths))?, array![[2.0, 3.0]]);
/// let (output, trace) = Reducer::TopKMean(2).forward_training(clips.view(), None)?;
/// assert_eq!(output, array![[6.0, 6.5]]);
/// let gradient = Reducer::backward(&trace, array![[2.0, 2.0]].view())?;
/// assert_eq!(gradient, array![[[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]]);
/// # Ok::<(), pooling::PoolingError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reducer {
    /// The maximum.
    #[default]
    Max,
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The mean of the k largest values, or of all where there are fewer.
    TopKMean(usize),
    /// The mean weighted by the softmax of the values themselves.
    SoftmaxWeighted {
        /// β, finite.
        sharpness: f64,
    },
}

impl Reducer {
    /// The output `[batch, …]` of `input` `[batch, time, …]`, of any strides; frames beyond the lengths do not count.
    ///
    /// # Errors
    /// [`PoolingError::Tensor`] for fewer than two axes, an empty axis, wrong lengths or an option as in
    /// [`Self::validate`]; [`PoolingError::Memory`] where there is no memory for the output.
    pub fn forward<T: Element, D: RemoveAxis>(
        self,
        input: ArrayView<'_, T, D>,
        lengths: Option<&[usize]>,
    ) -> Result<Array<T, D::Smaller>, PoolingError> {
        Ok(TemporalPool { reducer: self, window: None }.forward(input, lengths)?.index_axis_move(Axis(1), 0))
    }

    /// As [`Self::forward`], with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    #[expect(clippy::type_complexity, reason = "output and trace, as for all layers")]
    pub fn forward_training<'a, T: Element, D: RemoveAxis>(
        self,
        input: ArrayView<'a, T, D>,
        lengths: Option<&[usize]>,
    ) -> Result<(Array<T, D::Smaller>, TemporalTrace<'a, T, D>), PoolingError> {
        let (output, trace) = TemporalPool { reducer: self, window: None }.forward_training(input, lengths)?;
        Ok((output.index_axis_move(Axis(1), 0), trace))
    }

    /// The gradient of the input `[batch, time, …]` for `grad_output` `[batch, …]`; zero beyond the lengths.
    ///
    /// # Errors
    /// [`PoolingError::Tensor`] if `grad_output` has another shape than the output, or the trace is one of windows.
    pub fn backward<T: Element, D: RemoveAxis>(
        trace: &TemporalTrace<'_, T, D>,
        grad_output: ArrayView<'_, T, D::Smaller>,
    ) -> Result<Array<T, D>, PoolingError> {
        let grad_output = grad_output.insert_axis(Axis(1)).into_dyn();
        TemporalPool::backward_dyn(trace, grad_output)
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for the mean of 0 values and a sharpness that is not finite.
    pub fn validate(self) -> Result<(), TensorError> {
        let (option, requirement, found) = match self {
            Self::TopKMean(0) => ("k", "at least 1", "0".to_owned()),
            Self::SoftmaxWeighted { sharpness } if !sharpness.is_finite() => {
                ("sharpness", "finite", sharpness.to_string())
            }
            _ => return Ok(()),
        };
        Err(TensorError::InvalidOption { operation: "Reducer", option, requirement, found })
    }
}
