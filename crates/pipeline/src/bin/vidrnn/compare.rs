//! `vidrnn compare`

use std::time::Instant;

use pipeline::comparison::{self, ComparisonEvent};
use pipeline::metrics::Percent;

use crate::arguments::CompareArguments;
use crate::progress::Progress;
use crate::report::after_training;

pub(crate) fn run(arguments: &CompareArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let recipe = arguments.recipe()?;
    let directory = arguments.run.create(recipe.recipe.name())?;
    let mut progress = Progress::new(arguments.common.quiet, recipe.folds());
    progress.line(&format!("run directory: {}", directory.path().display()));
    let mut observer = |event: ComparisonEvent<'_>| match event {
        ComparisonEvent::RunStarted(name) => progress.line(name),
        ComparisonEvent::Training(event) => progress.observe(&event),
        ComparisonEvent::RunDone(run) => {
            let accuracy = Percent(run.results.accuracy.mean);
            progress.line(&format!("{} with seed {}: accuracy {accuracy}", run.model, run.seed));
        }
        _ => {}
    };
    let results = arguments.common.with_threads(|| comparison::train(&recipe, &directory, &mut observer))??;
    progress.finish();
    println!("\n{}", comparison::summary(&results));
    println!("{} in {:.1} s", directory.path().display(), start.elapsed().as_secs_f64());
    after_training(&arguments.common, &directory)
}
