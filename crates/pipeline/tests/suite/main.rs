//! The tests of the crate: from its data to whole runs of the program.

mod command_line;
mod common;
mod data;
mod forecast;
mod frame_sequences;
mod frame_metrics;
mod model;
mod pictures;
mod radar;
mod digits;
mod frame_metrics;
mod model;
mod moving_mnist;
mod recipe;
mod run_directory;
mod training;
mod weights;
