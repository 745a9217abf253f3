//! H.264 pictures in AVI files: units behind start codes, as in a stream without a container.

use super::Stream;
use crate::error::Origin;
use crate::h264::{Checker, H264Reader, Limits, MAX_PICTURE, Picture, Pictures, Place, split_units};
use crate::open::Opening;
use crate::orientation::Orientation;
use crate::source::{Failure, Reader};
use crate::{OpenOptions, VideoInfo};

/// Reads H.264 pictures from `stream`.
pub(super) fn open(
    stream: Stream,
    info: VideoInfo,
    rate: f64,
    origin: Origin,
    options: &OpenOptions,
) -> Result<Box<dyn Reader>, Opening> {
    let checker = Checker::new(Limits::new(options));
    let units = Units { stream, rate };
    let reader = H264Reader::new(units, origin, info, Orientation::UPRIGHT, Picture::default(), checker)?;
    Ok(Box::new(reader))
}

struct Units {
    stream: Stream,
    rate: f64,
}

impl Pictures for Units {
    fn next(&mut self, picture: &mut Picture, checker: &mut Checker) -> Result<Option<i64>, Failure> {
        let Some(index) = self.stream.read(MAX_PICTURE as u32)? else { return Ok(None) };
        for unit in split_units(&self.stream.stored) {
            checker.append(picture, unit).map_err(|refusal| {
                Failure::Frame(refusal.into_error(&self.stream.origin, Some(index), &checker.limits))
            })?;
        }
        Ok(Some(index as i64))
    }

    fn place(&self, ticks: i64) -> Option<Place> {
        Some(Place { index: ticks.unsigned_abs(), time: ticks as f64 / self.rate })
    }

    fn horizon(&self) -> i64 {
        self.stream.next as i64
    }
}
