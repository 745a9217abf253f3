//! Boxes: pieces of a file with a length and a name, one within another (ISO/IEC 14496-12).

/// The name of a box.
pub(super) type Kind = [u8; 4];

/// A box as its parent holds it.
pub(super) type NamedBox<'a> = (Kind, &'a [u8]);

/// The boxes within `bytes`, one after another.
pub(super) fn children(mut bytes: &[u8]) -> Result<Vec<NamedBox<'_>>, String> {
    let mut found = Vec::new();
    // Some writers end a list with four zero bytes.
    while bytes.len() >= 8 {
        let mut fields = Fields::new(bytes);
        let (Some(size), Some(kind)) = (fields.u32(), fields.kind()) else { break };
        let (size, head) = match size {
            0 => (bytes.len() as u64, 8),
            1 => (fields.u64().unwrap_or(0), 16),
            size => (u64::from(size), 8),
        };
        let size = usize::try_from(size).ok().filter(|&size| size >= head && size <= bytes.len());
        let Some(size) = size else {
            return Err(format!("the box {} does not fit into the {} bytes that are left", name(kind), bytes.len()));
        };
        found.push((kind, &bytes[head..size]));
        bytes = &bytes[size..];
    }
    Ok(found)
}

/// The first box called `kind` within `bytes`.
pub(super) fn child<'a>(bytes: &'a [u8], kind: &Kind) -> Result<Option<&'a [u8]>, String> {
    Ok(children(bytes)?.into_iter().find(|(found, _)| found == kind).map(|(_, content)| content))
}

/// The first box called `kind` within `bytes`, which has to be there.
pub(super) fn required<'a>(bytes: &'a [u8], kind: &Kind) -> Result<&'a [u8], String> {
    child(bytes, kind)?.ok_or_else(|| format!("expected the box {}, found none", name(*kind)))
}

/// The name of a box in messages.
pub(super) fn name(kind: Kind) -> String {
    crate::error::quoted(&kind)
}

/// The numbers of a box, one after another; `None` where it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The numbers of a box that begins with a version and 24 flags.
    pub(super) fn versioned(bytes: &'a [u8]) -> Option<(u8, u32, Self)> {
        let mut fields = Self::new(bytes);
        let word = fields.u32()?;
        Some(((word >> 24) as u8, word & 0xff_ffff, fields))
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn kind(&mut self) -> Option<Kind> {
        self.array()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number of 64 bits in version 1 of a box, of 32 bits otherwise.
    pub(super) fn wide(&mut self, version: u8) -> Option<u64> {
        if version == 1 { self.u64() } else { self.u32().map(u64::from) }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_found_or_refused() {
        let bytes = b"\0\0\0\x0afreeab\0\0\0\x01wide\0\0\0\0\0\0\0\x11c\0\0\0\0mdatdef";
        let boxes = children(bytes).unwrap();
        assert_eq!(boxes, [(*b"free", &b"ab"[..]), (*b"wide", b"c"), (*b"mdat", b"def")]);
        assert_eq!(child(bytes, b"wide"), Ok(Some(&b"c"[..])));
        assert_eq!(child(bytes, b"moov"), Ok(None));
        assert_eq!(required(bytes, b"moov").unwrap_err(), "expected the box `moov`, found none");
        for bytes in [&b"\0\0\0\x07free"[..], b"\0\0\0\x09free", b"\0\0\0\x01free", b"\xff\xff\xff\xfffree0123"] {
            let message = format!("the box `free` does not fit into the {} bytes that are left", bytes.len());
            assert_eq!(children(bytes).unwrap_err(), message);
        }
        let large = b"\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff";
        assert!(children(large).is_err());
        assert_eq!(children(b"\0\0\0\0"), Ok(Vec::new()));
    }
}
