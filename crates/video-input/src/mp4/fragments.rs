//! Fragments: pieces of a track that follow one another through the file, each behind its own tables.

use super::boxes::{Fields, children, required};
use super::samples::{MAX_SAMPLES, Sample};

/// What holds for the pictures of fragments that do not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

/// The bit of the flags of a picture that says that decoding cannot begin there.
const NOT_KEY: u32 = 1 << 16;

/// Bits of `tfhd`.
mod head {
    pub(super) const BASE: u32 = 1;
    pub(super) const DESCRIPTION: u32 = 2;
    pub(super) const DURATION: u32 = 8;
    pub(super) const SIZE: u32 = 0x10;
    pub(super) const FLAGS: u32 = 0x20;
    pub(super) const BASE_IS_FRAGMENT: u32 = 0x2_0000;
}

/// Bits of `trun`.
mod run {
    pub(super) const OFFSET: u32 = 1;
    pub(super) const FIRST_FLAGS: u32 = 4;
    pub(super) const DURATION: u32 = 0x100;
    pub(super) const SIZE: u32 = 0x200;
    pub(super) const FLAGS: u32 = 0x400;
    pub(super) const SHIFT: u32 = 0x800;
}

impl Defaults {
    /// Of all tracks, beside their numbers, in the box `mvex`.
    pub(super) fn parse_all(extends: &[u8]) -> Result<Vec<(u32, Self)>, String> {
        let mut all = Vec::new();
        for (_, content) in children(extends)?.into_iter().filter(|(kind, _)| kind == b"trex") {
            let (_, _, mut fields) = Fields::versioned(content).ok_or("`trex` has no head")?;
            let mut next = || fields.u32().ok_or("`trex` ends too early");
            let [track, _, duration, size, flags] = [next()?, next()?, next()?, next()?, next()?];
            all.push((track, Self { duration, size, flags }));
        }
        Ok(all)
    }
}

/// The pictures of one track that have been found in fragments.
#[derive(Debug)]
pub(super) struct Fragments {
    pub(super) track: u32,
    /// Of all tracks, beside their numbers.
    pub(super) defaults: Vec<(u32, Defaults)>,
    pub(super) samples: Vec<Sample>,
    /// When the next picture is decoded.
    pub(super) time: i64,
    pub(super) file_length: u64,
}

impl Fragments {
    /// Reads the box `moof` that begins at the byte `start` of the file.
    pub(super) fn add(&mut self, content: &[u8], start: u64) -> Result<(), String> {
        let mut end_of_data = start;
        for (index, (_, content)) in children(content)?.into_iter().filter(|(kind, _)| kind == b"traf").enumerate() {
            self.add_track(content, start, index == 0, &mut end_of_data)?;
        }
        Ok(())
    }

    fn add_track(&mut self, content: &[u8], start: u64, first: bool, end_of_data: &mut u64) -> Result<(), String> {
        let early = "`tfhd` ends too early";
        let (_, flags, mut fields) = Fields::versioned(required(content, b"tfhd")?).ok_or(early)?;
        let track = fields.u32().ok_or(early)?;
        let mut base = if first || flags & head::BASE_IS_FRAGMENT != 0 { start } else { *end_of_data };
        if flags & head::BASE != 0 {
            base = fields.u64().ok_or(early)?;
        }
        if flags & head::DESCRIPTION != 0 {
            fields.u32().ok_or(early)?;
        }
        let own = self.defaults.iter().find(|(number, _)| *number == track);
        let mut defaults = own.map(|&(_, defaults)| defaults).unwrap_or_default();
        for (bit, value) in [
            (head::DURATION, &mut defaults.duration),
            (head::SIZE, &mut defaults.size),
            (head::FLAGS, &mut defaults.flags),
        ] {
            if flags & bit != 0 {
                *value = fields.u32().ok_or(early)?;
            }
        }
        let mut offset = base;
        for (kind, content) in children(content)? {
            match &kind {
                b"tfdt" if track == self.track => {
                    let (version, _, mut fields) = Fields::versioned(content).ok_or("`tfdt` has no head")?;
                    let time = fields.wide(version).ok_or("`tfdt` ends too early")?;
                    self.time = i64::try_from(time).map_err(|_| format!("`tfdt` has the time {time}"))?;
                }
                b"trun" => self.add_run(content, base, &mut offset, defaults, track == self.track)?,
                _ => {}
            }
        }
        *end_of_data = offset;
        Ok(())
    }

    /// Adds the pictures of a run, which follow one another from `offset` on, unless the run says where it begins.
    fn add_run(
        &mut self,
        content: &[u8],
        base: u64,
        offset: &mut u64,
        defaults: Defaults,
        wanted: bool,
    ) -> Result<(), String> {
        let early = "`trun` ends too early";
        let (_, flags, mut fields) = Fields::versioned(content).ok_or(early)?;
        let count = fields.u32().ok_or(early)?;
        if flags & run::OFFSET != 0 {
            let shift = i64::from(fields.i32().ok_or(early)?);
            *offset =
                base.checked_add_signed(shift).ok_or_else(|| format!("`trun` begins {shift} bytes off the file"))?;
        }
        let mut first_flags = None;
        if flags & run::FIRST_FLAGS != 0 {
            first_flags = Some(fields.u32().ok_or(early)?);
        }
        let words = [run::DURATION, run::SIZE, run::FLAGS, run::SHIFT].iter().filter(|&bit| flags & bit != 0).count();
        let possible = match (words, defaults.size) {
            (0, 0) => 0,
            (0, size) => self.file_length / u64::from(size),
            (words, _) => (fields.rest().len() / (4 * words)) as u64,
        };
        let left = (MAX_SAMPLES - self.samples.len()) as u64;
        if u64::from(count) > possible.min(left) {
            return Err(format!("`trun` has {count} pictures, of which {} can be there", possible.min(left)));
        }
        for index in 0..count {
            let mut next = |bit, default| if flags & bit == 0 { Some(default) } else { fields.u32() };
            let flags = if index == 0 { first_flags.unwrap_or(defaults.flags) } else { defaults.flags };
            let duration = next(run::DURATION, defaults.duration).ok_or(early)?;
            let size = next(run::SIZE, defaults.size).ok_or(early)?;
            let flags = next(run::FLAGS, flags).ok_or(early)?;
            let shift = next(run::SHIFT, 0).ok_or(early)? as i32;
            if wanted {
                let time = self.time.saturating_add(i64::from(shift));
                self.samples.push(Sample { offset: *offset, size, time, key: flags & NOT_KEY == 0 });
                self.time = self.time.saturating_add(i64::from(duration));
            }
            *offset = offset.checked_add(u64::from(size)).ok_or("a picture lies beyond the end of all files")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], words: &[u32], within: &[u8]) -> Vec<u8> {
        let content: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).chain(within.iter().copied()).collect();
        [&(8 + content.len() as u32).to_be_bytes()[..], kind, &content].concat()
    }

    fn fragments() -> Fragments {
        let extends = boxed(b"trex", &[0, 1, 1, 9, 9, 9], &[]);
        let extends = [extends, boxed(b"trex", &[0, 2, 1, 100, 50, NOT_KEY], &[])].concat();
        let defaults = Defaults::parse_all(&extends).unwrap();
        Fragments { track: 2, defaults, samples: Vec::new(), time: 0, file_length: 1000 }
    }

    #[test]
    fn runs_follow_one_another() {
        let mut found = fragments();
        let other = boxed(b"traf", &[], &[boxed(b"tfhd", &[0, 1], &[]), boxed(b"trun", &[0, 3], &[])].concat());
        let time = boxed(b"tfdt", &[0, 1000], &[]);
        let runs =
            [boxed(b"trun", &[0x5, 2, 40, 0], &[]), boxed(b"trun", &[0xf00, 1, 70, 6, 0, (-30_i32) as u32], &[])];
        let ours = boxed(
            b"traf",
            &[],
            &[&boxed(b"tfhd", &[head::BASE_IS_FRAGMENT, 2], &[])[..], &time, &runs.concat()].concat(),
        );
        found.add(&[ours.clone(), other.clone()].concat(), 200).unwrap();
        let follows = boxed(b"traf", &[], &[boxed(b"tfhd", &[0, 2], &[]), boxed(b"trun", &[0, 1], &[])].concat());
        found.add(&[other, follows].concat(), 600).unwrap();
        let expected = [(240, 50, 1000, true), (290, 50, 1100, false), (340, 6, 1170, true), (627, 50, 1270, false)];
        let expected = expected.map(|(offset, size, time, key)| Sample { offset, size, time, key });
        assert_eq!(found.samples, expected);
    }

    #[test]
    fn runs_of_too_many_pictures_are_refused() {
        let cases: [(&[u32], &str); 5] = [
            (&[0, 21], "`trun` has 21 pictures, of which 20 can be there"),
            (&[0x200, 3, 1, 2], "`trun` has 3 pictures, of which 2 can be there"),
            (&[0xf00, u32::MAX, 1, 2, 3, 4], "`trun` has 4294967295 pictures, of which 1 can be there"),
            (&[1, 1, (-700_i32) as u32], "`trun` begins -700 bytes off the file"),
            (&[1], "`trun` ends too early"),
        ];
        for (words, message) in cases {
            let run = boxed(b"trun", words, &[]);
            let content = boxed(b"traf", &[], &[boxed(b"tfhd", &[0, 2], &[]), run].concat());
            assert_eq!(fragments().add(&content, 600).unwrap_err(), message);
        }
    }
}
