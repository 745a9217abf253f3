//! Forecasts of yes or no.

use serde::{Deserialize, Serialize};

/// How often an event was forecast and how often it came, over all pixels of some frames.
///
/// The scores are those of forecast verification (Wilks, *Statistical Methods in the Atmospheric Sciences*, ch. 8). Each
/// is `None` where its denominator is 0: a part of nothing says nothing, neither for the forecast nor against it.
///
/// ```
/// use pipeline::forecast::Contingency;
///
/// let table = Contingency { hits: 6, misses: 2, false_alarms: 4, correct_negatives: 88 };
/// assert_eq!(table.critical_success_index(), Some(0.5));
/// assert_eq!(table.probability_of_detection(), Some(0.75));
/// assert_eq!(table.false_alarm_ratio(), Some(0.4));
/// assert_eq!(Contingency::default().critical_success_index(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contingency {
    /// Forecast, and it came.
    pub hits: u64,
    /// Not forecast, but it came.
    pub misses: u64,
    /// Forecast, but it did not come.
    pub false_alarms: u64,
    /// Not forecast, and it did not come.
    pub correct_negatives: u64,
}

impl Contingency {
    /// Counts one pixel.
    pub fn add(&mut self, forecast: bool, truth: bool) {
        let count = match (forecast, truth) {
            (true, true) => &mut self.hits,
            (false, true) => &mut self.misses,
            (true, false) => &mut self.false_alarms,
            (false, false) => &mut self.correct_negatives,
        };
        *count += 1;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.false_alarms += other.false_alarms;
        self.correct_negatives += other.correct_negatives;
    }

    /// CSI, the threat score: `hits / (hits + misses + false alarms)`; `None` if the event neither came nor was forecast.
    pub fn critical_success_index(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.misses + self.false_alarms)
    }

    /// POD: `hits / (hits + misses)`; `None` if the event never came.
    pub fn probability_of_detection(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.misses)
    }

    /// FAR: `false alarms / (hits + false alarms)`; `None` if the event was never forecast.
    pub fn false_alarm_ratio(&self) -> Option<f64> {
        ratio(self.false_alarms, self.hits + self.false_alarms)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
