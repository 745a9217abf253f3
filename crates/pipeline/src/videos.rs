//! Recognition in video files of one's own, from a folder to predictions.
//!
//! A [`Collection`] is the video files, their classes and which of them train. Every video is decoded once: its frames, or
//! the features of a network that knows the pictures of ImageNet, are kept by a [`Cache`] as [`StoredVideo`]s, from which
//! training and testing read the frames that they need. A trained [`VideoModel`] classifies files, and a [`VideoStream`]
//! says after every frame what it sees.
//!
//! ```no_run
//! use std::path::Path;
//! use pipeline::interrupt::Interrupt;
//! use pipeline::run::RunDirectory;
//! use pipeline::videos::{self, VideoModel, VideoRecipe};
//!
//! let mut recipe = VideoRecipe::default();
//! recipe.data.path = "clips".into(); // a folder with one folder of videos per class
//! let directory = RunDirectory::create_numbered(Path::new("runs"), "videos")?;
//! let results = videos::train(&recipe, &directory, &Interrupt::default(), &mut |_| {})?;
//! println!("accuracy on the videos held out: {}", results.validation.accuracy);
//!
//! let model = VideoModel::open(&directory)?;
//! let prediction = model.predict(Path::new("new.mp4"))?;
//! println!("{} ({:.2})", prediction.label, prediction.probability);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod augmentation;
mod cache;
mod check;
mod clips;
mod collection;
mod error;
mod input;
mod layout;
mod model;
mod recipe;
mod results;
mod split;
mod store;
mod stream;
mod trainer;
mod training;

pub use augmentation::VideoAugmentationConfig;
pub use cache::{Cache, CacheEvent, CacheSummary};
pub use check::{CheckReport, CheckedFile, FileFacts, check};
pub use collection::{Collection, CollectionConfig, Part, Unreadable, VideoEntry};
pub use error::{CollectionError, VideosError};
pub use input::{Colour, InputConfig, InputKind, Scale};
pub use model::{Prediction, RankedLabel, VideoModel, VideoModelDescription};
pub use recipe::VideoRecipe;
pub use results::{Mistake, VideoResults};
pub use store::{StoreError, StoredVideo};
pub use stream::{FramePrediction, VideoStream};
pub use training::{VideoEvent, cache_features, evaluate, resume, train};
