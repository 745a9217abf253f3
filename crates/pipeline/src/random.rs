//! Generators of random numbers, one per purpose, epoch and item.
//!
//! A generator that threads share in turn would give every run other numbers. Here each piece of work derives its own
//! from what it is, so results depend on the seed alone, not on which thread does what, or when. All of them are
//! `ChaCha8` with one key (the seed) and different streams.

use ndarray_rand::rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Which recordings are held out for validation.
    Split = 0,
    /// The initial weights.
    Weights = 1,
    /// The order of the clips in an epoch.
    Order = 2,
    /// The augmentation of one clip in one epoch.
    Augmentation = 3,
    /// Dropout in one batch of one epoch.
    Dropout = 4,
    /// What the clip of a task shows, and where.
    TaskClips = 7,
    /// The digits of one synthetic clip and how they move.
    MovingDigits = 8,
}

/// The generator for `purpose`, in `epoch`, for `item` (a clip, a batch; 0 where there is only one).
///
/// Streams are distinct for epochs below 2²⁸ and items below 2³².
///
/// ```
/// use ndarray_rand::rand::Rng;
/// use pipeline::random::{Purpose, generator};
///
/// let draw = |epoch, clip| generator(7, Purpose::Augmentation, epoch, clip).random::<u64>();
/// assert_eq!(draw(1, 2), draw(1, 2));
/// assert_ne!(draw(1, 2), draw(2, 1));
/// ```
pub fn generator(seed: u64, purpose: Purpose, epoch: usize, item: usize) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let epoch = (epoch as u64) & 0x0fff_ffff;
    let item = (item as u64) & 0xffff_ffff;
    generator.set_stream((purpose as u64) << 60 | epoch << 32 | item);
    generator
}
