//! A layer whose weights are laid out once, for inference on images of one size.

use ndarray::{ArrayView3, ArrayViewMut3, Axis, ShapeBuilder};
use tensor_ops::{Correlation, CorrelationWeights, Element, Isa, Start, Taps, check_axis};

use crate::config::NAME;
use crate::forward::uses_correlation;
use crate::sizes::{Sizes, for_each_task};
use crate::{Conv2d, Conv2dError};

/// Output channels of a part: whole register tiles of every instruction set.
pub(crate) const PART_CHANNELS: usize = 24;

/// A [`Conv2d`] for inference on images of one size, with its weights in the order of the kernels.
///
/// It computes what the layer computes, bias and activation included, bit for bit the same whatever the number of
/// threads; where the layer would go through a column matrix, rounding may differ from the layer's.
///
/// ```
/// use conv2d::{Conv2d, Conv2dConfig, PackedLayer};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let config = Conv2dConfig { in_channels: 4, out_channels: 6, ..Conv2dConfig::default() };
/// let layer = Conv2d::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
/// let packed = PackedLayer::new(&layer, [8, 8])?;
/// let mut output = vec![0.0; 6 * 8 * 8];
/// packed.forward(&[1.0; 4 * 8 * 8], &mut output)?;
/// # Ok::<(), conv2d::Conv2dError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedLayer<T> {
    /// Those of a flat image where the kernel is 1×1.
    sizes: Sizes,
    /// Elements from one channel of the input, and of the output, to the next.
    pitches: [usize; 2],
    kernels: Kernels<T>,
}

#[derive(Clone, Debug)]
enum Kernels<T> {
    Registers {
        plan: Box<Correlation<T>>,
        parts: Vec<Part<T>>,
        bounds: Option<[T; 2]>,
    },
    /// The layer itself, where the register kernels do not serve it.
    Layer(Isa, Box<Conv2d<T>>),
}

/// Neighbouring output channels.
#[derive(Clone, Debug)]
struct Part<T> {
    weights: CorrelationWeights<T>,
    bias: Vec<T>,
}

impl<T: Element> PackedLayer<T> {
    /// Lays the weight of `layer` out for images of `input` height and width.
    ///
    /// # Errors
    /// [`Conv2dError`] if the layer's configuration is invalid or the sizes do not fit.
    pub fn new(layer: &Conv2d<T>, input: [usize; 2]) -> Result<Self, Conv2dError> {
        Self::on(Isa::selected(), layer, input)
    }

    /// [`Self::new`] with the kernels of `isa`; portable ones where the CPU lacks it.
    #[doc(hidden)]
    pub fn on(isa: Isa, layer: &Conv2d<T>, input: [usize; 2]) -> Result<Self, Conv2dError> {
        Self::with_parts(isa, layer, input, PART_CHANNELS, None)
    }

    /// [`Self::on`] with at most `part_channels` channels in a part, for inputs whose channels are `pitch` elements
    /// apart.
    pub(crate) fn with_parts(
        isa: Isa,
        layer: &Conv2d<T>,
        [height, width]: [usize; 2],
        part_channels: usize,
        pitch: Option<usize>,
    ) -> Result<Self, Conv2dError> {
        let Conv2d { config, weight, bias } = layer;
        let sizes = Sizes::check(config, &weight.view(), [1, config.in_channels, height, width])?;
        sizes.check_bias(config, bias.as_ref().map(|bias| bias.view()).as_ref())?;
        let pitches = [pitch.unwrap_or(height * width), sizes.positions()];
        if isa == Isa::Portable || !uses_correlation(isa, &sizes) || sizes.groups > 1 {
            return Ok(Self { sizes, pitches, kernels: Kernels::Layer(isa, Box::new(layer.clone())) });
        }
        let sizes = if sizes.is_pointwise() { sizes.flattened() } else { sizes };
        let taps = Taps::of_window(NAME, &sizes.window, sizes.input)?;
        let kernel = sizes.in_channels * taps.count();
        let tap_offsets: Vec<usize> = (0..taps.count()).collect();
        let strides = [pitches[0] as isize, sizes.input[1] as isize, 1];
        let plan = Correlation::new(isa, taps, sizes.in_channels, sizes.out_channels, 1).with_source_strides(&strides);
        let weight = weight.as_standard_layout();
        let weight = weight.as_slice().unwrap_or_default();
        let parts = weight.chunks(kernel * part_channels.max(1)).enumerate().map(|(index, weight)| {
            let rows = weight.len() / kernel;
            let weights = CorrelationWeights::pack(&plan, rows, weight, kernel, tap_offsets.len(), &tap_offsets)?;
            let bias = bias.iter().flatten().skip(index * part_channels).take(rows).copied().collect();
            Ok(Part { weights, bias })
        });
        let parts = parts.collect::<Result<_, Conv2dError>>()?;
        let bounds = config.activation.bounds();
        Ok(Self { sizes, pitches, kernels: Kernels::Registers { plan: Box::new(plan), parts, bounds } })
    }

    /// Elements of an input, as far as they are read.
    pub fn input_len(&self) -> usize {
        (self.sizes.in_channels - 1) * self.pitches[0] + self.sizes.input[0] * self.sizes.input[1]
    }

    /// Elements of an output.
    pub fn output_len(&self) -> usize {
        self.sizes.out_channels * self.sizes.positions()
    }

    /// Channels of the output.
    pub fn output_channels(&self) -> usize {
        self.sizes.out_channels
    }

    /// The output `[out_channels, output height, output width]` of the image `input` `[in_channels, height, width]`,
    /// both in standard layout; the values of `output` are not read.
    ///
    /// # Errors
    /// [`Conv2dError`] if a length does not fit.
    pub fn forward(&self, input: &[T], output: &mut [T]) -> Result<(), Conv2dError> {
        let image = self.image(input)?;
        check_axis(NAME, "output length", self.output_len(), output.len())?;
        let mut rest = self.output(output, self.sizes.out_channels);
        let Kernels::Registers { plan, parts, .. } = &self.kernels else {
            return self.forward_layer(image, rest);
        };
        let is_banded = plan.band_rows() < self.sizes.output[0];
        let mut tasks = Vec::new();
        for part in parts {
            let (mut channels, others) = rest.split_at(Axis(0), part.weights.rows());
            rest = others;
            if !is_banded {
                tasks.push((part, 0, channels));
                continue;
            }
            for first_row in (0..self.sizes.output[0]).step_by(plan.band_rows()) {
                let rows = plan.band_rows().min(self.sizes.output[0] - first_row);
                let (band, following) = channels.split_at(Axis(1), rows);
                channels = following;
                tasks.push((part, first_row, band));
            }
        }
        if is_banded {
            // Bands read the same rows for all parts.
            tasks.sort_by_key(|&(_, first_row, _)| first_row);
        }
        for_each_task(self.sizes.is_parallel(), tasks, |(part, first_row, band)| {
            self.forward_band(part, image, first_row, band)
        })
    }

    /// The output channels of the part `index`.
    pub(crate) fn part_channels(&self, index: usize) -> usize {
        match &self.kernels {
            Kernels::Registers { parts, .. } => parts[index].weights.rows(),
            Kernels::Layer(..) => self.sizes.out_channels,
        }
    }

    /// The part `index` of the output on the calling thread, to the start of `output`.
    pub(crate) fn forward_part(&self, index: usize, input: &[T], output: &mut [T]) -> Result<(), Conv2dError> {
        let image = self.image(input)?;
        let len = self.part_channels(index) * self.pitches[1];
        let mut rest = self.output(&mut output[..len], self.part_channels(index));
        let Kernels::Registers { plan, parts, .. } = &self.kernels else {
            return self.forward_layer(image, rest);
        };
        for first_row in (0..self.sizes.output[0]).step_by(plan.band_rows()) {
            let rows = plan.band_rows().min(self.sizes.output[0] - first_row);
            let (band, following) = rest.split_at(Axis(1), rows);
            rest = following;
            self.forward_band(&parts[index], image, first_row, band)?;
        }
        Ok(())
    }

    fn image<'a>(&self, input: &'a [T]) -> Result<ArrayView3<'a, T>, Conv2dError> {
        check_axis(NAME, "input length", self.input_len().max(input.len()), input.len())?;
        let [height, width] = self.sizes.input;
        let shape = (self.sizes.in_channels, height, width).strides((self.pitches[0], width, 1));
        Ok(ArrayView3::from_shape(shape, input).expect("the length was checked"))
    }

    fn output<'a>(&self, output: &'a mut [T], channels: usize) -> ArrayViewMut3<'a, T> {
        let [height, width] = self.sizes.output;
        ArrayViewMut3::from_shape((channels, height, width), output).expect("the length was checked")
    }

    fn forward_band(
        &self,
        part: &Part<T>,
        image: ArrayView3<'_, T>,
        first_row: usize,
        band: ArrayViewMut3<'_, T>,
    ) -> Result<(), Conv2dError> {
        let Kernels::Registers { plan, bounds, .. } = &self.kernels else { return Ok(()) };
        let start = if part.bias.is_empty() { Start::Zero } else { Start::Bias(&part.bias) };
        Ok(plan.multiply(&part.weights, image, first_row, start, *bounds, band)?)
    }

    fn forward_layer(&self, image: ArrayView3<'_, T>, output: ArrayViewMut3<'_, T>) -> Result<(), Conv2dError> {
        let Kernels::Layer(isa, layer) = &self.kernels else { return Ok(()) };
        layer.forward_into_on(*isa, image.insert_axis(Axis(0)), output.insert_axis(Axis(0)))
    }
}
