//! Where the pictures of a track lie in the file, and when they are shown.

use super::boxes::{Fields, child, required};

/// The most pictures of a track: more than a day of them.
pub(super) const MAX_SAMPLES: usize = 1 << 22;

/// One picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) offset: u64,
    pub(super) size: u32,
    /// When it is shown, in ticks of the track.
    pub(super) time: i64,
    /// Whether decoding can begin here.
    pub(super) key: bool,
}

/// The pictures that the tables in the box `stbl` describe, and the time at which the next one would be decoded.
pub(super) fn read_tables(table: &[u8], file_length: u64) -> Result<(Vec<Sample>, i64), String> {
    let sizes = Sizes::parse(required(table, b"stsz")?, file_length)?;
    if sizes.count == 0 {
        return Ok((Vec::new(), 0));
    }
    let mut samples = place(table, &sizes)?;
    let end = set_times(table, &mut samples)?;
    if let Some(keys) = child(table, b"stss")? {
        samples.iter_mut().for_each(|sample| sample.key = false);
        for number in entries::<1>(keys, "stss")? {
            let sample = (number[0] as usize).checked_sub(1).and_then(|position| samples.get_mut(position));
            sample.ok_or_else(|| format!("`stss` names the picture {} of {}", number[0], sizes.count))?.key = true;
        }
    }
    Ok((samples, end))
}

/// Checks that the pictures which lie within the file do not take more bytes than it has, so that reading them all takes
/// no longer than reading the file.
pub(super) fn check_total(samples: &[Sample], file_length: u64) -> Result<(), String> {
    let within = |sample: &&Sample| sample.offset.checked_add(sample.size.into()).is_some_and(|end| end <= file_length);
    let total: u64 = samples.iter().filter(within).map(|sample| u64::from(sample.size)).sum();
    if total > file_length {
        return Err(format!("the pictures take {total} bytes of a file of {file_length}"));
    }
    Ok(())
}

/// The entries of `N` numbers each of a table of a given length.
fn entries<'a, const N: usize>(
    content: &'a [u8],
    name: &str,
) -> Result<impl Iterator<Item = [u32; N]> + use<'a, N>, String> {
    let (_, _, mut fields) = Fields::versioned(content).ok_or_else(|| format!("`{name}` has no head"))?;
    let count = fields.u32().ok_or_else(|| format!("`{name}` has no length"))?;
    let found = fields.rest().len() / (4 * N);
    if found < count as usize {
        return Err(format!("`{name}` has {count} entries, of which {found} are there"));
    }
    let words = fields.rest().chunks_exact(4 * N).take(count as usize);
    Ok(words
        .map(|entry| std::array::from_fn(|at| u32::from_be_bytes(std::array::from_fn(|byte| entry[4 * at + byte])))))
}

/// The box `stsz`.
struct Sizes<'a> {
    count: usize,
    /// The size of all pictures, or 0 if each has its own.
    common: u32,
    own: &'a [u8],
}

impl<'a> Sizes<'a> {
    fn parse(content: &'a [u8], file_length: u64) -> Result<Self, String> {
        let (_, _, mut fields) = Fields::versioned(content).ok_or("`stsz` has no head")?;
        let (common, count) = fields.u32().zip(fields.u32()).ok_or("`stsz` has no length")?;
        let own = fields.rest();
        let possible =
            if common == 0 { own.len() as u64 / 4 } else { file_length / u64::from(common) }.min(MAX_SAMPLES as u64);
        if u64::from(count) > possible {
            return Err(format!("`stsz` has {count} pictures, of which {possible} can be there"));
        }
        Ok(Self { count: count as usize, common, own })
    }

    fn get(&self, position: usize) -> u32 {
        match self.own.get(4 * position..4 * position + 4) {
            Some(bytes) if self.common == 0 => u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            _ => self.common,
        }
    }
}

/// Puts the pictures into the chunks of the file, one after another.
fn place(table: &[u8], sizes: &Sizes<'_>) -> Result<Vec<Sample>, String> {
    let offsets: Vec<u64> = match child(table, b"stco")? {
        Some(content) => entries::<1>(content, "stco")?.map(|[offset]| u64::from(offset)).collect(),
        None => entries::<2>(required(table, b"co64")?, "co64")?
            .map(|[high, low]| u64::from(high) << 32 | u64::from(low))
            .collect(),
    };
    let mut runs = entries::<3>(required(table, b"stsc")?, "stsc")?.peekable();
    let mut samples = Vec::with_capacity(sizes.count);
    let mut per_chunk = 0;
    for (chunk, &start) in offsets.iter().enumerate() {
        while let Some([_, count, _]) = runs.next_if(|&[first, ..]| first as usize <= chunk + 1) {
            per_chunk = count as usize;
        }
        let mut offset = start;
        for position in samples.len()..sizes.count.min(samples.len().saturating_add(per_chunk)) {
            let size = sizes.get(position);
            samples.push(Sample { offset, size, time: 0, key: true });
            offset = offset.checked_add(u64::from(size)).ok_or("a picture lies beyond the end of all files")?;
        }
    }
    if samples.len() < sizes.count {
        return Err(format!("`stsz` has {} pictures, of which {} have a place", sizes.count, samples.len()));
    }
    Ok(samples)
}

/// Sets the times at which the pictures are shown. Returns the time of decoding of the next one.
fn set_times(table: &[u8], samples: &mut [Sample]) -> Result<i64, String> {
    let mut position = 0_usize;
    let mut time = 0_i64;
    for [count, duration] in entries::<2>(required(table, b"stts")?, "stts")? {
        let end = position.saturating_add(count as usize).min(samples.len());
        for sample in &mut samples[position..end] {
            sample.time = time;
            time = time.checked_add(i64::from(duration)).ok_or("the times are beyond all numbers")?;
        }
        position = end;
    }
    if position < samples.len() {
        return Err(format!("`stts` has the times of {position} pictures of {}", samples.len()));
    }
    if let Some(content) = child(table, b"ctts")? {
        let mut position = 0_usize;
        for [count, offset] in entries::<2>(content, "ctts")? {
            let end = position.saturating_add(count as usize).min(samples.len());
            for sample in &mut samples[position..end] {
                // Offsets are signed in version 1, and writers of version 0 use them so as well.
                sample.time = sample.time.saturating_add(i64::from(offset as i32));
            }
            position = end;
        }
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name and the numbers after the version and the flags.
    type Table<'a> = (&'a [u8; 4], &'a [u32]);

    fn table(boxes: &[Table<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, words) in boxes {
            bytes.extend((12 + 4 * words.len() as u32).to_be_bytes());
            bytes.extend(*kind);
            bytes.extend([0; 4]);
            bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
        bytes
    }

    const SIZES: Table<'_> = (b"stsz", &[0, 5, 10, 20, 30, 40, 50]);
    const CHUNKS: Table<'_> = (b"stsc", &[2, 1, 2, 1, 2, 1, 1]);
    const OFFSETS: Table<'_> = (b"stco", &[4, 100, 1000, 2000, 3000]);
    const TIMES: Table<'_> = (b"stts", &[2, 2, 10, 3, 20]);

    #[test]
    fn tables_give_places_and_times() {
        let shifts: Table<'_> = (b"ctts", &[3, 1, 5, 1, 60, 3, (-10_i32) as u32]);
        let keys: Table<'_> = (b"stss", &[2, 1, 4]);
        let (samples, end) = read_tables(&table(&[SIZES, CHUNKS, OFFSETS, TIMES, shifts, keys]), 9000).unwrap();
        let expected = [(100, 10, 5, true), (110, 20, 70, false), (1000, 30, 10, false), (2000, 40, 30, true)]
            .into_iter()
            .chain([(3000, 50, 50, false)])
            .map(|(offset, size, time, key)| Sample { offset, size, time, key });
        assert_eq!(samples, expected.collect::<Vec<_>>());
        assert_eq!(end, 80);
        let large: Table<'_> = (b"co64", &[4, 1, 0, 1, 8, 2, 0, 3, 0]);
        let (samples, _) = read_tables(&table(&[SIZES, CHUNKS, large, TIMES]), 9000).unwrap();
        assert_eq!((samples[1].offset, samples[2].offset), ((1 << 32) + 10, (1 << 32) + 8));
        assert!(samples.iter().all(|sample| sample.key), "without `stss` all are");
        let same: Table<'_> = (b"stsz", &[7, 5]);
        let (samples, _) = read_tables(&table(&[same, CHUNKS, OFFSETS, TIMES]), 9000).unwrap();
        assert_eq!(samples.iter().map(|sample| sample.size).collect::<Vec<_>>(), [7; 5]);
    }

    #[test]
    fn pictures_over_one_another_are_refused() {
        let sample = |offset, size| Sample { offset, size, time: 0, key: true };
        let cases = [
            (vec![sample(0, 60), sample(60, 40)], Ok(())),
            // A file that has been cut.
            (vec![sample(0, 90), sample(90, 90), sample(180, 90), sample(u64::MAX, 1)], Ok(())),
            (vec![sample(0, 60), sample(20, 60)], Err("the pictures take 120 bytes of a file of 100".to_owned())),
        ];
        for (samples, expected) in cases {
            assert_eq!(check_total(&samples, 100), expected);
        }
    }

    #[test]
    fn tables_that_disagree_are_refused() {
        let cases: [(&[Table<'_>], &str); 11] = [
            (&[], "expected the box `stsz`, found none"),
            (&[(b"stsz", &[0])], "`stsz` has no length"),
            (&[(b"stsz", &[0, 6, 1, 2, 3, 4, 5])], "`stsz` has 6 pictures, of which 5 can be there"),
            (&[(b"stsz", &[1, u32::MAX])], "`stsz` has 4294967295 pictures, of which 9000 can be there"),
            (&[SIZES], "expected the box `co64`, found none"),
            (&[SIZES, (b"stco", &[9, 1])], "`stco` has 9 entries, of which 1 are there"),
            (&[SIZES, OFFSETS], "expected the box `stsc`, found none"),
            (&[SIZES, OFFSETS, (b"stsc", &[0])], "`stsz` has 5 pictures, of which 0 have a place"),
            (&[SIZES, OFFSETS, CHUNKS], "expected the box `stts`, found none"),
            (&[SIZES, OFFSETS, CHUNKS, (b"stts", &[1, 4, 1])], "`stts` has the times of 4 pictures of 5"),
            (&[SIZES, OFFSETS, CHUNKS, TIMES, (b"stss", &[1, 6])], "`stss` names the picture 6 of 5"),
        ];
        for (boxes, message) in cases {
            assert_eq!(read_tables(&table(boxes), 9000).unwrap_err(), message);
        }
        let none: Table<'_> = (b"stsz", &[0, 0]);
        assert_eq!(read_tables(&table(&[none]), 9000), Ok((Vec::new(), 0)));
    }
}
