//! `YUV4MPEG2` streams: a line of parameters, then frames of planes without compression.

mod header;

use std::io::{BufRead, Read};

use self::header::{Header, read_line};
use crate::colour::{Converter, Planes};
use crate::error::Origin;
use crate::source::{Failure, Reader};
use crate::{Frame, OpenOptions, VideoError, VideoFormat, VideoInfo};

/// A stream in this format begins so.
pub(crate) const MAGIC: &[u8] = b"YUV4MPEG2";

/// The line before each frame.
const FRAME: &[u8] = b"FRAME";

pub(crate) struct Y4mReader<R> {
    input: R,
    origin: Origin,
    info: VideoInfo,
    header: Header,
    converter: Converter,
    rate: f64,
    next: u64,
    /// The planes of a frame as they are stored.
    stored: Vec<u8>,
    /// The planes in bytes, where a sample takes two of them in the stream.
    narrowed: Vec<u8>,
}

impl<R: BufRead> Y4mReader<R> {
    /// Reads the header. `length` is the length of the whole stream, if it is known.
    pub(crate) fn new(
        mut input: R,
        length: Option<u64>,
        origin: Origin,
        options: &OpenOptions,
    ) -> Result<Self, VideoError> {
        let line = read_line(&mut input).map_err(|source| origin.io(source))?;
        let line = line.map_err(|problem| origin.damaged(format!("the header: {problem}")))?;
        let header = Header::parse(&line, &origin, options)?;
        let frame_length = header.frame_length() as u64 + FRAME.len() as u64 + 1;
        let frames = length
            .and_then(|length| length.checked_sub(line.len() as u64 + 1))
            .filter(|rest| rest % frame_length == 0)
            .map(|rest| rest / frame_length);
        let [height, width] = header.size;
        let info = VideoInfo { format: VideoFormat::Y4m, width, height, frame_rate: header.frame_rate, frames };
        let rate = header.frame_rate.unwrap_or(options.frame_rate_of_images);
        let converter = Converter::new(header.colours);
        let (stored, narrowed) = (Vec::new(), Vec::new());
        Ok(Self { input, origin, info, header, converter, rate, next: 0, stored, narrowed })
    }

    /// Reads the planes of the next frame. The error is that nothing more can be read.
    fn read_planes(&mut self) -> Result<bool, VideoError> {
        let failed = |source| self.origin.io(source);
        if self.input.fill_buf().map_err(failed)?.is_empty() {
            return Ok(false);
        }
        let line = read_line(&mut self.input).map_err(failed)?;
        let problem = match &line {
            Ok(line) if line.split(|&byte| byte == b' ').next() == Some(FRAME) => None,
            Ok(line) => Some(format!("expected `FRAME`, found {}", crate::error::quoted(line))),
            Err(problem) => Some(format!("the line before it: {problem}")),
        };
        if let Some(problem) = problem {
            return Err(self.origin.damaged_frame(self.next, problem));
        }
        let expected = self.header.frame_length();
        self.stored.clear();
        let found = self.input.by_ref().take(expected as u64).read_to_end(&mut self.stored).map_err(failed)?;
        if found < expected {
            return Err(self.origin.damaged_frame(self.next, format!("expected {expected} bytes, found {found}")));
        }
        Ok(true)
    }
}

impl<R: BufRead + Send> Reader for Y4mReader<R> {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        if !self.read_planes().map_err(Failure::End)? {
            return Ok(false);
        }
        let index = self.next;
        self.next += 1;
        let Some(frame) = frame else { return Ok(true) };
        let samples = if self.header.bits > 8 {
            narrow(&self.stored, self.header.bits, &mut self.narrowed);
            &self.narrowed
        } else {
            &self.stored
        };
        let [luma, chroma] = self.header.plane_sizes();
        let (luma_plane, rest) = samples.split_at(luma[0] * luma[1]);
        let chroma_planes = self.header.shifts.map(|_| {
            let (u, rest) = rest.split_at(chroma[0] * chroma[1]);
            [u, &rest[..chroma[0] * chroma[1]]]
        });
        let planes = Planes {
            luma: luma_plane,
            chroma: chroma_planes,
            strides: [luma[1], chroma[1]],
            shifts: self.header.shifts.unwrap_or_default(),
        };
        self.converter.convert(&planes, self.header.size, frame.buffer(self.header.size));
        frame.index = index;
        frame.time = index as f64 / self.rate;
        Ok(true)
    }
}

/// Rounds samples of `bits` bits, two bytes each, to eight bits.
fn narrow(stored: &[u8], bits: u32, narrowed: &mut Vec<u8>) {
    let half = 1 << (bits - 9);
    narrowed.clear();
    narrowed.extend(stored.chunks_exact(2).map(|bytes| {
        let sample = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        ((sample + half) >> (bits - 8)).min(255) as u8
    }));
}
