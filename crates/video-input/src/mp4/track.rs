//! The first video track of a film.

use super::boxes::{Fields, Kind, child, children, name, required};
use super::samples::{Sample, read_tables};
use crate::orientation::Orientation;

/// What the box `trak` says of a video, apart from its pictures.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) orientation: Orientation,
    /// Ticks per second.
    pub(super) time_scale: u32,
    /// The time at which the video begins, and the one at which it ends, in ticks; what is shown before or after is cut off.
    pub(super) shown: [i64; 2],
    pub(super) codec: Codec,
    pub(super) samples: Vec<Sample>,
    /// When the picture after the last one is decoded.
    pub(super) end: i64,
}

/// How the pictures of a track are coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    H264(AvcConfiguration),
    Encrypted,
    Other(Kind),
}

/// The box `avcC`, and the size that stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AvcConfiguration {
    /// The bytes of the length before each unit.
    pub(super) length_bytes: usize,
    /// Parameters of sequences and pictures.
    pub(super) units: Vec<Vec<u8>>,
    pub(super) size: [u64; 2],
}

/// The first video of the box `moov`; `None` if there is none.
pub(super) fn find(film: &[u8], file_length: u64) -> Result<Option<Track>, String> {
    for (kind, content) in children(film)? {
        if kind == *b"trak" && is_video(content)? {
            return Track::parse(content, film, file_length).map(Some);
        }
    }
    Ok(None)
}

fn is_video(track: &[u8]) -> Result<bool, String> {
    let Some(media) = child(track, b"mdia")? else { return Ok(false) };
    let Some(handler) = child(media, b"hdlr")? else { return Ok(false) };
    Ok(handler.get(8..12) == Some(b"vide"))
}

impl Track {
    fn parse(content: &[u8], film: &[u8], file_length: u64) -> Result<Self, String> {
        let (id, orientation) = parse_head(required(content, b"tkhd")?).ok_or("`tkhd` ends too early")?;
        let media = required(content, b"mdia")?;
        let time_scale = parse_time_scale(required(media, b"mdhd")?).ok_or("`mdhd` ends too early")?;
        if time_scale == 0 {
            return Err("expected ticks per second in `mdhd`, found 0".to_owned());
        }
        let table = required(required(media, b"minf")?, b"stbl")?;
        let codec = Codec::parse(required(table, b"stsd")?)?;
        let (samples, end) = match codec {
            Codec::H264(_) => read_tables(table, file_length)?,
            _ => (Vec::new(), 0),
        };
        let shown = parse_edits(content, film, time_scale)?;
        Ok(Self { id, orientation, time_scale, shown, codec, samples, end })
    }
}

fn parse_head(content: &[u8]) -> Option<(u32, Orientation)> {
    let (version, _, mut fields) = Fields::versioned(content)?;
    fields.wide(version)?;
    fields.wide(version)?;
    let id = fields.u32()?;
    fields.u32()?;
    fields.wide(version)?;
    fields.take(16)?;
    let mut matrix = [0; 9];
    for entry in &mut matrix {
        *entry = fields.i32()?;
    }
    Some((id, Orientation::from_matrix([matrix[0], matrix[1], matrix[3], matrix[4]])))
}

/// The ticks per second in `mdhd` or `mvhd`.
fn parse_time_scale(content: &[u8]) -> Option<u32> {
    let (version, _, mut fields) = Fields::versioned(content)?;
    fields.wide(version)?;
    fields.wide(version)?;
    fields.u32()
}

/// The part of the track that is shown. Where several parts are put together, all of the track is.
fn parse_edits(track: &[u8], film: &[u8], time_scale: u32) -> Result<[i64; 2], String> {
    let all = [i64::MIN, i64::MAX];
    let Some(list) = child(track, b"edts")?.map(|edits| child(edits, b"elst")).transpose()?.flatten() else {
        return Ok(all);
    };
    let film_scale = child(film, b"mvhd")?.and_then(parse_time_scale).unwrap_or(0);
    let early = "`elst` ends too early";
    let (version, _, mut fields) = Fields::versioned(list).ok_or(early)?;
    let mut shown = None;
    for _ in 0..fields.u32().ok_or(early)? {
        let duration = fields.wide(version).ok_or(early)?;
        let start =
            if version == 1 { fields.u64().ok_or(early)?.cast_signed() } else { i64::from(fields.i32().ok_or(early)?) };
        fields.u32().ok_or(early)?;
        // A negative start is a pause.
        if start < 0 {
            continue;
        }
        if shown.is_some() || film_scale == 0 {
            return Ok(all);
        }
        // A duration of 0 lasts to the end, as it is not known yet in a film of fragments.
        let ticks = u128::from(duration) * u128::from(time_scale) / u128::from(film_scale);
        let ticks = i64::try_from(ticks).unwrap_or(i64::MAX);
        shown = Some([start, if ticks == 0 { i64::MAX } else { start.saturating_add(ticks) }]);
    }
    Ok(shown.unwrap_or(all))
}

impl Codec {
    /// The first description in `stsd`.
    fn parse(content: &[u8]) -> Result<Self, String> {
        let descriptions = children(content.get(8..).unwrap_or_default())?;
        let (kind, content) =
            *descriptions.first().ok_or("expected a description of the pictures in `stsd`, found none")?;
        match &kind {
            b"avc1" | b"avc3" => {}
            b"encv" | b"drmi" => return Ok(Self::Encrypted),
            _ => return Ok(Self::Other(kind)),
        }
        let early = || format!("{} ends too early", name(kind));
        let mut fields = Fields::new(content);
        fields.take(24).ok_or_else(early)?;
        let (width, height) = fields.u16().zip(fields.u16()).ok_or_else(early)?;
        fields.take(50).ok_or_else(early)?;
        let configuration = required(fields.rest(), b"avcC")?;
        let (length_bytes, units) = parse_configuration(configuration).ok_or("`avcC` ends too early")?;
        let size = [height.into(), width.into()];
        Ok(Self::H264(AvcConfiguration { length_bytes, units, size }))
    }
}

fn parse_configuration(content: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    let mut fields = Fields::new(content);
    fields.take(4)?;
    let length_bytes = usize::from(fields.u8()? & 3) + 1;
    let mut units = Vec::new();
    for mask in [31, 255] {
        for _ in 0..fields.u8()? & mask {
            let length = usize::from(fields.u16()?);
            units.push(fields.take(length)?.to_vec());
        }
    }
    Some((length_bytes, units))
}
