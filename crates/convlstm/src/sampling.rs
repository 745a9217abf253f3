//! Which frames a model reads in training: true ones, or what it has said itself (Bengio et al., "Scheduled sampling for sequence
//! prediction with recurrent neural networks", 2015).

use ndarray::Array2;
use ndarray_rand::rand::Rng;
use tensor_ops::{TensorError, check_not_empty};

use crate::ConvLstmError;

/// The probability of a true frame over the iterations of a training run: it falls in equal steps, then it is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduledSampling {
    /// The probability at iteration 0.
    pub start: f64,
    /// By how much it falls with each iteration.
    pub decrease: f64,
    /// The first iteration at which it is 0.
    pub end: u64,
}

impl Default for ScheduledSampling {
    /// The schedule that recurrent predictors of Moving MNIST share: from 1, less 2·10⁻⁵ at each of 50,000 iterations.
    fn default() -> Self {
        Self { start: 1.0, decrease: 2e-5, end: 50_000 }
    }
}

impl ScheduledSampling {
    /// The probability η of a true frame at an iteration: `max(0, start − decrease · iteration)`, and 0 from `end` on.
    ///
    /// # Errors
    /// [`ConvLstmError`] for a start outside 0..=1 or a decrease that is negative or not finite.
    ///
    /// ```
    /// use convlstm::ScheduledSampling;
    ///
    /// let schedule = ScheduledSampling::default();
    /// assert_eq!(schedule.probability(0)?, 1.0);
    /// assert!((schedule.probability(12_500)? - 0.75).abs() < 1e-12);
    /// assert_eq!(schedule.probability(50_000)?, 0.0);
    /// # Ok::<(), convlstm::ConvLstmError>(())
    /// ```
    pub fn probability(&self, iteration: u64) -> Result<f64, ConvLstmError> {
        let invalid = |option, requirement, found: f64| {
            let (operation, found) = ("ScheduledSampling", found.to_string());
            TensorError::InvalidOption { operation, option, requirement, found }
        };
        if !(0.0..=1.0).contains(&self.start) {
            return Err(invalid("start", "from 0 to 1", self.start).into());
        }
        if !(0.0..f64::INFINITY).contains(&self.decrease) {
            return Err(invalid("decrease", "at least 0 and finite", self.decrease).into());
        }
        let probability = if iteration < self.end { self.start - self.decrease * iteration as f64 } else { 0.0 };
        Ok(probability.max(0.0))
    }

    /// Draws for every sequence and step whether a true frame is read, `[batch, time]`: always before step `context`, which is at
    /// least 1, and after that with the probability of the iteration, each by itself. The same generator state gives the same
    /// mask; as many values are drawn at any iteration.
    ///
    /// # Errors
    /// As [`Self::probability`], and for an empty batch, no steps or no context.
    pub fn mask(
        &self,
        iteration: u64,
        [batch, time]: [usize; 2],
        context: usize,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<Array2<bool>, ConvLstmError> {
        let probability = self.probability(iteration)?;
        for (axis, size) in [("batch", batch), ("time", time), ("context", context)] {
            check_not_empty("ScheduledSampling", axis, size)?;
        }
        let mut mask = crate::weights::zeros::<f32, 2, ndarray::Ix2>("mask", [batch, time])?.mapv(|_| true);
        for ((_, step), truth) in mask.indexed_iter_mut() {
            if step >= context {
                *truth = rng.random::<f64>() < probability;
            }
        }
        Ok(mask)
    }
}
