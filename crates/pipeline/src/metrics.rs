//! Figures of a classifier, and of [predicted frames](frames).

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod frames;
pub mod similarity;

/// How often each class was taken for each.
///
/// ```
/// use pipeline::metrics::ConfusionMatrix;
///
/// let mut matrix = ConfusionMatrix::new(2);
/// for (truth, prediction) in [(0, 0), (0, 1), (1, 1), (1, 1)] {
///     matrix.add(truth, prediction);
/// }
/// assert_eq!(matrix.accuracy(), Some(0.75));
/// assert_eq!(matrix.recall(0), Some(0.5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfusionMatrix {
    /// `counts[truth][prediction]`
    counts: Vec<Vec<usize>>,
}

impl ConfusionMatrix {
    /// A matrix of `classes` classes without any entry.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts one clip of the class `truth` that was taken for `prediction`.
    ///
    /// # Panics
    /// If one of the two is not a class of the matrix.
    pub fn add(&mut self, truth: usize, prediction: usize) {
        self.counts[truth][prediction] += 1;
    }

    /// The number of clips of the class `truth` that were taken for each class.
    pub fn row(&self, truth: usize) -> &[usize] {
        &self.counts[truth]
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// The number of clips.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// The number of clips that were taken for what they are.
    pub fn correct(&self) -> usize {
        (0..self.classes()).map(|class| self.counts[class][class]).sum()
    }

    /// The part of all clips that were taken for what they are; `None` without clips.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.correct(), self.total())
    }

    /// The part of the clips of `class` that were taken for it; `None` without clips of that class.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.counts[class][class], self.counts[class].iter().sum())
    }

    /// Adds the counts of `other`.
    ///
    /// # Panics
    /// If `other` has another number of classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes(), other.classes(), "matrices of the same classes");
        for (count, &more) in self.counts.iter_mut().flatten().zip(other.counts.iter().flatten()) {
            *count += more;
        }
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The mean of some figures and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The arithmetic mean.
    pub mean: f64,
    /// The sample standard deviation (`n − 1` in the denominator); 0 for a single figure.
    pub standard_deviation: f64,
    /// The smallest figure.
    pub min: f64,
    /// The largest figure.
    pub max: f64,
}

impl Summary {
    /// The summary of `figures`; `None` without any.
    ///
    /// ```
    /// let summary = pipeline::metrics::Summary::of(&[1.0, 2.0, 3.0]).unwrap();
    /// assert_eq!((summary.mean, summary.standard_deviation), (2.0, 1.0));
    /// ```
    pub fn of(figures: &[f64]) -> Option<Self> {
        if figures.is_empty() {
            return None;
        }
        let count = figures.len() as f64;
        let mean = figures.iter().sum::<f64>() / count;
        let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
        let standard_deviation = if figures.len() == 1 { 0.0 } else { (squares / (count - 1.0)).sqrt() };
        let min = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let max = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { mean, standard_deviation, min, max })
    }
}

/// A part of a whole as a percentage with two decimals.
#[derive(Clone, Copy, Debug)]
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} %", self.0 * 100.0)
    }
}
