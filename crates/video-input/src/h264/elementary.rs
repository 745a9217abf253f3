//! Streams of units behind start codes, without a container (Annex B of the standard).

use std::io::BufRead;

use super::parameters::Slice;
use super::units::kind;
use super::{Checker, MAX_PICTURE, Picture, Pictures, Place};
use crate::VideoError;
use crate::error::Origin;
use crate::open::Opening;
use crate::source::Failure;

/// How much of a stream is searched for its parameters.
const MAX_HEAD: u64 = 1 << 20;

/// Whether a file that begins so is such a stream.
pub(crate) fn begins_stream(start: &[u8]) -> bool {
    let zeros = start.iter().take_while(|&&byte| byte == 0).count();
    match start.get(zeros..) {
        Some([1, head, ..]) => zeros >= 2 && head & 0x80 == 0 && matches!(head & 31, 1 | 5..=9),
        _ => false,
    }
}

/// The units of a piece of a stream that begins with a start code.
pub(crate) fn split_units(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes = &bytes[find_start_code(bytes).unwrap_or(bytes.len())..];
    std::iter::from_fn(move || {
        let rest = bytes.get(3..)?;
        let end = find_start_code(rest).unwrap_or(rest.len());
        bytes = &rest[end..];
        Some(trim(&rest[..end]))
    })
}

fn find_start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

/// Leaves out the zeros that may follow a unit.
fn trim(unit: &[u8]) -> &[u8] {
    &unit[..unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
}

/// Looks for the parameters at the start of a stream, and gives them in the form in which the decoder takes them.
pub(crate) fn find_parameters(input: impl BufRead, checker: &mut Checker, origin: &Origin) -> Result<Picture, Opening> {
    let limits = checker.limits;
    let mut head = Picture::default();
    let mut units = Elementary::new(input.take(MAX_HEAD), origin.clone(), 1.0);
    while let Some(unit) = units.next_unit()? {
        match unit[0] & 31 {
            kind::SEQUENCE | kind::PARAMETERS => {
                checker.append(&mut head, &unit).map_err(|refusal| refusal.into_opening(origin, &limits))?;
            }
            kind::SLICE | kind::KEY_SLICE if checker.size().is_some() => break,
            _ => {}
        }
    }
    match checker.size() {
        Some(_) => Ok(head),
        None => Err(origin.damaged("expected sequence parameters, found none").into()),
    }
}

pub(crate) struct Elementary<R> {
    input: R,
    origin: Origin,
    rate: f64,
    /// What has been read: the unit that comes next, and some of what follows it.
    buffer: Vec<u8>,
    /// Whether the start code of the first unit has been found.
    begun: bool,
    decoded: i64,
}

impl<R: BufRead> Elementary<R> {
    /// Reads `input`, whose frames come at `rate` frames per second.
    pub(crate) fn new(input: R, origin: Origin, rate: f64) -> Self {
        Self { input, origin, rate, buffer: Vec::new(), begun: false, decoded: 0 }
    }

    /// Reads more. Returns whether there was more.
    fn fill(&mut self) -> Result<bool, VideoError> {
        let more = self.input.fill_buf().map_err(|source| self.origin.io(source))?;
        let length = more.len();
        self.buffer.extend(more);
        self.input.consume(length);
        Ok(length > 0)
    }

    /// The next unit, or `None` at the end.
    fn next_unit(&mut self) -> Result<Option<Vec<u8>>, VideoError> {
        let mut searched = 0;
        loop {
            match find_start_code(&self.buffer[searched..]) {
                Some(position) => {
                    let end = searched + position;
                    let unit = trim(&self.buffer[..end]).to_vec();
                    self.buffer.drain(..end + 3);
                    if std::mem::replace(&mut self.begun, true) && !unit.is_empty() {
                        return Ok(Some(unit));
                    }
                    searched = 0;
                }
                None => {
                    searched = self.buffer.len().saturating_sub(2);
                    if self.buffer.len() > MAX_PICTURE {
                        let problem = format!("expected units of at most {MAX_PICTURE} bytes, found a longer one");
                        return Err(self.origin.damaged_frame(self.decoded as u64, problem));
                    }
                    if !self.fill()? {
                        let unit = trim(&std::mem::take(&mut self.buffer)).to_vec();
                        return Ok((self.begun && !unit.is_empty()).then_some(unit));
                    }
                }
            }
        }
    }

    /// Puts a unit back in front of the others.
    fn put_back(&mut self, unit: &[u8]) {
        self.buffer.splice(..0, unit.iter().copied().chain([0, 0, 1]));
    }
}

impl<R: BufRead + Send> Pictures for Elementary<R> {
    fn next(&mut self, picture: &mut Picture, checker: &mut Checker) -> Result<Option<i64>, Failure> {
        let mut before: Option<Slice> = None;
        let mut read = false;
        while let Some(unit) = self.next_unit().map_err(Failure::End)? {
            let kind = unit.first().map_or(0, |head| head & 31);
            let slice = match kind {
                kind::SLICE | kind::KEY_SLICE => {
                    Slice::parse(&unit, |parameters| checker.frame_number_bits(parameters))
                }
                _ => None,
            };
            let begins = match (&before, &slice) {
                (Some(before), Some(slice)) => slice.begins_picture(before),
                (Some(_), None) => matches!(kind, 6..=9 | 14..=18),
                (None, _) => false,
            };
            if begins {
                self.put_back(&unit);
                break;
            }
            read = true;
            before = slice.or(before);
            if let Err(refusal) = checker.append(picture, &unit) {
                let error = refusal.into_error(&self.origin, Some(self.decoded as u64), &checker.limits);
                self.decoded += 1;
                return Err(Failure::Frame(error));
            }
        }
        if !read {
            return Ok(None);
        }
        let ticks = self.decoded;
        self.decoded += i64::from(picture.visible);
        Ok(Some(ticks))
    }

    fn place(&self, ticks: i64) -> Option<Place> {
        Some(Place { index: ticks.unsigned_abs(), time: ticks as f64 / self.rate })
    }

    fn horizon(&self) -> i64 {
        self.decoded
    }
}
