//! How the outputs of all steps become one vector.

use lstm::{Readout, ReadoutTrace};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, concatenate, s};
use tensor_ops::{Element, check_axis};

use crate::model::{ModelError, ReadOut};

/// What [`ReadOut::backward`] needs of the forward pass.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The features of a step.
    size: usize,
    parts: Vec<ReadoutTrace>,
}

impl ReadOut {
    /// The read-outs whose vectors stand side by side.
    fn parts(self) -> &'static [Readout] {
        match self {
            Self::Last => &[Readout::Last],
            Self::Max => &[Readout::Max],
            Self::Mean => &[Readout::Mean],
            Self::Sum => &[Readout::Sum],
            Self::Linear => &[Readout::LinearlyWeighted],
            Self::MaxMean => &[Readout::Max, Readout::Mean],
        }
    }

    /// The size of the vector for outputs of `features` features.
    pub(super) fn output_features(self, features: usize) -> usize {
        self.parts().len() * features
    }

    /// The vectors `[clips, output features]` of `outputs` `[clips, time, features]`.
    pub(super) fn forward<T: Element>(
        self,
        outputs: ArrayView3<'_, T>,
        lengths: &[usize],
    ) -> Result<(Array2<T>, Reading), ModelError> {
        let (mut vectors, mut parts) = (Vec::new(), Vec::new());
        for part in self.parts() {
            let (vector, trace) = part.forward_training(outputs, Some(lengths))?;
            vectors.push(vector);
            parts.push(trace);
        }
        let views: Vec<_> = vectors.iter().map(|vector| vector.view()).collect();
        let vectors = concatenate(Axis(1), &views).expect("all parts have the same clips");
        Ok((vectors, Reading { size: outputs.len_of(Axis(2)), parts }))
    }

    /// The gradient `[clips, time, features]` of the outputs.
    pub(super) fn backward<T: Element>(
        reading: &Reading,
        grad_vectors: ArrayView2<'_, T>,
    ) -> Result<Array3<T>, ModelError> {
        let size = reading.size;
        check_axis("ReadOut", "gradient features", reading.parts.len() * size, grad_vectors.ncols())?;
        let mut grad_outputs: Option<Array3<T>> = None;
        for (part, trace) in reading.parts.iter().enumerate() {
            let grad = Readout::backward(trace, grad_vectors.slice(s![.., part * size..(part + 1) * size]))?;
            grad_outputs = Some(match grad_outputs {
                Some(sum) => sum + grad,
                None => grad,
            });
        }
        Ok(grad_outputs.expect("every read-out has at least one part"))
    }
}
