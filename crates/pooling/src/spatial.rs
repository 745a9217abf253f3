//! Pooling over the height and width of images.

mod adaptive;
mod average;
mod global;
mod maximum;
mod planes;
mod sizes;

pub use adaptive::AdaptiveAvgPool2d;
pub use average::AvgPool2d;
pub use global::{GlobalPool, GlobalPoolTrace};
pub use maximum::{MaxPool2d, MaxPool2dTrace};
