//! Frames of one size for a model.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions};
use ndarray::{Array3, ArrayView3};
use serde::{Deserialize, Serialize};

use crate::VideoError;

/// What becomes of a frame whose sides have another ratio than those asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Crop {
    /// Height and width are scaled on their own.
    #[default]
    Stretch,
    /// The frame is scaled until it covers the size divided by `ratio`, and the middle is cut out of it. With a ratio of
    /// 0.875 and a size of 224, the short side of the frame becomes 256.
    Centre {
        /// The part of the scaled frame that remains, above 0 and at most 1.
        ratio: f64,
    },
    /// The whole frame is scaled to fit, with black bars beside it.
    Letterbox,
}

/// How pixels are made of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// The nearest pixel.
    Nearest,
    /// The mean of the pixels that are covered.
    Box,
    /// Linear interpolation; a shrunk frame averages all pixels by a triangle.
    #[default]
    Bilinear,
    /// Cubic interpolation, which keeps edges sharper.
    CatmullRom,
    /// A windowed sine of three lobes, the sharpest and slowest.
    Lanczos3,
}

impl ResizeFilter {
    fn algorithm(self) -> ResizeAlg {
        ResizeAlg::Convolution(match self {
            Self::Nearest => return ResizeAlg::Nearest,
            Self::Box => FilterType::Box,
            Self::Bilinear => FilterType::Bilinear,
            Self::CatmullRom => FilterType::CatmullRom,
            Self::Lanczos3 => FilterType::Lanczos3,
        })
    }
}

/// Brings frames to one size. Its buffers are used again by the next frame.
///
/// ```
/// use ndarray::Array3;
/// use video_input::{Crop, ResizeFilter, Resizer};
///
/// let mut resizer = Resizer::new([64, 96], Crop::Centre { ratio: 1.0 }, ResizeFilter::Bilinear);
/// let frame = Array3::from_elem((720, 1280, 3), 80);
/// let resized = resizer.resize(frame.view())?;
/// assert_eq!(resized, Array3::from_elem((64, 96, 3), 80));
/// # Ok::<(), video_input::VideoError>(())
/// ```
#[derive(Debug)]
pub struct Resizer {
    size: [usize; 2],
    crop: Crop,
    options: ResizeOptions,
    resizer: fast_image_resize::Resizer,
    copied: Vec<u8>,
}

impl Resizer {
    /// Brings frames to `size`: height and width.
    pub fn new(size: [usize; 2], crop: Crop, filter: ResizeFilter) -> Self {
        let options = ResizeOptions::new().resize_alg(filter.algorithm()).use_alpha(false);
        Self { size, crop, options, resizer: fast_image_resize::Resizer::new(), copied: Vec::new() }
    }

    /// The height and the width of the frames that come out.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The frame `pixels`, `[height, width, 3]`, in the size asked for: `[height, width, 3]`.
    ///
    /// # Errors
    /// [`VideoError::Option`] if a side is 0 or beyond 2¹⁵, there are not three colours, or the ratio of the crop is not
    /// above 0 and at most 1.
    pub fn resize(&mut self, pixels: ArrayView3<'_, u8>) -> Result<Array3<u8>, VideoError> {
        let (height, width, channels) = pixels.dim();
        let [source_height, source_width] = check_sides("frame", [height, width])?;
        let [target_height, target_width] = check_sides("size", self.size)?;
        if channels != 3 {
            return Err(option("frame", "three colours", channels.to_string()));
        }
        let source = [f64::from(source_height), f64::from(source_width)];
        let target = [f64::from(target_height), f64::from(target_width)];
        // The part of the frame that is used, and the part of the result that it fills: height and width.
        let (used, inner) = match self.crop {
            Crop::Stretch => (source, [target_height, target_width]),
            Crop::Centre { ratio } => {
                if !(ratio > 0.0 && ratio <= 1.0) {
                    return Err(option("crop.ratio", "a number above 0 and at most 1", ratio.to_string()));
                }
                let scale = (source[0] / target[0]).min(source[1] / target[1]) * ratio;
                ([scale * target[0], scale * target[1]], [target_height, target_width])
            }
            Crop::Letterbox => {
                let scale = (target[0] / source[0]).min(target[1] / source[1]);
                let side = |axis: usize, limit: u32| ((source[axis] * scale).round() as u32).clamp(1, limit);
                (source, [side(0, target_height), side(1, target_width)])
            }
        };
        let used = [used[0].min(source[0]), used[1].min(source[1])];
        let options = self.options.crop((source[1] - used[1]) / 2.0, (source[0] - used[0]) / 2.0, used[1], used[0]);
        let bytes = match pixels.as_slice() {
            Some(bytes) => bytes,
            None => {
                self.copied.clear();
                self.copied.extend(pixels.iter());
                &self.copied
            }
        };
        let failed = |error: &dyn std::fmt::Display| option("frame", "pixels that can be resized", error.to_string());
        let from =
            ImageRef::new(source_width, source_height, bytes, PixelType::U8x3).map_err(|error| failed(&error))?;
        let mut to = Image::new(inner[1], inner[0], PixelType::U8x3);
        self.resizer.resize(&from, &mut to, Some(&options)).map_err(|error| failed(&error))?;
        let [inner_height, inner_width] = inner.map(|side| side as usize);
        let resized = Array3::from_shape_vec((inner_height, inner_width, 3), to.into_vec());
        let resized = resized.expect("the picture has been made in this size");
        if [inner_height, inner_width] == self.size {
            return Ok(resized);
        }
        let mut boxed = Array3::zeros((self.size[0], self.size[1], 3));
        let [top, left] = [(self.size[0] - inner_height) / 2, (self.size[1] - inner_width) / 2];
        boxed.slice_mut(ndarray::s![top..top + inner_height, left..left + inner_width, ..]).assign(&resized);
        Ok(boxed)
    }
}

fn option(option: &'static str, expected: &'static str, found: String) -> VideoError {
    VideoError::Option { option, expected, found }
}

/// Sides whose product stays far from the limits of the arithmetic of pixels.
fn check_sides(name: &'static str, sides: [usize; 2]) -> Result<[u32; 2], VideoError> {
    if sides.iter().any(|side| !(1..=1 << 15).contains(side)) {
        return Err(option(name, "sides of 1 to 32768 pixels", format!("{}x{}", sides[0], sides[1])));
    }
    Ok(sides.map(|side| side as u32))
}
