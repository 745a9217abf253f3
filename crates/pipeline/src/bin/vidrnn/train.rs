//! `vidrnn train`

use std::time::Instant;

use pipeline::forecasting::nowcast::{self, Nowcast};
use pipeline::forecasting::{ForecastingError, ForecastingEvent, moving_mnist};
use pipeline::recipe::{ActionRecipe, RecipeKind};
use pipeline::run::RunDirectory;
use pipeline::videos::{self, VideoRecipe, VideoResults};
use pipeline::{actions, report};

use crate::arguments::{RecipeName, TrainArguments};
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
            train_forecast(arguments, kind, |directory, observer| {
                Ok(nowcast::summary(&job.train(directory, observer)?))
            })
        }
        RecipeName::MovingMnist => {
            let recipe = arguments.moving_mnist_recipe()?;
            train_forecast(arguments, recipe.recipe, |directory, observer| {
                Ok(moving_mnist::summary(&moving_mnist::train(&recipe, directory, observer)?))
            })
        }
        RecipeName::Videos => train_videos(arguments, &arguments.video_recipe()?),
    }
}

fn train_forecast(
    arguments: &TrainArguments,
    kind: RecipeKind,
    train: impl FnOnce(&RunDirectory, &mut dyn FnMut(ForecastingEvent<'_>)) -> Result<String, ForecastingError> + Send,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let directory = arguments.run.create(kind.name())?;
    let mut progress = ForecastProgress::new(arguments.common.quiet);
    progress.line(&format!("run directory: {}", directory.path().display()));
    let summary = arguments.common.with_threads(|| train(&directory, &mut |event| progress.observe(&event)))??;
    progress.finish();
    println!("\n{summary}");
    println!("{} in {:.1} s", directory.path().display(), start.elapsed().as_secs_f64());
    after_training(&arguments.common, &directory)
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
    let interrupt = interruption::on_ctrl_c()?;
    let directory = arguments.run.create(recipe.recipe.name())?;
    let mut progress = VideoProgress::new(arguments.common.quiet);
    progress.line(&format!("run directory: {}", directory.path().display()));
    let train = || videos::train(recipe, &directory, &interrupt, &mut |event| progress.observe(&event));
    let results = arguments.common.with_threads(train)??;
    finish_videos(&progress, &results);
    println!("{}", directory.path().display());
    after_training(&arguments.common, &directory)
}

/// Prints the figures of a model of videos.
pub(crate) fn finish_videos(progress: &VideoProgress, results: &VideoResults) {
    progress.finish();
    println!("\n{}", results.summary());
}
