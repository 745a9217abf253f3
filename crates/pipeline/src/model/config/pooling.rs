//! Feature pooling as a part of a model.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{check_dropout, check_size};
use crate::recipe::{RecipeError, require};

/// One of the architectures of Ng et al. (2015), from the maps of all steps to the scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolingPartConfig {
    /// Where time is pooled. Default: `conv`.
    pub architecture: PoolingArchitecture,
    /// How several steps become one. Default: `max`.
    pub reducer: PoolingReducer,
    /// The number of values whose mean `top-k` takes. Default: 3.
    pub top_k: usize,
    /// β of `softmax`: 0 is the mean, large values are the maximum. Default: 1.
    pub sharpness: f64,
    /// The units of the fully connected layers before the scores, which `late` and `local` apply to every step or window
    /// and `slow` partly: its first layer to every window, the others to the whole. Default: one layer of 96.
    pub units: Vec<usize>,
    /// The number of steps of a window, for `slow`, `local` and `time-domain`. Default: 4.
    pub window: usize,
    /// The number of steps from one window to the next. Default: 2.
    pub stride: usize,
    /// The number of steps that every clip is brought to for `local`, whose last layer reads a fixed number of windows:
    /// steps are left out or repeated evenly. Default: 8.
    pub steps: usize,
    /// The number of kernels of `time-domain`. Default: 64.
    pub kernels: usize,
    /// The height and the width of its kernels. Default: 3.
    pub kernel: usize,
    /// The probability that an output of a fully connected layer is dropped. Default: 0.3.
    pub dropout: f64,
}

/// Where time is pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolingArchitecture {
    /// Over all steps, before the fully connected layers.
    Conv,
    /// Over all steps, behind the fully connected layers.
    Late,
    /// Over windows, then over all windows.
    Slow,
    /// Over windows alone.
    Local,
    /// Over the outputs of a convolution in time.
    TimeDomain,
}

/// How several steps become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolingReducer {
    /// The maximum.
    Max,
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The mean of the largest values.
    TopK,
    /// The mean weighted by the softmax of the values.
    Softmax,
}

/// No reducer has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no reducer is called `{0}`; the reducers are {names}", names = PoolingReducer::ALL.map(PoolingReducer::name).join(", "))]
pub struct UnknownReducer(pub String);

impl PoolingReducer {
    /// All reducers.
    pub const ALL: [Self; 5] = [Self::Max, Self::Mean, Self::Sum, Self::TopK, Self::Softmax];

    /// The name, as files and the command line spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::TopK => "top-k",
            Self::Softmax => "softmax",
        }
    }
}

impl FromStr for PoolingReducer {
    type Err = UnknownReducer;

    fn from_str(name: &str) -> Result<Self, UnknownReducer> {
        let found = Self::ALL.into_iter().find(|reducer| reducer.name() == name);
        found.ok_or_else(|| UnknownReducer(name.to_owned()))
    }
}

impl Default for PoolingPartConfig {
    fn default() -> Self {
        Self {
            architecture: PoolingArchitecture::Conv,
            reducer: PoolingReducer::Max,
            top_k: 3,
            sharpness: 1.0,
            units: vec![96],
            window: 4,
            stride: 2,
            steps: 8,
            kernels: 64,
            kernel: 3,
            dropout: 0.3,
        }
    }
}

impl PoolingPartConfig {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        check_size("model.temporal.pooling.top_k", self.top_k)?;
        let (sharpness, layers) = (self.sharpness, self.units.len());
        require(sharpness.is_finite(), "model.temporal.pooling.sharpness", "a finite number", sharpness)?;
        require(layers <= 32, "the number of model.temporal.pooling.units", "at most 32", layers)?;
        self.units.iter().try_for_each(|&units| check_size("model.temporal.pooling.units", units))?;
        check_size("model.temporal.pooling.window", self.window)?;
        check_size("model.temporal.pooling.stride", self.stride)?;
        check_size("model.temporal.pooling.steps", self.steps)?;
        check_size("model.temporal.pooling.kernels", self.kernels)?;
        check_size("model.temporal.pooling.kernel", self.kernel)?;
        check_dropout("model.temporal.pooling.dropout", self.dropout)
    }
}
