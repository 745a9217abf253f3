//! Comparison of arrays, with the worst mismatches in the message.

use ndarray::{ArrayBase, Data, Dimension, IntoDimension};

use crate::Element;

const SHOWN: usize = 16;

/// Asserts `|a − e| ≤ atol + rtol · |e|` for every element of `actual` (a) and `expected` (e).
///
/// NaN is close to NaN only, an infinity to itself only.
///
/// # Panics
/// If the shapes differ, or elements do; the message shows the 16 worst with their indices.
#[track_caller]
pub fn assert_all_close<T, S1, S2, D>(actual: &ArrayBase<S1, D>, expected: &ArrayBase<S2, D>, rtol: f64, atol: f64)
where
    T: Element,
    S1: Data<Elem = T>,
    S2: Data<Elem = T>,
    D: Dimension,
{
    compare("not close", actual, expected, |a, e| {
        let (a, e) = (a.to_f64(), e.to_f64());
        if a == e || (a.is_nan() && e.is_nan()) {
            return 0.0;
        }
        let excess = (a - e).abs() / (atol + rtol * e.abs());
        if excess.is_nan() { f64::INFINITY } else { excess }
    });
}

/// Asserts that every element of `actual` has the bits of the one in `expected`: 0 differs from −0.
///
/// # Panics
/// If the shapes differ, or elements do; the message shows the 16 worst with their indices.
#[track_caller]
pub fn assert_bits_equal<T, S1, S2, D>(actual: &ArrayBase<S1, D>, expected: &ArrayBase<S2, D>)
where
    T: Element,
    S1: Data<Elem = T>,
    S2: Data<Elem = T>,
    D: Dimension,
{
    // The conversion to f64 is exact for both element types.
    compare("bits differ", actual, expected, |a, e| {
        let (a, e) = (a.to_f64(), e.to_f64());
        if a.to_bits() == e.to_bits() { 0.0 } else { 2.0 + (a - e).abs() }
    });
}

/// Panics unless `excess` is at most 1 everywhere.
#[track_caller]
fn compare<T, S1, S2, D>(
    what: &str,
    actual: &ArrayBase<S1, D>,
    expected: &ArrayBase<S2, D>,
    excess: impl Fn(T, T) -> f64,
) where
    T: Element,
    S1: Data<Elem = T>,
    S2: Data<Elem = T>,
    D: Dimension,
{
    assert_eq!(actual.shape(), expected.shape(), "shapes differ (actual, expected)");
    let mut mismatches: Vec<(f64, String)> = Vec::new();
    for ((index, &a), &e) in actual.indexed_iter().zip(expected.iter()) {
        let excess = excess(a, e);
        if excess > 1.0 {
            let index = index.into_dimension();
            mismatches.push((excess, format!("{:?}: actual {a:e}, expected {e:e}", index.slice())));
        }
    }
    if mismatches.is_empty() {
        return;
    }
    mismatches.sort_by(|x, y| y.0.total_cmp(&x.0));
    let count = mismatches.len();
    let lines: Vec<String> = mismatches.into_iter().take(SHOWN).map(|(_, line)| line).collect();
    panic!("{what}: {count} of {} elements, worst first\n  {}", actual.len(), lines.join("\n  "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn close_arrays_pass() {
        assert_all_close(
            &array![[1.0, f64::NAN, f64::INFINITY]],
            &array![[1.0 + 1e-9, f64::NAN, f64::INFINITY]],
            1e-8,
            0.0,
        );
        assert_all_close(&Array1::<f32>::zeros(0), &Array1::zeros(0), 0.0, 0.0);
        assert_bits_equal(&array![1.0_f32, f32::MIN_POSITIVE], &array![1.0, f32::MIN_POSITIVE]);
    }

    #[test]
    #[should_panic(expected = "[0, 1]: actual 2e0, expected 3e0")]
    fn a_mismatch_is_shown_with_its_index() {
        assert_all_close(&array![[1.0, 2.0]], &array![[1.0, 3.0]], 1e-3, 1e-3);
    }

    #[test]
    #[should_panic(expected = "not close: 2 of 2 elements")]
    fn nan_and_infinity_are_not_close_to_numbers() {
        assert_all_close(&array![f32::NAN, f32::INFINITY], &array![1.0, 1.0], 1.0, 1.0);
    }

    #[test]
    #[should_panic(expected = "bits differ")]
    fn zeros_of_different_sign_have_different_bits() {
        assert_bits_equal(&array![0.0_f32], &array![-0.0]);
    }

    #[test]
    #[should_panic(expected = "shapes differ")]
    fn shapes_must_agree() {
        assert_all_close(&array![1.0], &array![1.0, 1.0], 1.0, 1.0);
    }
}
