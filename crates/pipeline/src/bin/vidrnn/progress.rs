//! How far a command has come: a bar on a terminal, a line per epoch elsewhere, nothing where it is not wanted.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pipeline::metrics::Percent;
use pipeline::report;
use pipeline::run::EpochRecord;
use pipeline::training::TrainingEvent;

/// Shows the progress of a run of several folds.
#[derive(Debug)]
pub(crate) struct Progress {
    mode: Mode,
    folds: usize,
    folds_started: usize,
    epochs: usize,
    test_person: usize,
    last_epoch: String,
}

/// How progress is shown.
#[derive(Debug)]
pub(crate) enum Mode {
    Quiet,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    pub(crate) fn new(quiet: bool, folds: usize) -> Self {
        Self { mode: Mode::new(quiet), folds, folds_started: 0, epochs: 0, test_person: 0, last_epoch: String::new() }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn line(&self, line: &str) {
        self.mode.line(line);
    }

    pub(crate) fn observe(&mut self, event: &TrainingEvent<'_>) {
        match event {
            TrainingEvent::FoldStarted { fold, parameters, epochs, steps } => {
                self.folds_started += 1;
                (self.epochs, self.test_person) = (*epochs, fold.test_person);
                if let Mode::Bar(bar) = &self.mode {
                    bar.set_length((self.folds * epochs * steps) as u64);
                    bar.enable_steady_tick(Duration::from_millis(200));
                }
                self.line(&format!(
                    "person {}: {} clips train, {} validate, {} test; {parameters} weights",
                    fold.test_person,
                    fold.training.len(),
                    fold.validation.len(),
                    fold.test.len(),
                ));
            }
            TrainingEvent::StepDone { epoch, loss, .. } => {
                if let Mode::Bar(bar) = &self.mode {
                    bar.set_prefix(format!("person {} epoch {epoch}/{}", self.test_person, self.epochs));
                    bar.set_message(format!("loss {loss:.3}{}", self.last_epoch));
                    bar.inc(1);
                }
            }
            TrainingEvent::EpochDone(record) => self.epoch_done(record),
            TrainingEvent::FoldDone(results) if self.folds > 1 => self.line(&report::fold_line(results)),
            _ => {}
        }
    }

    fn epoch_done(&mut self, record: &EpochRecord) {
        let validation = record.validation_accuracy.map(|accuracy| format!(", validation {}", Percent(accuracy)));
        let validation = validation.unwrap_or_default();
        if let Mode::Lines = self.mode {
            let EpochRecord { epoch, training_loss, training_accuracy, seconds, .. } = record;
            let training = Percent(*training_accuracy);
            let left = seconds * ((self.folds - self.folds_started + 1) * self.epochs - epoch) as f64;
            eprintln!(
                "person {} epoch {epoch}/{}: loss {training_loss:.3}, training {training}{validation}, {seconds:.1} s, \
                 about {left:.0} s left",
                self.test_person, self.epochs,
            );
        }
        self.last_epoch = validation;
    }

    pub(crate) fn finish(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}

impl Mode {
    /// A bar on a terminal, lines elsewhere.
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style());
            Self::Bar(bar)
        } else {
            Self::Lines
        }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn line(&self, line: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines => eprintln!("{line}"),
            Self::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:30}] {msg}, {elapsed} elapsed, {eta} left")
        .expect("the template is well formed")
        .progress_chars("=> ")
}
