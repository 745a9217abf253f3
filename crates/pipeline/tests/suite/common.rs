//! What several tests share.

use pipeline::data::{FirActions, SplitConfig};
use pipeline::model::{ConvolutionConfig, EncoderConfig, HeadConfig, LstmPartConfig, ModelConfig, TemporalConfig};
use pipeline::recipe::ActionRecipe;
use pipeline::run::{FORMAT_VERSION, ModelDescription};
use pipeline::training::TrainingConfig;

/// A recipe that trains a tiny model on a few clips within a second or so.
pub(crate) fn tiny_recipe() -> ActionRecipe {
    ActionRecipe {
        data: SplitConfig { clips_per_person: Some(14), validation_fraction: 0.1, ..SplitConfig::default() },
        model: tiny_model(),
        training: TrainingConfig { epochs: 2, batch_size: 16, ..TrainingConfig::default() },
        ..ActionRecipe::default()
    }
}

pub(crate) fn tiny_model() -> ModelConfig {
    let convolution = |channels| ConvolutionConfig { channels, kernel: 4, stride: 2, padding: 1 };
    let lstm = LstmPartConfig { features: 6, hidden: 5, ..LstmPartConfig::default() };
    ModelConfig {
        encoder: EncoderConfig { convolutions: vec![convolution(3), convolution(4)], dropout: 0.2 },
        temporal: TemporalConfig::Lstm(lstm),
        head: HeadConfig::default(),
    }
}

/// The description of a model of `recipe`.
pub(crate) fn description(recipe: &ActionRecipe) -> ModelDescription {
    ModelDescription {
        format_version: FORMAT_VERSION,
        recipe: recipe.recipe,
        labels: FirActions::LABELS.map(str::to_owned).to_vec(),
        preprocessing: recipe.preprocessing.clone(),
        input_size: [16, 16],
        model: recipe.model.clone(),
    }
}
