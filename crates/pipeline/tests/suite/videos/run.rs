//! Whole runs: training, going on, testing.

use std::fs;

use pipeline::interrupt::Interrupt;
use pipeline::report::html;
use pipeline::run::RunDirectory;
use pipeline::videos::{self, Unreadable, VideoEvent, VideoModel, VideoRecipe, VideoResults, VideosError};
use safetensors::SafeTensors;
use tempfile::{TempDir, tempdir};
use tensor_ops::Parameters;
use video_input::Sampling;

use super::{bar_recipe, write_bars};

/// A folder with videos, and a recipe for them.
fn bars() -> (TempDir, VideoRecipe) {
    let folder = tempdir().unwrap();
    write_bars(&folder.path().join("videos"), 12);
    let recipe = bar_recipe(&folder.path().join("videos"));
    (folder, recipe)
}

fn train(recipe: &VideoRecipe, directory: &RunDirectory) -> Result<VideoResults, VideosError> {
    videos::train(recipe, directory, &Interrupt::default(), &mut |_| {})
}

fn model_bytes(directory: &RunDirectory) -> Vec<u8> {
    fs::read(directory.existing_model().unwrap()).unwrap()
}

#[test]
fn a_run_learns_and_its_files_give_its_figures() {
    let (folder, recipe) = bars();
    let directory = RunDirectory::create(folder.path(), "run").unwrap();
    let results = train(&recipe, &directory).unwrap();
    assert_eq!(results.labels, ["left", "right"]);
    assert_eq!((results.training_videos, results.validation.clips), (18, 6));
    assert!(results.validation.accuracy > 0.9, "{}", results.summary());
    assert!(!directory.checkpoint_path().exists());

    let mut found = 0;
    let evaluated = videos::evaluate(&directory, &Interrupt::default(), &mut |event| {
        if let VideoEvent::Found(collection) = event {
            found = collection.videos.len();
        }
    });
    assert_eq!(evaluated.unwrap(), results);
    assert_eq!(found, 24);

    let model = VideoModel::open(&directory).unwrap();
    let prediction = model.predict(&folder.path().join("videos").join("right").join("03.npy")).unwrap();
    assert_eq!(prediction.top.len(), 2);
    assert_eq!(prediction.label, prediction.top[0].label);
    assert!((prediction.top.iter().map(|ranked| ranked.probability).sum::<f32>() - 1.0).abs() < 1e-5);

    let page = fs::read_to_string(html::write_report(&directory).unwrap()).unwrap();
    assert!(page.contains("Worst mistakes") && page.contains("Recognition in videos"), "{page}");

    // The same seed gives the same bytes, another one others.
    let again = RunDirectory::create(folder.path(), "again").unwrap();
    train(&recipe, &again).unwrap();
    assert!(model_bytes(&again) == model_bytes(&directory));
    let other = RunDirectory::create(folder.path(), "other").unwrap();
    train(&VideoRecipe { seed: 2, ..recipe }, &other).unwrap();
    assert!(model_bytes(&other) != model_bytes(&directory));
}

#[test]
fn training_goes_on_as_if_it_had_never_stopped() {
    let (folder, mut recipe) = bars();
    recipe.training.epochs = 4;
    let whole = RunDirectory::create(folder.path(), "whole").unwrap();
    let expected = train(&recipe, &whole).unwrap();
    // Three steps in each of four epochs; at some of them more than once.
    for stops in [vec![1], vec![2, 3], vec![3, 6], vec![5, 1, 1, 2], vec![12], vec![1; 12]] {
        let directory =
            RunDirectory::create(folder.path(), &format!("stopped-{stops:?}").replace(['[', ']', ' ', ','], "-"));
        let directory = directory.unwrap();
        for (index, &stop) in stops.iter().enumerate() {
            let interrupt = Interrupt::default();
            let mut steps = 0;
            let observer = &mut |event: VideoEvent<'_>| {
                if let VideoEvent::StepDone { .. } = event {
                    steps += 1;
                    if steps == stop {
                        interrupt.request();
                    }
                }
            };
            let stopped = match index {
                0 => videos::train(&recipe, &directory, &interrupt, observer),
                _ => videos::resume(&directory, &interrupt, observer),
            };
            assert!(matches!(stopped, Err(VideosError::Interrupted { .. })), "{stops:?}: {stopped:?}");
            assert!(directory.existing_model().is_err() && directory.checkpoint_path().exists(), "{stops:?}");
        }
        let results = videos::resume(&directory, &Interrupt::default(), &mut |_| {}).unwrap();
        assert!(model_bytes(&directory) == model_bytes(&whole), "{stops:?}: other weights");
        let without_time = |results: &VideoResults| VideoResults { training_seconds: 0.0, ..results.clone() };
        assert_eq!(without_time(&results), without_time(&expected), "{stops:?}");
        assert!(!directory.checkpoint_path().exists());
    }
}

#[test]
fn what_cannot_go_on_says_so() {
    let (folder, mut recipe) = bars();
    recipe.training.epochs = 1;
    let resume = |directory: &RunDirectory| {
        videos::resume(directory, &Interrupt::default(), &mut |_| {}).unwrap_err().to_string()
    };
    let finished = RunDirectory::create(folder.path(), "finished").unwrap();
    train(&recipe, &finished).unwrap();
    assert!(resume(&finished).contains("training is finished"), "{}", resume(&finished));

    let empty = RunDirectory::create(folder.path(), "empty").unwrap();
    assert!(resume(&empty).contains("config.toml is missing"), "{}", resume(&empty));

    let stopped = RunDirectory::create(folder.path(), "stopped").unwrap();
    let interrupt = Interrupt::default();
    let stop = &mut |event: VideoEvent<'_>| {
        if let VideoEvent::StepDone { .. } = event {
            interrupt.request();
        }
    };
    videos::train(&recipe, &stopped, &interrupt, stop).unwrap_err();
    let checkpoint = fs::read(stopped.checkpoint_path()).unwrap();
    fs::write(stopped.checkpoint_path(), &checkpoint[..checkpoint.len() / 2]).unwrap();
    assert!(resume(&stopped).contains("not a complete safetensors file"), "{}", resume(&stopped));
    fs::write(stopped.checkpoint_path(), &checkpoint).unwrap();

    let config = stopped.path().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("epochs = 1", "epochs = 2")).unwrap();
    assert!(resume(&stopped).contains("under another recipe"), "{}", resume(&stopped));
    fs::write(&config, text).unwrap();

    fs::remove_file(folder.path().join("videos").join("left").join("00.npy")).unwrap();
    assert!(resume(&stopped).contains("left/00.npy was there"), "{}", resume(&stopped));
}

#[test]
fn unreadable_videos_stop_training_or_are_left_out() {
    let (folder, mut recipe) = bars();
    recipe.training.epochs = 1;
    fs::write(folder.path().join("videos").join("left").join("12.npy"), "no video").unwrap();
    let stopped = RunDirectory::create(folder.path(), "stopped").unwrap();
    let error = train(&recipe, &stopped).unwrap_err().to_string();
    assert!(error.starts_with("1 of 25 videos cannot be read, the first: ") && error.contains("12.npy"), "{error}");
    recipe.data.unreadable = Unreadable::Skip;
    let directory = RunDirectory::create(folder.path(), "skipped").unwrap();
    assert_eq!(train(&recipe, &directory).unwrap().left_out, ["left/12.npy"]);
}

#[test]
fn recipes_that_cannot_be_used_leave_nothing_behind() {
    let (folder, recipe) = bars();
    let change = |change: &dyn Fn(&mut VideoRecipe)| {
        let mut changed = recipe.clone();
        change(&mut changed);
        changed
    };
    let cases = [
        (change(&|recipe| recipe.data.path.clear()), "`data.path`"),
        (change(&|recipe| recipe.data.validation_fraction = 1.0), "`data.validation_fraction`"),
        (change(&|recipe| recipe.data.training_list = Some("a".into())), "`data.validation_list`"),
        (change(&|recipe| recipe.input.size = [4, 64]), "`input.size`"),
        (change(&|recipe| recipe.input.frame_rate = f64::NAN), "`input.frame_rate`"),
        (change(&|recipe| recipe.input.stacked_frames = 0), "`input.stacked_frames`"),
        (change(&|recipe| recipe.test_clips = 0), "`test_clips`"),
        (change(&|recipe| recipe.sampling = Sampling::Dense { frames: 4, stride: 0 }), "`sampling`"),
        (change(&|recipe| recipe.augmentation.max_shift = -0.1), "`augmentation.max_shift`"),
        (change(&|recipe| recipe.training.epochs = 0), "`training.epochs`"),
    ];
    for (recipe, expected) in cases {
        let directory = RunDirectory::create_numbered(folder.path(), "refused").unwrap();
        let error = train(&recipe, &directory).unwrap_err().to_string();
        assert!(error.starts_with(expected), "expected {expected}…, found {error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{expected}");
    }
    for (text, expected) in [("[input]\nkind = 'sound'", "sound"), ("colour = 1", "colour"), ("[sampling.all]", "all")]
    {
        let error = VideoRecipe::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn training_begins_with_weights_of_any_origin() {
    let (folder, mut recipe) = bars();
    recipe.training.epochs = 1;
    recipe.training.learning_rate = 1e-12;
    let first = RunDirectory::create(folder.path(), "first").unwrap();
    train(&recipe, &first).unwrap();
    // As another program would write them: arrays by name, no metadata.
    let bytes = model_bytes(&first);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let foreign = folder.path().join("foreign.safetensors");
    safetensors::serialize_to_file(tensors.tensors(), None, &foreign).unwrap();
    let continued = VideoRecipe { seed: 2, initial_weights: Some(foreign.clone()), ..recipe.clone() };
    let second = RunDirectory::create(folder.path(), "second").unwrap();
    train(&continued, &second).unwrap();
    let weights = |run| VideoModel::open(run).unwrap().model;
    for ((name, of_first), (_, of_second)) in weights(&first).named().iter().zip(weights(&second).named()) {
        let far = of_first.iter().zip(&of_second).find(|(a, b)| (*a - *b).abs() > 1e-6);
        assert_eq!(far, None, "{name}");
    }

    let mut others = tensors.tensors();
    others.pop();
    safetensors::serialize_to_file(others, None, &foreign).unwrap();
    let third = RunDirectory::create(folder.path(), "third").unwrap();
    let error = train(&continued, &third).unwrap_err().to_string();
    assert!(error.contains("foreign.safetensors: parameter `") && error.contains("not found in the source"), "{error}");
}
