//! Training networks that continue frames, and what they leave.

use std::path::{Path, PathBuf};

use ndarray::Array4;
use ndarray_npy::write_npy;
use pipeline::data::SequenceVariationConfig;
use pipeline::forecasting::nowcast::{self, Nowcast, NowcastResults};
use pipeline::forecasting::{
    ForecastingError, ForecastingEvent, Guide, LayerSize, MovingMnistPreset, MovingMnistRecipe, NowcastRecipe,
    TrainingRecord, moving_mnist,
};
use pipeline::interrupt::Interrupt;
use pipeline::recipe::{RecipeError, RecipeKind};
use pipeline::run::{RunDirectory, WeightsError};
use tempfile::TempDir;
use tensor_ops::testing::with_threads;

/// Bright bars that move to the right.
fn film(sequences: usize, frames: usize) -> Array4<u8> {
    Array4::from_shape_fn((sequences, frames, 10, 14), |(n, t, y, x)| {
        let bar = (x + 14 * 8 - t - 3 * n) % 7 < 2 && y > n % 3;
        if bar { 200 } else { 10 }
    })
}

fn tiny(path: &Path) -> NowcastRecipe {
    let mut recipe = NowcastRecipe { seed: 5, ..NowcastRecipe::default() };
    recipe.data.path = Some(path.to_owned());
    (recipe.data.context, recipe.data.horizon) = (4, 3);
    recipe.network.layers = vec![LayerSize { channels: 3, input_kernel: 3, state_kernel: 3 }];
    (recipe.training.steps, recipe.training.batch_size) = (12, 3);
    recipe
}

fn file(directory: &TempDir, frames: &Array4<u8>) -> PathBuf {
    let path = directory.path().join("film.npy");
    write_npy(&path, frames).unwrap();
    path
}

#[test]
fn a_nowcast_is_trained_tested_and_evaluated() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &film(6, 12));
    for guide in [Guide::Extrapolation, Guide::None] {
        let mut recipe = tiny(&path);
        recipe.network.guide = guide;
        // Every step sees all training sequences as they are, so that its loss can be compared with the first one's.
        (recipe.variation, recipe.training.batch_size) = (SequenceVariationConfig::NONE, 5);
        let run = RunDirectory::create_numbered(directory.path(), "nowcast").unwrap();
        let mut losses = Vec::new();
        let results = Nowcast::new(recipe)
            .unwrap()
            .train(&run, &Interrupt::default(), &mut |event| {
                if let ForecastingEvent::StepDone { loss, .. } = event {
                    losses.push(loss);
                }
            })
            .unwrap();
        assert_eq!(losses.len(), 12);
        assert!(losses[11] < losses[0], "{losses:?}");
        assert_eq!(nowcast::evaluate(&run).unwrap(), results);
        assert_eq!((results.network.leads.len(), results.network.sequences), (3, 1));
        for name in ["config.toml", "metrics.jsonl", "model.safetensors", "results.json"] {
            assert!(run.path().join(name).is_file(), "{name}");
        }
        for name in ["pictures/sequence-000.png", "pictures/sequence-000.gif"] {
            assert!(std::fs::metadata(run.path().join(name)).unwrap().len() > 100, "{name}");
        }
        let summary = nowcast::summary(&results);
        for part in ["lead", "network", "extrapolation", "persistence", "CSI 0.5", "means over all leads"] {
            assert!(summary.contains(part), "`{part}` in {summary}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &film(5, 9));
    let train = |threads: usize| {
        let run = RunDirectory::create(directory.path(), &format!("threads-{threads}")).unwrap();
        let results = with_threads(threads, || {
            Nowcast::new(tiny(&path)).unwrap().train(&run, &Interrupt::default(), &mut |_| {})
        })
        .unwrap();
        (results.network, std::fs::read(run.model_path()).unwrap())
    };
    let expected = train(1);
    for threads in [2, 3] {
        assert!(train(threads) == expected, "{threads} threads");
    }
}

#[test]
fn a_network_that_has_learned_nothing_equals_its_guide() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &film(5, 9));
    let mut recipe = tiny(&path);
    recipe.training.steps = 1;
    recipe.training.learning_rate = 1e-30;
    let run = RunDirectory::create(directory.path(), "guide").unwrap();
    let results = Nowcast::new(recipe).unwrap().train(&run, &Interrupt::default(), &mut |_| {}).unwrap();
    assert_eq!(results.network, results.extrapolation);
}

#[test]
fn moving_digits_are_learned_and_evaluated() {
    let directory = tempfile::tempdir().unwrap();
    let mut recipe = MovingMnistRecipe::preset(MovingMnistPreset::Tiny);
    recipe.network.layers = vec![LayerSize { channels: 4, input_kernel: 3, state_kernel: 3 }];
    (recipe.training.steps, recipe.training.batch_size, recipe.test_sequences) = (6, 2, 5);
    (recipe.context, recipe.data.frames, recipe.training_sequences) = (3, 5, 4);
    let run = RunDirectory::create(directory.path(), "digits").unwrap();
    let results = moving_mnist::train(&recipe, &run, &Interrupt::default(), &mut |_| {}).unwrap();
    assert_eq!(moving_mnist::evaluate(&run).unwrap(), results);
    assert_eq!(results.network.leads.len(), 2);
    assert_eq!(results.all_zero.mean.frames, 10);
    assert_eq!(run.read_config(RecipeKind::of_toml).unwrap(), RecipeKind::MovingMnist);
    assert!(run.path().join("pictures/sequence-002.png").is_file());
    assert!(moving_mnist::summary(&results).contains("copy-last"));
}

#[test]
fn recipes_survive_writing_and_wrong_values_are_refused() {
    let recipe = NowcastRecipe::default();
    assert_eq!(recipe.validate(), Ok(()));
    assert_eq!(NowcastRecipe::from_toml(&recipe.to_toml()), Ok(recipe));
    for preset in [MovingMnistPreset::Tiny, MovingMnistPreset::Small, MovingMnistPreset::Paper] {
        let recipe = MovingMnistRecipe::preset(preset);
        assert_eq!(recipe.validate(), Ok(()));
        assert_eq!(MovingMnistRecipe::from_toml(&recipe.to_toml()), Ok(recipe));
    }
    for (text, option) in [
        ("recipe = \"actions\"", "recipe"),
        ("[data]\ncontext = 1", "data.context"),
        ("[data]\nhorizon = 0", "data.horizon"),
        ("[data]\ntest_fraction = 1.0", "data.test_fraction"),
        ("[network]\npatch = 0", "network.patch"),
        ("[network]\nlayers = []", "the number of network.layers"),
        ("[network]\nlayers = [{ channels = 0 }]", "network.layers.channels"),
        ("[network]\nlayers = [{ channels = 4, state_kernel = 99 }]", "network.layers.state_kernel"),
        ("loss = \"cross-entropy\"", "loss"),
        ("[loss.weighted]\nsquared = -1.0", "loss.weighted.squared"),
        ("[loss.weighted]\nsquared = 0.0\nabsolute = 0.0", "loss.weighted.squared"),
        ("[loss.weighted]\nbright_weight = nan", "loss.weighted.bright_weight"),
        ("[training]\nsteps = 0", "training.steps"),
        ("[training]\nbatch_size = 0", "training.batch_size"),
        ("[training]\nlearning_rate = 0.0", "training.learning_rate"),
        ("[training]\nwarm_up = 1.0", "training.warm_up"),
        ("[training]\nmax_gradient_norm = inf", "training.max_gradient_norm"),
    ] {
        match NowcastRecipe::from_toml(text).unwrap().validate() {
            Err(RecipeError::Value { option: found, .. }) => assert_eq!(found, option, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let digits = |change: fn(&mut MovingMnistRecipe)| {
        let mut recipe = MovingMnistRecipe::preset(MovingMnistPreset::Tiny);
        change(&mut recipe);
        recipe.validate().unwrap_err().to_string()
    };
    for (message, option) in [
        (digits(|recipe| recipe.context = recipe.data.frames), "`context`"),
        (digits(|recipe| recipe.data.canvas = 20), "`data.canvas`"),
        (digits(|recipe| recipe.test_sequences = 0), "`test_sequences`"),
        (digits(|recipe| recipe.network.guide = Guide::Extrapolation), "`network.guide`"),
    ] {
        assert!(message.contains(option), "{message}");
    }
    assert!(matches!(NowcastRecipe::from_toml("[network]\ndepth = 3"), Err(RecipeError::Syntax(_))));
}

#[test]
fn data_that_do_not_serve_are_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let missing = tiny(&directory.path().join("nothing.npy"));
    assert!(matches!(Nowcast::new(missing), Err(ForecastingError::Frames(_))));
    let short = tiny(&file(&directory, &film(1, 10)));
    assert!(matches!(Nowcast::new(short), Err(ForecastingError::TooShort { window: 7, found: 10, .. })));
    let mut long = NowcastRecipe::default();
    long.data.horizon = 30;
    let message = Nowcast::new(long).unwrap_err().to_string();
    assert!(message.contains("data.horizon"), "{message}");
}

#[test]
fn a_damaged_run_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &film(5, 9));
    let mut recipe = tiny(&path);
    recipe.training.steps = 1;
    let run = RunDirectory::create(directory.path(), "run").unwrap();
    Nowcast::new(recipe).unwrap().train(&run, &Interrupt::default(), &mut |_| {}).unwrap();
    let bytes = std::fs::read(run.model_path()).unwrap();
    std::fs::write(run.model_path(), &bytes[..bytes.len() / 2]).unwrap();
    let error = nowcast::evaluate(&run).unwrap_err();
    assert!(matches!(error, ForecastingError::Weights(WeightsError::Format { .. })), "{error}");
    std::fs::remove_file(run.model_path()).unwrap();
    let message = nowcast::evaluate(&run).unwrap_err().to_string();
    assert!(message.contains("model.safetensors is missing"), "{message}");
}

#[test]
fn training_goes_on_as_if_it_had_never_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, &film(6, 12));
    let job = Nowcast::new(tiny(&path)).unwrap();
    let whole = RunDirectory::create(directory.path(), "whole").unwrap();
    let expected = job.train(&whole, &Interrupt::default(), &mut |_| {}).unwrap();
    for stops in [vec![1], vec![5, 5], vec![10, 1], vec![12]] {
        let run = RunDirectory::create_numbered(directory.path(), "stopped").unwrap();
        for &stop in &stops {
            let (interrupt, mut done) = (Interrupt::default(), 0);
            let stopped = job.train(&run, &interrupt, &mut |event| {
                if let ForecastingEvent::StepDone { .. } = event {
                    done += 1;
                    if done == stop {
                        interrupt.request();
                    }
                }
            });
            assert!(matches!(stopped, Err(ForecastingError::Interrupted { .. })), "{stops:?}: {stopped:?}");
        }
        let results = job.train(&run, &Interrupt::default(), &mut |_| {}).unwrap();
        let weights = |run: &RunDirectory| std::fs::read(run.existing_model().unwrap()).unwrap();
        assert!(weights(&run) == weights(&whole), "{stops:?}: other weights");
        assert_eq!(
            NowcastResults { training_seconds: 0.0, ..results },
            NowcastResults { training_seconds: 0.0, ..expected.clone() }
        );
        let steps = |run: &RunDirectory| {
            run.read_metrics::<TrainingRecord>().unwrap().iter().map(|r| (r.step, r.loss)).collect::<Vec<_>>()
        };
        assert_eq!(steps(&run), steps(&whole), "{stops:?}");
        assert!(!run.checkpoint_path().exists());
    }
}
