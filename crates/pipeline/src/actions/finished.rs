//! A trained model of a run, read back from its files.

use tensor_ops::Parameters;

use super::ActionsError;
use crate::data::{FirActions, Fold, NormalizedClips, Symmetry, split};
use crate::model::ActionModel;
use crate::recipe::ActionRecipe;
use crate::run::{FoldResults, ModelDescription, RunDirectory, RunResults, load_model};
use crate::training;

/// A trained model of a run, and the clips that it was trained on and tested on.
#[derive(Clone, Debug)]
pub struct FinishedFold {
    /// Where its files are: the run directory itself, or one in it.
    pub directory: RunDirectory,
    /// What is needed to use the model.
    pub description: ModelDescription,
    /// The model.
    pub model: ActionModel<f32>,
    /// The clips, as positions in the data set; some to test on.
    pub clips: Fold,
    /// The figures that were recorded when the model was trained.
    pub recorded: FoldResults,
}

impl FinishedFold {
    /// The model in `directory`, whose recipe tests on one person.
    pub(super) fn open(
        directory: RunDirectory,
        recipe: &ActionRecipe,
        actions: &FirActions,
    ) -> Result<Self, ActionsError> {
        let (description, model) = load_model(&directory.existing_model()?)?;
        let recorded: RunResults = directory.read_results()?;
        let inconsistent = |problem| ActionsError::Inconsistent { path: directory.path().to_owned(), problem };
        if description.labels[..] != FirActions::LABELS {
            return Err(inconsistent("the model was trained for other classes than the data set has"));
        }
        let test_person = recipe.data.test_person;
        let recorded = recorded.folds.into_iter().find(|fold| fold.test_person == test_person);
        let recorded = recorded.ok_or_else(|| inconsistent("results.json is about another person than config.toml"))?;
        let clips = split(actions.clips(), test_person, &recipe.data, recipe.seed);
        Ok(Self { directory, description, model, clips, recorded })
    }

    /// The figures of the model, computed anew; the time of its training as it was recorded.
    pub(super) fn evaluate(&self, actions: &FirActions, symmetries: &[Symmetry]) -> Result<FoldResults, ActionsError> {
        let clips = NormalizedClips::new(actions, &self.description.preprocessing);
        let evaluate = |positions: &[usize]| training::evaluate(&self.model, &clips, positions, symmetries);
        let no_clips = || ActionsError::Inconsistent {
            path: self.directory.path().to_owned(),
            problem: "config.toml leaves no clips to test on",
        };
        Ok(FoldResults {
            test: evaluate(&self.clips.test)?.ok_or_else(no_clips)?,
            validation: evaluate(&self.clips.validation)?,
            parameters: self.model.parameter_count(),
            ..self.recorded.clone()
        })
    }
}
