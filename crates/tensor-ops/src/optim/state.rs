//! What an optimiser keeps between steps.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::OptimizerError;
use crate::{Element, ParameterError, Parameters};

/// What an [`Optimizer`](super::Optimizer) keeps between steps: the number of steps, and arrays of the shapes of the
/// parameters.
///
/// An optimiser of your own keeps one, [prepares](Self::prepare) it, changes its arrays and [counts](Self::count_step)
/// the step:
///
/// ```
/// use ndarray::array;
/// use tensor_ops::optim::{Optimizer, OptimizerError, OptimizerState};
/// use tensor_ops::{Linear, Parameters};
///
/// /// Steps of one size against the sign of the sum of all gradients so far.
/// #[derive(Debug)]
/// struct SignOfSum {
///     state: OptimizerState<f32>,
/// }
///
/// impl Optimizer<f32> for SignOfSum {
///     fn step(
///         &mut self,
///         model: &mut dyn Parameters<f32>,
///         gradients: &dyn Parameters<f32>,
///         learning_rate: f64,
///     ) -> Result<(), OptimizerError> {
///         self.state.prepare(&model.named())?;
///         let parameters = model.named_mut().into_iter().zip(gradients.named()).zip(self.state.arrays_mut());
///         for (((_, mut values), (_, gradient)), mut arrays) in parameters {
///             for ((value, gradient), sum) in values.iter_mut().zip(&gradient).zip(arrays[0].iter_mut()) {
///                 *sum += gradient;
///                 *value -= learning_rate as f32 * sum.signum();
///             }
///         }
///         self.state.count_step();
///         Ok(())
///     }
///
///     fn kept(&self) -> &OptimizerState<f32> {
///         &self.state
///     }
///
///     fn kept_mut(&mut self) -> &mut OptimizerState<f32> {
///         &mut self.state
///     }
/// }
///
/// let mut model = Linear { weight: array![[1.0, 1.0]], bias: None };
/// let gradients = Linear { weight: array![[3.0, -0.5]], bias: None };
/// let mut optimizer = SignOfSum { state: OptimizerState::new("SignOfSum", [Some("sum")]) };
/// optimizer.step(&mut model, &gradients, 0.25)?;
/// assert_eq!(model.weight, array![[0.75, 1.25]]);
/// assert_eq!((optimizer.step_count(), optimizer.state()[0].0.as_str()), (1, "sum.weight"));
/// # Ok::<(), OptimizerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OptimizerState<T> {
    /// The name of the optimiser in errors.
    operation: &'static str,
    step_count: u64,
    /// The names of the kinds; those unused by the configuration are `None` and have no values.
    kinds: Vec<Option<&'static str>>,
    entries: Vec<Entry<T>>,
}

/// The arrays of one parameter, in row-major order.
#[derive(Clone, Debug)]
struct Entry<T> {
    name: String,
    shape: Vec<usize>,
    /// One for each kind.
    arrays: Vec<Vec<T>>,
}

impl<T: Element> OptimizerState<T> {
    /// The state of the optimiser `operation` before its first step.
    ///
    /// `kinds` are the names of the arrays that each parameter has; `None` keeps a position that a configuration does
    /// not use.
    pub fn new(operation: &'static str, kinds: impl IntoIterator<Item = Option<&'static str>>) -> Self {
        Self { operation, step_count: 0, kinds: kinds.into_iter().collect(), entries: Vec::new() }
    }

    pub(super) fn operation(&self) -> &'static str {
        self.operation
    }

    /// The number of steps taken.
    pub fn step_count(&self) -> u64 {
        self.step_count
    }

    /// Counts a step.
    pub fn count_step(&mut self) {
        self.step_count += 1;
    }

    /// Makes arrays of zeros for `parameters` before the first step; later checks that the parameters are the same.
    ///
    /// # Errors
    /// [`OptimizerError::State`] if they are not; the state is then as it was.
    pub fn prepare(&mut self, parameters: &[(String, ArrayViewD<'_, T>)]) -> Result<(), OptimizerError> {
        if self.step_count == 0 {
            self.entries = parameters.iter().map(|(name, values)| self.entry(name, values)).collect();
            return Ok(());
        }
        for (entry, (name, values)) in self.entries.iter().zip(parameters) {
            if entry.name != *name {
                return Err(missing(name));
            }
            if entry.shape != values.shape() {
                return Err(wrong_shape(name, values.shape(), &entry.shape));
            }
        }
        if let Some((name, _)) = parameters.get(self.entries.len()) {
            return Err(missing(name));
        }
        match self.entries.get(parameters.len()) {
            Some(entry) => Err(unexpected(&entry.name)),
            None => Ok(()),
        }
    }

    fn entry(&self, name: &str, values: &ArrayViewD<'_, T>) -> Entry<T> {
        let zeros = |kind: &Option<_>| vec![T::zero(); if kind.is_some() { values.len() } else { 0 }];
        let arrays = self.kinds.iter().map(zeros).collect();
        Entry { name: name.to_owned(), shape: values.shape().to_vec(), arrays }
    }

    /// The arrays of each parameter that [`Self::prepare`] saw, one for each kind: its values in row-major order, none
    /// for a kind that is not used.
    pub fn arrays_mut(&mut self) -> impl Iterator<Item = Vec<&mut [T]>> {
        self.entries.iter_mut().map(|entry| entry.arrays.iter_mut().map(Vec::as_mut_slice).collect())
    }

    /// The arrays by name: see [`Optimizer::state`](super::Optimizer::state).
    pub fn named(&self) -> Vec<(String, ArrayViewD<'_, T>)> {
        let mut named = Vec::new();
        for (kind, name) in self.kinds.iter().enumerate() {
            let Some(kind_name) = name else { continue };
            named.extend(self.entries.iter().map(|entry| {
                let values = ArrayViewD::from_shape(IxDyn(&entry.shape), &entry.arrays[kind]);
                (format!("{kind_name}.{}", entry.name), values.expect("as many values as the shape has"))
            }));
        }
        named
    }

    /// Replaces the state: see [`Optimizer::load_state`](super::Optimizer::load_state).
    ///
    /// # Errors
    /// As there; the state is then as it was.
    pub fn load(
        &mut self,
        model: &dyn Parameters<T>,
        step_count: u64,
        arrays: &[(String, ArrayD<T>)],
    ) -> Result<(), OptimizerError> {
        let mut loaded = Self { step_count, entries: Vec::new(), kinds: self.kinds.clone(), operation: self.operation };
        let mut used = 0;
        if step_count > 0 {
            for (name, values) in model.named() {
                let mut entry = self.entry(&name, &values);
                for (kind, target) in self.kinds.iter().zip(&mut entry.arrays) {
                    let Some(kind) = kind else { continue };
                    let name = format!("{kind}.{name}");
                    let Some((_, array)) = arrays.iter().find(|(n, _)| *n == name) else { return Err(missing(&name)) };
                    if array.shape() != values.shape() {
                        return Err(wrong_shape(&name, values.shape(), array.shape()));
                    }
                    if let Some(position) = array.iter().position(|v| !v.is_finite()) {
                        return Err(OptimizerError::State(ParameterError::NotFinite { name, position }));
                    }
                    target.clear();
                    target.extend(array.iter());
                    used += 1;
                }
                loaded.entries.push(entry);
            }
        }
        if used < arrays.len() {
            let known = loaded.named();
            let left_over = arrays.iter().find(|(name, _)| known.iter().all(|(n, _)| n != name));
            return Err(unexpected(left_over.map_or("duplicate", |(name, _)| name)));
        }
        *self = loaded;
        Ok(())
    }
}

fn missing(name: &str) -> OptimizerError {
    OptimizerError::State(ParameterError::Missing { name: name.to_owned() })
}

fn unexpected(name: &str) -> OptimizerError {
    OptimizerError::State(ParameterError::Unexpected { name: name.to_owned() })
}

fn wrong_shape(name: &str, expected: &[usize], found: &[usize]) -> OptimizerError {
    let (expected, found) = (expected.to_vec(), found.to_vec());
    OptimizerError::State(ParameterError::Shape { name: name.to_owned(), expected, found })
}
