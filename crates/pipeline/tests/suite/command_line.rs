//! The program as its user meets it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tensor_ops::{ISA_VARIABLE, Isa, WINOGRAD_VARIABLE};

const TINY: &str = r#"
    [data]
    clips_per_person = 6
    [model.encoder]
    convolutions = [{ channels = 3, kernel = 4, stride = 4, padding = 0 }]
    [model.temporal.lstm]
    features = 5
    hidden = 4
    [training]
    epochs = 2
"#;

/// Runs the program in `directory`.
fn vidrnn(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vidrnn")).args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the program, which must fail and leave nothing behind; what it says about it.
fn refusal(directory: &Path, arguments: &[&str]) -> String {
    let before = fs::read_dir(directory).unwrap().count();
    let output = vidrnn(directory, arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    assert_eq!(fs::read_dir(directory).unwrap().count(), before, "{arguments:?} left something behind");
    text(&output.stderr)
}

#[test]
fn compare_and_evaluate() {
    let directory = tempfile::tempdir().unwrap();
    let config = "
        [actions.data]
        protocol = \"single\"
        clips_per_person = 6
        [actions.model.encoder]
        convolutions = [{ channels = 3, kernel = 4, stride = 4, padding = 0 }]
    ";
    fs::write(directory.path().join("tiny.toml"), config).unwrap();
    let models = "conv-pooling,transformer";
    let arguments = ["compare", "--config", "tiny.toml", "--models", models, "--seeds", "3,4", "--epochs", "1"];
    let output = vidrnn(directory.path(), &arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    let run = directory.path().join("runs/comparison-001");
    for name in ["conv-pooling-seed-3", "conv-pooling-seed-4", "transformer-seed-3", "transformer-seed-4"] {
        assert!(err.contains(name), "{err}");
        assert!(run.join(name).join("model.safetensors").is_file());
    }
    let rows: Vec<&str> = out.lines().filter(|line| line.starts_with("conv-pooling") && line.contains('%')).collect();
    assert_eq!(rows.len(), 2, "figures and recall: {out}");
    assert!(out.contains("mean and standard deviation over 1 people and 2 seeds"), "{out}");

    let evaluated = vidrnn(directory.path(), &["evaluate", "runs/comparison-001"]);
    assert!(text(&evaluated.stdout).contains("the same figures as recorded when the run was trained"));
    fs::remove_dir_all(run.join("transformer-seed-4")).unwrap();
    let evaluated = vidrnn(directory.path(), &["evaluate", "runs/comparison-001"]);
    assert!(text(&evaluated.stderr).contains("no such run directory"), "{}", text(&evaluated.stderr));
}

#[test]
fn train_and_evaluate() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tiny.toml"), TINY).unwrap();
    let arguments = ["train", "actions", "--config", "tiny.toml", "--seed", "9", "--test-person", "2", "--epochs", "3"];
    let trained = vidrnn(directory.path(), &arguments);
    let (out, err) = (text(&trained.stdout), text(&trained.stderr));
    assert!(trained.status.success(), "{err}");
    assert!(err.contains("run directory: runs/actions-001"), "{err}");
    assert!(err.contains("person 2 epoch 3/3: loss "), "{err}");
    assert!(!err.contains('\x1b'), "no bar without a terminal: {err}");
    for part in ["person 2: accuracy", "true \\ predicted", "sitdown", "recall", "runs/actions-001 in "] {
        assert!(out.contains(part), "`{part}` in {out}");
    }
    let run = directory.path().join("runs/actions-001");
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    for line in ["seed = 9", "test_person = 2", "epochs = 3", "hidden = 4", "learning_rate = 0.003"] {
        assert!(config.lines().any(|found| found == line), "`{line}` in {config}");
    }
    assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 3);

    let evaluated = vidrnn(directory.path(), &["evaluate", "runs/actions-001", "--threads", "1"]);
    let figures = text(&evaluated.stdout);
    assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
    assert!(figures.contains("the same figures as recorded when the run was trained"), "{figures}");
    let table = |text: &str| text.split("true \\").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    assert_eq!(table(&figures), table(&out));

    let page = run.join("report.html");
    assert!(out.ends_with("report: runs/actions-001/report.html\n"), "{out}");
    let written = fs::read(&page).unwrap();
    fs::write(&page, "old").unwrap();
    let reported = vidrnn(directory.path(), &["report", "runs/actions-001", "--threads", "1"]);
    assert!(reported.status.success(), "{}", text(&reported.stderr));
    assert_eq!(text(&reported.stdout), "runs/actions-001/report.html\n");
    assert!(fs::read(&page).unwrap() == written, "the same page from the same files");

    let quiet = ["train", "--config", "tiny.toml", "--name", "mine", "--run-dir", "else/where", "--quiet"];
    let output = vidrnn(directory.path(), &quiet);
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
    assert!(directory.path().join("else/where/mine/results.json").is_file());
    let again = vidrnn(directory.path(), &quiet);
    assert!(!again.status.success());
    assert!(text(&again.stderr).contains("else/where/mine exists already; a run is never overwritten"));
}

#[test]
fn leave_one_person_out() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tiny.toml"), TINY.replace("epochs = 2", "epochs = 1")).unwrap();
    let arguments = ["train", "--config", "tiny.toml", "--protocol", "leave-one-person-out", "--name", "all"];
    let output = vidrnn(directory.path(), &arguments);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for person in 1..=8 {
        assert!(out.contains(&format!("person {person}: accuracy")), "{out}");
        assert!(directory.path().join(format!("runs/all/person-{person}/model.safetensors")).is_file());
    }
    assert!(out.contains("mean accuracy") && out.contains("standard deviation over 8 people"), "{out}");
    let output = vidrnn(directory.path(), &["evaluate", "runs/all"]);
    assert!(text(&output.stdout).contains("the same figures as recorded"), "{}", text(&output.stderr));
}

#[test]
fn a_task_prints_its_table() {
    let directory = tempfile::tempdir().unwrap();
    let config = "[data]\ntraining_clips = 8\ntest_clips = 4\n[model]\nfeatures = 4\nhidden = 4\nencoder_frames = 64";
    fs::write(directory.path().join("tiny.toml"), config).unwrap();
    let arguments =
        ["task", "reading", "--config", "tiny.toml", "--seeds", "2", "--epochs", "1", "--frames", "6,12", "--validate"];
    let output = vidrnn(directory.path(), &arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(err.contains("run directory: runs/task-reading-001") && err.contains("epoch 12 of 12: seed 2"), "{err}");
    for part in
        ["4 clips of validation digits", "2 seeds", "exact match, %", "12 frames", "bahdanau", "without-attention"]
    {
        assert!(out.contains(part), "`{part}` in {out}");
    }
    let config = fs::read_to_string(directory.path().join("runs/task-reading-001/config.toml")).unwrap();
    assert!(config.contains("test_on = \"validation\"") && config.contains("frames = [6, 12]"), "{config}");
    let reason = |command| text(&vidrnn(directory.path(), &[command, "runs/task-reading-001"]).stderr);
    assert!(reason("evaluate").contains("a task keeps no models; its figures are in results.json"));
    assert!(reason("report").contains("a task has no page; its figures are in results.json"));
}

#[test]
fn wrong_arguments_are_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("unknown.toml"), "[training]\nepoch = 3\n").unwrap();
    fs::write(path.join("type.toml"), "[training]\nepochs = \"many\"\n").unwrap();
    fs::write(path.join("value.toml"), "[training]\nlearning_rate = -1.0\n").unwrap();
    fs::create_dir(path.join("empty")).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["evaluate", "runs/none"], "error: runs/none: no such run directory"),
        (&["evaluate", "empty"], "error: empty: not a finished run: config.toml is missing"),
        (&["evaluate", "value.toml"], "error: value.toml: no such run directory"),
        (&["report", "runs/none"], "error: runs/none: no such run directory"),
        (&["report", "empty"], "error: empty: not a finished run: config.toml is missing"),
        (&["report"], "required arguments were not provided"),
        (&["evaluate"], "required arguments were not provided"),
        (&["train", "--test-person", "9"], "error: `data.test_person` must be a person from 1 to 8, found 9"),
        (&["train", "--test-person", "0"], "error: `data.test_person` must be a person from 1 to 8, found 0"),
        (&["train", "--test-person", "x"], "invalid value 'x' for '--test-person <N>'"),
        (&["compare", "--models", "lstm,rnn"], "invalid value 'rnn' for '--models <MODELS>'"),
        (&["compare", "--models", "lstm,lstm"], "error: `models` must be different models, found lstm twice"),
        (&["compare", "--seeds", "1,1"], "error: `seeds` must be different seeds, found 1 twice"),
        (&["compare", "--epochs", "0"], "error: `training.epochs` must be at least 1, found 0"),
        (&["train", "--model", "rnn"], "invalid value 'rnn' for '--model <MODEL>'"),
        (&["train", "--reducer", "mean"], "error: --reducer needs a pooling model, such as --model conv-pooling"),
        (&["train", "nowcast", "--model", "lstm"], "error: --model is no option of `nowcast`"),
        (&["train", "--epochs", "0"], "error: `training.epochs` must be at least 1, found 0"),
        (&["train", "--batch-size", "0"], "error: `training.batch_size` must be at least 1, found 0"),
        (&["train", "--learning-rate", "0"], "error: `training.learning_rate` must be a number above 0, found 0"),
        (&["train", "--learning-rate", "nan"], "error: `training.learning_rate` must be a number above 0, found NaN"),
        (&["train", "--seed", "9223372036854775808"], "error: `seed` must be below 2^63"),
        (&["train", "--seed", "-1"], "unexpected argument '-1'"),
        (&["train", "--threads", "0"], "invalid value '0' for '--threads <THREADS>'"),
        (&["train", "--clips-per-person", "0"], "error: `data.clips_per_person` must be at least 1, found 0"),
        (&["train", "--protocol", "all"], "[possible values: single, leave-one-person-out]"),
        (&["train", "portraits"], "invalid value 'portraits' for '[RECIPE]'"),
        (&["train", "nowcast", "--data", "none.npy"], "error: none.npy: "),
        (&["train", "nowcast", "--data", "value.toml"], "error: value.toml: "),
        (&["train", "nowcast", "--epochs", "3"], "error: --epochs is no option of `nowcast`"),
        (&["train", "nowcast", "--steps", "0"], "error: `training.steps` must be 1 to 100000000, found 0"),
        (&["train", "moving-mnist", "--data", "a.npy"], "error: --data is no option of `moving-mnist`"),
        (&["train", "--preset", "tiny"], "error: --preset is no option of `actions`"),
        (&["train", "--name", "a/b"], "error: `a/b` cannot be the name of a run"),
        (&["train", "--config", "none.toml"], "error: none.toml: "),
        (&["train", "--config", "unknown.toml"], "unknown field `epoch`, expected one of `epochs`"),
        (&["train", "--config", "type.toml"], "invalid type: string \"many\", expected usize"),
        (&["train", "--config", "value.toml"], "error: `training.learning_rate` must be a number above 0, found -1"),
        (&["task"], "required arguments were not provided"),
        (&["task", "portraits"], "invalid value 'portraits' for '<TASK>'"),
        (&["task", "when", "--seeds", "0"], "error: `seeds` must be from 1 to 1000, found 0"),
        (&["task", "when", "--frames", "8,1"], "error: `data.frames` must be from 2 to 1000, found 1"),
        (&["task", "when", "--frames", "8,x"], "invalid value 'x' for '--frames <N,…>'"),
        (&["task", "order", "--epochs", "0"], "error: `training.epochs` must be at least 1, found 0"),
        (&["task", "order", "--config", "none.toml"], "error: none.toml: "),
        (&["task", "order", "--config", "unknown.toml"], "error: unknown.toml: unknown field `epoch`"),
        (&["task", "order", "--name", "a/b"], "error: `a/b` cannot be the name of a run"),
        (&["retrain"], "unrecognized subcommand 'retrain'"),
        (&[], "Usage: vidrnn <COMMAND>"),
    ];
    for (arguments, reason) in cases {
        let message = refusal(path, arguments);
        assert!(message.contains(reason), "{arguments:?}: expected `{reason}` in: {message}");
        assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    }
}

#[test]
fn another_word_than_on_or_off_for_the_winograd_kernels_is_refused() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_vidrnn"));
    let output = program.args(["evaluate", "runs/actions-001"]).env(WINOGRAD_VARIABLE, "no").output().unwrap();
    assert_eq!(text(&output.stderr), "error: Winograd: option `VIDRNN_WINOGRAD` must be on or off, found no\n");
    assert!(!output.status.success());
}

#[test]
fn an_instruction_set_that_cannot_be_used_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tiny.toml"), TINY).unwrap();
    let with_isa = |name: &str, arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_vidrnn"));
        program.args(arguments).env(ISA_VARIABLE, name).current_dir(directory.path()).output().unwrap()
    };
    let lacking = [Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| !Isa::available().contains(isa));
    let cases = lacking.map(|isa| (isa.name(), "an instruction set of this CPU"));
    for (name, requirement) in cases.chain([("sse2", "portable, avx2 or avx512")]) {
        for arguments in [["train", "--config", "tiny.toml"].as_slice(), &["evaluate", "runs/actions-001"]] {
            let output = with_isa(name, arguments);
            let expected = format!("error: Isa: option `VIDRNN_ISA` must be {requirement}, found {name}\n");
            assert_eq!((text(&output.stderr), text(&output.stdout)), (expected, String::new()));
            assert!(!output.status.success());
        }
    }
    assert!(!directory.path().join("runs").exists());
    for isa in Isa::available() {
        let output = with_isa(isa.name(), &["train", "--config", "tiny.toml", "--epochs", "1", "--name", isa.name()]);
        assert!(output.status.success(), "{isa}: {}", text(&output.stderr));
    }
}

#[test]
fn help_names_every_command() {
    let output = vidrnn(Path::new("."), &["--help"]);
    let help = text(&output.stdout);
    assert!(output.status.success());
    assert!(["train", "evaluate", "report", "task"].iter().all(|command| help.contains(command)), "{help}");
    let help = text(&vidrnn(Path::new("."), &["train", "--help"]).stdout);
    for flag in ["--config", "--seed", "--epochs", "--protocol", "--test-person", "--run-dir", "--name", "--threads"] {
        assert!(help.contains(flag), "`{flag}` in {help}");
    }
}
