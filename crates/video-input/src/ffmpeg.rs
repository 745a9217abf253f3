//! Everything else, through the program `ffmpeg`: it decodes, and writes planes without compression to a pipe.

use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use crate::error::Origin;
use crate::source::{Failure, Reader};
use crate::y4m::Y4mReader;
use crate::{ColourMatrix, Frame, OpenOptions, VideoError, VideoFormat, VideoInfo};

/// How much of what `ffmpeg` says about errors is kept.
const MAX_MESSAGE: u64 = 600;

pub(crate) struct FfmpegReader {
    process: Process,
    frames: Y4mReader<BufReader<ChildStdout>>,
    info: VideoInfo,
    origin: Origin,
}

impl FfmpegReader {
    /// Starts `ffmpeg`. `Ok(None)` if there is no such program.
    pub(crate) fn start(path: &Path, options: &OpenOptions) -> Result<Option<Self>, VideoError> {
        let origin = Origin::new(path, VideoFormat::Ffmpeg);
        let spawned = Command::new(&options.ffmpeg_program)
            .args(arguments(path))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&origin, format!("it does not start: {error}"))),
        };
        let (Some(output), Some(messages)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(&origin, "it has no output".to_owned()));
        };
        let messages = Some(thread::spawn(move || read_messages(messages)));
        let mut process = Process { child, messages };
        // The planes are converted to the matrix that is stated here.
        let options = OpenOptions { colour_matrix: ColourMatrix::Bt601, ..options.clone() };
        match Y4mReader::new(BufReader::new(output), None, origin.clone(), &options) {
            Ok(frames) => {
                let info = VideoInfo { format: VideoFormat::Ffmpeg, ..frames.info().clone() };
                Ok(Some(Self { process, frames, info, origin }))
            }
            Err(VideoError::Damaged { .. }) => {
                let problem = process.finish().unwrap_or_else(|| "it found no video".to_owned());
                Err(failed(&origin, problem))
            }
            Err(error) => Err(error),
        }
    }
}

/// The file is named by a protocol, and no other protocol is allowed: it can neither be taken for an option nor lead to
/// the network. All frames come in one matrix and range, at the full resolution of chroma, since the format of the pipe
/// states neither.
fn arguments(path: &Path) -> Vec<OsString> {
    let mut input = OsString::from("file:");
    input.push(path);
    let before = ["-nostdin", "-v", "error", "-protocol_whitelist", "file", "-i"];
    let filter = "scale=out_color_matrix=bt601:out_range=limited,format=yuv444p";
    let after = ["-map", "0:v:0", "-an", "-sn", "-dn", "-vf", filter, "-f", "yuv4mpegpipe", "pipe:1"];
    before.into_iter().map(OsString::from).chain([input]).chain(after.into_iter().map(OsString::from)).collect()
}

fn failed(origin: &Origin, problem: String) -> VideoError {
    VideoError::Ffmpeg { path: origin.path.clone(), problem }
}

/// Reads all that is written, so that the writer never waits, and keeps the start.
fn read_messages(mut messages: ChildStderr) -> String {
    let mut kept = Vec::new();
    // A message that cannot be read is left out of the error that it would explain.
    let _ = messages.by_ref().take(MAX_MESSAGE).read_to_end(&mut kept);
    let _ = io::copy(&mut messages, &mut io::sink());
    String::from_utf8_lossy(&kept).trim().lines().collect::<Vec<_>>().join("; ")
}

/// The running program, which ends with its reader.
struct Process {
    child: Child,
    messages: Option<JoinHandle<String>>,
}

impl Process {
    /// Waits until the program has ended by itself, its output being closed. Returns what went wrong.
    fn finish(&mut self) -> Option<String> {
        let status = self.child.wait();
        let messages = self.messages.take().and_then(|messages| messages.join().ok()).unwrap_or_default();
        match status {
            _ if !messages.is_empty() => Some(messages),
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("it ended with {status}")),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the program has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reader for FfmpegReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn read(&mut self, frame: Option<&mut Frame>) -> Result<bool, Failure> {
        match self.frames.read(frame) {
            Ok(true) => Ok(true),
            Ok(false) => match self.process.finish() {
                None => Ok(false),
                Some(problem) => Err(Failure::End(failed(&self.origin, problem))),
            },
            Err(failure) => Err(failure),
        }
    }
}
