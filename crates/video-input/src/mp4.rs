//! MP4 and `QuickTime` files, whole or in fragments. The tables are read first, then the pictures one by one.
//!
//! The tables are read here, and not by a library, because all numbers in them come from the file: each is compared with
//! the length of the file or of its box before it is used as an index, a length or a count.

mod boxes;
mod fragments;
mod samples;
mod track;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use self::boxes::{Fields, Kind, child, name};
use self::fragments::{Defaults, Fragments};
use self::samples::{Sample, check_total};
use self::track::{AvcConfiguration, Codec, Track};
use crate::error::Origin;
use crate::h264::{Checker, H264Reader, Limits, MAX_PICTURE, Picture, Pictures, Place};
use crate::open::Opening;
use crate::source::Failure;
use crate::{OpenOptions, VideoError, VideoFormat, VideoInfo};

/// The most bytes of the tables of a file, and of those of a fragment.
const MAX_TABLES: u64 = 1 << 28;

/// The most boxes that a file consists of.
const MAX_BOXES: usize = 1 << 20;

/// The names of the box with which a file begins.
const FIRST_BOXES: [&Kind; 8] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"];

/// Whether a file that begins so consists of boxes.
pub(crate) fn begins_file(start: &[u8]) -> bool {
    start.get(4..8).is_some_and(|kind| FIRST_BOXES.iter().any(|first| *first == kind))
}

/// Opens a file.
pub(crate) fn open(file: File, origin: Origin, options: &OpenOptions) -> Result<H264Reader<Samples>, Opening> {
    let length = file.metadata().map_err(|source| origin.io(source))?.len();
    let mut file = BufReader::new(file);
    let track = read_track(&mut file, length, &origin)?;
    let configuration = match track.codec {
        Codec::H264(configuration) => configuration,
        Codec::Encrypted => return Err(origin.unsupported("a video without encryption", "an encrypted one").into()),
        Codec::Other(kind) => return Err(Opening::Other(format!("MP4 with the codec {}", name(kind)))),
    };
    if track.samples.is_empty() {
        return Err(origin.no_frames().into());
    }
    check_total(&track.samples, length).map_err(|problem| origin.damaged(problem))?;
    let limits = Limits::new(options);
    let mut checker = Checker::new(limits);
    let mut head = Picture::default();
    for unit in &configuration.units {
        checker.append(&mut head, unit).map_err(|refusal| refusal.into_opening(&origin, &limits))?;
    }
    let AvcConfiguration { length_bytes, size, .. } = configuration;
    let [height, width] = checker.size().unwrap_or(size);
    let size = origin.check_size(height, width, options.max_pixels)?;
    let [height, width] = track.orientation.turned_size(size);
    let samples = Samples::new(file, origin.clone(), &track.samples, length_bytes, track.time_scale, track.shown);
    let frame_rate = samples.frame_rate();
    let frames = Some(samples.shown_count());
    let info = VideoInfo { format: VideoFormat::Mp4, width, height, frame_rate, frames };
    Ok(H264Reader::new(samples, origin, info, track.orientation, head, checker)?)
}

/// Reads the tables of the first video track, in the film and in all fragments.
fn read_track(file: &mut (impl Read + Seek), length: u64, origin: &Origin) -> Result<Track, VideoError> {
    let damaged = |problem: String| origin.damaged(problem);
    let mut track: Option<Track> = None;
    let mut fragments: Option<Fragments> = None;
    let mut seen = Vec::new();
    let mut position = 0;
    for count in 0.. {
        let Some((kind, content, end)) = read_box_head(file, position, length, origin)? else { break };
        if count == MAX_BOXES {
            return Err(damaged(format!("expected at most {MAX_BOXES} boxes, found more")));
        }
        if seen.len() < 8 {
            seen.push(name(kind));
        }
        match &kind {
            b"moov" if track.is_none() => {
                let film = read_content(file, content, end, length, origin)?;
                let found = track::find(&film, length).map_err(damaged)?;
                let found = found.ok_or_else(|| origin.unsupported("a video", "MP4 without a video track"))?;
                if let Some(extends) = child(&film, b"mvex").map_err(damaged)? {
                    let defaults = Defaults::parse_all(extends).map_err(damaged)?;
                    let (samples, time) = (Vec::new(), found.end);
                    fragments = Some(Fragments { track: found.id, defaults, samples, time, file_length: length });
                }
                track = Some(found);
            }
            b"moof" => {
                if let Some(fragments) = &mut fragments {
                    let content = read_content(file, content, end, length, origin)?;
                    fragments.add(&content, position).map_err(damaged)?;
                }
            }
            _ => {}
        }
        position = end;
    }
    let mut track =
        track.ok_or_else(|| damaged(format!("expected the box `moov`, found {} and no other", seen.join(", "))))?;
    if let Some(fragments) = fragments {
        track.samples.extend(fragments.samples);
    }
    Ok(track)
}

/// The name of the box at `position`, where its content begins, and where it ends; `None` at the end of the file.
fn read_box_head(
    file: &mut (impl Read + Seek),
    position: u64,
    length: u64,
    origin: &Origin,
) -> Result<Option<(Kind, u64, u64)>, VideoError> {
    if position >= length {
        return Ok(None);
    }
    let failed = |source| origin.io(source);
    file.seek(SeekFrom::Start(position)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(16).read_to_end(&mut bytes).map_err(failed)?;
    let mut fields = Fields::new(&bytes);
    // A few bytes that are left over at the end of a file are no box.
    let (Some(size), Some(kind)) = (fields.u32(), fields.kind()) else { return Ok(None) };
    let (size, head) = match size {
        0 => (length - position, 8),
        1 => (fields.u64().unwrap_or(0), 16),
        size => (u64::from(size), 8),
    };
    let end = position.checked_add(size).filter(|_| size >= head);
    let end = end.ok_or_else(|| origin.damaged(format!("the box {} states a length of {size} bytes", name(kind))))?;
    Ok(Some((kind, position + head, end)))
}

fn read_content(
    file: &mut (impl Read + Seek),
    start: u64,
    end: u64,
    length: u64,
    origin: &Origin,
) -> Result<Vec<u8>, VideoError> {
    if end > length {
        let problem = format!("the tables end at byte {end}, but the file at byte {length}");
        return Err(origin.damaged(problem));
    }
    if end - start > MAX_TABLES {
        return Err(origin.damaged(format!("expected tables of at most {MAX_TABLES} bytes, found {}", end - start)));
    }
    let failed = |source| origin.io(source);
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A picture at which decoding can begin.
#[derive(Clone, Copy, Debug)]
struct Start {
    position: usize,
    /// The frames that are shown before it.
    shown_before: u64,
}

/// The pictures of a track, read from the file one by one.
pub(crate) struct Samples {
    file: BufReader<File>,
    origin: Origin,
    samples: Vec<Sample>,
    starts: Vec<Start>,
    next: usize,
    /// The frames that are shown among the pictures before the next one.
    shown_read: u64,
    length_bytes: usize,
    time_scale: u32,
    /// The times of the first frame that is shown and of the first one after it that is not.
    shown: [i64; 2],
    /// The times of all frames that are shown, in order.
    times: Vec<i64>,
    stored: Vec<u8>,
}

impl Samples {
    fn new(
        file: BufReader<File>,
        origin: Origin,
        samples: &[Sample],
        length_bytes: usize,
        time_scale: u32,
        shown: [i64; 2],
    ) -> Self {
        let visible = |shown| samples.iter().map(|sample| sample.time).filter(|&time| shows(shown, time)).collect();
        let mut times: Vec<i64> = visible(shown);
        // A part of the track without any picture is a mistake of its writer.
        let shown = if times.is_empty() { [i64::MIN, i64::MAX] } else { shown };
        if times.is_empty() {
            times = visible(shown);
        }
        times.sort_unstable();
        let (starts, samples) = (find_starts(samples, shown), samples.to_vec());
        let (next, shown_read, stored) = (0, 0, Vec::new());
        Self { file, origin, samples, starts, next, shown_read, length_bytes, time_scale, shown, times, stored }
    }

    fn shown_count(&self) -> u64 {
        self.times.len() as u64
    }

    /// The mean number of frames per second; `None` of a single frame.
    fn frame_rate(&self) -> Option<f64> {
        let ticks = self.times.last()?.checked_sub(*self.times.first()?).filter(|&ticks| ticks > 0)?;
        Some((self.times.len() - 1) as f64 * f64::from(self.time_scale) / ticks as f64)
    }

    fn read_sample(&mut self, sample: Sample, picture: &mut Picture, checker: &mut Checker) -> Result<(), Failure> {
        let frame = self.next as u64 - 1;
        let damaged = |problem: String| Failure::Frame(self.origin.damaged_frame(frame, problem));
        if sample.size as usize > MAX_PICTURE {
            return Err(damaged(format!("expected at most {MAX_PICTURE} bytes, found {}", sample.size)));
        }
        let failed = |source| Failure::End(self.origin.io(source));
        self.file.seek(SeekFrom::Start(sample.offset)).map_err(failed)?;
        self.stored.clear();
        let found = self.file.by_ref().take(sample.size.into()).read_to_end(&mut self.stored).map_err(failed)?;
        if found < sample.size as usize {
            return Err(damaged(format!("expected {} bytes, found {found}", sample.size)));
        }
        let mut fields = Fields::new(&self.stored);
        while !fields.rest().is_empty() {
            let left = fields.rest().len();
            let length = fields
                .take(self.length_bytes)
                .map(|bytes| bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)));
            match length.and_then(|length| fields.take(length)) {
                // Some writers leave units empty.
                Some([]) => {}
                Some(unit) => checker.append(picture, unit).map_err(|refusal| {
                    Failure::Frame(refusal.into_error(&self.origin, Some(frame), &checker.limits))
                })?,
                None => {
                    let length = length.map_or_else(|| "a part of a length".to_owned(), |length| length.to_string());
                    return Err(damaged(format!("a unit of {length} bytes does not fit into the {left} bytes left")));
                }
            }
        }
        Ok(())
    }
}

fn shows([start, end]: [i64; 2], time: i64) -> bool {
    start <= time && time < end
}

impl Pictures for Samples {
    fn next(&mut self, picture: &mut Picture, checker: &mut Checker) -> Result<Option<i64>, Failure> {
        let Some(&sample) = self.samples.get(self.next) else { return Ok(None) };
        self.next += 1;
        self.shown_read += u64::from(shows(self.shown, sample.time));
        self.read_sample(sample, picture, checker)?;
        Ok(Some(sample.time))
    }

    fn place(&self, ticks: i64) -> Option<Place> {
        let time = ticks.saturating_sub(*self.times.first()?) as f64 / f64::from(self.time_scale);
        let index = self.times.partition_point(|&time| time < ticks) as u64;
        shows(self.shown, ticks).then_some(Place { index, time })
    }

    fn horizon(&self) -> i64 {
        let rest = &self.samples[self.next.saturating_sub(1)..];
        rest.iter().map(|sample| sample.time).min().unwrap_or(i64::MAX)
    }

    fn jump(&mut self, frames: u64) -> u64 {
        let reachable =
            self.starts.partition_point(|start| start.shown_before <= self.shown_read.saturating_add(frames));
        let Some(start) = self.starts[..reachable].last() else { return 0 };
        let skipped = start.shown_before.saturating_sub(self.shown_read);
        if start.position <= self.next || skipped == 0 {
            return 0;
        }
        (self.next, self.shown_read) = (start.position, start.shown_before);
        skipped
    }
}

/// The pictures at which decoding can begin without those before them, while all of those are shown earlier.
fn find_starts(samples: &[Sample], shown: [i64; 2]) -> Vec<Start> {
    let mut earliest_after = i64::MAX;
    let mut starts = Vec::new();
    for (position, sample) in samples.iter().enumerate().rev() {
        earliest_after = earliest_after.min(sample.time);
        if sample.key && sample.time == earliest_after {
            starts.push(Start { position, shown_before: 0 });
        }
    }
    starts.reverse();
    let (mut read, mut shown_before, mut latest_before) = (0, 0, None);
    starts.retain_mut(|start| {
        for sample in &samples[read..start.position] {
            shown_before += u64::from(shows(shown, sample.time));
            latest_before = latest_before.max(Some(sample.time));
        }
        (read, start.shown_before) = (start.position, shown_before);
        latest_before < Some(samples[start.position].time)
    });
    starts
}
