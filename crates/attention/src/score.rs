//! The score functions, their options and their parameters.
//!
//! With a query q, the key kⱼ and the parameters W, U, v, b:
//!
//! ```text
//! eⱼ = q·kⱼ                            dot             Luong, Pham and Manning, 2015
//! eⱼ = q·kⱼ / √d                       scaled dot      Vaswani et al., 2017
//! eⱼ = q·(U kⱼ)                        general         Luong, Pham and Manning, 2015
//! eⱼ = v·tanh(W q + U kⱼ + b)          additive        Bahdanau, Cho and Bengio, 2015
//! eⱼ = (W q + b)ⱼ                      location        Luong et al., 2015; Sharma, Kiros and Salakhutdinov, 2016
//! eⱼ = v·(tanh(W q) ∘ tanh(U kⱼ + b))  multiplicative  Yeung et al., 2018
//! ```

use ndarray::{Array1, Array2, ArrayViewD, ArrayViewMutD};
use ndarray_rand::rand::Rng;
use tensor_ops::init::fan_in_uniform;
use tensor_ops::{Element, Parameters, TensorError, check_axis, check_not_empty};

use crate::AttentionError;
use crate::error::{check_part, invalid};

/// The function that compares a query with a key; the equations stand in the [crate documentation](crate#scores).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Score {
    /// q·k: queries and keys have the same size.
    Dot,
    /// q·k / √d with d the size of queries and keys.
    #[default]
    ScaledDot,
    /// q·(U k): a bilinear form.
    General,
    /// v·tanh(W q + U k + b): a network of one hidden layer.
    Additive,
    /// (W q + b)ⱼ: from the query alone, one score per position; what the key holds does not matter.
    Location,
    /// v·(tanh(W q) ∘ tanh(U k + b)).
    Multiplicative,
}

impl Score {
    fn has_attention_size(self) -> bool {
        matches!(self, Self::Additive | Self::Multiplicative)
    }
}

/// The configuration of an [`Attention`].
///
/// ```
/// use attention::{AttentionConfig, Score};
///
/// let config = AttentionConfig { attention_size: 32, ..AttentionConfig::new(Score::Additive, 64, 128) };
/// assert!(config.validate().is_ok());
/// assert!(AttentionConfig::new(Score::Dot, 64, 128).validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionConfig {
    /// The score function.
    pub score: Score,
    /// Features of a query.
    pub query_size: usize,
    /// Features of a key.
    pub key_size: usize,
    /// The hidden features of [`Score::Additive`] and [`Score::Multiplicative`]; 0 for the others.
    pub attention_size: usize,
    /// The largest number of keys of [`Score::Location`]; 0 for the others.
    pub locations: usize,
    /// τ: the weights are softmax(e / τ). Below 1 they are sharper, above 1 flatter.
    pub temperature: f64,
    /// Whether [`Score::Additive`], [`Score::Location`] and [`Score::Multiplicative`] have the bias b.
    pub bias: bool,
}

impl Default for AttentionConfig {
    /// Scaled dot products at temperature 1; the sizes are 0 and must be set.
    fn default() -> Self {
        Self {
            score: Score::default(),
            query_size: 0,
            key_size: 0,
            attention_size: 0,
            locations: 0,
            temperature: 1.0,
            bias: false,
        }
    }
}

impl AttentionConfig {
    /// The score function with these sizes, and [`Self::default`] in all else.
    pub fn new(score: Score, query_size: usize, key_size: usize) -> Self {
        Self { score, query_size, key_size, ..Self::default() }
    }

    /// Checks the sizes and options.
    ///
    /// # Errors
    /// [`TensorError`] for a size of 0, different sizes of query and key where the score multiplies them, an option that
    /// the score does not have, and a temperature that is not positive and finite.
    pub fn validate(&self) -> Result<(), TensorError> {
        const NAME: &str = "AttentionConfig";
        check_not_empty(NAME, "query_size", self.query_size)?;
        check_not_empty(NAME, "key_size", self.key_size)?;
        if matches!(self.score, Score::Dot | Score::ScaledDot) {
            check_axis(NAME, "key_size", self.query_size, self.key_size)?;
        }
        for (option, value, needed) in [
            ("attention_size", self.attention_size, self.score.has_attention_size()),
            ("locations", self.locations, self.score == Score::Location),
        ] {
            match (needed, value) {
                (true, 0) => return Err(invalid(NAME, option, "at least 1 with this score", 0)),
                (false, 1..) => return Err(invalid(NAME, option, "0 with a score that does not have it", value)),
                _ => {}
            }
        }
        if self.bias && matches!(self.score, Score::Dot | Score::ScaledDot | Score::General) {
            return Err(invalid(NAME, "bias", "false with a score that has none", true));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(invalid(NAME, "temperature", "positive and finite", self.temperature));
        }
        Ok(())
    }

    /// Values of the form of a query or key that are compared; for [`Score::Location`] the number of locations.
    pub(crate) fn form_size(&self) -> usize {
        match self.score {
            Score::Dot | Score::ScaledDot | Score::General => self.query_size,
            Score::Additive | Score::Multiplicative => self.attention_size,
            Score::Location => self.locations,
        }
    }
}

/// A score function with its parameters, and the gradient of one.
///
/// Parameters are visited in the order of the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention<T> {
    config: AttentionConfig,
    /// W: `[attention_size, query_size]`, of [`Score::Location`] `[locations, query_size]`.
    pub weight_query: Option<Array2<T>>,
    /// U: `[attention_size, key_size]`, of [`Score::General`] `[query_size, key_size]`.
    pub weight_key: Option<Array2<T>>,
    /// b: `[attention_size]`, of [`Score::Location`] `[locations]`.
    pub bias: Option<Array1<T>>,
    /// v: `[attention_size]`.
    pub weight_score: Option<Array1<T>>,
}

/// The shapes of the parameters: those of a configuration.
struct Shapes {
    weight_query: Option<(usize, usize)>,
    weight_key: Option<(usize, usize)>,
    bias: Option<usize>,
    weight_score: Option<usize>,
}

impl AttentionConfig {
    fn shapes(&self) -> Shapes {
        let form = self.form_size();
        let has_query = matches!(self.score, Score::Additive | Score::Multiplicative | Score::Location);
        let has_key = matches!(self.score, Score::Additive | Score::Multiplicative | Score::General);
        Shapes {
            weight_query: has_query.then_some((form, self.query_size)),
            weight_key: has_key.then_some((form, self.key_size)),
            bias: self.bias.then_some(form),
            weight_score: self.score.has_attention_size().then_some(form),
        }
    }
}

impl<T: Element> Attention<T> {
    /// A score function with every weight and the bias from U(−1/√n, 1/√n), n the values that a weight adds up.
    ///
    /// # Errors
    /// As [`AttentionConfig::validate`].
    pub fn new(config: AttentionConfig, rng: &mut (impl Rng + ?Sized)) -> Result<Self, AttentionError> {
        let mut attention = Self::zeros(config)?;
        let bias_inputs = if attention.config.score == Score::Location {
            attention.config.query_size
        } else {
            attention.config.key_size
        };
        for weight in [&mut attention.weight_query, &mut attention.weight_key].into_iter().flatten() {
            *weight = fan_in_uniform(weight.raw_dim(), weight.ncols(), rng)?;
        }
        if let Some(bias) = &mut attention.bias {
            *bias = fan_in_uniform(bias.raw_dim(), bias_inputs, rng)?;
        }
        if let Some(weight) = &mut attention.weight_score {
            *weight = fan_in_uniform(weight.raw_dim(), weight.len(), rng)?;
        }
        Ok(attention)
    }

    /// A score function with all parameters 0, to be loaded or to accumulate gradients.
    ///
    /// # Errors
    /// As [`AttentionConfig::validate`].
    pub fn zeros(config: AttentionConfig) -> Result<Self, AttentionError> {
        config.validate()?;
        let shapes = config.shapes();
        Ok(Self {
            config,
            weight_query: shapes.weight_query.map(Array2::zeros),
            weight_key: shapes.weight_key.map(Array2::zeros),
            bias: shapes.bias.map(Array1::zeros),
            weight_score: shapes.weight_score.map(Array1::zeros),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &AttentionConfig {
        &self.config
    }

    /// Checks that the public arrays are those of the configuration.
    pub(crate) fn check(&self) -> Result<(), AttentionError> {
        const NAME: &str = "Attention";
        let shapes = self.config.shapes();
        for (part, expected, found, axes) in [
            ("weight_query", shapes.weight_query, &self.weight_query, ["weight_query rows", "weight_query columns"]),
            ("weight_key", shapes.weight_key, &self.weight_key, ["weight_key rows", "weight_key columns"]),
        ] {
            check_part(NAME, part, expected.is_some(), found.is_some())?;
            if let (Some(expected), Some(found)) = (expected, found) {
                check_axis(NAME, axes[0], expected.0, found.nrows())?;
                check_axis(NAME, axes[1], expected.1, found.ncols())?;
            }
        }
        for (part, expected, found) in
            [("bias", shapes.bias, &self.bias), ("weight_score", shapes.weight_score, &self.weight_score)]
        {
            check_part(NAME, part, expected.is_some(), found.is_some())?;
            if let (Some(expected), Some(found)) = (expected, found) {
                check_axis(NAME, part, expected, found.len())?;
            }
        }
        Ok(())
    }
}

impl<T: Element> Parameters<T> for Attention<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        for (name, weight) in [("weight_query", &self.weight_query), ("weight_key", &self.weight_key)] {
            if let Some(weight) = weight {
                visitor(name, weight.view().into_dyn());
            }
        }
        for (name, vector) in [("bias", &self.bias), ("weight_score", &self.weight_score)] {
            if let Some(vector) = vector {
                visitor(name, vector.view().into_dyn());
            }
        }
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        for (name, weight) in [("weight_query", &mut self.weight_query), ("weight_key", &mut self.weight_key)] {
            if let Some(weight) = weight {
                visitor(name, weight.view_mut().into_dyn());
            }
        }
        for (name, vector) in [("bias", &mut self.bias), ("weight_score", &mut self.weight_score)] {
            if let Some(vector) = vector {
                visitor(name, vector.view_mut().into_dyn());
            }
        }
    }
}
