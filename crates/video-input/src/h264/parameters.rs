//! What a stream says about its pictures: sequence and picture parameter sets (clauses 7.3.2.1, 7.3.2.2 and E.1.1 of the
//! standard, ITU-T H.264).

use super::bits::Bits;
use crate::ColourMatrix;

/// The profiles whose parameter sets state the layout of chroma.
const HIGH_PROFILES: [u32; 13] = [44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244];

/// The number of a VUI that stands for "see the two numbers that follow".
const EXTENDED_ASPECT_RATIO: u32 = 255;

/// A sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sequence {
    pub(super) id: u32,
    /// 1 is 4:2:0.
    pub(super) chroma_format: u32,
    pub(super) bits: u32,
    pub(super) interlaced: bool,
    /// The bits of the number of a frame in the header of a slice.
    pub(super) frame_number_bits: u32,
    /// The height and the width that are coded, in pixels.
    pub(super) coded: [u64; 2],
    /// The height and the width that are shown.
    pub(super) size: [u64; 2],
    pub(super) full_range: bool,
    pub(super) matrix: Option<ColourMatrix>,
    pub(super) frame_rate: Option<f64>,
}

impl Sequence {
    /// Reads a unit of type 7. `None` if it ends too early or a number is outside what the standard allows.
    pub(super) fn parse(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(unit);
        let profile = bits.number(8)?;
        bits.number(16)?; // The constraints and the level.
        let id = bits.unsigned().filter(|&id| id < 32)?;
        let (mut chroma_format, mut depth) = (1, 8);
        if HIGH_PROFILES.contains(&profile) {
            chroma_format = bits.unsigned().filter(|&format| format <= 3)?;
            if chroma_format == 3 {
                bits.flag()?; // Separate planes of colour.
            }
            let [luma, chroma] = [bits.unsigned()?, bits.unsigned()?];
            depth = 8 + luma.max(chroma).min(6);
            bits.flag()?; // Lossless transform.
            if bits.flag()? {
                skip_scaling_lists(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        let frame_number_bits = bits.unsigned().filter(|&bits| bits <= 12)? + 4;
        skip_picture_order(&mut bits)?;
        bits.unsigned()?; // The number of reference frames.
        bits.flag()?; // Whether numbers of frames may be left out.
        let [columns, rows] = [bits.unsigned()?, bits.unsigned()?].map(|blocks| u64::from(blocks) + 1);
        let interlaced = !bits.flag()?;
        if interlaced {
            bits.flag()?; // Frames and fields by macroblock.
        }
        bits.flag()?; // How motion of 8x8 blocks is inferred.
        let rows = rows * if interlaced { 2 } else { 1 };
        let coded = [rows.checked_mul(16)?, columns.checked_mul(16)?];
        let mut size = coded;
        if bits.flag()? {
            let [left, right, top, bottom] = [0; 4].map(|_| bits.unsigned().map(u64::from));
            let unit = [
                if chroma_format == 1 { 2 } else { 1 } * if interlaced { 2 } else { 1 },
                if matches!(chroma_format, 1 | 2) { 2 } else { 1 },
            ];
            size[0] = size[0].checked_sub((top? + bottom?) * unit[0]).filter(|&side| side > 0)?;
            size[1] = size[1].checked_sub((left? + right?) * unit[1]).filter(|&side| side > 0)?;
        }
        let mut sequence = Self {
            id,
            chroma_format,
            bits: depth,
            interlaced,
            frame_number_bits,
            coded,
            size,
            full_range: false,
            matrix: None,
            frame_rate: None,
        };
        if bits.flag()? {
            // What these fields say is not needed for decoding: a stream that cuts them off is read.
            let _ = sequence.parse_usability(&mut bits);
        }
        Some(sequence)
    }

    /// Reads the colours and the frame rate of the video usability information.
    fn parse_usability(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        if bits.flag()? && bits.number(8)? == EXTENDED_ASPECT_RATIO {
            bits.number(32)?;
        }
        if bits.flag()? {
            bits.flag()?; // Whether the picture is meant to be cut at its edges.
        }
        if bits.flag()? {
            bits.number(3)?; // PAL, NTSC and the like.
            self.full_range = bits.flag()?;
            if bits.flag()? {
                bits.number(16)?; // Primaries and transfer.
                self.matrix = match bits.number(8)? {
                    1 => Some(ColourMatrix::Bt709),
                    5 | 6 => Some(ColourMatrix::Bt601),
                    9 => Some(ColourMatrix::Bt2020),
                    _ => None,
                };
            }
        }
        if bits.flag()? {
            bits.unsigned()?; // Where chroma is sampled.
            bits.unsigned()?;
        }
        if bits.flag()? {
            let [ticks, scale] = [bits.number(32)?, bits.number(32)?].map(f64::from);
            if ticks > 0.0 && scale > 0.0 {
                // Two ticks make a frame.
                self.frame_rate = Some(scale / ticks / 2.0);
            }
        }
        Some(())
    }
}

fn skip_scaling_lists(bits: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed()?.clamp(-128, 127) + 256) % 256;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.flag()?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.unsigned().filter(|&count| count < 256)? {
                bits.signed()?;
            }
        }
        2 => {}
        _ => return None,
    }
    Some(())
}

/// The number of a picture parameter set and of the sequence that it belongs to.
pub(super) fn parse_picture_parameters(unit: &[u8]) -> Option<[u32; 2]> {
    let mut bits = Bits::new(unit);
    Some([bits.unsigned().filter(|&id| id < 256)?, bits.unsigned().filter(|&id| id < 32)?])
}

/// What the header of a slice says about its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) first_block: u32,
    pub(super) parameters: u32,
    pub(super) frame_number: u32,
    pub(super) key: bool,
    pub(super) reference: bool,
}

impl Slice {
    /// Reads the start of a unit of type 1 or 5. `frame_number_bits` gives the bits of the number of the frame by the
    /// number of its parameters.
    pub(super) fn parse(unit: &[u8], frame_number_bits: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        let mut bits = Bits::new(unit);
        let first_block = bits.unsigned()?;
        bits.unsigned()?; // The type of the slice.
        let parameters = bits.unsigned()?;
        let frame_number = bits.number(frame_number_bits(parameters)?)?;
        let head = *unit.first()?;
        Some(Self { first_block, parameters, frame_number, key: head & 31 == 5, reference: head >> 5 & 3 != 0 })
    }

    /// Whether this slice belongs to another picture than `before`.
    pub(super) fn begins_picture(&self, before: &Self) -> bool {
        Self { first_block: before.first_block, ..*self } != *before || self.first_block == 0
    }
}
