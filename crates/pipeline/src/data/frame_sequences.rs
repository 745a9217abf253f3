//! Sequences of single-channel frames, all of one length and size: the bundled radar, Moving MNIST, or a person's file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ndarray::{Array3, Array4, ArrayView3, Axis, Ix4, ShapeBuilder, Slice, stack};
use rayon::prelude::*;
use thiserror::Error;
use video_input::NpyHeader;

use super::{SequenceDraw, SequenceVariationConfig};
use crate::random::{Purpose, generator};

/// Why sequences of frames cannot be read or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameFileError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is no `.npy` file, or its header is damaged.
    #[error("{}: not a complete .npy file: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The array has another type of element.
    #[error("{}: expected elements of type u8 (`|u1`) or f32 (`<f4`, `>f4`), found `{found}`", path.display())]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The type, as `NumPy` writes it.
        found: String,
    },
    /// The array has another number of axes.
    #[error("{}: expected an array [sequences, time, height, width] or [time, height, width], found shape {found:?}",
        path.display())]
    Rank {
        /// The file.
        path: PathBuf,
        /// The shape of the array.
        found: Vec<usize>,
    },
    /// An axis of the array is empty.
    #[error("{}: expected at least one entry along every axis, found shape {found:?}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The shape of the array.
        found: Vec<usize>,
    },
    /// The file has fewer or more bytes than its header asks for.
    #[error("{}: an array of shape {shape:?} takes {expected} bytes after the header, found {found}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// The shape that the header states.
        shape: Vec<usize>,
        /// The number of bytes of such an array.
        expected: u128,
        /// The number of bytes after the header.
        found: u64,
    },
    /// A value cannot be the brightness of a pixel.
    #[error("{}: value at {index:?}: expected a number from 0 to 1, found {found}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Its position: sequence, time, row, column.
        index: [usize; 4],
        /// The value.
        found: f32,
    },
    /// The sequences are too short for the task.
    #[error("{}: expected at least {needed} frames per sequence, found {found}", path.display())]
    TooFewFrames {
        /// The file.
        path: PathBuf,
        /// The number of frames that the task takes.
        needed: usize,
        /// The number of frames there are.
        found: usize,
    },
}

/// Some sequences of frames, `[sequences, time, height, width]`, kept as they were stored.
///
/// A byte `q` stands for the value `q/255`; f32 values are from 0 to 1.
///
/// ```
/// use ndarray::Array4;
/// use pipeline::data::FrameSequences;
///
/// let sequences = FrameSequences::from_bytes(Array4::from_elem((2, 36, 8, 8), 51));
/// let window = sequences.window(1, 5, 20);
/// assert_eq!(window.dim(), (20, 8, 8));
/// assert_eq!(window[[0, 0, 0]], 0.2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FrameSequences {
    frames: Frames,
}

#[derive(Clone, Debug, PartialEq)]
enum Frames {
    Bytes(Array4<u8>),
    Floats(Array4<f32>),
}

impl FrameSequences {
    /// The sequences of `frames`, `[sequences, time, height, width]`.
    pub fn from_bytes(frames: Array4<u8>) -> Self {
        Self { frames: Frames::Bytes(frames) }
    }

    /// Reads an `.npy` file: u8 or f32, `[sequences, time, height, width]` or `[time, height, width]` for a single
    /// sequence, in C or Fortran order.
    ///
    /// No more memory is taken than the file is long.
    ///
    /// # Errors
    /// [`FrameFileError`] if the file is damaged, of another type or rank, has values outside 0 to 1 (NaN among them), or
    /// its sequences have fewer than `min_frames` frames.
    pub fn read_npy(path: &Path, min_frames: usize) -> Result<Self, FrameFileError> {
        let at = || path.to_owned();
        let failed = |source| FrameFileError::Io { path: at(), source };
        let mut file = File::open(path).map_err(failed)?;
        let file_length = file.metadata().map_err(failed)?.len();
        let mut start = Vec::new();
        file.by_ref().take(NpyHeader::MAX_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
        let header = NpyHeader::parse(&start).map_err(|problem| FrameFileError::Format { path: at(), problem })?;
        let size = match header.descriptor.as_str() {
            "|u1" | "u1" | "B" => 1,
            "<f4" | ">f4" => 4,
            _ => return Err(FrameFileError::ElementType { path: at(), found: header.descriptor }),
        };
        let dimensions = match header.shape[..] {
            [sequences, time, height, width] => [sequences, time, height, width],
            [time, height, width] => [1, time, height, width],
            _ => return Err(FrameFileError::Rank { path: at(), found: header.shape }),
        };
        if dimensions.contains(&0) {
            return Err(FrameFileError::Empty { path: at(), found: header.shape });
        }
        if dimensions[1] < min_frames {
            return Err(FrameFileError::TooFewFrames { path: at(), needed: min_frames, found: dimensions[1] });
        }
        let expected = dimensions.iter().try_fold(size as u128, |bytes, &size| bytes.checked_mul(size as u128));
        let expected = expected.unwrap_or(u128::MAX);
        let found = file_length.saturating_sub(header.length as u64);
        if expected != u128::from(found) {
            return Err(FrameFileError::Length { path: at(), shape: header.shape, expected, found });
        }
        file.seek(SeekFrom::Start(header.length as u64)).map_err(failed)?;
        let count = dimensions.iter().product::<usize>();
        let shape = Ix4(dimensions[0], dimensions[1], dimensions[2], dimensions[3]).set_f(header.fortran_order);
        let compared = "the header has been compared with the length of the file";
        if size == 1 {
            let mut bytes = vec![0; count];
            file.read_exact(&mut bytes).map_err(failed)?;
            return Ok(Self::from_bytes(Array4::from_shape_vec(shape, bytes).expect(compared)));
        }
        let floats = read_floats(&mut file, count, header.descriptor == ">f4").map_err(failed)?;
        let floats = Array4::from_shape_vec(shape, floats).expect(compared);
        let wrong = floats.indexed_iter().find(|(_, value)| !(0.0..=1.0).contains(*value));
        if let Some((index, &found)) = wrong {
            return Err(FrameFileError::Value { path: at(), index: index.into(), found });
        }
        Ok(Self { frames: Frames::Floats(floats) })
    }

    /// The number of sequences.
    pub fn count(&self) -> usize {
        self.shape()[0]
    }

    /// The number of frames of every sequence.
    pub fn length(&self) -> usize {
        self.shape()[1]
    }

    /// The height and the width of the frames.
    pub fn size(&self) -> [usize; 2] {
        [self.shape()[2], self.shape()[3]]
    }

    fn shape(&self) -> &[usize] {
        match &self.frames {
            Frames::Bytes(frames) => frames.shape(),
            Frames::Floats(frames) => frames.shape(),
        }
    }

    /// The `length` frames of `sequence` from the frame `first` on: `[length, height, width]`, values from 0 to 1.
    ///
    /// # Panics
    /// If there is no such sequence, or it lacks one of the frames.
    pub fn window(&self, sequence: usize, first: usize, length: usize) -> Array3<f32> {
        self.vary(sequence, &SequenceDraw { symmetry: super::Symmetry::IDENTITY, first, length })
    }

    /// The windows of all `sequences`: `[sequences, length, height, width]`.
    ///
    /// # Panics
    /// If `sequences` is empty, or one does not exist or lacks one of the frames.
    pub fn windows(&self, sequences: &[usize], first: usize, length: usize) -> Array4<f32> {
        stack_all(&sequences.par_iter().map(|&sequence| self.window(sequence, first, length)).collect::<Vec<_>>())
    }

    /// The windows of all `sequences`, each varied by a draw that depends on `seed`, `epoch` and the sequence:
    /// `[sequences, length, height, width]`.
    ///
    /// # Panics
    /// If `sequences` is empty, one does not exist, or `length` is 0 or more than the frames there are.
    pub fn varied_windows(
        &self,
        sequences: &[usize],
        length: usize,
        variation: &SequenceVariationConfig,
        seed: u64,
        epoch: usize,
    ) -> Array4<f32> {
        let vary = |&sequence: &usize| {
            let mut generator = generator(seed, Purpose::Augmentation, epoch, sequence);
            self.vary(sequence, &variation.draw(self.length(), length, self.size(), &mut generator))
        };
        stack_all(&sequences.par_iter().map(vary).collect::<Vec<_>>())
    }

    fn vary(&self, sequence: usize, draw: &SequenceDraw) -> Array3<f32> {
        match &self.frames {
            Frames::Bytes(frames) => {
                draw.apply(frames.index_axis(Axis(0), sequence)).mapv(|byte| f32::from(byte) / 255.0)
            }
            Frames::Floats(frames) => draw.apply(frames.index_axis(Axis(0), sequence)).to_owned(),
        }
    }

    /// The sequences at `positions` alone.
    ///
    /// # Panics
    /// If one does not exist.
    pub fn select(&self, positions: &[usize]) -> Self {
        let frames = match &self.frames {
            Frames::Bytes(frames) => Frames::Bytes(frames.select(Axis(0), positions)),
            Frames::Floats(frames) => Frames::Floats(frames.select(Axis(0), positions)),
        };
        Self { frames }
    }

    /// Holds out the last part of the data for a test: whole sequences where there are several, otherwise the last frames
    /// of the only one. Either part keeps at least one sequence of `min_frames` frames.
    ///
    /// Returns the part to train on and the part to test on; `None` if the data are too few for two such parts.
    ///
    /// ```
    /// use ndarray::Array4;
    /// use pipeline::data::FrameSequences;
    ///
    /// let film = FrameSequences::from_bytes(Array4::zeros((1, 100, 8, 8)));
    /// let (training, test) = film.hold_out(0.25, 20).unwrap();
    /// assert_eq!((training.length(), test.length()), (75, 25));
    /// ```
    pub fn hold_out(&self, fraction: f64, min_frames: usize) -> Option<(Self, Self)> {
        let (axis, min) = if self.count() > 1 { (Axis(0), 1) } else { (Axis(1), min_frames.max(1)) };
        let total = self.shape()[axis.index()];
        if self.length() < min_frames || total < 2 * min {
            return None;
        }
        // A fraction that is no number converts to 0.
        let test = ((total as f64 * fraction).round() as usize).clamp(min, total - min);
        let part = |from: usize, to: usize| {
            let slice = Slice::from(from..to);
            let frames = match &self.frames {
                Frames::Bytes(frames) => Frames::Bytes(frames.slice_axis(axis, slice).to_owned()),
                Frames::Floats(frames) => Frames::Floats(frames.slice_axis(axis, slice).to_owned()),
            };
            Self { frames }
        };
        Some((part(0, total - test), part(total - test, total)))
    }
}

/// Reads `count` numbers of four bytes, through a buffer of fixed size.
fn read_floats(file: &mut File, count: usize, big_endian: bool) -> io::Result<Vec<f32>> {
    let decode = if big_endian { f32::from_be_bytes } else { f32::from_le_bytes };
    let mut floats = Vec::with_capacity(count);
    let mut buffer = [0; 1 << 14];
    while floats.len() < count {
        let bytes = buffer.len().min(4 * (count - floats.len()));
        file.read_exact(&mut buffer[..bytes])?;
        floats.extend(buffer[..bytes].chunks_exact(4).map(|b| decode([b[0], b[1], b[2], b[3]])));
    }
    Ok(floats)
}

fn stack_all(windows: &[Array3<f32>]) -> Array4<f32> {
    let views: Vec<ArrayView3<'_, f32>> = windows.iter().map(|window| window.view()).collect();
    stack(Axis(0), &views).expect("windows of at least one sequence, all of one size")
}
