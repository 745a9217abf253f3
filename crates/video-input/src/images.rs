//! PNG and JPEG pictures: the files of a folder in natural order, or a single one.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::error::Origin;
use crate::source::{Failure, Reader};
use crate::{Frame, OpenOptions, VideoError, VideoFormat, VideoInfo};

pub(crate) const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
pub(crate) const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";

/// The most bytes that are read of a JPEG file.
const MAX_FILE: u64 = 1 << 28;

/// The ends of the names of files that are pictures.
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

pub(crate) struct ImagesReader {
    paths: Vec<PathBuf>,
    info: VideoInfo,
    max_pixels: usize,
    rate: f64,
    next: usize,
}

impl ImagesReader {
    /// Reads the pictures at `paths`, all of the size of the first.
    pub(crate) fn new(paths: Vec<PathBuf>, origin: &Origin, options: &OpenOptions) -> Result<Self, VideoError> {
        let first = paths.first().ok_or_else(|| origin.no_frames())?;
        let [height, width] = size_of(first, options.max_pixels)?;
        let frames = Some(paths.len() as u64);
        let info = VideoInfo { format: VideoFormat::Images, width, height, frame_rate: None, frames };
        let (max_pixels, rate) = (options.max_pixels, options.frame_rate_of_images);
        Ok(Self { paths, info, max_pixels, rate, next: 0 })
    }
}

impl Reader for ImagesReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        let Some(path) = self.paths.get(self.next) else { return Ok(false) };
        let index = self.next as u64;
        self.next += 1;
        let Some(frame) = frame else { return Ok(true) };
        let picture = read_picture(path, self.max_pixels).map_err(Failure::Frame)?;
        let expected = [self.info.height, self.info.width];
        let found = [picture.height() as usize, picture.width() as usize];
        let origin = Origin::new(path, VideoFormat::Images);
        origin.check_same_size(index, expected, found).map_err(Failure::Frame)?;
        frame.buffer(found).copy_from_slice(picture.into_rgb8().as_raw());
        frame.index = index;
        frame.time = index as f64 / self.rate;
        Ok(true)
    }

    fn jump(&mut self, frames: u64) -> u64 {
        let left = self.paths.len() - self.next;
        let jumped = usize::try_from(frames).map_or(left, |frames| frames.min(left));
        self.next += jumped;
        jumped as u64
    }
}

/// The pictures in a folder, in natural order. Files with a dot before their name are left out.
pub(crate) fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && has_extension(&path, &EXTENSIONS) {
            paths.push(path);
        }
    }
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    paths.sort_by(|left, right| natural_order(&name(left), &name(right)).then_with(|| left.cmp(right)));
    Ok(paths)
}

/// Whether the name of a file ends in one of `extensions`, in upper or lower case.
pub(crate) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
}

/// Compares names so that numbers in them count by their value: `frame2` comes before `frame10`.
fn natural_order(mut left: &str, mut right: &str) -> Ordering {
    fn take_number<'a>(text: &mut &'a str) -> Option<&'a str> {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        *text = rest;
        (!digits.is_empty()).then_some(digits)
    }
    fn take_letter(text: &mut &str) -> Option<char> {
        let mut letters = text.chars();
        let letter = letters.next();
        *text = letters.as_str();
        letter
    }
    while !left.is_empty() && !right.is_empty() {
        let both = left.as_bytes()[0].is_ascii_digit() && right.as_bytes()[0].is_ascii_digit();
        let order = if both {
            let value = |digits: &'_ str| digits.trim_start_matches('0').len();
            let numbers = [take_number(&mut left), take_number(&mut right)].map(Option::unwrap_or_default);
            let significant = numbers.map(|digits| digits.trim_start_matches('0'));
            let lengths = value(numbers[0]).cmp(&value(numbers[1]));
            lengths.then_with(|| significant[0].cmp(significant[1]))
        } else {
            take_letter(&mut left).cmp(&take_letter(&mut right))
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

fn open_picture(path: &Path) -> Result<ImageReader<BufReader<File>>, VideoError> {
    let failed = |source| VideoError::Io { path: path.to_owned(), source };
    let reader = ImageReader::new(BufReader::new(File::open(path).map_err(failed)?));
    let reader = reader.with_guessed_format().map_err(failed)?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg) => Ok(reader),
        _ => {
            let origin = Origin::new(path, VideoFormat::Images);
            Err(origin.unsupported("a PNG or JPEG picture", "something else"))
        }
    }
}

fn size_of(path: &Path, max_pixels: usize) -> Result<[usize; 2], VideoError> {
    let origin = Origin::new(path, VideoFormat::Images);
    let mut decoder = open_picture(path)?.into_decoder().map_err(|error| decode_error(&origin, error))?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let [height, width] = origin.check_size(height.into(), width.into(), max_pixels)?;
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let turned = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    Ok(if turned { [width, height] } else { [height, width] })
}

fn read_picture(path: &Path, max_pixels: usize) -> Result<DynamicImage, VideoError> {
    let origin = Origin::new(path, VideoFormat::Images);
    let reader = open_picture(path)?;
    if reader.format() != Some(ImageFormat::Jpeg) {
        return decode(reader, &origin, max_pixels);
    }
    let mut bytes = Vec::new();
    let read = reader.into_inner().take(MAX_FILE).read_to_end(&mut bytes);
    read.map_err(|source| origin.io(source))?;
    // The decoder fills what is missing of a picture with grey.
    if !is_complete(&bytes) {
        return Err(origin.damaged("expected the end of the picture, found the end of the file"));
    }
    decode(ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg), &origin, max_pixels)
}

/// Whether the data of a JPEG picture are followed by the mark of its end, which cannot occur within them.
fn is_complete(bytes: &[u8]) -> bool {
    let find = |bytes: &[u8], mark: u8| bytes.windows(2).rposition(|window| window == [0xff, mark]);
    find(bytes, 0xda).is_some_and(|data| find(&bytes[data..], 0xd9).is_some())
}

/// Decodes a JPEG picture in memory.
pub(crate) fn decode_jpeg(bytes: &[u8], max_pixels: usize) -> Result<DynamicImage, String> {
    let reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg);
    let origin = Origin::stream(VideoFormat::Images);
    decode(reader, &origin, max_pixels).map_err(|error| match error {
        VideoError::Damaged { problem, .. } => problem,
        error => error.to_string(),
    })
}

fn decode<R: BufRead + Seek>(
    mut reader: ImageReader<R>,
    origin: &Origin,
    max_pixels: usize,
) -> Result<DynamicImage, VideoError> {
    let failed = |error| decode_error(origin, error);
    // Up to four channels of 16 bits, and as much again for what the decoder keeps.
    let mut limits = Limits::default();
    limits.max_alloc = Some((max_pixels as u64).saturating_mul(16).saturating_add(1 << 20));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    origin.check_size(height.into(), width.into(), max_pixels)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn decode_error(origin: &Origin, error: ImageError) -> VideoError {
    match error {
        ImageError::IoError(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => origin.io(source),
        error => origin.damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_value() {
        let ordered = [
            "a",
            "a1.png",
            "a2.png",
            "a02b.png",
            "a10.png",
            "a11.png",
            "a99999999999999999999999.png",
            "a100000000000000000000000.png",
            "b1",
            "b1x2",
            "b1x10",
            "é2",
            "é10",
        ];
        for (i, left) in ordered.iter().enumerate() {
            for (j, right) in ordered.iter().enumerate() {
                assert_eq!(natural_order(left, right), i.cmp(&j), "{left} and {right}");
            }
        }
    }
}
