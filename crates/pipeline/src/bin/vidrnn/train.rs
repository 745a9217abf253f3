//! `vidrnn train`

use std::time::Instant;

use pipeline::forecasting::nowcast::{self, Nowcast};
use pipeline::forecasting::{ForecastingError, ForecastingEvent, MovingMnistRecipe, moving_mnist};
use pipeline::interrupt::Interrupt;
use pipeline::recipe::ActionRecipe;
use pipeline::run::RunDirectory;
use pipeline::videos::{self, VideoEvent, VideoRecipe, VideoResults, VideosError};
use pipeline::{actions, report};

use crate::arguments::{CommonArguments, RecipeName, TrainArguments};
use crate::forecast_progress::ForecastProgress;
use crate::interruption;
use crate::progress::Progress;
use crate::report::after_training;
use crate::video_progress::VideoProgress;

pub(crate) fn run(arguments: &TrainArguments) -> anyhow::Result<()> {
    match arguments.recipe() {
        RecipeName::Actions => train_actions(arguments, &arguments.action_recipe()?),
        RecipeName::Nowcast => {
            let recipe = arguments.nowcast_recipe()?;
            let (kind, job) = (recipe.recipe, Nowcast::new(recipe)?);
            let directory = arguments.run.create(kind.name())?;
            train_nowcast(&arguments.common, &directory, &job)
        }
        RecipeName::MovingMnist => {
            let recipe = arguments.moving_mnist_recipe()?;
            let directory = arguments.run.create(recipe.recipe.name())?;
            train_moving_mnist(&arguments.common, &directory, &recipe)
        }
        RecipeName::Videos => train_videos(arguments, &arguments.video_recipe()?),
    }
}

/// Trains a network for `job` in `directory`, or goes on with it.
pub(crate) fn train_nowcast(common: &CommonArguments, directory: &RunDirectory, job: &Nowcast) -> anyhow::Result<()> {
    train_forecast(common, directory, |interrupt, observer| {
        Ok(nowcast::summary(&job.train(directory, interrupt, observer)?))
    })
}

/// Trains a network for `recipe` in `directory`, or goes on with it.
pub(crate) fn train_moving_mnist(
    common: &CommonArguments,
    directory: &RunDirectory,
    recipe: &MovingMnistRecipe,
) -> anyhow::Result<()> {
    train_forecast(common, directory, |interrupt, observer| {
        Ok(moving_mnist::summary(&moving_mnist::train(recipe, directory, interrupt, observer)?))
    })
}

fn train_forecast(
    common: &CommonArguments,
    directory: &RunDirectory,
    train: impl FnOnce(&Interrupt, &mut dyn FnMut(ForecastingEvent<'_>)) -> Result<String, ForecastingError> + Send,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let interrupt = interruption::on_ctrl_c()?;
    let mut progress = ForecastProgress::new(common.quiet);
    progress.line(&format!("run directory: {}", directory.path().display()));
    let summary = common.with_threads(|| train(&interrupt, &mut |event| progress.observe(&event)))??;
    progress.finish();
    println!("\n{summary}");
    println!("{} in {:.1} s", directory.path().display(), start.elapsed().as_secs_f64());
    after_training(common, directory)
}

fn train_actions(arguments: &TrainArguments, recipe: &ActionRecipe) -> anyhow::Result<()> {
    let start = Instant::now();
    let directory = arguments.run.create(recipe.recipe.name())?;
    let mut progress = Progress::new(arguments.common.quiet, recipe.data.test_people().len());
    progress.line(&format!("run directory: {}", directory.path().display()));
    let results = arguments
        .common
        .with_threads(|| actions::train(recipe, &directory, &mut |event| progress.observe(&event)))??;
    progress.finish();
    print!("\n{}", report::summary(&results));
    println!();
    println!("{} in {:.1} s", directory.path().display(), start.elapsed().as_secs_f64());
    after_training(&arguments.common, &directory)
}

fn train_videos(arguments: &TrainArguments, recipe: &VideoRecipe) -> anyhow::Result<()> {
    let directory = arguments.run.create(recipe.recipe.name())?;
    run_videos(&arguments.common, &directory, |interrupt, observer| {
        videos::train(recipe, &directory, interrupt, observer)
    })
}

/// Trains a model of videos by `train` and shows how it goes.
pub(crate) fn run_videos(
    common: &CommonArguments,
    directory: &RunDirectory,
    train: impl FnOnce(&Interrupt, &mut (dyn FnMut(VideoEvent<'_>) + Send)) -> Result<VideoResults, VideosError> + Send,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let interrupt = interruption::on_ctrl_c()?;
    let mut progress = VideoProgress::new(common.quiet);
    progress.line(&format!("run directory: {}", directory.path().display()));
    let results = common.with_threads(|| train(&interrupt, &mut |event| progress.observe(&event)))??;
    finish_videos(&progress, &results);
    println!("{} in {:.1} s", directory.path().display(), start.elapsed().as_secs_f64());
    after_training(common, directory)
}

/// Prints the figures of a model of videos.
pub(crate) fn finish_videos(progress: &VideoProgress, results: &VideoResults) {
    progress.finish();
    println!("\n{}", results.summary());
}
