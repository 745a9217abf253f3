//! The units of a stream, and which of them the decoder gets.

use super::parameters::{Sequence, parse_picture_parameters};
use crate::ColourMatrix;
use crate::colour::Colours;
use crate::error::Origin;
use crate::open::Opening;
use crate::{OpenOptions, VideoError};

/// The most bytes of the units of one picture. An uncompressed picture of the largest size that the decoder knows is
/// smaller.
pub(crate) const MAX_PICTURE: usize = 1 << 25;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The types of units that are told apart, `nal_unit_type` of the standard.
pub(super) mod kind {
    pub(crate) const SLICE: u8 = 1;
    pub(crate) const PARTITIONS: std::ops::RangeInclusive<u8> = 2..=4;
    pub(crate) const KEY_SLICE: u8 = 5;
    pub(crate) const SEQUENCE: u8 = 7;
    pub(crate) const PARAMETERS: u8 = 8;
}

/// The units of one picture, each behind a start code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    pub(crate) bytes: Vec<u8>,
    /// Whether there is a part of a picture among them.
    pub(crate) visible: bool,
    /// Whether decoding can begin here.
    pub(crate) key: bool,
}

impl Picture {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        (self.visible, self.key) = (false, false);
    }
}

/// Why a unit is not handed to the decoder.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// It is broken.
    Damaged(String),
    /// It is of a kind that the decoder does not know.
    Unknown(String),
    /// Its pictures have more pixels than allowed: height and width.
    TooLarge([u64; 2]),
}

impl Refusal {
    /// Why a file with such parameters is not opened.
    pub(crate) fn into_opening(self, origin: &Origin, limits: &Limits) -> Opening {
        match self {
            Self::Unknown(found) => Opening::Other(format!("{} with H.264 of {found}", origin.format)),
            refusal => refusal.into_error(origin, None, limits).into(),
        }
    }

    pub(crate) fn into_error(self, origin: &Origin, frame: Option<u64>, limits: &Limits) -> VideoError {
        match (self, frame) {
            (Self::Damaged(problem), None) => origin.damaged(problem),
            (Self::Damaged(problem), Some(frame)) => origin.damaged_frame(frame, problem),
            (Self::Unknown(found), _) => origin.unsupported("H.264 in 4:2:0 of 8 bits without interlacing", found),
            (Self::TooLarge([height, width]), _) => {
                VideoError::TooLarge { path: origin.path.clone(), height, width, max_pixels: limits.max_pixels }
            }
        }
    }
}

/// What holds for all streams that are opened with the same options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_pixels: usize,
    /// The matrix of streams that state none.
    pub(crate) matrix: ColourMatrix,
}

impl Limits {
    pub(crate) fn new(options: &OpenOptions) -> Self {
        Self { max_pixels: options.max_pixels, matrix: options.colour_matrix }
    }
}

/// Checks the units of a stream, and knows its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    pub(crate) limits: Limits,
    sequences: [Option<Sequence>; 32],
    /// The sequence of each set of picture parameters.
    sequence_of: Vec<Option<u8>>,
    latest: Option<Sequence>,
}

impl Checker {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, sequences: [None; 32], sequence_of: vec![None; 256], latest: None }
    }

    /// Appends `unit` to `picture`, if the decoder needs it.
    pub(crate) fn append(&mut self, picture: &mut Picture, unit: &[u8]) -> Result<(), Refusal> {
        let Some(&head) = unit.first() else { return Err(Refusal::Damaged("expected a unit, found no byte".into())) };
        if head & 0x80 != 0 {
            return Err(Refusal::Damaged(format!("expected the head of a unit, found the byte {head:#04x}")));
        }
        match head & 31 {
            kind::SEQUENCE => self.add_sequence(unit)?,
            kind::PARAMETERS => {
                let [parameters, sequence] = parse_picture_parameters(unit)
                    .ok_or_else(|| Refusal::Damaged("picture parameters that end too early".into()))?;
                self.sequence_of[parameters as usize] = Some(sequence as u8);
            }
            kind @ (kind::SLICE | kind::KEY_SLICE) => {
                if self.latest.is_none() {
                    return Err(Refusal::Damaged("expected sequence parameters before the first picture".into()));
                }
                picture.visible = true;
                picture.key |= kind == kind::KEY_SLICE;
            }
            kind if kind::PARTITIONS.contains(&kind) => {
                return Err(Refusal::Unknown("slices in partitions".into()));
            }
            // Hints, delimiters, further layers and views, filling: a picture is decoded without them.
            _ => return Ok(()),
        }
        if picture.bytes.len() + START_CODE.len() + unit.len() > MAX_PICTURE {
            return Err(Refusal::Damaged(format!("expected at most {MAX_PICTURE} bytes, found more")));
        }
        picture.bytes.extend(START_CODE);
        picture.bytes.extend(unit);
        Ok(())
    }

    fn add_sequence(&mut self, unit: &[u8]) -> Result<(), Refusal> {
        let sequence =
            Sequence::parse(unit).ok_or_else(|| Refusal::Damaged("sequence parameters that make no sense".into()))?;
        if sequence.chroma_format != 1 {
            let name = ["shades of grey", "4:2:0", "4:2:2", "4:4:4"][sequence.chroma_format as usize];
            return Err(Refusal::Unknown(name.into()));
        }
        if sequence.bits != 8 {
            return Err(Refusal::Unknown(format!("{} bits", sequence.bits)));
        }
        if sequence.interlaced {
            return Err(Refusal::Unknown("interlacing".into()));
        }
        let pixels = sequence.coded[0].checked_mul(sequence.coded[1]);
        // The coded size exceeds the size that is shown by less than a block.
        let allowed = self.limits.max_pixels as u64 + 16 * (sequence.coded[0] + sequence.coded[1]);
        if pixels.is_none_or(|pixels| pixels > allowed) {
            return Err(Refusal::TooLarge(sequence.coded));
        }
        self.sequences[sequence.id as usize] = Some(sequence);
        self.latest = Some(sequence);
        Ok(())
    }

    /// The bits of the number of a frame whose slices name these `parameters`.
    pub(super) fn frame_number_bits(&self, parameters: u32) -> Option<u32> {
        let sequence = (*self.sequence_of.get(parameters as usize)?)?;
        Some(self.sequences[usize::from(sequence)]?.frame_number_bits)
    }

    /// The height and the width of the pictures.
    pub(crate) fn size(&self) -> Option<[u64; 2]> {
        self.latest.map(|sequence| sequence.size)
    }

    pub(crate) fn frame_rate(&self) -> Option<f64> {
        self.latest.and_then(|sequence| sequence.frame_rate)
    }

    pub(crate) fn colours(&self) -> Colours {
        let stated = self.latest.and_then(|sequence| sequence.matrix);
        let full_range = self.latest.is_some_and(|sequence| sequence.full_range);
        Colours { matrix: stated.unwrap_or(self.limits.matrix), full_range }
    }
}
