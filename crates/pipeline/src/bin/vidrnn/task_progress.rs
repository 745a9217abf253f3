//! How far a task has come: a bar on a terminal, some lines elsewhere.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use pipeline::tasks::TaskEvent;

use crate::progress::Mode;

/// Lines are printed at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows the progress of one task, whose models train at the same time.
#[derive(Debug)]
pub(crate) struct TaskProgress {
    mode: Mode,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    epochs: usize,
    last_line: Instant,
}

impl TaskProgress {
    pub(crate) fn new(quiet: bool) -> Self {
        let state = Mutex::new(State { epochs: 0, last_line: Instant::now() });
        Self { mode: Mode::new(quiet), started: Instant::now(), state }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn line(&self, line: &str) {
        self.mode.line(line);
    }

    pub(crate) fn observe(&self, event: &TaskEvent<'_>) {
        // A thread that panics while it holds the lock ends the program in any case.
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match event {
            TaskEvent::Preparing { seed } => {
                if let Mode::Bar(bar) = &self.mode {
                    bar.enable_steady_tick(Duration::from_millis(200));
                    bar.set_prefix(format!("seed {seed}"));
                    bar.set_message("making clips");
                }
            }
            TaskEvent::EpochDone { record, all_epochs } => {
                state.epochs += 1;
                let model = record.model.name();
                match &self.mode {
                    Mode::Bar(bar) => {
                        bar.set_length(*all_epochs as u64);
                        bar.set_prefix(format!("seed {}, {} frames", record.seed, record.frames));
                        bar.set_message(format!("{model} epoch {}: loss {:.3}", record.epoch, record.loss));
                        bar.set_position(state.epochs as u64);
                    }
                    Mode::Lines if state.last_line.elapsed() >= LINE_INTERVAL || state.epochs == *all_epochs => {
                        let left = self.started.elapsed().as_secs_f64() / state.epochs as f64;
                        let left = left * (all_epochs - state.epochs) as f64;
                        eprintln!(
                            "epoch {} of {all_epochs}: seed {}, {} frames, {model}, loss {:.3}, about {left:.0} s left",
                            state.epochs, record.seed, record.frames, record.loss,
                        );
                        state.last_line = Instant::now();
                    }
                    Mode::Lines | Mode::Quiet => {}
                }
            }
            _ => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}
