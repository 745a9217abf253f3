//! The structural similarity of two frames.
//!
//! Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
//! Transactions on Image Processing 13(4), 2004. At each place of a window, with the weighted means μ, variances σ² and
//! the covariance `σ_xy` of the two frames inside it, and L the range of the data,
//!
//! ```text
//! SSIM = (2 μ_x μ_y + C₁)(2 σ_xy + C₂) / ((μ_x² + μ_y² + C₁)(σ_x² + σ_y² + C₂))     C₁ = (0.01 L)², C₂ = (0.03 L)²
//! ```
//!
//! The figure of the frame is the mean over all places at which the window lies inside it.
//!
//! L changes the figure and cannot be guessed from real numbers: for pixels from 0 to 1 it is 1. Software that took 2
//! for the range of all real numbers, from −1 to 1, has left figures in print that are too high.

use ndarray::{Array2, ArrayView2, Zip, s};
use tensor_ops::{Element, check_axis};

use super::frames::MetricError;

const OPERATION: &str = "structural_similarity";

/// The window of the structural similarity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SsimWindow {
    /// 7×7 pixels of equal weight; (co)variances with N − 1 in the denominator, N = 49. The default of scikit-image and
    /// with it of most published figures of video prediction.
    #[default]
    Uniform,
    /// 11×11 pixels, weighted by a Gaussian with a standard deviation of 1.5 pixels; (co)variances as weighted means.
    /// The choice of Wang et al.
    Gaussian,
}

impl SsimWindow {
    /// The height and the width of the window in pixels.
    pub fn size(self) -> usize {
        match self {
            Self::Uniform => 7,
            Self::Gaussian => 11,
        }
    }

    /// The weights along one axis; their sum is 1, and the window is their outer product.
    fn weights(self) -> Vec<f64> {
        let size = self.size();
        let weight = |index: usize| match self {
            Self::Uniform => 1.0,
            Self::Gaussian => {
                let distance = index as f64 - (size / 2) as f64;
                (-0.5 * (distance / 1.5).powi(2)).exp()
            }
        };
        let weights: Vec<f64> = (0..size).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    /// The factor from weighted means of squared deviations to (co)variances.
    fn covariance_factor(self) -> f64 {
        match self {
            Self::Uniform => {
                let pixels = (self.size() * self.size()) as f64;
                pixels / (pixels - 1.0)
            }
            Self::Gaussian => 1.0,
        }
    }
}

/// The structural similarity of two frames `[height, width]`, computed in double precision; 1 for equal frames.
///
/// `data_range` is the difference between the largest and the smallest value that a pixel can have. NaN in a frame makes
/// NaN.
///
/// # Errors
/// [`MetricError`] if the frames have different sizes or are smaller than the window, or if the range is no number
/// above 0.
///
/// ```
/// use ndarray::Array2;
/// use pipeline::metrics::similarity::{SsimWindow, structural_similarity};
///
/// let dark = Array2::<f32>::zeros((64, 64));
/// let bright = Array2::<f32>::ones((64, 64));
/// let figure = structural_similarity(dark.view(), bright.view(), 1.0, SsimWindow::Uniform)?;
/// assert!((figure - 1e-4 / 1.0001).abs() < 1e-12);
/// # Ok::<(), pipeline::metrics::frames::MetricError>(())
/// ```
///
/// Frames of whole numbers have another range; converting them is left to the caller:
///
/// ```compile_fail,E0277
/// use ndarray::Array2;
/// use pipeline::metrics::similarity::{SsimWindow, structural_similarity};
///
/// let frame = Array2::<u8>::zeros((64, 64));
/// let figure = structural_similarity(frame.view(), frame.view(), 255.0, SsimWindow::Uniform);
/// ```
pub fn structural_similarity<T: Element>(
    prediction: ArrayView2<'_, T>,
    truth: ArrayView2<'_, T>,
    data_range: f64,
    window: SsimWindow,
) -> Result<f64, MetricError> {
    check_data_range(data_range)?;
    let ((height, width), (found_height, found_width)) = (truth.dim(), prediction.dim());
    check_axis(OPERATION, "prediction height", height, found_height)?;
    check_axis(OPERATION, "prediction width", width, found_width)?;
    check_window([height, width], window)?;
    Ok(similarity(prediction, truth, data_range, window))
}

/// [`structural_similarity`] of arguments that are known to fit.
pub(super) fn similarity<T: Element>(
    prediction: ArrayView2<'_, T>,
    truth: ArrayView2<'_, T>,
    data_range: f64,
    window: SsimWindow,
) -> f64 {
    let [c1, c2] = [0.01, 0.03].map(|k| (k * data_range).powi(2));
    let (weights, factor) = (window.weights(), window.covariance_factor());
    let (x, y) = (prediction.mapv(Element::to_f64), truth.mapv(Element::to_f64));
    let [xx, yy, xy] = [&x * &x, &y * &y, &x * &y].map(|product| weighted_means(&product, &weights));
    let (x, y) = (weighted_means(&x, &weights), weighted_means(&y, &weights));
    let mut sum = 0.0;
    Zip::from(&x).and(&y).and(&xx).and(&yy).and(&xy).for_each(|&x, &y, &xx, &yy, &xy| {
        let (variances, covariance) = (factor * (xx - x * x) + factor * (yy - y * y), factor * (xy - x * y));
        let numerator = (2.0 * x * y + c1) * (2.0 * covariance + c2);
        sum += numerator / ((x * x + y * y + c1) * (variances + c2));
    });
    sum / x.len() as f64
}

/// The weighted means of `values` at all places at which the window lies inside: along the rows, then the columns.
fn weighted_means(values: &Array2<f64>, weights: &[f64]) -> Array2<f64> {
    let (height, width) = values.dim();
    let (rows, columns) = (height + 1 - weights.len(), width + 1 - weights.len());
    let mut along_rows = Array2::zeros((height, columns));
    for (offset, &weight) in weights.iter().enumerate() {
        along_rows.scaled_add(weight, &values.slice(s![.., offset..offset + columns]));
    }
    let mut means = Array2::zeros((rows, columns));
    for (offset, &weight) in weights.iter().enumerate() {
        means.scaled_add(weight, &along_rows.slice(s![offset..offset + rows, ..]));
    }
    means
}

pub(super) fn check_data_range(data_range: f64) -> Result<(), MetricError> {
    let holds = data_range > 0.0 && data_range.is_finite();
    if holds { Ok(()) } else { Err(MetricError::DataRange { found: data_range }) }
}

pub(super) fn check_window(size: [usize; 2], window: SsimWindow) -> Result<(), MetricError> {
    for (axis, found) in ["height", "width"].into_iter().zip(size) {
        if found < window.size() {
            return Err(MetricError::FrameTooSmall { axis, window: window.size(), found });
        }
    }
    Ok(())
}
