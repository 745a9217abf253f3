//! Normalisation of the sums before the gates over groups of channels (Wu and He, "Group normalization", 2018).
//!
//! For every group of channels and all positions, with mean μ and variance v: x̂ = (a − μ) / √(v + ε), y = γ x̂ + β.

use ndarray::{ArrayView1, ArrayView3, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, Axis, s};
use tensor_ops::Element;

use super::positions_mut;
use crate::gradients::{SequenceGradients, dot, sum};
use crate::packed::Norm;

/// ε, PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Replaces the sums `[channels, positions]` by y, and writes x̂ and 1 / √(v + ε) of every group.
pub(super) fn forward<T: Element>(
    norm: &Norm<T>,
    mut sums: ArrayViewMut2<'_, T>,
    normalised: ArrayViewMut3<'_, T>,
    mut inverse_deviations: ArrayViewMut1<'_, T>,
) {
    let mut normalised = positions_mut(normalised);
    let channels = sums.nrows() / norm.groups;
    let count = T::from_f64((channels * sums.ncols()) as f64);
    for (group, inverse_deviation) in inverse_deviations.iter_mut().enumerate() {
        let rows = s![group * channels..(group + 1) * channels, ..];
        let mut values = sums.slice_mut(rows);
        let mean = values.outer_iter().map(|row| sum(&row)).sum::<T>() / count;
        values.mapv_inplace(|value| value - mean);
        let variance = values.outer_iter().map(|row| dot(&row, &row)).sum::<T>() / count;
        *inverse_deviation = T::one() / (variance + T::from_f64(EPSILON)).sqrt();
        let mut normalised = normalised.slice_mut(rows);
        for (channel, (mut value, mut normalised)) in
            values.outer_iter_mut().zip(normalised.outer_iter_mut()).enumerate()
        {
            let (scale, shift) = (norm.weight[group * channels + channel], norm.bias[group * channels + channel]);
            ndarray::Zip::from(&mut value).and(&mut normalised).for_each(|value, normalised| {
                *normalised = *value * *inverse_deviation;
                *value = scale * *normalised + shift;
            });
        }
    }
}

/// Replaces the gradient of y by that of the sums, and adds to the gradients of γ and β:
/// δa = (γ δy − mean(γ δy) − x̂ mean(γ δy ∘ x̂)) / √(v + ε).
pub(super) fn backward<T: Element>(
    norm: &Norm<T>,
    normalised: ArrayView3<'_, T>,
    inverse_deviations: ArrayView1<'_, T>,
    mut gradient: ArrayViewMut2<'_, T>,
    sums: &mut SequenceGradients<T>,
) {
    let normalised = super::positions(normalised);
    let channels = gradient.nrows() / norm.groups;
    let count = T::from_f64((channels * gradient.ncols()) as f64);
    for (group, &inverse_deviation) in inverse_deviations.iter().enumerate() {
        let (mut mean, mut mean_product) = (T::zero(), T::zero());
        for channel in group * channels..(group + 1) * channels {
            let (mut gradient, normalised) = (gradient.row_mut(channel), normalised.row(channel));
            let (of_bias, of_weight) = (sum(&gradient.view()), dot(&gradient.view(), &normalised));
            if let (Some(weight), Some(bias)) = (&mut sums.norm_weight, &mut sums.norm_bias) {
                weight[channel] += of_weight;
                bias[channel] += of_bias;
            }
            let scale = norm.weight[channel];
            mean += scale * of_bias / count;
            mean_product += scale * of_weight / count;
            gradient.mapv_inplace(|value| value * scale);
        }
        for channel in group * channels..(group + 1) * channels {
            let mut gradient = gradient.index_axis_mut(Axis(0), channel);
            ndarray::Zip::from(&mut gradient).and(normalised.row(channel)).for_each(|gradient, &normalised| {
                *gradient = (*gradient - mean - normalised * mean_product) * inverse_deviation;
            });
        }
    }
}
