//! H.264 pictures, decoded by Cisco's `OpenH264`.
//!
//! The decoder is written in C++. It gets whole pictures whose units have been looked at: parameters within the limits, no
//! kinds of units that it does not know, no more bytes than a picture can have.

mod bits;
mod elementary;
mod parameters;
mod units;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use openh264::OpenH264API;
use openh264::decoder::{DecodeOptions, DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use self::elementary::{Elementary, find_parameters};
pub(crate) use self::elementary::{begins_stream, split_units};
pub(crate) use self::units::{Checker, Limits, MAX_PICTURE, Picture};
use crate::colour::{Colours, Converter, Planes};
use crate::error::Origin;
use crate::open::Opening;
use crate::orientation::Orientation;
use crate::source::{Failure, Reader};
use crate::{Frame, OpenOptions, VideoError, VideoFormat, VideoInfo};

/// Where pictures come from, in the order in which they are decoded.
pub(crate) trait Pictures: Send {
    /// Puts the units of the next picture into `picture`. Returns when it is shown, in ticks, or `None` at the end.
    fn next(&mut self, picture: &mut Picture, checker: &mut Checker) -> Result<Option<i64>, Failure>;

    /// The place in the film of the picture that is shown at `ticks`, or `None` if it is never shown.
    fn place(&self, ticks: i64) -> Option<Place>;

    /// The earliest time of all pictures from the one that was read last on.
    fn horizon(&self) -> i64;

    /// Passes by up to `frames` of the frames that are shown, so that the next picture begins a new sequence. Returns how
    /// many.
    fn jump(&mut self, _frames: u64) -> u64 {
        0
    }
}

/// Opens a stream without a container.
pub(crate) fn open(
    mut file: File,
    origin: Origin,
    options: &OpenOptions,
) -> Result<H264Reader<Elementary<BufReader<File>>>, Opening> {
    let mut checker = Checker::new(Limits::new(options));
    let head = find_parameters(BufReader::new(&mut file), &mut checker, &origin)?;
    file.seek(SeekFrom::Start(0)).map_err(|source| origin.io(source))?;
    let [height, width] = checker.size().unwrap_or_default();
    let [height, width] = origin.check_size(height, width, options.max_pixels)?;
    let frame_rate = checker.frame_rate();
    let info = VideoInfo { format: VideoFormat::H264, width, height, frame_rate, frames: None };
    let rate = frame_rate.unwrap_or(options.frame_rate_of_images);
    let pictures = Elementary::new(BufReader::new(file), origin.clone(), rate);
    Ok(H264Reader::new(pictures, origin, info, Orientation::UPRIGHT, head, checker)?)
}

/// Where a frame stands in a film.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) index: u64,
    /// Seconds from the first frame.
    pub(crate) time: f64,
}

pub(crate) struct H264Reader<P> {
    pictures: P,
    origin: Origin,
    info: VideoInfo,
    orientation: Orientation,
    checker: Checker,
    decoder: Decoder,
    converter: Converter,
    colours: Colours,
    picture: Picture,
    /// The parameters that stand before the first picture.
    head: Picture,
    /// Whether the next picture has to come with [`Self::head`].
    restarts: bool,
    /// When the pictures are shown that are within the decoder.
    times: BinaryHeap<Reverse<i64>>,
    /// The number of the frame that is expected next.
    next: u64,
    state: State,
    turned: Vec<u8>,
}

/// What is read next.
enum State {
    Pictures,
    /// The pictures within the decoder, then the end.
    Rest,
    /// The pictures within the decoder that are shown before this time, then the error, then the others.
    Broken {
        horizon: i64,
        failure: Failure,
    },
    /// The pictures within the decoder, then pictures from one on at which decoding can begin.
    Salvage,
    /// Pictures from one on at which decoding can begin.
    Key,
}

impl<P: Pictures> H264Reader<P> {
    /// Reads `pictures`. The parameters in `head`, which `checker` has seen, hold for the first of them.
    pub(crate) fn new(
        pictures: P,
        origin: Origin,
        info: VideoInfo,
        orientation: Orientation,
        head: Picture,
        checker: Checker,
    ) -> Result<Self, VideoError> {
        let decoder = new_decoder().map_err(|problem| origin.damaged(problem))?;
        let colours = checker.colours();
        Ok(Self {
            pictures,
            origin,
            info,
            orientation,
            checker,
            decoder,
            converter: Converter::new(colours),
            colours,
            picture: Picture::default(),
            head,
            restarts: true,
            times: BinaryHeap::new(),
            next: 0,
            state: State::Pictures,
            turned: Vec::new(),
        })
    }

    /// Gives up the picture that was read last, and all up to the next one at which decoding can begin. The pictures
    /// before it come first.
    fn fail(&mut self, failure: Failure) {
        self.state = State::Broken { horizon: self.pictures.horizon(), failure };
    }

    /// Begins anew.
    fn restart(&mut self) -> Result<(), Failure> {
        self.times.clear();
        self.restarts = true;
        self.decoder = new_decoder().map_err(|problem| Failure::End(self.origin.damaged(problem)))?;
        Ok(())
    }

    /// Goes on when nothing more comes out of the decoder.
    fn run_dry(&mut self) -> Result<(), Failure> {
        let missing = self.times.len();
        self.restart()?;
        match std::mem::replace(&mut self.state, State::Key) {
            State::Broken { failure, .. } => Err(failure),
            State::Rest if missing > 0 => {
                let problem = format!("expected {missing} more frames from the decoder, found none");
                Err(Failure::End(self.origin.damaged(problem)))
            }
            State::Rest => {
                self.state = State::Rest;
                Ok(())
            }
            State::Pictures | State::Salvage | State::Key => Ok(()),
        }
    }

    /// Keeps parameters that stand alone for the next start, and hands them to the decoder.
    fn learn(&mut self) {
        let new = &self.picture.bytes;
        if !self.head.bytes.ends_with(new) && self.head.bytes.len() + new.len() <= MAX_PICTURE {
            self.head.bytes.extend(new);
        }
        // If it refuses them, it refuses the pictures as well.
        let _ = self.decoder.decode(new);
    }

    fn read_picture(&mut self) -> Result<Option<i64>, Failure> {
        self.picture.clear();
        let ticks = self.pictures.next(&mut self.picture, &mut self.checker)?;
        let expected = self.orientation.turned_size([self.info.height, self.info.width]);
        let found = self.checker.size().map(|size| size.map(|side| side as usize));
        // The end is no picture that could have a size.
        if let (Some(_), Some(found)) = (ticks, found) {
            self.origin.check_same_size(self.next, expected, found).map_err(Failure::Frame)?;
        }
        Ok(ticks)
    }
}

impl<P: Pictures> Reader for H264Reader<P> {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, mut frame: Option<&mut Frame>) -> Result<bool, Failure> {
        loop {
            if let State::Broken { horizon, .. } = self.state
                && self.times.peek().is_some_and(|time| time.0 >= horizon)
                && let State::Broken { failure, .. } = std::mem::replace(&mut self.state, State::Salvage)
            {
                return Err(failure);
            }
            let decoded = if matches!(self.state, State::Rest | State::Broken { .. } | State::Salvage) {
                let options = DecodeOptions::new().flush_after_decode(Flush::Flush);
                match self.decoder.decode_with_options(&[], options) {
                    Ok(Some(decoded)) if !self.times.is_empty() => decoded,
                    _ => {
                        self.run_dry()?;
                        if matches!(self.state, State::Rest) {
                            return Ok(false);
                        }
                        continue;
                    }
                }
            } else {
                let ticks = match self.read_picture() {
                    Ok(Some(ticks)) => ticks,
                    Ok(None) => {
                        self.state = State::Rest;
                        continue;
                    }
                    Err(failure) => {
                        self.fail(failure);
                        continue;
                    }
                };
                if !self.picture.visible {
                    self.learn();
                    continue;
                }
                if matches!(self.state, State::Key) {
                    if !self.picture.key {
                        continue;
                    }
                    self.state = State::Pictures;
                }
                if std::mem::take(&mut self.restarts) {
                    self.picture.bytes.splice(..0, self.head.bytes.iter().copied());
                }
                self.times.push(Reverse(ticks));
                match self.decoder.decode(&self.picture.bytes) {
                    Ok(Some(decoded)) => decoded,
                    Ok(None) => continue,
                    Err(_) => {
                        self.times.retain(|time| time.0 != ticks);
                        let error = self.origin.damaged_frame(self.next, "the decoder finds it broken");
                        let failure = Failure::Frame(error);
                        self.fail(failure);
                        continue;
                    }
                }
            };
            let Some(Reverse(ticks)) = self.times.pop() else {
                let problem = "expected as many pictures as there are in the file, found more";
                return Err(Failure::End(self.origin.damaged_frame(self.next, problem)));
            };
            let Some(Place { index, time }) = self.pictures.place(ticks) else { continue };
            self.next = index + 1;
            let Some(frame) = frame.as_deref_mut() else { return Ok(true) };
            let colours = self.checker.colours();
            if colours != self.colours {
                self.colours = colours;
                self.converter = Converter::new(colours);
            }
            let size = self.orientation.turned_size([self.info.height, self.info.width]);
            let found = [decoded.dimensions().1, decoded.dimensions().0];
            self.origin.check_same_size(index, size, found).map_err(Failure::Frame)?;
            let target = frame.buffer([self.info.height, self.info.width]);
            if self.orientation == Orientation::UPRIGHT {
                convert(&mut self.converter, &decoded, size, target);
            } else {
                self.turned.resize(target.len(), 0);
                convert(&mut self.converter, &decoded, size, &mut self.turned);
                self.orientation.apply(&self.turned, size, target);
            }
            (frame.index, frame.time) = (index, time);
            return Ok(true);
        }
    }

    fn jump(&mut self, frames: u64) -> u64 {
        if !matches!(self.state, State::Pictures) {
            return 0;
        }
        // The pictures within the decoder are shown before the one at which it begins anew.
        let within = self.times.iter().filter(|time| self.pictures.place(time.0).is_some()).count() as u64;
        let Some(further) = frames.checked_sub(within) else { return 0 };
        let jumped = self.pictures.jump(further);
        if jumped == 0 {
            return 0;
        }
        self.next += within + jumped;
        if self.restart().is_err() {
            self.state = State::Key;
        }
        within + jumped
    }
}

fn new_decoder() -> Result<Decoder, String> {
    // Pictures come out in the order in which they are shown: the decoder keeps them until it knows it.
    let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
    Decoder::with_api_config(OpenH264API::from_source(), config)
        .map_err(|error| format!("the decoder does not start ({error})"))
}

fn convert(converter: &mut Converter, decoded: &DecodedYUV<'_>, size: [usize; 2], target: &mut [u8]) {
    let (luma_stride, chroma_stride, _) = decoded.strides();
    let planes = Planes {
        luma: decoded.y(),
        chroma: Some([decoded.u(), decoded.v()]),
        strides: [luma_stride, chroma_stride],
        shifts: [1, 1],
    };
    converter.convert(&planes, size, target);
}
