//! The commands about videos, as their user meets them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use ndarray::Array3;
use ndarray_npy::ReadNpyExt;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::{bar_recipe, write_bar, write_bars};

fn vidrnn(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidrnn"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    vidrnn(directory, arguments).output().unwrap()
}

/// What the program prints, which must succeed.
fn printed(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A folder with videos in `clips` and a recipe in `recipe.toml`.
fn bars(epochs: usize) -> TempDir {
    let folder = tempdir().unwrap();
    write_bars(&folder.path().join("clips"), 8);
    let mut recipe = bar_recipe(Path::new("clips"));
    recipe.training.epochs = epochs;
    fs::write(folder.path().join("recipe.toml"), recipe.to_toml()).unwrap();
    folder
}

const TRAIN: [&str; 6] = ["train", "videos", "--config", "recipe.toml", "--name", "run"];

#[test]
fn from_a_folder_to_predictions() {
    let folder = bars(2);
    let folder = folder.path();
    let check = printed(folder, &["data", "check", "clips"]);
    assert!(check.contains("left          6         2"), "{check}");
    assert!(printed(folder, &TRAIN).contains("report: runs/run/report.html"));
    assert!(printed(folder, &["evaluate", "runs/run"]).contains("the same figures as recorded"));
    let info = printed(folder, &["info", "runs/run"]);
    for part in ["recipe         videos", "classes        2: left, right", "parameters     ", "multiply-adds  "] {
        assert!(info.contains(part), "{part} is missing in\n{info}");
    }

    write_bar(&folder.join("new.npy"), 14, true, 1);
    fs::write(folder.join("broken.npy"), "nothing").unwrap();
    let output = run(folder, &["predict", "runs/run", "new.npy", "broken.npy", "clips/left/00.npy"]);
    // The broken one is an error and keeps none of the others back.
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("broken.npy"));
    let said = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(said.len(), 2);
    assert_eq!([&said[0]["file"], &said[0]["frames"]], [&Value::from("new.npy"), &Value::from(14)]);
    assert_eq!(said[0]["top"].as_array().unwrap().len(), 2);
    assert_eq!(said[0]["label"], said[0]["top"][0]["label"]);

    // A stream of the same pixels, from a file and from a pipe, says the same.
    let per_frame = lines(&printed(folder, &["predict", "runs/run", "--per-frame", "new.npy"]));
    assert_eq!(per_frame.len(), 14);
    let from_file = lines(&printed(folder, &["stream", "runs/run/model.safetensors", "new.npy"]));
    let raw = ["stream", "runs/run", "-", "--raw", "16x12", "--pixels", "gray8"];
    let mut child = vidrnn(folder, &raw).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let pixels = Array3::<u8>::read_npy(fs::File::open(folder.join("new.npy")).unwrap()).unwrap();
    child.stdin.take().unwrap().write_all(pixels.as_slice().unwrap()).unwrap();
    let from_pipe = lines(&String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap());
    for (stream, name) in [(from_file, "file"), (from_pipe, "pipe")] {
        assert_eq!(stream.len(), 14, "{name}");
        for (streamed, predicted) in stream.iter().zip(&per_frame) {
            for key in ["frame", "seconds", "label", "probability", "top"] {
                assert_eq!(streamed[key], predicted[key], "{name}: {key} of {streamed}");
            }
            assert!(streamed["latency_milliseconds"].as_f64().unwrap() > 0.0);
        }
    }
}

#[test]
fn a_killed_run_goes_on_as_if_it_had_never_been() {
    let folder = bars(40);
    let folder = folder.path();
    printed(folder, &["train", "videos", "--config", "recipe.toml", "--name", "whole"]);
    let weights = |run: &str| fs::read(folder.join("runs").join(run).join("model.safetensors")).ok();
    let mut killed = 0;
    for milliseconds in [60, 250, 500] {
        // From the first start or from where the last one was killed.
        let go_on: &[&str] = if folder.join("runs/run").exists() { &["resume", "runs/run"] } else { &TRAIN };
        let mut child = vidrnn(folder, go_on).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !folder.join("runs/run/videos.jsonl").exists() {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        killed += usize::from(weights("run").is_none());
    }
    assert!(killed > 0, "every run was finished before it was killed");
    if weights("run").is_none() {
        printed(folder, &["resume", "runs/run"]);
    }
    assert!(weights("run") == weights("whole"), "other weights");
    let refused = run(folder, &["resume", "runs/run"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("the run is finished"));
}

#[test]
fn commands_refuse_what_they_cannot_use() {
    let folder = bars(1);
    let folder = folder.path();
    fs::write(folder.join("foreign.safetensors"), "no model").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["train", "videos"], "`data.path` must be the folder of the videos"),
        (&["train", "videos", "--data", "nowhere"], "nowhere: No such file"),
        (&["train", "--data", "clips", "--protocol", "single"], "--protocol is no option of `videos`"),
        (&["train", "actions", "--segments", "4"], "--segments is no option of `actions`"),
        (&["train", "--data", "clips", "--input", "pixels", "--size", "64"], "expected two numbers such as 64x96"),
        (&["predict", "foreign.safetensors", "clips/left/00.npy"], "not a complete safetensors file"),
        (&["predict", "runs/none", "clips/left/00.npy"], "no such run directory"),
        (&["stream", "runs/none", "-"], "no such run directory"),
        (&["data", "check", "nowhere"], "nowhere: No such file"),
    ];
    for (arguments, expected) in cases {
        let output = run(folder, arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && error.contains(expected),
            "{arguments:?}: expected {expected}, found {error}"
        );
    }
}
