//! Which clips train, which validate, which test.

use ndarray_rand::rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Clip, FirActions};
use crate::random::{Purpose, generator};
use crate::recipe::{RecipeError, require};

/// Which people a model is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// One model, tested on one person, trained on the others.
    Single,
    /// One model per person, each tested on its person and trained on the others.
    LeaveOnePersonOut,
}

/// How the clips are divided.
///
/// The people tested on take no part in training, nor in any choice during training. The validation clips are those
/// of some recordings of the *training* people: a figure to watch while training runs. It says how well the model
/// knows new recordings of people it has seen, and so is higher than the accuracy on a person it has not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Which people are tested on. Default: `single`.
    pub protocol: Protocol,
    /// The person tested on under the protocol `single`, from 1. Default: 8.
    pub test_person: usize,
    /// The part of the recordings whose clips validate instead of train. Default: 0.04.
    pub validation_fraction: f64,
    /// Use so many clips of each person, spread evenly, for a quick trial. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clips_per_person: Option<usize>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self { protocol: Protocol::Single, test_person: 8, validation_fraction: 0.04, clips_per_person: None }
    }
}

impl SplitConfig {
    pub(crate) fn validate(&self) -> Result<(), RecipeError> {
        let people = 1..=FirActions::PEOPLE;
        require(people.contains(&self.test_person), "data.test_person", "a person from 1 to 8", self.test_person)?;
        let fraction = self.validation_fraction;
        require((0.0..=0.5).contains(&fraction), "data.validation_fraction", "a number from 0 to 0.5", fraction)?;
        let clips = self.clips_per_person;
        require(clips != Some(0), "data.clips_per_person", "at least 1", clips.unwrap_or(0))
    }

    /// The people tested on, one per fold.
    pub fn test_people(&self) -> Vec<usize> {
        match self.protocol {
            Protocol::Single => vec![self.test_person],
            Protocol::LeaveOnePersonOut => (1..=FirActions::PEOPLE).collect(),
        }
    }
}

/// The clips of one model, as positions in [`FirActions::clips`], each list in increasing order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The person tested on.
    pub test_person: usize,
    /// The clips that train.
    pub training: Vec<usize>,
    /// The clips of the recordings held out from training; none of the person tested on.
    pub validation: Vec<usize>,
    /// All clips of the person tested on.
    pub test: Vec<usize>,
}

/// Divides `clips` for the test on `test_person`.
///
/// ```
/// use pipeline::data::{FirActions, SplitConfig, split};
///
/// let actions = FirActions::bundled()?;
/// let fold = split(actions.clips(), 8, &SplitConfig::default(), 1);
/// assert_eq!(fold.test.len(), 280);
/// assert!(fold.training.iter().all(|&clip| actions.clips()[clip].person != 8));
/// # Ok::<(), pipeline::data::DataError>(())
/// ```
pub fn split(clips: &[Clip], test_person: usize, config: &SplitConfig, seed: u64) -> Fold {
    let chosen = choose(clips, config.clips_per_person);
    let (test, rest): (Vec<usize>, Vec<usize>) =
        chosen.into_iter().partition(|&clip| clips[clip].person == test_person);
    let mut recordings: Vec<usize> = rest.iter().map(|&clip| clips[clip].recording).collect();
    recordings.sort_unstable();
    recordings.dedup();
    recordings.shuffle(&mut generator(seed, Purpose::Split, 0, test_person));
    recordings.truncate((recordings.len() as f64 * config.validation_fraction).round() as usize);
    let (validation, training) = rest.into_iter().partition(|&clip| recordings.contains(&clips[clip].recording));
    Fold { test_person, training, validation, test }
}

/// The positions of the clips to use: all, or `per_person` of each person spread evenly over that person's clips.
fn choose(clips: &[Clip], per_person: Option<usize>) -> Vec<usize> {
    let Some(per_person) = per_person else { return (0..clips.len()).collect() };
    let mut chosen: Vec<usize> = (1..=FirActions::PEOPLE)
        .flat_map(|person| {
            let own: Vec<usize> = (0..clips.len()).filter(|&clip| clips[clip].person == person).collect();
            let count = per_person.min(own.len());
            (0..count).map(|index| own[index * own.len() / count]).collect::<Vec<_>>()
        })
        .collect();
    chosen.sort_unstable();
    chosen
}
