//! Sliding windows over images: kernel, stride, padding and dilation, and the output size they lead to.

use crate::TensorError;

/// Zeros around an image, side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows of zeros above the image.
    pub top: usize,
    /// Rows of zeros below the image.
    pub bottom: usize,
    /// Columns of zeros on the left.
    pub left: usize,
    /// Columns of zeros on the right.
    pub right: usize,
}

impl Padding {
    /// No padding.
    pub const ZERO: Self = Self::symmetric(0, 0);

    /// `vertical` rows above and below, `horizontal` columns left and right.
    pub const fn symmetric(vertical: usize, horizontal: usize) -> Self {
        Self { top: vertical, bottom: vertical, left: horizontal, right: horizontal }
    }

    /// The padding that TensorFlow calls `SAME`: the output has `⌈input / stride⌉` positions per axis.
    ///
    /// Where an odd number of zeros is needed, the extra one goes to the bottom or to the right.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] if a kernel size, stride or dilation is 0 or the kernel cannot be addressed.
    ///
    /// ```
    /// use tensor_ops::{Padding, Window};
    ///
    /// let padding = Padding::same([224, 224], [3, 3], [2, 2], [1, 1])?;
    /// assert_eq!(padding, Padding { top: 0, bottom: 1, left: 0, right: 1 });
    /// let window = Window { stride: [2, 2], padding, ..Window::new([3, 3]) };
    /// assert_eq!(window.output_size([224, 224])?, [112, 112]);
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn same(
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<Self, TensorError> {
        let effective = Window { stride, dilation, ..Window::new(kernel) }.effective_kernel()?;
        let total = |axis: usize| {
            let last_start = (input[axis].div_ceil(stride[axis]).max(1) - 1).saturating_mul(stride[axis]);
            last_start.saturating_add(effective[axis]).saturating_sub(input[axis])
        };
        let [vertical, horizontal] = [total(0), total(1)];
        Ok(Self {
            top: vertical / 2,
            bottom: vertical - vertical / 2,
            left: horizontal / 2,
            right: horizontal - horizontal / 2,
        })
    }
}

/// A window that slides over an image: `[vertical, horizontal]` kernel size, stride and dilation, and padding.
///
/// Output position `(i, j)` sees the input rows `i·stride + k·dilation − top` for `k` in `0..kernel`, columns likewise.
///
/// ```
/// use tensor_ops::{Padding, Window};
///
/// let window = Window { stride: [2, 2], padding: Padding::symmetric(3, 3), ..Window::new([7, 7]) };
/// assert_eq!(window.output_size([224, 224])?, [112, 112]);
/// # Ok::<(), tensor_ops::TensorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns between neighbouring output positions.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Rows and columns between neighbouring kernel positions.
    pub dilation: [usize; 2],
}

impl Default for Window {
    fn default() -> Self {
        Self::new([1, 1])
    }
}

impl Window {
    /// The window of `kernel` with stride 1, dilation 1 and no padding.
    pub const fn new(kernel: [usize; 2]) -> Self {
        Self { kernel, stride: [1, 1], padding: Padding::ZERO, dilation: [1, 1] }
    }

    /// Rows and columns from the first to the last kernel position: `(kernel − 1) · dilation + 1`.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] if a kernel size, stride or dilation is 0, or the result cannot be addressed.
    pub fn effective_kernel(&self) -> Result<[usize; 2], TensorError> {
        self.effective_kernel_of("Window")
    }

    /// The number of output positions for an input of `[height, width]`.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] if a kernel size, stride or dilation is 0, the dilated kernel is larger than the
    /// padded input, or a size cannot be addressed; [`TensorError::EmptyAxis`] if the input has no rows or columns.
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2], TensorError> {
        self.output_size_of("Window", input)
    }

    /// [`Self::output_size`] with errors in the name of the layer `operation`.
    ///
    /// # Errors
    /// As [`Self::output_size`].
    pub fn output_size_of(&self, operation: &'static str, input: [usize; 2]) -> Result<[usize; 2], TensorError> {
        let effective = self.effective_kernel_of(operation)?;
        let Padding { top, bottom, left, right } = self.padding;
        let mut output = [0; 2];
        for (axis, before, after) in [(0, top, bottom), (1, left, right)] {
            if input[axis] == 0 {
                return Err(TensorError::EmptyAxis { operation, axis: ["input height", "input width"][axis] });
            }
            let padded = input[axis].checked_add(before).and_then(|sum| sum.checked_add(after));
            let Some(padded) = padded.filter(|&padded| addressable(padded)) else {
                return Err(TensorError::InvalidOption {
                    operation,
                    option: "padding",
                    requirement: "small enough that the padded input can be addressed",
                    found: format!("{before} and {after} around {}", input[axis]),
                });
            };
            if effective[axis] > padded {
                return Err(TensorError::InvalidOption {
                    operation,
                    option: ["kernel height", "kernel width"][axis],
                    requirement: "at most the padded input, dilation included",
                    found: format!("{} for a padded input of {padded}", effective[axis]),
                });
            }
            output[axis] = (padded - effective[axis]) / self.stride[axis] + 1;
        }
        Ok(output)
    }

    fn effective_kernel_of(&self, operation: &'static str) -> Result<[usize; 2], TensorError> {
        let options = [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)];
        if let Some((option, found)) = options.into_iter().find(|(_, sizes)| sizes.contains(&0)) {
            let found = format!("{found:?}");
            return Err(TensorError::InvalidOption {
                operation,
                option,
                requirement: "at least 1 on both axes",
                found,
            });
        }
        let mut effective = [0; 2];
        for axis in 0..2 {
            let span = (self.kernel[axis] - 1).checked_mul(self.dilation[axis]).and_then(|span| span.checked_add(1));
            effective[axis] = span.filter(|&span| addressable(span)).ok_or_else(|| TensorError::InvalidOption {
                operation,
                option: "dilation",
                requirement: "small enough that the dilated kernel can be addressed",
                found: format!("{} for a kernel of {}", self.dilation[axis], self.kernel[axis]),
            })?;
        }
        Ok(effective)
    }
}

/// Whether positions up to `size` can be computed with signed offsets.
fn addressable(size: usize) -> bool {
    size <= isize::MAX as usize / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions counted one by one.
    fn count_positions(input: usize, before: usize, after: usize, effective: usize, stride: usize) -> usize {
        (0..input + before + after).step_by(stride).filter(|start| start + effective <= input + before + after).count()
    }

    #[test]
    fn output_size_counts_positions() {
        for input in 1..9 {
            for (kernel, stride, dilation) in [(1, 1, 1), (2, 1, 2), (3, 2, 1), (3, 3, 2), (2, 5, 1)] {
                for (before, after) in [(0, 0), (1, 0), (0, 2), (3, 1)] {
                    let window = Window {
                        kernel: [kernel, 1],
                        stride: [stride, 1],
                        dilation: [dilation, 1],
                        padding: Padding { top: before, bottom: after, left: 0, right: 0 },
                    };
                    let effective = (kernel - 1) * dilation + 1;
                    let expected = count_positions(input, before, after, effective, stride);
                    match window.output_size([input, 4]) {
                        Ok(output) => assert_eq!(output, [expected, 4]),
                        Err(error) => {
                            assert_eq!(expected, 0, "{error}");
                            assert!(matches!(error, TensorError::InvalidOption { option: "kernel height", .. }));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn same_padding_keeps_the_size_over_the_stride() {
        for input in 1..20 {
            for (kernel, stride, dilation) in [(1, 1, 1), (3, 1, 1), (2, 1, 1), (5, 2, 1), (3, 2, 3), (2, 4, 1)] {
                let padding = Padding::same([input, 7], [kernel, 1], [stride, 1], [dilation, 1]).unwrap();
                let window = Window { kernel: [kernel, 1], stride: [stride, 1], dilation: [dilation, 1], padding };
                assert_eq!(window.output_size([input, 7]).unwrap(), [input.div_ceil(stride), 7]);
                assert!(padding.bottom == padding.top || padding.bottom == padding.top + 1);
            }
        }
    }

    #[test]
    fn sizes_beyond_the_address_space_are_errors() {
        let huge = usize::MAX;
        let cases = [
            (Window { padding: Padding { top: huge, ..Padding::ZERO }, ..Window::new([1, 1]) }, "padding"),
            (Window { padding: Padding::symmetric(0, huge / 2), ..Window::new([1, 1]) }, "padding"),
            (Window { dilation: [huge, 1], ..Window::new([3, 1]) }, "dilation"),
            (Window::new([1, huge]), "dilation"),
            (Window::new([0, 1]), "kernel"),
            (Window { stride: [1, 0], ..Window::default() }, "stride"),
            (Window { dilation: [0, 1], ..Window::default() }, "dilation"),
        ];
        for (window, expected) in cases {
            match window.output_size([5, 5]) {
                Err(TensorError::InvalidOption { option, .. }) => assert_eq!(option, expected, "{window:?}"),
                other => panic!("{window:?}: {other:?}"),
            }
        }
        assert_eq!(Window { stride: [huge, huge], ..Window::default() }.output_size([5, 5]), Ok([1, 1]));
        let error = Window::default().output_size_of("Pool", [0, 5]).unwrap_err();
        assert_eq!(error, TensorError::EmptyAxis { operation: "Pool", axis: "input height" });
    }
}
