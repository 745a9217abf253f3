//! The report about action recognition.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::attention::{ClipAttention, attention, attention_of};
use super::axis::Numbers;
use super::chart::{Chart, Line};
use super::clips::{Verdict, film_legend, films, surest_of_each_class, worst_mistakes};
use super::confusion::{Mistake, confusion_table, most_frequent_mistake, recall_bars};
use super::options::options;
use super::page::{Section, facts, page, percent, run_name, seconds, table};
use super::{ReportError, check_count};
use crate::actions::{FinishedFold, visit_folds};
use crate::data::{FirActions, NormalizedClips};
use crate::recipe::ActionRecipe;
use crate::run::{EpochRecord, FoldResults, RunDirectory, RunError, RunResults};
use crate::training::{largest, probabilities};
use crate::units::Count;

/// Mistakes that are shown.
const MISTAKES: usize = 10;

/// What is read of one fold: the figures of its epochs, what its model says of the clips that it is tested on, and where it
/// looks in some of them.
struct FoldReport {
    test_person: usize,
    epochs: Vec<EpochRecord>,
    verdicts: Vec<Verdict>,
    /// Where the model looks, by clip; empty if it has no attention.
    attention: BTreeMap<usize, ClipAttention>,
}

/// The page about the run in `directory`.
pub(super) fn report(directory: &RunDirectory) -> Result<String, ReportError> {
    let recipe = directory.read_recipe()?;
    let results: RunResults = directory.read_results()?;
    check_results(directory, &results)?;
    let actions = FirActions::bundled()?;
    let mut folds = Vec::new();
    visit_folds(directory, &recipe, &actions, &mut |fold| {
        folds.push(read_fold(&fold, &recipe, &actions)?);
        Ok::<(), ReportError>(())
    })?;
    check_count(directory, || "folds".to_owned(), folds.len(), results.folds.len())?;
    let verdicts: Vec<Verdict> = folds.iter().flat_map(|fold| &fold.verdicts).cloned().collect();
    let usual = ActionRecipe::default();
    let options = options(&recipe.to_toml(), &usual.to_toml(), "the defaults");
    let options = options.map_err(|source| RunError::Recipe { path: directory.path().to_owned(), source })?;
    let mut sections = vec![Section::new("summary", "Summary", summary(&recipe, &results))];
    if results.folds.len() > 1 {
        sections.push(Section::new("people", "People", people(&results.folds)));
    }
    sections.extend([
        Section::new("classes", "Classes", classes(&results)),
        Section::new("mistakes", "Worst mistakes", mistakes(&verdicts, &actions, &results.labels)?),
        Section::new("right", "Recognised", recognised(&verdicts, &actions, &results.labels)?),
    ]);
    let looks: BTreeMap<usize, ClipAttention> =
        folds.iter_mut().flat_map(|fold| std::mem::take(&mut fold.attention)).collect();
    if let Some(body) = attention(&verdicts, &looks, &recipe.preprocessing, &actions, &results.labels)? {
        sections.push(Section::new("attention", "Attention", body));
    }
    sections
        .extend([Section::new("training", "Training", training(&folds)), Section::new("recipe", "Recipe", options)]);
    let clips: usize = results.folds.iter().map(|fold| fold.test.clips).sum();
    let lead = html! {
        "Action recognition in thermal video: " (percent(results.accuracy.mean)) " of " (Count(clips as u64))
        " clips of " (tested_on(&results)) " are recognised. Guessing would be right for "
        (percent(1.0 / results.labels.len() as f64)) "."
    };
    Ok(page(&run_name(directory), &lead, &sections))
}

/// Checks that figures, classes and folds fit together, so that nothing is looked up that is not there.
pub(super) fn check_results(directory: &RunDirectory, results: &RunResults) -> Result<(), ReportError> {
    let classes = FirActions::LABELS.len();
    check_count(directory, || "labels".to_owned(), classes, results.labels.len())?;
    for FoldResults { test_person, test, .. } in &results.folds {
        let what = || format!("classes of the confusion matrix of person {test_person}");
        check_count(directory, what, classes, test.confusion.classes())?;
        for truth in 0..classes {
            check_count(directory, what, classes, test.confusion.row(truth).len())?;
        }
    }
    Ok(())
}

fn read_fold(fold: &FinishedFold, recipe: &ActionRecipe, actions: &FirActions) -> Result<FoldReport, ReportError> {
    let clips = NormalizedClips::new(actions, &fold.description.preprocessing);
    let tested = &fold.clips.test;
    let probabilities = probabilities(&fold.model, &clips, tested, recipe.evaluation.symmetries())?;
    let verdict = |(&clip, probabilities): (&usize, ndarray::ArrayView1<'_, f32>)| Verdict {
        clip,
        truth: clips.label(clip),
        prediction: largest(probabilities),
        probabilities: probabilities.to_vec(),
    };
    let verdicts: Vec<Verdict> = tested.iter().zip(probabilities.rows()).map(verdict).collect();
    Ok(FoldReport {
        test_person: fold.clips.test_person,
        epochs: fold.directory.read_metrics()?,
        attention: attention_of(fold, &clips, &verdicts, FirActions::LABELS.len())?,
        verdicts,
    })
}

fn tested_on(results: &RunResults) -> String {
    match results.folds.as_slice() {
        [fold] => format!("person {}, who took no part in training,", fold.test_person),
        folds => format!("{} people, each tested by a model that has not seen the person,", folds.len()),
    }
}

fn summary(recipe: &ActionRecipe, results: &RunResults) -> Markup {
    let several = results.folds.len() > 1;
    let mean =
        |figure: fn(&FoldResults) -> f64| results.folds.iter().map(figure).sum::<f64>() / results.folds.len() as f64;
    let accuracy = if several {
        format!("{} ± {}", percent(results.accuracy.mean), percent(results.accuracy.standard_deviation))
    } else {
        percent(results.accuracy.mean)
    };
    let parameters = results.folds.iter().map(|fold| fold.parameters).max().unwrap_or(0);
    let time = if several { "training, per person" } else { "training" };
    let training = &recipe.training;
    html! {
        (facts(&[
            ("accuracy", accuracy),
            ("loss", format!("{:.3}", mean(|fold| fold.test.loss))),
            ("parameters", Count(parameters as u64).to_string()),
            (time, seconds(mean(|fold| fold.training_seconds))),
            ("epochs", training.epochs.to_string()),
            ("clips of a step", training.batch_size.to_string()),
            ("learning rate", training.learning_rate.to_string()),
            ("seed", recipe.seed.to_string()),
        ]))
        @if several {
            p { "The spread is the standard deviation over the people tested on." }
        }
    }
}

fn people(folds: &[FoldResults]) -> Markup {
    let row = |fold: &FoldResults| {
        let FoldResults { test_person, test, validation, training_seconds, .. } = fold;
        let validation = validation.as_ref().map_or("–".to_owned(), |validation| percent(validation.accuracy));
        let right = format!("{} of {}", test.confusion.correct(), test.clips);
        let figures =
            [percent(test.accuracy), right, format!("{:.3}", test.loss), validation, seconds(*training_seconds)];
        (format!("person {test_person}"), figures.to_vec())
    };
    let rows: Vec<_> = folds.iter().map(row).collect();
    let columns = ["tested on", "accuracy", "clips", "loss", "validation", "training"];
    html! {
        (table("Each person tested by a model trained on the others", &columns, &rows))
    }
}

fn classes(results: &RunResults) -> Markup {
    let confusion = results.confusion();
    html! {
        @if let Some(Mistake { truth, prediction, clips }) = most_frequent_mistake(&confusion) {
            p {
                "The most frequent mistake: " b { (results.labels[truth]) } " taken for " b { (results.labels[prediction]) }
                ", " (clips) (if clips == 1 { " clip." } else { " clips." })
            }
        } @else {
            p { "Every clip is taken for what it is." }
        }
        div .pair {
            (confusion_table(&results.labels, &confusion))
            (recall_bars(&results.labels, &confusion))
        }
    }
}

fn mistakes(verdicts: &[Verdict], actions: &FirActions, labels: &[String]) -> Result<Markup, ReportError> {
    let worst = worst_mistakes(verdicts, MISTAKES);
    if worst.is_empty() {
        return Ok(html! { p .none { "There are none." } });
    }
    let all = verdicts.iter().filter(|verdict| !verdict.is_right()).count();
    Ok(html! {
        p {
            "The " (worst.len()) " of " (all) " mistakes that the model was surest of: what it said, with the probability, "
            "and what the clip is."
        }
        (film_legend())
        (films(&worst, actions, labels)?)
    })
}

fn recognised(verdicts: &[Verdict], actions: &FirActions, labels: &[String]) -> Result<Markup, ReportError> {
    let surest = surest_of_each_class(verdicts, labels.len());
    if surest.is_empty() {
        return Ok(html! { p .none { "No clip is." } });
    }
    Ok(html! {
        p { "For comparison, the clip of each class that was recognised most surely." }
        (films(&surest, actions, labels)?)
    })
}

/// A figure of an epoch, where it has it.
type Figure = fn(&EpochRecord) -> Option<f64>;

/// The figures of an epoch that are drawn, by their names; those of training and of validation.
const LOSS: [Figure; 2] = [|epoch| Some(epoch.training_loss), |epoch| epoch.validation_loss];
const ACCURACY: [Figure; 2] = [|epoch| Some(epoch.training_accuracy), |epoch| epoch.validation_accuracy];

/// The learning curves of one model.
pub(super) fn curves(epochs: &[EpochRecord]) -> Vec<Chart> {
    let both = |[training, validation]: [Figure; 2]| {
        let training = Line::new("training", points(epochs, training), 0).dashed();
        vec![training, Line::new("validation", points(epochs, validation), 1)]
    };
    vec![
        chart("Loss", "loss", Numbers::Plain, both(LOSS)),
        chart("Accuracy", "accuracy", Numbers::Percent, both(ACCURACY)),
    ]
}

fn points(epochs: &[EpochRecord], figure: Figure) -> Vec<[f64; 2]> {
    epochs.iter().map(|epoch| [epoch.epoch as f64, figure(epoch).unwrap_or(f64::NAN)]).collect()
}

fn chart(title: &str, axis: &'static str, numbers: Numbers, lines: Vec<Line>) -> Chart {
    Chart { title: title.to_owned(), axes: ["epoch", axis], numbers: [Numbers::Whole, numbers], lines }
}

fn training(folds: &[FoldReport]) -> Markup {
    let charts: Vec<Chart> = if let [fold] = folds {
        curves(&fold.epochs)
    } else {
        let of_all = |figure: Figure| {
            let lines = folds.iter().enumerate();
            let line = |(index, fold): (usize, &FoldReport)| {
                Line::new(format!("person {}", fold.test_person), points(&fold.epochs, figure), index)
            };
            lines.map(line).collect()
        };
        vec![
            chart("Training loss", "loss", Numbers::Plain, of_all(LOSS[0])),
            chart("Validation loss", "loss", Numbers::Plain, of_all(LOSS[1])),
            chart("Training accuracy", "accuracy", Numbers::Percent, of_all(ACCURACY[0])),
            chart("Validation accuracy", "accuracy", Numbers::Percent, of_all(ACCURACY[1])),
        ]
    };
    html! {
        p {
            "Validation clips are recordings of the training people that are held back. Training clips are varied at random and "
            "seen with dropout, and their loss is computed with smoothed labels: the two do not compare directly."
        }
        div .charts { @for chart in &charts { (chart.figure()) } }
    }
}
