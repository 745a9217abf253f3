//! The memory that a convolution works in.

use tensor_ops::{Correlation, Element, Isa, PhaseTaps, Taps};

use crate::config::NAME;
use crate::forward::uses_correlation;
use crate::sizes::Sizes;
use crate::{Conv2dConfig, Conv2dError, backward};

/// The elements that a convolution takes beside its inputs and outputs, and beside what threads keep for their own work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkingMemory {
    /// Of the weights in [`crate::PackedConv2d`].
    pub packed: usize,
    /// Of the weights in [`crate::PackedConv2dBackward`].
    pub packed_backward: usize,
    /// Of the sums of [`crate::convolve_backward_weight`].
    pub sums: usize,
}

impl Conv2dConfig {
    /// The working memory, in elements, for `images` images of `input` height and width.
    ///
    /// # Errors
    /// [`Conv2dError`] if the configuration is invalid or the sizes do not fit.
    ///
    /// ```
    /// use conv2d::Conv2dConfig;
    /// let config = Conv2dConfig { in_channels: 8, out_channels: 24, ..Conv2dConfig::default() };
    /// assert!(config.working_memory::<f32>([16, 16], 4)?.packed >= 8 * 24);
    /// # Ok::<(), conv2d::Conv2dError>(())
    /// ```
    pub fn working_memory<T: Element>(&self, input: [usize; 2], images: usize) -> Result<WorkingMemory, Conv2dError> {
        let isa = Isa::selected();
        let sizes = Sizes::of_images(self, [images.max(1), self.in_channels, input[0], input[1]])?;
        let Sizes { group_in, group_out, groups, window, .. } = sizes;
        let sums = backward::sums_len::<T>(isa, &sizes)?;
        if !uses_correlation(isa, &sizes) {
            return Ok(WorkingMemory { packed: sizes.weights(), packed_backward: sizes.weights(), sums });
        }
        let taps = Taps::of_window(NAME, &window, input)?;
        let packed = Correlation::<T>::weights_len(isa, &taps, group_in, group_out);
        let mut packed_backward = 0_usize;
        for row in 0..window.stride[0].min(input[0]) {
            for column in 0..window.stride[1].min(input[1]) {
                let PhaseTaps { taps, .. } = PhaseTaps::of_window(NAME, &window, input, [row, column])?;
                if taps.count() > 0 {
                    let phase = Correlation::<T>::weights_len(isa, &taps, group_out, group_in);
                    packed_backward = packed_backward.saturating_add(phase);
                }
            }
        }
        Ok(WorkingMemory {
            packed: groups.saturating_mul(packed),
            packed_backward: groups.saturating_mul(packed_backward),
            sums,
        })
    }
}
