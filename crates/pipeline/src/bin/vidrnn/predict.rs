//! `vidrnn predict`

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use pipeline::run::RunDirectory;
use pipeline::videos::{FramePrediction, Prediction, VideoModel, VideoStream, VideosError};
use serde::Serialize;
use video_input::Frame;

use crate::arguments::PredictArguments;

/// The line about a video.
#[derive(Debug, Serialize)]
struct VideoLine<'a> {
    file: &'a str,
    #[serde(flatten)]
    prediction: Prediction,
    /// The number of frames that were looked at.
    frames: usize,
    /// The time of the last of them.
    seconds: f64,
    /// How long it took, decoding included.
    milliseconds: f64,
}

/// The line about a frame.
#[derive(Debug, Serialize)]
struct FrameLine<'a> {
    file: &'a str,
    #[serde(flatten)]
    prediction: FramePrediction,
}

pub(crate) fn run(arguments: &PredictArguments) -> anyhow::Result<()> {
    let model = open_model(&arguments.run)?;
    let mut failed = 0;
    for video in &arguments.videos {
        let predict = || if arguments.per_frame { predict_frames(&model, video) } else { predict_video(&model, video) };
        match arguments.common.with_threads(predict)? {
            Err(error) if is_broken_pipe(&error) => return Ok(()),
            // One video that cannot be read does not keep the others from being looked at.
            Err(error) => {
                let (name, problem) = (video.display().to_string(), crate::message(&error));
                // Most errors name the file by themselves.
                let prefix = if problem.contains(&name) { String::new() } else { format!("{name}: ") };
                eprintln!("error: {prefix}{problem}");
                failed += 1;
            }
            Ok(()) => {}
        }
    }
    anyhow::ensure!(failed == 0, "{failed} of {} videos cannot be read", arguments.videos.len());
    Ok(())
}

/// The model of a run directory or in a file.
pub(crate) fn open_model(path: &Path) -> Result<VideoModel, VideosError> {
    if path.is_file() { VideoModel::load(path) } else { VideoModel::open(&RunDirectory::open(path)?) }
}

/// Writes a line of JSON, at once.
pub(crate) fn print_line(line: &impl Serialize) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(line)?)?;
    output.flush()?;
    Ok(())
}

/// Whether who reads the lines has read enough.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn predict_video(model: &VideoModel, path: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let folder = tempfile::tempdir()?;
    let video = model.store(path, folder.path())?;
    let prediction = model.predict_stored(&video)?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let (file, frames, seconds) = (&*path.to_string_lossy(), video.frames(), video.seconds());
    print_line(&VideoLine { file, prediction, frames, seconds, milliseconds })
}

fn predict_frames(model: &VideoModel, path: &Path) -> anyhow::Result<()> {
    let mut source = video_input::open(path, &model.open_options())?;
    let (mut stream, mut frame) = (VideoStream::new(model), Frame::default());
    let file = &*path.to_string_lossy();
    while source.next_frame(&mut frame)? {
        if let Some(prediction) = stream.push(&frame)? {
            print_line(&FrameLine { file, prediction })?;
        }
    }
    Ok(())
}
