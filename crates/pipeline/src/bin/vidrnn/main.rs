//! The program `vidrnn`: trains, evaluates and uses recurrent video models.

mod arguments;
mod compare;
mod data;
mod evaluate;
mod features;
mod forecast_progress;
mod info;
mod interruption;
mod predict;
mod progress;
mod report;
mod resume;
mod stream;
mod task;
mod task_progress;
mod train;
mod video_progress;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use tensor_ops::Isa;

use crate::arguments::{Arguments, Command};

/// It keeps freed memory for the next step, where the system's allocator gives it back and takes it anew page by page.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if interruption::is_cause_of(&error) => {
            eprintln!("{}", message(&error));
            // What a shell gives a program that ended by Ctrl-C.
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    Isa::from_environment()?;
    tensor_ops::winograd_from_environment()?;
    match command {
        Command::Train(arguments) => train::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Task(arguments) => task::run(arguments),
        Command::Resume(arguments) => resume::run(arguments),
        Command::Predict(arguments) => predict::run(arguments),
        Command::Stream(arguments) => stream::run(arguments),
        Command::Features(arguments) => features::run(arguments),
        Command::Data(arguments) => data::run(arguments),
        Command::Info(arguments) => info::run(arguments),
    }
}

/// What `error` says and what caused it, from the outside in; causes that a message above them includes are not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(cause.trim_end()) {
            text = format!("{text}: {cause}");
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    #[test]
    fn a_message_says_everything_once() {
        let inner = "x".parse::<u8>().context("line 3: invalid digit found in string");
        let error = inner.context("file.toml").unwrap_err();
        assert_eq!(super::message(&error), "file.toml: line 3: invalid digit found in string");
    }
}
