//! Weights of other libraries, in their layouts.

use ndarray::{Array1, Array4, ArrayView1, ArrayView4, Axis, concatenate, s};
use tensor_ops::{CELL_GATE, Element, FORGET_GATE, GATES, INPUT_GATE, OUTPUT_GATE, check_axis};

use crate::{ConvLstmError, LayerWeights};

/// The gates in the order i, f, o, g, as places in this crate's order i, f, g, o.
const IFOG: [usize; GATES] = [INPUT_GATE, FORGET_GATE, OUTPUT_GATE, CELL_GATE];

/// What stands in the blocks of a first axis is put in this crate's gate order.
fn reorder<T: Element>(values: ArrayView4<'_, T>, order: [usize; GATES]) -> Array4<T> {
    let hidden = values.dim().0 / GATES;
    let mut reordered = Array4::zeros(values.raw_dim());
    for (block, gate) in order.into_iter().enumerate() {
        let source = values.slice(s![block * hidden..(block + 1) * hidden, .., .., ..]);
        reordered.slice_mut(s![gate * hidden..(gate + 1) * hidden, .., .., ..]).assign(&source);
    }
    reordered
}

fn reorder_bias<T: Element>(bias: ArrayView1<'_, T>, order: [usize; GATES]) -> Array1<T> {
    let four = bias.insert_axis(Axis(1)).insert_axis(Axis(2)).insert_axis(Axis(3));
    reorder(four, order).into_iter().collect()
}

impl<T: Element> LayerWeights<T> {
    /// The weights of a cell whose one convolution sees input and state side by side, with the gates in the order i, f, o, g:
    /// the layout of `ndrplz/ConvLSTM_pytorch` and its descendants.
    ///
    /// - `weight`: `conv.weight`, `[4 · hidden, input channels + hidden, height, width]`
    /// - `bias`: `conv.bias`, `[4 · hidden]`
    ///
    /// # Errors
    /// [`ConvLstmError`] if the shapes are none of such a cell.
    ///
    /// ```
    /// use convlstm::LayerWeights;
    /// use ndarray::Array4;
    ///
    /// let weights = LayerWeights::from_fused_ifog(Array4::<f32>::zeros((8, 3 + 2, 5, 5)).view(), None)?;
    /// assert_eq!(weights.weight_ih.unwrap().dim(), (8, 3, 5, 5));
    /// assert_eq!(weights.weight_hh.dim(), (8, 2, 5, 5));
    /// # Ok::<(), convlstm::ConvLstmError>(())
    /// ```
    pub fn from_fused_ifog(weight: ArrayView4<'_, T>, bias: Option<ArrayView1<'_, T>>) -> Result<Self, ConvLstmError> {
        const NAME: &str = "from_fused_ifog";
        let (gates, channels, _, _) = weight.dim();
        let hidden = gates / GATES;
        check_axis(NAME, "weight output channels, four per state channel", (GATES * hidden).max(GATES), gates)?;
        check_axis(NAME, "weight input channels, more than the state's", channels.max(hidden + 1), channels)?;
        if let Some(bias) = &bias {
            check_axis(NAME, "bias", gates, bias.len())?;
        }
        let weight = reorder(weight, IFOG);
        let (weight_ih, weight_hh) = weight.view().split_at(Axis(1), channels - hidden);
        Ok(Self {
            weight_ih: Some(weight_ih.to_owned()),
            weight_hh: weight_hh.to_owned(),
            bias: bias.map(|bias| reorder_bias(bias, IFOG)),
            bias_hn: None,
            peepholes: None,
            norm_weight: None,
            norm_bias: None,
        })
    }

    /// The weights as [`Self::from_fused_ifog`] reads them: one convolution's weight, and its bias if there is one.
    ///
    /// # Errors
    /// [`ConvLstmError`] if the layer has no input, kernels of two sizes, peepholes or normalised gates, which that layout
    /// cannot hold.
    pub fn to_fused_ifog(&self) -> Result<(Array4<T>, Option<Array1<T>>), ConvLstmError> {
        const NAME: &str = "to_fused_ifog";
        let missing = |part: &str, expected| ConvLstmError::Parts { part: part.to_owned(), expected };
        let weight_ih = self.weight_ih.as_ref().ok_or_else(|| missing("weight_ih", "this array"))?;
        if self.peepholes.is_some() || self.norm_weight.is_some() {
            return Err(missing("peepholes or norm_weight", "no such array"));
        }
        check_axis(NAME, "gates of both kernels", weight_ih.dim().0, self.weight_hh.dim().0)?;
        check_axis(NAME, "height of both kernels", weight_ih.dim().2, self.weight_hh.dim().2)?;
        check_axis(NAME, "width of both kernels", weight_ih.dim().3, self.weight_hh.dim().3)?;
        let both = concatenate(Axis(1), &[weight_ih.view(), self.weight_hh.view()]);
        let both = both.map_err(|_| missing("weight_hh", "the shape of the configuration"))?;
        // The exchange of the last two blocks is its own inverse.
        let bias = self.bias.as_ref().map(|bias| reorder_bias(bias.view(), IFOG));
        Ok((reorder(both.view(), IFOG), bias))
    }

    /// The weights of a Keras `ConvLSTM2D`, whose gates stand in the order i, f, c, o, which is this crate's.
    ///
    /// Whether its maps have the channels first or last does not matter to the weights. Keras's default padding is `valid` and
    /// its recurrent activation was `hard_sigmoid` before Keras 3: such a layer is another model.
    ///
    /// - `kernel`: `[height, width, input channels, 4 · hidden]`
    /// - `recurrent_kernel`: `[height, width, hidden, 4 · hidden]`
    /// - `bias`: `[4 · hidden]`
    ///
    /// # Errors
    /// [`ConvLstmError`] if the shapes do not fit together.
    pub fn from_keras(
        kernel: ArrayView4<'_, T>,
        recurrent_kernel: ArrayView4<'_, T>,
        bias: Option<ArrayView1<'_, T>>,
    ) -> Result<Self, ConvLstmError> {
        const NAME: &str = "from_keras";
        let (gates, hidden) = (recurrent_kernel.dim().3, recurrent_kernel.dim().2);
        check_axis(NAME, "recurrent_kernel gates", (GATES * hidden).max(GATES), gates)?;
        check_axis(NAME, "kernel gates", gates, kernel.dim().3)?;
        if let Some(bias) = &bias {
            check_axis(NAME, "bias", gates, bias.len())?;
        }
        let to_rows = |kernel: ArrayView4<'_, T>| kernel.permuted_axes([3, 2, 0, 1]).as_standard_layout().into_owned();
        Ok(Self {
            weight_ih: Some(to_rows(kernel)),
            weight_hh: to_rows(recurrent_kernel),
            bias: bias.map(|bias| bias.to_owned()),
            bias_hn: None,
            peepholes: None,
            norm_weight: None,
            norm_bias: None,
        })
    }

    /// The weights as Keras stores them: `kernel`, `recurrent_kernel` and the bias.
    ///
    /// # Errors
    /// [`ConvLstmError`] if the layer has no input, or peepholes or normalised gates, which Keras's lacks.
    #[expect(clippy::type_complexity, reason = "the three arrays of a Keras layer")]
    pub fn to_keras(&self) -> Result<(Array4<T>, Array4<T>, Option<Array1<T>>), ConvLstmError> {
        let missing = |part: &str, expected| ConvLstmError::Parts { part: part.to_owned(), expected };
        let weight_ih = self.weight_ih.as_ref().ok_or_else(|| missing("weight_ih", "this array"))?;
        if self.peepholes.is_some() || self.norm_weight.is_some() {
            return Err(missing("peepholes or norm_weight", "no such array"));
        }
        let to_last = |weight: &Array4<T>| weight.view().permuted_axes([2, 3, 1, 0]).as_standard_layout().into_owned();
        Ok((to_last(weight_ih), to_last(&self.weight_hh), self.bias.clone()))
    }
}
