//! What a model says while a video runs.

use std::fs;
use std::path::Path;

use ndarray::{Array3, s};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use pipeline::interrupt::Interrupt;
use pipeline::run::RunDirectory;
use pipeline::videos::{self, FramePrediction, VideoModel, VideoRecipe, VideoStream};
use tempfile::tempdir;
use video_input::{Frame, OpenOptions, Sampling};

use super::{bar_recipe, write_bar, write_bars};

fn streamed(model: &VideoModel, path: &Path) -> Vec<FramePrediction> {
    let mut source = video_input::open(path, &OpenOptions::default()).unwrap();
    let (mut stream, mut frame) = (VideoStream::new(model), Frame::default());
    let mut said = Vec::new();
    while source.next_frame(&mut frame).unwrap() {
        said.extend(stream.push(&frame).unwrap());
    }
    said
}

#[test]
fn a_stream_says_what_a_prediction_of_the_video_so_far_says() {
    let folder = tempdir().unwrap();
    write_bars(&folder.path().join("videos"), 6);
    let usual = bar_recipe(&folder.path().join("videos"));
    let dense = VideoRecipe { sampling: Sampling::Dense { frames: 4, stride: 2 }, test_clips: 2, ..usual.clone() };
    let mut stacked = usual.clone();
    stacked.input.stacked_frames = 3;
    stacked.input.frame_rate = 12.5;
    for (name, mut recipe) in [("usual", usual), ("dense", dense), ("stacked", stacked)] {
        recipe.training.epochs = 1;
        let directory = RunDirectory::create(folder.path(), name).unwrap();
        videos::train(&recipe, &directory, &Interrupt::default(), &mut |_| {}).unwrap();
        let model = VideoModel::open(&directory).unwrap();
        let window = model.description.window;
        let path = folder.path().join("long.npy");
        write_bar(&path, 30, false, 7);
        let said = streamed(&model, &path);
        let every = if name == "stacked" { 2 } else { 1 };
        assert_eq!(said.iter().map(|said| said.frame).collect::<Vec<_>>(), (0..30).step_by(every).collect::<Vec<_>>());
        assert!(said.len() > window + 2, "{name}: the window of {window} frames is never full");

        // Frame by frame from the stored video, which is read at once.
        let stored = model.store(&path, folder.path()).unwrap();
        let over_time: Vec<_> = model.predictions_over_time(&stored).map(Result::unwrap).collect();
        assert_eq!(said.iter().map(|said| said.prediction.clone()).collect::<Vec<_>>(), over_time, "{name}");

        // As long as the window holds the video so far, that is what the video so far is taken for.
        let whole = Array3::<u8>::read_npy(fs::File::open(&path).unwrap()).unwrap();
        for (index, said) in said.iter().enumerate().take(window) {
            let frames = index * every + 1;
            let so_far = folder.path().join("so-far.npy");
            whole.slice(s![..frames, .., ..]).to_owned().write_npy(fs::File::create(&so_far).unwrap()).unwrap();
            assert_eq!(said.prediction, model.predict(&so_far).unwrap(), "{name}: {frames} frames");
        }
    }
}
