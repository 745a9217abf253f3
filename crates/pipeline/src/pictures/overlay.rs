//! What is looked at, laid over frames.

use ndarray::{Array3, ArrayView2, ArrayView3, s};

use super::encode::encode_rgb;
use super::{ColourScale, PictureError};

/// The colour of what is looked at.
const ACCENT: [f32; 3] = [255.0, 122.0, 24.0];
/// How much of the frame a share of 1 hides.
const STRENGTH: f32 = 0.8;
/// The largest height and width of a picture.
const MAX_SIZE: usize = 1 << 14;

/// A PNG file of `frames`, `[time, height, width]`, in grey and beside each other, each of their pixels a square of
/// `magnification` pixels, and over them `shares`, `[time, rows, columns]`, from 0 to 1: the larger a share, the more of the
/// frame is hidden by orange.
///
/// The rows and columns of the shares are spread over the whole frame, with smooth transitions. What is outside counts as the
/// nearest share, what is no number as 0.
///
/// # Errors
/// [`PictureError`] if there are no frames or shares, these have no pixels, their times differ, the magnification is 0, or
/// the picture would have more than 16384 pixels along an axis.
///
/// ```
/// use ndarray::Array3;
/// use pipeline::pictures::encode_overlay;
///
/// let (frames, shares) = (Array3::zeros((5, 16, 16)), Array3::from_elem((5, 4, 4), 0.5));
/// let bytes = encode_overlay(frames.view(), shares.view(), 4)?;
/// assert_eq!(&bytes[1..4], b"PNG");
/// # Ok::<(), pipeline::pictures::PictureError>(())
/// ```
pub fn encode_overlay(
    frames: ArrayView3<'_, f32>,
    shares: ArrayView3<'_, f32>,
    magnification: usize,
) -> Result<Vec<u8>, PictureError> {
    let (time, height, width) = frames.dim();
    let (times, rows, columns) = shares.dim();
    let sizes = [
        ("frames", time),
        ("height of frames", height),
        ("width of frames", width),
        ("rows of shares", rows),
        ("columns of shares", columns),
        ("magnification", magnification),
    ];
    if let Some((what, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
        return Err(PictureError::Empty { what });
    }
    if times != time {
        let label = "shares".to_owned();
        return Err(PictureError::Size { label, axis: "number of frames", expected: time, found: times });
    }
    let [height, width] = [height, width].map(|size| size.saturating_mul(magnification));
    let total = width.saturating_mul(time);
    if height > MAX_SIZE || total > MAX_SIZE {
        return Err(PictureError::TooLarge { width: total, height, limit: MAX_SIZE });
    }
    let mut pixels = Array3::zeros((height, total, 3));
    for (position, (frame, shares)) in frames.outer_iter().zip(shares.outer_iter()).enumerate() {
        let mut place = pixels.slice_mut(s![.., position * width..(position + 1) * width, ..]);
        for y in 0..height {
            for x in 0..width {
                let value = frame[[y / magnification, x / magnification]];
                let grey = ColourScale::Grey.colour(value).map(f32::from);
                let hidden = STRENGTH * smooth(shares, [y, x], [height, width]);
                for channel in 0..3 {
                    let mixed = grey[channel] + hidden * (ACCENT[channel] - grey[channel]);
                    place[[y, x, channel]] = mixed.round() as u8;
                }
            }
        }
    }
    encode_rgb(pixels.view()).map_err(|source| PictureError::Encoding { source })
}

/// The share at the middle of the pixel `place` of a picture of `size` pixels over which `shares` are spread: linear
/// between the middles of the four nearest, the outermost continued to the edge.
fn smooth(shares: ArrayView2<'_, f32>, place: [usize; 2], size: [usize; 2]) -> f32 {
    let along = |axis: usize| {
        let count = shares.shape()[axis];
        let middle = (place[axis] as f32 + 0.5) / size[axis] as f32 * count as f32 - 0.5;
        let middle = middle.clamp(0.0, (count - 1) as f32);
        let first = middle as usize;
        (first, (first + 1).min(count - 1), middle - first as f32)
    };
    let ((top, bottom, down), (left, right, across)) = (along(0), along(1));
    let at = |row, column| {
        let share = shares[[row, column]];
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    };
    let between = |first: f32, second: f32, part: f32| first + part * (second - first);
    between(between(at(top, left), at(top, right), across), between(at(bottom, left), at(bottom, right), across), down)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn shares_are_spread_smoothly() {
        let shares = array![[0.0, 0.25], [0.5, 0.75]];
        let cases = [([0, 0], 0.0), ([0, 3], 0.25), ([3, 0], 0.5), ([3, 3], 0.75), ([1, 1], 0.1875), ([1, 2], 0.3125)];
        for (place, expected) in cases {
            assert_eq!(smooth(shares.view(), place, [4, 4]), expected, "{place:?}");
        }
        let one = array![[0.5]];
        assert_eq!(smooth(one.view(), [3, 2], [4, 4]), 0.5);
        let odd = array![[f32::NAN, -1.0]];
        assert_eq!(smooth(odd.view(), [0, 1], [1, 2]), 0.0);
    }
}
