//! The tests of the attention crate, one program for all of them.

mod gradients;
