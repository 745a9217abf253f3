//! The report about a comparison of models.

use maud::{Markup, html};

use super::actions::check_results;
use super::bars::{Bar, bars};
use super::confusion::confusion_table;
use super::options::options;
use super::page::{Section, page, percent, run_name, seconds, table};
use super::{ReportError, check_count};
use crate::comparison::{ComparisonRecipe, ComparisonResults, ModelFigures};
use crate::data::FirActions;
use crate::run::{RunDirectory, RunError};
use crate::units::Count;

/// The page about the comparison in `directory`.
pub(super) fn report(directory: &RunDirectory) -> Result<String, ReportError> {
    let recipe = directory.read_config(ComparisonRecipe::from_toml)?;
    let results: ComparisonResults = directory.read_results()?;
    check_count(directory, || "labels".to_owned(), FirActions::LABELS.len(), results.labels.len())?;
    check_count(directory, || "models".to_owned(), recipe.models.len(), results.models.len())?;
    for figures in &results.models {
        check_count(directory, || format!("seeds of {}", figures.model), recipe.seeds.len(), figures.runs.len())?;
        for run in &figures.runs {
            check_results(directory, &run.results)?;
        }
    }
    let options = options(&recipe.to_toml(), &ComparisonRecipe::default().to_toml(), "the defaults");
    let options = options.map_err(|source| RunError::Recipe { path: directory.path().to_owned(), source })?;
    let sections = [
        Section::new("models", "Models", models(&results.models)),
        Section::new("classes", "Classes", classes(&results)),
        Section::new("confusion", "What was taken for what", confusion(&results)),
        Section::new("recipe", "Recipe", options),
    ];
    let (people, seeds) = (recipe.actions.data.test_people().len(), recipe.seeds.len());
    let lead = html! {
        "Models of action recognition, trained on the same clips for as many epochs, and each tested on people that took no "
        "part in its training: means and standard deviations over " (people) (if people == 1 { " person" } else { " people" })
        " and " (seeds) (if seeds == 1 { " seed." } else { " seeds." })
    };
    Ok(page(&run_name(directory), &lead, &sections))
}

fn models(models: &[ModelFigures]) -> Markup {
    let bar = |figures: &'_ ModelFigures| (figures.model.name(), figures.accuracy);
    let named: Vec<_> = models.iter().map(bar).collect();
    let rows = named.iter().map(|(name, accuracy)| Bar {
        name,
        part: Some(accuracy.mean),
        spread: Some(accuracy.standard_deviation),
    });
    let rows: Vec<_> = rows.collect();
    let figures = |figures: &ModelFigures| {
        let accuracy = figures.accuracy;
        let cells = [
            format!("{} ± {}", percent(accuracy.mean), percent(accuracy.standard_deviation)),
            format!("{} to {}", percent(accuracy.min), percent(accuracy.max)),
            Count(figures.parameters as u64).to_string(),
            seconds(figures.epoch_seconds),
            seconds(figures.clip_milliseconds / 1e3),
        ];
        (figures.model.name().to_owned(), cells.to_vec())
    };
    let table_rows: Vec<_> = models.iter().map(figures).collect();
    let columns = ["model", "accuracy", "lowest to highest", "parameters", "per epoch", "per clip"];
    html! {
        (bars("Accuracy; the line is the mean less and plus the standard deviation", &rows))
        (table("Accuracy, size and time", &columns, &table_rows))
    }
}

/// The recall of every class by every model.
fn classes(results: &ComparisonResults) -> Markup {
    let row = |figures: &ModelFigures| {
        let confusion = figures.confusion();
        let recall = |class| confusion.recall(class).map_or("–".to_owned(), percent);
        (figures.model.name().to_owned(), (0..results.labels.len()).map(recall).collect())
    };
    let rows: Vec<_> = results.models.iter().map(row).collect();
    let columns: Vec<&str> = std::iter::once("model").chain(results.labels.iter().map(String::as_str)).collect();
    table("Recall: the part of the clips of a class that was recognised", &columns, &rows)
}

fn confusion(results: &ComparisonResults) -> Markup {
    html! {
        div .pair {
            @for figures in &results.models {
                div .model {
                    h3 { (figures.model.name()) }
                    (confusion_table(&results.labels, &figures.confusion()))
                }
            }
        }
    }
}
