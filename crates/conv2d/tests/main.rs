//! The tests of the layer, in one program.

mod exactness;
mod gradients;
mod inference;
mod misuse;
mod naive;
mod packed;
mod pytorch;
