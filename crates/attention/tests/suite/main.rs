//! The tests of the attention crate, one program for all of them.

mod allocations;
mod equality;
mod gradients;
mod misuse;
mod reference;
mod transformer;
mod vectors;
