//! How far the training of a forecast has come: a bar on a terminal, some lines elsewhere.

use std::time::{Duration, Instant};

use pipeline::forecasting::ForecastingEvent;

use crate::progress::Mode;

/// Lines are printed at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows the progress of one run.
#[derive(Debug)]
pub(crate) struct ForecastProgress {
    mode: Mode,
    started: Instant,
    last_line: Instant,
    /// The loss, averaged over about the last twenty steps.
    loss: Option<f64>,
}

impl ForecastProgress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { mode: Mode::new(quiet), started: Instant::now(), last_line: Instant::now(), loss: None }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn line(&self, line: &str) {
        self.mode.line(line);
    }

    pub(crate) fn observe(&mut self, event: &ForecastingEvent<'_>) {
        match event {
            ForecastingEvent::Started(estimate) => {
                self.line(&estimate.to_string());
                self.started = Instant::now();
            }
            ForecastingEvent::StepDone { step, steps, loss } => {
                let mean = self.loss.map_or(*loss, |mean| mean + (loss - mean) / 20.0);
                self.loss = Some(mean);
                match &self.mode {
                    Mode::Bar(bar) => {
                        bar.set_length(*steps as u64);
                        bar.set_prefix(format!("step {step}/{steps}"));
                        bar.set_message(format!("loss {mean:.5}"));
                        bar.set_position(*step as u64);
                    }
                    Mode::Lines if self.last_line.elapsed() >= LINE_INTERVAL || step == steps => {
                        let left = self.started.elapsed().as_secs_f64() / *step as f64 * (steps - step) as f64;
                        eprintln!("step {step}/{steps}: loss {mean:.5}, about {left:.0} s left");
                        self.last_line = Instant::now();
                    }
                    Mode::Lines | Mode::Quiet => {}
                }
            }
            ForecastingEvent::Testing => self.line("testing"),
            _ => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}
