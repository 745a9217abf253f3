//! The directory of a run.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::atomic;
use crate::recipe::{ActionRecipe, RecipeError};

/// Why a run directory cannot be made, written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The name asked for is taken.
    #[error("{} exists already; a run is never overwritten, choose another name", path.display())]
    Exists {
        /// The path that is taken.
        path: PathBuf,
    },
    /// A name that is empty or has parts of a path.
    #[error("`{name}` cannot be the name of a run: it must be a plain name, without separators")]
    Name {
        /// The name asked for.
        name: String,
    },
    /// There is no directory where a run should be.
    #[error("{}: no such run directory", path.display())]
    NotFound {
        /// The path given.
        path: PathBuf,
    },
    /// The directory lacks a file of a finished run.
    #[error("{}: not a finished run: {file} is missing", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// The missing file.
        file: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A JSON file does not hold what it should.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The configuration of the run cannot be used.
    #[error("{}: {source}", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RecipeError,
    },
}

/// A directory that holds one run: `config.toml` (the recipe with every field), `metrics.jsonl` (one JSON object per
/// epoch), `model.safetensors` (weights, and what is needed to use them) and `results.json` (the final figures). Beside them may lie
/// `report.html`, the page that [`crate::report::html`] makes of them.
///
/// The run of several folds holds `config.toml`, the `results.json` of all of them, and one directory per fold,
/// `person-1` and so on, each a run by itself. Every file appears under its name when it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    const CONFIG: &str = "config.toml";
    const METRICS: &str = "metrics.jsonl";
    const RESULTS: &str = "results.json";
    const MODEL: &str = "model.safetensors";
    const REPORT: &str = "report.html";
    const VIDEOS: &str = "videos.jsonl";
    const CHECKPOINT: &str = "checkpoint.safetensors";

    /// Makes the directory `name` in `parent`, and `parent` where it is missing.
    ///
    /// # Errors
    /// [`RunError::Exists`] if there is anything of that name, [`RunError::Name`] if `name` is no plain name,
    /// [`RunError::Io`] if the directory cannot be made.
    pub fn create(parent: &Path, name: &str) -> Result<Self, RunError> {
        let mut components = Path::new(name).components();
        let plain = matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none();
        if !plain || name.contains(['/', '\\']) {
            return Err(RunError::Name { name: name.to_owned() });
        }
        fs::create_dir_all(parent).map_err(|source| RunError::Io { path: parent.to_owned(), source })?;
        let path = parent.join(name);
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Err(RunError::Exists { path }),
            Err(source) => Err(RunError::Io { path, source }),
        }
    }

    /// Makes a directory in `parent` under a name that is still free: `prefix-001`, `prefix-002`, ….
    ///
    /// # Errors
    /// As [`Self::create`], except that there is always a free name.
    pub fn create_numbered(parent: &Path, prefix: &str) -> Result<Self, RunError> {
        let mut number = 1;
        loop {
            match Self::create(parent, &format!("{prefix}-{number:03}")) {
                Err(RunError::Exists { .. }) => number += 1,
                result => return result,
            }
        }
    }

    /// The run in the existing directory `path`.
    ///
    /// # Errors
    /// [`RunError::NotFound`] if there is no such directory.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        if path.is_dir() {
            Ok(Self { path: path.to_owned() })
        } else {
            Err(RunError::NotFound { path: path.to_owned() })
        }
    }

    /// The name of the directory of the fold that is tested on `person`.
    pub fn fold_name(person: usize) -> String {
        format!("person-{person}")
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the weights; an error names it if a finished run should have it and this one has not.
    ///
    /// # Errors
    /// [`RunError::Unfinished`] if there is no such file.
    pub fn existing_model(&self) -> Result<PathBuf, RunError> {
        self.existing(Self::MODEL)
    }

    /// Where the weights are written to.
    pub fn model_path(&self) -> PathBuf {
        self.path.join(Self::MODEL)
    }

    /// Where training that may be stopped keeps what it has learnt so far.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join(Self::CHECKPOINT)
    }

    /// The file with the final figures; an error names it if a finished run should have it and this one has not.
    ///
    /// # Errors
    /// [`RunError::Unfinished`] if there is no such file.
    pub fn existing_results(&self) -> Result<PathBuf, RunError> {
        self.existing(Self::RESULTS)
    }

    /// Writes the recipe.
    ///
    /// # Errors
    /// [`RunError::Io`] if the file cannot be written.
    pub fn write_recipe(&self, recipe: &ActionRecipe) -> Result<(), RunError> {
        self.write_config(&recipe.to_toml())
    }

    /// Writes a recipe that is TOML already.
    ///
    /// # Errors
    /// [`RunError::Io`] if the file cannot be written.
    pub fn write_config(&self, toml: &str) -> Result<(), RunError> {
        self.write(Self::CONFIG, toml.as_bytes())
    }

    /// Reads the recipe's text and takes it with `parse`.
    ///
    /// # Errors
    /// [`RunError::Unfinished`], [`RunError::Io`], or [`RunError::Recipe`] for an error of `parse`.
    pub fn read_config<R>(&self, parse: impl FnOnce(&str) -> Result<R, RecipeError>) -> Result<R, RunError> {
        let path = self.existing(Self::CONFIG)?;
        let text = fs::read_to_string(&path).map_err(|source| RunError::Io { path: path.clone(), source })?;
        parse(&text).map_err(|source| RunError::Recipe { path, source })
    }

    /// Makes a directory in the run's for files of one kind.
    ///
    /// # Errors
    /// [`RunError::Io`] if it cannot be made.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, RunError> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|source| RunError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// Reads and checks the recipe.
    ///
    /// # Errors
    /// [`RunError::Unfinished`], [`RunError::Io`] or [`RunError::Recipe`] if it is missing or cannot be used.
    pub fn read_recipe(&self) -> Result<ActionRecipe, RunError> {
        self.read_config(|text| ActionRecipe::from_toml(text).and_then(|recipe| recipe.validate().map(|()| recipe)))
    }

    /// Writes one line of JSON per record.
    ///
    /// # Errors
    /// [`RunError::Io`] if the file cannot be written.
    pub fn write_metrics(&self, records: &[impl Serialize]) -> Result<(), RunError> {
        self.write_lines(Self::METRICS, records)
    }

    /// Reads the records that [`Self::write_metrics`] wrote.
    ///
    /// # Errors
    /// [`RunError::Unfinished`], [`RunError::Io`] or [`RunError::Json`] if they are missing or damaged.
    pub fn read_metrics<R: DeserializeOwned>(&self) -> Result<Vec<R>, RunError> {
        self.read_lines(Self::METRICS)
    }

    /// Writes which videos the run is about.
    pub(crate) fn write_videos(&self, records: &[impl Serialize]) -> Result<(), RunError> {
        self.write_lines(Self::VIDEOS, records)
    }

    /// Reads what [`Self::write_videos`] wrote.
    pub(crate) fn read_videos<R: DeserializeOwned>(&self) -> Result<Vec<R>, RunError> {
        self.read_lines(Self::VIDEOS)
    }

    fn write_lines(&self, file: &str, records: &[impl Serialize]) -> Result<(), RunError> {
        let mut lines = String::new();
        for record in records {
            lines += &self.to_json(file, serde_json::to_string(record))?;
            lines.push('\n');
        }
        self.write(file, lines.as_bytes())
    }

    fn read_lines<R: DeserializeOwned>(&self, file: &'static str) -> Result<Vec<R>, RunError> {
        let path = self.existing(file)?;
        let text = fs::read_to_string(&path).map_err(|source| RunError::Io { path: path.clone(), source })?;
        let records = serde_json::Deserializer::from_str(&text).into_iter();
        records.collect::<Result<_, _>>().map_err(|source| RunError::Json { path, source })
    }

    /// Writes the final figures.
    ///
    /// # Errors
    /// [`RunError::Io`] if the file cannot be written.
    pub fn write_results(&self, results: &impl Serialize) -> Result<(), RunError> {
        let text = self.to_json(Self::RESULTS, serde_json::to_string_pretty(results))?;
        self.write(Self::RESULTS, (text + "\n").as_bytes())
    }

    /// Reads the final figures.
    ///
    /// # Errors
    /// [`RunError::Unfinished`], [`RunError::Io`] or [`RunError::Json`] if they are missing or damaged.
    pub fn read_results<R: DeserializeOwned>(&self) -> Result<R, RunError> {
        let path = self.existing(Self::RESULTS)?;
        let text = fs::read_to_string(&path).map_err(|source| RunError::Io { path: path.clone(), source })?;
        serde_json::from_str(&text).map_err(|source| RunError::Json { path, source })
    }

    /// Writes the page about the run, in place of an older one; where it is.
    ///
    /// # Errors
    /// [`RunError::Io`] if the file cannot be written.
    pub fn write_report(&self, html: &str) -> Result<PathBuf, RunError> {
        self.write(Self::REPORT, html.as_bytes())?;
        Ok(self.path.join(Self::REPORT))
    }

    fn existing(&self, file: &'static str) -> Result<PathBuf, RunError> {
        let path = self.path.join(file);
        if path.is_file() { Ok(path) } else { Err(RunError::Unfinished { path: self.path.clone(), file }) }
    }

    fn to_json(&self, file: &str, json: serde_json::Result<String>) -> Result<String, RunError> {
        json.map_err(|source| RunError::Json { path: self.path.join(file), source })
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.path.join(file);
        atomic::write(&path, bytes).map_err(|source| RunError::Io { path, source })
    }
}
