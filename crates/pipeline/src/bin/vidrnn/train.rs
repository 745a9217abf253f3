//! `vidrnn train`

use std::time::Instant;

use pipeline::recipe::ActionRecipe;
use pipeline::run::RunDirectory;
use pipeline::{actions, report};

use crate::arguments::{RecipeName, TrainArguments};
use crate::progress::Progress;

pub(crate) fn run(arguments: &TrainArguments) -> anyhow::Result<()> {
    match arguments.recipe {
        RecipeName::Actions => train_actions(arguments, &arguments.action_recipe()?),
    }
}

fn train_actions(arguments: &TrainArguments, recipe: &ActionRecipe) -> anyhow::Result<()> {
    let start = Instant::now();
    let parent = &arguments.run_dir;
    let directory = match &arguments.name {
        Some(name) => RunDirectory::create(parent, name)?,
        None => RunDirectory::create_numbered(parent, recipe.recipe.name())?,
    };
    let mut progress = Progress::new(arguments.common.quiet, recipe.data.test_people().len());
    progress.line(&format!("run directory: {}", directory.path().display()));
    let results = arguments
        .common
        .with_threads(|| actions::train(recipe, &directory, &mut |event| progress.observe(&event)))??;
    progress.finish();
    print!("\n{}", report::summary(&results));
    println!();
    println!("{} in {:.1} s", directory.path().display(), start.elapsed().as_secs_f64());
    Ok(())
}
