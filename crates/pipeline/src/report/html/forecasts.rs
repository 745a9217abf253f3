//! The reports about forecasts.

use maud::{Markup, html};

use super::axis::Numbers;
use super::chart::{Chart, Line};
use super::options::options;
use super::page::{Section, facts, page, run_name, seconds, table};
use super::pictures::sequences;
use super::{ReportError, check_count};
use crate::forecast::{Contingency, ForecastScores};
use crate::forecasting::moving_mnist::{FrameForecastFigures, MovingMnistResults};
use crate::forecasting::nowcast::NowcastResults;
use crate::forecasting::{MovingMnistPreset, MovingMnistRecipe, NowcastRecipe, TrainingRecord};
use crate::metrics::frames::FrameFigures;
use crate::run::{RunDirectory, RunError};
use crate::units::Count;

/// One figure per lead of several forecasts, the network first.
struct Figure {
    title: String,
    axis: &'static str,
    decimals: usize,
    numbers: Numbers,
    forecasts: Vec<(&'static str, Vec<Option<f64>>)>,
}

/// The page about the nowcast in `directory`.
pub(super) fn nowcast_report(directory: &RunDirectory) -> Result<String, ReportError> {
    let recipe = directory.read_config(NowcastRecipe::from_toml)?;
    let results: NowcastResults = directory.read_results()?;
    let NowcastResults { seed, parameters, training_seconds, network, extrapolation, persistence } = &results;
    let forecasts = [("network", network), ("extrapolation", extrapolation), ("persistence", persistence)];
    for (name, scores) in forecasts {
        check_count(directory, || format!("leads of {name}"), recipe.data.horizon, scores.leads.len())?;
        check_count(directory, || format!("events of {name}"), network.events.len(), scores.events.len())?;
        for lead in &scores.leads {
            check_count(directory, || format!("events of a lead of {name}"), network.events.len(), lead.events.len())?;
        }
    }
    let of_leads = |figure: &dyn Fn(&ForecastScores) -> Vec<Option<f64>>| {
        forecasts.map(|(name, scores)| (name, figure(scores))).to_vec()
    };
    let error = |title: &str, axis, figure: fn(&crate::forecast::LeadScores) -> f64| Figure {
        title: title.to_owned(),
        axis,
        decimals: 4,
        numbers: Numbers::Plain,
        forecasts: of_leads(&|scores| scores.leads.iter().map(|lead| Some(figure(lead))).collect()),
    };
    let mut figures = vec![
        error("Mean squared error", "squared error", |lead| lead.mse),
        error("Mean absolute error", "absolute error", |lead| lead.mae),
    ];
    for (position, event) in network.events.iter().enumerate() {
        let index = |scores: &ForecastScores| {
            scores.leads.iter().map(|lead| lead.events[position].critical_success_index()).collect()
        };
        figures.push(Figure {
            title: format!("Critical success index, {} and more", event.name),
            axis: "index",
            decimals: 3,
            numbers: Numbers::Percent,
            forecasts: of_leads(&index),
        });
    }
    let mean_index = |scores: &ForecastScores| {
        network.events.first().and_then(|_| scores.mean_score(0, Contingency::critical_success_index))
    };
    let mut summary = vec![
        ("squared error", format!("{:.4}", network.mean_mse())),
        ("of extrapolation", format!("{:.4}", extrapolation.mean_mse())),
        ("of persistence", format!("{:.4}", persistence.mean_mse())),
    ];
    let event = network.events.first().map(|event| format!("index, {}", event.name)).unwrap_or_default();
    if let (Some(of_network), Some(of_extrapolation)) = (mean_index(network), mean_index(extrapolation)) {
        summary.push((&event, format!("{of_network:.3}")));
        summary.push(("of extrapolation", format!("{of_extrapolation:.3}")));
    }
    summary.extend(training_facts(*parameters, *training_seconds, *seed));
    let lead = html! {
        "A forecast of " (recipe.data.horizon) " frames from the " (recipe.data.context) " before them, for "
        (Count(network.sequences as u64)) " test sequences: the network beside the last frame moved along its motion "
        "(extrapolation) and the last frame itself (persistence)."
    };
    let usual = options(&recipe.to_toml(), &NowcastRecipe::default().to_toml(), "the defaults");
    let alternative = "input, truth, forecast and extrapolation below each other";
    forecast_page(directory, &lead, &summary, &figures, alternative, usual)
}

/// The page about the run of Moving-MNIST in `directory`.
pub(super) fn moving_mnist_report(directory: &RunDirectory) -> Result<String, ReportError> {
    let recipe = directory.read_config(MovingMnistRecipe::from_toml)?;
    let results: MovingMnistResults = directory.read_results()?;
    let MovingMnistResults { seed, parameters, training_seconds, network, copy_last, all_zero } = &results;
    let forecasts = [("network", network), ("copy-last", copy_last), ("all-zero", all_zero)];
    for (name, figures) in forecasts {
        check_count(directory, || format!("leads of {name}"), recipe.horizon(), figures.leads.len())?;
    }
    let figure = |title: &str, axis, decimals, value: fn(&FrameFigures) -> Option<f64>| {
        let of_leads = |figures: &FrameForecastFigures| figures.leads.iter().map(value).collect();
        let forecasts = forecasts.map(|(name, figures)| (name, of_leads(figures))).to_vec();
        Figure { title: title.to_owned(), axis, decimals, numbers: Numbers::Plain, forecasts }
    };
    let figures = [
        figure("Squared error of a frame", "squared error", 2, |figures| Some(figures.mse_per_frame)),
        figure("Absolute error of a frame", "absolute error", 2, |figures| Some(figures.mae_per_frame)),
        figure("Structural similarity", "similarity", 4, |figures| Some(figures.ssim)),
        figure("Peak signal-to-noise ratio", "ratio in dB", 2, |figures| figures.psnr),
    ];
    let mut summary = vec![
        ("squared error of a frame", format!("{:.2}", network.mean.mse_per_frame)),
        ("of copy-last", format!("{:.2}", copy_last.mean.mse_per_frame)),
        ("structural similarity", format!("{:.4}", network.mean.ssim)),
        ("of copy-last", format!("{:.4}", copy_last.mean.ssim)),
    ];
    summary.extend(training_facts(*parameters, *training_seconds, *seed));
    let lead = html! {
        "What two moving digits do next: " (recipe.horizon()) " frames from the " (recipe.context) " before them, for "
        (Count(recipe.test_sequences as u64)) " test sequences, beside the last frame (copy-last) and an empty one (all-zero)."
    };
    let usual = MovingMnistRecipe::preset(MovingMnistPreset::Tiny).to_toml();
    let usual = options(&recipe.to_toml(), &usual, "the preset tiny");
    forecast_page(directory, &lead, &summary, &figures, "input, truth and forecast below each other", usual)
}

fn training_facts(parameters: usize, training_seconds: f64, seed: u64) -> [(&'static str, String); 3] {
    [
        ("parameters", Count(parameters as u64).to_string()),
        ("training", seconds(training_seconds)),
        ("seed", seed.to_string()),
    ]
}

fn forecast_page(
    directory: &RunDirectory,
    lead: &Markup,
    summary: &[(&str, String)],
    figures: &[Figure],
    alternative: &str,
    options: Result<Markup, crate::recipe::RecipeError>,
) -> Result<String, ReportError> {
    let records: Vec<TrainingRecord> = directory.read_metrics()?;
    let options = options.map_err(|source| RunError::Recipe { path: directory.path().to_owned(), source })?;
    let summary = html! { (facts(summary)) p { "Figures are means over all leads." } };
    let leads = html! {
        div .charts { @for figure in figures { (figure.chart()) } }
        details {
            summary { "The figures as tables" }
            @for figure in figures { (figure.table()) }
        }
    };
    let sections = [
        Section::new("summary", "Summary", summary),
        Section::new("leads", "By lead", leads),
        Section::new("pictures", "Forecasts", sequences(directory, alternative)?),
        Section::new("training", "Training", html! { div .charts { (loss_chart(&records)) } }),
        Section::new("recipe", "Recipe", options),
    ];
    Ok(page(&run_name(directory), lead, &sections))
}

fn loss_chart(records: &[TrainingRecord]) -> Markup {
    let points = records.iter().map(|record| [record.step as f64, record.loss]).collect();
    let lines = vec![Line::new("training", points, 0)];
    let numbers = [Numbers::Whole, Numbers::Plain];
    Chart { title: "Loss".to_owned(), axes: ["step", "loss"], numbers, lines }.figure()
}

impl Figure {
    fn chart(&self) -> Markup {
        let line = |(colour, (name, values)): (usize, &(&'static str, Vec<Option<f64>>))| {
            let lead = |(lead, value): (usize, &Option<f64>)| [(lead + 1) as f64, value.unwrap_or(f64::NAN)];
            let line = Line::new(*name, values.iter().enumerate().map(lead).collect(), colour);
            if colour == 0 { line } else { line.dashed() }
        };
        let lines = self.forecasts.iter().enumerate().map(line).collect();
        let numbers = [Numbers::Whole, self.numbers];
        Chart { title: self.title.clone(), axes: ["lead", self.axis], numbers, lines }.figure()
    }

    /// A row per forecast, a column per lead.
    fn table(&self) -> Markup {
        let leads = self.forecasts.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let numbers: Vec<String> = (1..=leads).map(|lead| lead.to_string()).collect();
        let columns: Vec<&str> = std::iter::once("lead").chain(numbers.iter().map(String::as_str)).collect();
        let figure = |value: &Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.*}", self.decimals));
        let row = |(name, values): &(&str, Vec<Option<f64>>)| ((*name).to_owned(), values.iter().map(figure).collect());
        let rows: Vec<_> = self.forecasts.iter().map(row).collect();
        table(&self.title, &columns, &rows)
    }
}
