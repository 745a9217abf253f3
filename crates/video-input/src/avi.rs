//! AVI files with JPEG or H.264 pictures. The pictures are read in the order of the file, without its index.

mod chunks;
#[cfg(feature = "h264")]
mod units;

use std::fs::File;
use std::io::{self, BufReader};

use self::chunks::{Chunk, Chunks, Name};
use crate::error::{Origin, quoted};
use crate::images::decode_jpeg;
use crate::open::Opening;
use crate::source::{Failure, Reader};
use crate::{Frame, OpenOptions, VideoError, VideoFormat, VideoInfo};

/// The names under which JPEG pictures go.
const JPEG: [&Name; 4] = [b"MJPG", b"mjpg", b"JPEG", b"jpeg"];

/// The names under which H.264 pictures go.
#[cfg(feature = "h264")]
const H264: [&Name; 6] = [b"H264", b"h264", b"X264", b"x264", b"AVC1", b"avc1"];

/// The most bytes of a head of a stream that are read.
const MAX_HEAD: u32 = 1 << 12;

/// The most bytes of a JPEG picture.
const MAX_JPEG: u32 = 1 << 28;

/// Whether a file that begins so is an AVI file.
pub(crate) fn begins_file(start: &[u8]) -> bool {
    start.starts_with(b"RIFF") && start.get(8..12) == Some(b"AVI ")
}

/// Opens a file.
pub(crate) fn open(file: File, origin: Origin, options: &OpenOptions) -> Result<Box<dyn Reader>, Opening> {
    let mut chunks = Chunks::new(BufReader::new(file));
    let head = Head::read(&mut chunks, &origin)?;
    let [height, width] = origin.check_size(head.height.into(), head.width.into(), options.max_pixels)?;
    let frames = Some(u64::from(head.frames)).filter(|&frames| frames > 0);
    let frame_rate = head.frame_rate;
    let info = VideoInfo { format: VideoFormat::Avi, width, height, frame_rate, frames };
    let rate = frame_rate.unwrap_or(options.frame_rate_of_images);
    let pictures = Stream { chunks, origin: origin.clone(), number: head.number, next: 0, stored: Vec::new() };
    if JPEG.contains(&&head.codec) {
        return Ok(Box::new(AviReader { pictures, info, max_pixels: options.max_pixels, rate }));
    }
    #[cfg(feature = "h264")]
    if H264.contains(&&head.codec) {
        return units::open(pictures, info, rate, origin, options);
    }
    Err(Opening::Other(format!("AVI with the codec {}", quoted(&head.codec))))
}

/// What a file says about its first video stream.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Its number among the streams.
    number: u8,
    codec: Name,
    height: u32,
    width: u32,
    frame_rate: Option<f64>,
    frames: u32,
}

impl Head {
    /// Reads up to where the pictures begin.
    fn read(chunks: &mut Chunks<BufReader<File>>, origin: &Origin) -> Result<Self, VideoError> {
        let mut streams = 0_u8;
        let mut content = Vec::new();
        // Frames per second, the number of frames, and the number of the stream.
        let mut stream: Option<(Option<f64>, u32, u8)> = None;
        let mut head: Option<Self> = None;
        while let Some(chunk) = chunks.next().map_err(|source| origin.io(source))? {
            if chunk.list == Some(*b"movi") {
                return head.ok_or_else(|| origin.unsupported("a video", "AVI without a video stream"));
            }
            if !matches!(&chunk.name, b"strh" | b"strf") {
                continue;
            }
            content.clear();
            chunks.read(chunk.size.min(MAX_HEAD), &mut content).map_err(|source| origin.io(source))?;
            let word = |at: usize| content.get(at..at + 4).map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
            let number = |at| word(at).map(u32::from_le_bytes);
            if &chunk.name == b"strh" {
                stream = None;
                if let (Some(b"vids"), Some(scale), Some(rate)) = (word(0).as_ref(), number(20), number(24)) {
                    let stated = scale > 0 && rate > 0;
                    let frame_rate = stated.then(|| f64::from(rate) / f64::from(scale));
                    stream = Some((frame_rate, number(32).unwrap_or(0), streams));
                }
                streams = streams.saturating_add(1);
            } else if let (Some((frame_rate, frames, stream)), None) = (stream, &head) {
                let fields = number(4).zip(number(8)).zip(word(16));
                let ((width, height), codec) =
                    fields.ok_or_else(|| origin.damaged("the head of the video stream ends too early"))?;
                // The height is negative where rows run from the top.
                let height = height.cast_signed().unsigned_abs();
                head = Some(Self { number: stream, codec, height, width, frame_rate, frames });
            }
        }
        Err(origin.damaged("expected the list `movi`, found the end of the file"))
    }
}

/// The pictures of one stream.
struct Stream {
    chunks: Chunks<BufReader<File>>,
    origin: Origin,
    number: u8,
    /// The number of pictures that have been read.
    next: u64,
    stored: Vec<u8>,
}

impl Stream {
    /// Reads the next picture of at most `max` bytes. Returns its number, or `None` at the end. Empty pictures, which stand
    /// for those that the camera has dropped, count but are passed over.
    fn read(&mut self, max: u32) -> Result<Option<u64>, Failure> {
        let failed = |origin: &Origin, source: io::Error| Failure::End(origin.io(source));
        while let Some(chunk) = self.chunks.next().map_err(|source| failed(&self.origin, source))? {
            if !self.is_picture(&chunk) {
                continue;
            }
            let index = self.next;
            self.next += 1;
            if chunk.size == 0 {
                continue;
            }
            if chunk.size > max {
                let problem = format!("expected at most {max} bytes, found {}", chunk.size);
                return Err(Failure::Frame(self.origin.damaged_frame(index, problem)));
            }
            self.stored.clear();
            let found = self.chunks.read(chunk.size, &mut self.stored);
            let found = found.map_err(|source| failed(&self.origin, source))?;
            if found < chunk.size as usize {
                let problem = format!("expected {} bytes, found {found}", chunk.size);
                return Err(Failure::End(self.origin.damaged_frame(index, problem)));
            }
            return Ok(Some(index));
        }
        Ok(None)
    }

    /// Whether a chunk is a picture of the stream: `00dc` or `00db` of the first one.
    fn is_picture(&self, chunk: &Chunk) -> bool {
        let [tens, ones, b'd', b'c' | b'b'] = chunk.name else { return false };
        let digit = |letter: u8| char::from(letter).to_digit(16);
        let number = digit(tens).zip(digit(ones)).map(|(tens, ones)| 16 * tens + ones);
        number == Some(self.number.into())
    }
}

struct AviReader {
    pictures: Stream,
    info: VideoInfo,
    max_pixels: usize,
    rate: f64,
}

impl Reader for AviReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        let Some(index) = self.pictures.read(MAX_JPEG)? else { return Ok(false) };
        let Some(frame) = frame else { return Ok(true) };
        let origin = &self.pictures.origin;
        let picture = decode_jpeg(&self.pictures.stored, self.max_pixels)
            .map_err(|problem| Failure::Frame(origin.damaged_frame(index, problem)))?;
        let found = [picture.height() as usize, picture.width() as usize];
        let expected = [self.info.height, self.info.width];
        origin.check_same_size(index, expected, found).map_err(Failure::Frame)?;
        frame.buffer(found).copy_from_slice(picture.into_rgb8().as_raw());
        frame.index = index;
        frame.time = index as f64 / self.rate;
        Ok(true)
    }
}
