//! `vidrnn features`

use std::path::PathBuf;
use std::time::Instant;

use pipeline::videos;

use crate::arguments::CollectionArguments;
use crate::interruption;
use crate::video_progress::VideoProgress;

/// Where `vidrnn train` looks for them under its own defaults.
const DEFAULT_FOLDER: &str = "runs/frames";

pub(crate) fn run(arguments: &CollectionArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let (recipe, common) = (arguments.recipe()?, &arguments.common);
    let folder = recipe.data.cache.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FOLDER));
    let interrupt = interruption::on_ctrl_c()?;
    let mut progress = VideoProgress::new(common.quiet);
    let decoded = common.with_threads(|| {
        videos::cache_features(&recipe, &folder, &interrupt, &mut |event| progress.observe(&event))
    })??;
    progress.finish();
    let failed = progress.failed();
    println!("{}: {decoded} frames in {:.1} s", folder.display(), start.elapsed().as_secs_f64());
    anyhow::ensure!(failed == 0, "{failed} videos cannot be read");
    Ok(())
}
