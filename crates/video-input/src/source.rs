//! The common face of all decoders, and what they do about damaged frames.

use crate::error::Origin;
use crate::{Frame, OnError, VideoError, VideoInfo};

/// A video that is read frame by frame.
///
/// Memory for a few frames is taken, however long the video is.
pub trait VideoSource: Send {
    /// What is known of the video before its frames are read.
    fn info(&self) -> &VideoInfo;

    /// Reads the next frame in the order in which they are shown. Returns `false` at the end, where `frame` keeps what it
    /// had.
    ///
    /// # Errors
    /// [`VideoError`] if the frame cannot be decoded, as [`OnError`] says. After an error the video is at its end.
    fn next_frame(&mut self, frame: &mut Frame) -> Result<bool, VideoError>;

    /// Passes by up to `frames` frames. Returns how many there were.
    ///
    /// # Errors
    /// [`VideoError`] as in [`next_frame`](Self::next_frame), though damage within the frames may go unseen.
    fn skip(&mut self, frames: u64) -> Result<u64, VideoError> {
        let mut dropped = Frame::default();
        for skipped in 0..frames {
            if !self.next_frame(&mut dropped)? {
                return Ok(skipped);
            }
        }
        Ok(frames)
    }
}

/// An error of a [`Reader`].
pub(crate) enum Failure {
    /// The frame is lost; those after it may be read.
    Frame(VideoError),
    /// Nothing more can be read.
    End(VideoError),
}

/// A decoder of one format.
///
/// Each call that fails with [`Failure::Frame`] consumes some of the input, so that reading comes to an end.
pub(crate) trait Reader: Send {
    fn info(&self) -> &VideoInfo;

    /// Reads the next frame into `frame`, or passes it by where there is none.
    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure>;

    /// Passes by up to `frames` frames where that is cheaper than to decode them. Returns how many.
    fn jump(&mut self, _frames: u64) -> u64 {
        0
    }
}

impl Reader for Box<dyn Reader> {
    fn info(&self) -> &VideoInfo {
        (**self).info()
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        (**self).read(frame)
    }

    fn jump(&mut self, frames: u64) -> u64 {
        (**self).jump(frames)
    }
}

/// A video whose errors are handled as [`OnError`] says.
pub(crate) struct Guarded<R> {
    reader: R,
    origin: Origin,
    on_error: OnError,
    /// Whether a frame has been read or passed by.
    any: bool,
    ended: bool,
    /// The first error that was passed over, until a frame is read.
    passed_over: Option<VideoError>,
}

impl<R: Reader> Guarded<R> {
    pub(crate) fn new(reader: R, origin: Origin, on_error: OnError) -> Self {
        Self { reader, origin, on_error, any: false, ended: false, passed_over: None }
    }

    fn read(&mut self, mut frame: Option<&mut Frame>) -> Result<bool, VideoError> {
        while !self.ended {
            let (error, more) = match self.reader.read(frame.as_deref_mut()) {
                Ok(true) => {
                    self.any = true;
                    self.passed_over = None;
                    return Ok(true);
                }
                Ok(false) => {
                    self.ended = true;
                    break;
                }
                Err(Failure::Frame(error)) => (error, true),
                Err(Failure::End(error)) => (error, false),
            };
            self.ended = !more || self.on_error != OnError::Skip;
            if self.on_error == OnError::Stop {
                self.any = true;
                return Err(error);
            }
            if !self.any && self.passed_over.is_none() {
                self.passed_over = Some(error);
            }
        }
        if self.any {
            return Ok(false);
        }
        self.any = true;
        Err(self.passed_over.take().unwrap_or_else(|| self.origin.no_frames()))
    }
}

impl<R: Reader> VideoSource for Guarded<R> {
    fn info(&self) -> &VideoInfo {
        self.reader.info()
    }

    fn next_frame(&mut self, frame: &mut Frame) -> Result<bool, VideoError> {
        self.read(Some(frame))
    }

    fn skip(&mut self, frames: u64) -> Result<u64, VideoError> {
        let mut skipped = 0;
        while skipped < frames {
            let jumped = if self.ended { 0 } else { self.reader.jump(frames - skipped) };
            skipped += jumped;
            self.any |= jumped > 0;
            if jumped == 0 {
                if !self.read(None)? {
                    break;
                }
                skipped += 1;
            }
        }
        Ok(skipped)
    }
}
