//! The eight symmetries of a square.

use ndarray::{ArrayView3, Axis};

/// A symmetry of the square: a reflection of rows and columns, on top of an exchange of the two.
///
/// Seen from the ceiling, an action has no preferred direction, so a clip and its images under the eight symmetries
/// show the same action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symmetry {
    /// Rows and columns change places, before the flips.
    pub transpose: bool,
    /// The rows are put in reverse order.
    pub flip_rows: bool,
    /// The columns are put in reverse order.
    pub flip_columns: bool,
}

impl Symmetry {
    /// The symmetry that changes nothing.
    pub const IDENTITY: Self = Self { transpose: false, flip_rows: false, flip_columns: false };

    /// All eight, the identity first.
    pub const ALL: [Self; 8] = {
        let mut all = [Self::IDENTITY; 8];
        let mut index = 0;
        while index < 8 {
            all[index] = Self { transpose: index & 4 != 0, flip_rows: index & 2 != 0, flip_columns: index & 1 != 0 };
            index += 1;
        }
        all
    };

    /// The image of `frames`, `[time, height, width]`, every frame under the same symmetry. Copies nothing.
    ///
    /// ```
    /// use ndarray::array;
    /// use pipeline::data::Symmetry;
    ///
    /// let quarter_turn = Symmetry { transpose: true, flip_rows: true, flip_columns: false };
    /// let frames = array![[[1, 2], [3, 4]]];
    /// assert_eq!(quarter_turn.apply(frames.view()), array![[[2, 4], [1, 3]]]);
    /// ```
    pub fn apply<T>(self, mut frames: ArrayView3<'_, T>) -> ArrayView3<'_, T> {
        if self.transpose {
            frames.swap_axes(1, 2);
        }
        if self.flip_rows {
            frames.invert_axis(Axis(1));
        }
        if self.flip_columns {
            frames.invert_axis(Axis(2));
        }
        frames
    }

    /// The symmetry that undoes this one.
    pub fn inverse(self) -> Self {
        if self.transpose { Self { flip_rows: self.flip_columns, flip_columns: self.flip_rows, ..self } } else { self }
    }

    /// The symmetry that applies `self` first, `next` second.
    pub fn then(self, next: Self) -> Self {
        // Moved past the transposition of `next`, a flip of the rows becomes one of the columns.
        let (rows, columns) =
            if next.transpose { (self.flip_columns, self.flip_rows) } else { (self.flip_rows, self.flip_columns) };
        Self {
            transpose: self.transpose ^ next.transpose,
            flip_rows: rows ^ next.flip_rows,
            flip_columns: columns ^ next.flip_columns,
        }
    }
}
