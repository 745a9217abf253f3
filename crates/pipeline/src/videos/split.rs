//! Which videos are held out, and whether the two parts share recordings.

use std::collections::{BTreeMap, BTreeSet};

use ndarray_rand::rand::seq::SliceRandom;

use super::layout::Listed;
use super::{Collection, Part};
use crate::random::{Purpose, generator};

/// The part of each video: what the layout says, or `fraction` of each class held out, drawn by `seed`, videos of one group
/// together.
pub(super) fn divide(listed: &[Listed], labels: &[String], fraction: f64, seed: u64) -> Vec<Part> {
    let mut parts: Vec<Part> = listed.iter().map(|video| video.part.unwrap_or(Part::Training)).collect();
    for (label, class) in labels.iter().enumerate() {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, video) in listed.iter().enumerate() {
            if video.part.is_none() && video.class == *class {
                groups.entry(group(&video.name).unwrap_or(&video.name)).or_default().push(position);
            }
        }
        let videos: usize = groups.values().map(Vec::len).sum();
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        groups.shuffle(&mut generator(seed, Purpose::Split, 0, label));
        let wanted = (videos as f64 * fraction).round().max(1.0) as usize;
        let mut held_out = 0;
        // One group stays to train with.
        for group in groups.iter().skip(1) {
            if held_out >= wanted {
                break;
            }
            for &position in group {
                parts[position] = Part::Validation;
            }
            held_out += group.len();
        }
    }
    parts
}

/// A warning for groups that both train and are held out: a model then knows the recording, and looks better than it is.
pub(super) fn leaks(collection: &Collection) -> Option<String> {
    let groups = |part| -> BTreeSet<&str> {
        let videos = collection.videos.iter().filter(|video| video.part == part);
        videos.filter_map(|video| group(&video.name)).collect()
    };
    let (training, validation) = (groups(Part::Training), groups(Part::Validation));
    let shared: Vec<&str> = training.intersection(&validation).copied().collect();
    let (first, count) = (shared.first()?, shared.len());
    Some(format!(
        "{count} groups of clips from one recording both train and are held out, such as {first}: the accuracy will be too \
         high"
    ))
}

/// The part of a name that clips of one recording share: up to the number after the last `_g`, as in
/// `v_Drumming_g07_c02.avi`.
fn group(name: &str) -> Option<&str> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let number = file + name[file..].rfind("_g")? + 2;
    let digits = name[number..].bytes().take_while(u8::is_ascii_digit).count();
    let end = number + digits;
    // The folder is that of the part or the class, and not shared by the two parts.
    (digits > 0 && name[end..].starts_with('_')).then(|| &name[file..end])
}

#[cfg(test)]
mod tests {
    use super::group;

    #[test]
    fn groups_are_those_of_ucf_101() {
        let cases = [
            ("Drumming/v_Drumming_g07_c02.avi", Some("v_Drumming_g07")),
            ("v_Drumming_g7_c02.avi", Some("v_Drumming_g7")),
            ("Drumming/some_girl_waves.avi", None),
            ("a_g01_b/clip.avi", None),
            ("clip_g01.avi", None),
        ];
        for (name, expected) in cases {
            assert_eq!(group(name), expected, "{name}");
        }
    }
}
