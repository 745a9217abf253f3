//! The backward pass: from the gradient of the scores to those of input and parameters.

use ndarray::{Array, Array2, Array5, ArrayView2, ArrayViewMut2, Dimension};
use tensor_ops::{Dropout, Element, Linear, check_axis};

use super::config::NAME;
use super::connected::{self, ConnectedGradients, ConnectedTrace, rectify_gradient};
use super::convolution::TimeWindows;
use super::forward::{First, Pooled};
use super::{FeaturePooling, FeaturePoolingTrace};
use crate::PoolingError;
use crate::error::zeros;
use crate::temporal::{Clips, Forward, Windows, reduce_backward};

/// The gradients of [`FeaturePooling::backward`].
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturePoolingGradients<T> {
    /// `[batch, time, channels, height, width]`, zero beyond the lengths.
    pub input: Array5<T>,
    /// The gradients of the parameters.
    pub parameters: FeaturePooling<T>,
}

impl<T: Element> FeaturePooling<T> {
    /// The gradients of input and parameters for that of the scores, `[batch, classes]`.
    ///
    /// # Errors
    /// [`PoolingError`] if `grad_scores` or the parameters do not fit the trace, or there is no memory for the results.
    pub fn backward(
        &self,
        trace: &FeaturePoolingTrace<'_, T>,
        grad_scores: ArrayView2<'_, T>,
    ) -> Result<FeaturePoolingGradients<T>, PoolingError> {
        let mut input = zeros(NAME, "gradient of the input", trace.input)?;
        let parameters = self.backward_to(trace, grad_scores, Some(&mut input))?;
        Ok(FeaturePoolingGradients { input, parameters })
    }

    /// The gradients of the parameters alone, where the input is data.
    ///
    /// # Errors
    /// As [`Self::backward`].
    pub fn backward_parameters(
        &self,
        trace: &FeaturePoolingTrace<'_, T>,
        grad_scores: ArrayView2<'_, T>,
    ) -> Result<Self, PoolingError> {
        self.backward_to(trace, grad_scores, None)
    }

    fn backward_to(
        &self,
        trace: &FeaturePoolingTrace<'_, T>,
        grad_scores: ArrayView2<'_, T>,
        grad_input: Option<&mut Array5<T>>,
    ) -> Result<Self, PoolingError> {
        self.check()?;
        if trace.config != *self.config() {
            let (part, expected) = ("trace".to_owned(), "a forward pass of its own".to_owned());
            return Err(PoolingError::Parts { part, expected });
        }
        check_axis(NAME, "grad_scores batch", trace.input[0], grad_scores.nrows())?;
        check_axis(NAME, "grad_scores classes", self.config().classes, grad_scores.ncols())?;
        let dropout = Dropout::new(self.config().dropout)?;
        let input_too = grad_input.is_some();
        let rows_too = input_too || self.convolution.is_some();
        let clips_too = rows_too || !self.shared.is_empty();

        let last_too = clips_too || !self.hidden.is_empty();
        let (classifier, gradient) =
            connected::linear_gradients(&self.classifier, trace.hidden.output(), grad_scores, last_too)?;
        let hidden = self.layers_backward(&self.hidden, dropout, &trace.hidden, gradient, clips_too)?;
        let gradient = hidden.input.map(|gradient| self.second_backward(trace, gradient)).transpose()?;
        let shared = self.layers_backward(&self.shared, dropout, &trace.shared, gradient, rows_too)?;
        let convolution = match shared.input {
            Some(gradient) => self.first_backward(trace, gradient, grad_input)?,
            None => None,
        };
        Ok(self.with_parameters(convolution, shared.layers, hidden.layers, classifier))
    }

    /// The gradients of layers and, with `input_too`, of their input; without a gradient of their output there are no
    /// layers.
    fn layers_backward(
        &self,
        layers: &[Linear<T>],
        dropout: Dropout,
        trace: &ConnectedTrace<'_, T>,
        gradient: Option<Array2<T>>,
        input_too: bool,
    ) -> Result<ConnectedGradients<T>, PoolingError> {
        match gradient {
            Some(gradient) => connected::backward(layers, dropout, trace, gradient, input_too),
            None => Ok(ConnectedGradients { layers: Vec::new(), input: None }),
        }
    }

    /// From the gradient of the clips' rows to that of the rows that the shared layers made.
    fn second_backward(
        &self,
        trace: &FeaturePoolingTrace<'_, T>,
        gradient: Array2<T>,
    ) -> Result<Array2<T>, PoolingError> {
        let rows = trace.shared.output();
        let mut target: Array2<T> = zeros(NAME, "gradient of the pooled rows", rows.raw_dim())?;
        match &trace.second {
            None => {
                let target = target.as_slice_mut().unwrap_or_default();
                target.iter_mut().zip(&gradient).for_each(|(target, &value)| *target = value);
            }
            Some(pooled) => {
                let counts: Vec<usize> = pooled.windows.frames.iter().map(|frames| frames.len()).collect();
                let clips = Clips::of_rows(rows, &counts);
                let values = Some((&clips, trace.hidden.input.view()));
                let targets = clip_matrices(&mut target, &counts);
                self.pool_backward(pooled, values, &gradient, targets);
            }
        }
        Ok(target)
    }

    fn pool_backward<'v>(
        &self,
        pooled: &Pooled,
        values: Option<(&Clips<'v, T>, ArrayView2<'v, T>)>,
        gradient: &Array2<T>,
        targets: Vec<ArrayViewMut2<'_, T>>,
    ) {
        let gradient = gradient.as_standard_layout();
        let Pooled { windows, steps } = pooled;
        let forward = Forward { reducer: self.config().reducer, windows, steps: steps.view(), values };
        reduce_backward(&forward, gradient.view(), targets);
    }

    /// From the gradient of the rows that the shared layers read to that of the input; returns that of the convolution.
    fn first_backward(
        &self,
        trace: &FeaturePoolingTrace<'_, T>,
        mut gradient: Array2<T>,
        grad_input: Option<&mut Array5<T>>,
    ) -> Result<Option<super::TimeConvolution<T>>, PoolingError> {
        let frames = vec![trace.input[1]; trace.input[0]];
        let targets = grad_input.map(|grad_input| clip_matrices(grad_input, &frames));
        match (&trace.first, targets) {
            (First::Frames(counts), Some(targets)) => {
                let rows = Clips::of_rows(gradient.view(), counts);
                for (mut target, rows) in targets.into_iter().zip(&rows.clips) {
                    let target = target.as_slice_mut().unwrap_or_default();
                    target[..rows.len()].copy_from_slice(rows);
                }
            }
            (First::Pooled(pooled, clips), Some(targets)) => {
                let values = clips.as_ref().map(|clips| (clips, trace.shared.input.view()));
                self.pool_backward(pooled, values, &gradient, targets);
            }
            (First::Convolved(windows, clips), targets) => {
                rectify_gradient(trace.shared.input.as_slice().unwrap_or_default(), &mut gradient)?;
                return self.convolution_backward(windows, clips, &gradient, targets);
            }
            (_, None) => {}
        }
        Ok(None)
    }

    fn convolution_backward(
        &self,
        windows: &Windows,
        clips: &Clips<'_, T>,
        gradient: &Array2<T>,
        targets: Option<Vec<ArrayViewMut2<'_, T>>>,
    ) -> Result<Option<super::TimeConvolution<T>>, PoolingError> {
        let config = self.config();
        let (Some(convolution), Some(conv2d)) = (&self.convolution, config.convolution()?) else { return Ok(None) };
        let size = [config.input[1], config.input[2]];
        let windows = TimeWindows { config: &conv2d, size, clips, windows, reducer: config.reducer };
        Ok(Some(windows.backward(convolution, gradient, targets)?))
    }
}

/// The matrices `[frames, features]` of clips of so many frames, which lie one behind the other.
fn clip_matrices<'a, T: Element, D: Dimension>(
    array: &'a mut Array<T, D>,
    frames: &[usize],
) -> Vec<ArrayViewMut2<'a, T>> {
    let features = array.len() / frames.iter().sum::<usize>().max(1);
    let mut rest = array.as_slice_mut().unwrap_or_default();
    let mut matrices = Vec::with_capacity(frames.len());
    for &frames in frames {
        let (clip, following) = rest.split_at_mut(frames * features);
        matrices.extend(ArrayViewMut2::from_shape((frames, features), clip));
        rest = following;
    }
    matrices
}
