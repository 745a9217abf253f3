//! The convolution over windows of frames as one over images, whose channels are those of all frames of a window.

use std::borrow::Cow;
use std::ops::Range;

use conv2d::{Conv2dConfig, PackedConv2d, PackedConv2dBackward, convolve_backward_weight};
use ndarray::{Array2, Array4, ArrayView3, ArrayView4, ArrayViewMut2, ArrayViewMut3, Axis, s};
use rayon::prelude::*;
use tensor_ops::{Element, Start, vecmath, with_scratch};

use super::connected::for_each_part;
use crate::PoolingError;
use crate::temporal::{Clips, Windows};

/// The windows of a batch as images of one size: their frames lie one behind the other, so a window is an image of as many
/// times the channels, which the two-dimensional convolution reads in place.
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

    /// All windows of some clips, clip by clip.
    fn images(&self, clips: impl Iterator<Item = usize>) -> Vec<Cow<'_, [T]>> {
        let rows = |clip: usize| self.windows.clips[clip].clone().map(move |row| (clip, row));
        clips.flat_map(rows).map(|(clip, row)| self.image(clip, &self.windows.frames[row])).collect()
    }

    fn view<'v>(&self, image: &'v [T]) -> ArrayView3<'v, T> {
        let [height, width] = self.size;
        ArrayView3::from_shape((self.config.in_channels, height, width), image).expect("an image of the window")
    }

    /// Writes the rectified outputs of the windows to `output`, `[windows, kernels · height · width]`.
    pub(super) fn forward(
        &self,
        weight: ArrayView4<'_, T>,
        bias: &[T],
        output: &mut Array2<T>,
    ) -> Result<(), PoolingError> {
        let [height, width] = self.size;
        let kernels = self.config.out_channels;
        let packed = PackedConv2d::stacked(self.config, weight, self.size, self.windows.frames.len())?;
        let images = self.images(0..self.clips.clips.len());
        let rows = output.as_slice_mut().unwrap_or_default().chunks_exact_mut(kernels * height * width);
        let pairs = images.iter().zip(rows).map(|(image, row)| {
            let output = ArrayViewMut3::from_shape((kernels, height, width), row).expect("a row of the output");
            (self.view(image), output)
        });
        packed.convolve_images(pairs.collect(), Start::Bias(bias))?;
        for_each_part(output.as_slice_mut().unwrap_or_default(), vecmath::relu);
        Ok(())
    }

    /// The gradient of the weight for that of the outputs of some clips, before rectification; zero without clips.
    pub(super) fn backward_weight(
        &self,
        gradient: &Array2<T>,
        clips: impl Iterator<Item = usize> + Clone,
    ) -> Result<Array4<T>, PoolingError> {
        let [height, width] = self.size;
        let shape = (self.config.out_channels, height, width);
        let rows = clips.clone().flat_map(|clip| self.windows.clips[clip].clone());
        let images = self.images(clips);
        let gradients: Vec<_> = rows.map(|row| gradient.row(row)).collect();
        let pairs = images.iter().zip(&gradients).map(|(image, gradient)| {
            let gradient = gradient.into_shape_with_order(shape).expect("a row of the output");
            (self.view(image), gradient)
        });
        Ok(convolve_backward_weight(self.config, self.size, &pairs.collect::<Vec<_>>())?)
    }

    /// Adds the gradients of the frames of some clips to their targets, `[at least the frames, features]`.
    pub(super) fn backward_input(
        &self,
        weight: ArrayView4<'_, T>,
        gradient: &Array2<T>,
        targets: Vec<(usize, ArrayViewMut2<'_, T>)>,
    ) -> Result<(), PoolingError> {
        let [height, width] = self.size;
        let Conv2dConfig { in_channels, out_channels, .. } = *self.config;
        let channels = self.clips.features / (height * width);
        let packed = PackedConv2dBackward::new(self.config, weight, self.size, targets.len())?;
        let mut tasks = Vec::new();
        for (clip, target) in targets {
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
