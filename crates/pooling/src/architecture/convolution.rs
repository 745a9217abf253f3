//! The convolution over windows of frames.
//!
//! With the window w of frames w·s … w·s + F − 1 of a clip,
//!
//! `y[w, m, i, j] = max(0, b[m] + Σ_{c, t, k, l} W[m, c, t, k, l] · x[w·s + t, c, i + k − top, j + l − left])`
//!
//! with zeros around the maps, and behind the end of a clip shorter than a window. The frames of a window lie one behind
//! the other, so a window is an image of F times as many channels, which the two-dimensional convolution reads in place.

use std::borrow::Cow;
use std::ops::Range;

use conv2d::{Conv2dConfig, PackedConv2d, PackedConv2dBackward, convolve_backward_weight};
use ndarray::{
    Array1, Array2, Array4, Array5, ArrayView3, ArrayViewD, ArrayViewMut2, ArrayViewMut3, ArrayViewMutD, Axis, s,
};
use rayon::prelude::*;
use tensor_ops::{Element, Parameters, Start, check_axis, vecmath, with_scratch};

use super::config::NAME;
use super::connected::for_each_part;
use crate::PoolingError;
use crate::error::zeros;
use crate::temporal::{Clips, Windows};

/// The kernels of the convolution over time, and their gradient.
///
/// The arrays have the axes of PyTorch's `Conv3d`.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeConvolution<T> {
    /// W: `[kernels, channels, frames, kernel height, kernel width]`.
    pub weight: Array5<T>,
    /// b: `[kernels]`.
    pub bias: Array1<T>,
}

impl<T: Element> TimeConvolution<T> {
    /// Checks that the public arrays have the shape of the configuration.
    pub(super) fn check(&self, shape: [usize; 5]) -> Result<(), PoolingError> {
        let axes = [
            "convolution weight kernels",
            "convolution weight channels",
            "convolution weight frames",
            "convolution weight height",
            "convolution weight width",
        ];
        for ((axis, expected), &found) in axes.into_iter().zip(shape).zip(self.weight.shape()) {
            check_axis(NAME, axis, expected, found)?;
        }
        Ok(check_axis(NAME, "convolution bias", shape[0], self.bias.len())?)
    }

    /// The weight with a window's frames as channels: `[kernels, frames · channels, kernel height, kernel width]`.
    fn folded_weight(&self) -> Array4<T> {
        let (kernels, channels, frames, height, width) = self.weight.dim();
        let weight = self.weight.view().permuted_axes([0, 2, 1, 3, 4]);
        let weight = weight.as_standard_layout().into_owned();
        weight.into_shape_with_order((kernels, frames * channels, height, width)).expect("axes side by side")
    }
}

impl<T: Element> Parameters<T> for TimeConvolution<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visitor("weight", self.weight.view().into_dyn());
        visitor("bias", self.bias.view().into_dyn());
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visitor("weight", self.weight.view_mut().into_dyn());
        visitor("bias", self.bias.view_mut().into_dyn());
    }
}

/// The windows of a batch as images of one size.
pub(super) struct Images<'a, T: Element> {
    pub(super) config: &'a Conv2dConfig,
    /// Height and width of the maps.
    pub(super) size: [usize; 2],
    pub(super) clips: &'a Clips<'a, T>,
    pub(super) windows: &'a Windows,
}

impl<T: Element> Images<'_, T> {
    /// The channels of all frames of a window, in the clip's memory; copied with zeros behind them where frames lack.
    fn image(&self, clip: usize, frames: &Range<usize>) -> Cow<'_, [T]> {
        let features = self.clips.features;
        let values = &self.clips.clips[clip][frames.start * features..frames.end * features];
        let length = self.config.in_channels * self.size[0] * self.size[1];
        if values.len() == length {
            return Cow::Borrowed(values);
        }
        let mut image = values.to_vec();
        image.resize(length, T::zero());
        Cow::Owned(image)
    }

    /// All windows, clip by clip.
    fn images(&self) -> Vec<Cow<'_, [T]>> {
        let clips = self.windows.clips.iter().enumerate();
        clips
            .flat_map(|(clip, rows)| rows.clone().map(move |row| self.image(clip, &self.windows.frames[row])))
            .collect()
    }

    fn view<'v>(&self, image: &'v [T]) -> ArrayView3<'v, T> {
        let [height, width] = self.size;
        ArrayView3::from_shape((self.config.in_channels, height, width), image).expect("an image of the window")
    }

    /// The outputs of the windows: `[windows, kernels · height · width]`.
    pub(super) fn forward(&self, convolution: &TimeConvolution<T>) -> Result<Array2<T>, PoolingError> {
        let [height, width] = self.size;
        let kernels = self.config.out_channels;
        let rows = self.windows.frames.len();
        let mut output: Array2<T> = zeros(NAME, "output of the convolution", [rows, kernels * height * width])?;
        let packed = PackedConv2d::new(self.config, convolution.folded_weight().view(), self.size, rows)?;
        let bias = convolution.bias.as_standard_layout();
        let start = Start::Bias(bias.as_slice().unwrap_or_default());
        let images = self.images();
        let mut tasks = Vec::new();
        for (image, row) in
            images.iter().zip(output.as_slice_mut().unwrap_or_default().chunks_exact_mut(kernels * height * width))
        {
            let mut rest = ArrayViewMut3::from_shape((kernels, height, width), row).expect("a row of the output");
            for first in (0..height).step_by(packed.band_rows()) {
                let band;
                (band, rest) = rest.split_at(Axis(1), packed.band_rows().min(height - first));
                tasks.push((image, first, band));
            }
        }
        tasks
            .into_par_iter()
            .try_for_each(|(image, first, band)| packed.convolve_band(self.view(image), first, start, band))?;
        for_each_part(output.as_slice_mut().unwrap_or_default(), vecmath::relu);
        Ok(output)
    }

    /// The gradient of the kernels for that of the outputs before rectification: `[windows, kernels · height · width]`.
    pub(super) fn backward_parameters(&self, gradient: &Array2<T>) -> Result<TimeConvolution<T>, PoolingError> {
        let [height, width] = self.size;
        let Conv2dConfig { in_channels, out_channels, kernel, .. } = *self.config;
        let images = self.images();
        let gradients = gradient.as_slice().unwrap_or_default().chunks_exact(out_channels * height * width);
        let map =
            |gradient| ArrayView3::from_shape((out_channels, height, width), gradient).expect("a row of the output");
        let pairs: Vec<_> = images.iter().map(|image| self.view(image)).zip(gradients.map(map)).collect();
        let weight = convolve_backward_weight(self.config, self.size, &pairs)?;
        let channels = self.clips.features / (height * width);
        let weight = weight
            .into_shape_with_order((out_channels, in_channels / channels, channels, kernel[0], kernel[1]))
            .expect("frames are channels side by side");
        let weight = weight.permuted_axes([0, 2, 1, 3, 4]).as_standard_layout().into_owned();
        let bias: Vec<T> = (0..out_channels)
            .into_par_iter()
            .map(|kernel| pairs.iter().map(|(_, gradient)| gradient.index_axis(Axis(0), kernel).sum()).sum())
            .collect();
        Ok(TimeConvolution { weight, bias: Array1::from_vec(bias) })
    }

    /// Adds the gradients of the frames to `targets`, one matrix `[at least the frames, features]` per clip.
    pub(super) fn backward_input(
        &self,
        convolution: &TimeConvolution<T>,
        gradient: &Array2<T>,
        targets: Vec<ArrayViewMut2<'_, T>>,
    ) -> Result<(), PoolingError> {
        let [height, width] = self.size;
        let Conv2dConfig { in_channels, out_channels, .. } = *self.config;
        let channels = self.clips.features / (height * width);
        let weight = convolution.folded_weight();
        let packed = PackedConv2dBackward::new(self.config, weight.view(), self.size, targets.len())?;
        let mut tasks = Vec::new();
        for (clip, target) in targets.into_iter().enumerate() {
            let frames = target.nrows();
            let target = target.into_shape_with_order((frames * channels, height, width));
            let mut rest = target.expect("frames are channels side by side");
            for first in (0..height).step_by(packed.band_rows()) {
                let band;
                (band, rest) = rest.split_at(Axis(1), packed.band_rows().min(height - first));
                tasks.push((clip, first, band));
            }
        }
        tasks.into_par_iter().try_for_each(|(clip, first, mut band): (usize, usize, ArrayViewMut3<'_, T>)| {
            for row in self.windows.clips[clip].clone() {
                let frames = &self.windows.frames[row];
                let gradient = gradient.slice(s![row, ..]);
                let gradient =
                    gradient.into_shape_with_order((out_channels, height, width)).expect("a row of the output");
                let target = band.slice_mut(s![frames.start * channels..frames.end * channels, .., ..]);
                if frames.len() * channels == in_channels {
                    packed.backward_band(gradient, first, true, target)?;
                } else {
                    add_short(&packed, in_channels, gradient, first, target)?;
                }
            }
            Ok(())
        })
    }
}

/// Adds the gradient of a window that has fewer frames than the convolution, whose others are zeros.
fn add_short<T: Element>(
    packed: &PackedConv2dBackward<T>,
    in_channels: usize,
    gradient: ArrayView3<'_, T>,
    first: usize,
    mut target: ArrayViewMut3<'_, T>,
) -> Result<(), PoolingError> {
    let (channels, rows, width) = target.dim();
    with_scratch(in_channels * rows * width, |scratch| {
        let mut whole = ArrayViewMut3::from_shape((in_channels, rows, width), scratch).expect("as long as the band");
        packed.backward_band(gradient, first, false, whole.view_mut())?;
        target += &whole.slice(s![..channels, .., ..]);
        Ok(())
    })
}
