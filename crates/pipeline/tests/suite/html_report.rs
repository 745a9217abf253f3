//! The page about a run: that it stands by itself, says everything, and survives odd files.

use std::fs;
use std::path::Path;

use ndarray::Array4;
use ndarray_npy::write_npy;
use pipeline::actions;
use pipeline::comparison::{self, ComparisonRecipe};
use pipeline::data::{FirActions, Protocol, SplitConfig};
use pipeline::forecasting::nowcast::Nowcast;
use pipeline::forecasting::{LayerSize, MovingMnistPreset, MovingMnistRecipe, NowcastRecipe, moving_mnist};
use pipeline::interrupt::Interrupt;
use pipeline::model::ModelName;
use pipeline::recipe::ActionRecipe;
use pipeline::report::html::{ReportError, write_report};
use pipeline::run::{EpochRecord, RunDirectory, RunError, RunResults};

use crate::common::tiny_recipe;

/// Elements without content, which have no end.
const VOID: [&str; 3] = ["meta", "img", "br"];

/// Checks that every element ends where it should, that nothing is loaded from elsewhere and that no number is missing.
fn check_page(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>"));
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(2) {
        let (tag, _) = tag.split_once('>').expect("every tag is closed");
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "the end of another element");
        } else if !VOID.contains(&name) {
            open.push(name);
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of {tag}");
    }
    assert_eq!(open, Vec::<&str>::new(), "elements without end");
    for loaded in ["http:", "https:", "//", "url(", "@import", "<script", "<link", "<iframe", "NaN", "\"inf"] {
        let text = without_pictures(html);
        assert!(!text.contains(loaded), "`{loaded}` in {text}");
    }
    for (attribute, start) in [("src=\"", "data:image/"), ("href=\"", "#")] {
        for value in html.split(attribute).skip(1) {
            assert!(value.starts_with(start), "{attribute}{}", &value[..value.len().min(40)]);
        }
    }
    for link in html.split("href=\"#").skip(1) {
        let target = link.split('"').next().unwrap();
        assert!(html.contains(&format!("<section id=\"{target}\">")), "no section {target}");
    }
}

fn without_pictures(html: &str) -> String {
    let parts: Vec<&str> = html.split(";base64,").collect();
    let ends = parts[1..].iter().map(|part| part.split_once('"').unwrap().1);
    std::iter::once(parts[0]).chain(ends).collect()
}

fn check_contains(html: &str, parts: &[&str]) {
    for part in parts {
        assert!(html.contains(part), "`{part}` in {}", without_pictures(html));
    }
}

fn train(recipe: &ActionRecipe, parent: &Path, name: &str) -> RunDirectory {
    let run = RunDirectory::create(parent, name).unwrap();
    actions::train(recipe, &run, &mut |_| {}).unwrap();
    run
}

fn report(run: &RunDirectory) -> String {
    let path = write_report(run).unwrap();
    assert_eq!(path, run.path().join("report.html"));
    let html = fs::read_to_string(path).unwrap();
    check_page(&html);
    html
}

/// A run whose training takes no time.
fn smallest(parent: &Path) -> RunDirectory {
    let mut recipe = tiny_recipe();
    (recipe.data.clips_per_person, recipe.data.validation_fraction, recipe.training.epochs) = (Some(2), 0.0, 1);
    train(&recipe, parent, "smallest")
}

#[test]
fn a_single_run_has_a_page() {
    let parent = tempfile::tempdir().unwrap();
    let run = train(&tiny_recipe(), parent.path(), "a&b<i>");
    let files = || {
        let names = fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = names.filter(|path| !path.ends_with("report.html")).collect();
        files.sort();
        files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = files();
    let html = report(&run);
    assert!(files() == before, "no other file is touched, and none is left");
    assert_eq!(report(&run), html, "the same files, the same page");
    check_contains(&html, &FirActions::LABELS);
    let parts =
        ["<h1>a&amp;b&lt;i&gt;</h1>", "person 8", "14 clips", "training.epochs", ">validation<", "data:image/png"];
    check_contains(&html, &parts);
    let results: RunResults = run.read_results().unwrap();
    let test = &results.folds[0].test;
    let shown = |html: &str, section: &str| {
        let section = html.split(&format!("<section id=\"{section}\">")).nth(1).unwrap();
        section.split("</section>").next().unwrap().matches("class=\"film\"").count()
    };
    assert_eq!(shown(&html, "mistakes"), 10.min(14 - test.confusion.correct()));
    assert_eq!(shown(&html, "right"), test.recall.iter().filter(|recall| recall.unwrap_or(0.0) > 0.0).count());
    for (count, truth) in (0..7).flat_map(|truth| test.confusion.row(truth).iter().map(move |count| (count, truth))) {
        assert!(*count == 0 || html.contains(&format!(">{count}</td>")), "{count} clips of class {truth}");
    }
}

#[test]
fn every_fold_is_in_the_page() {
    let parent = tempfile::tempdir().unwrap();
    let mut recipe = tiny_recipe();
    recipe.data = SplitConfig {
        protocol: Protocol::LeaveOnePersonOut,
        clips_per_person: Some(5),
        validation_fraction: 0.2,
        ..recipe.data
    };
    recipe.training.epochs = 1;
    let run = train(&recipe, parent.path(), "all");
    let html = report(&run);
    for person in 1..=8 {
        check_contains(&html, &[&format!("<th scope=\"row\">person {person}</th>"), &format!(">person {person}</li>")]);
    }
    check_contains(&html, &FirActions::LABELS);
    assert_eq!(html.matches("<figure class=\"chart\">").count(), 4);
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    // A fold is a run by itself.
    let fold = RunDirectory::open(&run.path().join("person-3")).unwrap();
    check_contains(&report(&fold), &["person 3, who took no part in training"]);
    fs::remove_file(fold.path().join("metrics.jsonl")).unwrap();
    let error = write_report(&run).unwrap_err();
    assert!(error.to_string().ends_with("person-3: not a finished run: metrics.jsonl is missing"), "{error}");
}

#[test]
fn forecasts_have_pages() {
    let parent = tempfile::tempdir().unwrap();
    let film = Array4::from_shape_fn((6, 9, 10, 14), |(n, t, _, x)| if (x + n + t) % 7 < 2 { 200_u8 } else { 10 });
    let path = parent.path().join("<b>.npy");
    write_npy(&path, &film).unwrap();
    let mut recipe = NowcastRecipe { seed: 5, ..NowcastRecipe::default() };
    recipe.data.path = Some(path);
    (recipe.data.context, recipe.data.horizon) = (4, 3);
    recipe.network.layers = vec![LayerSize { channels: 3, input_kernel: 3, state_kernel: 3 }];
    (recipe.training.steps, recipe.training.batch_size) = (12, 3);
    let run = RunDirectory::create(parent.path(), "nowcast").unwrap();
    let results = Nowcast::new(recipe).unwrap().train(&run, &Interrupt::default(), &mut |_| {}).unwrap();
    let html = report(&run);
    check_contains(&html, &["network", "extrapolation", "persistence", "index, 0.25", "&lt;b&gt;.npy"]);
    check_contains(&html, &[&format!("<td>{:.4}</td>", results.network.leads[2].mse)]);
    assert_eq!((html.matches("data:image/png").count(), html.matches("data:image/gif").count()), (1, 1));
    assert_eq!(html.matches("<figure class=\"chart\">").count(), 6);

    let mut recipe = MovingMnistRecipe::preset(MovingMnistPreset::Tiny);
    recipe.network.layers = vec![LayerSize { channels: 4, input_kernel: 3, state_kernel: 3 }];
    (recipe.training.steps, recipe.training.batch_size, recipe.test_sequences) = (1, 2, 3);
    (recipe.context, recipe.data.frames, recipe.training_sequences) = (3, 5, 4);
    let digits = RunDirectory::create(parent.path(), "digits").unwrap();
    moving_mnist::train(&recipe, &digits, &Interrupt::default(), &mut |_| {}).unwrap();
    let html = report(&digits);
    check_contains(&html, &["copy-last", "all-zero", "Structural similarity", "the preset tiny", "training.steps"]);
    assert_eq!((html.matches("data:image/png").count(), html.matches("data:image/gif").count()), (3, 3));

    // A picture that is no picture of the run's is not taken for one, and none at all is said.
    fs::write(digits.path().join("pictures/notes.txt"), "https://example.org").unwrap();
    assert_eq!(report(&digits), html);
    fs::remove_dir_all(digits.path().join("pictures")).unwrap();
    check_contains(&report(&digits), &["The run has no pictures."]);

    // Figures of other leads than the recipe forecasts are no figures of the run.
    let results = fs::read_to_string(run.path().join("results.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&results).unwrap();
    json["persistence"]["leads"].as_array_mut().unwrap().pop();
    fs::write(run.path().join("results.json"), json.to_string()).unwrap();
    let error = write_report(&run).unwrap_err().to_string();
    assert!(error.ends_with("results.json: leads of persistence: expected 3, found 2"), "{error}");
}

#[test]
fn attention_is_shown_where_a_model_has_it() {
    let parent = tempfile::tempdir().unwrap();
    let models = [
        (ModelName::SpatialAttention, Some("largest weight of a place")),
        (ModelName::TemporalAttention, Some("weight of a step")),
        (ModelName::AttentionPooling, Some("weight of a step")),
        (ModelName::Transformer, Some("weight of a step")),
        (ModelName::Lstm, None),
    ];
    for (model, curve) in models {
        let mut recipe = tiny_recipe();
        (recipe.data.clips_per_person, recipe.training.epochs) = (Some(5), 1);
        recipe.model.temporal = model.temporal();
        let html = report(&train(&recipe, parent.path(), model.name()));
        let Some(curve) = curve else {
            assert!(!html.contains("<section id=\"attention\">"), "{model}");
            continue;
        };
        let section = html.split("<section id=\"attention\">").nth(1).unwrap().split("</section>").next().unwrap();
        assert!(section.contains(curve), "{model}: `{curve}` in {}", without_pictures(section));
        // Each clip stands still step by step, moves, and has a line; one of five at least is right or wrong.
        let clips = section.matches("class=\"film\"").count();
        assert!((1..=8).contains(&clips), "{model}: {clips} clips");
        assert_eq!(section.matches("step by step").count(), clips, "{model}");
        assert_eq!(section.matches("</title></path>").count(), clips, "{model}");
    }
}

#[test]
fn a_comparison_has_every_model_in_its_page() {
    let parent = tempfile::tempdir().unwrap();
    let mut actions = tiny_recipe();
    (actions.data.clips_per_person, actions.training.epochs) = (Some(3), 1);
    let models = vec![ModelName::Lstm, ModelName::ConvPooling];
    let recipe = ComparisonRecipe { models, seeds: vec![1, 2], actions, ..ComparisonRecipe::default() };
    let run = RunDirectory::create(parent.path(), "comparison").unwrap();
    let results = comparison::train(&recipe, &run, &mut |_| {}).unwrap();
    let html = report(&run);
    check_contains(&html, &FirActions::LABELS);
    check_contains(&html, &["over 1 person and 2 seeds."]);
    for figures in &results.models {
        let name = figures.model.name();
        let accuracy = format!("{:.1} % ± ", figures.accuracy.mean * 100.0);
        check_contains(&html, &[&format!("<dt>{name}</dt>"), &format!("<h3>{name}</h3>"), &accuracy]);
    }
    assert_eq!(html.matches("<table class=\"confusion\">").count(), 2);
    // Each of its runs has a page of its own.
    let lstm = RunDirectory::open(&run.path().join(ComparisonRecipe::run_name(ModelName::Lstm, 2))).unwrap();
    check_contains(&report(&lstm), &["person 8, who took no part in training"]);

    let path = run.path().join("results.json");
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    json["models"][1]["runs"][0]["results"]["folds"][0]["test"]["confusion"] = serde_json::json!([[1]]);
    fs::write(&path, json.to_string()).unwrap();
    let error = write_report(&run).unwrap_err().to_string();
    assert!(error.ends_with("classes of the confusion matrix of person 8: expected 7, found 1"), "{error}");
}

#[test]
fn hostile_figures_are_refused_or_escaped() {
    let parent = tempfile::tempdir().unwrap();
    let run = smallest(parent.path());
    let page = report(&run);
    let path = run.path().join("results.json");
    let recorded: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let write = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = recorded.clone();
        change(&mut json);
        fs::write(&path, json.to_string()).unwrap();
    };
    let confusion = |json: &mut serde_json::Value, value: serde_json::Value| {
        json["folds"][0]["test"]["confusion"] = value;
    };
    type Change<'a> = &'a dyn Fn(&mut serde_json::Value);
    let cases: &[(Change<'_>, &str)] = &[
        (&|json| json["labels"] = serde_json::json!(["walk"]), "labels: expected 7, found 1"),
        (&|json| confusion(json, serde_json::json!([])), "confusion matrix of person 8: expected 7, found 0"),
        (&|json| confusion(json, serde_json::json!(vec![[1; 6]; 7])), "person 8: expected 7, found 6"),
        (&|json| json["folds"] = serde_json::json!([]), "results.json is about another person than config.toml"),
    ];
    for (change, message) in cases {
        write(change);
        let error = write_report(&run).unwrap_err().to_string();
        assert!(error.ends_with(message), "expected `{message}`: {error}");
        assert_eq!(fs::read_to_string(run.path().join("report.html")).unwrap(), page, "an older page stays");
    }
    write(&|json| {
        json["labels"][0] = "<script src=\"https://example.org\">'\"&".into();
        json["folds"][0]["training_seconds"] = (-1e300).into();
        json["folds"][0]["test"]["loss"] = 1e308.into();
    });
    let path = write_report(&run).unwrap();
    let html = fs::read_to_string(path).unwrap();
    assert!(!html.contains("<script") && !html.contains("src=\"https"), "{}", without_pictures(&html));
    check_contains(&html, &["&lt;script src=&quot;https://example.org&quot;&gt;"]);
}

#[test]
fn curves_of_any_length_are_drawn() {
    let parent = tempfile::tempdir().unwrap();
    let run = smallest(parent.path());
    let record = |epoch: usize, loss: f64| EpochRecord {
        epoch,
        learning_rate: 1e-3,
        training_loss: loss,
        training_accuracy: 0.5,
        validation_loss: None,
        validation_accuracy: None,
        seconds: 1.0,
    };
    let lines = |html: &str| html.matches("<path class=\"line c1 dashed\" d=\"M").count();
    for count in [1, 2, 5000] {
        let records: Vec<_> = (1..=count).map(|epoch| record(epoch, 1.0 / epoch as f64)).collect();
        run.write_metrics(&records).unwrap();
        let html = report(&run);
        // Each line is in the chart and in the legend below it.
        assert_eq!(lines(&html), 4, "{count} epochs");
        assert!(!html.contains(">validation<"), "{count} epochs: a line without points");
        assert!(html.len() < 500_000, "{count} epochs: {} bytes", html.len());
    }
    run.write_metrics(&[] as &[EpochRecord]).unwrap();
    assert_eq!(report(&run).matches("No figures were recorded.").count(), 2);
    fs::write(run.path().join("metrics.jsonl"), "{\"epoch\": 1}\n{").unwrap();
    let error = write_report(&run).unwrap_err().to_string();
    assert!(error.contains("metrics.jsonl: missing field"), "{error}");
}

#[test]
fn a_run_that_is_not_finished_has_no_page() {
    let parent = tempfile::tempdir().unwrap();
    let run = smallest(parent.path());
    for file in ["metrics.jsonl", "model.safetensors", "results.json", "config.toml"] {
        let (path, aside) = (run.path().join(file), parent.path().join(file));
        fs::rename(&path, &aside).unwrap();
        let error = write_report(&run).unwrap_err();
        assert!(error.to_string().ends_with(&format!("smallest: not a finished run: {file} is missing")), "{error}");
        assert!(!run.path().join("report.html").exists());
        fs::rename(&aside, &path).unwrap();
    }
    // A page that cannot take its place leaves nothing behind.
    fs::create_dir(run.path().join("report.html")).unwrap();
    let error = write_report(&run).unwrap_err();
    assert!(matches!(error, ReportError::Run(RunError::Io { .. })), "{error}");
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 5);
}
