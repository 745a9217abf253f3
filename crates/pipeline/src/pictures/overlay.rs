//! Weights laid over frames.

use ndarray::{Array3, ArrayView2, ArrayView3, s};

use super::encode::encode_rgb;
use super::{ColourScale, PictureError};

/// The colour that the largest weight takes.
const ACCENT: [f32; 3] = [255.0, 122.0, 24.0];
/// How much of the frame the largest weight hides.
const STRENGTH: f32 = 0.8;
/// The largest height and width of a picture.
const MAX_SIZE: usize = 1 << 14;

/// A PNG file of `frames`, `[time, height, width]`, in grey and beside each other, each of their pixels a square of
/// `magnification` pixels, and over them `weights`, `[time, rows, columns]`: the larger a weight, the more of the frame is
/// hidden by orange, most where it is the largest of all.
///
/// The rows and columns of the weights are spread over the whole frame, with smooth transitions. What is no number counts as
/// 0.
///
/// # Errors
/// [`PictureError`] if there are no frames or weights, these have no pixels, their times differ, the magnification is 0, or
/// the picture would have more than 16384 pixels along an axis.
///
/// ```
/// use ndarray::Array3;
/// use pipeline::pictures::encode_overlay;
///
/// let (frames, weights) = (Array3::zeros((5, 16, 16)), Array3::from_elem((5, 4, 4), 1.0 / 16.0));
/// let bytes = encode_overlay(frames.view(), weights.view(), 4)?;
/// assert_eq!(&bytes[1..4], b"PNG");
/// # Ok::<(), pipeline::pictures::PictureError>(())
/// ```
pub fn encode_overlay(
    frames: ArrayView3<'_, f32>,
    weights: ArrayView3<'_, f32>,
    magnification: usize,
) -> Result<Vec<u8>, PictureError> {
    let (time, height, width) = frames.dim();
    let (times, rows, columns) = weights.dim();
    let sizes = [
        ("frames", time),
        ("height of frames", height),
        ("width of frames", width),
        ("rows of weights", rows),
        ("columns of weights", columns),
        ("magnification", magnification),
    ];
    if let Some((what, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
        return Err(PictureError::Empty { what });
    }
    if times != time {
        let label = "weights".to_owned();
        return Err(PictureError::Size { label, axis: "number of frames", expected: time, found: times });
    }
    let [height, width] = [height, width].map(|size| size.saturating_mul(magnification));
    let total = width.saturating_mul(time);
    if height > MAX_SIZE || total > MAX_SIZE {
        return Err(PictureError::TooLarge { width: total, height, limit: MAX_SIZE });
    }
    let largest = weights.iter().copied().fold(0.0, f32::max);
    let mut pixels = Array3::zeros((height, total, 3));
    for (position, (frame, weights)) in frames.outer_iter().zip(weights.outer_iter()).enumerate() {
        let mut place = pixels.slice_mut(s![.., position * width..(position + 1) * width, ..]);
        for y in 0..height {
            for x in 0..width {
                let value = frame[[y / magnification, x / magnification]];
                let grey = ColourScale::Grey.colour(value).map(f32::from);
                let weight = smooth(weights, [y, x], [height, width]);
                let share = if largest > 0.0 { STRENGTH * weight / largest } else { 0.0 };
                for channel in 0..3 {
                    let mixed = grey[channel] + share * (ACCENT[channel] - grey[channel]);
                    place[[y, x, channel]] = mixed.round() as u8;
                }
            }
        }
    }
    encode_rgb(pixels.view()).map_err(|source| PictureError::Encoding { source })
}

/// The weight at the middle of the pixel `place` of a picture of `size` pixels over which `weights` are spread: linear
/// between the middles of the four nearest, the outermost continued to the edge.
fn smooth(weights: ArrayView2<'_, f32>, place: [usize; 2], size: [usize; 2]) -> f32 {
    let along = |axis: usize| {
        let count = weights.shape()[axis];
        let middle = (place[axis] as f32 + 0.5) / size[axis] as f32 * count as f32 - 0.5;
        let middle = middle.clamp(0.0, (count - 1) as f32);
        let first = middle as usize;
        (first, (first + 1).min(count - 1), middle - first as f32)
    };
    let ((top, bottom, down), (left, right, across)) = (along(0), along(1));
    let at = |row, column| {
        let weight = weights[[row, column]];
        if weight.is_finite() { weight.max(0.0) } else { 0.0 }
    };
    let between = |first: f32, second: f32, part: f32| first + part * (second - first);
    between(between(at(top, left), at(top, right), across), between(at(bottom, left), at(bottom, right), across), down)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn weights_are_spread_smoothly() {
        let weights = array![[0.0, 1.0], [2.0, 3.0]];
        let cases = [([0, 0], 0.0), ([0, 3], 1.0), ([3, 0], 2.0), ([3, 3], 3.0), ([1, 1], 0.75), ([1, 2], 1.25)];
        for (place, expected) in cases {
            assert_eq!(smooth(weights.view(), place, [4, 4]), expected, "{place:?}");
        }
        let one = array![[0.5]];
        assert_eq!(smooth(one.view(), [3, 2], [4, 4]), 0.5);
        let odd = array![[f32::NAN, -1.0]];
        assert_eq!(smooth(odd.view(), [0, 1], [1, 2]), 0.0);
    }
}
