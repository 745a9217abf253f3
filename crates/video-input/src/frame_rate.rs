//! Fewer frames per second.

/// Keeps at most so many frames per second of a video, by the times at which they are shown.
///
/// The time from the first frame on is cut into steps of one over the rate, and the first frame of each step is kept: the
/// frames may come at any pace.
///
/// ```
/// use video_input::FrameRateFilter;
///
/// let mut filter = FrameRateFilter::new(10.0);
/// let kept = (0..8).filter(|frame| filter.keeps(f64::from(*frame) / 25.0));
/// assert_eq!(kept.collect::<Vec<_>>(), [0, 3, 5]);
/// ```
#[derive(Clone, Debug)]
pub struct FrameRateFilter {
    rate: f64,
    start: Option<f64>,
    last_step: f64,
}

impl FrameRateFilter {
    /// Keeps at most `rate` frames per second. A rate that is no positive number keeps all frames.
    pub fn new(rate: f64) -> Self {
        Self { rate, start: None, last_step: 0.0 }
    }

    /// Whether the frame that is shown at `time`, in seconds, is kept. Times come in ascending order; a frame that is shown
    /// before the last one that was kept is left out.
    pub fn keeps(&mut self, time: f64) -> bool {
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return true;
        }
        if !time.is_finite() {
            return false;
        }
        let Some(start) = self.start else {
            self.start = Some(time);
            return true;
        };
        // Times are sums and quotients of rounded numbers: one that should meet the start of a step may lie just before.
        let step = ((time - start) * self.rate + 1e-6).floor();
        let keeps = step > self.last_step;
        if keeps {
            self.last_step = step;
        }
        keeps
    }
}

/// The positions of the frames that remain at `rate` frames per second, of frames that are shown at `times`.
///
/// ```
/// let times = [0.0, 0.1, 0.5, 0.9, 1.0, 1.9];
/// assert_eq!(video_input::at_frame_rate(times, 1.0), [0, 4]);
/// ```
pub fn at_frame_rate(times: impl IntoIterator<Item = f64>, rate: f64) -> Vec<usize> {
    let mut filter = FrameRateFilter::new(rate);
    times.into_iter().enumerate().filter(|&(_, time)| filter.keeps(time)).map(|(position, _)| position).collect()
}
