//! The ways of digits over the canvas.

use std::f64::consts::TAU;

use ndarray_rand::rand::Rng;

/// How a digit moves in the task `order`. The partner of a motion is the same way backwards: it shows the same frames in
/// reverse order, so that nothing but the order tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// From left to right.
    Right,
    /// From right to left.
    Left,
    /// From top to bottom.
    Down,
    /// From bottom to top.
    Up,
    /// From the middle to the right, to the left, and back to the middle.
    RightThenLeft,
    /// From the middle to the left, to the right, and back to the middle.
    LeftThenRight,
    /// Once around a circle, clockwise on the screen.
    Clockwise,
    /// Once around a circle, the other way.
    Anticlockwise,
}

impl Motion {
    /// All motions, partners beside each other: the classes of the task.
    pub const ALL: [Self; 8] = [
        Self::Right,
        Self::Left,
        Self::Down,
        Self::Up,
        Self::RightThenLeft,
        Self::LeftThenRight,
        Self::Clockwise,
        Self::Anticlockwise,
    ];
}

/// The upper left corners (row, column) of a digit on a square canvas that leaves it a freedom of `freedom` pixels along
/// each axis; it moves by about `step` pixels per frame, and starts where `rng` says.
///
/// # Panics
/// If `frames` is 0 or the way from side to side, `step · (frames − 1)`, is longer than the freedom.
pub fn motion_path(motion: Motion, frames: usize, step: usize, freedom: usize, rng: &mut impl Rng) -> Vec<[usize; 2]> {
    let length = step * (frames - 1);
    assert!(length <= freedom, "a way of {length} pixels does not fit a freedom of {freedom}");
    let amplitude = length as f64 / 4.0;
    // The start of a turn, so that a circle gives its direction away by no single frame.
    let phase = rng.random::<f64>();
    let relative: Vec<[f64; 2]> = (0..frames)
        .map(|frame| {
            let time = if frames > 1 { frame as f64 / (frames - 1) as f64 } else { 0.0 };
            match motion {
                Motion::Right | Motion::Left => [0.0, time * length as f64],
                Motion::Down | Motion::Up => [time * length as f64, 0.0],
                Motion::RightThenLeft | Motion::LeftThenRight => [0.0, amplitude * swing(time)],
                Motion::Clockwise | Motion::Anticlockwise => {
                    let angle = (phase + time) * TAU;
                    [amplitude * angle.sin(), amplitude * angle.cos()]
                }
            }
        })
        .collect();
    let mut path = Vec::with_capacity(frames);
    let origin = [0, 1].map(|axis| {
        let (low, high) = extent(&relative, axis);
        low.unsigned_abs() as usize + rng.random_range(0..=(freedom as i64 - (high - low)) as u64) as usize
    });
    for place in &relative {
        path.push([0, 1].map(|axis| (origin[axis] as i64 + place[axis].round() as i64) as usize));
    }
    let backwards = matches!(motion, Motion::Left | Motion::Up | Motion::LeftThenRight | Motion::Anticlockwise);
    if backwards {
        path.reverse();
    }
    path
}

/// From 0 to 1, to −1, and back to 0, evenly.
fn swing(time: f64) -> f64 {
    let quarter = 4.0 * time;
    match quarter {
        quarter if quarter <= 1.0 => quarter,
        quarter if quarter <= 3.0 => 2.0 - quarter,
        quarter => quarter - 4.0,
    }
}

/// The smallest (at most 0) and the largest (at least 0) whole pixel of a way along `axis`.
fn extent(relative: &[[f64; 2]], axis: usize) -> (i64, i64) {
    let pixels = relative.iter().map(|place| place[axis].round() as i64);
    pixels.fold((0, 0), |(low, high), pixel| (low.min(pixel), high.max(pixel)))
}

/// The corners of a digit that moves in a straight line by `step` pixels per frame and bounces off the borders, from a
/// place and in a direction that `rng` says.
pub fn bouncing(frames: usize, step: usize, freedom: usize, rng: &mut impl Rng) -> Vec<[usize; 2]> {
    let mut place = [rng.random::<f64>(), rng.random::<f64>()].map(|part| part * freedom as f64);
    let angle = rng.random::<f64>() * TAU;
    let mut velocity = [step as f64 * angle.sin(), step as f64 * angle.cos()];
    let mut path = Vec::with_capacity(frames);
    for _ in 0..frames {
        path.push(place.map(|position| position.round() as usize));
        for (position, velocity) in place.iter_mut().zip(&mut velocity) {
            *position += *velocity;
            if *position < 0.0 || *position > freedom as f64 {
                *position = position.clamp(0.0, freedom as f64);
                *velocity = -*velocity;
            }
        }
    }
    path
}
