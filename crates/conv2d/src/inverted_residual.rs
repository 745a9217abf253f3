//! The block of small networks: many channels only between two products with few.

use ndarray::{ArrayView3, ArrayViewMut3, ShapeBuilder};
use tensor_ops::{Depthwise, Element, Isa, Taps, check_axis, with_scratch};

use crate::config::NAME;
use crate::packed_layer::PART_CHANNELS;
use crate::sizes::{Sizes, for_each_task};
use crate::{Conv2d, Conv2dError, PackedLayer};

/// The size of the expanded channels that are filtered at a time: a part of L2.
const PART_BYTES: usize = 192 << 10;

/// The least channels of a part: a tall register tile.
const MIN_PART_CHANNELS: usize = 6;

/// A cache line, of which channels are an odd number apart: else they compete for few lines of L1.
const LINE_BYTES: usize = 64;

/// An inverted residual block (Sandler et al., "Inverted residuals and linear bottlenecks", CVPR 2018): a convolution
/// to more channels, one of each channel by itself, and one to few channels again.
///
/// ```
/// use conv2d::{Activation, Conv2d, Conv2dConfig, InvertedResidual};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::Padding;
///
/// let mut generator = StdRng::seed_from_u64(1);
/// let pointwise = |in_channels, out_channels, activation| Conv2dConfig {
///     in_channels,
///     out_channels,
///     activation,
///     ..Conv2dConfig::default()
/// };
/// let filter = Conv2dConfig {
///     kernel: [3, 3],
///     padding: Padding::symmetric(1, 1),
///     groups: 48,
///     ..pointwise(48, 48, Activation::Relu6)
/// };
/// let block = InvertedResidual {
///     expansion: Some(Conv2d::<f32>::new(pointwise(8, 48, Activation::Relu6), &mut generator)?),
///     depthwise: Conv2d::new(filter, &mut generator)?,
///     projection: Conv2d::new(pointwise(48, 8, Activation::None), &mut generator)?,
///     adds_input: true,
/// };
/// let packed = block.pack([14, 14])?;
/// let mut output = vec![0.0; packed.output_len()];
/// packed.forward(&vec![1.0; 8 * 14 * 14], &mut output)?;
/// # Ok::<(), conv2d::Conv2dError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct InvertedResidual<T> {
    /// A 1×1 convolution to more channels; absent where the block does not expand.
    pub expansion: Option<Conv2d<T>>,
    /// A convolution with as many groups as channels.
    pub depthwise: Conv2d<T>,
    /// A 1×1 convolution.
    pub projection: Conv2d<T>,
    /// Whether the input is added to the output.
    pub adds_input: bool,
}

/// An [`InvertedResidual`] for inference on images of one size, with its weights in the order of the kernels.
///
/// A few expanded channels at a time are computed and filtered while they are in the cache, so that all of them are
/// never in memory at once. The output is that of the three layers one after another; it does not depend on the number
/// of threads, bit for bit.
#[derive(Clone, Debug)]
pub struct PackedInvertedResidual<T> {
    expansion: Option<PackedLayer<T>>,
    filter: Filter<T>,
    projection: PackedLayer<T>,
    adds_input: bool,
    input_len: usize,
}

/// The convolution of channels by themselves.
#[derive(Clone, Debug)]
struct Filter<T> {
    sizes: Sizes,
    plan: Depthwise<T>,
    weights: Vec<T>,
    bias: Option<Vec<T>>,
    bounds: Option<[T; 2]>,
    /// Elements from one filtered channel to the next.
    pitch: usize,
}

impl<T: Element> InvertedResidual<T> {
    /// Lays the weights out for images of `input` height and width.
    ///
    /// # Errors
    /// [`Conv2dError`] if a configuration is invalid or the convolutions do not fit each other.
    pub fn pack(&self, input: [usize; 2]) -> Result<PackedInvertedResidual<T>, Conv2dError> {
        self.pack_on(Isa::selected(), input)
    }

    /// [`Self::pack`] with the kernels of `isa`; portable ones where the CPU lacks it.
    #[doc(hidden)]
    pub fn pack_on(&self, isa: Isa, input: [usize; 2]) -> Result<PackedInvertedResidual<T>, Conv2dError> {
        let channels = self.depthwise.config.in_channels;
        let part_channels = match PART_BYTES / (input[0] * input[1] * size_of::<T>()).max(1) {
            0..12 => MIN_PART_CHANNELS,
            12..PART_CHANNELS => PART_CHANNELS / 2,
            _ => PART_CHANNELS,
        };
        let expansion = self.expansion.as_ref();
        let expansion = expansion.map(|layer| PackedLayer::with_parts(isa, layer, input, part_channels, None));
        let expansion = expansion.transpose()?;
        if let Some(expansion) = &expansion {
            check_axis(NAME, "expanded channels", channels, expansion.output_channels())?;
            check_axis(NAME, "expanded length", channels * input[0] * input[1], expansion.output_len())?;
        }
        let filter = Filter::new(isa, &self.depthwise, input)?;
        check_axis(NAME, "projected channels", channels, self.projection.config.in_channels)?;
        let projection =
            PackedLayer::with_parts(isa, &self.projection, filter.sizes.output, PART_CHANNELS, Some(filter.pitch))?;
        let input_len = expansion.as_ref().map_or(channels * input[0] * input[1], PackedLayer::input_len);
        if self.adds_input {
            check_axis(NAME, "output length", input_len, projection.output_len())?;
        }
        Ok(PackedInvertedResidual { expansion, filter, projection, adds_input: self.adds_input, input_len })
    }
}

impl<T: Element> PackedInvertedResidual<T> {
    /// Elements of an output.
    pub fn output_len(&self) -> usize {
        self.projection.output_len()
    }

    /// The output of the image `input`, both `[channels, height, width]` in standard layout; the values of `output` are
    /// not read.
    ///
    /// # Errors
    /// [`Conv2dError`] if a length does not fit.
    pub fn forward(&self, input: &[T], output: &mut [T]) -> Result<(), Conv2dError> {
        check_axis(NAME, "input length", self.input_len, input.len())?;
        let Filter { sizes, pitch, .. } = &self.filter;
        with_scratch(sizes.out_channels * pitch, |filtered| {
            for_each_task(sizes.is_parallel(), self.parts(filtered), |(index, first, filtered)| {
                let Some(expansion) = &self.expansion else {
                    let plane = sizes.input[0] * sizes.input[1];
                    let source = &input[first * plane..][..filtered.len() / pitch * plane];
                    return self.filter.run(first, source, filtered);
                };
                with_scratch(expansion.part_channels(index) * sizes.input[0] * sizes.input[1], |expanded| {
                    expansion.forward_part(index, input, expanded)?;
                    self.filter.run(first, expanded, filtered)
                })
            })?;
            self.projection.forward(filtered, output)
        })?;
        if self.adds_input {
            for (sum, &value) in output.iter_mut().zip(input) {
                *sum += value;
            }
        }
        Ok(())
    }

    /// What is filtered at a time: index, first channel and place.
    fn parts<'a>(&self, filtered: &'a mut [T]) -> Vec<(usize, usize, &'a mut [T])> {
        let (mut rest, mut first) = (filtered, 0);
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let left = rest.len() / self.filter.pitch;
            let channels = match &self.expansion {
                Some(expansion) => expansion.part_channels(parts.len()),
                None => MIN_PART_CHANNELS.min(left),
            };
            let (part, others) = rest.split_at_mut(channels * self.filter.pitch);
            parts.push((parts.len(), first, part));
            (rest, first) = (others, first + channels);
        }
        parts
    }
}

impl<T: Element> Filter<T> {
    fn new(isa: Isa, layer: &Conv2d<T>, [height, width]: [usize; 2]) -> Result<Self, Conv2dError> {
        let Conv2d { config, weight, bias } = layer;
        let sizes = Sizes::check(config, &weight.view(), [1, config.in_channels, height, width])?;
        sizes.check_bias(config, bias.as_ref().map(|bias| bias.view()).as_ref())?;
        check_axis(NAME, "input channels of a group", 1, sizes.group_in)?;
        check_axis(NAME, "output channels of a group", 1, sizes.group_out)?;
        let line = LINE_BYTES / size_of::<T>();
        Ok(Self {
            plan: Depthwise::new(isa, Taps::of_window(NAME, &sizes.window, sizes.input)?),
            weights: weight.iter().copied().collect(),
            bias: bias.as_ref().map(|bias| bias.to_vec()),
            bounds: config.activation.bounds(),
            pitch: (sizes.positions().div_ceil(line) | 1) * line,
            sizes,
        })
    }

    /// Filters the channels of `source` from `first` on.
    fn run(&self, first: usize, source: &[T], filtered: &mut [T]) -> Result<(), Conv2dError> {
        let Sizes { input, output, .. } = self.sizes;
        let channels = filtered.len() / self.pitch;
        let taps = self.sizes.taps();
        let weights = &self.weights[first * taps..][..channels * taps];
        let bias = self.bias.as_ref().map(|bias| &bias[first..first + channels]);
        let source = ArrayView3::from_shape((channels, input[0], input[1]), source).expect("as many channels");
        let shape = (channels, output[0], output[1]).strides((self.pitch, output[1], 1));
        let target = ArrayViewMut3::from_shape(shape, filtered).expect("as many channels");
        Ok(self.plan.convolve(weights, bias, self.bounds, source, target)?)
    }
}
