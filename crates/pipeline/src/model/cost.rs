//! What a model costs.

use ndarray::ArrayViewD;
use tensor_ops::{Element, Parameters};

use super::{ActionModel, ModelError, Temporal};

impl<T: Element> ActionModel<T> {
    /// The multiplications, each with its addition, that one clip of `steps` steps of images of `size` pixels (height and
    /// width) takes in a forward pass.
    ///
    /// The products with weights are counted, which is nearly all; those among the steps of a clip, as in attention, are
    /// not. Feature pooling is counted as if its fully connected layers saw every step, which only late pooling does.
    ///
    /// # Errors
    /// [`ModelError`] if images of this size are too small for the encoder.
    pub fn multiply_adds(&self, steps: usize, size: [usize; 2]) -> Result<u64, ModelError> {
        let (steps, mut size, mut count) = (steps as u64, size, 0_u64);
        let places = |[height, width]: [usize; 2]| (height as u64).saturating_mul(width as u64);
        for convolution in &self.encoder.convolutions {
            size = convolution.config.output_size(size)?;
            count = count.saturating_add(weights_used_once(convolution).saturating_mul(places(size)));
        }
        let temporal = weights_used_once(&self.temporal);
        let per_step = match &self.temporal {
            // Every weight meets every place.
            Temporal::ConvLstm(_) | Temporal::SpatialAttention(_) => temporal.saturating_mul(places(size)),
            _ => temporal,
        };
        let head = self.head.as_ref().map_or(0, weights_used_once);
        Ok(count.saturating_add(per_step).saturating_mul(steps).saturating_add(head))
    }
}

/// The number of values of all matrices and kernels; what is added, such as a bias, is no product.
fn weights_used_once<T: Element>(part: &impl Parameters<T>) -> u64 {
    let mut count = 0;
    part.visit(&mut |_, values: ArrayViewD<'_, T>| count += if values.ndim() > 1 { values.len() as u64 } else { 0 });
    count
}
