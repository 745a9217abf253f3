//! The clips of the tasks.

use ndarray::{Array3, Array4, ArrayView2, ArrayViewMut2, s};
use ndarray_rand::rand::Rng;
use ndarray_rand::rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::paths::{Motion, bouncing, motion_path};
use super::recipe::TaskClipConfig;
use super::{SmallDigits, TaskName};
use crate::random::{Purpose, generator};
use crate::recipe::RecipeError;

/// The height and the width of a piece of clutter in pixels.
const PIECE: usize = 6;
/// One single frame of so many shows no digit.
const BLANK: usize = 5;
/// What is subtracted from a brightness from 0 to 1 for a model, and what the rest is divided by.
const BRIGHTNESS: (f32, f32) = (0.2, 0.3);

/// A clip and what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskClip {
    /// `[time, height, width]`, from 0 to 255.
    pub pixels: Array3<u8>,
    /// The class; for `reading` the digits in the order in which they appear.
    pub target: Vec<usize>,
    /// The digit in each frame; `None` where the frame shows none.
    pub shown: Vec<Option<ShownDigit>>,
}

/// A digit in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownDigit {
    /// Which one it is, from 0 to 9.
    pub digit: usize,
    /// Row and column of its upper left corner; it has [`SmallDigits::SIZE`] pixels along each axis.
    pub corner: [usize; 2],
}

impl TaskClip {
    /// The class.
    pub fn label(&self) -> usize {
        self.target[0]
    }
}

/// Clips of one task without end: each is made when it is asked for, and depends on the seed, its length, its number and the
/// part of its digits, not on which were made before.
///
/// Every frame is a ground of even noise with pieces of digits on it; where it shows a digit, the brighter pixel of the two
/// is seen.
#[derive(Clone, Debug)]
pub struct ClipMaker<'a> {
    task: TaskName,
    config: &'a TaskClipConfig,
    digits: &'a SmallDigits,
    seed: u64,
}

impl<'a> ClipMaker<'a> {
    /// Clips of `task` from `digits`.
    ///
    /// # Errors
    /// [`RecipeError::Value`] if a value of `config` is not allowed for the task.
    pub fn new(
        task: TaskName,
        config: &'a TaskClipConfig,
        digits: &'a SmallDigits,
        seed: u64,
    ) -> Result<Self, RecipeError> {
        config.validate(task)?;
        Ok(Self { task, config, digits, seed })
    }

    /// The number of classes; for `reading` that of the digits.
    pub fn classes(task: TaskName) -> usize {
        match task {
            TaskName::Order => Motion::ALL.len(),
            TaskName::Reducers | TaskName::Where | TaskName::When | TaskName::Reading => 10,
        }
    }

    /// The clip `number` of `frames` frames, which must be one of the lengths of the configuration.
    pub fn clip(&self, frames: usize, number: usize) -> TaskClip {
        // The part of the digits and the length have a stream of their own; lengths are below 2²⁰.
        let epoch = (frames << 2) | self.digits.part() as usize;
        let mut rng = generator(self.seed, Purpose::TaskClips, epoch, number);
        let rng = &mut rng;
        let mut clip = self.empty(frames, rng);
        match self.task {
            TaskName::Reducers | TaskName::When => {
                let mut order: Vec<usize> = (0..frames).collect();
                order.shuffle(rng);
                order.truncate(self.config.shown());
                self.show(&mut clip, &order, rng);
            }
            TaskName::Order => {
                let class = number % Motion::ALL.len();
                let path = motion_path(Motion::ALL[class], frames, self.config.step(), self.freedom(), rng);
                self.follow(&mut clip, &path, rng);
                clip.target = vec![class];
            }
            TaskName::Where => {
                let path = bouncing(frames, self.config.step(), self.freedom(), rng);
                self.follow(&mut clip, &path, rng);
            }
            TaskName::Reading => {
                let (slot, shown) = (self.config.frames_per_digit(), self.config.shown());
                for start in (0..frames).step_by(slot) {
                    // The last frame of a slot shows nothing, so that equal digits are two.
                    let first = start + rng.random_range(0..(slot - shown) as u64) as usize;
                    let frames: Vec<usize> = (first..first + shown).collect();
                    self.show(&mut clip, &frames, rng);
                }
            }
        }
        clip
    }

    /// Frames by themselves, one per clip: one in [`BLANK`] shows no digit, all others show one.
    pub(super) fn single_frames(&self, count: usize) -> Vec<TaskClip> {
        let frame = |number: usize| {
            // Clips have two frames at least: the streams of length 1 are free.
            let rng = &mut generator(self.seed, Purpose::TaskClips, 1 << 2 | self.digits.part() as usize, number);
            let mut clip = self.empty(1, rng);
            if !number.is_multiple_of(BLANK) {
                self.show(&mut clip, &[0], rng);
            }
            clip
        };
        (0..count).into_par_iter().map(frame).collect()
    }

    /// A clip that shows its ground.
    fn empty(&self, frames: usize, rng: &mut ChaCha8Rng) -> TaskClip {
        let canvas = self.config.canvas;
        let pixels = Array3::zeros((frames, canvas, canvas));
        let mut clip = TaskClip { pixels, target: Vec::new(), shown: vec![None; frames] };
        for mut frame in clip.pixels.outer_iter_mut() {
            self.ground(&mut frame, rng);
        }
        clip
    }

    /// The clips from number 0 on.
    pub fn clips(&self, frames: usize, count: usize) -> Vec<TaskClip> {
        (0..count).into_par_iter().map(|number| self.clip(frames, number)).collect()
    }

    /// The number of pixels that the corner of a digit may move along each axis.
    fn freedom(&self) -> usize {
        self.config.canvas - SmallDigits::SIZE
    }

    /// Noise and clutter.
    fn ground(&self, frame: &mut ArrayViewMut2<'_, u8>, rng: &mut ChaCha8Rng) {
        let brightest = (self.config.noise * 255.0).round() as u8;
        frame.mapv_inplace(|_| rng.random_range(0..=brightest));
        for _ in 0..self.config.clutter {
            let image = self.digits.image(self.digits.draw(rng));
            let mut within = |freedom: usize| rng.random_range(0..=freedom as u64) as usize;
            // Pieces from the rim of a digit would be empty.
            let [row, column] = [0, 1].map(|_| 1 + within(SmallDigits::SIZE - PIECE - 2));
            let corner = [0, 1].map(|_| within(self.config.canvas - PIECE));
            draw(frame, image.slice(s![row..row + PIECE, column..column + PIECE]), corner);
        }
    }

    /// Shows one digit in `frames`, in each at a place of its own.
    fn show(&self, clip: &mut TaskClip, frames: &[usize], rng: &mut ChaCha8Rng) {
        let image = self.digits.draw(rng);
        for &frame in frames {
            let corner = [0, 1].map(|_| rng.random_range(0..=self.freedom() as u64) as usize);
            self.put(clip, frame, image, corner);
        }
        clip.target.push(self.digits.label(image));
    }

    /// Shows one digit in all frames, on its way along `path`.
    fn follow(&self, clip: &mut TaskClip, path: &[[usize; 2]], rng: &mut ChaCha8Rng) {
        let image = self.digits.draw(rng);
        for (frame, &corner) in path.iter().enumerate() {
            self.put(clip, frame, image, corner);
        }
        clip.target.push(self.digits.label(image));
    }

    fn put(&self, clip: &mut TaskClip, frame: usize, image: usize, corner: [usize; 2]) {
        draw(&mut clip.pixels.slice_mut(s![frame, .., ..]), self.digits.image(image), corner);
        clip.shown[frame] = Some(ShownDigit { digit: self.digits.label(image), corner });
    }
}

/// Draws `image` with its first pixel at `corner`; the brighter pixel shows.
fn draw(frame: &mut ArrayViewMut2<'_, u8>, image: ArrayView2<'_, u8>, [row, column]: [usize; 2]) {
    let (height, width) = image.dim();
    let mut target = frame.slice_mut(s![row..row + height, column..column + width]);
    target.zip_mut_with(&image, |pixel, &ink| *pixel = ink.max(*pixel));
}

/// A brightness from 0 to 255 as models read it.
fn normalized(pixel: u8) -> f32 {
    (f32::from(pixel) / 255.0 - BRIGHTNESS.0) / BRIGHTNESS.1
}

/// The frames of all clips one after another: `[frames, 1, height, width]`.
pub(super) fn frames_of(clips: &[&TaskClip]) -> Array4<f32> {
    let (_, height, width) = clips.first().map_or((0, 0, 0), |clip| clip.pixels.dim());
    let pixels: Vec<f32> = clips.iter().flat_map(|clip| clip.pixels.iter().map(|&pixel| normalized(pixel))).collect();
    let frames = clips.iter().map(|clip| clip.shown.len()).sum();
    Array4::from_shape_vec((frames, 1, height, width), pixels).expect("clips of one task have frames of one size")
}
