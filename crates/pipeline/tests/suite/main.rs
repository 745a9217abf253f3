//! The tests of the crate: from its data to whole runs of the program.

mod command_line;
mod common;
mod data;
mod digits;
mod features;
mod forecast;
mod forecasting;
mod frame_metrics;
mod frame_sequences;
mod html_report;
mod model;
mod moving_mnist;
mod pictures;
mod radar;
mod recipe;
mod run_directory;
mod tasks;
mod training;
mod videos;
mod weights;
