//! What is kept of videos.

use std::fs;
use std::path::PathBuf;
use std::slice::from_ref;

use pipeline::interrupt::Interrupt;
use pipeline::videos::{Cache, CacheSummary, Collection, InputConfig, InputKind, check};
use tempfile::tempdir;
use video_input::OnError;

use super::{bar_recipe, write_bar, write_bars};

fn input() -> InputConfig {
    InputConfig { size: [12, 16], ..InputConfig::of_kind(InputKind::Pixels) }
}

fn store(cache: &Cache, paths: &[PathBuf], input: &InputConfig) -> CacheSummary {
    cache.videos(paths, input, &Interrupt::default(), &mut |_| {}).unwrap()
}

#[test]
fn a_video_is_decoded_once_whatever_its_name() {
    let folder = tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("frames")).unwrap();
    let (first, moved) = (folder.path().join("first.npy"), folder.path().join("elsewhere").join("moved.npy"));
    write_bar(&first, 7, true, 0);
    assert_eq!(store(&cache, from_ref(&first), &input()).decoded, 7);
    assert_eq!(store(&cache, from_ref(&first), &input()).decoded, 0);
    fs::create_dir(moved.parent().unwrap()).unwrap();
    fs::rename(&first, &moved).unwrap();
    assert_eq!(store(&cache, from_ref(&moved), &input()).decoded, 0);
    // What changes the frames is another entry: the content, the size, the frame rate.
    write_bar(&moved, 8, true, 0);
    assert_eq!(store(&cache, from_ref(&moved), &input()).decoded, 8);
    assert_eq!(store(&cache, from_ref(&moved), &InputConfig { size: [12, 12], ..input() }).decoded, 8);
    assert_eq!(store(&cache, from_ref(&moved), &InputConfig { frame_rate: 12.5, ..input() }).decoded, 4);
    // What does not is not.
    assert_eq!(store(&cache, &[moved], &InputConfig { stacked_frames: 3, ..input() }).decoded, 0);
}

#[test]
fn frames_are_read_at_any_position() {
    let folder = tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let path = folder.path().join("bar.npy");
    write_bar(&path, 6, true, 3);
    let summary = store(&cache, &[path], &input());
    let video = summary.videos[0].as_ref().unwrap();
    assert_eq!(video.frames(), 6);
    assert!((video.seconds() - 5.0 / 25.0).abs() < 1e-9);
    let frames = video.read(&[4, 0, 4]).unwrap();
    assert_eq!(frames.dim(), (3, 3, 12, 16));
    assert_eq!(frames.index_axis(ndarray::Axis(0), 0), frames.index_axis(ndarray::Axis(0), 2));
    // The bar begins at column 3 + time; its first row has the value 250, the ground 20; all colours are the same.
    let value = |byte: f32| (byte - 127.5) / 127.5;
    for channel in 0..3 {
        assert_eq!([frames[[0, channel, 0, 7]], frames[[0, channel, 0, 6]]], [value(250.0), value(20.0)]);
        assert_eq!([frames[[1, channel, 0, 3]], frames[[1, channel, 0, 7]]], [value(250.0), value(20.0)]);
    }
}

#[test]
fn a_damaged_video_is_read_as_far_as_asked() {
    let folder = tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("frames")).unwrap();
    let path = folder.path().join("bar.npy");
    write_bar(&path, 6, true, 3);
    let complete = fs::read(&path).unwrap();
    // Half of the last frame is missing.
    fs::write(&path, &complete[..complete.len() - 96]).unwrap();
    let stored = |on_error| {
        let summary = store(&cache, from_ref(&path), &InputConfig { on_error, ..input() });
        summary.videos.into_iter().next().unwrap()
    };
    assert!(stored(OnError::Stop).unwrap_err().to_string().contains("bar.npy"));
    for on_error in [OnError::Keep, OnError::Skip] {
        assert_eq!(stored(on_error).unwrap().frames(), 5, "{on_error:?}");
    }
}

#[test]
fn damaged_entries_are_errors() {
    let folder = tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("frames")).unwrap();
    let path = folder.path().join("bar.npy");
    write_bar(&path, 6, true, 3);
    store(&cache, from_ref(&path), &input());
    let entry = fs::read_dir(folder.path().join("frames")).unwrap().next().unwrap().unwrap().path();
    let complete = fs::read(&entry).unwrap();
    let mut foreign = complete.clone();
    let place = complete.windows(6).position(|bytes| bytes == b"pixels").unwrap();
    foreign[place..place + 6].copy_from_slice(b"voxels");
    let cases = [
        (complete[..complete.len() - 1].to_vec(), "bytes, found"),
        (complete[..20].to_vec(), "it ends within its header"),
        (Vec::new(), "it ends within its header"),
        (vec![255; 64], "is longer than"),
        (foreign, "found voxels"),
    ];
    for (bytes, expected) in cases {
        fs::write(&entry, bytes).unwrap();
        let summary = store(&cache, from_ref(&path), &input());
        let error = summary.videos[0].as_ref().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("remove it"), "expected …{expected}…, found {error}");
    }
}

#[test]
fn a_wish_to_stop_is_heard() {
    let folder = tempdir().unwrap();
    write_bars(&folder.path().join("videos"), 3);
    let collection = Collection::open(&bar_recipe(&folder.path().join("videos")).data, 1).unwrap();
    let paths: Vec<PathBuf> = collection.videos.iter().map(|video| video.path.clone()).collect();
    let cache = Cache::open(&folder.path().join("frames")).unwrap();
    let interrupt = Interrupt::default();
    interrupt.request();
    assert!(cache.videos(&paths, &input(), &interrupt, &mut |_| {}).is_err());
    // Nothing half done is left.
    assert_eq!(fs::read_dir(folder.path().join("frames")).unwrap().count(), 0);
}

#[test]
fn a_check_finds_duplicates_and_what_cannot_be_read() {
    let folder = tempdir().unwrap();
    write_bars(&folder.path().join("train"), 2);
    write_bars(&folder.path().join("val"), 1);
    let damaged = folder.path().join("train").join("left").join("cut.npy");
    let complete = fs::read(folder.path().join("train").join("left").join("01.npy")).unwrap();
    fs::write(&damaged, &complete[..complete.len() - 5]).unwrap();
    let recipe = bar_recipe(folder.path());
    let collection = Collection::open(&recipe.data, 1).unwrap();
    let mut heard = 0;
    let report = check(&collection, &Interrupt::default(), &mut |_| heard += 1).unwrap();
    assert_eq!(heard, 7);
    assert_eq!(report.classes, [("left".to_owned(), [3, 1]), ("right".to_owned(), [2, 1])]);
    assert_eq!(report.unreadable().map(|(name, _)| name).collect::<Vec<_>>(), ["train/left/cut.npy"]);
    let mut duplicates = report.duplicates.clone();
    duplicates.sort();
    assert_eq!(
        duplicates,
        [["train/left/00.npy", "val/left/00.npy"], ["train/right/00.npy", "val/right/00.npy"]]
            .map(|pair| pair.map(str::to_owned).to_vec())
    );
    assert!(report.warnings[0].starts_with("2 videos both train and are held out"), "{:?}", report.warnings);
    let facts = report.files[0].facts.as_ref().unwrap_or_else(|_| panic!("{}", report.files[0].name));
    assert_eq!((facts.format, facts.width, facts.height, facts.frames), (".npy file", 16, 12, 9));
    let text = report.to_string();
    for line in ["left          3         1", "unreadable: train/left/cut.npy: ", "16×12 pixels", "9 to 10 frames"] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
