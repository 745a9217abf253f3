//! `vidrnn resume`

use pipeline::forecasting::nowcast::Nowcast;
use pipeline::forecasting::{MovingMnistRecipe, NowcastRecipe};
use pipeline::recipe::RecipeKind;
use pipeline::run::RunDirectory;
use pipeline::videos;

use crate::arguments::ResumeArguments;
use crate::train::{run_videos, train_moving_mnist, train_nowcast};

pub(crate) fn run(arguments: &ResumeArguments) -> anyhow::Result<()> {
    let (directory, common) = (RunDirectory::open(&arguments.run)?, &arguments.common);
    let kind = directory.read_config(RecipeKind::of_toml)?;
    anyhow::ensure!(
        directory.existing_results().is_err(),
        "{}: the run is finished; there is nothing to go on with",
        directory.path().display()
    );
    match kind {
        RecipeKind::Videos => {
            run_videos(common, &directory, |interrupt, observer| videos::resume(&directory, interrupt, observer))
        }
        RecipeKind::Nowcast => {
            let job = Nowcast::new(directory.read_config(NowcastRecipe::from_toml)?)?;
            train_nowcast(common, &directory, &job)
        }
        RecipeKind::MovingMnist => {
            train_moving_mnist(common, &directory, &directory.read_config(MovingMnistRecipe::from_toml)?)
        }
        RecipeKind::Actions | RecipeKind::Comparison | RecipeKind::Task => anyhow::bail!(
            "{}: a run of `{}` cannot be resumed; runs of `videos`, `nowcast` and `moving-mnist` can",
            directory.path().display(),
            kind.name()
        ),
    }
}
