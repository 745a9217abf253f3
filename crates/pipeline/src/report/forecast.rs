//! Figures of forecasts as text.

use std::fmt::Write;

use super::{align, pad, width};
use crate::forecast::{Contingency, Event, ForecastScores};

/// The most leads that a line shows.
const MAX_LEADS: usize = 10;

/// One figure of one forecast.
struct Row {
    leads: Vec<Option<f64>>,
    mean: Option<f64>,
}

/// The figures of several forecasts per lead, below each other: squared and absolute error, then the critical success index
/// of each event. The last column is the mean over all leads.
///
/// Of more than 10 leads, 10 are shown, the last among them. A dash stands where the event neither came nor was forecast.
///
/// # Panics
/// If the forecasts differ in their leads or in the number of their events.
///
/// ```
/// use ndarray::Array4;
/// use pipeline::forecast::{Event, score};
/// use pipeline::report::forecast_table;
///
/// let (dark, light) = (Array4::zeros((1, 2, 4, 4)), Array4::from_elem((1, 2, 4, 4), 0.5));
/// let events = [Event::new("half", 0.5)];
/// let right = score(light.view(), light.view(), &events)?;
/// let wrong = score(dark.view(), light.view(), &events)?;
/// assert_eq!(
///     forecast_table(&[("right", &right), ("wrong", &wrong)]),
///     "lead               1       2    mean\n\
///      MSE\n  \
///        right        .0000   .0000   .0000\n  \
///        wrong        .2500   .2500   .2500\n\
///      MAE\n  \
///        right        .0000   .0000   .0000\n  \
///        wrong        .5000   .5000   .5000\n\
///      CSI half\n  \
///        right        1.000   1.000   1.000\n  \
///        wrong        .0000   .0000   .0000\n"
/// );
/// # Ok::<(), pipeline::forecast::ForecastError>(())
/// ```
pub fn forecast_table(forecasts: &[(&str, &ForecastScores)]) -> String {
    let Some((_, reference)) = forecasts.first() else { return String::new() };
    let shown = shown_leads(reference.leads.len());
    let first = first_column(forecasts);
    let mut table = pad("lead", first);
    for lead in &shown {
        table += &align(&(lead + 1).to_string(), 8);
    }
    table += &align("mean", 8);
    table.push('\n');
    let mut block = |title: &str, row: &dyn Fn(&ForecastScores) -> Row| {
        table += title;
        table.push('\n');
        for (name, scores) in forecasts {
            assert_eq!(scores.leads.len(), reference.leads.len(), "forecasts of the same leads");
            let Row { leads, mean } = row(scores);
            table += &pad(&format!("  {name}"), first);
            for lead in &shown {
                table += &align(&figure(leads[*lead]), 8);
            }
            table += &align(&figure(mean), 8);
            table.push('\n');
        }
    };
    block("MSE", &|scores| Row {
        leads: scores.leads.iter().map(|lead| Some(lead.mse)).collect(),
        mean: Some(scores.mean_mse()),
    });
    block("MAE", &|scores| Row {
        leads: scores.leads.iter().map(|lead| Some(lead.mae)).collect(),
        mean: Some(scores.mean_mae()),
    });
    for (event, Event { name, .. }) in reference.events.iter().enumerate() {
        block(&format!("CSI {name}"), &|scores| Row {
            leads: scores.leads.iter().map(|lead| lead.events[event].critical_success_index()).collect(),
            mean: scores.mean_score(event, Contingency::critical_success_index),
        });
    }
    table
}

/// The means over all leads of several forecasts, one per line: the errors, and for each event the critical success index,
/// the probability of detection and the false alarm ratio.
///
/// # Panics
/// If the forecasts differ in the number of their events.
pub fn forecast_means(forecasts: &[(&str, &ForecastScores)]) -> String {
    let Some((_, reference)) = forecasts.first() else { return String::new() };
    let first = first_column(forecasts);
    let mut table = pad("", first) + &align("MSE", 8) + &align("MAE", 8) + "\n";
    for (name, scores) in forecasts {
        table += &pad(&format!("  {name}"), first);
        table += &align(&figure(Some(scores.mean_mse())), 8);
        table += &align(&figure(Some(scores.mean_mae())), 8);
        table.push('\n');
    }
    for (event, Event { name, .. }) in reference.events.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(table, "{}{}{}{}", pad(name, first), align("CSI", 8), align("POD", 8), align("FAR", 8));
        for (name, scores) in forecasts {
            table += &pad(&format!("  {name}"), first);
            let means = [
                Contingency::critical_success_index,
                Contingency::probability_of_detection,
                Contingency::false_alarm_ratio,
            ];
            for mean in means {
                table += &align(&figure(scores.mean_score(event, mean)), 8);
            }
            table.push('\n');
        }
    }
    table
}

/// The positions of at most [`MAX_LEADS`] of `leads` leads, evenly spread, the last among them.
fn shown_leads(leads: usize) -> Vec<usize> {
    let count = leads.min(MAX_LEADS);
    (1..=count).map(|index| index * leads / count - 1).collect()
}

fn first_column(forecasts: &[(&str, &ForecastScores)]) -> usize {
    forecasts.iter().map(|(name, _)| width(name) + 4).fold(12, usize::max)
}

/// A figure with four digits: `.0123`, `1.000`, `12.50`.
fn figure(figure: Option<f64>) -> String {
    let Some(figure) = figure else { return "–".to_owned() };
    let text = format!("{figure:.4}");
    match text.strip_prefix("0.") {
        Some(decimals) => format!(".{decimals}"),
        None => text.chars().take(5).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_are_spread_evenly() {
        assert_eq!(shown_leads(3), [0, 1, 2]);
        assert_eq!(shown_leads(10), (0..10).collect::<Vec<_>>());
        assert_eq!(shown_leads(20), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
        assert_eq!(shown_leads(13).len(), 10);
        assert_eq!(shown_leads(13).last(), Some(&12));
        assert_eq!(shown_leads(0), Vec::<usize>::new());
    }

    #[test]
    fn figures_have_four_digits() {
        let cases = [(0.0, ".0000"), (0.01234, ".0123"), (1.0, "1.000"), (12.5, "12.50"), (0.99999, "1.000")];
        for (value, text) in cases {
            assert_eq!(figure(Some(value)), text);
        }
        assert_eq!(figure(None), "–");
    }
}
