//! The tables of a task.

use super::{align, pad};
use crate::tasks::{TaskFigure, TaskPart, TaskResults, TaskRow};

/// The figures of a task as tables, one per figure: a row per model, a column per length of the clips; a single table where
/// there is one length only. Each figure is the mean over the seeds and, where there are several, the standard deviation, in
/// percent.
pub fn task_tables(results: &TaskResults) -> String {
    let mut text = caption(results);
    let mut lengths: Vec<usize> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for row in &results.rows {
        if !lengths.contains(&row.frames) {
            lengths.push(row.frames);
        }
        for figure in &row.figures {
            if !names.contains(&figure.name.as_str()) {
                names.push(&figure.name);
            }
        }
    }
    let models = results.rows.iter().filter(|row| Some(&row.frames) == lengths.first());
    let models: Vec<&TaskRow> = models.collect();
    let cell = |row: &TaskRow, frames, name: &str| results.figure(row.model, frames, name).map_or("–".into(), percent);
    if let [frames] = lengths[..] {
        let rows = models.iter().map(|row| {
            let figures = names.iter().map(|name| cell(row, frames, name));
            [row.model.name().to_owned()].into_iter().chain(figures).collect()
        });
        let header = ["%"].into_iter().chain(names.iter().copied()).map(str::to_owned).collect();
        return text + "\n" + &table(header, rows);
    }
    for name in names {
        let rows = models.iter().filter(|row| row.figures.iter().any(|figure| figure.name == name)).map(|row| {
            let figures = lengths.iter().map(|&frames| cell(row, frames, name));
            [row.model.name().to_owned()].into_iter().chain(figures).collect()
        });
        let columns = lengths.iter().map(|frames| format!("{frames} frames"));
        let header = [format!("{name}, %")].into_iter().chain(columns).collect();
        text += "\n";
        text += &table(header, rows);
    }
    text
}

fn caption(results: &TaskResults) -> String {
    let digits = match results.test_on {
        TaskPart::Training => "training",
        TaskPart::Validation => "validation",
        TaskPart::Test => "test",
    };
    let seeds = results.seeds.len();
    let spread =
        if seeds == 1 { "1 seed".to_owned() } else { format!("mean ± standard deviation over {seeds} seeds") };
    format!("{}: {} clips of {digits} digits per length, {spread}\n", results.task.name(), results.test_clips)
}

fn percent(figure: &TaskFigure) -> String {
    let summary = figure.summary;
    let mean = format!("{:.1}", summary.mean * 100.0);
    if figure.values.len() == 1 { mean } else { format!("{mean} ± {:.1}", summary.standard_deviation * 100.0) }
}

/// The first column to the left, all others to the right.
fn table(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines = vec![header];
    lines.extend(rows);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            text += &if column == 0 { pad(cell, width) } else { align(cell, width + 3) };
        }
        text.push('\n');
    }
    text
}
