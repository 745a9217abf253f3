//! Cross-entropy of class indices on logits.

use ndarray::{Array2, ArrayView2, Ix2};
use rayon::prelude::*;

use super::{Loss, Reduction};
use crate::simd::{Kernel, Simd};
use crate::softmax::rows::{map_row, row_exp_sum, row_max, row_softmax};
use crate::{Element, TensorError, check_axis, check_not_empty};

const OPERATION: &str = "cross_entropy";

/// Logits of one task, and the number from which tasks are shared out to threads.
const TASK_LOGITS: usize = 1 << 13;
const PARALLEL_LOGITS: usize = 1 << 16;

/// The options of [`cross_entropy`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropyConfig<'a, T> {
    /// How the items become one number.
    pub reduction: Reduction,
    /// ε in 0..=1: the part of the target that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// A factor for the loss of every item, `[items]`; 1 if absent. An item of weight 0 is not read. The class weights
    /// of PyTorch without label smoothing are `item_weights[i] = class_weights[classes[i]]`.
    pub item_weights: Option<&'a [T]>,
}

/// The reduced `−Σ_c q_c log softmax(z)_c` of `logits` z `[items, classes]` and the right class of each item, where
/// `q_c = (1 − ε)·[c = class] + ε / C` with label smoothing ε.
///
/// The frames of a sequence are items as well: give `[batch × time, classes]`, and weight 0 to what is padding.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::loss::{CrossEntropyConfig, Reduction, cross_entropy};
///
/// let logits = array![[0.0, 1e4], [0.0, 0.0]];
/// let config = CrossEntropyConfig { reduction: Reduction::Sum, ..Default::default() };
/// let loss = cross_entropy(logits.view(), &[1, 0], &config)?;
/// assert_eq!(loss, 2.0_f64.ln());
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// - [`TensorError::EmptyAxis`] if there is no item or no class,
/// - [`TensorError::AxisSize`] if the number of classes or weights given is not that of the items,
/// - [`TensorError::IndexOutOfRange`] if an item has a class beyond the logits, at weight 0 too,
/// - [`TensorError::InvalidOption`] if the label smoothing is not in 0..=1, a weight is negative or not finite, or all
///   weights are 0 under [`Reduction::Mean`].
pub fn cross_entropy<T: Element>(
    logits: ArrayView2<'_, T>,
    classes: &[usize],
    config: &CrossEntropyConfig<'_, T>,
) -> Result<T, TensorError> {
    let scale = check(&logits, classes, config)?;
    let logits = logits.as_standard_layout();
    let items = Items { logits: logits.as_slice().unwrap_or_default(), classes, config, length: logits.ncols(), scale };
    Ok(T::from_f64(items.sum() * scale))
}

/// [`cross_entropy`] with the gradient of `logits`, `softmax(z) − q` times weight and factor of the reduction.
///
/// ```
/// use ndarray::array;
/// use tensor_ops::loss::{CrossEntropyConfig, cross_entropy_with_gradient};
///
/// let loss = cross_entropy_with_gradient(array![[0.0, 0.0]].view(), &[1], &CrossEntropyConfig::default())?;
/// assert_eq!(loss.gradient, array![[0.5, -0.5]]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
///
/// # Errors
/// As [`cross_entropy`].
pub fn cross_entropy_with_gradient<T: Element>(
    logits: ArrayView2<'_, T>,
    classes: &[usize],
    config: &CrossEntropyConfig<'_, T>,
) -> Result<Loss<T, Ix2>, TensorError> {
    let scale = check(&logits, classes, config)?;
    let logits = logits.as_standard_layout();
    let items = Items { logits: logits.as_slice().unwrap_or_default(), classes, config, length: logits.ncols(), scale };
    let mut gradient = Array2::zeros(logits.raw_dim());
    let sum = items.sum_with_gradient(gradient.as_slice_mut().unwrap_or_default());
    Ok(Loss { value: T::from_f64(sum * scale), gradient })
}

/// Checks the arguments; the factor of the reduction.
fn check<T: Element>(
    logits: &ArrayView2<'_, T>,
    classes: &[usize],
    config: &CrossEntropyConfig<'_, T>,
) -> Result<f64, TensorError> {
    let (items, class_count) = logits.dim();
    check_not_empty(OPERATION, "logits items", items)?;
    check_not_empty(OPERATION, "logits classes", class_count)?;
    check_axis(OPERATION, "class indices", items, classes.len())?;
    if let Some(item) = classes.iter().position(|&class| class >= class_count) {
        let (index, found, end) = ("class", classes[item], class_count);
        return Err(TensorError::IndexOutOfRange { operation: OPERATION, index, item, found, end });
    }
    let invalid =
        |option, requirement, found| TensorError::InvalidOption { operation: OPERATION, option, requirement, found };
    if !(0.0..=1.0).contains(&config.label_smoothing) {
        return Err(invalid("label_smoothing", "in 0..=1", config.label_smoothing.to_string()));
    }
    let mut total = items as f64;
    if let Some(weights) = config.item_weights {
        check_axis(OPERATION, "item weights", items, weights.len())?;
        if let Some(item) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= T::zero())) {
            let found = format!("{} at item {item}", weights[item]);
            return Err(invalid("item_weights", "finite and not negative", found));
        }
        if config.reduction == Reduction::Mean {
            total = weights.iter().map(|&weight| weight.to_f64()).sum();
            if total == 0.0 {
                return Err(invalid("item_weights", "positive for at least one item", "0 for all items".to_owned()));
            }
        }
    }
    Ok(match config.reduction {
        Reduction::Sum => 1.0,
        Reduction::Mean => 1.0 / total,
        Reduction::BatchMean => 1.0 / items as f64,
    })
}

/// The checked arguments, logits row by row.
#[derive(Clone, Copy)]
struct Items<'a, T> {
    logits: &'a [T],
    classes: &'a [usize],
    config: &'a CrossEntropyConfig<'a, T>,
    /// The number of classes.
    length: usize,
    scale: f64,
}

impl<T: Element> Items<'_, T> {
    /// Items that one task takes.
    fn task_items(&self) -> usize {
        TASK_LOGITS.div_ceil(self.length)
    }

    fn sum(&self) -> f64 {
        let task = self.task_items();
        let starts = (0..self.classes.len()).step_by(task);
        let losses = |start: usize| T::dispatch(LossRows { items: *self, start, count: task });
        if self.logits.len() < PARALLEL_LOGITS {
            return starts.map(losses).sum();
        }
        let starts: Vec<usize> = starts.collect();
        let sums: Vec<f64> = starts.into_par_iter().map(losses).collect();
        sums.into_iter().sum()
    }

    fn sum_with_gradient(&self, gradient: &mut [T]) -> f64 {
        let task = self.task_items();
        let losses = |(index, gradient): (usize, &mut [T])| {
            T::dispatch(GradientRows { items: *self, start: index * task, gradient })
        };
        if self.logits.len() < PARALLEL_LOGITS {
            return gradient.chunks_mut(task * self.length).enumerate().map(losses).sum();
        }
        let sums: Vec<f64> = gradient.par_chunks_mut(task * self.length).enumerate().map(losses).collect();
        sums.into_iter().sum()
    }

    fn weight(&self, item: usize) -> T {
        self.config.item_weights.map_or(T::one(), |weights| weights[item])
    }

    fn row(&self, item: usize) -> &[T] {
        &self.logits[item * self.length..(item + 1) * self.length]
    }

    /// `−Σ_c q_c (z_c − max − log Σ e^(z − max))` of one item, in double precision.
    #[inline(always)]
    fn loss(&self, item: usize, max: T, exp_sum: T) -> f64 {
        let row = self.row(item);
        let log_sum = exp_sum.to_f64().ln();
        let surprise = |logit: T| log_sum - (logit.to_f64() - max.to_f64());
        let smoothing = self.config.label_smoothing;
        let hard = surprise(row[self.classes[item]]);
        if smoothing == 0.0 {
            return hard;
        }
        let even = row.iter().map(|&logit| surprise(logit)).sum::<f64>() / self.length as f64;
        (1.0 - smoothing) * hard + smoothing * even
    }
}

/// The weighted sum of the losses of `count` items from `start` on, as far as there are.
struct LossRows<'a, T> {
    items: Items<'a, T>,
    start: usize,
    count: usize,
}

impl<T: Element> Kernel<T> for LossRows<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) -> f64 {
        let items = self.items;
        let mut sum = 0.0;
        for item in self.start..(self.start + self.count).min(items.classes.len()) {
            let weight = items.weight(item);
            if weight > T::zero() {
                let row = items.row(item);
                let max = row_max(simd, row);
                sum += weight.to_f64() * items.loss(item, max, row_exp_sum(simd, row, max));
            }
        }
        sum
    }
}

/// The same sum for the items of the rows of `gradient`, which are written: w·scale·(softmax(z) − q).
struct GradientRows<'a, T> {
    items: Items<'a, T>,
    start: usize,
    gradient: &'a mut [T],
}

impl<T: Element> Kernel<T> for GradientRows<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) -> f64 {
        let items = self.items;
        let smoothing = items.config.label_smoothing;
        let mut sum = 0.0;
        for (offset, gradient) in self.gradient.chunks_exact_mut(items.length).enumerate() {
            let item = self.start + offset;
            let weight = items.weight(item);
            if weight == T::zero() {
                gradient.fill(T::zero());
                continue;
            }
            gradient.copy_from_slice(items.row(item));
            let max = row_max(simd, gradient);
            let exp_sum = row_softmax(simd, gradient, max);
            sum += weight.to_f64() * items.loss(item, max, exp_sum);

            let even = simd.splat(T::from_f64(smoothing / items.length as f64));
            let class = items.classes[item];
            gradient[class] -= T::from_f64(1.0 - smoothing);
            let factor = simd.splat(T::from_f64(weight.to_f64() * items.scale));
            map_row(
                simd,
                gradient,
                #[inline(always)]
                |value| simd.mul(simd.sub(value, even), factor),
            );
        }
        sum
    }
}
