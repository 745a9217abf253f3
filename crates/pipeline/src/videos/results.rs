//! The figures of a run on videos.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::metrics::Percent;
use crate::report::confusion_table;
use crate::run::Evaluation;

/// The final figures of a run: `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoResults {
    /// The names of the classes.
    pub labels: Vec<String>,
    /// The number of videos that trained.
    pub training_videos: usize,
    /// The videos that could not be read and were left out.
    pub left_out: Vec<String>,
    /// The figures on the videos held out.
    pub validation: Evaluation,
    /// The held-out videos that were taken for another class, the surest mistake first.
    pub mistakes: Vec<Mistake>,
    /// The number of weights.
    pub parameters: usize,
    /// How long training took, apart from the decoding of the videos.
    pub training_seconds: f64,
}

/// A video that was taken for another class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// The video.
    pub video: String,
    /// Its class.
    pub label: String,
    /// The class that it was taken for.
    pub predicted: String,
    /// The probability given to that class.
    pub probability: f64,
}

impl VideoResults {
    /// The figures as text for a terminal.
    pub fn summary(&self) -> String {
        let Self { validation, .. } = self;
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "accuracy {} ({} of {} videos held out; {} trained), loss {:.3}, trained in {:.1} s",
            Percent(validation.accuracy),
            validation.confusion.correct(),
            validation.clips,
            self.training_videos,
            validation.loss,
            self.training_seconds,
        );
        if !self.left_out.is_empty() {
            let _ = writeln!(text, "{} videos could not be read and were left out", self.left_out.len());
        }
        text.push('\n');
        text + &confusion_table(&self.labels, &validation.confusion)
    }
}
