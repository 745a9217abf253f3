//! Numbers in the headers of H.264 streams.

/// Reads the bits of a unit from its second byte on, without the bytes that keep start codes out of it.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte, and how many of its bits have been read.
    at: usize,
    bit: u32,
    /// Zero bytes right before the next one.
    zeros: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(unit: &'a [u8]) -> Self {
        Self { bytes: unit.get(1..).unwrap_or_default(), at: 0, bit: 0, zeros: 0 }
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        if self.bit == 0 && self.zeros >= 2 && self.bytes.get(self.at) == Some(&3) {
            self.at += 1;
            self.zeros = 0;
        }
        let byte = *self.bytes.get(self.at)?;
        let flag = byte >> (7 - self.bit) & 1 == 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.at += 1;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        }
        Some(flag)
    }

    /// A number of up to 32 bits.
    pub(super) fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |number: u32, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    /// An unsigned Exp-Golomb code, ue(v) of the standard.
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.number(zeros)?)
    }

    /// A signed Exp-Golomb code, se(v) of the standard.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = self.unsigned()?;
        let half = (code / 2) as i32;
        Some(if code % 2 == 1 { half + 1 } else { -half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // 1 010 011 00100 00101 00110 00111 0001000, as in table 9-2, then a byte 3 between two zeros and a one.
        let unit = [0x67, 0b1010_0110, 0b0100_0010, 0b1001_1000, 0b1110_0010, 0b0000_0000, 0, 3, 1];
        let mut bits = Bits::new(&unit);
        for expected in 0..8 {
            assert_eq!(bits.unsigned(), Some(expected));
        }
        assert_eq!(bits.number(6 + 8 + 8), Some(1), "the byte 3 is passed over");
        assert_eq!((bits.flag(), bits.number(2), bits.unsigned()), (None, None, None));
        let mut bits = Bits::new(&[0x67, 0b1010_0110, 0b0100_0010, 0b1000_0000]);
        for expected in [0, 1, -1, 2, -2] {
            assert_eq!(bits.signed(), Some(expected));
        }
        assert_eq!(Bits::new(&[0x67, 0, 0, 1, 0, 0, 2]).unsigned(), Some(1 << 23), "23 zeros");
        assert_eq!(Bits::new(&[0x67, 1, 0, 1, 0, 0, 0, 0, 0, 0]).number(0), Some(0));
        assert_eq!(Bits::new(&[0; 40]).unsigned(), None);
    }
}
