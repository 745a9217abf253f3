//! The video files, their classes, and which of them train.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CollectionError;
use super::layout::{self, Listed};
use super::split::{divide, leaks};
use crate::recipe::{RecipeError, require};

/// Where the videos are, and how they are divided.
///
/// `path` is a folder of one of these layouts:
///
/// - one folder of videos per class; a part of every class is held out for validation,
/// - `train` and `val` (or `validation`, `valid`, `test`), each with one folder per class.
///
/// With `training_list` and `validation_list`, text files name the videos, relative to `path`, one per line: `path` alone,
/// the class being the folder that it lies in, or `path label`, the label being the name or the number of a class. With
/// `classes`, a file of lines `number name` or `name` (then counted from 0), numbers are those of that file: these are the
/// split files of UCF-101. `hmdb_splits` is the folder with the split files of HMDB-51, `CLASS_test_splitN.txt`.
///
/// A video is a file or, beside or in place of files, a folder of nothing but pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectionConfig {
    /// The folder of the videos.
    pub path: PathBuf,
    /// The file that lists the videos that train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_list: Option<PathBuf>,
    /// The file that lists the videos held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_list: Option<PathBuf>,
    /// The file that names the classes of the lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<PathBuf>,
    /// The folder of the split files of HMDB-51.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmdb_splits: Option<PathBuf>,
    /// Which split of HMDB-51, 1 to 3. Default: 1.
    pub hmdb_split: usize,
    /// The part of each class that is held out where the layout does not say so. Default: 0.2.
    pub validation_fraction: f64,
    /// What becomes of a video that cannot be read. Default: `stop`.
    pub unreadable: Unreadable,
    /// The folder where the frames of decoded videos are kept. Default: `frames` beside the run directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
}

/// What becomes of a video that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unreadable {
    /// Nothing is trained before it is repaired or removed.
    #[default]
    Stop,
    /// It is left out.
    Skip,
}

impl Default for CollectionConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            training_list: None,
            validation_list: None,
            classes: None,
            hmdb_splits: None,
            hmdb_split: 1,
            validation_fraction: 0.2,
            unreadable: Unreadable::Stop,
            cache: None,
        }
    }
}

impl CollectionConfig {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        let fraction = self.validation_fraction;
        require(!self.path.as_os_str().is_empty(), "data.path", "the folder of the videos", "nothing")?;
        let allowed = fraction > 0.0 && fraction < 1.0;
        require(allowed, "data.validation_fraction", "a number between 0 and 1", fraction)?;
        require((1..=3).contains(&self.hmdb_split), "data.hmdb_split", "1, 2 or 3", self.hmdb_split)?;
        let lists = self.training_list.is_some() == self.validation_list.is_some();
        require(lists, "data.validation_list", "given together with data.training_list", "only one of them")?;
        let one_source = self.hmdb_splits.is_none() || self.training_list.is_none();
        require(one_source, "data.hmdb_splits", "absent where data.training_list is given", "both")?;
        let has_lists = self.classes.is_none() || self.training_list.is_some();
        require(has_lists, "data.classes", "given only with data.training_list", "it alone")
    }
}

/// What a video is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It trains.
    Training,
    /// It is held out: it takes no part in training.
    Validation,
}

impl Part {
    /// The name, as files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
        }
    }
}

/// A video of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoEntry {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the folder of the collection, with `/` between the parts.
    pub name: String,
    /// Its class.
    pub label: usize,
    /// What it is for.
    pub part: Part,
}

/// Videos of known classes, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The names of the classes.
    pub labels: Vec<String>,
    /// The videos.
    pub videos: Vec<VideoEntry>,
    /// What a person should know about them.
    pub warnings: Vec<String>,
}

impl Collection {
    /// Finds the videos. `seed` decides which are held out where the layout does not say so.
    ///
    /// Videos of one group (`v_Drumming_g07_c02.avi`, as UCF-101 names the clips cut from one recording) are held out
    /// together; lists that divide a group give a warning.
    ///
    /// # Errors
    /// [`CollectionError`] if a folder or a list cannot be read, a listed video does not exist or has no class, there are
    /// fewer than two classes, or no video is left to train with or to hold out.
    pub fn open(config: &CollectionConfig, seed: u64) -> Result<Self, CollectionError> {
        let (listed, mut warnings) = layout::find(config)?;
        let collection = Self::of_listed(&config.path, listed, config.validation_fraction, seed)?;
        warnings.extend(leaks(&collection));
        Ok(Self { warnings, ..collection })
    }

    fn of_listed(root: &Path, listed: Vec<Listed>, fraction: f64, seed: u64) -> Result<Self, CollectionError> {
        let mut labels: Vec<String> = listed.iter().map(|video| video.class.clone()).collect();
        labels.sort_unstable();
        labels.dedup();
        if labels.len() < 2 {
            return Err(CollectionError::TooFewClasses { path: root.to_owned(), found: labels });
        }
        let mut listed = listed;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = listed.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(CollectionError::ListedTwice { name: pair[0].name.clone() });
        }
        let class_of = |class: &str| labels.binary_search_by(|label| label.as_str().cmp(class)).unwrap_or(0);
        let parts = divide(&listed, &labels, fraction, seed);
        let videos: Vec<VideoEntry> = listed
            .into_iter()
            .zip(parts)
            .map(|(Listed { path, name, class, .. }, part)| VideoEntry { path, name, label: class_of(&class), part })
            .collect();
        for part in [Part::Training, Part::Validation] {
            if !videos.iter().any(|video| video.part == part) {
                return Err(CollectionError::EmptyPart { path: root.to_owned(), part: part.name() });
            }
        }
        Ok(Self { labels, videos, warnings: Vec::new() })
    }

    /// The positions of the videos that are for `part`.
    pub fn part(&self, part: Part) -> Vec<usize> {
        (0..self.videos.len()).filter(|&video| self.videos[video].part == part).collect()
    }

    /// The number of videos of every class: those that train, and those held out.
    pub fn counts(&self) -> Vec<[usize; 2]> {
        let mut counts: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
        for video in &self.videos {
            counts.entry(video.label).or_default()[usize::from(video.part == Part::Validation)] += 1;
        }
        (0..self.labels.len()).map(|label| counts.get(&label).copied().unwrap_or_default()).collect()
    }
}
