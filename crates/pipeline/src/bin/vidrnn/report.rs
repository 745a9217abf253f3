//! `vidrnn report`

use anyhow::Context;
use pipeline::report::html;
use pipeline::run::RunDirectory;

use crate::arguments::{CommonArguments, ReportArguments};

pub(crate) fn run(arguments: &ReportArguments) -> anyhow::Result<()> {
    let directory = RunDirectory::open(&arguments.run)?;
    let path = arguments.common.with_threads(|| html::write_report(&directory))??;
    println!("{}", path.display());
    Ok(())
}

/// Makes the page about a run that has just been trained, and says where it is.
pub(crate) fn after_training(common: &CommonArguments, directory: &RunDirectory) -> anyhow::Result<()> {
    let path = common.with_threads(|| html::write_report(directory))?;
    let path = path.context("the run is complete, but there is no report about it")?;
    println!("report: {}", path.display());
    Ok(())
}
