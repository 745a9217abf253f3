//! Pixels alone, as programs write them to a pipe.

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::error::Origin;
use crate::source::{Failure, Reader};
use crate::{Frame, VideoError, VideoInfo};

/// How the pixels of raw frames are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixelFormat {
    /// Three bytes per pixel: red, green and blue.
    Rgb24,
    /// One byte per pixel, 0 being black.
    Gray8,
}

impl PixelFormat {
    fn bytes(self) -> usize {
        match self {
            Self::Rgb24 => 3,
            Self::Gray8 => 1,
        }
    }
}

pub(crate) struct RawReader<R> {
    input: R,
    origin: Origin,
    info: VideoInfo,
    pixel_format: PixelFormat,
    rate: f64,
    next: u64,
    stored: Vec<u8>,
}

impl<R: Read> RawReader<R> {
    /// `info` has been checked against the options.
    pub(crate) fn new(input: R, origin: Origin, info: VideoInfo, pixel_format: PixelFormat, rate: f64) -> Self {
        Self { input, origin, info, pixel_format, rate, next: 0, stored: Vec::new() }
    }

    fn read_pixels(&mut self) -> Result<bool, VideoError> {
        let expected = self.info.height * self.info.width * self.pixel_format.bytes();
        self.stored.clear();
        let result = self.input.by_ref().take(expected as u64).read_to_end(&mut self.stored);
        match result.map_err(|source| self.origin.io(source))? {
            0 => Ok(false),
            found if found == expected => Ok(true),
            found => Err(self.origin.damaged_frame(self.next, format!("expected {expected} bytes, found {found}"))),
        }
    }
}

impl<R: Read + Send> Reader for RawReader<R> {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        if !self.read_pixels().map_err(Failure::End)? {
            return Ok(false);
        }
        let index = self.next;
        self.next += 1;
        if let Some(frame) = frame {
            let target = frame.buffer([self.info.height, self.info.width]);
            match self.pixel_format {
                PixelFormat::Rgb24 => target.copy_from_slice(&self.stored),
                PixelFormat::Gray8 => grey_to_rgb(&self.stored, target),
            }
            frame.index = index;
            frame.time = index as f64 / self.rate;
        }
        Ok(true)
    }
}

/// Repeats each byte three times.
pub(crate) fn grey_to_rgb(grey: &[u8], target: &mut [u8]) {
    for (pixel, &byte) in target.chunks_exact_mut(3).zip(grey) {
        pixel.fill(byte);
    }
}
