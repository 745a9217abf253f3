//! `vidrnn task`

use std::time::Instant;

use pipeline::{report, tasks};

use crate::arguments::TaskArguments;
use crate::task_progress::TaskProgress;

pub(crate) fn run(arguments: &TaskArguments) -> anyhow::Result<()> {
    let (start, recipe) = (Instant::now(), arguments.recipe()?);
    let directory = arguments.run.create(&format!("task-{}", recipe.task.name()))?;
    let progress = TaskProgress::new(arguments.common.quiet);
    progress.line(&format!("run directory: {}", directory.path().display()));
    let results =
        arguments.common.with_threads(|| tasks::run(&recipe, &directory, &|event| progress.observe(&event)))??;
    progress.finish();
    println!("\n{}", report::task_tables(&results));
    println!("{} in {:.1} s", directory.path().display(), start.elapsed().as_secs_f64());
    Ok(())
}
