//! The header of an `.npy` file.
//!
//! The format is that of `NumPy`'s `numpy.lib.format`, versions 1.0 to 3.0: a magic string, a version, the length of the
//! header, and a Python dictionary with the keys `descr`, `fortran_order` and `shape`. Only what arrays of plain numbers
//! need is read, without recursion, so that a damaged header costs neither memory nor stack.

const MAGIC: &[u8] = b"\x93NUMPY";

/// The largest header that `NumPy` itself reads without being told to trust the file.
const MAX_LENGTH: usize = 10_000;

/// What the header of an `.npy` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyHeader {
    /// The type of the elements, such as `<f4`.
    pub descriptor: String,
    /// Whether the first index runs fastest.
    pub fortran_order: bool,
    /// The size of every axis.
    pub shape: Vec<usize>,
    /// The number of bytes before the elements.
    pub length: usize,
}

impl NpyHeader {
    /// The most bytes that stand before the array.
    pub const MAX_BYTES: usize = MAX_LENGTH + 12;

    /// Reads the header at the start of `bytes`: the whole file, or at least its first [`MAX_BYTES`](Self::MAX_BYTES).
    ///
    /// # Errors
    /// What is wrong, in words that complete the sentence "not a complete .npy file: …".
    ///
    /// ```
    /// use video_input::NpyHeader;
    ///
    /// let mut bytes = b"\x93NUMPY\x01\x00\x3b\x00".to_vec();
    /// bytes.extend(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 7)}  \n");
    /// let header = NpyHeader::parse(&bytes[..69]).unwrap();
    /// assert_eq!((header.shape, header.length), (vec![4, 7], 69));
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as one")?;
        let (length, start) = match *rest {
            [1, 0, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 10),
            [2 | 3, 0, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 12),
            [1..=3, 0, ..] | [] | [_] => return Err("it ends within its header".to_owned()),
            [major, minor, ..] => return Err(format!("version {major}.{minor} of the format is not known")),
        };
        if length > MAX_LENGTH {
            return Err(format!("its header of {length} bytes is longer than {MAX_LENGTH}"));
        }
        let text = bytes.get(start..start + length).ok_or("it ends within its header")?;
        let text = std::str::from_utf8(text).map_err(|_| "its header is not text")?;
        let (mut descriptor, mut fortran_order, mut shape) = (None, None, None);
        let mut dictionary = Literal { rest: text.trim_start() };
        dictionary.expect('{')?;
        while !dictionary.skip('}') {
            let key = dictionary.string()?;
            dictionary.expect(':')?;
            match key {
                "descr" => descriptor = Some(dictionary.string()?.to_owned()),
                "fortran_order" => fortran_order = Some(dictionary.boolean()?),
                "shape" => shape = Some(dictionary.tuple()?),
                _ => return Err(format!("its header has an unknown key `{key}`")),
            }
            if !dictionary.skip(',') {
                dictionary.expect('}')?;
                break;
            }
        }
        if !dictionary.rest.is_empty() {
            return Err("its header goes on after the dictionary".to_owned());
        }
        let missing = |key: &str| format!("its header lacks the key `{key}`");
        Ok(Self {
            descriptor: descriptor.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            length: start + length,
        })
    }
}

/// The part of a Python literal that is still to be read, without white space before it.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    /// Whether `symbol` comes next; it is passed then.
    fn skip(&mut self, symbol: char) -> bool {
        let Some(rest) = self.rest.strip_prefix(symbol) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn expect(&mut self, symbol: char) -> Result<(), String> {
        if self.skip(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, expected: &str) -> String {
        let printable = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
        let found: String = self.rest.trim_end().chars().take(20).map(printable).collect();
        format!("its header has `{}` where {expected} is expected", found.trim_end())
    }

    fn string(&mut self) -> Result<&'a str, String> {
        for quote in ['\'', '"'] {
            let Some(text) = self.rest.strip_prefix(quote) else { continue };
            let Some((text, rest)) = text.split_once(quote) else { break };
            self.rest = rest.trim_start();
            return Ok(text);
        }
        Err(self.unexpected("a string"))
    }

    fn boolean(&mut self) -> Result<bool, String> {
        for (name, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(name) {
                self.rest = rest.trim_start();
                return Ok(value);
            }
        }
        Err(self.unexpected("True or False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut sizes = Vec::new();
        self.expect('(')?;
        while !self.skip(')') {
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            sizes.push(digits.parse().map_err(|_| self.unexpected("a size"))?);
            self.rest = rest.trim_start();
            if !self.skip(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: [u8; 2], text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("a short header").to_le_bytes();
        let length = if version[0] == 1 { &length[..2] } else { &length[..] };
        [MAGIC, &version, length, text.as_bytes()].concat()
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (149, 36, 64, 64), }   \n";
        for (version, start) in [([1, 0], 10), ([2, 0], 12), ([3, 0], 12)] {
            let header = NpyHeader::parse(&file(version, text)).unwrap();
            let expected = NpyHeader {
                descriptor: "|u1".to_owned(),
                fortran_order: false,
                shape: vec![149, 36, 64, 64],
                length: start + text.len(),
            };
            assert_eq!(header, expected, "version {version:?}");
        }
        let other = "{\"shape\":(7,),\"fortran_order\":True,\"descr\":\"<f4\"}";
        let header = NpyHeader::parse(&file([1, 0], other)).unwrap();
        assert_eq!((header.shape, header.fortran_order, header.descriptor), (vec![7], true, "<f4".to_owned()));
        let scalar = "{'descr': '<f4', 'fortran_order': False, 'shape': ()}";
        assert_eq!(NpyHeader::parse(&file([1, 0], scalar)).unwrap().shape, Vec::<usize>::new());
    }

    #[test]
    fn damaged_headers_are_refused() {
        let with = |text: &str| file([1, 0], text);
        let cases: [(Vec<u8>, &str); 14] = [
            (b"PK\x03\x04".to_vec(), "it does not begin as one"),
            (MAGIC.to_vec(), "it ends within its header"),
            (file([1, 0], "{")[..9].to_vec(), "it ends within its header"),
            (file([1, 0], "{'descr': '|u1'}")[..20].to_vec(), "it ends within its header"),
            (file([4, 0], "{}"), "version 4.0 of the format is not known"),
            ([MAGIC, &[2, 0, 0xff, 0xff, 0xff, 0xff]].concat(), "its header of 4294967295 bytes is longer than 10000"),
            (with("[1]"), "its header has `[1]` where `{` is expected"),
            (with("{'descr': '|u1', 'fortran_order': False}"), "its header lacks the key `shape`"),
            (with("{'descr': [('a', '<f4')], "), "its header has `[('a', '<f4')],` where a string is expected"),
            (with("{'fortran_order': 1"), "its header has `1` where True or False is expected"),
            (with("{'shape': (-1, 2)}"), "its header has `-1, 2)}` where a size is expected"),
            (
                with("{'shape': (99999999999999999999,)}"),
                "its header has `99999999999999999999` where a size is expected",
            ),
            (with("{'colour': 'red'}"), "its header has an unknown key `colour`"),
            (with("{} {}"), "its header goes on after the dictionary"),
        ];
        for (bytes, message) in cases {
            assert_eq!(NpyHeader::parse(&bytes).unwrap_err(), message);
        }
    }
}
