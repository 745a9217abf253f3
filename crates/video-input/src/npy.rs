//! Arrays of bytes as `NumPy` writes them: `[time, height, width]`, or with an axis of one or three colours behind them or
//! before the height.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::error::Origin;
use crate::npy_header::NpyHeader;
use crate::raw::grey_to_rgb;
use crate::source::{Failure, Reader};
use crate::{Frame, OpenOptions, VideoError, VideoFormat, VideoInfo};

/// Where the colours of a frame stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Grey,
    /// `[height, width, 3]`
    Interleaved,
    /// `[3, height, width]`
    Planes,
}

pub(crate) struct NpyReader {
    input: BufReader<File>,
    origin: Origin,
    info: VideoInfo,
    layout: Layout,
    rate: f64,
    frames: u64,
    next: u64,
    stored: Vec<u8>,
}

impl NpyReader {
    pub(crate) fn new(mut file: File, origin: Origin, options: &OpenOptions) -> Result<Self, VideoError> {
        let failed = |source| origin.io(source);
        let file_length = file.metadata().map_err(failed)?.len();
        let mut start = Vec::new();
        file.by_ref().take(NpyHeader::MAX_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
        let header = NpyHeader::parse(&start).map_err(|problem| origin.damaged(problem))?;
        if !matches!(header.descriptor.as_str(), "|u1" | "u1" | "B") {
            let found = format!("`{}`", header.descriptor);
            return Err(origin.unsupported("elements of type u8 (`|u1`)", found));
        }
        let shape = &header.shape[..];
        let (frames, height, width, layout) = match *shape {
            [frames, height, width] | [frames, height, width, 1] => (frames, height, width, Layout::Grey),
            [frames, height, width, 3] => (frames, height, width, Layout::Interleaved),
            [frames, 1, height, width] => (frames, height, width, Layout::Grey),
            [frames, 3, height, width] => (frames, height, width, Layout::Planes),
            _ => {
                let expected = "an array [time, height, width], [time, height, width, 3] or [time, 3, height, width]";
                return Err(origin.unsupported(expected, format!("shape {shape:?}")));
            }
        };
        if header.fortran_order {
            return Err(origin.unsupported("an array in C order", "one in Fortran order"));
        }
        if frames == 0 {
            return Err(origin.no_frames());
        }
        let [height, width] = origin.check_size(height as u64, width as u64, options.max_pixels)?;
        let channels = if layout == Layout::Grey { 1 } else { 3 };
        let expected = (height * width * channels) as u128 * frames as u128;
        let found = file_length.saturating_sub(header.length as u64);
        if u128::from(found) > expected {
            let problem = format!("shape {shape:?} takes {expected} bytes after the header, found {found}");
            return Err(origin.damaged(problem));
        }
        file.seek(SeekFrom::Start(header.length as u64)).map_err(failed)?;
        let info = VideoInfo { format: VideoFormat::Npy, width, height, frame_rate: None, frames: Some(frames as u64) };
        let rate = options.frame_rate_of_images;
        let (input, frames) = (BufReader::new(file), frames as u64);
        Ok(Self { input, origin, info, layout, rate, frames, next: 0, stored: Vec::new() })
    }

    fn frame_length(&self) -> usize {
        self.info.height * self.info.width * if self.layout == Layout::Grey { 1 } else { 3 }
    }

    fn read_pixels(&mut self) -> Result<(), VideoError> {
        let expected = self.frame_length();
        self.stored.clear();
        let result = self.input.by_ref().take(expected as u64).read_to_end(&mut self.stored);
        let found = result.map_err(|source| self.origin.io(source))?;
        if found < expected {
            return Err(self.origin.damaged_frame(self.next, format!("expected {expected} bytes, found {found}")));
        }
        Ok(())
    }
}

impl Reader for NpyReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        if self.next == self.frames {
            return Ok(false);
        }
        self.read_pixels().map_err(Failure::End)?;
        let index = self.next;
        self.next += 1;
        let Some(frame) = frame else { return Ok(true) };
        let target = frame.buffer([self.info.height, self.info.width]);
        match self.layout {
            Layout::Grey => grey_to_rgb(&self.stored, target),
            Layout::Interleaved => target.copy_from_slice(&self.stored),
            Layout::Planes => {
                let plane = self.stored.len() / 3;
                for (at, pixel) in target.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&[self.stored[at], self.stored[plane + at], self.stored[2 * plane + at]]);
                }
            }
        }
        frame.index = index;
        frame.time = index as f64 / self.rate;
        Ok(true)
    }

    fn jump(&mut self, frames: u64) -> u64 {
        let jumped = frames.min(self.frames - self.next);
        let offset = (self.frame_length() as u64).checked_mul(jumped).and_then(|offset| i64::try_from(offset).ok());
        match offset.map(|offset| self.input.seek_relative(offset)) {
            Some(Ok(())) => {
                self.next += jumped;
                jumped
            }
            _ => 0,
        }
    }
}
