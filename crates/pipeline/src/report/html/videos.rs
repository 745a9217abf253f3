//! The report about recognition in videos of one's own.

use std::path::Path;

use maud::{Markup, html};
use ndarray::{Array3, s};
use video_input::{Crop, Frame, OpenOptions, ResizeFilter, Resizer};

use super::actions::curves;
use super::clips::window;
use super::confusion::{Mistake as FrequentMistake, confusion_table, most_frequent_mistake, recall_bars};
use super::options::options;
use super::page::{Section, facts, page, percent, run_name, seconds};
use super::pictures::data_uri;
use super::{ReportError, check_count};
use crate::pictures::{PictureError, encode_rgb};
use crate::recipe::RecipeError;
use crate::run::{EpochRecord, RunDirectory, RunError};
use crate::units::Count;
use crate::videos::{Mistake, VideoRecipe, VideoResults, VideosError};

/// Mistakes that are shown.
const MISTAKES: usize = 10;
/// Frames of a film.
const FILM_FRAMES: usize = 12;
/// The height and the width of a film.
const FILM_SIZE: usize = 112;
/// How long a frame of a film stays, in seconds.
const FILM_TICK: f64 = 0.2;

/// The page about the run in `directory`.
pub(super) fn report(directory: &RunDirectory) -> Result<String, ReportError> {
    let recipe = directory.read_config(VideoRecipe::from_toml)?;
    let results: VideoResults = directory.read_results()?;
    let classes = results.labels.len();
    let confusion = &results.validation.confusion;
    check_count(directory, || "classes of the confusion matrix".to_owned(), classes, confusion.classes())?;
    for truth in 0..classes {
        let what = || format!("entries of row {truth} of the confusion matrix");
        check_count(directory, what, classes, confusion.row(truth).len())?;
    }
    let epochs: Vec<EpochRecord> = directory.read_metrics()?;
    let wrong_recipe = |source: RecipeError| RunError::Recipe { path: directory.path().to_owned(), source };
    let usual = VideoRecipe::of_kind(recipe.input.kind);
    let options = options(&recipe.to_toml(), &usual.to_toml(), "the defaults").map_err(wrong_recipe)?;
    let sections = [
        Section::new("summary", "Summary", summary(&recipe, &results)),
        Section::new("classes", "Classes", per_class(&results)),
        Section::new("mistakes", "Worst mistakes", mistakes(&recipe.data.path, &results)?),
        Section::new("training", "Training", training(&epochs)),
        Section::new("recipe", "Recipe", options),
    ];
    let lead = html! {
        "Recognition in videos: " (percent(results.validation.accuracy)) " of "
        (Count(results.validation.clips as u64)) " videos held out are recognised. Guessing would be right for "
        (percent(1.0 / classes as f64)) "."
    };
    Ok(page(&run_name(directory), &lead, &sections))
}

fn summary(recipe: &VideoRecipe, results: &VideoResults) -> Markup {
    let training = &recipe.training;
    html! {
        (facts(&[
            ("accuracy", percent(results.validation.accuracy)),
            ("loss", format!("{:.3}", results.validation.loss)),
            ("videos trained on", Count(results.training_videos as u64).to_string()),
            ("videos held out", Count(results.validation.clips as u64).to_string()),
            ("parameters", Count(results.parameters as u64).to_string()),
            ("training", seconds(results.training_seconds)),
            ("epochs", training.epochs.to_string()),
            ("clips of a step", training.batch_size.to_string()),
            ("learning rate", training.learning_rate.to_string()),
            ("seed", recipe.seed.to_string()),
        ]))
        @if !results.left_out.is_empty() {
            p { "Left out, because they cannot be read: " (results.left_out.join(", ")) "." }
        }
    }
}

fn per_class(results: &VideoResults) -> Markup {
    let confusion = &results.validation.confusion;
    html! {
        @if let Some(FrequentMistake { truth, prediction, clips }) = most_frequent_mistake(confusion) {
            p {
                "The most frequent mistake: " b { (results.labels[truth]) } " taken for " b { (results.labels[prediction]) }
                ", " (clips) (if clips == 1 { " video." } else { " videos." })
            }
        } @else {
            p { "Every video is taken for what it is." }
        }
        div .pair {
            (confusion_table(&results.labels, confusion))
            (recall_bars(&results.labels, confusion))
        }
    }
}

fn mistakes(folder: &Path, results: &VideoResults) -> Result<Markup, ReportError> {
    let worst = &results.mistakes[..results.mistakes.len().min(MISTAKES)];
    if worst.is_empty() {
        return Ok(html! { p .none { "There are none." } });
    }
    let cards = worst.iter().map(|mistake| card(folder, mistake)).collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        p {
            "The " (worst.len()) " of " (results.mistakes.len()) " mistakes that the model was surest of: what it said, with "
            "the probability, and what the video is."
        }
        ol .films { @for card in &cards { li { (card) } } }
    })
}

fn card(folder: &Path, mistake: &Mistake) -> Result<Markup, ReportError> {
    let film = match frames_of(&folder.join(&mistake.video)) {
        Ok(frames) => window(&reel(&frames)?, &mistake.video, frames.len(), Some(FILM_TICK)),
        // The page is about what was; the video may have gone since.
        Err(error) => html! { p .none { (error) } },
    };
    Ok(html! {
        (film)
        p .verdict {
            b .is-wrong { (mistake.predicted) } " " (percent(mistake.probability))
            br;
            "is " b { (mistake.label) }
        }
        p .origin { (mistake.video) }
    })
}

/// The address of a picture of all frames beside each other.
fn reel(frames: &[Array3<u8>]) -> Result<String, ReportError> {
    let mut reel = Array3::zeros((FILM_SIZE, FILM_SIZE * frames.len(), 3));
    for (position, frame) in frames.iter().enumerate() {
        let start = position * FILM_SIZE;
        reel.slice_mut(s![.., start..start + FILM_SIZE, ..]).assign(frame);
    }
    let bytes = encode_rgb(reel.view()).map_err(|source| PictureError::Encoding { source })?;
    Ok(data_uri("image/png", &bytes))
}

/// At most [`FILM_FRAMES`] frames of a video of any length, nearly evenly spread: whenever twice as many are there, every
/// second one goes.
fn frames_of(path: &Path) -> Result<Vec<Array3<u8>>, VideosError> {
    let mut source = video_input::open(path, &OpenOptions::default())?;
    let mut resizer = Resizer::new([FILM_SIZE; 2], Crop::Letterbox, ResizeFilter::Bilinear);
    let (mut frame, mut frames) = (Frame::default(), Vec::new());
    let (mut distance, mut number) = (1, 0);
    while source.next_frame(&mut frame)? {
        if number % distance == 0 {
            frames.push(resizer.resize(frame.pixels.view())?);
        }
        number += 1;
        if frames.len() == 2 * FILM_FRAMES {
            frames = frames.into_iter().step_by(2).collect();
            distance *= 2;
        }
    }
    if frames.is_empty() {
        return Err(VideosError::NoFrames { path: path.to_owned() });
    }
    let kept = frames.len().min(FILM_FRAMES);
    Ok((0..kept).map(|index| frames[index * frames.len() / kept].clone()).collect())
}

fn training(epochs: &[EpochRecord]) -> Markup {
    html! {
        p {
            "Validation is on the videos held out. Training videos are varied at random and seen with dropout, and their loss is "
            "computed with smoothed labels: the two do not compare directly."
        }
        div .charts { @for chart in &curves(epochs) { (chart.figure()) } }
    }
}
