//! Figures of forecasts, per lead.

use ndarray::{ArrayView2, ArrayView4, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tensor_ops::{check_axis, check_not_empty};

use super::Contingency;
use super::error::{ForecastError, check_finite};
use crate::data::rain_value;

/// What is forecast with yes or no: that a pixel has at least some value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What people call it, such as `1 mm/h`.
    pub name: String,
    /// The smallest value of a pixel, from 0 to 1, at which it happens.
    pub threshold: f32,
}

impl Event {
    /// The event `name` from `threshold` on.
    pub fn new(name: impl Into<String>, threshold: f32) -> Self {
        Self { name: name.into(), threshold }
    }

    /// The event of at least `rate` mm/h of rain, for frames whose values are those of [`rain_value`].
    ///
    /// ```
    /// let event = pipeline::forecast::Event::rain(1.0);
    /// assert_eq!((event.name.as_str(), event.threshold), ("1 mm/h", 81.0 / 255.0));
    /// ```
    pub fn rain(rate: f64) -> Self {
        Self::new(format!("{rate} mm/h"), rain_value(rate))
    }
}

/// The figures of the forecasts at one lead, over all sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeadScores {
    /// The mean squared error per pixel.
    pub mse: f64,
    /// The mean absolute error per pixel.
    pub mae: f64,
    /// The counts of each event, over the pixels of all sequences together.
    pub events: Vec<Contingency>,
}

/// The figures of the forecasts of some sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastScores {
    /// The number of sequences.
    pub sequences: usize,
    /// The events that were counted.
    pub events: Vec<Event>,
    /// The figures of each lead, from lead 1 on.
    pub leads: Vec<LeadScores>,
}

impl ForecastScores {
    /// The mean of the mean squared errors of all leads.
    pub fn mean_mse(&self) -> f64 {
        self.mean(|lead| lead.mse)
    }

    /// The mean of the mean absolute errors of all leads.
    pub fn mean_mae(&self) -> f64 {
        self.mean(|lead| lead.mae)
    }

    fn mean(&self, figure: impl Fn(&LeadScores) -> f64) -> f64 {
        self.leads.iter().map(figure).sum::<f64>() / self.leads.len() as f64
    }

    /// The mean of one score of the event at position `event`, such as [`Contingency::critical_success_index`], over the
    /// leads that have it; `None` if none has.
    ///
    /// # Panics
    /// If there is no such event.
    pub fn mean_score(&self, event: usize, score: impl Fn(&Contingency) -> Option<f64>) -> Option<f64> {
        let scores: Vec<f64> = self.leads.iter().filter_map(|lead| score(&lead.events[event])).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

/// Compares forecasts with the truth, batch by batch.
///
/// ```
/// use ndarray::Array4;
/// use pipeline::forecast::{Event, ForecastScorer};
///
/// let mut scorer = ForecastScorer::new(&[Event::new("bright", 0.5)], 3);
/// let (dark, bright) = (Array4::zeros((2, 3, 8, 8)), Array4::ones((2, 3, 8, 8)));
/// scorer.add(bright.view(), bright.view())?;
/// scorer.add(dark.view(), bright.view())?;
/// let scores = scorer.finish()?;
/// assert_eq!((scores.sequences, scores.mean_mse()), (4, 0.5));
/// assert_eq!(scores.leads[0].events[0].probability_of_detection(), Some(0.5));
/// # Ok::<(), pipeline::forecast::ForecastError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ForecastScorer {
    events: Vec<Event>,
    sums: Vec<Sums>,
    sequences: usize,
}

impl ForecastScorer {
    const NAME: &'static str = "forecast scores";

    /// A scorer of forecasts of `leads` frames, without any yet.
    pub fn new(events: &[Event], leads: usize) -> Self {
        let sums = vec![Sums { events: vec![Contingency::default(); events.len()], ..Sums::default() }; leads];
        Self { events: events.to_vec(), sums, sequences: 0 }
    }

    /// Compares `forecast` with `truth`, both `[sequences, leads, height, width]`.
    ///
    /// # Errors
    /// [`ForecastError`] if their sizes differ, they have another number of leads or no pixels, or a value is not finite.
    /// Nothing is counted then.
    pub fn add(&mut self, forecast: ArrayView4<'_, f32>, truth: ArrayView4<'_, f32>) -> Result<(), ForecastError> {
        check_axis(Self::NAME, "leads of the forecast", self.sums.len(), forecast.len_of(Axis(1)))?;
        for (axis, name) in ["sequences", "leads", "height", "width"].into_iter().enumerate() {
            check_axis(Self::NAME, name, truth.shape()[axis], forecast.shape()[axis])?;
            check_not_empty(Self::NAME, name, truth.shape()[axis])?;
        }
        check_finite(Self::NAME, "forecast", &forecast)?;
        check_finite(Self::NAME, "truth", &truth)?;
        let of_sequence = |sequence: usize| -> Vec<Sums> {
            let (forecast, truth) = (forecast.index_axis(Axis(0), sequence), truth.index_axis(Axis(0), sequence));
            let frames = forecast.outer_iter().zip(truth.outer_iter());
            frames.map(|(forecast, truth)| Sums::of_frame(forecast, truth, &self.events)).collect()
        };
        let sums: Vec<Vec<Sums>> = (0..truth.len_of(Axis(0))).into_par_iter().map(of_sequence).collect();
        // One after another, so that the order of the additions does not depend on the threads.
        for leads in &sums {
            for (total, more) in self.sums.iter_mut().zip(leads) {
                total.merge(more);
            }
        }
        self.sequences += truth.len_of(Axis(0));
        Ok(())
    }

    /// The figures of everything that was added.
    ///
    /// # Errors
    /// [`ForecastError`] if nothing was added, or the forecasts have no leads.
    pub fn finish(self) -> Result<ForecastScores, ForecastError> {
        check_not_empty(Self::NAME, "sequences", self.sequences)?;
        check_not_empty(Self::NAME, "leads", self.sums.len())?;
        let leads = self.sums.into_iter().map(Sums::finish).collect();
        Ok(ForecastScores { sequences: self.sequences, events: self.events, leads })
    }
}

/// The figures of `forecast` beside `truth`, both `[sequences, leads, height, width]`.
///
/// # Errors
/// [`ForecastError`] if their sizes differ or one is 0, or a value is not finite.
pub fn score(
    forecast: ArrayView4<'_, f32>,
    truth: ArrayView4<'_, f32>,
    events: &[Event],
) -> Result<ForecastScores, ForecastError> {
    let mut scorer = ForecastScorer::new(events, truth.len_of(Axis(1)));
    scorer.add(forecast, truth)?;
    scorer.finish()
}

/// What the figures of one lead are computed from.
#[derive(Clone, Debug, Default)]
struct Sums {
    squares: f64,
    absolutes: f64,
    pixels: u64,
    events: Vec<Contingency>,
}

impl Sums {
    fn of_frame(forecast: ArrayView2<'_, f32>, truth: ArrayView2<'_, f32>, events: &[Event]) -> Self {
        let mut sums = Self { events: vec![Contingency::default(); events.len()], ..Self::default() };
        for (&forecast, &truth) in forecast.iter().zip(truth) {
            let error = f64::from(forecast) - f64::from(truth);
            sums.squares += error * error;
            sums.absolutes += error.abs();
            sums.pixels += 1;
            for (table, event) in sums.events.iter_mut().zip(events) {
                table.add(forecast >= event.threshold, truth >= event.threshold);
            }
        }
        sums
    }

    fn merge(&mut self, other: &Self) {
        self.squares += other.squares;
        self.absolutes += other.absolutes;
        self.pixels += other.pixels;
        for (table, more) in self.events.iter_mut().zip(&other.events) {
            table.merge(more);
        }
    }

    fn finish(self) -> LeadScores {
        let pixels = self.pixels as f64;
        LeadScores { mse: self.squares / pixels, mae: self.absolutes / pixels, events: self.events }
    }
}
