//! What Ctrl-C does.

use anyhow::Context;
use pipeline::forecasting::ForecastingError;
use pipeline::interrupt::Interrupt;
use pipeline::videos::VideosError;

/// A wish to stop that Ctrl-C makes; a second Ctrl-C ends the program at once, which loses what was done since training was
/// last kept.
pub(crate) fn on_ctrl_c() -> anyhow::Result<Interrupt> {
    let interrupt = Interrupt::default();
    let of_handler = interrupt.clone();
    let handler = move || {
        if of_handler.requested() {
            std::process::exit(130);
        }
        of_handler.request();
    };
    ctrlc::set_handler(handler).context("cannot listen to Ctrl-C")?;
    Ok(interrupt)
}

/// Whether `error` says that the work was asked to stop.
pub(crate) fn is_cause_of(error: &anyhow::Error) -> bool {
    let videos = error.downcast_ref::<VideosError>();
    let forecasting = error.downcast_ref::<ForecastingError>();
    matches!(videos, Some(VideosError::Interrupted { .. } | VideosError::CachingInterrupted))
        || matches!(forecasting, Some(ForecastingError::Interrupted { .. }))
}
