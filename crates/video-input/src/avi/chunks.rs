//! The chunks of a RIFF file, one after another.
//!
//! Lengths of lists are not needed and often wrong in files whose writer was cut off: lists are entered, and what follows
//! their heads is the next chunk.

use std::io::{self, Read, Seek, SeekFrom};

/// The name of a chunk.
pub(super) type Name = [u8; 4];

/// A chunk whose content comes next in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) name: Name,
    /// The kind of a list, such as `movi`.
    pub(super) list: Option<Name>,
    pub(super) size: u32,
}

/// Walks through the chunks of a file.
#[derive(Debug)]
pub(super) struct Chunks<R> {
    input: R,
    /// Where the next chunk begins.
    next: u64,
    position: u64,
}

impl<R: Read + Seek> Chunks<R> {
    /// Begins at the start of the file.
    pub(super) fn new(input: R) -> Self {
        Self { input, next: 0, position: 0 }
    }

    /// Moves on to the next chunk; `None` at the end of the file, where a few bytes may be left.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        // Seeking by small steps keeps what has been buffered.
        if self.position != self.next {
            self.input.seek(SeekFrom::Start(self.next))?;
            self.position = self.next;
        }
        let mut head = Vec::new();
        self.read(8, &mut head)?;
        let &[a, b, c, d, e, f, g, h] = &head[..] else { return Ok(None) };
        let (name, size) = ([a, b, c, d], u32::from_le_bytes([e, f, g, h]));
        let mut list = None;
        if &name == b"RIFF" || &name == b"LIST" {
            let mut kind = Vec::new();
            self.read(4, &mut kind)?;
            let &[a, b, c, d] = &kind[..] else { return Ok(None) };
            list = Some([a, b, c, d]);
            self.next += 12;
        } else {
            // Chunks begin at even positions.
            self.next += 8 + u64::from(size) + u64::from(size % 2);
        }
        Ok(Some(Chunk { name, list, size }))
    }

    /// Appends up to `length` of the bytes that come next to `target`. Returns how many there were.
    pub(super) fn read(&mut self, length: u32, target: &mut Vec<u8>) -> io::Result<usize> {
        let read = self.input.by_ref().take(length.into()).read_to_end(target)?;
        self.position += read as u64;
        Ok(read)
    }
}
