//! From the maps of a step to a vector of features.

use ndarray::{
    Array, Array2, Array3, Array4, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD, CowArray, Dimension,
    IntoDimension, Ix2, Ix4, Zip,
};
use ndarray_rand::rand::{Rng, RngCore};
use tensor_ops::{
    Element, Linear, LinearConfig, LinearTrace, Parameters, TensorError, check_axis, visit_part, visit_part_mut,
};

use super::Part;
use crate::model::steps::{Steps, from_sequences, to_sequences};
use crate::model::{AttentionWeights, ModelError};

const OPERATION: &str = "Projection";

/// What makes one vector of a sequence of vectors.
pub trait SequencePart<T: Element>: Parameters<T> + Sized {
    /// What the backward pass needs of the forward pass.
    type Trace: Clone + std::fmt::Debug;

    /// The name that parameters carry.
    const NAME: &'static str;

    /// The size of the vector.
    fn output_features(&self) -> usize;

    /// The vectors `[clips, output features]` of sequences `[clips, time, features]`; what stands beyond the length of a
    /// clip has no influence.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes or lengths do not fit.
    fn forward(&self, sequences: ArrayView3<'_, T>, lengths: &[usize]) -> Result<Array2<T>, ModelError>;

    /// As [`Self::forward`], with dropout and with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    fn forward_training(
        &self,
        sequences: ArrayView3<'_, T>,
        lengths: &[usize],
        rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError>;

    /// The gradients of the sequences and of the parameters.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit the trace.
    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array3<T>, Self), ModelError>;

    /// Where the part looks.
    ///
    /// # Errors
    /// As [`Self::forward`].
    fn attention(
        &self,
        _sequences: ArrayView3<'_, T>,
        _lengths: &[usize],
    ) -> Result<Option<AttentionWeights<T>>, ModelError> {
        Ok(None)
    }
}

/// A fully connected layer and `max(x, 0)` for every step, then a part that works on vectors.
#[derive(Clone, Debug)]
pub struct Projected<T, S> {
    /// The fully connected layer.
    pub projection: Linear<T>,
    /// What makes one vector of the sequence.
    pub sequence: S,
}

/// What the backward pass of a [`Projected`] needs of the forward pass.
#[derive(Clone, Debug)]
pub struct ProjectedTrace<T, R> {
    lengths: Vec<usize>,
    maps: Ix4,
    projection: LinearTrace<T>,
    features: Array2<T>,
    sequence: R,
}

impl<T: Element, S: SequencePart<T>> Projected<T, S> {
    /// A layer from maps of this shape to `features`, before the part that `sequence` makes for them.
    pub(super) fn new<R: Rng>(
        [channels, height, width]: [usize; 3],
        features: usize,
        sequence: impl FnOnce(&mut R) -> Result<S, ModelError>,
        rng: &mut R,
    ) -> Result<Self, ModelError> {
        let in_features = channels * height * width;
        let projection = Linear::new(LinearConfig { in_features, out_features: features, bias: true }, rng)?;
        Ok(Self { projection, sequence: sequence(rng)? })
    }

    /// `[steps, features]`
    fn features(&self, steps: Steps<'_, T>) -> Result<Array2<T>, ModelError> {
        let mut features = self.projection.forward(flat(&steps)?.view())?;
        rectify(&mut features);
        Ok(features)
    }
}

/// `[steps, values of the maps]`
fn flat<'a, T: Element>(steps: &Steps<'a, T>) -> Result<CowArray<'a, T, Ix2>, TensorError> {
    let (count, channels, height, width) = steps.maps.dim();
    let shape = (count, channels * height * width);
    if steps.maps.is_standard_layout() {
        let unfit = |_| unfit(count, steps.maps.len());
        return Ok(steps.maps.into_shape_with_order(shape).map_err(unfit)?.into());
    }
    Ok(reshaped(steps.maps.as_standard_layout().into_owned(), shape)?.into())
}

/// max(x, 0)
fn rectify<T: Element>(features: &mut Array2<T>) {
    features.mapv_inplace(|feature| if feature < T::zero() { T::zero() } else { feature });
}

impl<T: Element, S: SequencePart<T>> Part<T> for Projected<T, S> {
    type Trace = ProjectedTrace<T, S::Trace>;

    fn output_features(&self) -> usize {
        self.sequence.output_features()
    }

    fn forward(&self, steps: Steps<'_, T>) -> Result<Array2<T>, ModelError> {
        let sequences = to_sequences(self.features(steps)?.view(), steps.lengths);
        self.sequence.forward(sequences.view(), steps.lengths)
    }

    fn forward_training(
        &self,
        steps: Steps<'_, T>,
        rng: &mut dyn RngCore,
    ) -> Result<(Array2<T>, Self::Trace), ModelError> {
        let (mut features, projection) = self.projection.forward_training(flat(&steps)?.view())?;
        rectify(&mut features);
        let sequences = to_sequences(features.view(), steps.lengths);
        let (vectors, sequence) = self.sequence.forward_training(sequences.view(), steps.lengths, rng)?;
        let (maps, lengths) = (steps.maps.raw_dim(), steps.lengths.to_vec());
        Ok((vectors, ProjectedTrace { lengths, maps, projection, features, sequence }))
    }

    fn backward(&self, trace: &Self::Trace, grad_vectors: ArrayView2<'_, T>) -> Result<(Array4<T>, Self), ModelError> {
        let (grad_sequences, sequence) = self.sequence.backward(&trace.sequence, grad_vectors)?;
        let mut gradient = from_sequences(grad_sequences.view(), &trace.lengths);
        check_axis(OPERATION, "features of the trace", trace.features.ncols(), gradient.ncols())?;
        Zip::from(&mut gradient).and(&trace.features).for_each(|gradient, &feature| {
            if feature <= T::zero() {
                *gradient *= T::zero(); // a NaN stays one
            }
        });
        let projection = self.projection.backward(&trace.projection, gradient.view())?;
        let grad_maps = reshaped(projection.input, trace.maps)?;
        Ok((grad_maps, Self { projection: projection.parameters, sequence }))
    }

    fn attention(&self, steps: Steps<'_, T>) -> Result<Option<AttentionWeights<T>>, ModelError> {
        let sequences = to_sequences(self.features(steps)?.view(), steps.lengths);
        self.sequence.attention(sequences.view(), steps.lengths)
    }
}

/// The values in row-major order under another shape.
pub(super) fn reshaped<T: Element, D: Dimension, S: IntoDimension>(
    values: Array<T, D>,
    shape: S,
) -> Result<Array<T, S::Dim>, TensorError> {
    let (shape, found) = (shape.into_dimension(), values.len());
    let expected = shape.size();
    values.into_shape_clone(shape).map_err(|_| unfit(expected, found))
}

fn unfit(expected: usize, found: usize) -> TensorError {
    TensorError::AxisSize { operation: OPERATION, axis: "values of the maps", expected, found }
}

impl<T: Element, S: SequencePart<T>> Parameters<T> for Projected<T, S> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("projection", &self.projection, visitor);
        visit_part(S::NAME, &self.sequence, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("projection", &mut self.projection, visitor);
        visit_part_mut(S::NAME, &mut self.sequence, visitor);
    }
}
