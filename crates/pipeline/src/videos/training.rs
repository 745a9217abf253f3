//! From a recipe to a trained model of videos, and on from where training was stopped.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tensor_ops::Parameters;

use super::cache::{Cache, CacheEvent};
use super::clips::VideoClips;
use super::model::VideoModelDescription;
use super::trainer::{Prepared, Trainer, evaluate_part};
use super::{Collection, Mistake, Part, Unreadable, VideoModel, VideoRecipe, VideoResults, VideosError};
use crate::interrupt::Interrupt;
use crate::model::ActionModel;
use crate::random::{Purpose, generator};
use crate::run::{EpochRecord, RunDirectory, load_weights, remove_checkpoint, save_parameters};

/// What happens while a model of videos is trained.
#[derive(Debug)]
#[non_exhaustive]
pub enum VideoEvent<'a> {
    /// The videos are found.
    Found(&'a Collection),
    /// A video is decoded, or was before.
    Caching(CacheEvent<'a>),
    /// Training begins, or goes on.
    Started {
        /// The number of weights.
        parameters: usize,
        /// The number of epochs.
        epochs: usize,
        /// The number of steps of an epoch.
        steps: usize,
        /// The number of steps that were done before.
        done: usize,
    },
    /// A step is done.
    StepDone {
        /// The epoch, from 1.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
        /// The mean loss of its clips.
        loss: f64,
    },
    /// An epoch is done.
    EpochDone(&'a EpochRecord),
}

/// Who hears of what happens.
pub(super) type Observer<'a> = &'a mut (dyn FnMut(VideoEvent<'_>) + Send);

/// Trains the model of `recipe` and keeps it with its figures in `directory`.
///
/// # Errors
/// [`VideosError`] if the recipe cannot be used, the videos cannot be found or read, or a file cannot be written;
/// [`VideosError::Interrupted`] if `interrupt` asks to stop: [`resume`] then goes on.
pub fn train(
    recipe: &VideoRecipe,
    directory: &RunDirectory,
    interrupt: &Interrupt,
    observer: Observer<'_>,
) -> Result<VideoResults, VideosError> {
    let recipe = &absolute(recipe);
    recipe.validate()?;
    let collection = Collection::open(&recipe.data, recipe.seed)?;
    directory.write_config(&recipe.to_toml())?;
    directory.write_videos(&records(&collection))?;
    run(recipe, &collection, directory, interrupt, observer)
}

/// Goes on with the training in `directory`, which was stopped at any moment: the model becomes the one that it would have
/// become, to the last bit.
///
/// # Errors
/// As [`train`]; [`VideosError::Inconsistent`] if the videos are no longer those that it began with, or it is finished.
pub fn resume(
    directory: &RunDirectory,
    interrupt: &Interrupt,
    observer: Observer<'_>,
) -> Result<VideoResults, VideosError> {
    let recipe = read_recipe(directory)?;
    if directory.existing_results().is_ok() {
        return Err(inconsistent(directory, "training is finished; there is nothing to go on with".to_owned()));
    }
    let collection = open_collection(&recipe, directory)?;
    run(&recipe, &collection, directory, interrupt, observer)
}

/// Computes the figures of a run anew from its recipe, its weights and the videos. How long training took is as recorded.
///
/// # Errors
/// [`VideosError`] if a file is missing or damaged, or the videos are no longer those of the run. Nothing is written to it.
pub fn evaluate(
    directory: &RunDirectory,
    interrupt: &Interrupt,
    observer: Observer<'_>,
) -> Result<VideoResults, VideosError> {
    let recipe = read_recipe(directory)?;
    let recorded: VideoResults = directory.read_results()?;
    let model = VideoModel::open(directory)?;
    let collection = open_collection(&recipe, directory)?;
    if model.description.labels != collection.labels {
        return Err(inconsistent(directory, "the model was trained for other classes than the videos have".to_owned()));
    }
    let prepared = prepare(&recipe, &collection, directory, interrupt, observer)?;
    test(&model.model, &prepared, &collection, recorded.training_seconds)
}

/// Decodes all videos of `recipe` that are not stored yet; how many frames were decoded.
///
/// # Errors
/// As [`train`].
pub fn cache_features(
    recipe: &VideoRecipe,
    cache: &Path,
    interrupt: &Interrupt,
    observer: Observer<'_>,
) -> Result<usize, VideosError> {
    recipe.validate()?;
    let collection = Collection::open(&recipe.data, recipe.seed)?;
    observer(VideoEvent::Found(&collection));
    let paths: Vec<PathBuf> = collection.videos.iter().map(|video| video.path.clone()).collect();
    let summary = Cache::open(cache)?
        .videos(&paths, &recipe.input, interrupt, &mut |event| observer(VideoEvent::Caching(event)))?;
    Ok(summary.decoded)
}

fn prepare<'a>(
    recipe: &'a VideoRecipe,
    collection: &Collection,
    directory: &RunDirectory,
    interrupt: &Interrupt,
    observer: Observer<'_>,
) -> Result<Prepared<'a>, VideosError> {
    observer(VideoEvent::Found(collection));
    let paths: Vec<PathBuf> = collection.videos.iter().map(|video| video.path.clone()).collect();
    let cache = match &recipe.data.cache {
        Some(cache) => cache.clone(),
        None => directory.path().parent().unwrap_or(Path::new(".")).join("frames"),
    };
    let summary = Cache::open(&cache)?
        .videos(&paths, &recipe.input, interrupt, &mut |event| observer(VideoEvent::Caching(event)))?;
    let (mut videos, mut labels, mut positions, mut left_out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut first_error = None;
    for (position, (outcome, entry)) in summary.videos.into_iter().zip(&collection.videos).enumerate() {
        match outcome {
            Ok(video) => {
                videos.push(video);
                labels.push(entry.label);
                positions.push(position);
            }
            Err(error) => {
                left_out.push(entry.name.clone());
                first_error.get_or_insert(error);
            }
        }
    }
    if let (Some(first), Unreadable::Stop) = (first_error, recipe.data.unreadable) {
        let (unreadable, videos) = (left_out.len(), collection.videos.len());
        return Err(VideosError::Unreadable { unreadable, videos, first: first.to_string() });
    }
    let part = |part| -> Result<Vec<usize>, VideosError> {
        let of_part = |&video: &usize| collection.videos[positions[video]].part == part;
        let chosen: Vec<usize> = (0..videos.len()).filter(of_part).collect();
        match chosen.is_empty() {
            true => Err(super::CollectionError::EmptyPart { path: recipe.data.path.clone(), part: part.name() }.into()),
            false => Ok(chosen),
        }
    };
    let (training, validation) = (part(Part::Training)?, part(Part::Validation)?);
    Ok(Prepared { clips: VideoClips { recipe, videos, labels }, training, validation, positions, left_out })
}

fn run(
    recipe: &VideoRecipe,
    collection: &Collection,
    directory: &RunDirectory,
    interrupt: &Interrupt,
    observer: Observer<'_>,
) -> Result<VideoResults, VideosError> {
    let prepared = prepare(recipe, collection, directory, interrupt, observer);
    let prepared = match prepared {
        Err(VideosError::CachingInterrupted) => {
            return Err(VideosError::Interrupted { path: directory.path().to_owned() });
        }
        prepared => prepared?,
    };
    let mut lengths: Vec<usize> =
        prepared.training.iter().map(|&video| prepared.clips.videos[video].frames()).collect();
    lengths.sort_unstable();
    let window = lengths[lengths.len() / 2];
    let description = VideoModelDescription::new(recipe, &collection.labels, window);
    let mut model = description.initial_model(&mut generator(recipe.seed, Purpose::Weights, 0, 0))?;
    if let Some(path) = &recipe.initial_weights {
        load_weights(path, &mut model)?;
    }
    let mut trainer = Trainer::new(recipe, &prepared, directory);
    let model = trainer.train(model, interrupt, observer)?;
    let results = test(&model, &prepared, collection, trainer.seconds())?;
    save_parameters(&directory.model_path(), &description, &model)?;
    directory.write_results(&results)?;
    remove_checkpoint(&directory.checkpoint_path())?;
    Ok(results)
}

fn test(
    model: &ActionModel<f32>,
    prepared: &Prepared<'_>,
    collection: &Collection,
    training_seconds: f64,
) -> Result<VideoResults, VideosError> {
    let Prepared { clips, training, validation, positions, left_out } = prepared;
    let (evaluation, predictions) = evaluate_part(model, clips, validation)?;
    let mut mistakes: Vec<Mistake> = Vec::new();
    for (&video, (predicted, probability)) in validation.iter().zip(predictions) {
        let label = clips.labels[video];
        if predicted != label {
            mistakes.push(Mistake {
                video: collection.videos[positions[video]].name.clone(),
                label: collection.labels[label].clone(),
                predicted: collection.labels[predicted].clone(),
                probability: f64::from(probability),
            });
        }
    }
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    Ok(VideoResults {
        labels: collection.labels.clone(),
        training_videos: training.len(),
        left_out: left_out.clone(),
        validation: evaluation,
        mistakes,
        parameters: model.parameter_count(),
        training_seconds,
    })
}

/// A line of `videos.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VideoRecord {
    name: String,
    label: String,
    part: Part,
}

fn records(collection: &Collection) -> Vec<VideoRecord> {
    let record = |video: &super::VideoEntry| VideoRecord {
        name: video.name.clone(),
        label: collection.labels[video.label].clone(),
        part: video.part,
    };
    collection.videos.iter().map(record).collect()
}

/// The videos of a run, which must be those that it began with.
fn open_collection(recipe: &VideoRecipe, directory: &RunDirectory) -> Result<Collection, VideosError> {
    let collection = Collection::open(&recipe.data, recipe.seed)?;
    let (now, then) = (records(&collection), directory.read_videos::<VideoRecord>()?);
    if now == then {
        return Ok(collection);
    }
    let missing = then.iter().find(|video| !now.contains(video)).map(|video| format!("{} was there", video.name));
    let added = || now.iter().find(|video| !then.contains(video)).map(|video| format!("{} was not", video.name));
    let change = missing.or_else(added).unwrap_or_else(|| "their order is another".to_owned());
    let problem = format!("the videos in {} have changed since training began: {change}", recipe.data.path.display());
    Err(inconsistent(directory, problem))
}

fn read_recipe(directory: &RunDirectory) -> Result<VideoRecipe, VideosError> {
    Ok(directory
        .read_config(|text| VideoRecipe::from_toml(text).and_then(|recipe| recipe.validate().map(|()| recipe)))?)
}

fn inconsistent(directory: &RunDirectory, problem: String) -> VideosError {
    VideosError::Inconsistent { path: directory.path().to_owned(), problem }
}

/// The recipe with paths that hold in whatever folder the program is started the next time.
fn absolute(recipe: &VideoRecipe) -> VideoRecipe {
    let mut recipe = recipe.clone();
    let data = &mut recipe.data;
    let optional = [
        &mut recipe.initial_weights,
        &mut data.training_list,
        &mut data.validation_list,
        &mut data.classes,
        &mut data.hmdb_splits,
        &mut data.cache,
    ];
    let paths = optional.into_iter().flatten();
    for path in paths.chain([&mut data.path]) {
        // An empty path is refused later; without a current folder the path stays as it is.
        if let Ok(absolute) = std::path::absolute(&*path) {
            *path = absolute;
        }
    }
    recipe
}
