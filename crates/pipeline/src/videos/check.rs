//! What is in a collection of videos, before anything is trained.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use video_input::{Frame, OpenOptions};

use super::cache::content_hash;
use super::{Collection, VideoEntry, VideosError};
use crate::interrupt::Interrupt;

/// What a video is.
#[derive(Clone, Debug, PartialEq)]
pub struct FileFacts {
    /// The format, as its content tells.
    pub format: &'static str,
    /// The width in pixels.
    pub width: usize,
    /// The height in pixels.
    pub height: usize,
    /// The number of frames that can be decoded.
    pub frames: u64,
    /// The time of the last frame, in seconds.
    pub seconds: f64,
}

/// A video of a collection, looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedFile {
    /// The video.
    pub name: String,
    /// What it is; or why it cannot be read to its end.
    pub facts: Result<FileFacts, String>,
    /// A number that two files share if they hold the same bytes.
    content: String,
}

/// What is in a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckReport {
    /// The names of the classes with the number of videos that train and that are held out.
    pub classes: Vec<(String, [usize; 2])>,
    /// The videos, in the order of the collection.
    pub files: Vec<CheckedFile>,
    /// Groups of files that hold the same bytes.
    pub duplicates: Vec<Vec<String>>,
    /// What else a person should know.
    pub warnings: Vec<String>,
}

/// Decodes every video of `collection` to its end; `observer` hears of each.
///
/// # Errors
/// [`VideosError::CachingInterrupted`] if `interrupt` asks to stop. A video that cannot be read is no error here, but a part of
/// the report.
pub fn check(
    collection: &Collection,
    interrupt: &Interrupt,
    observer: &mut (dyn FnMut(&CheckedFile) + Send),
) -> Result<CheckReport, VideosError> {
    let observer = Mutex::new(observer);
    let check_one = |video: &VideoEntry| {
        let file = CheckedFile {
            name: video.name.clone(),
            facts: facts(video, interrupt).map_err(|error| error.to_string()),
            content: content_hash(&video.path).unwrap_or_default(),
        };
        (observer.lock().unwrap_or_else(PoisonError::into_inner))(&file);
        file
    };
    let files: Vec<CheckedFile> = collection.videos.par_iter().map(check_one).collect();
    if interrupt.requested() {
        return Err(VideosError::CachingInterrupted);
    }
    let mut same: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, file) in files.iter().enumerate().filter(|(_, file)| !file.content.is_empty()) {
        same.entry(&file.content).or_default().push(position);
    }
    let same: Vec<Vec<usize>> = same.into_values().filter(|videos| videos.len() > 1).collect();
    let mut warnings = collection.warnings.clone();
    let both = |videos: &&Vec<usize>| {
        let first = collection.videos[videos[0]].part;
        videos.iter().any(|&video| collection.videos[video].part != first)
    };
    if let Some(videos) = same.iter().find(both) {
        let count = same.iter().filter(both).count();
        warnings.push(format!(
            "{count} videos both train and are held out, such as {}: the accuracy will be too high",
            files[videos[0]].name
        ));
    }
    let classes = collection.labels.iter().cloned().zip(collection.counts()).collect();
    let name_all = |videos: Vec<usize>| videos.into_iter().map(|video| files[video].name.clone()).collect();
    let duplicates = same.into_iter().map(name_all).collect();
    Ok(CheckReport { classes, files, duplicates, warnings })
}

fn facts(video: &VideoEntry, interrupt: &Interrupt) -> Result<FileFacts, VideosError> {
    let mut source = video_input::open(&video.path, &OpenOptions::default())?;
    let (mut frame, mut frames) = (Frame::default(), 0);
    while source.next_frame(&mut frame)? {
        frames += 1;
        if interrupt.requested() {
            return Err(VideosError::CachingInterrupted);
        }
    }
    if frames == 0 {
        return Err(VideosError::NoFrames { path: video.path.clone() });
    }
    let info = source.info();
    let (width, height) = (info.width, info.height);
    Ok(FileFacts { format: info.format.name(), width, height, frames, seconds: frame.time })
}

impl CheckReport {
    /// The files that cannot be read to their end, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|file| Some((file.name.as_str(), file.facts.as_ref().err()?.as_str())))
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readable: Vec<&FileFacts> = self.files.iter().filter_map(|file| file.facts.as_ref().ok()).collect();
        let width = self.classes.iter().map(|(label, _)| label.chars().count()).fold("class".len(), usize::max);
        writeln!(f, "{:<width$}  {:>8}  {:>8}", "class", "training", "held out")?;
        for (label, [training, held_out]) in &self.classes {
            writeln!(f, "{label:<width$}  {training:>8}  {held_out:>8}")?;
        }
        let mut kinds: BTreeMap<(&str, usize, usize), usize> = BTreeMap::new();
        for facts in &readable {
            *kinds.entry((facts.format, facts.width, facts.height)).or_default() += 1;
        }
        writeln!(f)?;
        for ((format, width, height), count) in kinds {
            writeln!(f, "{count} × {format}, {width}×{height} pixels")?;
        }
        let frames = readable.iter().map(|facts| facts.frames);
        if let (Some(fewest), Some(most)) = (frames.clone().min(), frames.max()) {
            let longest = readable.iter().map(|facts| facts.seconds).fold(0.0, f64::max);
            writeln!(f, "{fewest} to {most} frames, the longest {longest:.1} s")?;
        }
        for (name, error) in self.unreadable() {
            writeln!(f, "unreadable: {name}: {error}")?;
        }
        for names in &self.duplicates {
            writeln!(f, "the same content: {}", names.join(", "))?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}
