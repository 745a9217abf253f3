//! Animated GIF files. A frame changes a part of the canvas, and says what becomes of that part before the next one.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::num::NonZeroU64;

use gif::{ColorOutput, Decoder, DecodingError, DisposalMethod, MemoryLimit};

use crate::error::Origin;
use crate::source::{Failure, Reader};
use crate::{Frame, OpenOptions, VideoError, VideoFormat, VideoInfo};

/// Both versions of the format begin so.
pub(crate) const MAGIC: &[u8] = b"GIF8";

/// The least delay that players follow, and the one that they put in the place of a smaller one, in hundredths of a second.
const MIN_DELAY: u16 = 2;
const DEFAULT_DELAY: u16 = 10;

pub(crate) struct GifReader {
    decoder: Decoder<BufReader<File>>,
    origin: Origin,
    info: VideoInfo,
    /// The canvas, `[height, width, 3]`. What no frame has covered is black.
    canvas: Vec<u8>,
    /// The canvas before the last frame, if that frame is to vanish.
    saved: Vec<u8>,
    last: Option<(DisposalMethod, Area)>,
    next: u64,
    /// When the next frame is shown, in hundredths of a second.
    time: u64,
}

/// The part of the canvas that a frame covers.
#[derive(Clone, Copy, Debug)]
struct Area {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl GifReader {
    pub(crate) fn new(mut file: File, origin: Origin, options: &OpenOptions) -> Result<Self, VideoError> {
        let (frames, frame_rate) = count(&file);
        file.seek(SeekFrom::Start(0)).map_err(|source| origin.io(source))?;
        let limit = NonZeroU64::new(options.max_pixels as u64).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes);
        let mut decoding = gif::DecodeOptions::new();
        decoding.set_memory_limit(limit);
        decoding.set_color_output(ColorOutput::Indexed);
        decoding.allow_unknown_blocks(true);
        let decoder = decoding.read_info(BufReader::new(file)).map_err(|error| decode_error(&origin, None, error))?;
        let [height, width] = origin.check_size(decoder.height().into(), decoder.width().into(), options.max_pixels)?;
        let info = VideoInfo { format: VideoFormat::Gif, width, height, frame_rate, frames };
        let (canvas, saved) = (Vec::new(), Vec::new());
        Ok(Self { decoder, origin, info, canvas, saved, last: None, next: 0, time: 0 })
    }

    /// Draws the next frame. Returns how long it is shown.
    fn draw(&mut self) -> Result<Option<u16>, VideoError> {
        // The global colours are borrowed from the decoder as the frame is.
        let global = self.decoder.global_palette().map(<[u8]>::to_vec);
        let frame = match self.decoder.read_next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(error) => return Err(decode_error(&self.origin, Some(self.next), error)),
        };
        let VideoInfo { height, width, .. } = self.info;
        self.canvas.resize(3 * height * width, 0);
        match self.last {
            Some((DisposalMethod::Background, area)) => {
                for row in area.top..area.top + area.height {
                    self.canvas[3 * (row * width + area.left)..][..3 * area.width].fill(0);
                }
            }
            Some((DisposalMethod::Previous, _)) => self.canvas.copy_from_slice(&self.saved),
            _ => {}
        }
        if frame.dispose == DisposalMethod::Previous {
            self.saved.clone_from(&self.canvas);
        }
        let [top, left] = [usize::from(frame.top).min(height), usize::from(frame.left).min(width)];
        let area = Area {
            top,
            left,
            height: usize::from(frame.height).min(height - top),
            width: usize::from(frame.width).min(width - left),
        };
        let palette = frame.palette.as_deref().or(global.as_deref()).unwrap_or_default();
        let rows = frame.buffer.chunks(usize::from(frame.width).max(1)).take(area.height);
        for (row, indices) in rows.enumerate() {
            let target = &mut self.canvas[3 * ((area.top + row) * width + area.left)..][..3 * area.width];
            for (pixel, &index) in target.chunks_exact_mut(3).zip(indices) {
                if frame.transparent == Some(index) {
                    continue;
                }
                // A colour that the palette lacks is black.
                pixel.copy_from_slice(
                    palette.get(3 * usize::from(index)..).and_then(|rest| rest.get(..3)).unwrap_or(&[0; 3]),
                );
            }
        }
        self.last = Some((frame.dispose, area));
        Ok(Some(delay(frame.delay)))
    }
}

impl Reader for GifReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        let Some(delay) = self.draw().map_err(Failure::End)? else { return Ok(false) };
        if let Some(frame) = frame {
            frame.buffer([self.info.height, self.info.width]).copy_from_slice(&self.canvas);
            frame.index = self.next;
            frame.time = self.time as f64 / 100.0;
        }
        self.next += 1;
        self.time += u64::from(delay);
        Ok(true)
    }
}

fn delay(stated: u16) -> u16 {
    if stated < MIN_DELAY { DEFAULT_DELAY } else { stated }
}

/// The number of frames of a file and how many of them there are per second, without decoding them; neither if it is
/// damaged.
fn count(file: &File) -> (Option<u64>, Option<f64>) {
    let mut decoding = gif::DecodeOptions::new();
    decoding.skip_frame_decoding(true);
    decoding.allow_unknown_blocks(true);
    let Ok(mut decoder) = decoding.read_info(BufReader::new(file)) else { return (None, None) };
    let (mut frames, mut duration) = (0, 0);
    loop {
        match decoder.next_frame_info() {
            Ok(Some(frame)) => {
                frames += 1;
                duration += u64::from(delay(frame.delay));
            }
            Ok(None) => break,
            Err(_) => return (None, None),
        }
    }
    (Some(frames), (frames > 0).then(|| 100.0 * frames as f64 / duration as f64))
}

fn decode_error(origin: &Origin, frame: Option<u64>, error: DecodingError) -> VideoError {
    match error {
        DecodingError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => origin.io(source),
        error => match frame {
            Some(frame) => origin.damaged_frame(frame, error.to_string()),
            None => origin.damaged(error.to_string()),
        },
    }
}
