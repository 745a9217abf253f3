//! How a camera was held.

/// A turn by right angles, with or without a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orientation {
    /// Whether rows become columns.
    transposed: bool,
    /// Whether rows and columns of the result run backwards.
    reversed: [bool; 2],
}

impl Orientation {
    pub(crate) const UPRIGHT: Self = Self { transposed: false, reversed: [false, false] };

    /// Of the matrix `[a, b, c, d]` that takes the point `(x, y)`, y down, to `(ax + cy, bx + dy)`. Angles that are not
    /// right, which players ignore as well, leave pictures upright.
    pub(crate) fn from_matrix([a, b, c, d]: [i32; 4]) -> Self {
        match [a.signum(), b.signum(), c.signum(), d.signum()] {
            [x @ (1 | -1), 0, 0, y @ (1 | -1)] => Self { transposed: false, reversed: [y < 0, x < 0] },
            [0, y @ (1 | -1), x @ (1 | -1), 0] => Self { transposed: true, reversed: [y < 0, x < 0] },
            _ => Self::UPRIGHT,
        }
    }

    /// The height and the width after the turn of what had this height and width before it, and the other way round.
    pub(crate) fn turned_size(self, [height, width]: [usize; 2]) -> [usize; 2] {
        if self.transposed { [width, height] } else { [height, width] }
    }

    /// Writes `pixels`, `[height, width, 3]`, to `target` as they are shown.
    pub(crate) fn apply(self, pixels: &[u8], [height, width]: [usize; 2], target: &mut [u8]) {
        let [rows, columns] = self.turned_size([height, width]);
        for (row, target) in target.chunks_exact_mut(3 * columns).enumerate().take(rows) {
            let row = if self.reversed[0] { rows - 1 - row } else { row };
            for (column, pixel) in target.chunks_exact_mut(3).enumerate() {
                let column = if self.reversed[1] { columns - 1 - column } else { column };
                let [y, x] = if self.transposed { [column, row] } else { [row, column] };
                pixel.copy_from_slice(&pixels[3 * (y * width + x)..][..3]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_orientations_move_corners() {
        // The picture   1 2 3
        //               4 5 6
        let cases: [([i32; 4], [usize; 2], [u8; 6]); 9] = [
            ([1, 0, 0, 1], [2, 3], [1, 2, 3, 4, 5, 6]),
            ([0, 1, -1, 0], [3, 2], [4, 1, 5, 2, 6, 3]),
            ([-1, 0, 0, -1], [2, 3], [6, 5, 4, 3, 2, 1]),
            ([0, -1, 1, 0], [3, 2], [3, 6, 2, 5, 1, 4]),
            ([-1, 0, 0, 1], [2, 3], [3, 2, 1, 6, 5, 4]),
            ([1, 0, 0, -1], [2, 3], [4, 5, 6, 1, 2, 3]),
            ([0, 1, 1, 0], [3, 2], [1, 4, 2, 5, 3, 6]),
            ([0, -1, -1, 0], [3, 2], [6, 3, 5, 2, 4, 1]),
            ([1, 1, -1, 1], [2, 3], [1, 2, 3, 4, 5, 6]),
        ];
        let pixels: Vec<u8> = (1..=6).flat_map(|pixel| [pixel; 3]).collect();
        for (matrix, size, expected) in cases {
            let orientation = Orientation::from_matrix(matrix.map(|entry| entry << 16));
            assert_eq!(orientation.turned_size([2, 3]), size, "{matrix:?}");
            let mut target = [0; 18];
            orientation.apply(&pixels, [2, 3], &mut target);
            let found: Vec<u8> = target.chunks(3).map(|pixel| pixel[0]).collect();
            assert_eq!(found, expected, "{matrix:?}");
        }
    }
}
