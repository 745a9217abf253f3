//! Frames in patches: space to depth, and back.
//!
//! A patch of p × p pixels of C channels becomes one pixel of p²·C channels, in the order row of the patch, column of the
//! patch, channel: Shi et al. (2015) cut the 64×64 frames of Moving-MNIST into 4×4 patches, maps of 16×16 with 16 channels.

use ndarray::{Array5, ArrayView5, s};
use tensor_ops::{Element, TensorError, check_axis, check_not_empty};

use crate::ConvLstmError;
use crate::weights::zeros;

/// Height and width of the maps of patches: what does not fill a patch is filled up with zeros.
pub fn patched_size([height, width]: [usize; 2], patch: usize) -> [usize; 2] {
    [height.div_ceil(patch.max(1)), width.div_ceil(patch.max(1))]
}

/// Cuts frames into patches: `[batch, time, channels, height, width]` to
/// `[batch, time, patch² · channels, ⌈height / patch⌉, ⌈width / patch⌉]`, with zeros below and to the right where the size is no
/// multiple.
///
/// # Errors
/// [`ConvLstmError`] for a patch of 0 pixels or an array without values.
///
/// ```
/// use convlstm::{patchify, unpatchify};
/// use ndarray::Array5;
///
/// let frames = Array5::from_shape_fn((1, 1, 1, 3, 4), |(_, _, _, y, x)| (4 * y + x) as f32);
/// let patches = patchify(frames.view(), 2)?;
/// assert_eq!(patches.dim(), (1, 1, 4, 2, 2));
/// assert_eq!(patches[[0, 0, 3, 0, 1]], 7.0); // row 1, column 1 of the patch that starts at (0, 2)
/// assert_eq!(unpatchify(patches.view(), 2, [3, 4])?, frames);
/// # Ok::<(), convlstm::ConvLstmError>(())
/// ```
pub fn patchify<T: Element>(frames: ArrayView5<'_, T>, patch: usize) -> Result<Array5<T>, ConvLstmError> {
    const NAME: &str = "patchify";
    check_not_empty(NAME, "patch", patch)?;
    let (batch, time, channels, height, width) = frames.dim();
    for (axis, size) in [("batch", batch), ("time", time), ("channels", channels), ("height", height), ("width", width)]
    {
        check_not_empty(NAME, axis, size)?;
    }
    let [rows, columns] = patched_size([height, width], patch);
    let patched = patch.saturating_mul(patch).saturating_mul(channels);
    let mut patches = zeros("patches", [batch, time, patched, rows, columns])?;
    for y in 0..patch.min(height) {
        for x in 0..patch.min(width) {
            let first = (y * patch + x) * channels;
            let source = frames.slice(s![.., .., .., y..; patch, x..; patch]);
            let (_, _, _, rows, columns) = source.dim();
            patches.slice_mut(s![.., .., first..first + channels, ..rows, ..columns]).assign(&source);
        }
    }
    Ok(patches)
}

/// The inverse of [`patchify`] for frames of height and width `size`: what was filled up is cut off.
///
/// # Errors
/// [`ConvLstmError`] for a patch of 0 pixels, channels that are no multiple of patch², or maps of another size than `size`
/// leads to.
pub fn unpatchify<T: Element>(
    patches: ArrayView5<'_, T>,
    patch: usize,
    size: [usize; 2],
) -> Result<Array5<T>, ConvLstmError> {
    const NAME: &str = "unpatchify";
    check_not_empty(NAME, "patch", patch)?;
    let (batch, time, patched, rows, columns) = patches.dim();
    if patched == 0 || !patched.is_multiple_of(patch.saturating_mul(patch)) {
        let requirement = "a multiple of the pixels of a patch";
        let found = format!("{patched} for a patch of {patch}");
        return Err(TensorError::InvalidOption { operation: NAME, option: "channels", requirement, found }.into());
    }
    let [expected_rows, expected_columns] = patched_size(size, patch);
    check_axis(NAME, "height", expected_rows, rows)?;
    check_axis(NAME, "width", expected_columns, columns)?;
    let channels = patched / (patch * patch);
    let [height, width] = size;
    let mut frames = zeros("frames", [batch, time, channels, height, width])?;
    for y in 0..patch.min(height) {
        for x in 0..patch.min(width) {
            let first = (y * patch + x) * channels;
            let mut target = frames.slice_mut(s![.., .., .., y..; patch, x..; patch]);
            let (_, _, _, rows, columns) = target.dim();
            target.assign(&patches.slice(s![.., .., first..first + channels, ..rows, ..columns]));
        }
    }
    Ok(frames)
}
