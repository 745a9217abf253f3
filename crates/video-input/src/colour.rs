//! From luma and chroma to red, green and blue.

use crate::ColourMatrix;

/// How the numbers of luma and chroma are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colours {
    pub(crate) matrix: ColourMatrix,
    /// Whether luma runs from 0 to 255, and not from 16 to 235.
    pub(crate) full_range: bool,
}

/// The planes of a picture of 8 bits per sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes<'a> {
    pub(crate) luma: &'a [u8],
    /// The two chroma planes; `None` for a picture in shades of grey.
    pub(crate) chroma: Option<[&'a [u8]; 2]>,
    /// Bytes from one row to the next: of luma and of chroma.
    pub(crate) strides: [usize; 2],
    /// The base-2 logarithms of how many rows and columns of luma share a chroma sample.
    pub(crate) shifts: [u32; 2],
}

/// The bits after the binary point of all factors.
const FRACTION: u32 = 16;

/// The conversion of one kind of colours, in fixed-point numbers.
#[derive(Clone, Debug)]
pub(crate) struct Converter {
    luma: i32,
    /// What is added to luma after it has been multiplied: its offset, and one half for rounding.
    offset: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
    /// What the chroma samples of a row add to each colour.
    row: Vec<[i32; 3]>,
}

impl Converter {
    pub(crate) fn new(colours: Colours) -> Self {
        let (red, blue) = match colours.matrix {
            ColourMatrix::Bt601 => (0.299, 0.114),
            ColourMatrix::Bt709 => (0.2126, 0.0722),
            ColourMatrix::Bt2020 => (0.2627, 0.0593),
        };
        let green = 1.0 - red - blue;
        let (black, luma, chroma) = if colours.full_range { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
        let fixed = |factor: f64| (factor * f64::from(1 << FRACTION)).round() as i32;
        let luma = fixed(luma);
        Self {
            luma,
            offset: (1 << (FRACTION - 1)) - black * luma,
            red_v: fixed(chroma * 2.0 * (1.0 - red)),
            green_u: fixed(chroma * -2.0 * (1.0 - blue) * blue / green),
            green_v: fixed(chroma * -2.0 * (1.0 - red) * red / green),
            blue_u: fixed(chroma * 2.0 * (1.0 - blue)),
            row: Vec::new(),
        }
    }

    /// Writes the pixels of `planes` to `target`, `[height, width, 3]`. Where pixels share a chroma sample, all take it
    /// unchanged, wherever between them it was sampled.
    ///
    /// # Panics
    /// If a plane or `target` is too short.
    pub(crate) fn convert(&mut self, planes: &Planes<'_>, [height, width]: [usize; 2], target: &mut [u8]) {
        let chroma_width = width.div_ceil(1 << planes.shifts[1]);
        self.row.clear();
        self.row.resize(chroma_width, [0; 3]);
        let mut row_of_chroma = usize::MAX;
        for (y, target) in target.chunks_exact_mut(3 * width).take(height).enumerate() {
            let luma = &planes.luma[y * planes.strides[0]..][..width];
            if let Some(chroma) = planes.chroma
                && row_of_chroma != y >> planes.shifts[0]
            {
                row_of_chroma = y >> planes.shifts[0];
                let [u, v] = chroma.map(|plane| &plane[row_of_chroma * planes.strides[1]..][..chroma_width]);
                for ((sums, &u), &v) in self.row.iter_mut().zip(u).zip(v) {
                    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
                    *sums = [self.red_v * v, self.green_u * u + self.green_v * v, self.blue_u * u];
                }
            }
            let shift = planes.shifts[1];
            let columns = 1 << shift;
            let (luma_factor, offset) = (self.luma, self.offset);
            let groups = target.chunks_mut(3 * columns).zip(luma.chunks(columns));
            for ((target, luma), sums) in groups.zip(&self.row) {
                for (pixel, &luma) in target.chunks_exact_mut(3).zip(luma) {
                    let luma = i32::from(luma) * luma_factor + offset;
                    for (channel, sum) in pixel.iter_mut().zip(sums) {
                        *channel = ((luma + sum) >> FRACTION).clamp(0, 255) as u8;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixel that one sample of luma and chroma becomes.
    fn pixel(matrix: ColourMatrix, full_range: bool, [y, u, v]: [u8; 3]) -> [u8; 3] {
        let planes = Planes { luma: &[y], chroma: Some([&[u], &[v]]), strides: [1, 1], shifts: [0, 0] };
        let mut target = [0; 3];
        Converter::new(Colours { matrix, full_range }).convert(&planes, [1, 1], &mut target);
        target
    }

    #[test]
    fn colours_are_those_of_the_standards() {
        use ColourMatrix::{Bt601, Bt709, Bt2020};
        // Y = 16 + 219 Σ, U = 128 + 112 (B - Y') / (1 - Kb), V = 128 + 112 (R - Y') / (1 - Kr), rounded.
        let cases = [
            (Bt601, false, [16, 128, 128], [0, 0, 0]),
            (Bt601, false, [235, 128, 128], [255, 255, 255]),
            (Bt601, false, [126, 128, 128], [128, 128, 128]),
            (Bt601, false, [81, 90, 240], [254, 0, 0]),
            (Bt601, false, [145, 54, 34], [0, 255, 1]),
            (Bt601, false, [41, 240, 110], [0, 0, 255]),
            (Bt709, false, [63, 102, 240], [255, 1, 0]),
            (Bt709, false, [173, 42, 26], [0, 255, 1]),
            (Bt709, false, [32, 240, 118], [1, 0, 255]),
            (Bt2020, false, [74, 97, 240], [255, 0, 1]),
            (Bt601, true, [0, 128, 128], [0, 0, 0]),
            (Bt601, true, [255, 128, 128], [255, 255, 255]),
            (Bt601, true, [76, 85, 255], [254, 0, 0]),
            (Bt601, true, [77, 128, 128], [77, 77, 77]),
            (Bt601, false, [0, 128, 128], [0, 0, 0]),
            (Bt601, false, [255, 128, 128], [255, 255, 255]),
        ];
        for (matrix, full_range, samples, expected) in cases {
            assert_eq!(pixel(matrix, full_range, samples), expected, "{matrix:?} full {full_range} {samples:?}");
        }
    }

    #[test]
    fn the_fixed_point_numbers_are_within_one_of_exact_ones() {
        for y in (0..=255).step_by(5) {
            for u in (0..=255).step_by(15) {
                for v in (0..=255).step_by(15) {
                    let (l, cb, cr) = (f64::from(y) - 16.0, f64::from(u) - 128.0, f64::from(v) - 128.0);
                    let l = l * 255.0 / 219.0;
                    let exact = [
                        l + 1.402 * cr * 255.0 / 224.0,
                        l - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587 * 255.0 / 224.0,
                        l + 1.772 * cb * 255.0 / 224.0,
                    ];
                    let found = pixel(ColourMatrix::Bt601, false, [y, u, v].map(|sample| sample as u8));
                    for (exact, found) in exact.into_iter().zip(found) {
                        let error = (exact.clamp(0.0, 255.0) - f64::from(found)).abs();
                        assert!(error < 0.51, "{y} {u} {v}: {exact} {found}");
                    }
                }
            }
        }
    }

    #[test]
    fn shared_chroma_covers_odd_sizes() {
        let luma: Vec<u8> = (0..15).map(|step| 100 + step).collect();
        let (u, v) = ([128, 200, 40, 90, 10, 128], [128, 30, 220, 60, 250, 100]);
        for shifts in [[0, 0], [0, 1], [1, 1], [0, 2]] {
            let [rows, columns] = [3_usize.div_ceil(1 << shifts[0]), 5_usize.div_ceil(1 << shifts[1])];
            let chroma = [u, v].map(|plane| (0..rows * columns).map(|at| plane[at % 6]).collect::<Vec<u8>>());
            let planes = Planes { luma: &luma, chroma: Some([&chroma[0], &chroma[1]]), strides: [5, columns], shifts };
            let mut target = [0; 45];
            Converter::new(Colours { matrix: ColourMatrix::Bt601, full_range: true }).convert(
                &planes,
                [3, 5],
                &mut target,
            );
            for y in 0..3 {
                for x in 0..5 {
                    let at = (y >> shifts[0]) * columns + (x >> shifts[1]);
                    let expected = pixel(ColourMatrix::Bt601, true, [luma[5 * y + x], chroma[0][at], chroma[1][at]]);
                    assert_eq!(target[3 * (5 * y + x)..][..3], expected, "{shifts:?} at {y}, {x}");
                }
            }
        }
    }
}
