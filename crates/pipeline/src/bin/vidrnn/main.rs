//! The program `vidrnn`: trains and evaluates recurrent video models.

mod arguments;
mod compare;
mod evaluate;
mod forecast_progress;
mod progress;
mod report;
mod task;
mod task_progress;
mod train;

use std::process::ExitCode;

use clap::Parser;
use tensor_ops::Isa;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    Isa::from_environment()?;
    match command {
        Command::Train(arguments) => train::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Task(arguments) => task::run(arguments),
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
