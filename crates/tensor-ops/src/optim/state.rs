//! What an optimiser keeps between steps.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::OptimizerError;
use crate::{Element, ParameterError, Parameters};

/// Arrays of the shapes of the parameters, `KINDS` for each, and the number of steps taken.
#[derive(Clone, Debug)]
pub(super) struct State<T, const KINDS: usize> {
    pub(super) step_count: u64,
    /// The names of the kinds; those unused by the configuration are `None` and have no values.
    kinds: [Option<&'static str>; KINDS],
    entries: Vec<Entry<T, KINDS>>,
}

/// The arrays of one parameter, in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Entry<T, const KINDS: usize> {
    pub(super) name: String,
    shape: Vec<usize>,
    pub(super) arrays: [Vec<T>; KINDS],
}

impl<T: Element, const KINDS: usize> State<T, KINDS> {
    /// The state before the first step.
    pub(super) fn new(kinds: [Option<&'static str>; KINDS]) -> Self {
        Self { step_count: 0, kinds, entries: Vec::new() }
    }

    /// Zeros for every parameter before the first step; later checks that the parameters are the same.
    pub(super) fn prepare(&mut self, parameters: &[(String, ArrayViewD<'_, T>)]) -> Result<(), OptimizerError> {
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

    fn entry(&self, name: &str, values: &ArrayViewD<'_, T>) -> Entry<T, KINDS> {
        let arrays = self.kinds.map(|kind| vec![T::zero(); if kind.is_some() { values.len() } else { 0 }]);
        Entry { name: name.to_owned(), shape: values.shape().to_vec(), arrays }
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Entry<T, KINDS>] {
        &mut self.entries
    }

    pub(super) fn named(&self) -> Vec<(String, ArrayViewD<'_, T>)> {
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

    /// The state for the parameters of `model` with the values of `arrays`.
    pub(super) fn loaded(
        &self,
        model: &dyn Parameters<T>,
        step_count: u64,
        arrays: &[(String, ArrayD<T>)],
    ) -> Result<Self, OptimizerError> {
        let mut loaded = Self { step_count, kinds: self.kinds, entries: Vec::new() };
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
        Ok(loaded)
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
