//! `vidrnn data`

use pipeline::videos::{Collection, check};

use crate::arguments::{CollectionArguments, DataArguments, DataCommand};
use crate::interruption;
use crate::video_progress::VideoProgress;

pub(crate) fn run(arguments: &DataArguments) -> anyhow::Result<()> {
    match &arguments.command {
        DataCommand::Check(arguments) => run_check(arguments),
    }
}

fn run_check(arguments: &CollectionArguments) -> anyhow::Result<()> {
    let recipe = arguments.recipe()?;
    let collection = Collection::open(&recipe.data, recipe.seed)?;
    let interrupt = interruption::on_ctrl_c()?;
    let mut progress = VideoProgress::new(arguments.common.quiet);
    progress.start_files(collection.videos.len(), "checking");
    let report =
        arguments.common.with_threads(|| check(&collection, &interrupt, &mut |file| progress.checked(file)))??;
    progress.finish();
    print!("{report}");
    let unreadable = report.unreadable().count();
    anyhow::ensure!(unreadable == 0, "{unreadable} of {} videos cannot be read", report.files.len());
    Ok(())
}
