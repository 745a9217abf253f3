//! `vidrnn features`

use std::time::Instant;

use pipeline::videos;

use crate::arguments::FeaturesArguments;
use crate::interruption;
use crate::video_progress::VideoProgress;

pub(crate) fn run(arguments: &FeaturesArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let (recipe, common) = (arguments.videos.recipe()?, &arguments.videos.common);
    let interrupt = interruption::on_ctrl_c()?;
    let mut progress = VideoProgress::new(common.quiet);
    let decoded = common.with_threads(|| {
        videos::cache_features(&recipe, &arguments.out, &interrupt, &mut |event| progress.observe(&event))
    })??;
    progress.finish();
    let failed = progress.failed();
    println!("{}: {decoded} frames in {:.1} s", arguments.out.display(), start.elapsed().as_secs_f64());
    anyhow::ensure!(failed == 0, "{failed} videos cannot be read");
    Ok(())
}
