//! Gaussian smoothing.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};

/// `image`, `[height, width]`, as a weighted mean of its neighbourhood: weights `exp(−d²/2σ²)` at a distance of `d` up to
/// `3σ` pixels, where `sigma` is σ in pixels. Weights beyond the border are left out, and the others make up for them, so a
/// constant stays a constant.
pub(super) fn smooth(image: ArrayView2<'_, f32>, sigma: f32) -> Array2<f32> {
    if sigma <= 0.0 {
        return image.to_owned();
    }
    let radius = (3.0 * sigma).ceil() as usize;
    let weights: Vec<f32> = (0..=radius).map(|d| (-0.5 * (d as f32 / sigma).powi(2)).exp()).collect();
    let mut across = Array2::zeros(image.raw_dim());
    for (source, target) in image.axis_iter(Axis(0)).zip(across.axis_iter_mut(Axis(0))) {
        smooth_line(source, target, &weights);
    }
    let mut smoothed = Array2::zeros(image.raw_dim());
    for (source, target) in across.axis_iter(Axis(1)).zip(smoothed.axis_iter_mut(Axis(1))) {
        smooth_line(source, target, &weights);
    }
    smoothed
}

/// One line of an image; `weights[d]` belongs to the two pixels at the distance `d`.
fn smooth_line(source: ArrayView1<'_, f32>, mut target: ArrayViewMut1<'_, f32>, weights: &[f32]) {
    let line = source.to_vec();
    let reach = weights.len() - 1;
    for (position, target) in target.iter_mut().enumerate() {
        let (mut sum, mut total) = (0.0, 0.0);
        let first = position.saturating_sub(reach);
        let end = line.len().min(position + reach + 1);
        for (offset, value) in line[first..end].iter().enumerate() {
            let weight = weights[(first + offset).abs_diff(position)];
            sum += weight * value;
            total += weight;
        }
        *target = sum / total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stay_and_a_point_becomes_a_bell() {
        let constant = Array2::from_elem((9, 5), 0.3);
        for sigma in [0.0, 0.7, 4.0, 100.0] {
            let smoothed = smooth(constant.view(), sigma);
            assert!(smoothed.iter().all(|value| (value - 0.3).abs() < 1e-6), "sigma {sigma}: {smoothed}");
        }
        let mut point = Array2::zeros((31, 31));
        point[[15, 15]] = 1.0;
        let bell = smooth(point.view(), 2.0);
        for (y, x) in [(15, 15), (15, 18), (12, 15), (17, 12)] {
            let distance = (y as f32 - 15.0).powi(2) + (x as f32 - 15.0).powi(2);
            let expected = (-distance / 8.0).exp() / (8.0 * std::f32::consts::PI);
            assert!((bell[[y, x]] - expected).abs() < 2e-4, "({y}, {x}): {} and {expected}", bell[[y, x]]);
        }
    }
}
