//! `vidrnn evaluate`

use pipeline::run::{RunDirectory, RunResults};
use pipeline::{actions, report};

use crate::arguments::EvaluateArguments;
use crate::progress::Progress;

pub(crate) fn run(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    let directory = RunDirectory::open(&arguments.run)?;
    let progress = Progress::new(arguments.common.quiet, 1);
    let results = arguments
        .common
        .with_threads(|| actions::evaluate(&directory, &mut |fold| progress.line(&report::fold_line(fold))))??;
    progress.finish();
    print!("\n{}", report::summary(&results));
    println!();
    let recorded: RunResults = directory.read_results()?;
    if recorded == results {
        println!("the same figures as recorded when the run was trained");
    } else {
        // Another processor may round differently, which can move a probability in its last bits.
        println!(
            "other figures than recorded when the run was trained: accuracy was {}",
            pipeline::metrics::Percent(recorded.accuracy.mean)
        );
    }
    Ok(())
}
