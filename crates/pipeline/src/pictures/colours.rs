//! The colours of values.

use crate::data::rain_rate;

/// The colour around the frames.
pub(super) const PAPER: u8 = 0;
/// The colour of text.
pub(super) const INK: u8 = 1;
/// The number of colours that are left for values.
const STEPS: usize = 254;

/// Which colour a value from 0 to 1 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourScale {
    /// From black to white.
    Grey,
    /// Warmth: from nearly black over violet, red and orange to pale yellow.
    Heat,
    /// The rain rate that the value stands for, see [`rain_rate`]: dark where there is no rain, then blue, green, yellow
    /// from 5 mm/h, red from 20 mm/h, and pale violet at 100 mm/h.
    Rain,
}

/// Rain rates in mm/h and their colours; between them, colours change evenly with the logarithm of the rate.
const RAIN: [(f64, [u8; 3]); 9] = [
    (0.1, [38, 50, 74]),
    (0.5, [44, 92, 168]),
    (1.0, [56, 152, 226]),
    (2.0, [48, 186, 120]),
    (5.0, [246, 220, 60]),
    (10.0, [246, 150, 36]),
    (20.0, [222, 40, 40]),
    (50.0, [190, 40, 170]),
    (100.0, [240, 210, 250]),
];

/// Colours evenly spread from the value 0 to 1; each is lighter than the one before.
const HEAT: [[u8; 3]; 5] = [[10, 10, 28], [84, 20, 118], [196, 48, 78], [248, 146, 42], [255, 246, 206]];

const NO_RAIN: [u8; 3] = [14, 18, 28];

impl ColourScale {
    /// The red, green and blue of `value`; what is not from 0 to 1 has the colour of the nearest value that is, and what is
    /// no number that of 0.
    ///
    /// ```
    /// use pipeline::pictures::ColourScale;
    ///
    /// assert_eq!(ColourScale::Grey.colour(0.2), [51, 51, 51]);
    /// assert_ne!(ColourScale::Rain.colour(0.3), ColourScale::Rain.colour(0.6));
    /// ```
    pub fn colour(self, value: f32) -> [u8; 3] {
        let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        match self {
            Self::Grey => [(value * 255.0).round() as u8; 3],
            Self::Heat => heat_colour(value),
            Self::Rain => rain_colour(rain_rate(value)),
        }
    }

    /// The red, green and blue of all 256 colours: the paper, the ink, then those of the values from 0 to 1.
    pub(super) fn palette(self) -> Vec<u8> {
        let mut palette = vec![250, 250, 250, 30, 30, 30];
        for step in 0..STEPS {
            palette.extend(self.colour(step as f32 / (STEPS - 1) as f32));
        }
        palette
    }

    /// The position of the colour of `value` in the palette.
    pub(super) fn index(value: f32) -> u8 {
        // Casts from NaN give 0.
        2 + (value.clamp(0.0, 1.0) * (STEPS - 1) as f32).round() as u8
    }

    /// Values to label beside the colours, and their labels.
    pub(super) fn marks(self) -> Vec<(f32, String)> {
        match self {
            Self::Grey | Self::Heat => [0.0, 0.5, 1.0].map(|value: f32| (value, value.to_string())).to_vec(),
            Self::Rain => RAIN.map(|(rate, _)| (crate::data::rain_value(rate), rate.to_string())).to_vec(),
        }
    }

    /// The unit of the labels.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Grey | Self::Heat => "",
            Self::Rain => "mm/h",
        }
    }
}

fn rain_colour(rate: f64) -> [u8; 3] {
    // The first rate is a stored value, which may come back with another last bit.
    if rate < RAIN[0].0 * 0.999 {
        return NO_RAIN;
    }
    for pair in RAIN.windows(2) {
        let [(from, first), (to, second)] = [pair[0], pair[1]];
        if rate <= to {
            let part = ((rate / from).ln() / (to / from).ln()).clamp(0.0, 1.0);
            return between(first, second, part);
        }
    }
    RAIN[RAIN.len() - 1].1
}

fn heat_colour(value: f32) -> [u8; 3] {
    let place = f64::from(value) * (HEAT.len() - 1) as f64;
    let first = (place as usize).min(HEAT.len() - 2);
    between(HEAT[first], HEAT[first + 1], place - first as f64)
}

/// The colour that lies at the `part` from 0 to 1 of the way from `first` to `second`.
fn between(first: [u8; 3], second: [u8; 3], part: f64) -> [u8; 3] {
    std::array::from_fn(|channel| {
        let (first, second) = (f64::from(first[channel]), f64::from(second[channel]));
        (first + part * (second - first)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::rain_value;

    #[test]
    fn rain_has_the_colours_of_its_rates() {
        assert_eq!(ColourScale::Rain.colour(0.0), NO_RAIN);
        for (rate, colour) in RAIN {
            let found = ColourScale::Rain.colour(rain_value(rate));
            let close = found.iter().zip(colour).all(|(&found, expected)| found.abs_diff(expected) <= 1);
            assert!(close, "{rate} mm/h: {found:?}, expected {colour:?}");
        }
        assert_eq!(ColourScale::Rain.colour(f32::INFINITY), RAIN[8].1);
        assert_eq!(ColourScale::Rain.colour(f32::NAN), NO_RAIN);
    }

    #[test]
    fn warmer_is_lighter() {
        assert_eq!(ColourScale::Heat.colour(0.0), HEAT[0]);
        assert_eq!(ColourScale::Heat.colour(0.5), HEAT[2]);
        assert_eq!(ColourScale::Heat.colour(f32::INFINITY), HEAT[4]);
        let lightness = |step: u8| {
            let [red, green, blue] = ColourScale::Heat.colour(f32::from(step) / 64.0).map(f64::from);
            0.2126 * red + 0.7152 * green + 0.0722 * blue
        };
        for step in 0..64 {
            assert!(lightness(step) < lightness(step + 1), "step {step}");
        }
    }

    #[test]
    fn palettes_hold_every_value() {
        for scale in [ColourScale::Grey, ColourScale::Heat, ColourScale::Rain] {
            let palette = scale.palette();
            assert_eq!(palette.len(), 3 * 256);
            for byte in 0..=255_u8 {
                let value = f32::from(byte) / 255.0;
                let index = usize::from(ColourScale::index(value));
                assert!(index >= 2, "value {value} does not have the colour of the paper");
                let shown = (index - 2) as f32 / (STEPS - 1) as f32;
                assert!((shown - value).abs() <= 0.5 / (STEPS - 1) as f32 + 1e-6, "{value} is shown as {shown}");
                assert_eq!(palette[3 * index..3 * index + 3], scale.colour(shown));
            }
        }
        assert_eq!([-1.0, f32::NAN, 2.0].map(ColourScale::index), [2, 2, 255]);
    }
}
