//! The tests of the crate, in one program.

mod common;
mod equality;
mod gradients;
mod reference;
