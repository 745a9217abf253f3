//! Moving-MNIST: what two moving digits do next, beside the last frame and an empty one.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::forecasting::{MovingMnistPreset, MovingMnistRecipe, moving_mnist};
//! use pipeline::run::RunDirectory;
//!
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "moving-mnist")?;
//! let recipe = MovingMnistRecipe::preset(MovingMnistPreset::Tiny);
//! let results = moving_mnist::train(&recipe, &directory, &mut |_| {})?;
//! print!("{}", moving_mnist::summary(&results));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt::Write;

use ndarray::{Array4, Axis};
use serde::{Deserialize, Serialize};
use tensor_ops::Parameters;

use super::network::ForecastNetwork;
use super::recipe::MovingMnistRecipe;
use super::run::{ForecastDescription, ForecastingError, ForecastingEvent, Training, load_network};
use super::stepper::ForecastBatch;
use crate::data::{DigitPart, Digits, MovingMnist};
use crate::metrics::baselines::{all_zero, copy_last_frame};
use crate::metrics::frames::{FrameFigures, FrameMetrics};
use crate::metrics::similarity::SsimWindow;
use crate::pictures::{Panel, PictureStyle, write_animation, write_strip};
use crate::run::RunDirectory;

/// Sequences that are forecast at once in the test; the result does not depend on it.
const TEST_BATCH: usize = 16;

/// Test sequences of which pictures are made, at most.
const PICTURES: usize = 3;

/// The figures of one forecast: of every lead, and their means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameForecastFigures {
    /// Of every lead, from lead 1 on.
    pub leads: Vec<FrameFigures>,
    /// The means over all leads.
    pub mean: FrameFigures,
}

/// The figures of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovingMnistResults {
    /// The seed of the run.
    pub seed: u64,
    /// The number of weights.
    pub parameters: usize,
    /// The time that training took.
    pub training_seconds: f64,
    /// The network.
    pub network: FrameForecastFigures,
    /// The last frame again and again.
    pub copy_last: FrameForecastFigures,
    /// Empty frames.
    pub all_zero: FrameForecastFigures,
}

/// Trains the network of `recipe`, tests it beside the simplest forecasts, and keeps everything in `directory`.
///
/// # Errors
/// [`ForecastingError`] if the recipe cannot be used or a file cannot be written.
pub fn train(
    recipe: &MovingMnistRecipe,
    directory: &RunDirectory,
    observer: &mut dyn FnMut(ForecastingEvent<'_>),
) -> Result<MovingMnistResults, ForecastingError> {
    recipe.validate()?;
    let digits = Digits::bundled(DigitPart::Training)?;
    let clips = MovingMnist::new(&digits, recipe.data.clone(), recipe.seed)?;
    directory.write_config(&recipe.to_toml())?;
    let size = [recipe.data.canvas; 2];
    let description = ForecastDescription::new(
        recipe.recipe,
        [recipe.context, recipe.horizon()],
        size,
        recipe.loss.kind,
        &recipe.network,
    );
    let batch_of = |step: usize| {
        let batch_size = recipe.training.batch_size;
        let first = step * batch_size;
        let frames = match recipe.training_sequences {
            0 => clips.batch(first..first + batch_size),
            count => {
                let clip = |item: usize| clips.batch(item % count..item % count + 1);
                let parts: Vec<_> = (first..first + batch_size).map(clip).collect();
                let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
                ndarray::concatenate(Axis(0), &views).expect("clips of one size")
            }
        };
        let (known, truth) = frames.view().split_at(Axis(1), recipe.context);
        Ok(ForecastBatch { context: known.to_owned(), guide: None, truth: truth.to_owned() })
    };
    let training = Training {
        seed: recipe.seed,
        loss: &recipe.loss,
        config: &recipe.training,
        description: &description,
        directory,
    };
    let (network, training_seconds) = training.run(batch_of, observer)?;
    observer(ForecastingEvent::Testing);
    let results = test(recipe, &network, training_seconds, Some(directory))?;
    directory.write_results(&results)?;
    Ok(results)
}

/// Computes the figures of a run anew from its configuration and weights. Nothing is written.
///
/// # Errors
/// [`ForecastingError`] if a file is missing or damaged.
pub fn evaluate(directory: &RunDirectory) -> Result<MovingMnistResults, ForecastingError> {
    let recipe =
        directory.read_config(|text| MovingMnistRecipe::from_toml(text).and_then(|r| r.validate().map(|()| r)))?;
    let recorded: MovingMnistResults = directory.read_results()?;
    let (_, network) = load_network(&directory.existing_model()?)?;
    test(&recipe, &network, recorded.training_seconds, None)
}

fn test(
    recipe: &MovingMnistRecipe,
    network: &ForecastNetwork,
    training_seconds: f64,
    pictures: Option<&RunDirectory>,
) -> Result<MovingMnistResults, ForecastingError> {
    let digits = Digits::bundled(DigitPart::Test)?;
    // All seeds are tested on the same clips.
    let clips = MovingMnist::new(&digits, recipe.data.clone(), 0)?;
    let metrics = || FrameMetrics::new(1.0, SsimWindow::Uniform);
    let (mut of_network, mut of_last, mut of_zero) = (metrics()?, metrics()?, metrics()?);
    let horizon = recipe.horizon();
    for first in (0..recipe.test_sequences).step_by(TEST_BATCH) {
        let frames = clips.batch(first..recipe.test_sequences.min(first + TEST_BATCH));
        let (known, truth) = frames.view().split_at(Axis(1), recipe.context);
        let forecast = network.forecast(known, horizon, recipe.loss.kind)?;
        of_network.add(forecast.view(), truth)?;
        of_last.add(copy_last_frame(known, horizon)?.view(), truth)?;
        of_zero.add(all_zero(known, horizon)?.view(), truth)?;
        if let Some(directory) = pictures.filter(|_| first == 0) {
            draw(&known.to_owned(), &truth.to_owned(), &forecast, directory)?;
        }
    }
    let figures = |metrics: FrameMetrics| -> Option<FrameForecastFigures> {
        Some(FrameForecastFigures { leads: metrics.leads(), mean: metrics.mean()? })
    };
    let none = || {
        ForecastingError::Recipe(crate::recipe::RecipeError::Value {
            option: "test_sequences",
            requirement: "at least 1",
            found: recipe.test_sequences.to_string(),
        })
    };
    Ok(MovingMnistResults {
        seed: recipe.seed,
        parameters: network.parameter_count(),
        training_seconds,
        network: figures(of_network).ok_or_else(none)?,
        copy_last: figures(of_last).ok_or_else(none)?,
        all_zero: figures(of_zero).ok_or_else(none)?,
    })
}

fn draw(
    known: &Array4<f32>,
    truth: &Array4<f32>,
    forecast: &Array4<f32>,
    directory: &RunDirectory,
) -> Result<(), ForecastingError> {
    let folder = directory.subdirectory("pictures")?;
    let style = PictureStyle::default();
    for sequence in 0..PICTURES.min(known.dim().0) {
        let of_sequence = |frames: &Array4<f32>| frames.index_axis(Axis(0), sequence).to_owned();
        let (known, truth, forecast) = (of_sequence(known), of_sequence(truth), of_sequence(forecast));
        let mut panels = vec![Panel::new("truth", truth.view()), Panel::new("forecast", forecast.view())];
        write_animation(&folder.join(format!("sequence-{sequence:03}.gif")), &panels, &style)?;
        panels.insert(0, Panel::new("input", known.view()));
        write_strip(&folder.join(format!("sequence-{sequence:03}.png")), &panels, &style)?;
    }
    Ok(())
}

/// The figures of a run as text.
pub fn summary(results: &MovingMnistResults) -> String {
    let forecasts = [("network", &results.network), ("copy-last", &results.copy_last), ("all-zero", &results.all_zero)];
    let mut text = format!("{:<20}{:>10}{:>10}{:>10}{:>10}\n", "", "MSE/frame", "MAE/frame", "SSIM", "PSNR");
    // Writing to a string does not fail.
    let mut line = |name: &str, figures: &FrameFigures| {
        let psnr = figures.psnr.map_or("–".to_owned(), |psnr| format!("{psnr:.2}"));
        let FrameFigures { mse_per_frame, mae_per_frame, ssim, .. } = figures;
        let _ = writeln!(text, "{name:<20}{mse_per_frame:>10.2}{mae_per_frame:>10.2}{ssim:>10.4}{psnr:>10}");
    };
    for (name, figures) in forecasts {
        line(name, &figures.mean);
    }
    for (lead, figures) in results.network.leads.iter().enumerate() {
        line(&format!("network, lead {}", lead + 1), figures);
    }
    text
}
