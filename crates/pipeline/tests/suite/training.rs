//! Whole runs in small: training, files, evaluation.

use std::fs;
use std::path::Path;

use pipeline::actions;
use pipeline::data::{FirActions, Fold, Protocol, SplitConfig, split};
use pipeline::recipe::ActionRecipe;
use pipeline::run::{EpochRecord, RunDirectory, RunResults, load_model};
use pipeline::training::{ScheduleKind, TrainingConfig, TrainingError, TrainingEvent, train_fold};
use tensor_ops::Parameters;
use tensor_ops::testing::{THREAD_COUNTS, with_threads};

use crate::common::tiny_recipe;

fn train(recipe: &ActionRecipe, parent: &Path) -> (RunDirectory, RunResults) {
    let run = RunDirectory::create_numbered(parent, "actions").unwrap();
    let results = actions::train(recipe, &run, &mut |_| {}).unwrap();
    (run, results)
}

/// The records of a run without what differs from run to run: the time.
fn records(run: &RunDirectory) -> Vec<EpochRecord> {
    let lines = fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
    let record = |line| EpochRecord { seconds: 0.0, ..serde_json::from_str(line).unwrap() };
    lines.lines().map(record).collect()
}

fn without_time(mut results: RunResults) -> RunResults {
    for fold in &mut results.folds {
        fold.training_seconds = 0.0;
    }
    results
}

#[test]
fn evaluation_reproduces_the_figures_exactly() {
    let parent = tempfile::tempdir().unwrap();
    let recipe = tiny_recipe();
    let (run, results) = train(&recipe, parent.path());
    assert_eq!(run.read_recipe().unwrap(), recipe);
    assert_eq!(run.read_results::<RunResults>().unwrap(), results);
    assert_eq!(actions::evaluate(&run, &mut |_| {}).unwrap(), results);
    let fold = &results.folds[0];
    assert_eq!((fold.test_person, fold.test.clips), (8, 14));
    assert!(fold.validation.is_some());
    assert_eq!(records(&run).len(), 2);
    let (_, model) = load_model(&run.existing_model().unwrap()).unwrap();
    assert_eq!(model.parameter_count(), fold.parameters);
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let parent = tempfile::tempdir().unwrap();
    let recipe = tiny_recipe();
    let (first, results) = train(&recipe, parent.path());
    let results = without_time(results);
    let bytes = fs::read(first.existing_model().unwrap()).unwrap();
    for threads in THREAD_COUNTS {
        let (run, again) = with_threads(threads, || train(&recipe, parent.path()));
        assert_eq!(without_time(again), results, "{threads} threads");
        assert_eq!(records(&run), records(&first), "{threads} threads");
        assert!(fs::read(run.existing_model().unwrap()).unwrap() == bytes, "{threads} threads: other weights");
    }
    let (other, _) = train(&ActionRecipe { seed: 2, ..recipe }, parent.path());
    assert!(fs::read(other.existing_model().unwrap()).unwrap() != bytes, "another seed, other weights");
}

#[test]
fn training_learns() {
    // Far more epochs than clips can be learnt in: the training clips must be known, or the gradients are wrong.
    let actions = FirActions::bundled().unwrap();
    let mut recipe = tiny_recipe();
    recipe.data.clips_per_person = Some(7);
    recipe.augmentation = pipeline::data::AugmentationConfig::NONE;
    recipe.model.encoder.dropout = 0.0;
    recipe.model.head.dropout = 0.0;
    recipe.training = TrainingConfig { epochs: 60, batch_size: 49, learning_rate: 0.01, ..recipe.training };
    let fold = split(actions.clips(), 8, &recipe.data, recipe.seed);
    let mut records = Vec::new();
    train_fold(&actions, &fold, &recipe, &mut |event| {
        if let TrainingEvent::EpochDone(record) = event {
            records.push(record.clone());
        }
        Ok(())
    })
    .unwrap();
    let (first, last) = (&records[0], &records[59]);
    assert!(first.training_accuracy < 0.5 && last.training_accuracy > 0.9, "{first:?} {last:?}");
    assert!(last.training_loss < 0.7 * first.training_loss, "{first:?} {last:?}");
}

#[test]
fn schedules_reach_the_records() {
    let actions = FirActions::bundled().unwrap();
    let mut recipe = tiny_recipe();
    recipe.data = SplitConfig { clips_per_person: Some(2), validation_fraction: 0.0, ..recipe.data };
    recipe.training.epochs = 4;
    let fold = split(actions.clips(), 8, &recipe.data, recipe.seed);
    let mut rates = |schedule| {
        recipe.training.schedule = schedule;
        let mut rates = Vec::new();
        train_fold(&actions, &fold, &recipe, &mut |event| {
            if let TrainingEvent::EpochDone(record) = event {
                assert_eq!((record.validation_loss, record.validation_accuracy), (None, None));
                rates.push(record.learning_rate);
            }
            Ok(())
        })
        .unwrap();
        rates
    };
    assert_eq!(rates(ScheduleKind::Constant), [3e-3; 4]);
    let cosine = rates(ScheduleKind::Cosine);
    assert!(cosine[0] == 3e-3 && cosine.is_sorted_by(|a, b| a > b), "{cosine:?}");
    let one_cycle = rates(ScheduleKind::OneCycle);
    assert!(one_cycle[3] < 1e-6 && one_cycle[1] > one_cycle[3], "{one_cycle:?}");
}

#[test]
fn leave_one_person_out_keeps_every_fold_as_a_run() {
    let parent = tempfile::tempdir().unwrap();
    let mut recipe = tiny_recipe();
    recipe.data = SplitConfig {
        protocol: Protocol::LeaveOnePersonOut,
        clips_per_person: Some(4),
        validation_fraction: 0.0,
        ..recipe.data
    };
    recipe.training.epochs = 1;
    let (run, results) = train(&recipe, parent.path());
    let people: Vec<usize> = results.folds.iter().map(|fold| fold.test_person).collect();
    assert_eq!(people, [1, 2, 3, 4, 5, 6, 7, 8]);
    let mean = results.folds.iter().map(|fold| fold.test.accuracy).sum::<f64>() / 8.0;
    assert_eq!(results.accuracy.mean, mean);
    assert_eq!(results.confusion().total(), 32);
    let mut heard = 0;
    assert_eq!(actions::evaluate(&run, &mut |_| heard += 1).unwrap(), results);
    assert_eq!(heard, 8);

    // Each fold is a run by itself, the one that its person alone would have given.
    let fold = RunDirectory::open(&run.path().join("person-3")).unwrap();
    assert_eq!(actions::evaluate(&fold, &mut |_| {}).unwrap().folds, results.folds[2..3]);
    let (single, _) = train(&fold.read_recipe().unwrap(), parent.path());
    let weights = |run: &RunDirectory| fs::read(run.existing_model().unwrap()).unwrap();
    assert!(weights(&single) == weights(&fold), "the same weights alone as among the folds");

    fs::remove_file(fold.existing_model().unwrap()).unwrap();
    let error = actions::evaluate(&run, &mut |_| {}).unwrap_err();
    assert!(error.to_string().ends_with("person-3: not a finished run: model.safetensors is missing"), "{error}");
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let mut recipe = tiny_recipe();
    recipe.data.clips_per_person = Some(2);
    recipe.training.epochs = 1;
    let (run, _) = train(&recipe, parent.path());
    let file = |name| run.path().join(name);
    let (config, model) =
        (fs::read_to_string(file("config.toml")).unwrap(), fs::read(file("model.safetensors")).unwrap());

    fs::write(file("config.toml"), config.replace("test_person = 8", "test_person = 7")).unwrap();
    let error = actions::evaluate(&run, &mut |_| {}).unwrap_err();
    assert!(error.to_string().ends_with("results.json is about another person than config.toml"), "{error}");
    fs::write(file("config.toml"), config).unwrap();

    let truncated = &model[..model.len() - 9];
    fs::write(file("model.safetensors"), truncated).unwrap();
    let error = actions::evaluate(&run, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("not a complete safetensors file"), "{error}");
    assert!(fs::read(file("model.safetensors")).unwrap() == truncated, "a refused file stays as it is");
}

#[test]
fn folds_without_clips_are_errors() {
    let actions = FirActions::bundled().unwrap();
    let fold = |training, test| Fold { test_person: 8, training, validation: vec![], test };
    let error = |fold| train_fold(&actions, &fold, &tiny_recipe(), &mut |_| Ok(())).unwrap_err();
    let none = error(fold(vec![], vec![1]));
    assert!(matches!(none, TrainingError::NoClips { test_person: 8, part: "training" }));
    assert_eq!(error(fold(vec![1], vec![])).to_string(), "person 8: no clips for test");
    let mut recipe = tiny_recipe();
    recipe.training.epochs = 0;
    let error = train_fold(&actions, &fold(vec![1], vec![2]), &recipe, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "`training.epochs` must be at least 1, found 0");
}

#[test]
fn a_huge_learning_rate_ends_with_an_error_not_with_nan() {
    let actions = FirActions::bundled().unwrap();
    let mut recipe = tiny_recipe();
    recipe.data.clips_per_person = Some(2);
    recipe.training =
        TrainingConfig { learning_rate: 1e30, schedule: ScheduleKind::Constant, epochs: 20, ..recipe.training };
    let fold = split(actions.clips(), 8, &recipe.data, recipe.seed);
    match train_fold(&actions, &fold, &recipe, &mut |_| Ok(())) {
        Ok(trained) => assert!(trained.model.named().iter().all(|(_, values)| values.iter().all(|v| v.is_finite()))),
        Err(error) => assert!(matches!(error, TrainingError::Step { .. }), "{error}"),
    }
}
