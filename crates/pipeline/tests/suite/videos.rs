//! Recognition in videos of one's own: from folders to predictions.

mod cache;
mod collection;
mod program;
mod run;
mod stream;

use std::fs;
use std::path::Path;

use ndarray::Array3;
use ndarray_npy::WriteNpyExt;
use pipeline::videos::{InputKind, VideoRecipe};

/// Writes a video of `frames` frames of 12×16 pixels in which a bright bar moves right or left from where `start` says.
pub(crate) fn write_bar(path: &Path, frames: usize, right: bool, start: usize) {
    let (height, width) = (12, 16);
    let bar = |time: usize| if right { start + time } else { start + 10 * width - time } % width;
    let video = Array3::from_shape_fn((frames, height, width), |(time, row, column)| {
        let distance = (column + width - bar(time)) % width;
        if distance < 4 { 250 - 2 * row as u8 } else { 20 + row as u8 }
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    video.write_npy(fs::File::create(path).unwrap()).unwrap();
}

/// Writes `count` videos of each of two classes, `left` and `right`, into `folder`.
pub(crate) fn write_bars(folder: &Path, count: usize) {
    for number in 0..count {
        for (class, right) in [("left", false), ("right", true)] {
            let path = folder.join(class).join(format!("{number:02}.npy"));
            write_bar(&path, 9 + number % 4, right, 5 * number + 2);
        }
    }
}

/// A recipe that tells the bars apart within seconds.
pub(crate) fn bar_recipe(folder: &Path) -> VideoRecipe {
    let mut recipe = VideoRecipe::of_kind(InputKind::Pixels);
    recipe.data.path = folder.to_owned();
    recipe.data.validation_fraction = 0.25;
    recipe.input.size = [12, 16];
    recipe.augmentation.mirror = false;
    recipe.augmentation.max_shift = 0.0;
    recipe.training.batch_size = 8;
    // Two frames beside each other show which way the bar moves.
    recipe.input.stacked_frames = 2;
    recipe.training.epochs = 20;
    recipe
}
