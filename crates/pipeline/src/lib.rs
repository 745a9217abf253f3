//! Training and evaluation of recurrent video models.
//!
//! The program `vidrnn` is a thin layer over this crate. A [`recipe`] decides everything about a run; the [`data`] are
//! split, preprocessed and varied by it; the [`model`] is put together from the crates `conv2d`, `lstm` and `tensor-ops`;
//! [`training`] fits it; and the [directory of the run](run) keeps what came of it. The module [`actions`] does all of
//! that for action recognition, and [`comparison`] for several models of it; [`forecasting`] trains networks that continue frames, and [`forecast`] has the forecasts that
//! need no model. [`videos`] does it for a person's own video files. The [`tasks`] isolate one claim each about such models.
//!
//! ```no_run
//! use pipeline::data::{FirActions, split};
//! use pipeline::metrics::Percent;
//! use pipeline::recipe::ActionRecipe;
//! use pipeline::training::train_fold;
//!
//! let actions = FirActions::bundled()?;
//! let recipe = ActionRecipe::default();
//! let fold = split(actions.clips(), 8, &recipe.data, recipe.seed);
//! let trained = train_fold(&actions, &fold, &recipe, &mut |_| Ok(()))?;
//! println!("accuracy on person 8: {}", Percent(trained.results.test.accuracy));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All numbers depend on the recipe alone, not on the number of threads.

pub mod actions;
pub mod comparison;
pub mod data;
pub mod estimate;
pub mod features;
pub mod forecast;
pub mod forecasting;
pub mod interrupt;
pub mod metrics;
pub mod model;
pub mod pictures;
pub mod random;
pub mod recipe;
pub mod report;
pub mod run;
pub mod tasks;
pub mod training;
pub mod units;
pub mod videos;

/// The examples of the README and of the book, compiled and run as documentation tests.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/src/videos.md")]
    mod videos {}
    #[doc = include_str!("../../../docs/src/conventions.md")]
    mod conventions {}
    #[doc = include_str!("../../../docs/src/tensor-ops.md")]
    mod tensor_ops {}
    #[doc = include_str!("../../../docs/src/conv2d.md")]
    mod conv2d {}
    #[doc = include_str!("../../../docs/src/convlstm.md")]
    mod convlstm {}
    #[doc = include_str!("../../../docs/src/lstm.md")]
    mod lstm {}
    #[doc = include_str!("../../../docs/src/attention.md")]
    mod attention {}
    #[doc = include_str!("../../../docs/src/pooling.md")]
    mod pooling {}
    #[doc = include_str!("../../../docs/src/features.md")]
    mod features {}
    #[doc = include_str!("../../../docs/src/testing.md")]
    mod testing {}
}
