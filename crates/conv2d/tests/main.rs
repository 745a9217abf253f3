//! The tests of the layer, in one program.

mod exactness;
mod gradients;
mod misuse;
mod naive;
mod packed;
mod pytorch;
