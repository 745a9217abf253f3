//! The recipe of a comparison.

use serde::{Deserialize, Serialize};

use crate::data::{PreprocessingConfig, Protocol, SplitConfig};
use crate::model::{ModelName, PoolingReducer, TemporalConfig};
use crate::recipe::{ActionRecipe, RecipeError, RecipeKind, override_defaults, require};
use crate::training::TrainingConfig;

/// Which models are compared, and how they are trained. Every field has a default.
///
/// The steps of the default recipe show one frame each: what moves must be found by the temporal part, where the recipe of
/// a single model gives every step the latest three frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComparisonRecipe {
    /// The kind of recipe: `comparison`.
    pub recipe: RecipeKind,
    /// The models. Default: all.
    pub models: Vec<ModelName>,
    /// The seeds that every model is trained with. Default: 1.
    pub seeds: Vec<u64>,
    /// How the pooling models make one of several steps. Default: `max`.
    pub reducer: PoolingReducer,
    /// Everything else; its model's temporal part and its seed are replaced. Default: that of action recognition, with one
    /// frame per step, 12 epochs, and one model per person.
    pub actions: ActionRecipe,
}

impl Default for ComparisonRecipe {
    fn default() -> Self {
        Self {
            recipe: RecipeKind::Comparison,
            models: ModelName::ALL.to_vec(),
            seeds: vec![1],
            reducer: PoolingReducer::Max,
            actions: ActionRecipe {
                data: SplitConfig { protocol: Protocol::LeaveOnePersonOut, ..SplitConfig::default() },
                preprocessing: PreprocessingConfig { stacked_frames: 1, ..PreprocessingConfig::default() },
                training: TrainingConfig { epochs: 12, ..TrainingConfig::default() },
                ..ActionRecipe::default()
            },
        }
    }
}

impl ComparisonRecipe {
    /// Reads a recipe; what it does not name keeps its default. Values are checked by [`Self::validate`], not here.
    ///
    /// ```
    /// use pipeline::comparison::ComparisonRecipe;
    ///
    /// let recipe = ComparisonRecipe::from_toml("seeds = [1, 2]\n[actions.training]\nbatch_size = 32")?;
    /// assert_eq!((recipe.actions.training.batch_size, recipe.actions.training.epochs), (32, 12));
    /// # Ok::<(), pipeline::recipe::RecipeError>(())
    /// ```
    ///
    /// # Errors
    /// [`RecipeError::Syntax`] if the text is no TOML, names an unknown field or gives a field another type.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        // Alone, the tables of `actions` would take the defaults of action recognition; reading them so first finds
        // errors together with their places in the text.
        toml::from_str::<Self>(text)?;
        override_defaults(&Self::default().to_toml(), text)
    }

    /// The recipe with every field, in the format that [`Self::from_toml`] reads.
    ///
    /// # Panics
    /// If a seed is 2⁶³ or more, which TOML cannot hold and [`Self::validate`] rejects.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe consists of tables, numbers, booleans and names")
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`RecipeError::Value`] for the first one that is not allowed.
    pub fn validate(&self) -> Result<(), RecipeError> {
        require(self.recipe == RecipeKind::Comparison, "recipe", "`comparison`", self.recipe.name())?;
        require(!self.models.is_empty(), "models", "at least one model", "none")?;
        require(!self.seeds.is_empty(), "seeds", "at least one seed", "none")?;
        for (index, model) in self.models.iter().enumerate() {
            require(!self.models[..index].contains(model), "models", "different models", format!("{model} twice"))?;
        }
        for (index, seed) in self.seeds.iter().enumerate() {
            require(!self.seeds[..index].contains(seed), "seeds", "different seeds", format!("{seed} twice"))?;
        }
        self.runs().try_for_each(|(model, seed)| self.recipe_of(model, seed).validate())
    }

    /// The models and seeds that are trained, in this order.
    pub fn runs(&self) -> impl Iterator<Item = (ModelName, u64)> {
        self.models.iter().flat_map(|&model| self.seeds.iter().map(move |&seed| (model, seed)))
    }

    /// The number of models that are trained: one per model, seed and person tested on.
    pub fn folds(&self) -> usize {
        self.models.len() * self.seeds.len() * self.actions.data.test_people().len()
    }

    /// The recipe of one model and seed.
    pub fn recipe_of(&self, model: ModelName, seed: u64) -> ActionRecipe {
        let mut recipe = ActionRecipe { seed, ..self.actions.clone() };
        recipe.model.temporal = model.temporal();
        if let TemporalConfig::Pooling(pooling) = &mut recipe.model.temporal {
            pooling.reducer = self.reducer;
        }
        recipe
    }

    /// The name of the directory of one model and seed.
    pub fn run_name(model: ModelName, seed: u64) -> String {
        format!("{model}-seed-{seed}")
    }
}
