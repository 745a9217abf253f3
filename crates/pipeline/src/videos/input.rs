//! From the frames of a video to what is stored of them.

use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{Array3, Array4, ArrayView3, Axis};
use serde::{Deserialize, Serialize};
use video_input::{Crop, OnError, OpenOptions, ResizeFilter, Resizer};

use super::VideosError;
use crate::features::EfficientNetLite0;
use crate::recipe::{RecipeError, require};

/// Smaller deviations are noise and are not made larger: half of one of 255 steps from black to white.
const SMALLEST_DEVIATION: f64 = 1.0 / 255.0;

/// What a model sees of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputConfig {
    /// What is kept of every frame. Default: `features`.
    pub kind: InputKind,
    /// At most so many frames per second are looked at; 0 for all. Default: 8 for features, 0 for pixels.
    pub frame_rate: f64,
    /// What becomes of a video with a damaged frame: `stop`, it cannot be read; `skip`, the frame is left out; `keep`, the
    /// video ends before it. Default: `stop`.
    pub on_error: OnError,
    /// The height and the width of the pixels that are kept. Features have a size of their own, 224×224. Default: [64, 64].
    pub size: [usize; 2],
    /// How a frame of another shape becomes one of that size. Default: `stretch`.
    pub crop: Crop,
    /// The colours of the pixels that are kept. Default: `rgb`.
    pub colour: Colour,
    /// How the values of pixels are scaled. Default: `clip`; `fixed` for features, which are as they are.
    pub scale: Scale,
    /// The number of the latest stored frames that a step sees, one beside another, as channels: with more than one it
    /// sees motion. 1 for features. Default: 1.
    pub stacked_frames: usize,
}

/// What is kept of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// Its pixels.
    Pixels,
    /// 1,280 features of an EfficientNet-Lite0 trained on ImageNet, the mean over the places of its last maps.
    Features,
    /// The same for each of the 7×7 places: for models that look at places.
    FeatureMaps,
}

/// The colours of stored pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// Red, green and blue.
    Rgb,
    /// The luminance alone: 0.299 R + 0.587 G + 0.114 B (BT.601).
    Gray,
}

/// How the values of the pixels of a clip are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// From −1 for black to 1 for white.
    Fixed,
    /// To the mean 0 and the variance 1 over all values of the clip: bright and dark recordings look alike.
    Clip,
    /// The mean of the frames of the clip is subtracted, then the variance over the clip becomes 1: only what changes is
    /// seen.
    Change,
}

impl Default for InputConfig {
    fn default() -> Self {
        Self::of_kind(InputKind::Features)
    }
}

impl InputConfig {
    /// The defaults for a kind of input.
    pub fn of_kind(kind: InputKind) -> Self {
        let (frame_rate, scale) = match kind {
            InputKind::Pixels => (0.0, Scale::Clip),
            InputKind::Features | InputKind::FeatureMaps => (8.0, Scale::Fixed),
        };
        let (on_error, size, crop, colour) = (OnError::Stop, [64, 64], Crop::Stretch, Colour::Rgb);
        Self { kind, frame_rate, on_error, size, crop, colour, scale, stacked_frames: 1 }
    }

    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        let Self { frame_rate, size: [height, width], stacked_frames, .. } = *self;
        let allowed = frame_rate.is_finite() && (0.0..=1000.0).contains(&frame_rate);
        require(allowed, "input.frame_rate", "a number from 0 to 1000", frame_rate)?;
        let allowed = |size| (8..=1024).contains(&size);
        let size = format!("{height}×{width}");
        require(allowed(height) && allowed(width), "input.size", "8 to 1024 pixels in height and width", size)?;
        require((1..=64).contains(&stacked_frames), "input.stacked_frames", "1 to 64 frames", stacked_frames)?;
        let alone = self.kind == InputKind::Pixels || stacked_frames == 1;
        require(alone, "input.stacked_frames", "1 for features", stacked_frames)?;
        let fixed = self.kind == InputKind::Pixels || self.scale == Scale::Fixed;
        require(fixed, "input.scale", "`fixed` for features", format!("{:?}", self.scale).to_lowercase())
    }

    /// The channels, the height and the width of a stored frame.
    pub fn stored_shape(&self) -> [usize; 3] {
        match (self.kind, self.colour) {
            (InputKind::Pixels, Colour::Rgb) => [3, self.size[0], self.size[1]],
            (InputKind::Pixels, Colour::Gray) => [1, self.size[0], self.size[1]],
            (InputKind::Features, _) => [EfficientNetLite0::CHANNELS, 1, 1],
            (InputKind::FeatureMaps, _) => {
                [EfficientNetLite0::CHANNELS, EfficientNetLite0::MAP_SIZE, EfficientNetLite0::MAP_SIZE]
            }
        }
    }

    /// The channels, the height and the width of what a model reads at a step.
    pub fn step_shape(&self) -> [usize; 3] {
        let [channels, height, width] = self.stored_shape();
        [channels * self.stacked_frames, height, width]
    }

    /// How a video is opened.
    pub(super) fn open_options(&self) -> OpenOptions {
        OpenOptions { on_error: self.on_error, ..OpenOptions::default() }
    }

    /// What decides the stored frames of a video, and nothing else: frames that are stored under the same text are equal.
    pub(super) fn key(&self) -> String {
        let damage = match self.on_error {
            OnError::Stop => "",
            OnError::Skip => ", without damaged frames",
            OnError::Keep => ", up to a damaged frame",
        };
        match self.kind {
            InputKind::Pixels => format!(
                "pixels {}x{} {:?} {:?} at most {} frames per second{damage}",
                self.size[0], self.size[1], self.crop, self.colour, self.frame_rate
            ),
            InputKind::Features | InputKind::FeatureMaps => format!(
                "efficientnet-lite0 {} {:?} at most {} frames per second{damage}",
                if self.kind == InputKind::Features { "pooled" } else { "maps" },
                self.crop,
                self.frame_rate
            ),
        }
    }
}

impl Scale {
    /// Scales the frames of a clip, `[frames, channels, height, width]`.
    pub(super) fn apply(self, frames: &mut Array4<f32>) {
        // Sums of many values in double precision, in the order of memory: the same on any number of threads.
        let count = frames.len() as f64;
        match self {
            Self::Fixed => return,
            Self::Clip => {
                let mean = (frames.iter().map(|&value| f64::from(value)).sum::<f64>() / count) as f32;
                frames.mapv_inplace(|value| value - mean);
            }
            Self::Change => {
                let Some(mean) = frames.mean_axis(Axis(0)) else { return };
                *frames -= &mean;
            }
        }
        let variance = frames.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count;
        // A clip that does not change at all is 0, and stays so.
        let factor = (1.0 / variance.sqrt().max(SMALLEST_DEVIATION)) as f32;
        frames.mapv_inplace(|value| value * factor);
    }
}

/// Some stored frames, `[frames, channels, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StoredFrames {
    /// From 0 to 255.
    Pixels(Array4<u8>),
    /// Features in half the precision.
    Features(Array4<f16>),
}

/// Makes stored frames of frames.
#[derive(Debug)]
pub(super) struct FrameReader<'a> {
    config: InputConfig,
    resizer: Resizer,
    network: Option<&'a EfficientNetLite0>,
}

impl<'a> FrameReader<'a> {
    /// `network` is that of the features; [`InputKind::Pixels`] needs none.
    pub(super) fn new(config: &InputConfig, network: Option<&'a EfficientNetLite0>) -> Self {
        let size = match config.kind {
            InputKind::Pixels => config.size,
            InputKind::Features | InputKind::FeatureMaps => [EfficientNetLite0::INPUT_SIZE; 2],
        };
        Self { config: config.clone(), resizer: Resizer::new(size, config.crop, ResizeFilter::default()), network }
    }

    /// A frame, `[height, width, 3]`, at the size of the input.
    pub(super) fn resize(&mut self, pixels: ArrayView3<'_, u8>) -> Result<Array3<u8>, VideosError> {
        Ok(self.resizer.resize(pixels)?)
    }

    /// What is stored of frames that [`Self::resize`] made; the same for a frame alone as among others.
    pub(super) fn read(&self, resized: &[Array3<u8>]) -> Result<StoredFrames, VideosError> {
        let Some(network) = self.network else {
            return Ok(StoredFrames::Pixels(planes(resized, self.config.colour)));
        };
        let size = EfficientNetLite0::INPUT_SIZE;
        let mut images = Array4::zeros((resized.len(), 3, size, size));
        for (mut image, pixels) in images.outer_iter_mut().zip(resized) {
            image.assign(&EfficientNetLite0::normalize(pixels.view()));
        }
        let features = match self.config.kind {
            InputKind::FeatureMaps => network.maps(images.view())?,
            _ => network.pooled(images.view())?.insert_axis(Axis(2)).insert_axis(Axis(3)),
        };
        Ok(StoredFrames::Features(half_precision(&features)))
    }
}

/// Frames of one size, `[height, width, 3]`, as `[frames, channels, height, width]`.
fn planes(frames: &[Array3<u8>], colour: Colour) -> Array4<u8> {
    let (height, width) = frames.first().map_or((0, 0), |frame| (frame.dim().0, frame.dim().1));
    let channels = if colour == Colour::Rgb { 3 } else { 1 };
    let mut planes = Array4::zeros((frames.len(), channels, height, width));
    for (mut planes, frame) in planes.outer_iter_mut().zip(frames) {
        match colour {
            Colour::Rgb => planes.assign(&frame.view().permuted_axes([2, 0, 1])),
            Colour::Gray => {
                let luminance = frame.map_axis(Axis(2), |rgb| {
                    let [red, green, blue] = [0, 1, 2].map(|channel| u32::from(rgb[channel]));
                    ((299 * red + 587 * green + 114 * blue + 500) / 1000) as u8
                });
                planes.index_axis_mut(Axis(0), 0).assign(&luminance);
            }
        }
    }
    planes
}

fn half_precision(values: &Array4<f32>) -> Array4<f16> {
    let mut half = Array4::from_elem(values.raw_dim(), f16::ZERO);
    match (half.as_slice_mut(), values.as_slice()) {
        (Some(half), Some(values)) => half.convert_from_f32_slice(values),
        _ => half.zip_mut_with(values, |half, &value| *half = f16::from_f32(value)),
    }
    half
}
