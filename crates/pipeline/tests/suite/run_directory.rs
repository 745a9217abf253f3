//! Run directories: names, files, and that nothing is ever overwritten.

use std::fs;
use std::path::{Path, PathBuf};

use pipeline::data::Protocol;
use pipeline::metrics::ConfusionMatrix;
use pipeline::recipe::ActionRecipe;
use pipeline::run::{EpochRecord, Evaluation, FoldResults, RunDirectory, RunError, RunResults};

fn results() -> RunResults {
    let mut confusion = ConfusionMatrix::new(2);
    for (truth, prediction) in [(0, 0), (0, 0), (0, 1)] {
        confusion.add(truth, prediction);
    }
    // A third and a loss with all digits: what is read back must be the same to the last bit.
    let test = Evaluation::new(0.1 + 0.2, confusion);
    let fold = FoldResults { test_person: 3, validation: None, test, parameters: 10, training_seconds: 1.0 / 3.0 };
    RunResults::new(vec!["walk".to_owned(), "lie".to_owned()], vec![fold])
}

#[test]
fn files_come_back_as_they_were_written() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "first").unwrap();
    let recipe = ActionRecipe { seed: 77, ..ActionRecipe::default() };
    run.write_recipe(&recipe).unwrap();
    assert_eq!(run.read_recipe().unwrap(), recipe);
    run.write_results(&results()).unwrap();
    assert_eq!(run.read_results::<RunResults>().unwrap(), results());
    let record = |epoch| EpochRecord {
        epoch,
        learning_rate: 1e-3 / 3.0,
        training_loss: 1.5,
        training_accuracy: 0.25,
        validation_loss: None,
        validation_accuracy: None,
        seconds: 0.7,
    };
    run.write_metrics(&[record(1)]).unwrap();
    run.write_metrics(&[record(1), record(2)]).unwrap();
    let lines = fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
    let records: Vec<EpochRecord> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records, [record(1), record(2)]);
    let mut names: Vec<_> = fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.toml", "metrics.jsonl", "results.json"], "no temporary file is left");
    assert_eq!(RunDirectory::open(run.path()).unwrap(), run);
}

#[test]
fn an_existing_run_is_never_touched() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "mine").unwrap();
    fs::write(run.path().join("config.toml"), "kept").unwrap();
    let error = RunDirectory::create(parent.path(), "mine").unwrap_err();
    assert!(matches!(&error, RunError::Exists { path } if path == run.path()));
    assert!(error.to_string().ends_with("mine exists already; a run is never overwritten, choose another name"));
    assert_eq!(fs::read_to_string(run.path().join("config.toml")).unwrap(), "kept");
    fs::write(parent.path().join("file"), "kept").unwrap();
    assert!(matches!(RunDirectory::create(parent.path(), "file"), Err(RunError::Exists { .. })));
}

#[test]
fn numbered_runs_take_the_next_free_number() {
    let parent = tempfile::tempdir().unwrap();
    let runs = parent.path().join("deep/runs");
    let name = |run: &RunDirectory| run.path().file_name().unwrap().to_owned();
    assert_eq!(name(&RunDirectory::create_numbered(&runs, "actions").unwrap()), "actions-001");
    RunDirectory::create(&runs, "actions-002").unwrap();
    assert_eq!(name(&RunDirectory::create_numbered(&runs, "actions").unwrap()), "actions-003");
    fs::remove_dir(runs.join("actions-001")).unwrap();
    assert_eq!(name(&RunDirectory::create_numbered(&runs, "actions").unwrap()), "actions-001");
    assert_eq!(name(&RunDirectory::create_numbered(&runs, "other").unwrap()), "other-001");
}

#[test]
fn runs_made_at_the_same_time_are_different() {
    let parent = tempfile::tempdir().unwrap();
    let make = || RunDirectory::create_numbered(parent.path(), "actions").unwrap().path().to_owned();
    let mut paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 8);
}

#[test]
fn names_are_plain() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "a/b", "/tmp", "a/", "a\\b", "../up"] {
        let error = RunDirectory::create(parent.path(), name).unwrap_err();
        let message = format!("`{name}` cannot be the name of a run: it must be a plain name, without separators");
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn missing_and_damaged_files_are_named() {
    let parent = tempfile::tempdir().unwrap();
    let missing = parent.path().join("none");
    let error = RunDirectory::open(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: no such run directory", missing.display()));
    let run = RunDirectory::create(parent.path(), "run").unwrap();
    let unfinished = |file| format!("{}: not a finished run: {file} is missing", run.path().display());
    assert_eq!(run.read_recipe().unwrap_err().to_string(), unfinished("config.toml"));
    assert_eq!(run.read_results::<RunResults>().unwrap_err().to_string(), unfinished("results.json"));
    assert_eq!(run.existing_model().unwrap_err().to_string(), unfinished("model.safetensors"));

    let starts_with_path = |message: String, file: &str| {
        assert!(message.starts_with(&run.path().join(file).display().to_string()), "{message}");
        message
    };
    fs::write(run.path().join("results.json"), "{\"labels\": [").unwrap();
    let message = starts_with_path(run.read_results::<RunResults>().unwrap_err().to_string(), "results.json");
    assert!(message.contains("EOF"), "{message}");
    fs::write(run.path().join("config.toml"), "[training]\nepochs = 0").unwrap();
    let message = starts_with_path(run.read_recipe().unwrap_err().to_string(), "config.toml");
    assert!(message.contains("`training.epochs` must be at least 1, found 0"), "{message}");
    fs::write(run.path().join("config.toml"), [0xff, 0xfe]).unwrap();
    starts_with_path(run.read_recipe().unwrap_err().to_string(), "config.toml");
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "run").unwrap();
    run.write_recipe(&ActionRecipe::default()).unwrap();
    // A directory cannot be replaced by a file, so this write fails at its last step.
    fs::create_dir_all(run.path().join("results.json/inside")).unwrap();
    let error = run.write_results(&results()).unwrap_err();
    assert!(matches!(&error, RunError::Io { path, .. } if path.ends_with("results.json")), "{error}");
    let count = fs::read_dir(run.path()).unwrap().count();
    assert_eq!(count, 2, "the temporary file is removed");
    assert_eq!(run.read_recipe().unwrap(), ActionRecipe::default());
}

#[test]
fn folds_have_their_own_directories() {
    assert_eq!(RunDirectory::fold_name(4), "person-4");
    let recipe = ActionRecipe::from_toml("[data]\nprotocol = \"leave-one-person-out\"").unwrap();
    assert_eq!(recipe.data.protocol, Protocol::LeaveOnePersonOut);
    assert!(Path::new(&RunDirectory::fold_name(8)).components().count() == 1);
}
