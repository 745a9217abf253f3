//! The tests of the crate, in one program.

mod exactness;
mod gradients;
mod misuse;
mod naive;
mod pytorch;
