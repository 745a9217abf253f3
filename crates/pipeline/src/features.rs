//! Features of frames from a network that was trained on photographs: EfficientNet-Lite0 with the weights of
//! ImageNet-1k.
//!
//! The network is that of Tan and Le, "`EfficientNet`: Rethinking model scaling for convolutional neural networks",
//! ICML 2019, in the form that Google made for small devices: `min(max(x, 0), 6)` behind every convolution but the
//! projections, and no squeeze-and-excitation. The weights are under the Apache License 2.0; licence, origin and
//! changes lie beside them in `data/efficientnet-lite0`.
//!
//! ```
//! use ndarray::{Array3, Axis};
//! use pipeline::features::EfficientNetLite0;
//!
//! let network = EfficientNetLite0::bundled()?;
//! let frame = Array3::<u8>::from_elem((224, 224, 3), 127); // red, green and blue of every pixel
//! let images = EfficientNetLite0::normalize(frame.view()).insert_axis(Axis(0));
//! assert_eq!(network.maps(images.view())?.dim(), (1, 1280, 7, 7));
//! assert_eq!(network.pooled(images.view())?.dim(), (1, 1280));
//! assert_eq!(network.scores(images.view())?.dim(), (1, EfficientNetLite0::class_names().len()));
//! # Ok::<(), pipeline::features::FeatureError>(())
//! ```

mod architecture;
mod error;
mod network;
mod weights;

use std::path::Path;

use ndarray::{Array2, Array3, Array4, ArrayView3, ArrayView4, Axis};
use tensor_ops::{Linear, check_axis, check_not_empty};

pub use error::FeatureError;

use architecture::{HEAD, IMAGE_CHANNELS, NetworkPlan, REDUCTION};
use network::Network;
use weights::{WeightReader, read_file};

const OPERATION: &str = "EfficientNetLite0";
const WEIGHTS_FILE: &str = "weights_f16.safetensors";
const WEIGHTS: &[u8] = include_bytes!("../data/efficientnet-lite0/weights_f16.safetensors");
const CLASS_NAMES: &str = include_str!("../data/efficientnet-lite0/class_names.txt");

/// EfficientNet-Lite0 for inference, with batch normalisation folded into the convolutions.
///
/// All results depend on the image alone, bit for bit: neither on the other images of the batch nor on the number of
/// threads. They do depend on the instruction set (see [`tensor_ops::Isa`]).
#[derive(Clone, Debug)]
pub struct EfficientNetLite0 {
    network: Network,
    classifier: Linear<f32>,
}

impl EfficientNetLite0 {
    /// Height and width of the images it was trained on, in pixels.
    pub const INPUT_SIZE: usize = 224;
    /// Channels of its maps, and the length of a pooled vector.
    pub const CHANNELS: usize = HEAD;
    /// Height and width of the maps of an image of [`Self::INPUT_SIZE`].
    pub const MAP_SIZE: usize = Self::INPUT_SIZE / REDUCTION;

    /// The network with the weights inside the program.
    ///
    /// # Errors
    /// [`FeatureError`] if they are damaged.
    pub fn bundled() -> Result<Self, FeatureError> {
        Self::from_bytes(WEIGHTS_FILE.to_owned(), WEIGHTS)
    }

    /// The network with the weights in the safetensors file `path`: arrays of type f16 or f32 under the names of the
    /// PyTorch package `efficientnet_lite_pytorch`.
    ///
    /// # Errors
    /// [`FeatureError`] if the file cannot be read or is truncated, an array is missing, unknown, of another shape or
    /// type, or has a value that is not finite.
    pub fn load(path: &Path) -> Result<Self, FeatureError> {
        Self::from_bytes(path.display().to_string(), &read_file(path)?)
    }

    fn from_bytes(file: String, bytes: &[u8]) -> Result<Self, FeatureError> {
        let mut reader = WeightReader::new(file, bytes)?;
        let network = Network::read(&NetworkPlan::new(), [Self::INPUT_SIZE; 2], &mut reader)?;
        let classifier = reader.classifier()?;
        reader.finish()?;
        Ok(Self { network, classifier })
    }

    /// An image as the network takes it: `(x − 127) / 128` of the red, green and blue `pixels`, `[height, width, 3]`,
    /// in the order `[3, height, width]`.
    pub fn normalize(pixels: ArrayView3<'_, u8>) -> Array3<f32> {
        let channels_first = pixels.permuted_axes([2, 0, 1]);
        Array3::from_shape_fn(channels_first.dim(), |index| (f32::from(channels_first[index]) - 127.0) / 128.0)
    }

    /// The last maps, `[images, 1280, height / 32, width / 32]`, of `images` `[images, 3, height, width]` from
    /// [`Self::normalize`]: 7×7 for images of 224×224. Every value is in [0, 6].
    ///
    /// # Errors
    /// [`FeatureError`] if there are no images, they have not 3 channels, or height or width is no multiple of 32.
    pub fn maps(&self, images: ArrayView4<'_, f32>) -> Result<Array4<f32>, FeatureError> {
        let (count, channels, height, width) = images.dim();
        check_not_empty(OPERATION, "images", count)?;
        check_axis(OPERATION, "image channels", IMAGE_CHANNELS, channels)?;
        for (axis, found) in [("height", height), ("width", width)] {
            if found == 0 || !found.is_multiple_of(REDUCTION) {
                return Err(FeatureError::ImageSize { axis, multiple: REDUCTION, found });
            }
        }
        self.network.maps(images)
    }

    /// The mean of [`Self::maps`] over all positions, `[images, 1280]`.
    ///
    /// # Errors
    /// As [`Self::maps`].
    pub fn pooled(&self, images: ArrayView4<'_, f32>) -> Result<Array2<f32>, FeatureError> {
        Ok(pool(self.maps(images)?))
    }

    /// The scores of the classes before softmax, `[images, 1000]`, in the order of [`Self::class_names`].
    ///
    /// # Errors
    /// As [`Self::maps`].
    pub fn scores(&self, images: ArrayView4<'_, f32>) -> Result<Array2<f32>, FeatureError> {
        Ok(self.classifier.forward(self.pooled(images)?.view())?)
    }

    /// The English names of the 1000 classes of ImageNet-1k. A few classes share a name.
    pub fn class_names() -> Vec<&'static str> {
        CLASS_NAMES.lines().collect()
    }

    /// The number of values that were learned, before folding: 4,652,008.
    pub fn parameter_count() -> usize {
        NetworkPlan::new().parameter_count()
    }

    /// The products that the scores of an image of `size`×`size` pixels need, each with its addition: 385,187,552 for
    /// 224; 0 for a size that [`Self::maps`] refuses.
    pub fn multiply_adds(size: usize) -> u64 {
        if size.is_multiple_of(REDUCTION) { NetworkPlan::new().multiply_adds([size; 2]).unwrap_or(0) } else { 0 }
    }
}

/// The mean over the last two axes.
fn pool(maps: Array4<f32>) -> Array2<f32> {
    let (images, channels, height, width) = maps.dim();
    let positions = height * width;
    let maps = maps.into_shape_with_order((images, channels, positions)).expect("maps are in standard layout");
    maps.map_axis(Axis(2), |values| values.sum() / positions as f32)
}
