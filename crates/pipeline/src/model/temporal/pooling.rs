//! Feature pooling: from the maps of all steps to the scores.

use ndarray::{Array2, Array4, Array5, ArrayView2, ArrayViewD, ArrayViewMutD, Axis, s};
use ndarray_rand::rand::{Rng, RngCore};
use pooling::{Architecture, FeaturePooling, FeaturePoolingConfig, FeaturePoolingTrace, Reducer, TemporalWindow};
use tensor_ops::{Element, Parameters, visit_part, visit_part_mut};

use super::Part;
use crate::model::steps::{Steps, from_map_sequences};
use crate::model::{ModelError, PoolingArchitecture, PoolingPartConfig, PoolingReducer};

/// One of the architectures of Ng et al. (2015).
#[derive(Clone, Debug)]
pub struct PoolingPart<T> {
    /// The layers.
    pub layers: FeaturePooling<T>,
    /// The number of steps that every clip is brought to, if it must be fixed.
    steps: Option<usize>,
}

/// What the backward pass of [`PoolingPart`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct PoolingPartTrace<T: Element> {
    lengths: Vec<usize>,
    layers: FeaturePoolingTrace<'static, T>,
}

impl<T: Element> PoolingPart<T> {
    pub(super) fn new(
        config: &PoolingPartConfig,
        input: [usize; 3],
        classes: usize,
        rng: &mut impl Rng,
    ) -> Result<Self, ModelError> {
        let window = TemporalWindow { frames: config.window, stride: config.stride };
        let units = config.units.as_slice();
        let (architecture, shared, hidden) = match config.architecture {
            PoolingArchitecture::Conv => (Architecture::Conv, &units[..0], units),
            PoolingArchitecture::Late => (Architecture::Late, units, &units[..0]),
            PoolingArchitecture::Slow => {
                let (first, rest) = units.split_at(units.len().min(1));
                (Architecture::Slow { window }, first, rest)
            }
            PoolingArchitecture::Local => {
                (Architecture::Local { window, windows: window.count(config.steps) }, units, &units[..0])
            }
            PoolingArchitecture::TimeDomain => {
                let (kernels, kernel) = (config.kernels, [config.kernel; 2]);
                (Architecture::TimeDomain { window, kernels, kernel }, &units[..0], units)
            }
        };
        let layers = FeaturePoolingConfig {
            architecture,
            input,
            shared: shared.to_vec(),
            hidden: hidden.to_vec(),
            classes,
            reducer: match config.reducer {
                PoolingReducer::Max => Reducer::Max,
                PoolingReducer::Mean => Reducer::Mean,
                PoolingReducer::Sum => Reducer::Sum,
                PoolingReducer::TopK => Reducer::TopKMean(config.top_k),
                PoolingReducer::Softmax => Reducer::SoftmaxWeighted { sharpness: config.sharpness },
            },
            dropout: config.dropout,
        };
        let steps = (config.architecture == PoolingArchitecture::Local).then_some(config.steps);
        Ok(Self { layers: FeaturePooling::new(layers, rng)?, steps })
    }

    /// The sequences that are pooled and their lengths.
    fn sequences(&self, steps: &Steps<'_, T>) -> (Array5<T>, Vec<usize>) {
        let Some(count) = self.steps else { return (steps.sequences(), steps.lengths.to_vec()) };
        let (_, channels, height, width) = steps.maps.dim();
        let mut sequences = Array5::zeros((steps.lengths.len(), count, channels, height, width));
        let mut start = 0;
        for (mut sequence, &length) in sequences.outer_iter_mut().zip(steps.lengths) {
            for (step, mut maps) in sequence.outer_iter_mut().enumerate() {
                maps.assign(&steps.maps.index_axis(Axis(0), start + source(step, count, length)));
            }
            start += length;
        }
        (sequences, vec![count; steps.lengths.len()])
    }
}

/// The step of a clip of `length` steps that becomes number `step` of `count`: that in the middle of its share.
fn source(step: usize, count: usize, length: usize) -> usize {
    (2 * step + 1) * length / (2 * count)
}

impl<T: Element> Part<T> for PoolingPart<T> {
    type Trace = PoolingPartTrace<T>;

    fn output_features(&self) -> usize {
        self.layers.config().classes
    }

    fn forward(&self, steps: Steps<'_, T>) -> Result<Array2<T>, ModelError> {
        let (sequences, lengths) = self.sequences(&steps);
        Ok(self.layers.forward(sequences.view(), Some(&lengths))?)
    }

    fn forward_training(
        &self,
        steps: Steps<'_, T>,
        rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError> {
        let (sequences, lengths) = self.sequences(&steps);
        let (scores, layers) = self.layers.forward_training(sequences.view(), Some(&lengths), rng)?;
        Ok((scores, PoolingPartTrace { lengths: steps.lengths.to_vec(), layers: layers.into_owned() }))
    }

    fn backward(&self, trace: &Self::Trace, grad_scores: ArrayView2<'_, T>) -> Result<(Array4<T>, Self), ModelError> {
        let gradients = self.layers.backward(&trace.layers, grad_scores)?;
        let part = Self { layers: gradients.parameters, steps: self.steps };
        let Some(count) = self.steps else {
            return Ok((from_map_sequences(gradients.input.view(), &trace.lengths), part));
        };
        let (_, _, channels, height, width) = gradients.input.dim();
        let mut grad_maps = Array4::zeros((trace.lengths.iter().sum(), channels, height, width));
        let mut start = 0;
        for (sequence, &length) in gradients.input.outer_iter().zip(&trace.lengths) {
            for (step, gradient) in sequence.outer_iter().enumerate() {
                let mut target = grad_maps.slice_mut(s![start + source(step, count, length), .., .., ..]);
                target += &gradient;
            }
            start += length;
        }
        Ok((grad_maps, part))
    }
}

impl<T: Element> Parameters<T> for PoolingPart<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("pooling", &self.layers, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("pooling", &mut self.layers, visitor);
    }
}
