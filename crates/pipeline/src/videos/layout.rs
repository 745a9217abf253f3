//! Layouts of folders and lists of videos.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use video_input::is_video;

use super::{CollectionConfig, CollectionError, Part};

/// Names of the folder whose videos are held out.
const VALIDATION_FOLDERS: [&str; 4] = ["val", "validation", "valid", "test"];

/// A video as a layout names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) class: String,
    /// What it is for, where the layout says so.
    pub(super) part: Option<Part>,
}

/// All videos that `config` speaks of, and warnings.
pub(super) fn find(config: &CollectionConfig) -> Result<(Vec<Listed>, Vec<String>), CollectionError> {
    if let (Some(training), Some(validation)) = (&config.training_list, &config.validation_list) {
        return find_listed(config, [training, validation]).map(|listed| (listed, Vec::new()));
    }
    match &config.hmdb_splits {
        Some(splits) => find_hmdb(config, splits).map(|listed| (listed, Vec::new())),
        None => find_in_folders(&config.path),
    }
}

/// The videos of a folder per class, below `train` and `val` where there are such.
fn find_in_folders(root: &Path) -> Result<(Vec<Listed>, Vec<String>), CollectionError> {
    let mut warnings = Vec::new();
    let training = root.join("train");
    let validation = VALIDATION_FOLDERS.map(|name| root.join(name)).into_iter().find(|path| path.is_dir());
    let parts = match (training.is_dir(), validation) {
        (true, Some(validation)) => {
            vec![(training, Some(Part::Training)), (validation, Some(Part::Validation))]
        }
        _ => vec![(root.to_owned(), None)],
    };
    let mut listed = Vec::new();
    for (folder, part) in parts {
        for class_folder in entries(&folder)?.into_iter().filter(|path| path.is_dir()) {
            let videos = videos_in(&class_folder)?;
            if videos.is_empty() {
                warnings.push(format!("{}: no videos", class_folder.display()));
            }
            let class = file_name(&class_folder);
            for path in videos {
                listed.push(Listed { name: name_below(root, &path), path, class: class.clone(), part });
            }
        }
    }
    if listed.is_empty() {
        let expected = "folders of videos, one per class";
        return Err(CollectionError::NoVideos { path: root.to_owned(), expected });
    }
    Ok((listed, warnings))
}

/// The videos of two lists, one that trains and one that is held out.
fn find_listed(config: &CollectionConfig, lists: [&PathBuf; 2]) -> Result<Vec<Listed>, CollectionError> {
    let classes = config.classes.as_deref().map(read_classes).transpose()?;
    let mut listed = Vec::new();
    for (list, part) in lists.into_iter().zip([Part::Training, Part::Validation]) {
        for (number, line) in read_lines(list)? {
            let wrong = |problem| CollectionError::Line { path: list.clone(), line: number, problem };
            let (path, label) = path_and_label(&config.path, &line).map_err(wrong)?;
            let folder = path.parent().filter(|folder| *folder != config.path).map(file_name);
            let class = match (label, &classes) {
                (Some(label), Some(classes)) => {
                    match (label.parse::<usize>(), classes.iter().any(|(_, c)| *c == label)) {
                        (_, true) => label,
                        (Ok(number), false) => classes
                            .iter()
                            .find(|(own, _)| *own == number)
                            .map(|(_, class)| class.clone())
                            .ok_or_else(|| wrong(format!("no class has the number {number}")))?,
                        (Err(_), false) => return Err(wrong(format!("`{label}` is no class"))),
                    }
                }
                // Without names for them, numbers stand for the folders that the videos lie in.
                (Some(label), None) if label.parse::<usize>().is_err() => label,
                (Some(label), None) => folder.unwrap_or(label),
                (None, _) => folder.ok_or_else(|| wrong("neither a label nor a folder says the class".to_owned()))?,
            };
            listed.push(Listed { name: name_below(&config.path, &path), path, class, part: Some(part) });
        }
    }
    Ok(listed)
}

/// The videos of a split of HMDB-51: files `CLASS_test_splitN.txt` with lines `video 0|1|2`, for unused, training, test.
fn find_hmdb(config: &CollectionConfig, splits: &Path) -> Result<Vec<Listed>, CollectionError> {
    let suffix = format!("_test_split{}.txt", config.hmdb_split);
    let mut listed = Vec::new();
    for list in entries(splits)? {
        let Some(class) = file_name(&list).strip_suffix(&suffix).map(str::to_owned) else { continue };
        for (number, line) in read_lines(&list)? {
            let wrong = |problem| CollectionError::Line { path: list.clone(), line: number, problem };
            let (name, flag) = line.rsplit_once(char::is_whitespace).unwrap_or((&line, ""));
            let part = match flag {
                "0" => continue,
                "1" => Part::Training,
                "2" => Part::Validation,
                _ => return Err(wrong(format!("expected `video 0`, `video 1` or `video 2`, found `{line}`"))),
            };
            let path = config.path.join(&class).join(name.trim());
            if !path.exists() {
                return Err(wrong(format!("{}: no such video", path.display())));
            }
            listed.push(Listed { name: name_below(&config.path, &path), path, class: class.clone(), part: Some(part) });
        }
    }
    if listed.is_empty() {
        let expected = "split files of HMDB-51, such as wave_test_split1.txt";
        return Err(CollectionError::NoVideos { path: splits.to_owned(), expected });
    }
    Ok(listed)
}

/// The video that a line names, and its label if it has one. A path may contain spaces.
fn path_and_label(root: &Path, line: &str) -> Result<(PathBuf, Option<String>), String> {
    let whole = root.join(line);
    if whole.exists() {
        return Ok((whole, None));
    }
    let Some((path, label)) = line.rsplit_once(char::is_whitespace) else {
        return Err(format!("{}: no such video", whole.display()));
    };
    let path = root.join(path.trim());
    if path.exists() { Ok((path, Some(label.to_owned()))) } else { Err(format!("{}: no such video", path.display())) }
}

/// The numbers and names of a file of classes, lines `number name` or `name`.
fn read_classes(path: &Path) -> Result<Vec<(usize, String)>, CollectionError> {
    let lines = read_lines(path)?;
    let numbered = |line: &str| {
        let (number, name) = line.split_once(char::is_whitespace)?;
        Some((number.parse().ok()?, name.trim().to_owned()))
    };
    let all: Option<Vec<(usize, String)>> = lines.iter().map(|(_, line)| numbered(line)).collect();
    let classes = all.unwrap_or_else(|| lines.into_iter().map(|(_, line)| line).enumerate().collect());
    let mut seen = HashMap::new();
    for (line, (number, name)) in classes.iter().enumerate() {
        if seen.insert(*number, name).is_some() {
            let problem = format!("the number {number} has two names");
            return Err(CollectionError::Line { path: path.to_owned(), line: line + 1, problem });
        }
    }
    Ok(classes)
}

/// The lines of a text file that are not empty, with their numbers from 1.
fn read_lines(path: &Path) -> Result<Vec<(usize, String)>, CollectionError> {
    let text = fs::read_to_string(path).map_err(|source| CollectionError::Io { path: path.to_owned(), source })?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    Ok(lines.map(|(index, line)| (index + 1, line.to_owned())).collect())
}

/// The videos of a folder of one class: files that look like videos, and folders of nothing but pictures.
fn videos_in(folder: &Path) -> Result<Vec<PathBuf>, CollectionError> {
    let mut videos = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let inside = entries(&path)?;
            if !inside.is_empty() && inside.iter().all(|file| is_picture(file)) {
                videos.push(path);
            }
        } else if is_video(&path) {
            videos.push(path);
        }
    }
    Ok(videos)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// What a folder holds, in the order of names, without what is hidden. The order of the operating system differs from
/// machine to machine, and the numbers of the classes must not.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, CollectionError> {
    let failed = |source| CollectionError::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !file_name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The path below `root`, with `/` between its parts on every system.
fn name_below(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
