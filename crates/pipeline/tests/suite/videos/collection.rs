//! Which videos there are, of which class, and which are held out.

use std::fs;
use std::path::{Path, PathBuf};

use pipeline::videos::{Collection, CollectionConfig, Part};
use tempfile::tempdir;

/// Makes empty files; finding videos reads none of them.
fn touch(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

fn config(folder: &Path) -> CollectionConfig {
    CollectionConfig { path: folder.to_owned(), ..CollectionConfig::default() }
}

/// What is found: `class name part` of each video.
fn found(config: &CollectionConfig) -> Vec<String> {
    let collection = Collection::open(config, 1).unwrap();
    let line = |video: &pipeline::videos::VideoEntry| {
        format!("{} {} {}", collection.labels[video.label], video.name, video.part.name())
    };
    collection.videos.iter().map(line).collect()
}

#[test]
fn folders_of_parts_and_classes() {
    for held_out in ["val", "validation", "valid", "test"] {
        let folder = tempdir().unwrap();
        let of_held_out = format!("{held_out}/b/2.MP4");
        let names = ["train/b/1.mp4", "train/a/x y.avi", "train/a/notes.txt", "train/a/.hidden.mp4", &of_held_out];
        touch(folder.path(), &names);
        // A folder of nothing but pictures is a video.
        touch(
            folder.path(),
            &["train/b/frames/0.png", "train/b/frames/1.jpg", "train/b/mixed/0.png", "train/b/mixed/0.txt"],
        );
        let mut expected = vec![
            "a train/a/x y.avi training".to_owned(),
            "b train/b/1.mp4 training".to_owned(),
            "b train/b/frames training".to_owned(),
            format!("b {of_held_out} validation"),
        ];
        expected.sort_by_key(|line| line.split_once(' ').unwrap().1.to_owned());
        assert_eq!(found(&config(folder.path())), expected, "{held_out}");
    }
}

#[test]
fn a_part_of_every_class_is_held_out_by_seed_and_group() {
    let folder = tempdir().unwrap();
    let mut names: Vec<String> = (0..10).map(|number| format!("wave/{number}.mp4")).collect();
    // UCF-101 names: four groups of three clips of one recording.
    names.extend((0..12).map(|number| format!("drum/v_Drum_g{:02}_c{}.avi", number / 3, number % 3)));
    touch(folder.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let open = |seed| Collection::open(&config(folder.path()), seed).unwrap();
    let collection = open(1);
    assert_eq!(collection.labels, ["drum", "wave"]);
    assert_eq!(collection.counts(), [[9, 3], [8, 2]]);
    assert_eq!(collection.warnings, [""; 0]);
    assert_eq!(open(1), collection);
    assert!((2..9).any(|seed| open(seed) != collection), "the seed decides nothing");
}

#[test]
fn lists_of_ucf_101() {
    let folder = tempdir().unwrap();
    let names =
        ["Drum/v_Drum_g01_c01.avi", "Drum/v_Drum_g01_c02.avi", "Wave/v_Wave_g02_c01.avi", "Wave/v_Wave_g03_c01.avi"];
    touch(folder.path(), &names);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let training_list = write("trainlist01.txt", "Drum/v_Drum_g01_c01.avi 1\r\n\nWave/v_Wave_g02_c01.avi 2\n");
    let validation_list = write("testlist01.txt", "Drum/v_Drum_g01_c02.avi\nWave/v_Wave_g03_c01.avi\n");
    let expected = [
        "Drum Drum/v_Drum_g01_c01.avi training",
        "Drum Drum/v_Drum_g01_c02.avi validation",
        "Wave Wave/v_Wave_g02_c01.avi training",
        "Wave Wave/v_Wave_g03_c01.avi validation",
    ];
    let classes = write("classInd.txt", "1 Drum\n2 Wave\n");
    let with_names = CollectionConfig { training_list, validation_list, classes, ..config(folder.path()) };
    assert_eq!(found(&with_names), expected);
    // Without names, the folders have them.
    let without = CollectionConfig { classes: None, ..with_names.clone() };
    assert_eq!(found(&without), expected);
    let warnings = Collection::open(&with_names, 1).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("v_Drum_g01"), "{warnings:?}");

    let unknown = CollectionConfig { training_list: write("three.txt", "Drum/v_Drum_g01_c01.avi 3"), ..with_names };
    let error = Collection::open(&unknown, 1).unwrap_err().to_string();
    assert!(error.ends_with("three.txt: line 1: no class has the number 3"), "{error}");
}

#[test]
fn names_as_labels_and_paths_with_spaces() {
    let folder = tempdir().unwrap();
    touch(folder.path(), &["a b.mp4", "c.mp4", "d.mp4", "e.mp4"]);
    let training_list = Some(folder.path().join("train.txt"));
    let validation_list = Some(folder.path().join("val.txt"));
    fs::write(training_list.as_ref().unwrap(), "a b.mp4 yes\nc.mp4\tno\n").unwrap();
    fs::write(validation_list.as_ref().unwrap(), "d.mp4 yes\ne.mp4 no\n").unwrap();
    let config = CollectionConfig { training_list, validation_list, ..config(folder.path()) };
    let expected = ["yes a b.mp4 training", "no c.mp4 training", "yes d.mp4 validation", "no e.mp4 validation"];
    assert_eq!(found(&config), expected);
}

#[test]
fn splits_of_hmdb_51() {
    let folder = tempdir().unwrap();
    touch(folder.path(), &["wave/a.avi", "wave/b.avi", "wave/c.avi", "run/d.avi", "run/e.avi"]);
    let splits = folder.path().join("splits");
    fs::create_dir(&splits).unwrap();
    fs::write(splits.join("wave_test_split2.txt"), "a.avi 1 \nb.avi 2\nc.avi 0\n").unwrap();
    fs::write(splits.join("run_test_split2.txt"), "d.avi 1\ne.avi 2\n").unwrap();
    fs::write(splits.join("run_test_split1.txt"), "d.avi 2\n").unwrap();
    let config = CollectionConfig { hmdb_splits: Some(splits), hmdb_split: 2, ..config(folder.path()) };
    let expected = [
        "run run/d.avi training",
        "run run/e.avi validation",
        "wave wave/a.avi training",
        "wave wave/b.avi validation",
    ];
    assert_eq!(found(&config), expected);
}

#[test]
fn every_misuse_has_its_error() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    touch(folder.path(), &["one/a/1.mp4", "alone/a/1.mp4", "alone/b/2.mp4", "empty/a/readme.txt", "flat/1.mp4"]);
    fs::create_dir(path("nothing")).unwrap();
    fs::write(path("gone.txt"), "a/1.mp4 x\nb/none.mp4 y\n").unwrap();
    fs::write(path("twice.txt"), "a/1.mp4 x\na/1.mp4 y\n").unwrap();
    fs::write(path("rest.txt"), "b/2.mp4 y\n").unwrap();
    let lists = |first: &str, second: &str| CollectionConfig {
        training_list: Some(path(first)),
        validation_list: Some(path(second)),
        ..config(&path("alone"))
    };
    let cases: Vec<(CollectionConfig, &str)> = vec![
        (config(&path("missing")), "missing: No such file"),
        (config(&path("nothing")), "nothing: expected folders of videos, one per class, found none"),
        (config(&path("flat")), "flat: expected folders of videos, one per class, found none"),
        (config(&path("empty")), "empty: expected folders of videos, one per class, found none"),
        (config(&path("one")), "one: expected at least two classes, found 1: a"),
        (config(&path("alone")), "alone: no video for validation"),
        (lists("missing.txt", "rest.txt"), "missing.txt: No such file"),
        (lists("gone.txt", "rest.txt"), "gone.txt: line 2: "),
        (lists("twice.txt", "rest.txt"), "a/1.mp4 is listed more than once"),
        (
            CollectionConfig { hmdb_splits: Some(path("one")), ..config(&path("alone")) },
            "one: expected split files of HMDB-51",
        ),
    ];
    for (config, expected) in cases {
        let error = Collection::open(&config, 1).unwrap_err().to_string();
        assert!(error.contains(expected), "expected …{expected}…, found {error}");
    }
}

#[test]
fn parts_are_positions() {
    let folder = tempdir().unwrap();
    touch(folder.path(), &["train/a/1.mp4", "train/b/1.mp4", "val/a/2.mp4", "val/b/2.mp4"]);
    let collection = Collection::open(&config(folder.path()), 1).unwrap();
    assert_eq!(collection.part(Part::Training), [0, 1]);
    assert_eq!(collection.part(Part::Validation), [2, 3]);
    assert_eq!(collection.videos[3].path, PathBuf::from(folder.path()).join("val").join("b").join("2.mp4"));
}
