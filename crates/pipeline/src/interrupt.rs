//! A wish to stop that long work listens to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to stop, shared by those who may have it and the work that listens.
///
/// Work that is asked to stop ends at the next place where nothing is lost: after the step of training or the frame that it is
/// at.
///
/// ```
/// use pipeline::interrupt::Interrupt;
///
/// let interrupt = Interrupt::default();
/// let of_work = interrupt.clone();
/// assert!(!of_work.requested());
/// interrupt.request();
/// assert!(of_work.requested());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
}

impl Interrupt {
    /// Asks to stop.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}
