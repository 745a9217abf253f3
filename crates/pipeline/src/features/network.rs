//! The convolutions of the network, one after another.

use conv2d::{Conv2d, Conv2dError, InvertedResidual, PackedInvertedResidual, PackedLayer};
use ndarray::{Array4, ArrayView3, ArrayView4};
use rayon::prelude::*;
use tensor_ops::with_scratch;

use super::FeatureError;
use super::architecture::{BlockPlan, HEAD, NetworkPlan, REDUCTION};
use super::weights::WeightReader;

/// All convolutions.
#[derive(Clone, Debug)]
pub(super) struct Network {
    stem: Conv2d<f32>,
    blocks: Vec<InvertedResidual<f32>>,
    head: Conv2d<f32>,
    /// Ready for images of the usual size.
    packed: PackedNetwork,
}

/// All convolutions with their weights in the order of the kernels, for images of one size.
#[derive(Clone, Debug)]
struct PackedNetwork {
    size: [usize; 2],
    stem: PackedLayer<f32>,
    blocks: Vec<PackedInvertedResidual<f32>>,
    head: PackedLayer<f32>,
}

impl Network {
    /// Reads the convolutions of `plan`, and lays them out for images of `size`, height and width.
    pub(super) fn read(
        plan: &NetworkPlan,
        size: [usize; 2],
        reader: &mut WeightReader<'_>,
    ) -> Result<Self, FeatureError> {
        let stem = reader.convolution(&plan.stem)?;
        let blocks = plan.blocks.iter().map(|block| read_block(block, reader)).collect::<Result<Vec<_>, _>>()?;
        let head = reader.convolution(&plan.head)?;
        let packed = PackedNetwork::new(&stem, &blocks, &head, size)?;
        Ok(Self { stem, blocks, head, packed })
    }

    /// The last maps of `images` whose sizes fit.
    pub(super) fn maps(&self, images: ArrayView4<'_, f32>) -> Result<Array4<f32>, FeatureError> {
        let (_, _, height, width) = images.dim();
        let size = [height, width];
        if size == self.packed.size {
            return self.packed.maps(images);
        }
        PackedNetwork::new(&self.stem, &self.blocks, &self.head, size)?.maps(images)
    }
}

fn read_block(plan: &BlockPlan, reader: &mut WeightReader<'_>) -> Result<InvertedResidual<f32>, FeatureError> {
    let expansion = plan.expansion.as_ref().map(|plan| reader.convolution(plan)).transpose()?;
    let depthwise = reader.convolution(&plan.depthwise)?;
    let projection = reader.convolution(&plan.projection)?;
    let in_channels = expansion.as_ref().unwrap_or(&depthwise).config.in_channels;
    let adds_input = depthwise.config.stride == [1, 1] && in_channels == projection.config.out_channels;
    Ok(InvertedResidual { expansion, depthwise, projection, adds_input })
}

impl PackedNetwork {
    fn new(
        stem: &Conv2d<f32>,
        blocks: &[InvertedResidual<f32>],
        head: &Conv2d<f32>,
        size: [usize; 2],
    ) -> Result<Self, Conv2dError> {
        let packed_stem = PackedLayer::new(stem, size)?;
        let mut map_size = stem.config.output_size(size)?;
        let mut packed_blocks = Vec::with_capacity(blocks.len());
        for block in blocks {
            packed_blocks.push(block.pack(map_size)?);
            map_size = block.depthwise.config.output_size(map_size)?;
        }
        let packed_head = PackedLayer::new(head, map_size)?;
        Ok(Self { size, stem: packed_stem, blocks: packed_blocks, head: packed_head })
    }

    fn maps(&self, images: ArrayView4<'_, f32>) -> Result<Array4<f32>, FeatureError> {
        let (count, _, height, width) = images.dim();
        let shape = (count, HEAD, height / REDUCTION, width / REDUCTION);
        let mut maps = Array4::zeros(shape);
        let outputs = maps.as_slice_mut().expect("a new array is in standard layout");
        let tasks: Vec<_> = outputs.chunks_exact_mut(self.head.output_len()).zip(images.outer_iter()).collect();
        tasks.into_par_iter().try_for_each(|(output, image)| self.maps_of_image(image, output))?;
        Ok(maps)
    }

    /// The maps of an image, all of whose layers are computed one after another.
    fn maps_of_image(&self, image: ArrayView3<'_, f32>, output: &mut [f32]) -> Result<(), Conv2dError> {
        let image = image.as_standard_layout();
        let image = image.as_slice().expect("an array in standard layout");
        let lengths = self.blocks.iter().map(PackedInvertedResidual::output_len);
        let most = lengths.chain([self.stem.output_len()]).max().unwrap_or(0);
        with_scratch(2 * most, |buffers| {
            let (mut input, mut next) = buffers.split_at_mut(most);
            let mut len = self.stem.output_len();
            self.stem.forward(image, &mut input[..len])?;
            for block in &self.blocks {
                block.forward(&input[..len], &mut next[..block.output_len()])?;
                len = block.output_len();
                (input, next) = (next, input);
            }
            self.head.forward(&input[..len], output)
        })
    }
}
