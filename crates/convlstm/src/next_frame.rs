//! One frame ahead at every step, with roll-out.
//!
//! A stack of layers reads a frame X at every step t and says the frame Y of step t + 1, through one 1×1 convolution of the hidden
//! maps H of its L layers. Where no frame is known, it reads f(Y) of the step before, what it has said itself:
//!
//! ```text
//! Y_t = W∗[H¹_t, …, Hᴸ_t] + b        X_t = the frame, or f(Y_{t−1})
//! ```
//!
//! In training some of the known frames are replaced so too ([`crate::ScheduledSampling`]; Wang et al., "`PredRNN`: recurrent
//! neural networks for predictive learning using spatiotemporal LSTMs", 2017, train so), and gradients flow through them.

use conv2d::{Conv2d, Conv2dConfig};
use ndarray::{Array2, Array3, Array4, Array5, ArrayView2, ArrayView3, ArrayView5, ArrayViewD, ArrayViewMut3};
use ndarray::{ArrayViewMutD, Axis, s};
use ndarray_rand::rand::Rng;
use rayon::prelude::*;
use tensor_ops::{Element, Parameters, check_axis, check_not_empty, vecmath, visit_part, visit_part_mut};

use crate::config::check_one_size;
use crate::forward::{LayerTrace, Shape};
use crate::packed::PackedStack;
use crate::sequence::{Order, Record, Sequence, Slots};
use crate::weights::zeros;
use crate::{
    Cell, ConvLstmError, ConvRecurrent, Initialisation, LayerConfig, RecurrentConfig, RecurrentTrace, TraceMemory,
    patchify, unpatchify,
};

mod backward;

pub(crate) const NAME: &str = "NextFrame";

/// The hidden maps from which a frame is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputMaps {
    /// Those of all layers, side by side.
    #[default]
    AllLayers,
    /// Those of the last layer.
    LastLayer,
}

/// The function f between what is said and what is read in place of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feedback {
    /// None: for losses on the values themselves.
    #[default]
    Linear,
    /// The logistic function: for frames in 0..1 and losses on logits.
    Sigmoid,
}

/// The configuration of a [`NextFrame`].
#[derive(Clone, Debug, PartialEq)]
pub struct NextFrameConfig<C> {
    /// Channels of a frame.
    pub channels: usize,
    /// The side of the patches that frames are cut into; 1 for none. Frames whose size is no multiple are filled up with zeros
    /// and cut off again; what is said of the filled-up part is not fed back.
    pub patch: usize,
    /// The layers. The maps of all layers must have one size: strides are 1.
    pub layers: Vec<LayerConfig<C>>,
    /// The hidden maps from which a frame is said.
    pub output_maps: OutputMaps,
    /// What is read in place of a frame.
    pub feedback: Feedback,
    /// How the parameters are drawn.
    pub initialisation: Initialisation,
}

impl<C> Default for NextFrameConfig<C> {
    /// Frames of one channel without patches, said from the maps of all layers and fed back as they are; layers must be added.
    fn default() -> Self {
        Self {
            channels: 1,
            patch: 1,
            layers: Vec::new(),
            output_maps: OutputMaps::default(),
            feedback: Feedback::default(),
            initialisation: Initialisation::default(),
        }
    }
}

impl<C: Cell> NextFrameConfig<C> {
    fn patched_channels(&self) -> usize {
        self.channels.saturating_mul(self.patch).saturating_mul(self.patch)
    }

    fn recurrent(&self) -> RecurrentConfig<C> {
        RecurrentConfig {
            input_channels: self.patched_channels(),
            layers: self.layers.clone(),
            initialisation: self.initialisation,
            ..RecurrentConfig::default()
        }
    }

    /// The first of the layers whose maps say a frame.
    fn first_output_layer(&self) -> usize {
        match self.output_maps {
            OutputMaps::AllLayers => 0,
            OutputMaps::LastLayer => self.layers.len().saturating_sub(1),
        }
    }

    fn output(&self) -> Conv2dConfig {
        let read = self.layers.iter().skip(self.first_output_layer());
        let in_channels = read.fold(0, |sum: usize, layer| sum.saturating_add(layer.hidden_channels));
        Conv2dConfig { in_channels, out_channels: self.patched_channels(), ..Conv2dConfig::default() }
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`ConvLstmError`] as [`RecurrentConfig::validate`], for a patch of 0 pixels, and for strides.
    pub fn validate(&self) -> Result<(), ConvLstmError> {
        check_not_empty(NAME, "channels", self.channels)?;
        check_not_empty(NAME, "patch", self.patch)?;
        self.recurrent().validate()?;
        self.output().validate()?;
        check_one_size("input_stride of a next-frame model", &self.layers)
    }
}

/// A model that says the next frame at every step: its configuration and its parameters, or the gradient of these.
///
/// What it says are values before any function of the output, as losses on logits need them.
///
/// ```
/// use convlstm::{LayerConfig, LstmCell, NextFrame, NextFrameConfig, ScheduledSampling};
/// use ndarray::{Array5, s};
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
///
/// let generator = &mut StdRng::seed_from_u64(1);
/// let config = NextFrameConfig::<LstmCell> { layers: vec![LayerConfig::new(8, 3)], patch: 2, ..Default::default() };
/// let model = NextFrame::<f32, _>::new(config, generator)?;
/// let clips = Array5::ones((2, 6, 1, 8, 8)); // [batch, time, channels, height, width]
///
/// let truth = ScheduledSampling::default().mask(10_000, [2, 5], 3, generator)?;
/// let (said, trace) = model.forward_training(clips.slice(s![.., ..5, .., .., ..]), truth.view())?;
/// let error = said - clips.slice(s![.., 1.., .., .., ..]);
/// let (_, gradient) = model.backward(&trace, error.view())?;
/// assert_eq!(gradient.layers.directions[0].weight_ih.as_ref().unwrap().dim(), (4 * 8, 4, 3, 3));
///
/// let said = model.forward(clips.view(), 3)?; // frames 1 to 5, which are known, and 6 to 8
/// assert_eq!(said.dim(), (2, 8, 1, 8, 8));
/// # Ok::<(), convlstm::ConvLstmError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NextFrame<T, C> {
    config: NextFrameConfig<C>,
    /// The layers.
    pub layers: ConvRecurrent<T, C>,
    /// The convolution of their maps to frames, with a bias.
    pub output: Conv2d<T>,
}

/// What [`NextFrame::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct NextFrameTrace<T> {
    size: [usize; 2],
    truth: Array2<bool>,
    recurrent: RecurrentTrace<T>,
}

/// What a pass leaves: the patches said and read, `[batch, steps, channels, height, width]`, and the maps of the layers.
struct Pass<T> {
    said: Array5<T>,
    read: Array5<T>,
    layers: Vec<LayerTrace<T>>,
}

impl<T: Element, C: Cell> NextFrame<T, C> {
    /// A model with random parameters; the same generator state gives the same parameters.
    ///
    /// # Errors
    /// As [`NextFrameConfig::validate`].
    pub fn new(config: NextFrameConfig<C>, rng: &mut (impl Rng + ?Sized)) -> Result<Self, ConvLstmError> {
        config.validate()?;
        let layers = ConvRecurrent::new(config.recurrent(), rng)?;
        let output = Conv2d::new(config.output(), rng)?;
        Ok(Self { config, layers, output })
    }

    /// The configuration.
    pub fn config(&self) -> &NextFrameConfig<C> {
        &self.config
    }

    /// Reads `frames`, then what it says itself, until it has said the `horizon` frames that follow.
    ///
    /// - `frames`: `[batch, time, channels, height, width]`, any strides
    ///
    /// Returns what it says at every step, `[batch, time + horizon − 1, channels, height, width]`: the frame at t + 1 at step t.
    /// The last `horizon` entries are the forecast. The hidden maps of all steps are in memory at a time.
    ///
    /// # Errors
    /// [`ConvLstmError`] for an empty axis, no steps to forecast or other channels than the configuration's.
    pub fn forward(&self, frames: ArrayView5<'_, T>, horizon: usize) -> Result<Array5<T>, ConvLstmError> {
        check_not_empty(NAME, "horizon", horizon)?;
        let (batch, time, _, height, width) = frames.dim();
        let steps = time.saturating_add(horizon - 1);
        let too_many = || ConvLstmError::Memory { part: "frames", shape: vec![batch, steps] };
        steps.checked_mul(batch).filter(|&count| count <= isize::MAX as usize).ok_or_else(too_many)?;
        let known = |sequence: usize, step: usize| sequence < batch && step < time;
        let Pass { said, .. } = self.run(frames, steps, &known, |_| Slots::INFERENCE)?;
        unpatchify(said.view(), self.config.patch, [height, width])
    }

    /// Reads at every step the frame where `truth` says so and else what it has said at the step before; with what
    /// [`Self::backward`] needs.
    ///
    /// - `frames`: `[batch, time, channels, height, width]`, any strides; frames that are not read may hold any values
    /// - `truth`: `[batch, time]`; at the first step, before which nothing was said, the frame is read whatever it says
    ///
    /// Returns what it says at every step, `[batch, time, channels, height, width]`: to be compared with the frames one step
    /// later. For a clip of n frames, `frames` are its first n − 1.
    ///
    /// # Errors
    /// As [`Self::forward`], and for another shape of `truth`.
    pub fn forward_training(
        &self,
        frames: ArrayView5<'_, T>,
        truth: ArrayView2<'_, bool>,
    ) -> Result<(Array5<T>, NextFrameTrace<T>), ConvLstmError> {
        let (batch, time, _, height, width) = frames.dim();
        check_axis(NAME, "truth batch", batch, truth.nrows())?;
        check_axis(NAME, "truth time", time, truth.ncols())?;
        let known = |sequence: usize, step: usize| step == 0 || truth[[sequence, step]];
        let slots = |steps| Slots::training(TraceMemory::Full, steps);
        let Pass { said, read, layers } = self.run(frames, time, &known, slots)?;
        let (_, _, _, rows, columns) = read.dim();
        let shape = Shape { batch, time, size: [rows, columns] };
        let recurrent = RecurrentTrace { input: Some(read), initial: None, shape, lengths: vec![time; batch], layers };
        let truth = Array2::from_shape_fn(truth.raw_dim(), |(sequence, step)| known(sequence, step));
        let frames = unpatchify(said.view(), self.config.patch, [height, width])?;
        Ok((frames, NextFrameTrace { size: [height, width], truth, recurrent }))
    }

    /// Runs `steps` steps, which read the frames that are `known` to the sequence at the step.
    fn run(
        &self,
        frames: ArrayView5<'_, T>,
        steps: usize,
        known: &dyn Fn(usize, usize) -> bool,
        slots: impl Fn(usize) -> Slots,
    ) -> Result<Pass<T>, ConvLstmError> {
        let (batch, _, channels, height, width) = frames.dim();
        check_axis(NAME, "frames channels", self.config.channels, channels)?;
        let patches = patchify(frames, self.config.patch)?;
        let (_, _, channels, rows, columns) = patches.dim();
        let inside = self.inside([height, width])?;
        let packed = PackedStack::new(&self.layers, [rows, columns], batch)?;
        let shape = [batch, steps, channels, rows, columns];
        let (mut said, mut read): (Array5<T>, Array5<T>) = (zeros("frames", shape)?, zeros("input", shape)?);
        let (mut layers, mut nothing) = (Vec::new(), Vec::new());
        for (layer, direction) in self.config.layers.iter().zip(&packed.directions) {
            let output = zeros("output", [batch, steps, layer.hidden_channels, rows, columns])?;
            let records = vec![Record::new::<C>(&layer.cell, direction, batch, slots(steps))?];
            layers.push(LayerTrace { output, records });
            nothing.push(Array3::zeros((layer.hidden_channels, rows, columns)));
        }
        let orders = vec![Order { length: steps, reverse: false }; batch];
        let mut sequences: Vec<Vec<Sequence<'_, T, C>>> = (0..batch).map(|_| Vec::new()).collect();
        for (index, (trace, nothing)) in layers.iter_mut().zip(&nothing).enumerate() {
            let (cell, direction) = (&self.config.layers[index].cell, &packed.directions[index]);
            let (hidden, record) = (trace.output.view_mut(), &mut trace.records[0]);
            let of_batch = Sequence::of_batch(cell, direction, &orders, None, index, nothing, hidden, record);
            sequences.iter_mut().zip(of_batch).for_each(|(layers, layer)| layers.push(layer));
        }
        let mut maps: Array4<T> =
            zeros("maps of all layers", [batch, self.config.output().in_channels, rows, columns])?;
        for step in 0..steps {
            for sequence in 0..batch {
                let mut input = read.slice_mut(s![sequence, step, .., .., ..]);
                if known(sequence, step) {
                    input.assign(&patches.slice(s![sequence, step, .., .., ..]));
                } else {
                    self.feed_back(said.slice(s![sequence, step - 1, .., .., ..]), &inside, input);
                }
            }
            let runs: Vec<_> = sequences.iter_mut().zip(read.outer_iter()).zip(maps.outer_iter_mut()).collect();
            runs.into_par_iter().try_for_each(|((layers, input), maps)| {
                self.advance(layers, step, input.index_axis(Axis(0), step), maps)
            })?;
            said.index_axis_mut(Axis(1), step).assign(&self.output.forward(maps.view())?);
        }
        drop(sequences);
        Ok(Pass { said, read, layers })
    }

    /// A step of all layers of one sequence; the maps that say a frame are copied to `maps`.
    fn advance(
        &self,
        layers: &mut [Sequence<'_, T, C>],
        step: usize,
        input: ArrayView3<'_, T>,
        mut maps: ArrayViewMut3<'_, T>,
    ) -> Result<(), ConvLstmError> {
        let mut first = 0;
        for layer in 0..layers.len() {
            let (below, rest) = layers.split_at_mut(layer);
            let input = below.last().map_or(input, |below| below.hidden.index_axis(Axis(0), step));
            rest[0].advance(step, Some(input))?;
            if layer >= self.config.first_output_layer() {
                let hidden = rest[0].hidden.index_axis(Axis(0), step);
                let channels = hidden.dim().0;
                maps.slice_mut(s![first..first + channels, .., ..]).assign(&hidden);
                first += channels;
            }
        }
        Ok(())
    }

    /// Writes f of the patches `said` to `input`, and zeros to what fills up the last patches.
    fn feed_back(&self, said: ArrayView3<'_, T>, inside: &Array3<bool>, mut input: ArrayViewMut3<'_, T>) {
        input.assign(&said);
        if let (Feedback::Sigmoid, Some(values)) = (self.config.feedback, input.as_slice_mut()) {
            vecmath::sigmoid(values);
        }
        input.zip_mut_with(inside, |value, &inside| {
            if !inside {
                *value = T::zero();
            }
        });
    }

    /// Which pixels of the patches `[channels, height, width]` belong to a frame of height and width `size`.
    fn inside(&self, [height, width]: [usize; 2]) -> Result<Array3<bool>, ConvLstmError> {
        let mut ones: Array5<T> = zeros("frames", [1, 1, self.config.channels, height, width])?;
        ones.fill(T::one());
        let patches = patchify(ones.view(), self.config.patch)?;
        Ok(patches.slice(s![0, 0, .., .., ..]).mapv(|value| value > T::zero()))
    }
}

impl<T: Element, C: Cell> Parameters<T> for NextFrame<T, C> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("layers", &self.layers, visitor);
        visit_part("output", &self.output, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("layers", &mut self.layers, visitor);
        visit_part_mut("output", &mut self.output, visitor);
    }
}
