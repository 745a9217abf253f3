//! The linear layer: y = x Wᵀ + b.

use ndarray::{
    Array, Array1, Array2, ArrayView, ArrayView1, ArrayView2, ArrayViewD, ArrayViewMut2, ArrayViewMutD, Dimension, s,
};
use ndarray_rand::rand::Rng;
use rayon::prelude::*;

use crate::{Element, Parameters, TensorError, check_axis, check_not_empty, gemm, init};

const OPERATION: &str = "Linear";

/// Options of [`Linear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearConfig {
    /// Features of an input.
    pub in_features: usize,
    /// Features of an output.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { in_features: 1, out_features: 1, bias: true }
    }
}

/// A linear layer, and the gradient of one.
///
/// ```
/// use ndarray::array;
/// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
/// use tensor_ops::{Linear, LinearConfig};
///
/// let config = LinearConfig { in_features: 2, out_features: 3, ..LinearConfig::default() };
/// let layer = Linear::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
/// let input = array![[1.0, 2.0], [3.0, 4.0]];
/// let (output, trace) = layer.forward_training(input.view())?;
/// assert_eq!(output.dim(), (2, 3));
/// let gradients = layer.backward(&trace, output.view())?;
/// assert_eq!(gradients.input.dim(), (2, 2));
/// assert_eq!(gradients.parameters.weight.dim(), (3, 2));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Linear<T> {
    /// W, `[out_features, in_features]`.
    pub weight: Array2<T>,
    /// b, `[out_features]`.
    pub bias: Option<Array1<T>>,
}

/// What [`Linear::backward`] needs of a forward pass.
#[derive(Clone, Debug)]
pub struct LinearTrace<T> {
    input: Array2<T>,
}

/// The gradients of [`Linear::backward`].
#[derive(Clone, Debug, PartialEq)]
pub struct LinearGradients<T> {
    /// `[items, in_features]`
    pub input: Array2<T>,
    /// The gradients of weight and bias.
    pub parameters: Linear<T>,
}

impl<T: Element> Linear<T> {
    /// A layer with weight and bias from U(−1/√`in_features`, 1/√`in_features`), as in PyTorch.
    ///
    /// # Errors
    /// [`TensorError::EmptyAxis`] for 0 features.
    pub fn new(config: LinearConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, TensorError> {
        let LinearConfig { in_features, out_features, bias } = config;
        check_not_empty(OPERATION, "input features", in_features)?;
        check_not_empty(OPERATION, "output features", out_features)?;
        let weight = init::fan_in_uniform((out_features, in_features), in_features, rng)?;
        let bias = bias.then(|| init::fan_in_uniform(out_features, in_features, rng)).transpose()?;
        Ok(Self { weight, bias })
    }

    /// Features of an input.
    pub fn in_features(&self) -> usize {
        self.weight.ncols()
    }

    /// Features of an output.
    pub fn out_features(&self) -> usize {
        self.weight.nrows()
    }

    /// The output `[items, out_features]` of an input `[items, in_features]`.
    ///
    /// # Errors
    /// [`TensorError`] if there are no items or the sizes do not fit.
    pub fn forward(&self, input: ArrayView2<'_, T>) -> Result<Array2<T>, TensorError> {
        let mut output = Array2::zeros((input.nrows(), self.out_features()));
        self.forward_into(input, output.view_mut())?;
        Ok(output)
    }

    /// As [`Self::forward`], written to `output`, whose values are not read.
    ///
    /// # Errors
    /// As for [`Self::forward`].
    pub fn forward_into(&self, input: ArrayView2<'_, T>, output: ArrayViewMut2<'_, T>) -> Result<(), TensorError> {
        linear_into(input, self.weight.view(), self.bias.as_ref().map(|bias| bias.view()), output)
    }

    /// As [`Self::forward`] for an input of any rank whose last axis has the features.
    ///
    /// # Errors
    /// As for [`Self::forward`], and for an input without axes.
    ///
    /// ```
    /// use ndarray::{Array3, array};
    /// let layer = tensor_ops::Linear { weight: array![[1.0, 1.0]], bias: None };
    /// let sequences = Array3::ones((4, 7, 2)); // [batch, time, features]
    /// assert_eq!(layer.forward_last_axis(sequences.view())?, Array3::from_elem((4, 7, 1), 2.0));
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn forward_last_axis<D: Dimension>(&self, input: ArrayView<'_, T, D>) -> Result<Array<T, D>, TensorError> {
        let mut shape = input.raw_dim();
        let Some(features) = shape.slice_mut().last_mut() else {
            return Err(TensorError::InvalidOption {
                operation: OPERATION,
                option: "input",
                requirement: "an array of at least 1 axis",
                found: "[]".to_owned(),
            });
        };
        check_axis(OPERATION, "input features", self.in_features(), *features)?;
        check_not_empty(OPERATION, "input features", *features)?;
        *features = self.out_features();
        let items = input.len() / self.in_features();
        let rows = input.to_shape((items, self.in_features())).expect("the last axis has the features");
        let output = self.forward(rows.view())?;
        Ok(output.into_shape_with_order(shape).expect("only the last axis changes"))
    }

    /// As [`Self::forward`], with what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As for [`Self::forward`].
    pub fn forward_training(&self, input: ArrayView2<'_, T>) -> Result<(Array2<T>, LinearTrace<T>), TensorError> {
        Ok((self.forward(input)?, LinearTrace { input: input.to_owned() }))
    }

    /// The gradients of input, weight and bias for the gradient `[items, out_features]` of the output.
    ///
    /// # Errors
    /// [`TensorError::AxisSize`] if the sizes do not fit the trace or the layer.
    pub fn backward(
        &self,
        trace: &LinearTrace<T>,
        grad_output: ArrayView2<'_, T>,
    ) -> Result<LinearGradients<T>, TensorError> {
        linear_backward(trace.input.view(), self.weight.view(), self.bias.is_some(), grad_output)
    }
}

impl<T: Element> Parameters<T> for Linear<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visitor("weight", self.weight.view().into_dyn());
        if let Some(bias) = &self.bias {
            visitor("bias", bias.view().into_dyn());
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visitor("weight", self.weight.view_mut().into_dyn());
        if let Some(bias) = &mut self.bias {
            visitor("bias", bias.view_mut().into_dyn());
        }
    }
}

/// Y = X Wᵀ + b, written to `output`, whose values are not read.
///
/// - `input`: X, `[items, in_features]`; `weight`: W, `[out_features, in_features]`; `bias`: b, `[out_features]`;
/// - `output`: Y, `[items, out_features]`.
///
/// # Errors
/// [`TensorError`] if there are no items or the sizes do not fit.
///
/// ```
/// use ndarray::{Array2, array};
/// let (input, weight, bias) = (array![[1.0, 2.0]], array![[3.0, 4.0], [5.0, 6.0]], array![0.5, -0.5]);
/// let mut output = Array2::zeros((1, 2));
/// tensor_ops::linear_into(input.view(), weight.view(), Some(bias.view()), output.view_mut())?;
/// assert_eq!(output, array![[11.5, 16.5]]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn linear_into<T: Element>(
    input: ArrayView2<'_, T>,
    weight: ArrayView2<'_, T>,
    bias: Option<ArrayView1<'_, T>>,
    mut output: ArrayViewMut2<'_, T>,
) -> Result<(), TensorError> {
    let (out_features, in_features) = weight.dim();
    check_not_empty(OPERATION, "input items", input.nrows())?;
    check_axis(OPERATION, "input features", in_features, input.ncols())?;
    check_axis(OPERATION, "output items", input.nrows(), output.nrows())?;
    check_axis(OPERATION, "output features", out_features, output.ncols())?;
    let beta = match bias {
        Some(bias) => {
            check_axis(OPERATION, "bias features", out_features, bias.len())?;
            output.assign(&bias);
            T::one()
        }
        None => T::zero(),
    };
    gemm(T::one(), input, weight.t(), beta, output)
}

/// The gradients of [`linear_into`] for the gradient dY of its output.
///
/// dX = dY W, dW = dYᵀ X, and db is the sum of the rows of dY, in their order; it is left out without `bias`.
///
/// # Errors
/// [`TensorError`] if there are no items or the sizes do not fit.
///
/// ```
/// use ndarray::array;
/// let (input, weight) = (array![[1.0, 2.0]], array![[3.0, 4.0], [5.0, 6.0]]);
/// let gradients = tensor_ops::linear_backward(input.view(), weight.view(), true, array![[1.0, 10.0]].view())?;
/// assert_eq!(gradients.input, array![[53.0, 64.0]]);
/// assert_eq!(gradients.parameters.weight, array![[1.0, 2.0], [10.0, 20.0]]);
/// assert_eq!(gradients.parameters.bias, Some(array![1.0, 10.0]));
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
pub fn linear_backward<T: Element>(
    input: ArrayView2<'_, T>,
    weight: ArrayView2<'_, T>,
    bias: bool,
    grad_output: ArrayView2<'_, T>,
) -> Result<LinearGradients<T>, TensorError> {
    let (out_features, in_features) = weight.dim();
    check_not_empty(OPERATION, "input items", input.nrows())?;
    check_axis(OPERATION, "input features", in_features, input.ncols())?;
    check_axis(OPERATION, "output gradient items", input.nrows(), grad_output.nrows())?;
    check_axis(OPERATION, "output gradient features", out_features, grad_output.ncols())?;
    let mut grad_input = Array2::zeros(input.raw_dim());
    gemm(T::one(), grad_output, weight, T::zero(), grad_input.view_mut())?;
    let mut grad_weight = Array2::zeros(weight.raw_dim());
    gemm(T::one(), grad_output.t(), input, T::zero(), grad_weight.view_mut())?;
    let parameters = Linear { weight: grad_weight, bias: bias.then(|| sum_of_rows(grad_output)) };
    Ok(LinearGradients { input: grad_input, parameters })
}

/// The sum of the rows from the first to the last, in parallel over columns where there are many values.
fn sum_of_rows<T: Element>(rows: ArrayView2<'_, T>) -> Array1<T> {
    const COLUMNS: usize = 256;
    const PARALLEL_VALUES: usize = 1 << 18;
    let mut sum = vec![T::zero(); rows.ncols()];
    let add = |(part, sum): (usize, &mut [T])| {
        let start = part * COLUMNS;
        for row in rows.slice(s![.., start..start + sum.len()]).rows() {
            sum.iter_mut().zip(&row).for_each(|(sum, &value)| *sum += value);
        }
    };
    if rows.len() < PARALLEL_VALUES {
        sum.chunks_mut(COLUMNS).enumerate().for_each(add);
    } else {
        sum.par_chunks_mut(COLUMNS).enumerate().for_each(add);
    }
    Array1::from_vec(sum)
}
