//! Decodes videos and says what is in them: `decode FILE...`, or `decode --rgb FILE` for the pixels of one on the
//! standard output.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use video_input::{Frame, OpenOptions, open};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, file] = &arguments[..]
        && flag == "--rgb"
    {
        return write_pixels(Path::new(file));
    }
    let (mut total, start) = (0, Instant::now());
    for file in &arguments {
        let (count, outcome) = match describe(Path::new(file)) {
            Ok((count, text)) => (count, text),
            Err(error) => (0, error.to_string()),
        };
        total += count;
        println!("{file}: {outcome}");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{total} frames in {seconds:.2} s, {:.0} per second", f64::from(total) / seconds);
    Ok(())
}

/// Reads all frames. Returns how many there are, and a line about them.
fn describe(path: &Path) -> Result<(u32, String), Box<dyn Error>> {
    let mut video = open(path, &OpenOptions::default())?;
    let info = video.info().clone();
    let (mut count, mut frame) = (0, Frame::default());
    let end = loop {
        match video.next_frame(&mut frame) {
            Ok(true) => count += 1,
            Ok(false) => break format!("the last one at {:.3} s", frame.time),
            Err(error) => break error.to_string(),
        }
    };
    let claimed = info.frames.map_or_else(|| "an unknown number".to_owned(), |frames| frames.to_string());
    let rate = info.frame_rate.map_or_else(|| "no rate".to_owned(), |rate| format!("{rate:.3} per second"));
    let text = format!("{}, {}x{}, {count} frames of {claimed}, {rate}; {end}", info.format, info.height, info.width);
    Ok((count, text))
}

fn write_pixels(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut video = open(path, &OpenOptions::default())?;
    let (mut frame, mut output) = (Frame::default(), io::stdout().lock());
    while video.next_frame(&mut frame)? {
        output.write_all(frame.pixels.as_slice().ok_or("a frame is not in order")?)?;
    }
    Ok(())
}
