//! The small tasks: their clips, their recipes, and whole runs.

use std::path::Path;

use pipeline::recipe::RecipeError;
use pipeline::run::RunDirectory;
use pipeline::tasks::{
    self, ClipMaker, Motion, SmallDigits, TaskEvent, TaskModel, TaskName, TaskPart, TaskRecipe, TaskResults, bouncing,
    motion_path,
};
use proptest::prelude::*;
use tensor_ops::testing::with_threads;

use pipeline::random::{Purpose, generator};

fn digits(part: TaskPart) -> SmallDigits {
    SmallDigits::bundled(part).unwrap()
}

/// A recipe that trains every model of `task` within a second or so.
fn tiny(task: TaskName) -> TaskRecipe {
    let mut recipe = TaskRecipe::new(task);
    recipe.seeds = 2;
    recipe.pictures = 1;
    recipe.data.frames = if task == TaskName::Reading { vec![4, 6] } else { vec![3, 5] };
    recipe.data.frames_per_digit = recipe.data.frames_per_digit.map(|_| 2);
    recipe.data.shown = recipe.data.shown.map(|_| 1);
    (recipe.data.training_clips, recipe.data.test_clips) = (20, 10);
    (recipe.model.features, recipe.model.hidden) = (6, 5);
    recipe.model.encoder.convolutions.iter_mut().for_each(|convolution| convolution.channels = 4);
    (recipe.model.encoder_frames, recipe.model.encoder_epochs) = (100, 1);
    (recipe.training.epochs, recipe.training.batch_size) = (2, 8);
    recipe
}

fn run(recipe: &TaskRecipe, parent: &Path) -> (RunDirectory, TaskResults) {
    let run = RunDirectory::create_numbered(parent, "task").unwrap();
    let results = tasks::run(recipe, &run, &|_| {}).unwrap();
    (run, results)
}

#[test]
fn the_three_parts_of_the_digits_share_none() {
    let parts = [TaskPart::Training, TaskPart::Validation, TaskPart::Test].map(digits);
    assert_eq!(parts.each_ref().map(SmallDigits::count), [50_000, 10_000, 10_000]);
    let bundled = pipeline::data::Digits::bundled(pipeline::data::DigitPart::Training).unwrap();
    assert_eq!(parts[1].label(0), usize::from(bundled.labels()[50_000]));
    let large = bundled.image(50_007);
    let sum: u32 = [[10, 12], [10, 13], [11, 12], [11, 13]].iter().map(|&place| u32::from(large[place])).sum();
    assert_eq!(u32::from(parts[1].image(7)[[4, 5]]), sum / 4);
}

#[test]
fn partners_of_motion_show_the_same_frames_backwards() {
    for (pair, &[forth, back]) in Motion::ALL.as_chunks::<2>().0.iter().enumerate() {
        for number in 0..20 {
            let path = |motion| motion_path(motion, 9, 2, 20, &mut generator(3, Purpose::TaskClips, pair, number));
            let mut backwards = path(back);
            assert_ne!(path(forth), backwards, "{forth:?} is not {back:?}");
            backwards.reverse();
            assert_eq!(path(forth), backwards, "{forth:?} and {back:?}");
        }
    }
}

#[test]
fn motions_are_what_they_are_called() {
    let path = |motion| motion_path(motion, 5, 2, 16, &mut generator(1, Purpose::TaskClips, 0, 0));
    let relative = |motion, axis: usize| -> Vec<i64> {
        let path = path(motion);
        path.iter().map(|place| place[axis] as i64 - path[0][axis] as i64).collect()
    };
    assert_eq!(relative(Motion::Right, 1), [0, 2, 4, 6, 8]);
    assert_eq!(relative(Motion::Right, 0), [0; 5]);
    assert_eq!(relative(Motion::Up, 0), [0, -2, -4, -6, -8]);
    assert_eq!(relative(Motion::RightThenLeft, 1), [0, 2, 0, -2, 0]);
    assert_eq!(relative(Motion::LeftThenRight, 1), [0, -2, 0, 2, 0]);
    // Rows grow downwards: on the screen a clockwise turn from the right goes down first.
    let turn = motion_path(Motion::Clockwise, 65, 1, 64, &mut generator(1, Purpose::TaskClips, 0, 0));
    let middle = [0, 1].map(|axis| turn[..64].iter().map(|place| place[axis] as f64).sum::<f64>() / 64.0);
    let area: f64 = turn
        .windows(2)
        .map(|pair| {
            let [a, b] = [pair[0], pair[1]].map(|place| [0, 1].map(|axis| place[axis] as f64 - middle[axis]));
            a[1] * b[0] - a[0] * b[1]
        })
        .sum();
    assert!(area > 0.0, "{area}");
}

proptest! {
    #[test]
    fn paths_stay_on_the_canvas(
        frames in 1_usize..40, step in 0_usize..5, spare in 0_usize..9, motion in 0_usize..8, seed in 0_u64..1000,
    ) {
        let freedom = step * (frames - 1) + spare;
        let rng = &mut generator(seed, Purpose::TaskClips, 0, 0);
        let path = motion_path(Motion::ALL[motion], frames, step, freedom, rng);
        prop_assert_eq!(path.len(), frames);
        prop_assert!(path.iter().flatten().all(|&place| place <= freedom));
        let path = bouncing(frames, step.min(freedom), freedom, rng);
        prop_assert!(path.iter().flatten().all(|&place| place <= freedom));
        // A step and half a pixel of rounding at each end.
        let far = |pair: &[[usize; 2]]| (0..2).any(|axis| pair[0][axis].abs_diff(pair[1][axis]) > step + 1);
        prop_assert!(!path.windows(2).any(far));
    }
}

#[test]
fn clips_show_digits_where_and_when_they_say() {
    let part = digits(TaskPart::Training);
    for task in TaskName::ALL {
        let mut recipe = TaskRecipe::new(task);
        (recipe.data.noise, recipe.data.clutter) = (0.0, 0);
        let maker = ClipMaker::new(task, &recipe.data, &part, 7).unwrap();
        for (number, &frames) in recipe.data.frames.iter().enumerate() {
            let clip = maker.clip(frames, number);
            assert_eq!(clip.pixels.dim(), (frames, recipe.data.canvas, recipe.data.canvas));
            assert_eq!(clip.shown.len(), frames);
            for (frame, shown) in clip.pixels.outer_iter().zip(&clip.shown) {
                // Without noise and clutter, all that is seen is the digit.
                for ((row, column), &pixel) in frame.indexed_iter() {
                    let inside = shown.is_some_and(|shown| {
                        let [top, left] = shown.corner;
                        (top..top + SmallDigits::SIZE).contains(&row)
                            && (left..left + SmallDigits::SIZE).contains(&column)
                    });
                    assert!(inside || pixel == 0, "{task:?}: a pixel beside the digit");
                }
                assert_eq!(frame.iter().any(|&pixel| pixel > 0), shown.is_some(), "{task:?}");
            }
            let shown = clip.shown.iter().filter(|shown| shown.is_some()).count();
            let (expected, targets) = match task {
                TaskName::Reducers => (2, 1),
                TaskName::When => (1, 1),
                TaskName::Order | TaskName::Where => (frames, 1),
                TaskName::Reading => (frames / 6 * 2, frames / 6),
            };
            assert_eq!((shown, clip.target.len()), (expected, targets), "{task:?}");
            assert!(clip.target.iter().all(|&target| target < ClipMaker::classes(task)));
        }
    }
}

#[test]
fn digits_to_read_stand_apart() {
    let part = digits(TaskPart::Test);
    let recipe = TaskRecipe::new(TaskName::Reading);
    let maker = ClipMaker::new(TaskName::Reading, &recipe.data, &part, 2).unwrap();
    for clip in maker.clips(24, 50) {
        for slot in clip.shown.chunks(6) {
            let shown: Vec<usize> = (0..6).filter(|&frame| slot[frame].is_some()).collect();
            assert!(shown.len() == 2 && shown[1] == shown[0] + 1 && shown[1] < 5, "{shown:?}");
        }
    }
}

#[test]
fn clips_depend_on_what_they_are_alone() {
    let (training, test) = (digits(TaskPart::Training), digits(TaskPart::Test));
    let config = TaskRecipe::new(TaskName::Reducers).data;
    let maker = |digits, seed| ClipMaker::new(TaskName::Reducers, &config, digits, seed).unwrap();
    let clips = maker(&training, 1).clips(8, 6);
    assert_eq!(clips[4], maker(&training, 1).clip(8, 4));
    assert_eq!(
        with_threads(1, || maker(&training, 1).clips(8, 6)),
        with_threads(3, || maker(&training, 1).clips(8, 6))
    );
    for other in [maker(&training, 2).clip(8, 4), maker(&test, 1).clip(8, 4), maker(&training, 1).clip(8, 5)] {
        assert_ne!(clips[4], other);
    }
    let classes = TaskRecipe::new(TaskName::Order).data;
    let maker = ClipMaker::new(TaskName::Order, &classes, &training, 1).unwrap();
    let labels: Vec<usize> = maker.clips(8, 16).iter().map(|clip| clip.label()).collect();
    assert_eq!(labels, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7], "all classes alike");
}

#[test]
fn every_task_trains_all_its_models() {
    let directory = tempfile::tempdir().unwrap();
    for task in TaskName::ALL {
        let recipe = tiny(task);
        let (run, results) = run(&recipe, directory.path());
        assert_eq!(run.read_results::<TaskResults>().unwrap(), results);
        assert_eq!(results.seeds, [1, 2]);
        let rows: Vec<_> = results.rows.iter().map(|row| (row.frames, row.model)).collect();
        let expected: Vec<_> = recipe
            .data
            .frames
            .iter()
            .flat_map(|&frames| task.models().iter().map(move |&model| (frames, model)))
            .collect();
        assert_eq!(rows, expected);
        for figure in results.rows.iter().flat_map(|row| &row.figures) {
            assert_eq!(figure.values.len(), 2);
            assert!(figure.values.iter().all(|value| (0.0..=1.0).contains(value)), "{task:?}: {figure:?}");
        }
        let read = |text: &str| TaskRecipe::from_toml(task, text);
        assert_eq!(run.read_config(read).unwrap(), recipe);
        let metrics = std::fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
        assert_eq!(metrics.lines().count(), 2 * rows.len() * recipe.training.epochs);
        let tables = pipeline::report::task_tables(&results);
        for name in [task.name(), task.models()[0].name(), "5 frames", "6 frames", "2 seeds", "10 clips of test digits"]
        {
            assert!(tables.contains(name) || name.ends_with(" frames"), "`{name}` in {tables}");
        }
        let pictures = ["luong-004-frames-0", "spatial-attention-003-frames-0", "temporal-attention-005-frames-0"];
        let drawn = pictures.iter().filter(|name| run.path().join(format!("pictures/{name}.png")).is_file()).count();
        assert_eq!(
            drawn,
            usize::from(matches!(task, TaskName::Reading | TaskName::Where | TaskName::When)),
            "{task:?}"
        );
    }
}

#[test]
fn what_the_reducers_teach_is_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut recipe = tiny(TaskName::Reducers);
    recipe.data.frames = vec![24];
    let (_, results) = run(&recipe, directory.path());
    let share = |model| results.figure(model, 24, "frames with a gradient after epoch 1").unwrap().summary.mean;
    // Six features reach at most six of 24 frames by their maximum; means reach every frame on which a feature is above 0.
    assert!(share(TaskModel::Max) <= 0.25, "{}", share(TaskModel::Max));
    assert!(share(TaskModel::TopK) <= 0.75 && share(TaskModel::TopK) > share(TaskModel::Max));
    assert!(share(TaskModel::Mean) > 0.9, "{}", share(TaskModel::Mean));
}

#[test]
fn threads_change_no_bit() {
    let directory = tempfile::tempdir().unwrap();
    for task in [TaskName::Reading, TaskName::Where, TaskName::When] {
        let figures = |threads: usize| {
            let results = with_threads(threads, || run(&tiny(task), directory.path()).1);
            results.rows.into_iter().map(|row| (row.model, row.figures)).collect::<Vec<_>>()
        };
        assert_eq!(figures(1), figures(3), "{task:?}");
    }
}

#[test]
fn reading_is_learned() {
    // Two digits, without noise or clutter.
    let directory = tempfile::tempdir().unwrap();
    let mut recipe = tiny(TaskName::Reading);
    (recipe.data.frames, recipe.seeds) = (vec![4], 1);
    (recipe.data.clutter, recipe.data.noise) = (0, 0.0);
    (recipe.data.training_clips, recipe.data.test_clips) = (600, 60);
    (recipe.model.encoder_frames, recipe.model.encoder_epochs) = (2000, 4);
    (recipe.model.features, recipe.model.hidden, recipe.training.epochs) = (16, 24, 12);
    let losses = std::sync::Mutex::new(Vec::new());
    let run = RunDirectory::create_numbered(directory.path(), "task").unwrap();
    let observer = |event: TaskEvent<'_>| {
        if let TaskEvent::EpochDone { record, all_epochs } = event {
            assert_eq!(all_epochs, 36);
            losses.lock().unwrap().push((record.model, record.epoch, record.loss));
        }
    };
    let results = tasks::run(&recipe, &run, &observer).unwrap();
    let losses = losses.into_inner().unwrap();
    for &model in TaskName::Reading.models() {
        let loss = |epoch| losses.iter().find(|loss| loss.0 == model && loss.1 == epoch).unwrap().2;
        assert!(loss(12) < 0.6 * loss(1), "{model:?}: {} to {}", loss(1), loss(12));
        let found = results.figure(model, 4, "digits in place").unwrap().values[0];
        // Chance is 0.1; without attention so few clips teach little more than the first digit.
        let least = if model == TaskModel::WithoutAttention { 0.15 } else { 0.2 };
        assert!(found > least, "{model:?}: {found} of the digits");
    }
}

#[test]
fn wrong_recipes_are_refused() {
    let cases = [
        (TaskName::Reading, "seeds = 0", "`seeds` must be from 1 to 1000, found 0"),
        (TaskName::Reading, "models = []", "`the number of models` must be at least 1, found 0"),
        (
            TaskName::Reading,
            "models = [\"luong\", \"luong\"]",
            "`models` must be a list without repetitions, found luong",
        ),
        (
            TaskName::Order,
            "models = [\"luong\"]",
            "`models` must be max, mean, lstm or convlstm for `order`, found luong",
        ),
        (TaskName::Order, "recipe = \"actions\"", "`recipe` must be `task`, found actions"),
        (TaskName::Order, "task = \"when\"", "`task` must be the task that is run, found when"),
        (TaskName::Order, "pictures = 101", "`pictures` must be at most 100, found 101"),
        (TaskName::Order, "[data]\nshown = 2", "`data.shown` must be left out for this task, found 2"),
        (TaskName::Order, "[data]\nstep = 30", "`data.step` must be so small that the digit stays on the canvas"),
        (TaskName::Where, "[data]\nstep = 21", "`data.step` must be so small that the digit stays on the canvas"),
        (TaskName::Where, "[data]\ncanvas = 15", "`data.canvas` must be from 16 to 128 pixels, found 15"),
        (TaskName::When, "[data]\nframes = []", "`the number of data.frames` must be from 1 to 16, found 0"),
        (TaskName::When, "[data]\nframes = [8, 1]", "`data.frames` must be from 2 to 1000, found 1"),
        (TaskName::When, "[data]\nframes = [8, 8]", "`data.frames` must be a list without repetitions, found 8"),
        (TaskName::When, "[data]\nnoise = nan", "`data.noise` must be a number from 0 to 1, found NaN"),
        (TaskName::When, "[data]\nstep = 1", "`data.step` must be left out for this task, found 1"),
        (TaskName::When, "[model]\nencoder_epochs = 0", "`model.encoder_epochs` must be from 1 to 1000, found 0"),
        (TaskName::Reducers, "[data]\nshown = 9", "`data.shown` must be from 1 to the number of frames, found 9"),
        (TaskName::Reducers, "[data]\ntest_clips = 0", "`data.test_clips` must be from 1 to 1000000, found 0"),
        (TaskName::Reducers, "[data]\ntraining_clips = 1000000", "must be at most 2^30"),
        (TaskName::Reducers, "[training]\nepochs = 0", "`training.epochs` must be at least 1, found 0"),
        (TaskName::Reducers, "[model]\nfeatures = 0", "`model.features` must be from 1 to 4096, found 0"),
        (
            TaskName::Reading,
            "[data]\nframes = [7]",
            "`data.frames` must be multiples of data.frames_per_digit, found 7",
        ),
        (TaskName::Reading, "[data]\nshown = 6", "`data.shown` must be at least 1 and below data.frames_per_digit"),
    ];
    for (task, text, message) in cases {
        let result = TaskRecipe::from_toml(task, text).and_then(|recipe| recipe.validate());
        let error = result.expect_err(text).to_string();
        assert!(error.contains(message), "{text}: expected `{message}` in `{error}`");
    }
    for text in ["[data]\nlength = 3", "seeds = \"many\"", "test_on = \"training-set\"", "seeds ="] {
        assert!(matches!(TaskRecipe::from_toml(TaskName::When, text), Err(RecipeError::Syntax(_))), "{text}");
    }
    for task in TaskName::ALL {
        let recipe = TaskRecipe::new(task);
        assert_eq!(recipe.validate(), Ok(()));
        assert_eq!(TaskRecipe::from_toml(task, &recipe.to_toml()), Ok(recipe));
    }
    let directory = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(directory.path(), "refused").unwrap();
    let recipe = TaskRecipe { seeds: 0, ..TaskRecipe::new(TaskName::When) };
    assert!(tasks::run(&recipe, &run, &|_| {}).is_err());
    assert_eq!(std::fs::read_dir(run.path()).unwrap().count(), 0, "nothing is written for a wrong recipe");
}
