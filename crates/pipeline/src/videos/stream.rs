//! Predictions while a video runs.

use std::collections::VecDeque;

use ndarray::{Array4, Axis, concatenate};
use serde::{Deserialize, Serialize};
use video_input::{Frame, FrameRateFilter};

use super::input::FrameReader;
use super::store::StoredVideo;
use super::{Prediction, VideoModel, VideosError};

/// What a model says after a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FramePrediction {
    /// The number of the frame in the video, from 0.
    pub frame: u64,
    /// The time of the frame, in seconds from the start.
    pub seconds: f64,
    /// What it says of the latest frames.
    #[serde(flatten)]
    pub prediction: Prediction,
}

/// A model that looks at a running video.
///
/// After every frame it says what it says of the video so far; once the video is longer than half of those that trained
/// it, of that many latest frames. What is costly, the look at a frame, happens once for each. Memory does not grow with the length
/// of the video.
#[derive(Debug)]
pub struct VideoStream<'a> {
    model: &'a VideoModel,
    reader: FrameReader<'a>,
    filter: FrameRateFilter,
    /// Of each of the latest frames `[1, channels, height, width]`, as it would be read from storage.
    latest: VecDeque<Array4<f32>>,
}

impl<'a> VideoStream<'a> {
    /// The stream before its first frame.
    pub fn new(model: &'a VideoModel) -> Self {
        let input = &model.description.input;
        let reader = FrameReader::new(input, model.network());
        Self { model, reader, filter: FrameRateFilter::new(input.frame_rate), latest: VecDeque::new() }
    }

    /// What the model says after `frame`; `None` for a frame that it does not look at, because of its frame rate.
    ///
    /// # Errors
    /// [`VideosError`] if the frame cannot be brought to the size that the model wants.
    pub fn push(&mut self, frame: &Frame) -> Result<Option<FramePrediction>, VideosError> {
        if !self.filter.keeps(frame.time) {
            return Ok(None);
        }
        let resized = self.reader.resize(frame.pixels.view())?;
        if self.latest.len() == self.model.description.window {
            self.latest.pop_front();
        }
        self.latest.push_back(self.reader.read(&[resized])?.widened());
        let probabilities = self.model.probabilities(self.latest.len(), |positions| {
            let frames: Vec<_> = positions.iter().map(|&position| self.latest[position].view()).collect();
            Ok(concatenate(Axis(0), &frames).expect("stored frames of one input have the same size"))
        })?;
        let prediction = self.model.prediction(&probabilities);
        Ok(Some(FramePrediction { frame: frame.index, seconds: frame.time, prediction }))
    }
}

impl VideoModel {
    /// What a stream of the video would have said after each of its stored frames, in their order.
    ///
    /// # Errors
    /// [`VideosError::Store`] if they cannot be read.
    pub fn predictions_over_time(&self, video: &StoredVideo) -> impl Iterator<Item = Result<Prediction, VideosError>> {
        let window = self.description.window;
        (1..=video.frames()).map(move |end| {
            let start = end.saturating_sub(window);
            let probabilities = self.probabilities(end - start, |positions| {
                let positions: Vec<usize> = positions.iter().map(|position| start + position).collect();
                Ok(video.read(&positions)?)
            })?;
            Ok(self.prediction(&probabilities))
        })
    }
}
