//! Figures of predicted frames, one set per lead time.
//!
//! The same words stand for different figures in different papers. Here, with p the prediction and y the truth of one
//! frame of H×W pixels,
//!
//! ```text
//! MSE per frame = Σ (p − y)²          MSE per pixel = Σ (p − y)² / (H W)
//! MAE per frame = Σ |p − y|           MAE per pixel = Σ |p − y| / (H W)
//! PSNR          = 10 log₁₀(L² / MSE per pixel)                                        L: the range of the data
//! ```
//!
//! and [the structural similarity](super::similarity). Each is computed for every frame by itself and then averaged over
//! the frames; the PSNR too, which is not the PSNR of the averaged error. Published tables of Moving MNIST state the sums
//! per frame, for pixels from 0 to 1. Nothing is clamped here: a model whose output may leave the range of the data is
//! measured as it is, unless its caller clamps.

use ndarray::{ArrayView2, ArrayView4, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tensor_ops::{Element, TensorError, check_axis, check_not_empty};
use thiserror::Error;

use super::similarity::{SsimWindow, check_data_range, check_window, similarity};

const OPERATION: &str = "FrameMetrics";

/// Why frames cannot be compared.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Prediction and truth do not fit together, or one of them is empty.
    #[error(transparent)]
    Shape(#[from] TensorError),
    /// The window of the structural similarity does not fit into the frames.
    #[error("structural_similarity: {axis}: expected at least the {window} pixels of the window, found {found}")]
    FrameTooSmall {
        /// The axis that is too short.
        axis: &'static str,
        /// The size of the window.
        window: usize,
        /// The size of the frames.
        found: usize,
    },
    /// The range of the data is no number above 0.
    #[error("the range of the data must be a number above 0, found {found}")]
    DataRange {
        /// The range given.
        found: f64,
    },
}

/// The figures of some frames.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameFigures {
    /// The mean over the frames of the squared error, summed over the pixels.
    pub mse_per_frame: f64,
    /// The mean over the frames and pixels of the squared error.
    pub mse_per_pixel: f64,
    /// The mean over the frames of the absolute error, summed over the pixels.
    pub mae_per_frame: f64,
    /// The mean over the frames and pixels of the absolute error.
    pub mae_per_pixel: f64,
    /// The mean over the frames of the structural similarity.
    pub ssim: f64,
    /// The mean of the peak signal-to-noise ratio in dB over the frames that differ from the truth; `None` if none does.
    pub psnr: Option<f64>,
    /// The number of frames.
    pub frames: usize,
    /// The number of frames equal to the truth, whose ratio is infinite and stays out of [`Self::psnr`].
    pub identical_frames: usize,
}

/// The peak signal-to-noise ratio of a frame in dB; infinite for equal frames.
///
/// - `mse`: the mean squared error per pixel
/// - `data_range`: the difference between the largest and the smallest value that a pixel can have
///
/// ```
/// use pipeline::metrics::frames::peak_signal_to_noise;
///
/// assert!((peak_signal_to_noise(0.01, 1.0) - 20.0).abs() < 1e-12);
/// assert_eq!(peak_signal_to_noise(0.0, 1.0), f64::INFINITY);
/// ```
pub fn peak_signal_to_noise(mse: f64, data_range: f64) -> f64 {
    10.0 * (data_range * data_range / mse).log10()
}

/// Sums of the figures of frames.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    squared_error: f64,
    absolute_error: f64,
    ssim: f64,
    psnr: f64,
    frames: usize,
    identical_frames: usize,
}

impl Sums {
    /// Those of a single frame.
    fn of<T: Element>(
        prediction: ArrayView2<'_, T>,
        truth: ArrayView2<'_, T>,
        data_range: f64,
        window: SsimWindow,
    ) -> Self {
        let (mut squared_error, mut absolute_error) = (0.0, 0.0);
        for (&p, &y) in prediction.iter().zip(&truth) {
            let error = p.to_f64() - y.to_f64();
            squared_error += error * error;
            absolute_error += error.abs();
        }
        let identical = squared_error == 0.0;
        let mse = squared_error / truth.len() as f64;
        Self {
            squared_error,
            absolute_error,
            ssim: similarity(prediction, truth, data_range, window),
            psnr: if identical { 0.0 } else { peak_signal_to_noise(mse, data_range) },
            frames: 1,
            identical_frames: usize::from(identical),
        }
    }

    fn add(&mut self, other: &Self) {
        self.squared_error += other.squared_error;
        self.absolute_error += other.absolute_error;
        self.ssim += other.ssim;
        self.psnr += other.psnr;
        self.frames += other.frames;
        self.identical_frames += other.identical_frames;
    }

    /// The figures of frames of `pixels` pixels.
    fn figures(&self, pixels: usize) -> FrameFigures {
        let (frames, pixels) = (self.frames as f64, pixels as f64);
        let differing = self.frames - self.identical_frames;
        FrameFigures {
            mse_per_frame: self.squared_error / frames,
            mse_per_pixel: self.squared_error / frames / pixels,
            mae_per_frame: self.absolute_error / frames,
            mae_per_pixel: self.absolute_error / frames / pixels,
            ssim: self.ssim / frames,
            psnr: (differing > 0).then(|| self.psnr / differing as f64),
            frames: self.frames,
            identical_frames: self.identical_frames,
        }
    }
}

/// Collects the figures of forecasts, batch by batch.
///
/// Only sums are kept. They do not depend on the number of threads.
///
/// ```
/// use ndarray::Array4;
/// use pipeline::metrics::frames::FrameMetrics;
/// use pipeline::metrics::similarity::SsimWindow;
///
/// let truth = Array4::<f32>::zeros((2, 3, 8, 8));
/// let forecast = Array4::from_elem((2, 3, 8, 8), 0.5_f32);
/// let mut metrics = FrameMetrics::new(1.0, SsimWindow::Uniform)?;
/// metrics.add(forecast.view(), truth.view())?;
/// let leads = metrics.leads();
/// assert_eq!(leads.len(), 3);
/// assert_eq!((leads[0].mse_per_frame, leads[0].mse_per_pixel), (16.0, 0.25));
/// assert_eq!((leads[0].frames, metrics.mean().unwrap().frames), (2, 6));
/// # Ok::<(), pipeline::metrics::frames::MetricError>(())
/// ```
///
/// Frames of whole numbers do not compile, so that their range is never mistaken:
///
/// ```compile_fail,E0277
/// use ndarray::Array4;
/// use pipeline::metrics::frames::FrameMetrics;
/// use pipeline::metrics::similarity::SsimWindow;
///
/// let frames = Array4::<u8>::zeros((2, 3, 8, 8));
/// let mut metrics = FrameMetrics::new(255.0, SsimWindow::Uniform).unwrap();
/// metrics.add(frames.view(), frames.view()).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FrameMetrics {
    data_range: f64,
    window: SsimWindow,
    size: [usize; 2],
    leads: Vec<Sums>,
}

impl FrameMetrics {
    /// Without any frame.
    ///
    /// `data_range` is the difference between the largest and the smallest value that a pixel can have: 1 for pixels from
    /// 0 to 1.
    ///
    /// # Errors
    /// [`MetricError::DataRange`] if the range is no number above 0.
    pub fn new(data_range: f64, window: SsimWindow) -> Result<Self, MetricError> {
        check_data_range(data_range)?;
        Ok(Self { data_range, window, size: [0; 2], leads: Vec::new() })
    }

    /// Adds the frames of a batch of clips, `[clips, leads, height, width]` both. NaN in a frame makes its figures NaN.
    ///
    /// # Errors
    /// [`MetricError`] if an axis is empty, the two do not fit together, the frames are smaller than the window, or
    /// leads, height and width are not those of the first batch. Nothing is added then.
    pub fn add<T: Element>(
        &mut self,
        prediction: ArrayView4<'_, T>,
        truth: ArrayView4<'_, T>,
    ) -> Result<(), MetricError> {
        let (clips, leads, height, width) = truth.dim();
        let axes = ["truth clips", "truth leads", "truth height", "truth width"];
        let first = [clips, self.leads.len(), self.size[0], self.size[1]];
        for ((axis, &found), expected) in axes.into_iter().zip(truth.shape()).zip(first) {
            check_not_empty(OPERATION, axis, found)?;
            if !self.leads.is_empty() {
                check_axis(OPERATION, axis, expected, found)?;
            }
        }
        let axes = ["prediction clips", "prediction leads", "prediction height", "prediction width"];
        for ((axis, &expected), &found) in axes.into_iter().zip(truth.shape()).zip(prediction.shape()) {
            check_axis(OPERATION, axis, expected, found)?;
        }
        check_window([height, width], self.window)?;

        self.size = [height, width];
        self.leads.resize(leads, Sums::default());
        let sums: Vec<Sums> = (0..clips * leads)
            .into_par_iter()
            .map(|frame| {
                let of = s![frame / leads, frame % leads, .., ..];
                Sums::of(prediction.slice(of), truth.slice(of), self.data_range, self.window)
            })
            .collect();
        for clip in sums.chunks_exact(leads) {
            for (lead, sums) in self.leads.iter_mut().zip(clip) {
                lead.add(sums);
            }
        }
        Ok(())
    }

    /// The figures of each lead time, the nearest first; empty before the first batch.
    pub fn leads(&self) -> Vec<FrameFigures> {
        self.leads.iter().map(|lead| lead.figures(self.size[0] * self.size[1])).collect()
    }

    /// The figures of the frames of all lead times; `None` before the first batch.
    pub fn mean(&self) -> Option<FrameFigures> {
        let mut all = Sums::default();
        self.leads.iter().for_each(|lead| all.add(lead));
        (all.frames > 0).then(|| all.figures(self.size[0] * self.size[1]))
    }
}
