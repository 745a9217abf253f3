//! The transforms at the points 0, ±a, ±b and ∞, in one dimension.

use super::SIDE;
use crate::Element;
use crate::simd::Simd;

/// Points of a tile.
pub(super) const POINTS: usize = SIDE * SIDE;

const A: f64 = 0.75;
const B: f64 = 1.5;

/// Channels that are transformed together.
pub(super) const BLOCK: usize = 8;

/// One number of every channel of a block.
pub(super) type Block = [f64; BLOCK];

/// G for kernels of `R` × `R`: powers of the points over the divisors of Lagrange's interpolation.
const fn kernel_matrix<const R: usize>() -> [[f64; R]; SIDE] {
    let (a, b) = (A * A, B * B);
    let (of_a, of_b) = (2.0 * a * (a - b), 2.0 * b * (b - a));
    let points = [(0.0, a * b), (A, of_a), (-A, of_a), (B, of_b), (-B, of_b)];
    let mut matrix = [[0.0; R]; SIDE];
    let mut row = 0;
    while row < points.len() {
        let (point, divisor) = points[row];
        let (mut column, mut power) = (0, 1.0);
        while column < R {
            matrix[row][column] = power / divisor;
            power *= point;
            column += 1;
        }
        row += 1;
    }
    // At infinity, the leading coefficient.
    matrix[SIDE - 1][R - 1] = 1.0;
    matrix
}

/// L X Lᵀ for every channel of a block.
fn from_both_sides<const N: usize, const M: usize>(
    matrix: &[[f64; N]; M],
    values: &[[Block; N]; N],
) -> [[Block; M]; M] {
    let mut half = [[[0.0; BLOCK]; N]; M];
    for m in 0..M {
        for n in 0..N {
            for k in 0..N {
                for c in 0..BLOCK {
                    half[m][n][c] += matrix[m][k] * values[k][n][c];
                }
            }
        }
    }
    let mut whole = [[[0.0; BLOCK]; M]; M];
    for m in 0..M {
        for n in 0..M {
            for k in 0..N {
                for c in 0..BLOCK {
                    whole[m][n][c] += matrix[n][k] * half[m][k][c];
                }
            }
        }
    }
    whole
}

/// G g Gᵀ
pub(super) fn kernel_values<const R: usize>(kernels: &[[Block; R]; R]) -> [[Block; SIDE]; SIDE] {
    from_both_sides(&const { kernel_matrix::<R>() }, kernels)
}

/// Gᵀ M G
pub(super) fn kernel_gradient<const R: usize>(values: &[[Block; SIDE]; SIDE]) -> [[Block; R]; R] {
    let matrix = const { kernel_matrix::<R>() };
    from_both_sides(&std::array::from_fn(|r| std::array::from_fn(|point| matrix[point][r])), values)
}

/// Constants of the vector transforms.
#[derive(Clone, Copy)]
pub(super) struct Constants<V> {
    a: V,
    b: V,
    minus_a: V,
    minus_b: V,
    a2: V,
    b2: V,
    a3: V,
    b3: V,
    minus_a2: V,
    minus_b2: V,
    /// a² b²
    product: V,
    /// −(a² + b²)
    minus_sum: V,
}

impl<V: Copy> Constants<V> {
    #[inline(always)]
    pub(super) fn new<T: Element, S: Simd<T, Vector = V>>(simd: S) -> Self {
        let splat = |value: f64| simd.splat(T::from_f64(value));
        Self {
            a: splat(A),
            b: splat(B),
            minus_a: splat(-A),
            minus_b: splat(-B),
            a2: splat(A * A),
            b2: splat(B * B),
            a3: splat(A * A * A),
            b3: splat(B * B * B),
            minus_a2: splat(-A * A),
            minus_b2: splat(-B * B),
            product: splat(A * A * B * B),
            minus_sum: splat(-A * A - B * B),
        }
    }

    /// The values at the points: `Bᵀ y` of a row of [`SIDE`] pixels, `A y` of a row of 2 or 4 outputs.
    #[inline(always)]
    pub(super) fn at_points<T: Element, S: Simd<T, Vector = V>, const N: usize>(
        &self,
        simd: S,
        y: [V; N],
    ) -> [V; SIDE] {
        if N == SIDE {
            let mut pixels = [y[0]; SIDE];
            pixels.copy_from_slice(&y);
            self.pixels(simd, pixels)
        } else {
            self.gradients(simd, y)
        }
    }

    /// Bᵀ d
    #[inline(always)]
    fn pixels<T: Element, S: Simd<T, Vector = V>>(&self, simd: S, d: [V; SIDE]) -> [V; SIDE] {
        let even_a = simd.mul_add(self.minus_b2, d[2], d[4]);
        let odd_a = simd.mul_add(self.minus_b2, d[1], d[3]);
        let even_b = simd.mul_add(self.minus_a2, d[2], d[4]);
        let odd_b = simd.mul_add(self.minus_a2, d[1], d[3]);
        [
            simd.mul_add(self.product, d[0], simd.mul_add(self.minus_sum, d[2], d[4])),
            simd.mul_add(self.a, odd_a, even_a),
            simd.mul_add(self.minus_a, odd_a, even_a),
            simd.mul_add(self.b, odd_b, even_b),
            simd.mul_add(self.minus_b, odd_b, even_b),
            simd.mul_add(self.product, d[1], simd.mul_add(self.minus_sum, d[3], d[5])),
        ]
    }

    /// Aᵀ m for `M` = 2 or 4 outputs.
    #[inline(always)]
    pub(super) fn outputs<T: Element, S: Simd<T, Vector = V>, const M: usize>(&self, simd: S, m: [V; SIDE]) -> [V; M] {
        let (sum_a, difference_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_b, difference_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        // Loops, not closures: the compiler puts a closure this large into a function without the vector instructions.
        let mut outputs = [m[0]; M];
        for (power, output) in outputs.iter_mut().enumerate() {
            let value = match power {
                0 => simd.add(m[0], simd.add(sum_a, sum_b)),
                1 => simd.mul_add(self.b, difference_b, simd.mul(self.a, difference_a)),
                2 => simd.mul_add(self.b2, sum_b, simd.mul(self.a2, sum_a)),
                _ => simd.mul_add(self.b3, difference_b, simd.mul(self.a3, difference_a)),
            };
            *output = if power + 1 == M { simd.add(value, m[5]) } else { value };
        }
        outputs
    }

    /// A y for `M` = 2 or 4 outputs.
    #[inline(always)]
    fn gradients<T: Element, S: Simd<T, Vector = V>, const M: usize>(&self, simd: S, y: [V; M]) -> [V; SIDE] {
        let [even_a, odd_a, even_b, odd_b] = if M == 4 {
            [
                simd.mul_add(self.a2, y[M / 2], y[0]),
                simd.mul_add(self.a2, y[M - 1], y[1]),
                simd.mul_add(self.b2, y[M / 2], y[0]),
                simd.mul_add(self.b2, y[M - 1], y[1]),
            ]
        } else {
            [y[0], y[1], y[0], y[1]]
        };
        [
            y[0],
            simd.mul_add(self.a, odd_a, even_a),
            simd.mul_add(self.minus_a, odd_a, even_a),
            simd.mul_add(self.b, odd_b, even_b),
            simd.mul_add(self.minus_b, odd_b, even_b),
            y[M - 1],
        ]
    }
}
