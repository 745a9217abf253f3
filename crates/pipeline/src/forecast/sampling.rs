//! Images between their pixels.

use ndarray::ArrayView2;

/// The value of `image`, `[height, width]`, at the row `y` and the column `x`, interpolated between the four pixels around
/// it; beyond the border, the value of the nearest place on it.
pub(super) fn bilinear(image: ArrayView2<'_, f32>, y: f32, x: f32) -> f32 {
    let (height, width) = image.dim();
    let (top, bottom, below) = neighbours(y, height);
    let (left, right, beside) = neighbours(x, width);
    let across = |row: usize| image[[row, left]] + beside * (image[[row, right]] - image[[row, left]]);
    let (above, under) = (across(top), across(bottom));
    above + below * (under - above)
}

/// The two pixels around `position` on an axis of `size` pixels, and the weight of the second.
fn neighbours(position: f32, size: usize) -> (usize, usize, f32) {
    let last = size - 1;
    // `max` turns what is no number into 0.
    let position = position.max(0.0).min(last as f32);
    let first = position as usize;
    (first, (first + 1).min(last), position - first as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn values_lie_between_the_pixels() {
        let image = array![[0.0, 1.0, 2.0], [4.0, 5.0, 6.0]];
        let cases = [
            ((0.0, 0.0), 0.0),
            ((1.0, 2.0), 6.0),
            ((0.5, 1.25), 3.25),
            ((-7.0, 1.5), 1.5),
            ((0.25, 9.0), 3.0),
            ((f32::NAN, 0.0), 0.0),
            ((f32::INFINITY, f32::NEG_INFINITY), 4.0),
        ];
        for ((y, x), expected) in cases {
            assert_eq!(bilinear(image.view(), y, x), expected, "({y}, {x})");
        }
        assert_eq!(bilinear(array![[3.0]].view(), 0.4, 0.4), 3.0);
    }
}
