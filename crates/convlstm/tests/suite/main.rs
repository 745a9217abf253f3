//! The tests of the crate, in one program.

mod common;
mod equality;
mod forecaster;
mod gradients;
mod reference;
mod vectors;
