//! The handwritten digits that are bundled with the program.
//!
//! The MNIST database, introduced with "Gradient-based learning applied to document recognition", Proceedings of the IEEE
//! 86(11), 1998. The data are under CC BY-SA 3.0; licence and origin lie beside them in `data/mnist`.
//!
//! They are stored in the IDX format of the original distribution: a magic number whose bytes are 0, 0, the type of the
//! elements (8 for unsigned bytes) and the number of axes; the size of each axis; the elements. All numbers are
//! big-endian and have 32 bits.

use std::fmt;
use std::io::{self, Read};

use flate2::read::GzDecoder;
use ndarray::{Array3, ArrayView2, ArrayView3, Axis};
use thiserror::Error;

const TRAINING_IMAGES: &[u8] = include_bytes!("../../data/mnist/train-images-idx3-ubyte.gz");
const TRAINING_LABELS: &[u8] = include_bytes!("../../data/mnist/train-labels-idx1-ubyte.gz");
const TEST_IMAGES: &[u8] = include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz");
const TEST_LABELS: &[u8] = include_bytes!("../../data/mnist/t10k-labels-idx1-ubyte.gz");

/// The type of the elements in the magic number.
const UNSIGNED_BYTES: u32 = 8;

/// Why digits could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DigitsError {
    /// The file cannot be read or decompressed.
    #[error("{file}: {source}")]
    Read {
        /// The part of the digits and what the file holds of it.
        file: DigitFile,
        /// What the reader says.
        source: io::Error,
    },
    /// The file does not start as an IDX file of bytes with the right number of axes.
    #[error("{file}: expected the magic number {expected:#010x}, found {found:#010x}")]
    Magic {
        /// The part of the digits and what the file holds of it.
        file: DigitFile,
        /// The number of an IDX file of bytes with as many axes as needed.
        expected: u32,
        /// The first four bytes.
        found: u32,
    },
    /// The file ends too early.
    #[error("{file}: expected {expected} bytes, found {found}: the file is truncated")]
    Truncated {
        /// The part of the digits and what the file holds of it.
        file: DigitFile,
        /// The bytes that its header announces, or those of a header.
        expected: u64,
        /// The bytes it has.
        found: u64,
    },
    /// The file goes on behind the last element.
    #[error("{file}: expected {expected} bytes, found more")]
    TooLong {
        /// The part of the digits and what the file holds of it.
        file: DigitFile,
        /// The bytes that its header announces.
        expected: u64,
    },
    /// The images have another size than digits have.
    #[error("{file}: expected images of 28×28 pixels, found {height}×{width}")]
    ImageSize {
        /// The part of the digits and what the file holds of it.
        file: DigitFile,
        /// The height in the header.
        height: u32,
        /// The width in the header.
        width: u32,
    },
    /// The file has no digits.
    #[error("{file}: expected at least 1 digit, found 0")]
    Empty {
        /// The part of the digits and what the file holds of it.
        file: DigitFile,
    },
    /// There is not one label for each image.
    #[error("{part} digits: {images} images, but {labels} labels")]
    Count {
        /// The part of the digits.
        part: DigitPart,
        /// The number of images.
        images: u32,
        /// The number of labels.
        labels: u32,
    },
    /// A label is not a digit.
    #[error("{file}: label of item {item}: expected a digit from 0 to 9, found {found}")]
    Label {
        /// The part of the digits and what the file holds of it.
        file: DigitFile,
        /// The position of the label.
        item: usize,
        /// The label.
        found: u8,
    },
}

/// Which digits: those that train or those that test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigitPart {
    /// The 60,000 digits to train with.
    Training,
    /// The 10,000 digits to test with; other people wrote them.
    Test,
}

impl fmt::Display for DigitPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Test => "test",
        })
    }
}

/// One of the two files of a part, as errors name it: `training images`, `test labels` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigitFile {
    part: DigitPart,
    content: &'static str,
}

impl fmt::Display for DigitFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.part, self.content)
    }
}

/// Images of handwritten digits and what they show.
///
/// ```
/// use pipeline::data::{DigitPart, Digits};
///
/// let digits = Digits::bundled(DigitPart::Test)?;
/// assert_eq!(digits.images().dim(), (10_000, 28, 28));
/// assert_eq!(digits.labels()[0], 7);
/// # Ok::<(), pipeline::data::DigitsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Digits {
    part: DigitPart,
    images: Array3<u8>,
    labels: Vec<u8>,
}

impl Digits {
    /// The height and the width of an image in pixels.
    pub const SIZE: usize = 28;

    /// Decodes one part of the digits inside the program.
    ///
    /// # Errors
    /// [`DigitsError`] if they are damaged.
    pub fn bundled(part: DigitPart) -> Result<Self, DigitsError> {
        let (images, labels) = match part {
            DigitPart::Training => (TRAINING_IMAGES, TRAINING_LABELS),
            DigitPart::Test => (TEST_IMAGES, TEST_LABELS),
        };
        Self::from_idx(part, GzDecoder::new(images), GzDecoder::new(labels))
    }

    /// Reads digits from IDX files that are not, or no longer, compressed.
    ///
    /// The memory taken grows with what the files really hold, whatever their headers announce.
    ///
    /// - `part`: what the digits are for
    /// - `images`: an IDX file of bytes with the axes image, row, column
    /// - `labels`: an IDX file of bytes with one axis: the digit that each image shows
    ///
    /// # Errors
    /// [`DigitsError`] if a file is damaged, of another kind or without digits, or the two do not fit together.
    pub fn from_idx(part: DigitPart, images: impl Read, labels: impl Read) -> Result<Self, DigitsError> {
        let file = DigitFile { part, content: "images" };
        let ([count, ..], pixels) = read_idx(file, images, |[count, height, width]| {
            if [height, width] != [Self::SIZE as u32; 2] {
                return Err(DigitsError::ImageSize { file, height, width });
            }
            if count == 0 { Err(DigitsError::Empty { file }) } else { Ok(()) }
        })?;
        let shape = (count as usize, Self::SIZE, Self::SIZE);
        let images = Array3::from_shape_vec(shape, pixels).expect("as many bytes as the axes announce");

        let file = DigitFile { part, content: "labels" };
        let (_, labels) = read_idx(file, labels, |[labels]| {
            if labels == count { Ok(()) } else { Err(DigitsError::Count { part, images: count, labels }) }
        })?;
        if let Some(item) = labels.iter().position(|&label| label > 9) {
            return Err(DigitsError::Label { file, item, found: labels[item] });
        }
        Ok(Self { part, images, labels })
    }

    /// What the digits are for.
    pub fn part(&self) -> DigitPart {
        self.part
    }

    /// All images: `[digits, height, width]`, 0 for the ground and 255 for the ink.
    pub fn images(&self) -> ArrayView3<'_, u8> {
        self.images.view()
    }

    /// One image: `[height, width]`.
    ///
    /// # Panics
    /// If there is no image at `position`.
    pub fn image(&self, position: usize) -> ArrayView2<'_, u8> {
        self.images.index_axis(Axis(0), position)
    }

    /// The digit from 0 to 9 that each image shows.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }
}

/// The sizes of the axes and the elements of an IDX file of bytes; `check` sees the sizes before anything more is read.
fn read_idx<const AXES: usize>(
    file: DigitFile,
    mut reader: impl Read,
    check: impl FnOnce([u32; AXES]) -> Result<(), DigitsError>,
) -> Result<([u32; AXES], Vec<u8>), DigitsError> {
    let header_bytes = 4 * (1 + AXES as u64);
    let header = read_up_to(file, &mut reader, header_bytes)?;
    let word = |index: usize| {
        let bytes = header.get(4 * index..4 * (index + 1))?;
        Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    };
    let truncated = |expected, found| DigitsError::Truncated { file, expected, found };
    let too_short = || truncated(header_bytes, header.len() as u64);
    let (expected, found) = (UNSIGNED_BYTES << 8 | AXES as u32, word(0).ok_or_else(too_short)?);
    if found != expected {
        return Err(DigitsError::Magic { file, expected, found });
    }
    let mut sizes = [0; AXES];
    for (axis, size) in sizes.iter_mut().enumerate() {
        *size = word(1 + axis).ok_or_else(too_short)?;
    }
    check(sizes)?;
    let elements = sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(u64::from(size)));
    let expected = header_bytes.saturating_add(elements);
    let bytes = read_up_to(file, &mut reader, elements)?;
    if (bytes.len() as u64) < elements {
        return Err(truncated(expected, header_bytes + bytes.len() as u64));
    }
    if !read_up_to(file, &mut reader, 1)?.is_empty() {
        return Err(DigitsError::TooLong { file, expected });
    }
    Ok((sizes, bytes))
}

/// The next `limit` bytes, or what there is of them.
fn read_up_to(file: DigitFile, reader: &mut impl Read, limit: u64) -> Result<Vec<u8>, DigitsError> {
    let mut bytes = Vec::new();
    reader.take(limit).read_to_end(&mut bytes).map_err(|source| DigitsError::Read { file, source })?;
    bytes.shrink_to_fit();
    Ok(bytes)
}
