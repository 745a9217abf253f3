//! The action data set that is bundled with the program: thermal video of 16×16 pixels from the ceiling of a room.
//!
//! Kawashima et al., "Action recognition from extremely low-resolution thermal image sequence", AVSS 2017.
//! The data are under CC BY-NC-SA 4.0; licence, origin and changes lie beside them in `data/fir-actions`.

use std::io::{Cursor, Read};
use std::str::FromStr;

use flate2::read::GzDecoder;
use ndarray::{Array3, ArrayView2, ArrayView3, Axis, s};
use ndarray_npy::ReadNpyExt;
use thiserror::Error;

const FRAMES: &[u8] = include_bytes!("../../data/fir-actions/frames_u8.npy.gz");
const BACKGROUNDS: &[u8] = include_bytes!("../../data/fir-actions/background_u8.npy");
const CLIPS: &str = include_str!("../../data/fir-actions/clips.csv");
const RECORDINGS: &str = include_str!("../../data/fir-actions/recordings.txt");

/// Why a data set could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// An array file cannot be decoded.
    #[error("{file}: {source}")]
    Array {
        /// The name of the file.
        file: &'static str,
        /// What the decoder says.
        source: ndarray_npy::ReadNpyError,
    },
    /// A table cannot be decoded.
    #[error("{file}: {source}")]
    Table {
        /// The name of the file.
        file: &'static str,
        /// What the decoder says.
        source: csv::Error,
    },
    /// A row of a table contradicts the format or the other files.
    #[error("{file}: row {row}: {problem}")]
    Row {
        /// The name of the file.
        file: &'static str,
        /// The position of the row below the header, from 1.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Two files contradict each other.
    #[error("{problem}")]
    Inconsistent {
        /// What does not fit.
        problem: String,
    },
}

/// One clip: a person doing one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clip {
    /// The position of its first frame among all frames.
    pub first_frame: usize,
    /// The number of its frames.
    pub length: usize,
    /// The action, as a position in [`FirActions::LABELS`].
    pub label: usize,
    /// The person, from 1.
    pub person: usize,
    /// The recording it was cut from, as a position among the recordings.
    pub recording: usize,
}

/// The 2,240 clips of thermal video: 7 actions, 8 people, 400 recordings, about 10 frames per second.
///
/// ```
/// use pipeline::data::FirActions;
///
/// let actions = FirActions::bundled()?;
/// assert_eq!(actions.clips().len(), 2240);
/// let clip = &actions.clips()[0];
/// assert_eq!(FirActions::LABELS[clip.label], "walk");
/// assert_eq!(actions.frames(clip).dim(), (11, 16, 16));
/// # Ok::<(), pipeline::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FirActions {
    frames: Array3<u8>,
    backgrounds: Array3<u8>,
    clips: Vec<Clip>,
}

impl FirActions {
    /// The actions, in the order of their class indices.
    pub const LABELS: [&'static str; 7] = ["walk", "sitdown", "standup", "falling", "sit", "stand", "lie"];
    /// The number of people; they are numbered from 1.
    pub const PEOPLE: usize = 8;
    /// The height and the width of a frame in pixels.
    pub const SIZE: usize = 16;

    /// Decodes the data inside the program.
    ///
    /// # Errors
    /// [`DataError`] if they are damaged.
    pub fn bundled() -> Result<Self, DataError> {
        let frames = read_array("frames_u8.npy.gz", GzDecoder::new(FRAMES))?;
        let backgrounds = read_array("background_u8.npy", Cursor::new(BACKGROUNDS))?;
        Self::from_parts(frames, backgrounds, CLIPS, RECORDINGS)
    }

    /// Puts the data set together from its files.
    ///
    /// - `frames`: `[frames, height, width]`, all clips one after another
    /// - `backgrounds`: `[recordings, height, width]`, the empty room of each recording
    /// - `clips`: CSV with the columns `first_frame`, `n_frames`, `label7`, `person` (`human1` …) and `recording`
    /// - `recordings`: the names of the recordings, one per line
    ///
    /// # Errors
    /// [`DataError`] if the files contradict the format or each other.
    pub fn from_parts(
        frames: Array3<u8>,
        backgrounds: Array3<u8>,
        clips: &str,
        recordings: &str,
    ) -> Result<Self, DataError> {
        let recordings: Vec<&str> = recordings.lines().collect();
        let inconsistent = |problem| Err(DataError::Inconsistent { problem });
        if recordings.len() != backgrounds.len_of(Axis(0)) {
            let (names, images) = (recordings.len(), backgrounds.len_of(Axis(0)));
            return inconsistent(format!("recordings.txt has {names} names, background_u8.npy has {images} images"));
        }
        for (file, array) in [("frames_u8.npy.gz", &frames), ("background_u8.npy", &backgrounds)] {
            if array.shape()[1..] != [Self::SIZE; 2] {
                let (found, size) = (&array.shape()[1..], Self::SIZE);
                return inconsistent(format!("{file}: expected images of {size}×{size} pixels, found {found:?}"));
            }
        }
        let clips = read_clips(clips, &recordings, frames.len_of(Axis(0)))?;
        Ok(Self { frames, backgrounds, clips })
    }

    /// All clips.
    pub fn clips(&self) -> &[Clip] {
        &self.clips
    }

    /// The frames of `clip`: `[time, height, width]`, temperatures as stored.
    ///
    /// # Panics
    /// If `clip` is not a clip of this data set.
    pub fn frames(&self, clip: &Clip) -> ArrayView3<'_, u8> {
        self.frames.slice(s![clip.first_frame..clip.first_frame + clip.length, .., ..])
    }

    /// The empty room of the recording that `clip` was cut from: `[height, width]`.
    ///
    /// # Panics
    /// If `clip` is not a clip of this data set.
    pub fn background(&self, clip: &Clip) -> ArrayView2<'_, u8> {
        self.backgrounds.index_axis(Axis(0), clip.recording)
    }
}

fn read_array(file: &'static str, reader: impl Read) -> Result<Array3<u8>, DataError> {
    Array3::read_npy(reader).map_err(|source| DataError::Array { file, source })
}

fn read_clips(table: &str, recordings: &[&str], frames: usize) -> Result<Vec<Clip>, DataError> {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let undecodable = |source| DataError::Table { file: "clips.csv", source };
    let headers = reader.headers().map_err(undecodable)?.clone();
    let column = |name: &str| {
        headers
            .iter()
            .position(|header| header == name)
            .ok_or_else(|| DataError::Inconsistent { problem: format!("clips.csv: no column `{name}`") })
    };
    let (first_frame, length) = (column("first_frame")?, column("n_frames")?);
    let (label, person, recording) = (column("label7")?, column("person")?, column("recording")?);
    let mut clips = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(undecodable)?;
        let wrong = |problem: String| DataError::Row { file: "clips.csv", row: index + 1, problem };
        let number = |column: usize| {
            usize::from_str(&record[column]).map_err(|_| wrong(format!("`{}` is not a number", &record[column])))
        };
        let clip = Clip {
            first_frame: number(first_frame)?,
            length: number(length)?,
            label: position(&FirActions::LABELS, &record[label])
                .ok_or_else(|| wrong(format!("unknown action `{}`", &record[label])))?,
            person: person_number(&record[person])
                .ok_or_else(|| wrong(format!("unknown person `{}`", &record[person])))?,
            recording: position(recordings, &record[recording])
                .ok_or_else(|| wrong(format!("recording `{}` is not in recordings.txt", &record[recording])))?,
        };
        let end = clip.first_frame.checked_add(clip.length);
        if clip.length == 0 || end.is_none_or(|end| end > frames) {
            let Clip { first_frame, length, .. } = clip;
            return Err(wrong(format!("{length} frames from {first_frame} do not lie within the {frames} frames")));
        }
        clips.push(clip);
    }
    Ok(clips)
}

fn position(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|&known| known == name)
}

fn person_number(name: &str) -> Option<usize> {
    let number = name.strip_prefix("human")?.parse().ok()?;
    (1..=FirActions::PEOPLE).contains(&number).then_some(number)
}
