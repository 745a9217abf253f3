//! Nowcasting: what the radar shows next, or a person's own frames, beside persistence and extrapolation.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::forecasting::{NowcastRecipe, nowcast};
//! use pipeline::run::RunDirectory;
//!
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "nowcast")?;
//! let results = nowcast::train(&NowcastRecipe::default(), &directory, &mut |_| {})?;
//! print!("{}", nowcast::summary(&results));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ndarray::{Array4, ArrayView4, Axis, concatenate};
use ndarray_rand::rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tensor_ops::Parameters;

use super::network::ForecastNetwork;
use super::recipe::NowcastRecipe;
use super::run::{ForecastDescription, ForecastingError, ForecastingEvent, Training, load_network};
use super::stepper::ForecastBatch;
use crate::data::{FrameSequences, Radar, RadarSplit};
use crate::forecast::{Event, ForecastScorer, ForecastScores, extrapolation, persistence};
use crate::pictures::{ColourScale, Panel, PictureStyle, write_animation, write_strip};
use crate::random::{Purpose, generator};
use crate::report;
use crate::run::RunDirectory;

/// Sequences that are forecast at once in the test; the result does not depend on it.
const TEST_BATCH: usize = 8;

/// Test sequences of which pictures are made, at most.
const PICTURES: usize = 4;

/// Minutes between neighbouring frames of the bundled radar.
const MINUTES: f64 = Radar::MINUTES_PER_FRAME;

/// The figures of a nowcast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NowcastResults {
    /// The seed of the run.
    pub seed: u64,
    /// The number of weights.
    pub parameters: usize,
    /// The time that training took.
    pub training_seconds: f64,
    /// The network.
    pub network: ForecastScores,
    /// The extrapolation of the last frame along its motion.
    pub extrapolation: ForecastScores,
    /// The last frame again and again.
    pub persistence: ForecastScores,
}

/// The sequences to train on and to test with, and what is counted.
struct Sequences {
    training: FrameSequences,
    test: FrameSequences,
    /// The first frames of the test's windows.
    starts: Vec<usize>,
    events: Vec<Event>,
    is_radar: bool,
}

impl Sequences {
    fn of(recipe: &NowcastRecipe) -> Result<Self, ForecastingError> {
        let window = recipe.data.context + recipe.data.horizon;
        let Some(path) = &recipe.data.path else {
            let radar = Radar::bundled()?;
            let (training, test) = (radar.part(RadarSplit::Train), radar.part(RadarSplit::Test));
            if window > training.length() {
                let requirement = "at most the frames of a sequence together with data.context";
                let found = recipe.data.horizon.to_string();
                let error = crate::recipe::RecipeError::Value { option: "data.horizon", requirement, found };
                return Err(error.into());
            }
            let events = Radar::EVENT_RATES.map(Event::rain).to_vec();
            return Ok(Self { training, test, starts: vec![0], events, is_radar: true });
        };
        let frames = FrameSequences::read_npy(path, window)?;
        let parts = frames.hold_out(recipe.data.test_fraction, window);
        let (training, test) = parts.ok_or_else(|| ForecastingError::TooShort {
            path: path.clone(),
            sequences: frames.count(),
            found: frames.length(),
            window,
        })?;
        let starts = (0..=test.length() - window).step_by(window).collect();
        let events = [0.25, 0.5, 0.75].map(|threshold| Event::new(threshold.to_string(), threshold)).to_vec();
        Ok(Self { training, test, starts, events, is_radar: false })
    }

    /// All windows of the test.
    fn test_windows(&self) -> Vec<(usize, usize)> {
        let sequences = 0..self.test.count();
        self.starts.iter().flat_map(|&start| sequences.clone().map(move |sequence| (sequence, start))).collect()
    }
}

/// Checks that the recipe and its data can be used, before anything is written.
///
/// # Errors
/// As [`train`].
pub fn check(recipe: &NowcastRecipe) -> Result<(), ForecastingError> {
    recipe.validate()?;
    let sequences = Sequences::of(recipe)?;
    let size = sequences.training.size();
    recipe.network.encoder_forecaster().multiply_adds(recipe.data.context, recipe.data.horizon, size)?;
    Ok(())
}

/// Trains the network of `recipe`, tests it beside the simpler forecasts, and keeps everything in `directory`.
///
/// # Errors
/// [`ForecastingError`] if the recipe or the data cannot be used or a file cannot be written.
pub fn train(
    recipe: &NowcastRecipe,
    directory: &RunDirectory,
    observer: &mut dyn FnMut(ForecastingEvent<'_>),
) -> Result<NowcastResults, ForecastingError> {
    recipe.validate()?;
    let sequences = Sequences::of(recipe)?;
    directory.write_config(&recipe.to_toml())?;
    let (context, horizon) = (recipe.data.context, recipe.data.horizon);
    let size = sequences.training.size();
    let kind = recipe.loss.kind;
    let description = ForecastDescription::new(recipe.recipe, [context, horizon], size, kind, &recipe.network);
    // The motion that guides the forecast is estimated as for any other network of the same description.
    let guide = ForecastNetwork::new(&recipe.network, &mut generator(recipe.seed, Purpose::Weights, 0, 0))?;
    let batch_of = |step: usize| {
        let count = sequences.training.count();
        let positions = positions_of_step(recipe.seed, count, recipe.training.batch_size, step);
        let mut parts = Vec::new();
        for (epoch, positions) in positions {
            let length = context + horizon;
            parts.push(sequences.training.varied_windows(&positions, length, &recipe.variation, recipe.seed, epoch));
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let windows = concatenate(Axis(0), &views).expect("windows of one size");
        let (known, truth) = windows.view().split_at(Axis(1), context);
        let guide = guide.guide(known, horizon)?;
        Ok(ForecastBatch { context: known.to_owned(), guide, truth: truth.to_owned() })
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
    let results = test(recipe, &sequences, &network, training_seconds)?;
    directory.write_results(&results)?;
    draw(recipe, &sequences, &network, directory)?;
    Ok(results)
}

/// Computes the figures of a run anew from its configuration and weights. Nothing is written.
///
/// # Errors
/// [`ForecastingError`] if a file is missing or damaged.
pub fn evaluate(directory: &RunDirectory) -> Result<NowcastResults, ForecastingError> {
    let recipe = directory.read_config(|text| NowcastRecipe::from_toml(text).and_then(|r| r.validate().map(|()| r)))?;
    let recorded: NowcastResults = directory.read_results()?;
    let (_, network) = load_network(&directory.existing_model()?)?;
    test(&recipe, &Sequences::of(&recipe)?, &network, recorded.training_seconds)
}

/// The sequences of a step, by epoch: every epoch goes through all in an order of its own.
fn positions_of_step(seed: u64, count: usize, batch_size: usize, step: usize) -> Vec<(usize, Vec<usize>)> {
    let mut parts: Vec<(usize, Vec<usize>)> = Vec::new();
    for item in step * batch_size..(step + 1) * batch_size {
        let epoch = item / count;
        if parts.last().is_none_or(|&(last, _)| last != epoch) {
            parts.push((epoch, Vec::new()));
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut generator(seed, Purpose::Order, epoch, 0));
        if let Some((_, positions)) = parts.last_mut() {
            positions.push(order[item % count]);
        }
    }
    parts
}

fn test(
    recipe: &NowcastRecipe,
    sequences: &Sequences,
    network: &ForecastNetwork,
    training_seconds: f64,
) -> Result<NowcastResults, ForecastingError> {
    let (context, horizon) = (recipe.data.context, recipe.data.horizon);
    let scorer = || ForecastScorer::new(&sequences.events, horizon);
    let (mut of_network, mut of_extrapolation, mut of_persistence) = (scorer(), scorer(), scorer());
    for windows in sequences.test_windows().chunks(TEST_BATCH) {
        let frames: Vec<_> = windows
            .iter()
            .map(|&(sequence, start)| sequences.test.window(sequence, start, context + horizon))
            .collect();
        let views: Vec<_> = frames.iter().map(|frames| frames.view()).collect();
        let frames: Array4<f32> = ndarray::stack(Axis(0), &views).expect("windows of one size");
        let (known, truth) = frames.view().split_at(Axis(1), context);
        of_network.add(network.forecast(known, horizon, recipe.loss.kind)?.view(), truth)?;
        of_extrapolation.add(extrapolation(known, horizon, &recipe.network.motion)?.view(), truth)?;
        of_persistence.add(persistence(known, horizon)?.view(), truth)?;
    }
    Ok(NowcastResults {
        seed: recipe.seed,
        parameters: network.parameter_count(),
        training_seconds,
        network: of_network.finish()?,
        extrapolation: of_extrapolation.finish()?,
        persistence: of_persistence.finish()?,
    })
}

/// Strips and animations of some test sequences.
fn draw(
    recipe: &NowcastRecipe,
    sequences: &Sequences,
    network: &ForecastNetwork,
    directory: &RunDirectory,
) -> Result<(), ForecastingError> {
    let (context, horizon) = (recipe.data.context, recipe.data.horizon);
    let folder = directory.subdirectory("pictures")?;
    let count = sequences.test.count();
    let colours = if sequences.is_radar { ColourScale::Rain } else { ColourScale::Grey };
    let style = PictureStyle { colours, ..PictureStyle::default() };
    for picture in 0..PICTURES.min(count) {
        let sequence = picture * count / PICTURES.min(count);
        let frames = sequences.test.window(sequence, 0, context + horizon).insert_axis(Axis(0));
        let (known, truth) = frames.view().split_at(Axis(1), context);
        let forecast = network.forecast(known, horizon, recipe.loss.kind)?;
        let moved = extrapolation(known, horizon, &recipe.network.motion)?;
        let of_sequence = |frames: ArrayView4<'_, f32>| frames.index_axis(Axis(0), 0).to_owned();
        let known = of_sequence(known);
        let rows = [("truth", of_sequence(truth)), ("forecast", of_sequence(forecast.view()))];
        let rows: Vec<_> = rows.into_iter().chain([("extrapolation", of_sequence(moved.view()))]).collect();
        let panel = |label, frames, first: f64| {
            let panel = Panel::new(label, frames);
            if sequences.is_radar { panel.with_minutes(first, MINUTES) } else { panel }
        };
        let mut panels: Vec<_> = rows.iter().map(|(label, frames)| panel(label, frames.view(), MINUTES)).collect();
        write_animation(&folder.join(format!("sequence-{sequence:03}.gif")), &panels, &style)?;
        panels.insert(0, panel("input", known.view(), MINUTES * (1.0 - context as f64)));
        write_strip(&folder.join(format!("sequence-{sequence:03}.png")), &panels, &style)?;
    }
    Ok(())
}

/// The figures of a nowcast as text.
pub fn summary(results: &NowcastResults) -> String {
    let NowcastResults { network, extrapolation, persistence, .. } = results;
    let forecasts = [("network", network), ("extrapolation", extrapolation), ("persistence", persistence)];
    format!("{}\nmeans over all leads\n{}", report::forecast_table(&forecasts), report::forecast_means(&forecasts))
}
