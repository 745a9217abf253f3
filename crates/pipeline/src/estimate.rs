//! What a training run takes, before it starts: parameters, work, memory and time.

use std::fmt;
use std::time::{Duration, Instant};

use crate::units::{Bytes, Count, Magnitude, TimeSpan};

/// How the time of a step is measured.
///
/// The first steps are slower (memory is taken for the first time, caches are cold) and stay out of the figure. No step
/// is started once the budget is spent, so that the measurement takes at most the budget and one step.
///
/// ```
/// use pipeline::estimate::Calibration;
///
/// let mut steps = 0;
/// let time = Calibration { warm_up: 1, steps: 3, ..Calibration::default() }.measure(|| {
///     steps += 1;
///     Ok::<(), std::convert::Infallible>(())
/// })?;
/// assert!(time.shortest <= time.median && time.median <= time.longest);
/// assert_eq!(time.for_steps(10), time.median * 10);
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// The number of steps that are run first and do not count. Default: 1.
    pub warm_up: usize,
    /// The number of steps that count, at least 1. Default: 5.
    pub steps: usize,
    /// The time after which no further step is started. Default: 10 s.
    pub budget: Duration,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { warm_up: 1, steps: 5, budget: Duration::from_secs(10) }
    }
}

impl Calibration {
    /// Runs `step` some times and measures it.
    ///
    /// The number of steps depends on the speed of the machine. They must therefore leave the run alone that they
    /// estimate: give them a copy of the model and their own random numbers.
    ///
    /// # Errors
    /// The error of the first step that fails.
    pub fn measure<E>(&self, step: impl FnMut() -> Result<(), E>) -> Result<StepTime, E> {
        let start = Instant::now();
        self.measure_by(|| start.elapsed(), step)
    }

    /// As [`Self::measure`], with the time since some start as `clock` tells it.
    fn measure_by<E>(
        &self,
        mut clock: impl FnMut() -> Duration,
        mut step: impl FnMut() -> Result<(), E>,
    ) -> Result<StepTime, E> {
        let start = clock();
        let mut before = start;
        let mut times = Vec::new();
        for _ in 0..self.warm_up.saturating_add(self.steps.max(1)) {
            step()?;
            let now = clock();
            times.push(now.saturating_sub(before));
            before = now;
            if now.saturating_sub(start) >= self.budget {
                break;
            }
        }
        // Where even the warm-up spends the budget, its last step has to do.
        let mut times = times.split_off(self.warm_up.min(times.len() - 1));
        times.sort_unstable();
        Ok(StepTime {
            median: times[times.len() / 2],
            shortest: times[0],
            longest: times[times.len() - 1],
            measured: times.len(),
        })
    }
}

/// The measured time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// The median; of an even number of steps the upper one.
    pub median: Duration,
    /// The shortest time.
    pub shortest: Duration,
    /// The longest time.
    pub longest: Duration,
    /// The number of steps that were measured.
    pub measured: usize,
}

impl StepTime {
    /// The time of `steps` steps; [`Duration::MAX`] beyond what a duration can hold.
    pub fn for_steps(&self, steps: u64) -> Duration {
        let nanoseconds = self.median.as_nanos().saturating_mul(u128::from(steps));
        let seconds = u64::try_from(nanoseconds / 1_000_000_000);
        seconds.map_or(Duration::MAX, |seconds| Duration::new(seconds, (nanoseconds % 1_000_000_000) as u32))
    }
}

/// What a training run takes. Its text has one line per figure.
///
/// ```
/// use std::time::Duration;
///
/// use pipeline::estimate::{Estimate, StepTime};
///
/// let second = Duration::from_secs(1);
/// let estimate = Estimate {
///     parameters: 129_312,
///     multiply_adds: 630_000_000,
///     memory: 86_000_000,
///     steps: 780,
///     step_time: StepTime { median: second, shortest: second, longest: 2 * second, measured: 5 },
/// };
/// assert_eq!(
///     estimate.to_string(),
///     "parameters     129,312\n\
///      multiply-adds  630 M per sequence, forward\n\
///      memory         86.0 MB\n\
///      time           13 min 0 s on this machine: 780 steps of 1.0 s (5 measured, 1.0 s to 2.0 s)\n"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The number of parameters of the model.
    pub parameters: u64,
    /// The multiplications with an addition that the forward pass of one sequence takes.
    pub multiply_adds: u64,
    /// The memory of a training step in bytes.
    pub memory: u64,
    /// The number of steps of the run.
    pub steps: u64,
    /// The time of a step on this machine.
    pub step_time: StepTime,
}

impl Estimate {
    /// The time of the run on this machine.
    pub fn time(&self) -> Duration {
        self.step_time.for_steps(self.steps)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepTime { median, shortest, longest, measured } = self.step_time;
        writeln!(f, "parameters     {}", Count(self.parameters))?;
        writeln!(f, "multiply-adds  {} per sequence, forward", Magnitude(self.multiply_adds))?;
        writeln!(f, "memory         {}", Bytes(self.memory))?;
        write!(f, "time           {} on this machine: ", TimeSpan(self.time()))?;
        write!(f, "{} steps of {} ", Count(self.steps), TimeSpan(median))?;
        writeln!(f, "({measured} measured, {} to {})", TimeSpan(shortest), TimeSpan(longest))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    /// Measures steps that take so many milliseconds each.
    fn measured(calibration: Calibration, milliseconds: &[u64]) -> (StepTime, usize) {
        let (now, done) = (Cell::new(Duration::from_secs(99)), Cell::new(0));
        let step = || {
            now.set(now.get() + Duration::from_millis(milliseconds[done.get()]));
            done.set(done.get() + 1);
            Ok::<(), Infallible>(())
        };
        let time = calibration.measure_by(|| now.get(), step).unwrap();
        (time, done.get())
    }

    #[test]
    fn steps_are_measured_within_the_budget() {
        let budget = Duration::from_millis(1000);
        let cases: [((usize, usize), &[u64], _, _); 9] = [
            // warm-up and steps; times; shortest, median and longest; measured and run
            ((1, 5), &[90, 10, 30, 20, 50, 40], [10, 30, 50], (5, 6)),
            ((2, 2), &[90, 80, 10, 30], [10, 30, 30], (2, 4)),
            ((0, 1), &[70], [70, 70, 70], (1, 1)),
            ((0, 0), &[70], [70, 70, 70], (1, 1)),
            ((1, 5), &[500, 300, 300], [300, 300, 300], (2, 3)),
            ((1, 5), &[500, 500], [500, 500, 500], (1, 2)),
            ((3, 5), &[900, 100], [100, 100, 100], (1, 2)),
            ((3, 5), &[7000], [7000, 7000, 7000], (1, 1)),
            ((usize::MAX, usize::MAX), &[400, 500, 600], [600, 600, 600], (1, 3)),
        ];
        for ((warm_up, steps), times, expected, counts) in cases {
            let (time, done) = measured(Calibration { warm_up, steps, budget }, times);
            let found = [time.shortest, time.median, time.longest].map(|time| time.as_millis() as u64);
            assert_eq!((found, (time.measured, done)), (expected, counts), "{times:?}");
        }
    }

    #[test]
    fn a_real_clock_sees_real_time() {
        let pause = Duration::from_millis(3);
        let calibration = Calibration { warm_up: 0, steps: 2, ..Calibration::default() };
        let time = calibration
            .measure(|| {
                std::thread::sleep(pause);
                Ok::<(), Infallible>(())
            })
            .unwrap();
        assert!(time.shortest >= pause && time.measured == 2, "{time:?}");
    }

    #[test]
    fn the_first_error_ends_the_measurement() {
        let mut done = 0;
        let result = Calibration::default().measure(|| {
            done += 1;
            if done == 3 { Err("no memory") } else { Ok(()) }
        });
        assert_eq!((result, done), (Err("no memory"), 3));
    }

    #[test]
    fn long_runs_are_extrapolated_without_overflow() {
        let of = |median| StepTime { median, shortest: median, longest: median, measured: 1 };
        assert_eq!(of(Duration::from_nanos(1)).for_steps(u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(of(Duration::new(3, 500_000_000)).for_steps(1001), Duration::new(3503, 500_000_000));
        assert_eq!(of(Duration::from_secs(1)).for_steps(0), Duration::ZERO);
        assert_eq!(of(Duration::MAX).for_steps(2), Duration::MAX);
        assert_eq!(of(Duration::from_secs(100)).for_steps(u64::MAX), Duration::MAX);
    }
}
