//! Five small tasks that isolate one claim each, on handwritten digits.
//!
//! | task | question |
//! |---|---|
//! | [`Reducers`](TaskName::Reducers) | maximum or average, when few of many frames say what matters? |
//! | [`Order`](TaskName::Order) | what needs the order of the frames, and what is blind to it? |
//! | [`Where`](TaskName::Where) | does spatial attention find a digit among clutter? |
//! | [`When`](TaskName::When) | does temporal attention find the frame with the digit? |
//! | [`Reading`](TaskName::Reading) | does attention read longer sequences of digits than a single state holds? |
//!
//! A [`TaskRecipe`] decides everything. [`run`] first trains an encoder on single frames; all models read its maps, so that
//! they differ in nothing but how they join frames. Then it trains every model of the recipe on the same clips, for every length of the
//! clips and every seed, tests it on digits that other people wrote, and keeps one table of figures.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::run::RunDirectory;
//! use pipeline::tasks::{self, TaskName, TaskRecipe};
//!
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "task-reading")?;
//! let results = tasks::run(&TaskRecipe::new(TaskName::Reading), &directory, &|_| {})?;
//! print!("{}", pipeline::report::task_tables(&results));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod classify;
mod clips;
mod digits;
mod drawing;
mod encoder;
mod error;
mod grid;
mod looking;
mod maps;
mod names;
mod paths;
mod reading;
mod recipe;
mod results;
mod sparsity;

pub use clips::{ClipMaker, ShownDigit, TaskClip};
pub use digits::{SmallDigits, TaskPart};
pub use error::TaskError;
pub use grid::{TaskEvent, run};
pub use names::{TaskModel, TaskName};
pub use paths::{Motion, bouncing, motion_path};
pub use recipe::{TaskClipConfig, TaskModelConfig, TaskRecipe};
pub use results::{TaskFigure, TaskRecord, TaskResults, TaskRow};
