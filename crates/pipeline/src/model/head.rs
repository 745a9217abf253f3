//! From one vector per clip to the scores of the classes.

use ndarray::{Array2, ArrayView2, ArrayViewD, ArrayViewMutD, Ix2};
use ndarray_rand::rand::Rng;
use tensor_ops::{Dropout, DropoutTrace, Element, Linear, LinearConfig, LinearTrace, Parameters};

use super::{HeadConfig, ModelError};

/// Dropout, then a fully connected layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Head<T> {
    dropout: Dropout,
    /// The fully connected layer.
    pub linear: Linear<T>,
}

/// What [`Head::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct HeadTrace<T> {
    dropout: DropoutTrace<Ix2>,
    linear: LinearTrace<T>,
}

impl<T: Element> Head<T> {
    /// A head for `features` features and `classes` classes.
    ///
    /// # Errors
    /// [`ModelError`] for 0 features or classes, or a probability outside 0..=1.
    pub fn new(config: &HeadConfig, features: usize, classes: usize, rng: &mut impl Rng) -> Result<Self, ModelError> {
        let linear = LinearConfig { in_features: features, out_features: classes, bias: true };
        Ok(Self { dropout: Dropout::new(config.dropout)?, linear: Linear::new(linear, rng)? })
    }

    /// The scores `[clips, classes]` of vectors `[clips, features]`.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit.
    pub fn forward(&self, input: ArrayView2<'_, T>) -> Result<Array2<T>, ModelError> {
        Ok(self.linear.forward(input)?)
    }

    /// As [`Self::forward`], with dropout and with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        input: ArrayView2<'_, T>,
        rng: &mut impl Rng,
    ) -> Result<(Array2<T>, HeadTrace<T>), ModelError> {
        let (dropped, dropout) = self.dropout.forward_training(input, rng);
        let (scores, linear) = self.linear.forward_training(dropped.view())?;
        Ok((scores, HeadTrace { dropout, linear }))
    }

    /// The gradients of the input and of the parameters.
    ///
    /// # Errors
    /// [`ModelError`] if the sizes do not fit the trace.
    pub fn backward(
        &self,
        trace: &HeadTrace<T>,
        grad_scores: ArrayView2<'_, T>,
    ) -> Result<(Array2<T>, Self), ModelError> {
        let gradients = self.linear.backward(&trace.linear, grad_scores)?;
        let mut grad_input = gradients.input;
        self.dropout.backward_in_place(&trace.dropout, grad_input.view_mut())?;
        Ok((grad_input, Self { dropout: self.dropout, linear: gradients.parameters }))
    }
}

impl<T: Element> Parameters<T> for Head<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        self.linear.visit(visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        self.linear.visit_mut(visitor);
    }
}
