//! `vidrnn resume`

use pipeline::recipe::RecipeKind;
use pipeline::run::RunDirectory;
use pipeline::videos;

use crate::arguments::ResumeArguments;
use crate::interruption;
use crate::report::after_training;
use crate::train::finish_videos;
use crate::video_progress::VideoProgress;

pub(crate) fn run(arguments: &ResumeArguments) -> anyhow::Result<()> {
    let directory = RunDirectory::open(&arguments.run)?;
    let kind = directory.read_config(RecipeKind::of_toml)?;
    anyhow::ensure!(
        kind == RecipeKind::Videos,
        "{}: a run of `{}` cannot be resumed; runs of `videos` can",
        directory.path().display(),
        kind.name()
    );
    let interrupt = interruption::on_ctrl_c()?;
    let mut progress = VideoProgress::new(arguments.common.quiet);
    let resume = || videos::resume(&directory, &interrupt, &mut |event| progress.observe(&event));
    let results = arguments.common.with_threads(resume)??;
    finish_videos(&progress, &results);
    after_training(&arguments.common, &directory)
}
