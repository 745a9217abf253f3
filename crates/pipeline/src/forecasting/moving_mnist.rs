//! Moving-MNIST: what two moving digits do next, beside the last frame and an empty one.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::forecasting::{MovingMnistPreset, MovingMnistRecipe, moving_mnist};
//! use pipeline::interrupt::Interrupt;
//! use pipeline::run::RunDirectory;
//!
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "moving-mnist")?;
//! let recipe = MovingMnistRecipe::preset(MovingMnistPreset::Tiny);
//! let results = moving_mnist::train(&recipe, &directory, &Interrupt::default(), &mut |_| {})?;
//! print!("{}", moving_mnist::summary(&results));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt::Write;

use ndarray::{Axis, concatenate};
use serde::{Deserialize, Serialize};
use tensor_ops::Parameters;

use super::drawing::draw_sequences;
use super::network::ForecastNetwork;
use super::recipe::MovingMnistRecipe;
use super::run::{ForecastDescription, ForecastingError, ForecastingEvent, Training, items_of_step, load_network};
use crate::data::{DigitPart, Digits, MovingMnist};
use crate::forecast::{all_zero, persistence};
use crate::interrupt::Interrupt;
use crate::metrics::frames::{FrameFigures, FrameMetrics};
use crate::metrics::similarity::SsimWindow;
use crate::pictures::PictureStyle;
use crate::recipe::RecipeKind;
use crate::run::{RunDirectory, remove_checkpoint};

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
/// Where `directory` holds training that was stopped, it goes on; the network becomes the one that it would have become, to the
/// last bit.
///
/// # Errors
/// [`ForecastingError`] if the recipe cannot be used or a file cannot be written.
pub fn train(
    recipe: &MovingMnistRecipe,
    directory: &RunDirectory,
    interrupt: &Interrupt,
    observer: &mut dyn FnMut(ForecastingEvent<'_>),
) -> Result<MovingMnistResults, ForecastingError> {
    recipe.validate()?;
    let digits = Digits::bundled(DigitPart::Training)?;
    let clips = MovingMnist::new(&digits, recipe.data.clone(), recipe.seed)?;
    let text = recipe.to_toml();
    directory.write_config(&text)?;
    let size = [recipe.data.canvas; 2];
    let description = ForecastDescription::new(
        recipe.recipe,
        [recipe.context, recipe.horizon()],
        size,
        recipe.loss.output(),
        &recipe.network,
    );
    let windows_of = |step: usize| {
        let batch_size = recipe.training.batch_size;
        if recipe.training_sequences == 0 {
            return clips.batch(step * batch_size..(step + 1) * batch_size);
        }
        let items = items_of_step(recipe.seed, recipe.training_sequences, batch_size, step);
        let parts: Vec<_> =
            items.iter().flat_map(|(_, items)| items).map(|&item| clips.batch(item..item + 1)).collect();
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        concatenate(Axis(0), &views).expect("clips of one size")
    };
    let training = Training {
        seed: recipe.seed,
        loss: &recipe.loss,
        config: &recipe.training,
        description: &description,
        directory,
        recipe: &text,
        interrupt,
    };
    let (network, training_seconds) = training.run(windows_of, observer)?;
    observer(ForecastingEvent::Testing);
    let results = test(recipe, &network, training_seconds, Some(directory))?;
    directory.write_results(&results)?;
    remove_checkpoint(&directory.checkpoint_path())?;
    Ok(results)
}

/// Computes the figures of a run anew from its configuration and weights. Nothing is written.
///
/// # Errors
/// [`ForecastingError`] if a file is missing or damaged.
pub fn evaluate(directory: &RunDirectory) -> Result<MovingMnistResults, ForecastingError> {
    let recipe = directory.read_config(MovingMnistRecipe::from_toml)?;
    recipe.validate()?;
    let recorded: MovingMnistResults = directory.read_results()?;
    let network = load_network(&directory.existing_model()?, RecipeKind::MovingMnist)?;
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
        let forecast = network.forecast(known, horizon)?;
        of_network.add(forecast.view(), truth)?;
        of_last.add(persistence(known, horizon)?.view(), truth)?;
        of_zero.add(all_zero(known, horizon)?.view(), truth)?;
        if let Some(directory) = pictures.filter(|_| first == 0) {
            let sequences: Vec<usize> = (0..PICTURES.min(known.len_of(Axis(0)))).collect();
            let rows = [("truth", truth), ("forecast", forecast.view())];
            let folder = directory.subdirectory("pictures")?;
            draw_sequences(&folder, &sequences, known, &rows, None, &PictureStyle::default())?;
        }
    }
    let figures = |metrics: FrameMetrics| FrameForecastFigures {
        leads: metrics.leads(),
        mean: metrics.mean().expect("at least one sequence and one lead, by the recipe's checks"),
    };
    Ok(MovingMnistResults {
        seed: recipe.seed,
        parameters: network.parameter_count(),
        training_seconds,
        network: figures(of_network),
        copy_last: figures(of_last),
        all_zero: figures(of_zero),
    })
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
