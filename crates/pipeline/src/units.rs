//! Large numbers, amounts of memory and spans of time as people read them.

use std::fmt;
use std::time::Duration;

/// A number with all its digits, in groups of three: `13,524,496`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A number with three digits and the prefix of a unit: `24.9 G`. Below 1000 it is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magnitude(pub u64);

impl fmt::Display for Magnitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, prefix) = three_digits(self.0);
        if prefix.is_empty() { f.pad(&number) } else { f.pad(&format!("{number} {prefix}")) }
    }
}

/// An amount of memory in powers of 1000 bytes: `1.12 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, prefix) = three_digits(self.0);
        f.pad(&format!("{number} {prefix}B"))
    }
}

/// The number in units of a prefix, and the prefix.
fn three_digits(number: u64) -> (String, &'static str) {
    let mut prefixes = ["", "k", "M", "G", "T", "P", "E"].into_iter();
    let mut prefix = prefixes.next().unwrap_or_default();
    if number < 1000 {
        return (number.to_string(), prefix);
    }
    let mut value = number as f64;
    // From 999.5 on, three digits would round to 1000.
    while value >= 999.5 {
        let Some(next) = prefixes.next() else { break };
        (value, prefix) = (value / 1000.0, next);
    }
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    (format!("{value:.decimals$}"), prefix)
}

/// A span of time in its two largest units: `12.3 s`, `4 min 10 s`, `3 h 20 min`, `12 d 4 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan(pub Duration);

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.as_secs_f64();
        // Each limit is where the smaller unit would round up to one of the larger.
        if exact < 9.95e-3 {
            return f.pad(&format!("{:.1} ms", exact * 1e3));
        }
        if exact < 0.9995 {
            return f.pad(&format!("{:.0} ms", exact * 1e3));
        }
        if exact < 59.95 {
            return f.pad(&format!("{exact:.1} s"));
        }
        let (seconds, minutes, hours) = (exact.round(), (exact / 60.0).round(), (exact / 3600.0).round());
        let (number, parts, units) = if seconds < 3600.0 {
            (seconds, 60.0, ["min", "s"])
        } else if minutes < 24.0 * 60.0 {
            (minutes, 60.0, ["h", "min"])
        } else {
            (hours, 24.0, ["d", "h"])
        };
        f.pad(&format!("{:.0} {} {:.0} {}", (number / parts).floor(), units[0], number % parts, units[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (7, "7"),
            (999, "999"),
            (1000, "1,000"),
            (13_524_496, "13,524,496"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (number, text) in cases {
            assert_eq!(Count(number).to_string(), text);
        }
        assert_eq!(format!("{:>8}|{:<8}|", Count(1234), Magnitude(1234)), "   1,234|1.23 k  |");
    }

    #[test]
    fn magnitudes_keep_three_digits() {
        let cases = [
            (0, "0", "0 B"),
            (999, "999", "999 B"),
            (1000, "1.00 k", "1.00 kB"),
            (9_994, "9.99 k", "9.99 kB"),
            (9_995, "10.0 k", "10.0 kB"),
            (99_949, "99.9 k", "99.9 kB"),
            (99_950, "100 k", "100 kB"),
            (999_499, "999 k", "999 kB"),
            (999_500, "1.00 M", "1.00 MB"),
            (24_900_000_000, "24.9 G", "24.9 GB"),
            (u64::MAX, "18.4 E", "18.4 EB"),
        ];
        for (number, magnitude, bytes) in cases {
            assert_eq!((Magnitude(number).to_string(), Bytes(number).to_string()), (magnitude.into(), bytes.into()));
        }
    }

    #[test]
    fn spans_have_two_units_and_never_sixty_of_the_smaller() {
        let cases = [
            (0.0, "0.0 ms"),
            (0.00994, "9.9 ms"),
            (0.00996, "10 ms"),
            (0.28, "280 ms"),
            (0.9994, "999 ms"),
            (0.9996, "1.0 s"),
            (59.94, "59.9 s"),
            (59.96, "1 min 0 s"),
            (250.4, "4 min 10 s"),
            (3599.4, "59 min 59 s"),
            (3599.6, "1 h 0 min"),
            (12_000.0, "3 h 20 min"),
            (86_369.0, "23 h 59 min"),
            (86_371.0, "1 d 0 h"),
            (86_400.0 * 12.0 + 3600.0 * 4.0, "12 d 4 h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(TimeSpan(Duration::from_secs_f64(seconds)).to_string(), text, "{seconds} s");
        }
        assert_eq!(TimeSpan(Duration::MAX).to_string(), "213503982334601 d 7 h");
    }

    proptest! {
        #[test]
        fn a_magnitude_reads_back_within_half_a_unit_of_its_last_digit(number in 0_u64..u64::MAX, shift in 0_u32..64) {
            let number = number >> shift;
            let text = Magnitude(number).to_string();
            let (digits, prefix) = text.split_once(' ').unwrap_or((&text, ""));
            let scale = 1000_f64.powi(["", "k", "M", "G", "T", "P", "E"].iter().position(|&p| p == prefix).unwrap() as i32);
            prop_assert!(digits.chars().filter(char::is_ascii_digit).count() <= 3, "{}", text);
            let read = digits.parse::<f64>().unwrap() * scale;
            prop_assert!((read - number as f64).abs() <= 0.00501 * number as f64, "{} for {}", text, number);
        }

        #[test]
        fn a_grouped_number_reads_back(number in 0_u64..u64::MAX, shift in 0_u32..64) {
            let number = number >> shift;
            let text = Count(number).to_string();
            prop_assert!(text.rsplit(',').skip(1).count() == text.matches(',').count());
            prop_assert!(text.split(',').skip(1).all(|group| group.len() == 3), "{}", text);
            prop_assert_eq!(text.replace(',', "").parse::<u64>().unwrap(), number);
        }
    }
}
