//! The axis of a chart: what range it shows, and where its marks stand.

/// About so many spaces between marks are aimed at.
const SPACES: f64 = 5.0;

/// How the numbers along an axis are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// As they are.
    Plain,
    /// Whole numbers, such as epochs.
    Whole,
    /// Parts of a whole, in percent.
    Percent,
}

/// A range of numbers and its marks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) min: f64,
    pub(super) max: f64,
    /// Where a mark stands and what is written there.
    pub(super) marks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis for `values`, of which those that are not finite do not count; it begins and ends at a mark if `rounded`.
    pub(super) fn new(values: impl Iterator<Item = f64>, numbers: Numbers, rounded: bool) -> Self {
        let range = values.filter(|value| value.is_finite()).fold(None, |range: Option<[f64; 2]>, value| {
            let [min, max] = range.unwrap_or([value; 2]);
            Some([min.min(value), max.max(value)])
        });
        let [mut min, mut max] = range.unwrap_or([0.0, 1.0]);
        if max - min <= max.abs().max(min.abs()) * 1e-9 {
            // A single value stands in the middle.
            let room = if numbers == Numbers::Whole || min == 0.0 { 1.0 } else { min.abs() / 2.0 };
            (min, max) = (min - room, max + room);
        }
        let mut step = round_step((max - min) / SPACES);
        if numbers == Numbers::Whole {
            step = step.max(1.0);
        }
        if rounded {
            let (first, last) = ((min / step + 1e-9).floor(), (max / step - 1e-9).ceil());
            // Values that lie much closer together than whole numbers would round to the same mark.
            (min, max) = (first * step, last.max(first + 1.0) * step);
        }
        // Counted in steps, so that no mark is off by sums of rounding.
        let (first, last) = ((min / step - 1e-9).ceil(), (max / step + 1e-9).floor());
        let count = if (last - first).is_finite() { (last - first).max(0.0) as usize } else { 0 };
        let marks = (0..=count.min(20)).map(|index| {
            let value = (first + index as f64) * step;
            (value, write(value, step, numbers))
        });
        Self { min, max, marks: marks.collect() }
    }

    /// Where `value` lies: 0 at the beginning, 1 at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.min) / (self.max - self.min)
    }
}

/// The step of 1, 2 or 5 times a power of ten that is nearest above `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let digit = step / power;
    let round = [1.0, 2.0, 5.0].into_iter().find(|&round| digit <= round * (1.0 + 1e-9)).unwrap_or(10.0);
    round * power
}

/// A number beside its mark, with the decimals that tell marks `step` apart.
fn write(value: f64, step: f64, numbers: Numbers) -> String {
    let (value, step) = if numbers == Numbers::Percent { (value * 100.0, step * 100.0) } else { (value, step) };
    let decimals = (-(step * (1.0 + 1e-9)).log10().floor()).clamp(0.0, 9.0) as usize;
    // Zero has no sign, whatever rounding left of it.
    let value = if value.abs() < step / 2.0 { 0.0 } else { value };
    let text = if value.abs() >= 1e6 || decimals > 6 { format!("{value:.0e}") } else { format!("{value:.decimals$}") };
    if numbers == Numbers::Percent { format!("{text} %") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[f64], numbers: Numbers, rounded: bool) -> Vec<String> {
        Axis::new(values.iter().copied(), numbers, rounded).marks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn marks_are_round_numbers() {
        let cases: &[(&[f64], Numbers, bool, &[&str])] = &[
            (&[0.0, 1.0], Numbers::Percent, true, &["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
            (&[1.0, 25.0], Numbers::Whole, false, &["5", "10", "15", "20", "25"]),
            (&[1.0, 3.0], Numbers::Whole, false, &["1", "2", "3"]),
            (&[0.31, 1.94], Numbers::Plain, true, &["0.0", "0.5", "1.0", "1.5", "2.0"]),
            (&[0.0123, 0.0187], Numbers::Plain, true, &["0.012", "0.014", "0.016", "0.018", "0.020"]),
            (&[f64::NAN, 0.0, f64::INFINITY, 10.0], Numbers::Plain, true, &["0", "2", "4", "6", "8", "10"]),
            (&[-0.3, 0.3], Numbers::Plain, true, &["-0.4", "-0.2", "0.0", "0.2", "0.4"]),
        ];
        for (values, numbers, rounded, expected) in cases {
            assert_eq!(texts(values, *numbers, *rounded), *expected, "{values:?}");
        }
    }

    #[test]
    fn any_values_have_an_axis() {
        for values in [&[][..], &[f64::NAN], &[1.0], &[0.0], &[-3.0, -3.0], &[1e300, -1e300], &[1e-300, 2e-300]] {
            for numbers in [Numbers::Plain, Numbers::Whole, Numbers::Percent] {
                for rounded in [false, true] {
                    let axis = Axis::new(values.iter().copied(), numbers, rounded);
                    assert!(axis.min.is_finite() && axis.max > axis.min, "{values:?}: {axis:?}");
                    assert!(axis.marks.len() <= 21, "{values:?}: {axis:?}");
                    for &value in values.iter().filter(|value| value.is_finite()) {
                        let place = axis.place(value);
                        assert!((-1e-6..=1.000_001).contains(&place), "{value} at {place} of {axis:?}");
                    }
                }
            }
        }
    }
}
