//! The tests of the crate: from single colours to whole files, good and broken.

mod common;
mod options;
mod resize;
mod sampling;
mod stored;
mod y4m;
