//! The radar data set that is bundled with the program: rain over the United States, 2 minutes and about 1 km apart.
//!
//! NOAA/NSSL MRMS, surface precipitation rate. Zhang et al., "Multi-Radar Multi-Sensor (MRMS) Quantitative Precipitation
//! Estimation: Initial Operating Capabilities", BAMS 97 (2016). The data are in the public domain; origin and changes lie
//! beside them in `data/mrms-radar`.

use std::io::{Cursor, Read};

use flate2::read::GzDecoder;
use ndarray::{Array4, ArrayView4, Axis};
use ndarray_npy::ReadNpyExt;

use super::{DataError, FrameSequences};

const FRAMES_FILE: &str = "sequences_u8.npy.gz";
const TABLE_FILE: &str = "sequences.csv";
const FRAMES: &[u8] = include_bytes!("../../data/mrms-radar/sequences_u8.npy.gz");
const TABLE: &str = include_str!("../../data/mrms-radar/sequences.csv");

/// The steps of the stored byte per factor of ten in the rain rate.
const STEPS_PER_DECADE: f64 = 80.0;

/// The rain rate in mm/h that `value`, from 0 to 1, stands for: `R = 0.1 · 10^((q − 1)/80)` where `q = 255 · value`.
///
/// Values below 1/255, stored as 0, stand for rates below 0.1 mm/h, and give 0.
///
/// ```
/// assert_eq!(pipeline::data::rain_rate(0.0), 0.0);
/// assert!((pipeline::data::rain_rate(81.0 / 255.0) - 1.0).abs() < 1e-6);
/// ```
pub fn rain_rate(value: f32) -> f64 {
    let level = f64::from(value) * 255.0;
    // A stored 1 is exactly 0.1 mm/h, whatever its division by 255 rounds to.
    if level < 1.0 - 1e-4 { 0.0 } else { 10_f64.powf((level - 1.0) / STEPS_PER_DECADE - 1.0) }
}

/// The value from 0 to 1 that stands for the rain rate `rate` in mm/h: the inverse of [`rain_rate`], 0 below 0.1 mm/h.
///
/// The rates 0.1, 1, 10 and 100 mm/h give exactly the value of a stored byte.
///
/// ```
/// assert_eq!(pipeline::data::rain_value(10.0), 161.0 / 255.0);
/// ```
pub fn rain_value(rate: f64) -> f32 {
    // The logarithm of 0.1 itself may be rounded to either side of −1.
    let level = 1.0 + STEPS_PER_DECADE * (rate.log10() + 1.0);
    if level.is_nan() || level < 1.0 - 1e-9 { 0.0 } else { level as f32 / 255.0 }
}

/// What a sequence is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RadarSplit {
    /// Training: the west.
    Train,
    /// Test: the east.
    Test,
    /// Neither: the strip between the two, so that no rain is in both.
    Guard,
}

/// Where a sequence was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RadarSequence {
    /// The latitude of the centre in degrees north.
    pub latitude: f64,
    /// The longitude of the centre in degrees east; negative, as all are in America.
    pub longitude: f64,
    /// What it is meant for.
    pub split: RadarSplit,
}

/// The 149 sequences of 36 frames of 64×64 pixels.
///
/// ```
/// use pipeline::data::{Radar, RadarSplit};
///
/// let radar = Radar::bundled()?;
/// let test = radar.part(RadarSplit::Test);
/// assert_eq!((test.count(), test.length(), test.size()), (32, 36, [64, 64]));
/// # Ok::<(), pipeline::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Radar {
    frames: Array4<u8>,
    sequences: Vec<RadarSequence>,
}

impl Radar {
    /// The time between two frames in minutes.
    pub const MINUTES_PER_FRAME: f64 = 2.0;
    /// The rain rates in mm/h at which forecasts are compared.
    pub const EVENT_RATES: [f64; 4] = [0.5, 1.0, 5.0, 10.0];

    /// Decodes the data inside the program.
    ///
    /// # Errors
    /// [`DataError`] if they are damaged.
    pub fn bundled() -> Result<Self, DataError> {
        let mut bytes = Vec::new();
        let undecodable = |source| DataError::Array { file: FRAMES_FILE, source };
        GzDecoder::new(FRAMES).read_to_end(&mut bytes).map_err(|source| undecodable(source.into()))?;
        Self::from_parts(Array4::read_npy(Cursor::new(bytes)).map_err(undecodable)?, TABLE)
    }

    /// Puts the data set together from its files.
    ///
    /// - `frames`: `[sequences, time, height, width]`, bytes as [`rain_rate`] explains them
    /// - `table`: CSV with one row per sequence and the columns `seq` (from 0), `lat_centre`, `lon_centre` and `split`
    ///
    /// # Errors
    /// [`DataError`] if the files contradict the format or each other.
    pub fn from_parts(frames: Array4<u8>, table: &str) -> Result<Self, DataError> {
        let sequences = read_table(table)?;
        let (rows, count) = (sequences.len(), frames.len_of(Axis(0)));
        if rows != count {
            let problem = format!("{TABLE_FILE} has {rows} rows, {FRAMES_FILE} has {count} sequences");
            return Err(DataError::Inconsistent { problem });
        }
        Ok(Self { frames, sequences })
    }

    /// All sequences as stored: `[sequences, time, height, width]`.
    pub fn frames(&self) -> ArrayView4<'_, u8> {
        self.frames.view()
    }

    /// Where each was recorded.
    pub fn sequences(&self) -> &[RadarSequence] {
        &self.sequences
    }

    /// The positions of the sequences of `split`, in increasing order.
    pub fn positions(&self, split: RadarSplit) -> Vec<usize> {
        (0..self.sequences.len()).filter(|&sequence| self.sequences[sequence].split == split).collect()
    }

    /// The sequences of `split`, in the order of their positions.
    pub fn part(&self, split: RadarSplit) -> FrameSequences {
        FrameSequences::from_bytes(self.frames.select(Axis(0), &self.positions(split)))
    }
}

fn read_table(table: &str) -> Result<Vec<RadarSequence>, DataError> {
    let undecodable = |source| DataError::Table { file: TABLE_FILE, source };
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let headers = reader.headers().map_err(undecodable)?.clone();
    let column = |name: &str| {
        let position = headers.iter().position(|header| header == name);
        position.ok_or_else(|| DataError::Inconsistent { problem: format!("{TABLE_FILE}: no column `{name}`") })
    };
    let (number, split) = (column("seq")?, column("split")?);
    let (latitude, longitude) = (column("lat_centre")?, column("lon_centre")?);
    let mut sequences = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(undecodable)?;
        let wrong = |problem: String| DataError::Row { file: TABLE_FILE, row: index + 1, problem };
        if record[number] != index.to_string() {
            return Err(wrong(format!("expected sequence {index}, found `{}`", &record[number])));
        }
        let degrees = |column: usize| {
            let degrees = record[column].parse().ok().filter(|degrees: &f64| degrees.is_finite());
            degrees.ok_or_else(|| wrong(format!("`{}` is not a number", &record[column])))
        };
        sequences.push(RadarSequence {
            latitude: degrees(latitude)?,
            longitude: degrees(longitude)?,
            split: match &record[split] {
                "train" => RadarSplit::Train,
                "test" => RadarSplit::Test,
                "guard" => RadarSplit::Guard,
                other => return Err(wrong(format!("unknown split `{other}`"))),
            },
        });
    }
    Ok(sequences)
}
