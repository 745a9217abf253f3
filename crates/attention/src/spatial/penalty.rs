//! The penalty that makes attention look at every region in the course of a clip.

use ndarray::{Array4, ArrayView4, s};
use tensor_ops::{Element, TensorError, check_lengths, check_not_empty};

use crate::error::invalid;

/// What the weights of a region should sum up to over the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PenaltyTarget {
    /// 1, as in the paper. With T steps and K² regions the sums add up to T, so that the penalty of a clip is at least
    /// (K² − T)² / K² before its factor.
    One,
    /// T/K²: what equal weights sum up to, where the penalty is 0.
    Uniform,
}

/// How the terms of all regions and clips become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PenaltyReduction {
    /// The sum over regions and clips: the paper's.
    Sum,
    /// The mean over regions, summed over clips: that of the paper's published code, K² times weaker.
    RegionMean,
    /// The mean over regions and clips.
    Mean,
}

/// λ Σᵢ (target − `Σ_t` a_{t,i})²: the doubly stochastic penalty of Sharma et al. (2016), after Xu et al. ("Show, attend and
/// tell", 2015).
///
/// ```
/// use attention::{DoublyStochasticPenalty, PenaltyReduction, PenaltyTarget};
/// use ndarray::Array4;
///
/// let weights = Array4::from_elem((1, 30, 7, 7), 1.0_f64 / 49.0);
/// let penalty = |target| DoublyStochasticPenalty { factor: 1.0, target, reduction: PenaltyReduction::Sum };
/// let (of_one, _) = penalty(PenaltyTarget::One).forward(weights.view(), None)?;
/// assert!((of_one - 19.0_f64.powi(2) / 49.0).abs() < 1e-9); // the least that 30 steps can reach
/// let (uniform, gradient) = penalty(PenaltyTarget::Uniform).forward(weights.view(), None)?;
/// assert!(uniform < 1e-20 && gradient.iter().all(|g| g.abs() < 1e-12));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DoublyStochasticPenalty {
    /// λ.
    pub factor: f64,
    /// What the weights of a region should sum up to.
    pub target: PenaltyTarget,
    /// How the terms become one number.
    pub reduction: PenaltyReduction,
}

impl DoublyStochasticPenalty {
    /// The penalty of `weights` `[batch, time, height, width]`, and its gradient, of the same shape. Steps beyond the
    /// lengths do not count, and T is the length.
    ///
    /// # Errors
    /// [`TensorError`] for an empty axis, wrong lengths, and a factor that is negative or not finite.
    pub fn forward<T: Element>(
        &self,
        weights: ArrayView4<'_, T>,
        lengths: Option<&[usize]>,
    ) -> Result<(T, Array4<T>), TensorError> {
        const NAME: &str = "DoublyStochasticPenalty";
        let (batch, time, height, width) = weights.dim();
        for (axis, size) in
            [("weights batch", batch), ("weights time", time), ("weights height", height), ("weights width", width)]
        {
            check_not_empty(NAME, axis, size)?;
        }
        check_lengths(NAME, lengths, batch, time)?;
        if !(self.factor >= 0.0 && self.factor.is_finite()) {
            return Err(invalid(NAME, "factor", "finite and not negative", self.factor));
        }
        let regions = (height * width) as f64;
        let divisor = match self.reduction {
            PenaltyReduction::Sum => 1.0,
            PenaltyReduction::RegionMean => regions,
            PenaltyReduction::Mean => regions * batch as f64,
        };
        let factor = T::from_f64(self.factor / divisor);
        let mut penalty = T::zero();
        let mut gradient = Array4::zeros(weights.raw_dim());
        for sequence in 0..batch {
            let length = lengths.map_or(time, |lengths| lengths[sequence]);
            let target = match self.target {
                PenaltyTarget::One => T::one(),
                PenaltyTarget::Uniform => T::from_f64(length as f64 / regions),
            };
            for row in 0..height {
                for column in 0..width {
                    let of_region = s![sequence, ..length, row, column];
                    let missing = target - weights.slice(of_region).iter().copied().sum::<T>();
                    penalty += factor * missing * missing;
                    gradient.slice_mut(of_region).fill(T::from_f64(-2.0) * factor * missing);
                }
            }
        }
        Ok((penalty, gradient))
    }
}
