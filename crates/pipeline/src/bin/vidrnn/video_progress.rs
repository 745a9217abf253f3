//! How far work on videos has come.

use std::time::Duration;

use pipeline::metrics::Percent;
use pipeline::run::EpochRecord;
use pipeline::videos::{CacheEvent, CheckedFile, VideoEvent};

use crate::progress::Mode;

/// Shows the progress of decoding and of training.
#[derive(Debug)]
pub(crate) struct VideoProgress {
    mode: Mode,
    epochs: usize,
    failed: usize,
    decoded: usize,
}

impl VideoProgress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { mode: Mode::new(quiet), epochs: 0, failed: 0, decoded: 0 }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn line(&self, line: &str) {
        self.mode.line(line);
    }

    /// The number of videos that could not be read.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// `files` videos will be looked at.
    pub(crate) fn start_files(&mut self, files: usize, what: &'static str) {
        self.start(files, 0, what);
    }

    /// A video was checked.
    pub(crate) fn checked(&mut self, file: &CheckedFile) {
        self.advance(1);
        if let Err(error) = &file.facts {
            self.line(&format!("{}: {error}", file.name));
        }
    }

    pub(crate) fn observe(&mut self, event: &VideoEvent<'_>) {
        match event {
            VideoEvent::Found(collection) => {
                let (videos, classes) = (collection.videos.len(), collection.labels.len());
                self.line(&format!("{videos} videos of {classes} classes"));
                for warning in &collection.warnings {
                    self.line(&format!("warning: {warning}"));
                }
            }
            VideoEvent::Caching(CacheEvent::Started { videos }) => self.start(*videos, 0, "decoding"),
            VideoEvent::Caching(CacheEvent::VideoDone { decoded, .. }) => {
                self.decoded += decoded;
                self.advance(1);
                self.message(format!("{} frames", self.decoded));
            }
            VideoEvent::Caching(CacheEvent::VideoFailed { path, error }) => {
                self.failed += 1;
                self.advance(1);
                // Most errors name the file by themselves.
                let (name, error) = (path.display().to_string(), error.to_string());
                self.line(&if error.contains(&name) { error } else { format!("{name}: {error}") });
            }
            VideoEvent::Started { parameters, epochs, steps, done } => {
                self.epochs = *epochs;
                self.start(epochs * steps, *done, "training");
                let again = if *done > 0 { format!(", going on after step {done}") } else { String::new() };
                self.line(&format!("{parameters} weights, {epochs} epochs of {steps} steps{again}"));
            }
            VideoEvent::StepDone { loss, .. } => {
                self.advance(1);
                self.message(format!("loss {loss:.3}"));
            }
            VideoEvent::EpochDone(record) => self.epoch_done(record),
            _ => {}
        }
    }

    fn epoch_done(&self, record: &EpochRecord) {
        let EpochRecord { epoch, training_loss, training_accuracy, validation_accuracy, seconds, .. } = record;
        let line = format!(
            "epoch {epoch}/{}: loss {training_loss:.3}, training {}, validation {}, {seconds:.1} s",
            self.epochs,
            Percent(*training_accuracy),
            validation_accuracy.map_or("–".to_owned(), |accuracy| Percent(accuracy).to_string()),
        );
        match &self.mode {
            Mode::Bar(bar) => bar.set_prefix(format!("epoch {epoch}/{}", self.epochs)),
            mode => mode.line(&line),
        }
    }

    fn start(&mut self, length: usize, done: usize, what: &'static str) {
        if let Mode::Bar(bar) = &self.mode {
            bar.reset();
            bar.set_length(length as u64);
            bar.set_position(done as u64);
            bar.reset_eta();
            bar.set_prefix(what);
            bar.set_message("");
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn advance(&self, by: u64) {
        if let Mode::Bar(bar) = &self.mode {
            bar.inc(by);
        }
    }

    fn message(&self, message: String) {
        if let Mode::Bar(bar) = &self.mode {
            bar.set_message(message);
        }
    }

    pub(crate) fn finish(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}
