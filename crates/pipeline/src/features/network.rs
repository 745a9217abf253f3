//! The convolutions of the network, one after another.

use conv2d::Conv2d;
use ndarray::{Array4, ArrayView4};

use super::FeatureError;
use super::architecture::{BlockPlan, NetworkPlan};
use super::weights::WeightReader;

/// All convolutions.
#[derive(Clone, Debug)]
pub(super) struct Network {
    stem: Conv2d<f32>,
    blocks: Vec<Block>,
    head: Conv2d<f32>,
}

/// An inverted residual block: to more channels, over neighbouring pixels in each channel, and back to few channels.
#[derive(Clone, Debug)]
struct Block {
    expansion: Option<Conv2d<f32>>,
    depthwise: Conv2d<f32>,
    projection: Conv2d<f32>,
}

impl Network {
    pub(super) fn read(plan: &NetworkPlan, reader: &mut WeightReader<'_>) -> Result<Self, FeatureError> {
        Ok(Self {
            stem: reader.convolution(&plan.stem)?,
            blocks: plan.blocks.iter().map(|block| Block::read(block, reader)).collect::<Result<_, _>>()?,
            head: reader.convolution(&plan.head)?,
        })
    }

    /// The last maps of `images` whose sizes fit.
    pub(super) fn maps(&self, images: ArrayView4<'_, f32>) -> Result<Array4<f32>, FeatureError> {
        let mut maps = self.stem.forward(images)?;
        for block in &self.blocks {
            maps = block.forward(maps)?;
        }
        Ok(self.head.forward(maps.view())?)
    }
}

impl Block {
    fn read(plan: &BlockPlan, reader: &mut WeightReader<'_>) -> Result<Self, FeatureError> {
        Ok(Self {
            expansion: plan.expansion.as_ref().map(|plan| reader.convolution(plan)).transpose()?,
            depthwise: reader.convolution(&plan.depthwise)?,
            projection: reader.convolution(&plan.projection)?,
        })
    }

    fn forward(&self, input: Array4<f32>) -> Result<Array4<f32>, FeatureError> {
        let expanded = self.expansion.as_ref().map(|expansion| expansion.forward(input.view())).transpose()?;
        let filtered = self.depthwise.forward(expanded.as_ref().unwrap_or(&input).view())?;
        let mut output = self.projection.forward(filtered.view())?;
        if self.depthwise.config.stride == [1, 1] && input.dim() == output.dim() {
            output += &input;
        }
        Ok(output)
    }
}
