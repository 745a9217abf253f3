//! `vidrnn stream`

use std::io::{self, BufReader};
use std::path::Path;
use std::time::Instant;

use pipeline::videos::{FramePrediction, VideoStream};
use serde::Serialize;
use video_input::{Frame, OpenOptions, VideoSource};

use crate::arguments::StreamArguments;
use crate::predict::{is_broken_pipe, open_model, print_line};

/// The line about a frame.
#[derive(Debug, Serialize)]
struct FrameLine {
    #[serde(flatten)]
    prediction: FramePrediction,
    /// The time from when the frame was there to when the prediction was.
    latency_milliseconds: f64,
}

pub(crate) fn run(arguments: &StreamArguments) -> anyhow::Result<()> {
    match arguments.common.with_threads(|| stream(arguments))? {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result,
    }
}

fn stream(arguments: &StreamArguments) -> anyhow::Result<()> {
    let model = open_model(&arguments.run)?;
    let mut source = open(arguments, &model.open_options())?;
    let (mut stream, mut frame) = (VideoStream::new(&model), Frame::default());
    while source.next_frame(&mut frame)? {
        let start = Instant::now();
        if let Some(prediction) = stream.push(&frame)? {
            print_line(&FrameLine { prediction, latency_milliseconds: start.elapsed().as_secs_f64() * 1e3 })?;
        }
    }
    Ok(())
}

fn open(arguments: &StreamArguments, options: &OpenOptions) -> anyhow::Result<Box<dyn VideoSource>> {
    Ok(match (arguments.video == Path::new("-"), arguments.raw) {
        (true, Some([width, height])) => {
            let (pixels, rate) = (arguments.pixels(), arguments.frame_rate);
            video_input::read_raw(io::stdin(), width, height, pixels, rate, options)?
        }
        (true, None) => video_input::read_y4m(BufReader::new(io::stdin()), options)?,
        (false, Some(_)) => anyhow::bail!("--raw is for frames from standard input, `-`"),
        (false, None) => video_input::open(&arguments.video, options)?,
    })
}
