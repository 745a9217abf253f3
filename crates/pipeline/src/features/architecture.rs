//! The layers of EfficientNet-Lite0, their sizes and their names.

use conv2d::{Activation, Conv2dConfig, Conv2dError};
use tensor_ops::Padding;

/// Channels of the input.
pub(super) const IMAGE_CHANNELS: usize = 3;
/// Height and width must be multiples of it: the product of all strides.
pub(super) const REDUCTION: usize = 32;
/// Channels behind the first convolution.
const STEM: usize = 32;
/// Channels of the last maps.
pub(super) const HEAD: usize = 1280;
/// The classes of ImageNet-1k.
pub(super) const CLASSES: usize = 1000;
/// The constant that batch normalisation adds to variances.
pub(super) const EPSILON: f64 = 1e-3;

/// Blocks of the same output.
struct Stage {
    blocks: usize,
    kernel: usize,
    /// Of the first block; the others have 1.
    stride: usize,
    expansion: usize,
    channels: usize,
}

const STAGES: [Stage; 7] = [
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
    Stage { blocks: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
    Stage { blocks: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
    Stage { blocks: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
    Stage { blocks: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
    Stage { blocks: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
];

/// A convolution with batch normalisation.
#[derive(Clone, Debug)]
pub(super) struct ConvolutionPlan {
    /// The prefix of its arrays in a file, and that of its normalisation's.
    pub(super) names: [String; 2],
    pub(super) config: Conv2dConfig,
}

/// An inverted residual block.
#[derive(Clone, Debug)]
pub(super) struct BlockPlan {
    pub(super) expansion: Option<ConvolutionPlan>,
    pub(super) depthwise: ConvolutionPlan,
    pub(super) projection: ConvolutionPlan,
}

/// All convolutions.
#[derive(Clone, Debug)]
pub(super) struct NetworkPlan {
    pub(super) stem: ConvolutionPlan,
    pub(super) blocks: Vec<BlockPlan>,
    pub(super) head: ConvolutionPlan,
}

impl ConvolutionPlan {
    /// A convolution of all channels, or of each by itself where `groups` is their number, with the padding that
    /// TensorFlow calls SAME: at stride 2 a row and a column more at the end, since all sizes are even.
    fn new(names: [String; 2], channels: [usize; 2], kernel: usize, stride: usize, groups: usize) -> Self {
        let total = kernel - stride.min(kernel);
        let [before, after] = [total / 2, total - total / 2];
        let config = Conv2dConfig {
            in_channels: channels[0],
            out_channels: channels[1],
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding { top: before, bottom: after, left: before, right: after },
            groups,
            activation: Activation::Relu6,
            ..Conv2dConfig::default()
        };
        Self { names, config }
    }
}

impl BlockPlan {
    fn new(index: usize, in_channels: usize, stage: &Stage, stride: usize) -> Self {
        let names = |convolution: &str, normalisation: &str| {
            [convolution, normalisation].map(|part| format!("_blocks.{index}.{part}"))
        };
        let &Stage { kernel, expansion, channels, .. } = stage;
        let expanded = in_channels * expansion;
        let mut projection = ConvolutionPlan::new(names("_project_conv", "_bn2"), [expanded, channels], 1, 1, 1);
        projection.config.activation = Activation::None;
        Self {
            expansion: (expansion > 1)
                .then(|| ConvolutionPlan::new(names("_expand_conv", "_bn0"), [in_channels, expanded], 1, 1, 1)),
            depthwise: ConvolutionPlan::new(names("_depthwise_conv", "_bn1"), [expanded; 2], kernel, stride, expanded),
            projection,
        }
    }

    /// The convolutions in the order of the computation.
    pub(super) fn convolutions(&self) -> impl Iterator<Item = &ConvolutionPlan> {
        self.expansion.iter().chain([&self.depthwise, &self.projection])
    }
}

impl NetworkPlan {
    pub(super) fn new() -> Self {
        let named = |convolution: &str, normalisation: &str| [convolution, normalisation].map(str::to_owned);
        let mut channels = STEM;
        let mut blocks = Vec::new();
        for stage in &STAGES {
            for position in 0..stage.blocks {
                let stride = if position == 0 { stage.stride } else { 1 };
                blocks.push(BlockPlan::new(blocks.len(), channels, stage, stride));
                channels = stage.channels;
            }
        }
        Self {
            stem: ConvolutionPlan::new(named("_conv_stem", "_bn0"), [IMAGE_CHANNELS, STEM], 3, 2, 1),
            blocks,
            head: ConvolutionPlan::new(named("_conv_head", "_bn1"), [channels, HEAD], 1, 1, 1),
        }
    }

    /// The convolutions in the order of the computation.
    pub(super) fn convolutions(&self) -> impl Iterator<Item = &ConvolutionPlan> {
        let blocks = self.blocks.iter().flat_map(BlockPlan::convolutions);
        [&self.stem].into_iter().chain(blocks).chain([&self.head])
    }

    /// The learned values: weights, and scale and shift of every normalisation; of the classifier, weights and bias.
    pub(super) fn parameter_count(&self) -> usize {
        let of_convolution = |plan: &ConvolutionPlan| {
            let Conv2dConfig { in_channels, out_channels, kernel, groups, .. } = plan.config;
            out_channels * (in_channels / groups * kernel[0] * kernel[1] + 2)
        };
        self.convolutions().map(of_convolution).sum::<usize>() + CLASSES * (HEAD + 1)
    }

    /// The products of an image of `size` rows and columns, each with its addition, those of the classifier included.
    pub(super) fn multiply_adds(&self, size: [usize; 2]) -> Result<u64, Conv2dError> {
        let mut size = size;
        let mut total = (CLASSES * HEAD) as u64;
        for plan in self.convolutions() {
            total = total.saturating_add(plan.config.operations(1, size)? / 2);
            size = plan.config.output_size(size)?;
        }
        Ok(total)
    }
}
