//! `vidrnn evaluate`

use pipeline::comparison::{self, ComparisonResults};
use pipeline::forecasting::moving_mnist::{self, MovingMnistResults};
use pipeline::forecasting::nowcast::{self, NowcastResults};
use pipeline::recipe::RecipeKind;
use pipeline::run::{RunDirectory, RunResults};
use pipeline::videos::{self, VideoResults};
use pipeline::{actions, report};

use crate::arguments::EvaluateArguments;
use crate::interruption;
use crate::progress::Progress;
use crate::train::finish_videos;
use crate::video_progress::VideoProgress;

pub(crate) fn run(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    let directory = RunDirectory::open(&arguments.run)?;
    match directory.read_config(RecipeKind::of_toml)? {
        RecipeKind::Actions => evaluate_actions(arguments, &directory),
        RecipeKind::Comparison => {
            let progress = Progress::new(arguments.common.quiet, 1);
            let mut observer = |fold: &_| progress.line(&report::fold_line(fold));
            let results = arguments.common.with_threads(|| comparison::evaluate(&directory, &mut observer))??;
            progress.finish();
            println!("\n{}", comparison::summary(&results));
            compare(directory.read_results::<ComparisonResults>()? == results);
            Ok(())
        }
        RecipeKind::Task => {
            anyhow::bail!("{}: a task keeps no models; its figures are in results.json", directory.path().display())
        }
        RecipeKind::Videos => {
            let mut progress = VideoProgress::new(arguments.common.quiet);
            let interrupt = interruption::on_ctrl_c()?;
            let evaluate = || videos::evaluate(&directory, &interrupt, &mut |event| progress.observe(&event));
            let results = arguments.common.with_threads(evaluate)??;
            finish_videos(&progress, &results);
            compare(directory.read_results::<VideoResults>()? == results);
            Ok(())
        }
        RecipeKind::Nowcast => {
            let results = arguments.common.with_threads(|| nowcast::evaluate(&directory))??;
            println!("{}", nowcast::summary(&results));
            compare(directory.read_results::<NowcastResults>()? == results);
            Ok(())
        }
        RecipeKind::MovingMnist => {
            let results = arguments.common.with_threads(|| moving_mnist::evaluate(&directory))??;
            println!("{}", moving_mnist::summary(&results));
            compare(directory.read_results::<MovingMnistResults>()? == results);
            Ok(())
        }
    }
}

/// Says whether the figures are those that were recorded.
fn compare(same: bool) {
    // Another processor may round differently, which can move a figure in its last digits.
    println!(
        "{} figures {} recorded when the run was trained",
        if same { "the same" } else { "other" },
        if same { "as" } else { "than" }
    );
}

fn evaluate_actions(arguments: &EvaluateArguments, directory: &RunDirectory) -> anyhow::Result<()> {
    let progress = Progress::new(arguments.common.quiet, 1);
    let results = arguments
        .common
        .with_threads(|| actions::evaluate(directory, &mut |fold| progress.line(&report::fold_line(fold))))??;
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
