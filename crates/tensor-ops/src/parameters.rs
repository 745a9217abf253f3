//! Named parameters: the one interface between layers and everything that works on their values.
//!
//! A layer implements [`Parameters`] by visiting its arrays in a fixed order under the names of PyTorch's `state_dict`.
//! Optimisers, clipping, checkpoints and the import of weights are written against it. The gradient of a layer's
//! parameters has the type of the layer, so the same visit walks parameters and gradients in step.

use std::fmt;

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Zip};

use crate::Element;

/// A layer or model whose parameters can be visited by name, in a fixed order.
///
/// ```
/// use ndarray::{Array1, ArrayViewD, ArrayViewMutD, array};
/// use tensor_ops::Parameters;
///
/// #[derive(Clone)]
/// struct Scale { weight: Array1<f32> }
///
/// impl Parameters<f32> for Scale {
///     fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
///         visitor("weight", self.weight.view().into_dyn());
///     }
///     fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, f32>)) {
///         visitor("weight", self.weight.view_mut().into_dyn());
///     }
/// }
///
/// let mut scale = Scale { weight: array![1.0, 2.0] };
/// let gradient = Scale { weight: array![0.5, 0.5] };
/// scale.accumulate(&gradient)?;
/// assert_eq!(scale.weight, array![1.5, 2.5]);
/// assert_eq!(scale.parameter_count(), 2);
///
/// let error = scale.accumulate(&Scale { weight: array![0.5] }).unwrap_err();
/// assert_eq!(error.to_string(), "parameter `weight`: expected shape [2], found [1]");
/// assert_eq!(scale.weight, array![1.5, 2.5]);
/// # Ok::<(), tensor_ops::ParameterError>(())
/// ```
pub trait Parameters<T: Element> {
    /// Calls `visitor` with the name and the values of every parameter.
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>));

    /// Calls `visitor` as [`Self::visit`] does, with values that can be changed.
    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>));

    /// The names and values of all parameters, in the order of the visit.
    fn named(&self) -> Vec<(String, ArrayViewD<'_, T>)> {
        let mut named = Vec::new();
        self.visit(&mut |name, values| named.push((name.to_owned(), values)));
        named
    }

    /// The names and values of all parameters, in the order of the visit, to be changed.
    fn named_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, T>)> {
        let mut named = Vec::new();
        self.visit_mut(&mut |name, values| named.push((name.to_owned(), values)));
        named
    }

    /// The number of values in all parameters.
    fn parameter_count(&self) -> usize {
        let mut count = 0;
        self.visit(&mut |_, values| count += values.len());
        count
    }

    /// Sets every value to `value`.
    fn fill(&mut self, value: T) {
        self.visit_mut(&mut |_, mut values| values.fill(value));
    }

    /// Multiplies every value by `factor`.
    fn scale(&mut self, factor: T) {
        self.visit_mut(&mut |_, mut values| values.mapv_inplace(|v| v * factor));
    }

    /// A copy with all values 0: where gradients are accumulated.
    fn zeros_like(&self) -> Self
    where
        Self: Clone,
    {
        let mut zeros = self.clone();
        zeros.fill(T::zero());
        zeros
    }

    /// Adds the values of `other`, parameter by parameter.
    ///
    /// # Errors
    /// [`ParameterError`] if `other` has other names or shapes, in another order; nothing is changed then.
    fn accumulate(&mut self, other: &Self) -> Result<(), ParameterError>
    where
        Self: Sized,
    {
        let others = other.named();
        let named = self.named();
        for (position, (name, values)) in named.iter().enumerate() {
            let Some((_, found)) = others.get(position).filter(|(other_name, _)| other_name == name) else {
                return Err(ParameterError::Missing { name: name.clone() });
            };
            if values.shape() != found.shape() {
                let (expected, found) = (values.shape().to_vec(), found.shape().to_vec());
                return Err(ParameterError::Shape { name: name.clone(), expected, found });
            }
        }
        if let Some((name, _)) = others.get(named.len()) {
            return Err(ParameterError::Unexpected { name: name.clone() });
        }
        for ((_, mut values), (_, other_values)) in self.named_mut().into_iter().zip(&others) {
            Zip::from(&mut values).and(other_values).for_each(|v, &o| *v += o);
        }
        Ok(())
    }
}

/// Visits the parameters of a part of a model under `prefix.name`.
pub fn visit_part<'a, T: Element>(
    prefix: &str,
    part: &'a (impl Parameters<T> + ?Sized),
    visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>),
) {
    part.visit(&mut |name, values| visitor(&format!("{prefix}.{name}"), values));
}

/// Visits the parameters of a part of a model under `prefix.name`, to be changed.
pub fn visit_part_mut<'a, T: Element>(
    prefix: &str,
    part: &'a mut (impl Parameters<T> + ?Sized),
    visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>),
) {
    part.visit_mut(&mut |name, values| visitor(&format!("{prefix}.{name}"), values));
}

/// Why named arrays do not fit the parameters of a model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ParameterError {
    /// The model has a parameter that the source lacks.
    Missing {
        /// The name of the parameter.
        name: String,
    },
    /// The source has an array that the model lacks.
    Unexpected {
        /// The name of the array.
        name: String,
    },
    /// An array has another rank or shape than the parameter.
    Shape {
        /// The name of the parameter.
        name: String,
        /// The shape of the parameter.
        expected: Vec<usize>,
        /// The shape of the array.
        found: Vec<usize>,
    },
    /// An array holds a NaN or an infinity.
    NotFinite {
        /// The name of the parameter.
        name: String,
        /// The position of the first such value, in row-major order.
        position: usize,
    },
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "parameter `{name}`: not found in the source"),
            Self::Unexpected { name } => write!(f, "parameter `{name}`: the model has no parameter of this name"),
            Self::Shape { name, expected, found } => {
                write!(f, "parameter `{name}`: expected shape {expected:?}, found {found:?}")
            }
            Self::NotFinite { name, position } => {
                write!(f, "parameter `{name}`: the value at position {position} is not finite")
            }
        }
    }
}

impl std::error::Error for ParameterError {}

/// Sets the parameters of `model` to the arrays of `source`, by name.
///
/// Everything is checked before anything is changed: after an error the model is as it was.
///
/// # Errors
/// [`ParameterError`] if a parameter is missing, an array is left over, a shape differs or a value is not finite.
///
/// ```
/// # use ndarray::{Array1, ArrayViewD, ArrayViewMutD, array};
/// # use tensor_ops::Parameters;
/// # struct Scale { weight: Array1<f32> }
/// # impl Parameters<f32> for Scale {
/// #     fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
/// #         visitor("weight", self.weight.view().into_dyn());
/// #     }
/// #     fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, f32>)) {
/// #         visitor("weight", self.weight.view_mut().into_dyn());
/// #     }
/// # }
/// let mut scale = Scale { weight: array![1.0, 2.0] };
/// let source = vec![("weight".to_owned(), array![[3.0_f32, 4.0]].into_dyn())];
/// let error = tensor_ops::load_parameters(&mut scale, &source).unwrap_err();
/// assert_eq!(error.to_string(), "parameter `weight`: expected shape [2], found [1, 2]");
/// ```
pub fn load_parameters<T: Element>(
    model: &mut impl Parameters<T>,
    source: &[(String, ArrayD<T>)],
) -> Result<(), ParameterError> {
    let find = |name: &str| source.iter().find(|(n, _)| n == name).map(|(_, values)| values);
    let named = model.named();
    for (name, values) in &named {
        let Some(array) = find(name) else { return Err(ParameterError::Missing { name: name.clone() }) };
        if array.shape() != values.shape() {
            let (expected, found) = (values.shape().to_vec(), array.shape().to_vec());
            return Err(ParameterError::Shape { name: name.clone(), expected, found });
        }
        if let Some(position) = array.iter().position(|v| !v.is_finite()) {
            return Err(ParameterError::NotFinite { name: name.clone(), position });
        }
    }
    if let Some((name, _)) = source.iter().find(|(name, _)| named.iter().all(|(n, _)| n != name)) {
        return Err(ParameterError::Unexpected { name: name.clone() });
    }
    model.visit_mut(&mut |name, mut values| {
        values.assign(find(name).expect("every name was found above"));
    });
    Ok(())
}
