//! Nowcasting: what the radar shows next, or a person's own frames, beside persistence and extrapolation.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::forecasting::NowcastRecipe;
//! use pipeline::forecasting::nowcast::{self, Nowcast};
//! use pipeline::interrupt::Interrupt;
//! use pipeline::run::RunDirectory;
//!
//! let job = Nowcast::new(NowcastRecipe::default())?;
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "nowcast")?;
//! let results = job.train(&directory, &Interrupt::default(), &mut |_| {})?;
//! print!("{}", nowcast::summary(&results));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ndarray::{Axis, concatenate};
use serde::{Deserialize, Serialize};
use tensor_ops::Parameters;

use super::drawing::draw_sequences;
use super::network::ForecastNetwork;
use super::recipe::NowcastRecipe;
use super::run::{ForecastDescription, ForecastingError, ForecastingEvent, Training, items_of_step, load_network};
use crate::data::{FrameSequences, Radar, RadarSplit};
use crate::forecast::{Event, ForecastScorer, ForecastScores, extrapolation, persistence};
use crate::interrupt::Interrupt;
use crate::pictures::{ColourScale, PictureStyle};
use crate::recipe::{RecipeKind, require};
use crate::report;
use crate::run::{RunDirectory, remove_checkpoint};

/// Sequences that are forecast at once in the test; the result does not depend on it.
const TEST_BATCH: usize = 8;

/// Test sequences of which pictures are made, at most.
const PICTURES: usize = 4;

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

/// A nowcast that can be trained: its recipe, checked, and its data.
#[derive(Clone, Debug)]
pub struct Nowcast {
    recipe: NowcastRecipe,
    training: FrameSequences,
    test: FrameSequences,
    events: Vec<Event>,
}

impl Nowcast {
    /// Checks `recipe` and reads its data. Nothing is written.
    ///
    /// # Errors
    /// [`ForecastingError`] if the recipe or the data cannot be used.
    pub fn new(recipe: NowcastRecipe) -> Result<Self, ForecastingError> {
        recipe.validate()?;
        let window = recipe.data.context + recipe.data.horizon;
        let (training, test, events) = match &recipe.data.path {
            None => {
                let radar = Radar::bundled()?;
                let (training, test) = (radar.part(RadarSplit::Train), radar.part(RadarSplit::Test));
                let requirement = "at most the frames of a sequence together with data.context";
                require(window <= training.length(), "data.horizon", requirement, recipe.data.horizon)?;
                (training, test, Radar::EVENT_RATES.map(Event::rain).to_vec())
            }
            Some(path) => {
                let frames = FrameSequences::read_npy(path, window)?;
                let too_short = || {
                    let (sequences, found) = (frames.count(), frames.length());
                    ForecastingError::TooShort { path: path.clone(), sequences, found, window }
                };
                let parts = frames.hold_out(recipe.data.test_fraction, window);
                let (training, test) = parts.ok_or_else(too_short)?;
                let events = [0.25, 0.5, 0.75].map(|threshold| Event::new(threshold.to_string(), threshold));
                (training, test, events.to_vec())
            }
        };
        let layers = recipe.network.encoder_forecaster();
        layers.multiply_adds(recipe.data.context, recipe.data.horizon, training.size())?;
        Ok(Self { recipe, training, test, events })
    }

    /// Trains the network, tests it beside the simpler forecasts, and keeps everything in `directory`.
    ///
    /// Where `directory` holds training that was stopped, it goes on; the network becomes the one that it would have become, to the
    /// last bit.
    ///
    /// # Errors
    /// [`ForecastingError`] if a gradient is not finite or a file cannot be written.
    pub fn train(
        &self,
        directory: &RunDirectory,
        interrupt: &Interrupt,
        observer: &mut dyn FnMut(ForecastingEvent<'_>),
    ) -> Result<NowcastResults, ForecastingError> {
        let NowcastRecipe { recipe: kind, seed, data, variation, network: sizes, loss, training: config } =
            &self.recipe;
        let mut kept = self.recipe.clone();
        if let Some(path) = &mut kept.data.path {
            // The run can be resumed and evaluated from another folder. Without a current one the path stays as it is.
            *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
        }
        let text = kept.to_toml();
        directory.write_config(&text)?;
        let frames = [data.context, data.horizon];
        let description = ForecastDescription::new(*kind, frames, self.training.size(), loss.output(), sizes);
        let windows_of = |step: usize| {
            let items = items_of_step(*seed, self.training.count(), config.batch_size, step);
            let vary = |(epoch, items): (usize, Vec<usize>)| {
                self.training.varied_windows(&items, data.context + data.horizon, variation, *seed, epoch)
            };
            let parts: Vec<_> = items.into_iter().map(vary).collect();
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            concatenate(Axis(0), &views).expect("windows of one size")
        };
        let (description, recipe) = (&description, &text);
        let training = Training { seed: *seed, loss, config, description, directory, recipe, interrupt };
        let (network, training_seconds) = training.run(windows_of, observer)?;
        observer(ForecastingEvent::Testing);
        let results = self.test(&network, training_seconds)?;
        directory.write_results(&results)?;
        self.draw(&network, directory)?;
        remove_checkpoint(&directory.checkpoint_path())?;
        Ok(results)
    }

    /// The first frames of the test's windows: the sequences' first windows of the bundled radar, all of a file.
    fn test_starts(&self) -> impl Iterator<Item = usize> + use<> {
        let window = self.recipe.data.context + self.recipe.data.horizon;
        let last = if self.recipe.data.path.is_some() { self.test.length() - window } else { 0 };
        (0..=last).step_by(window)
    }

    fn test(&self, network: &ForecastNetwork, training_seconds: f64) -> Result<NowcastResults, ForecastingError> {
        let NowcastRecipe { seed, data, network: sizes, .. } = &self.recipe;
        let scorer = || ForecastScorer::new(&self.events, data.horizon);
        let (mut of_network, mut of_extrapolation, mut of_persistence) = (scorer(), scorer(), scorer());
        let sequences: Vec<usize> = (0..self.test.count()).collect();
        for start in self.test_starts() {
            for sequences in sequences.chunks(TEST_BATCH) {
                let frames = self.test.windows(sequences, start, data.context + data.horizon);
                let (known, truth) = frames.view().split_at(Axis(1), data.context);
                of_network.add(network.forecast(known, data.horizon)?.view(), truth)?;
                of_extrapolation.add(extrapolation(known, data.horizon, &sizes.motion)?.view(), truth)?;
                of_persistence.add(persistence(known, data.horizon)?.view(), truth)?;
            }
        }
        Ok(NowcastResults {
            seed: *seed,
            parameters: network.parameter_count(),
            training_seconds,
            network: of_network.finish()?,
            extrapolation: of_extrapolation.finish()?,
            persistence: of_persistence.finish()?,
        })
    }

    /// Strips and animations of some test sequences.
    fn draw(&self, network: &ForecastNetwork, directory: &RunDirectory) -> Result<(), ForecastingError> {
        let NowcastRecipe { data, network: sizes, .. } = &self.recipe;
        let folder = directory.subdirectory("pictures")?;
        let is_radar = data.path.is_none();
        let colours = if is_radar { ColourScale::Rain } else { ColourScale::Grey };
        let style = PictureStyle { colours, ..PictureStyle::default() };
        let count = self.test.count();
        let sequences: Vec<_> = (0..PICTURES.min(count)).map(|picture| picture * count / PICTURES.min(count)).collect();
        let frames = self.test.windows(&sequences, 0, data.context + data.horizon);
        let (known, truth) = frames.view().split_at(Axis(1), data.context);
        let forecast = network.forecast(known, data.horizon)?;
        let moved = extrapolation(known, data.horizon, &sizes.motion)?;
        let rows = [("truth", truth), ("forecast", forecast.view()), ("extrapolation", moved.view())];
        draw_sequences(&folder, &sequences, known, &rows, is_radar.then_some(Radar::MINUTES_PER_FRAME), &style)
    }
}

/// Computes the figures of a run anew from its configuration and weights. Nothing is written.
///
/// # Errors
/// [`ForecastingError`] if a file is missing or damaged.
pub fn evaluate(directory: &RunDirectory) -> Result<NowcastResults, ForecastingError> {
    let job = Nowcast::new(directory.read_config(NowcastRecipe::from_toml)?)?;
    let recorded: NowcastResults = directory.read_results()?;
    let network = load_network(&directory.existing_model()?, RecipeKind::Nowcast)?;
    job.test(&network, recorded.training_seconds)
}

/// The figures of a nowcast as text.
pub fn summary(results: &NowcastResults) -> String {
    let NowcastResults { network, extrapolation, persistence, .. } = results;
    let forecasts = [("network", network), ("extrapolation", extrapolation), ("persistence", persistence)];
    format!("{}\nmeans over all leads\n{}", report::forecast_table(&forecasts), report::forecast_means(&forecasts))
}
