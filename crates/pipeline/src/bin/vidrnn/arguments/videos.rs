//! The arguments of the commands about videos of one's own.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pipeline::videos::{InputKind, Unreadable, VideoRecipe};
use video_input::{OnError, PixelFormat, Sampling};

use super::{CommonArguments, configured, set};

/// What a model sees of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputName {
    /// Its pixels; a small network for them is trained along.
    Pixels,
    /// 1,280 features of an EfficientNet-Lite0 that was trained on ImageNet.
    Features,
    /// The same for each of 7×7 places, for models that look at places.
    FeatureMaps,
}

/// What becomes of a video that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UnreadableName {
    /// Nothing is done before it is repaired or removed.
    Stop,
    /// It is left out.
    Skip,
}

/// What becomes of a video with a damaged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnErrorName {
    /// It cannot be read.
    Stop,
    /// The frame is left out.
    Skip,
    /// The video ends before it.
    Keep,
}

/// Which videos, and what is seen of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for videos")]
pub(crate) struct VideoArguments {
    /// What a model sees of a frame. Default: features.
    #[arg(long, value_enum)]
    input: Option<InputName>,
    /// The height and the width of the pixels that are kept, such as 64x96.
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// At most so many frames per second are looked at; 0 for all.
    #[arg(long, value_name = "FPS")]
    frame_rate: Option<f64>,
    /// The number of frames of a clip, one of each of so many equal parts of the video.
    #[arg(long, value_name = "N")]
    segments: Option<usize>,
    /// A file that lists the videos that train: lines `path` or `path label`.
    #[arg(long, value_name = "FILE", requires = "validation_list")]
    training_list: Option<PathBuf>,
    /// A file that lists the videos held out.
    #[arg(long, value_name = "FILE", requires = "training_list")]
    validation_list: Option<PathBuf>,
    /// A file that names the classes of the lists: lines `number name` or `name`.
    #[arg(long, value_name = "FILE", requires = "training_list")]
    classes: Option<PathBuf>,
    /// The folder with the split files of HMDB-51.
    #[arg(long, value_name = "DIR", conflicts_with = "training_list")]
    hmdb_splits: Option<PathBuf>,
    /// Which split of HMDB-51, 1 to 3.
    #[arg(long, value_name = "N", requires = "hmdb_splits")]
    hmdb_split: Option<usize>,
    /// A safetensors file of the weights that training begins with, such as model.safetensors of another run.
    #[arg(long, value_name = "FILE")]
    initial_weights: Option<PathBuf>,
    /// The folder where the frames of decoded videos are kept. Default: `frames` beside the run directory.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// What becomes of a video with a damaged frame. Default: stop.
    #[arg(long, value_enum)]
    on_error: Option<OnErrorName>,
    /// What becomes of a video that cannot be read. Default: stop.
    #[arg(long, value_enum)]
    unreadable: Option<UnreadableName>,
}

impl VideoArguments {
    /// The names of the flags, and whether they are given.
    pub(super) fn flags(&self) -> [(&'static str, bool); 13] {
        [
            ("input", self.input.is_some()),
            ("size", self.size.is_some()),
            ("frame-rate", self.frame_rate.is_some()),
            ("segments", self.segments.is_some()),
            ("training-list", self.training_list.is_some()),
            ("validation-list", self.validation_list.is_some()),
            ("classes", self.classes.is_some()),
            ("hmdb-splits", self.hmdb_splits.is_some()),
            ("hmdb-split", self.hmdb_split.is_some()),
            ("initial-weights", self.initial_weights.is_some()),
            ("cache", self.cache.is_some()),
            ("on-error", self.on_error.is_some()),
            ("unreadable", self.unreadable.is_some()),
        ]
    }

    /// The recipe of the file, or the defaults of the kind of input, with what the flags override; not yet checked.
    pub(super) fn recipe(&self, config: Option<&PathBuf>, data: Option<&PathBuf>) -> anyhow::Result<VideoRecipe> {
        anyhow::ensure!(
            config.is_none() || self.input.is_none(),
            "--input chooses the defaults, which --config replaces: set `kind` in the table [input] of the file"
        );
        let kind = match self.input {
            Some(InputName::Pixels) => InputKind::Pixels,
            Some(InputName::FeatureMaps) => InputKind::FeatureMaps,
            Some(InputName::Features) | None => InputKind::Features,
        };
        let mut recipe = configured(config, VideoRecipe::from_toml)?.unwrap_or_else(|| VideoRecipe::of_kind(kind));
        set(&mut recipe.data.path, data.cloned());
        set(&mut recipe.input.size, self.size);
        set(&mut recipe.input.frame_rate, self.frame_rate);
        set(&mut recipe.sampling, self.segments.map(|segments| Sampling::Segments { segments }));
        set(&mut recipe.data.hmdb_split, self.hmdb_split);
        let on_error = self.on_error.map(|on_error| match on_error {
            OnErrorName::Stop => OnError::Stop,
            OnErrorName::Skip => OnError::Skip,
            OnErrorName::Keep => OnError::Keep,
        });
        set(&mut recipe.input.on_error, on_error);
        let unreadable = self.unreadable.map(|unreadable| match unreadable {
            UnreadableName::Stop => Unreadable::Stop,
            UnreadableName::Skip => Unreadable::Skip,
        });
        set(&mut recipe.data.unreadable, unreadable);
        if self.initial_weights.is_some() {
            recipe.initial_weights.clone_from(&self.initial_weights);
        }
        let given = [&self.training_list, &self.validation_list, &self.classes, &self.hmdb_splits, &self.cache];
        let data = &mut recipe.data;
        let fields = [
            &mut data.training_list,
            &mut data.validation_list,
            &mut data.classes,
            &mut data.hmdb_splits,
            &mut data.cache,
        ];
        for (field, given) in fields.into_iter().zip(given) {
            if given.is_some() {
                field.clone_from(given);
            }
        }
        Ok(recipe)
    }
}

/// Reads `64x96`.
fn size(text: &str) -> Result<[usize; 2], String> {
    let sizes = text.split_once(['x', '×']);
    let parsed = sizes.and_then(|(first, second)| Some([first.parse().ok()?, second.parse().ok()?]));
    parsed.ok_or_else(|| format!("expected two numbers such as 64x96, found `{text}`"))
}

#[derive(Debug, Args)]
pub(crate) struct DataArguments {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Decode every video of a folder, and list classes, lengths, duplicates and what cannot be read.
    Check(CollectionArguments),
}

/// The videos of a folder, as `vidrnn train` would take them.
#[derive(Debug, Args)]
pub(crate) struct CollectionArguments {
    /// The folder.
    data: PathBuf,
    /// The recipe that says which they are.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    videos: VideoArguments,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

impl CollectionArguments {
    /// The recipe of the file, or the defaults of the kind of input, with what the flags override.
    pub(crate) fn recipe(&self) -> anyhow::Result<VideoRecipe> {
        let recipe = self.videos.recipe(self.config.as_ref(), Some(&self.data))?;
        recipe.validate()?;
        Ok(recipe)
    }
}

#[derive(Debug, Args)]
pub(crate) struct PredictArguments {
    /// The run directory of a model of videos, or its file model.safetensors.
    pub(crate) run: PathBuf,
    /// The videos.
    #[arg(required = true, value_name = "VIDEO")]
    pub(crate) videos: Vec<PathBuf>,
    /// Print a line after every frame, as `vidrnn stream` does.
    #[arg(long)]
    pub(crate) per_frame: bool,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct StreamArguments {
    /// The run directory of a model of videos, or its file model.safetensors.
    pub(crate) run: PathBuf,
    /// A video, or `-` for frames from standard input: Y4M, or pixels alone with --raw.
    pub(crate) video: PathBuf,
    /// The width and the height of the pixels alone, such as 640x480.
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub(crate) raw: Option<[usize; 2]>,
    /// How pixels alone are stored.
    #[arg(long, value_enum, default_value_t = PixelsName::Rgb24)]
    pixels: PixelsName,
    /// The number of pixels alone per second.
    #[arg(long, value_name = "FPS", default_value_t = 25.0)]
    pub(crate) frame_rate: f64,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

/// How pixels alone are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PixelsName {
    /// Three bytes per pixel: red, green and blue.
    Rgb24,
    /// One byte per pixel.
    Gray8,
}

impl StreamArguments {
    pub(crate) fn pixels(&self) -> PixelFormat {
        match self.pixels {
            PixelsName::Rgb24 => PixelFormat::Rgb24,
            PixelsName::Gray8 => PixelFormat::Gray8,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArguments {
    /// The run directory.
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// A run directory, or a file model.safetensors.
    pub(crate) run: PathBuf,
}
