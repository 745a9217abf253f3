//! Figures as text for a terminal, and [a page](html) about a run.

mod forecast;
pub mod html;
mod tasks;

use std::fmt::Write;

use crate::metrics::{ConfusionMatrix, Percent};
use crate::run::{FoldResults, RunResults};

pub use forecast::{forecast_means, forecast_table};
pub use tasks::task_tables;

/// The counts of `confusion` with one row per class, and the recall of each class at the end of its row.
///
/// ```
/// use pipeline::metrics::ConfusionMatrix;
///
/// let mut confusion = ConfusionMatrix::new(2);
/// confusion.add(0, 0);
/// confusion.add(1, 0);
/// let table = pipeline::report::confusion_table(&["walk", "lie"], &confusion);
/// assert_eq!(
///     table,
///     "true \\ predicted    walk     lie     recall\n\
///      walk                   1       ·   100.00 %\n\
///      lie                    1       ·     0.00 %\n"
/// );
/// ```
pub fn confusion_table(labels: &[impl AsRef<str>], confusion: &ConfusionMatrix) -> String {
    let corner = "true \\ predicted";
    let first = labels.iter().map(|label| width(label)).fold(corner.len(), usize::max);
    let column = labels.iter().map(|label| width(label)).fold(6, usize::max) + 2;
    let mut table = pad(corner, first);
    for label in labels {
        table += &align(label.as_ref(), column);
    }
    table += &align("recall", 11);
    table.push('\n');
    for (class, label) in labels.iter().enumerate() {
        table += &pad(label.as_ref(), first);
        for &count in confusion.row(class) {
            table += &align(&if count == 0 { "·".to_owned() } else { count.to_string() }, column);
        }
        let recall = confusion.recall(class).map_or("–".to_owned(), |recall| Percent(recall).to_string());
        table += &align(&recall, 11);
        table.push('\n');
    }
    table
}

/// One fold in one line.
pub fn fold_line(fold: &FoldResults) -> String {
    let FoldResults { test_person, test, training_seconds, .. } = fold;
    let accuracy = align(&Percent(test.accuracy).to_string(), 8);
    let seconds = align(&format!("{training_seconds:.1} s"), 8);
    format!(
        "person {test_person}: accuracy {accuracy} ({} of {} clips), loss {:.3}, trained in {seconds}",
        test.confusion.correct(),
        test.clips,
        test.loss
    )
}

/// All figures of a run: the folds, their mean and spread where there are several, and the confusion matrix.
pub fn summary(results: &RunResults) -> String {
    let mut text = String::new();
    for fold in &results.folds {
        text += &fold_line(fold);
        text.push('\n');
    }
    if results.folds.len() > 1 {
        let accuracy = results.accuracy;
        let seconds: f64 = results.folds.iter().map(|fold| fold.training_seconds).sum();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "mean accuracy {} ± {} (standard deviation over {} people; {} to {}), {:.1} s per person",
            Percent(accuracy.mean),
            Percent(accuracy.standard_deviation),
            results.folds.len(),
            Percent(accuracy.min),
            Percent(accuracy.max),
            seconds / results.folds.len() as f64,
        );
    }
    text.push('\n');
    text + &confusion_table(&results.labels, &results.confusion())
}

pub(crate) fn width(text: &impl AsRef<str>) -> usize {
    text.as_ref().chars().count()
}

/// `text` with spaces after it.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

/// `text` with spaces before it.
pub(crate) fn align(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}
