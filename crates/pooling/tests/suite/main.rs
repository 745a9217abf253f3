//! The tests of the crate, in one program.

mod gradients;

mod pytorch;
