//! Options for some of the parameters, selected by name.

use super::OptimizerError;
use super::error::check_not_negative;
use crate::TensorError;

/// Learning rate and weight decay of the parameters whose names match a pattern.
///
/// A parameter belongs to the first group that matches it; one that no group matches has the options of the optimiser.
///
/// ```
/// use tensor_ops::optim::ParameterGroup;
///
/// let frozen = ParameterGroup { learning_rate_multiplier: 0.0, ..ParameterGroup::matching("encoder.*") };
/// assert!(frozen.matches("encoder.conv1.weight"));
/// assert!(!frozen.matches("head.weight"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterGroup {
    /// The whole name of a parameter, in which `*` stands for any characters, also none.
    pub pattern: String,
    /// Multiplies the learning rate; 0 keeps the parameters as they are.
    pub learning_rate_multiplier: f64,
    /// Replaces the weight decay of the optimiser, where given.
    pub weight_decay: Option<f64>,
}

impl ParameterGroup {
    /// A group that changes nothing yet.
    pub fn matching(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into(), learning_rate_multiplier: 1.0, weight_decay: None }
    }

    /// A group without weight decay: `"*bias*"` is the usual pattern.
    pub fn without_decay(pattern: impl Into<String>) -> Self {
        Self { weight_decay: Some(0.0), ..Self::matching(pattern) }
    }

    /// Whether the pattern matches the name.
    pub fn matches(&self, name: &str) -> bool {
        let Some((prefix, rest)) = self.pattern.split_once('*') else { return self.pattern == name };
        let Some(mut name) = name.strip_prefix(prefix) else { return false };
        let mut parts = rest.split('*');
        let suffix = parts.next_back().expect("a split has at least one part");
        for part in parts {
            // The first occurrence leaves the most for the parts after it.
            let Some(start) = name.find(part) else { return false };
            name = &name[start + part.len()..];
        }
        name.ends_with(suffix)
    }
}

/// The options of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Options {
    pub(super) learning_rate_multiplier: f64,
    pub(super) weight_decay: f64,
}

/// Checks the numbers of the groups.
pub(super) fn check_groups(operation: &'static str, groups: &[ParameterGroup]) -> Result<(), TensorError> {
    groups.iter().try_for_each(|group| {
        check_not_negative(operation, "learning_rate_multiplier", group.learning_rate_multiplier)?;
        check_not_negative(operation, "weight_decay", group.weight_decay.unwrap_or(0.0))
    })
}

/// The options of each name.
pub(super) fn options_of<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    groups: &[ParameterGroup],
    weight_decay: f64,
) -> Result<Vec<Options>, OptimizerError> {
    if let Some(group) = groups.iter().find(|group| !names.clone().any(|name| group.matches(name))) {
        return Err(OptimizerError::UnmatchedGroup { pattern: group.pattern.clone() });
    }
    let default = Options { learning_rate_multiplier: 1.0, weight_decay };
    Ok(names
        .map(|name| match groups.iter().find(|group| group.matches(name)) {
            Some(group) => Options {
                learning_rate_multiplier: group.learning_rate_multiplier,
                weight_decay: group.weight_decay.unwrap_or(weight_decay),
            },
            None => default,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("weight", "weight", true),
            ("weight", "weights", false),
            ("*", "", true),
            ("*", "lstm.weight", true),
            ("*.bias", "conv.bias", true),
            ("*.bias", "bias", false),
            ("*bias*", "lstm.bias_ih_l0", true),
            ("lstm.*_l0", "lstm.weight_ih_l0", true),
            ("lstm.*_l0", "lstm.weight_ih_l1", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("é*", "été", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(ParameterGroup::matching(pattern).matches(name), expected, "`{pattern}` on `{name}`");
        }
    }
}
