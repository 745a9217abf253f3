//! A run as one HTML page, `report.html` in its directory.
//!
//! The page stands by itself: no other file, no network, no script. Its pictures are inside it, its charts are SVG whose
//! colours are variables of the style sheet, so that a dark screen recolours lines, axes and text; a library for charts
//! would write fixed colours into them. It reads on a telephone, on a wide screen and on paper.
//!
//! The same files give the same bytes.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::report::html;
//! use pipeline::run::RunDirectory;
//!
//! let run = RunDirectory::open(Path::new("runs/actions-001"))?;
//! println!("{}", html::write_report(&run)?.display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod actions;
mod attention;
mod axis;
mod bars;
mod chart;
mod clips;
mod comparison;
mod confusion;
mod forecasts;
mod options;
mod page;
mod pictures;
mod videos;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::actions::ActionsError;
use crate::data::DataError;
use crate::model::ModelError;
use crate::pictures::PictureError;
use crate::recipe::RecipeKind;
use crate::run::{RunDirectory, RunError};

/// Why there is no report about a run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file of the run is missing or damaged, or the report cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A model of the run cannot be used.
    #[error(transparent)]
    Actions(#[from] ActionsError),
    /// A model does not take the clips.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The bundled data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A picture cannot be made.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A picture of the run cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The run is of a kind that has no page.
    #[error("{}: a task has no page; its figures are in results.json", path.display())]
    NoPage {
        /// The run directory.
        path: PathBuf,
    },
    /// The recorded figures contradict each other.
    #[error("{}: results.json: {what}: expected {expected}, found {found}", path.display())]
    Inconsistent {
        /// The run directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// The number expected.
        expected: usize,
        /// The number found.
        found: usize,
    },
}

/// Makes the report about the finished run in `directory` from its files, and writes it there as `report.html`, in place of
/// an older one; where it is.
///
/// # Errors
/// [`ReportError`] if the run is not finished, its files are damaged or do not belong together, or the report cannot be
/// written. An older report then stays as it is.
pub fn write_report(directory: &RunDirectory) -> Result<PathBuf, ReportError> {
    let html = match directory.read_config(RecipeKind::of_toml)? {
        RecipeKind::Actions => actions::report(directory)?,
        RecipeKind::Nowcast => forecasts::nowcast_report(directory)?,
        RecipeKind::Comparison => comparison::report(directory)?,
        RecipeKind::MovingMnist => forecasts::moving_mnist_report(directory)?,
        RecipeKind::Videos => videos::report(directory)?,
        RecipeKind::Task => return Err(ReportError::NoPage { path: directory.path().to_owned() }),
    };
    Ok(directory.write_report(&html)?)
}

/// Checks a number of things in `results.json`.
fn check_count(
    directory: &RunDirectory,
    what: impl FnOnce() -> String,
    expected: usize,
    found: usize,
) -> Result<(), ReportError> {
    if expected == found {
        return Ok(());
    }
    Err(ReportError::Inconsistent { path: directory.path().to_owned(), what: what(), expected, found })
}
