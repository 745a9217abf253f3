//! Recipes: everything that decides a training run, in one file.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{AugmentationConfig, PreprocessingConfig, SplitConfig};
use crate::model::ModelConfig;
use crate::training::{EvaluationConfig, TrainingConfig};

/// The name of a kind of recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipeKind {
    /// Action recognition on the bundled thermal video.
    Actions,
    /// Several models of action recognition.
    Comparison,
    /// The continuation of radar, or of a person's own frames.
    Nowcast,
    /// The continuation of frames in which digits move.
    MovingMnist,
    /// A small task on digits.
    Task,
    /// Recognition in video files of one's own.
    Videos,
}

impl RecipeKind {
    /// The kind that a recipe names, whatever its other fields; `actions` where it names none.
    ///
    /// # Errors
    /// [`RecipeError::Syntax`] if the text is no TOML or names an unknown kind.
    pub fn of_toml(text: &str) -> Result<Self, RecipeError> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(default = "actions")]
            recipe: RecipeKind,
        }
        fn actions() -> RecipeKind {
            RecipeKind::Actions
        }
        Ok(toml::from_str::<Kind>(text)?.recipe)
    }

    /// The name, as files and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Comparison => "comparison",
            Self::Nowcast => "nowcast",
            Self::MovingMnist => "moving-mnist",
            Self::Task => "task",
            Self::Videos => "videos",
        }
    }
}

/// The recipe of action recognition. Every field has a default; a file needs to name only what differs.
///
/// ```
/// use pipeline::recipe::ActionRecipe;
///
/// let recipe = ActionRecipe::from_toml("seed = 7\n[training]\nepochs = 3")?;
/// assert_eq!((recipe.seed, recipe.training.epochs), (7, 3));
/// assert_eq!(ActionRecipe::from_toml(&recipe.to_toml())?, recipe);
/// # Ok::<(), pipeline::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActionRecipe {
    /// The kind of recipe: `actions`.
    pub recipe: RecipeKind,
    /// Decides everything random; below 2⁶³. Default: 1.
    pub seed: u64,
    /// Which clips train, validate and test.
    pub data: SplitConfig,
    /// From temperatures to the input of the model.
    pub preprocessing: PreprocessingConfig,
    /// The random variations of training clips.
    pub augmentation: AugmentationConfig,
    /// The parts of the model and their sizes.
    pub model: ModelConfig,
    /// The loss, the optimiser and its schedule.
    pub training: TrainingConfig,
    /// How the trained model is tested.
    pub evaluation: EvaluationConfig,
}

impl Default for ActionRecipe {
    fn default() -> Self {
        Self {
            recipe: RecipeKind::Actions,
            seed: 1,
            data: SplitConfig::default(),
            preprocessing: PreprocessingConfig::default(),
            augmentation: AugmentationConfig::default(),
            model: ModelConfig::default(),
            training: TrainingConfig::default(),
            evaluation: EvaluationConfig::default(),
        }
    }
}

impl ActionRecipe {
    /// Reads a recipe; what it does not name keeps its default. Values are checked by [`Self::validate`], not here.
    ///
    /// # Errors
    /// [`RecipeError::Syntax`] if the text is no TOML, names an unknown field or gives a field another type.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        Ok(toml::from_str(text)?)
    }

    /// The recipe with every field, in the format that [`Self::from_toml`] reads.
    ///
    /// # Panics
    /// If the seed is 2⁶³ or more, which TOML cannot hold and [`Self::validate`] rejects.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe consists of tables, numbers, booleans and names")
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`RecipeError::Value`] for the first one that is not allowed.
    pub fn validate(&self) -> Result<(), RecipeError> {
        require(self.recipe == RecipeKind::Actions, "recipe", "`actions`", self.recipe.name())?;
        require(i64::try_from(self.seed).is_ok(), "seed", "below 2^63", self.seed)?;
        self.data.validate()?;
        self.preprocessing.validate()?;
        self.augmentation.validate()?;
        self.model.validate()?;
        self.training.validate()
    }
}

/// Why a recipe cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The text cannot be read as a recipe.
    #[error(transparent)]
    Syntax(#[from] toml::de::Error),
    /// A field has a value that is not allowed.
    #[error("`{option}` must be {requirement}, found {found}")]
    Value {
        /// The name of the field, with the names of its tables.
        option: &'static str,
        /// What it must be, completing the sentence "must be …".
        requirement: &'static str,
        /// The value it has.
        found: String,
    },
}

/// A recipe of which `text` says what differs from `defaults`, table by table; both are TOML. The temporal part of a model
/// and the sampling of frames, whose one key says what they are, are replaced whole.
pub(crate) fn override_defaults<R: DeserializeOwned>(defaults: &str, text: &str) -> Result<R, RecipeError> {
    fn override_with(table: &mut toml::Table, given: toml::Table) {
        for (key, value) in given {
            match (table.get_mut(&key), value) {
                (Some(toml::Value::Table(old)), toml::Value::Table(new)) if key != "temporal" && key != "sampling" => {
                    override_with(old, new);
                }
                (_, value) => {
                    table.insert(key, value);
                }
            }
        }
    }
    let mut recipe: toml::Table = toml::from_str(defaults)?;
    override_with(&mut recipe, toml::from_str(text)?);
    Ok(recipe.try_into()?)
}

/// Raises the error of a wrong value unless `holds`.
pub(crate) fn require(
    holds: bool,
    option: &'static str,
    requirement: &'static str,
    found: impl fmt::Display,
) -> Result<(), RecipeError> {
    if holds { Ok(()) } else { Err(RecipeError::Value { option, requirement, found: found.to_string() }) }
}
