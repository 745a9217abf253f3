//! The line of parameters at the start of a stream.

use std::io::{self, BufRead, Read};

use super::MAGIC;
use crate::colour::Colours;
use crate::error::{Origin, quoted};
use crate::{OpenOptions, VideoError};

/// The longest line that is read.
const MAX_LINE: u64 = 4096;

/// The kinds of chroma that are read: the name, and how rows and columns share samples.
const CHROMA: [(&str, Option<[u32; 2]>); 7] = [
    ("420jpeg", Some([1, 1])),
    ("420mpeg2", Some([1, 1])),
    ("420paldv", Some([1, 1])),
    ("420", Some([1, 1])),
    ("422", Some([0, 1])),
    ("444", Some([0, 0])),
    ("411", Some([0, 2])),
];

/// What the header says.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) frame_rate: Option<f64>,
    /// The base-2 logarithms of how many rows and columns share a chroma sample; `None` for shades of grey.
    pub(super) shifts: Option<[u32; 2]>,
    /// Whether a plane of opacity follows each frame.
    alpha: bool,
    /// Bits per sample, from 8 to 16. More than 8 take two bytes.
    pub(super) bits: u32,
    pub(super) colours: Colours,
}

impl Header {
    pub(super) fn parse(line: &[u8], origin: &Origin, options: &OpenOptions) -> Result<Self, VideoError> {
        let mut words = line.split(|&byte| byte == b' ');
        if words.next() != Some(MAGIC) {
            return Err(origin.damaged(format!("expected `YUV4MPEG2`, found {}", quoted(line))));
        }
        let (mut width, mut height, mut frame_rate) = (None, None, None);
        let (mut chroma, mut full_range) = ("420", None);
        for word in words.filter(|word| !word.is_empty()) {
            let text = std::str::from_utf8(word)
                .map_err(|_| origin.damaged(format!("expected a parameter in ASCII, found {}", quoted(word))))?;
            let (key, value) = text.split_at_checked(1).unwrap_or((text, ""));
            let size = || {
                let problem = || origin.damaged(format!("expected a number after `{key}`, found {}", quoted(word)));
                value.parse::<u64>().map_err(|_| problem())
            };
            match (key, value) {
                ("W", _) => width = Some(size()?),
                ("H", _) => height = Some(size()?),
                ("F", ratio) => frame_rate = parse_rate(ratio, origin)?,
                ("C", name) => chroma = name,
                ("X", "COLORRANGE=FULL") => full_range = Some(true),
                ("X", "COLORRANGE=LIMITED") => full_range = Some(false),
                // Interlacing, the shape of pixels and comments leave the samples as they are.
                _ => {}
            }
        }
        let missing = |key: &str| origin.damaged(format!("expected `{key}` in the header, found none"));
        let (height, width) = (height.ok_or_else(|| missing("H"))?, width.ok_or_else(|| missing("W"))?);
        let size = origin.check_size(height, width, options.max_pixels)?;
        let (shifts, alpha, bits) = parse_chroma(chroma).ok_or_else(|| {
            origin.unsupported("planes of 4:2:0, 4:2:2, 4:1:1, 4:4:4 or mono with 8 to 16 bits", format!("`C{chroma}`"))
        })?;
        // Shades of grey have no room below black, unless the stream says so.
        let full_range = full_range.unwrap_or(shifts.is_none());
        let colours = Colours { matrix: options.colour_matrix, full_range };
        Ok(Self { size, frame_rate, shifts, alpha, bits, colours })
    }

    /// The height and the width of the plane of luma and of each plane of chroma.
    pub(super) fn plane_sizes(&self) -> [[usize; 2]; 2] {
        let [height, width] = self.size;
        let chroma =
            self.shifts.map_or([0, 0], |[rows, columns]| [height.div_ceil(1 << rows), width.div_ceil(1 << columns)]);
        [self.size, chroma]
    }

    /// The bytes of a frame. The size has been compared with the most pixels of a frame, at most 2³⁰.
    pub(super) fn frame_length(&self) -> usize {
        let [luma, chroma] = self.plane_sizes();
        let luma = luma[0] * luma[1];
        let samples = luma + 2 * chroma[0] * chroma[1] + if self.alpha { luma } else { 0 };
        samples * if self.bits > 8 { 2 } else { 1 }
    }
}

/// Frames per second of a ratio such as `30000:1001`; `None` if it is unknown, which is written `0:0`.
fn parse_rate(ratio: &str, origin: &Origin) -> Result<Option<f64>, VideoError> {
    let parsed = ratio.split_once(':').and_then(|(n, d)| Some((n.parse::<u32>().ok()?, d.parse::<u32>().ok()?)));
    match parsed {
        Some((0, _) | (_, 0)) => Ok(None),
        Some((numerator, denominator)) => Ok(Some(f64::from(numerator) / f64::from(denominator))),
        None => {
            let problem = format!("expected a ratio after `F`, found {}", quoted(ratio.as_bytes()));
            Err(origin.damaged(problem))
        }
    }
}

/// How chroma is shared, whether there is opacity, and the bits per sample.
fn parse_chroma(name: &str) -> Option<(Option<[u32; 2]>, bool, u32)> {
    if name == "444alpha" {
        return Some((Some([0, 0]), true, 8));
    }
    if let Some(bits) = name.strip_prefix("mono") {
        return Some((None, false, if bits.is_empty() { 8 } else { parse_bits(bits)? }));
    }
    if let Some(&(_, shifts)) = CHROMA.iter().find(|(known, _)| *known == name) {
        return Some((shifts, false, 8));
    }
    let (kind, bits) = name.split_once('p')?;
    let &(_, shifts) = CHROMA.iter().find(|(known, _)| *known == kind)?;
    Some((shifts, false, parse_bits(bits)?))
}

fn parse_bits(text: &str) -> Option<u32> {
    text.parse().ok().filter(|bits| (9..=16).contains(bits))
}

/// Reads a line without its end. The inner error says what is wrong with it.
pub(super) fn read_line(input: &mut impl BufRead) -> io::Result<Result<Vec<u8>, String>> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Ok(line));
    }
    Ok(Err(format!("expected a line of fewer than {MAX_LINE} bytes, found {} bytes without an end", line.len())))
}
