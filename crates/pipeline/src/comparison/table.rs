//! A comparison as text.

use std::fmt::Write;

use super::ComparisonResults;
use crate::metrics::Percent;
use crate::report::{align, pad, width};
use crate::units::Count;

/// The figures of all models in one table, and the recall of every class in another.
pub fn summary(results: &ComparisonResults) -> String {
    let first = results.models.iter().map(|figures| figures.model.name().len()).fold("model".len(), usize::max) + 2;
    let mut text = pad("model", first);
    for title in ["accuracy", "±", "parameters", "s per epoch", "ms per clip"] {
        text += &align(title, 13);
    }
    text.push('\n');
    for figures in &results.models {
        text += &pad(figures.model.name(), first);
        text += &align(&Percent(figures.accuracy.mean).to_string(), 13);
        text += &align(&Percent(figures.accuracy.standard_deviation).to_string(), 13);
        text += &align(&Count(figures.parameters as u64).to_string(), 13);
        text += &align(&format!("{:.2}", figures.epoch_seconds), 13);
        text += &align(&format!("{:.2}", figures.clip_milliseconds), 13);
        text.push('\n');
    }
    let people = results.models.first().map_or(0, |figures| figures.runs[0].results.folds.len());
    let seeds = results.models.first().map_or(0, |figures| figures.runs.len());
    // Writing to a string does not fail.
    let _ = writeln!(text, "mean and standard deviation over {people} people and {seeds} seeds\n");
    text += &pad("recall", first);
    let column = results.labels.iter().map(width).fold(8, usize::max) + 2;
    for label in &results.labels {
        text += &align(label, column);
    }
    text.push('\n');
    for figures in &results.models {
        text += &pad(figures.model.name(), first);
        let confusion = figures.confusion();
        for class in 0..results.labels.len() {
            let recall = confusion.recall(class).map_or("–".to_owned(), |recall| format!("{:.1} %", recall * 100.0));
            text += &align(&recall, column);
        }
        text.push('\n');
    }
    text
}
