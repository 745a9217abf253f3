//! The tests of the crate, in one program.

mod common;
mod equality;
mod forecaster;
mod gradients;
mod lstm;
mod misuse;
mod next_frame;
mod reference;
mod sections;
mod vectors;
