//! A score function laid out for the kernels: queries and keys to their forms, and back.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, CowArray, Ix2};
use rayon::prelude::*;
use tensor_ops::{Element, PackedMatrix, ProductStart, TensorError, gemm, vecmath};

use crate::row::{Comparison, Scorer};
use crate::vector::{add_rows, weight_gradient};
use crate::{Attention, AttentionError, Score};

/// The parameters of an [`Attention`], packed.
#[derive(Clone, Debug)]
pub(crate) struct PackedScore<T> {
    pub(crate) scorer: Scorer<T>,
    pub(crate) form_size: usize,
    /// Wᵀ.
    query: Option<PackedMatrix<T>>,
    /// Uᵀ.
    key: Option<PackedMatrix<T>>,
    bias: Vec<T>,
}

impl<T: Element> PackedScore<T> {
    pub(crate) fn new(attention: &Attention<T>) -> Result<Self, AttentionError> {
        attention.check()?;
        let config = attention.config();
        let comparison = match config.score {
            Score::Dot | Score::ScaledDot | Score::General => Comparison::Product,
            Score::Additive => Comparison::Additive,
            Score::Multiplicative => Comparison::Multiplicative,
            Score::Location => Comparison::Location,
        };
        let scale = if config.score == Score::ScaledDot { 1.0 / (config.query_size as f64).sqrt() } else { 1.0 };
        let form_size = config.form_size();
        let pack = |weight: &Option<Array2<T>>| weight.as_ref().map(|weight| PackedMatrix::new(weight.t())).transpose();
        Ok(Self {
            scorer: Scorer {
                comparison,
                vector: attention.weight_score.as_ref().map_or_else(Vec::new, |vector| vector.to_vec()),
                scale: T::from_f64(scale),
                inverse_temperature: T::from_f64(1.0 / config.temperature),
            },
            form_size,
            query: pack(&attention.weight_query)?,
            key: pack(&attention.weight_key)?,
            bias: attention.bias.as_ref().map_or_else(|| vec![T::zero(); form_size], |bias| bias.to_vec()),
        })
    }

    /// Values of the form of a key: none where keys do not matter.
    pub(crate) fn key_form_size(&self) -> usize {
        if self.scorer.comparison == Comparison::Location { 0 } else { self.form_size }
    }

    /// Writes the forms `[items, form]` of `queries` `[items, query_size]`. Allocates nothing.
    pub(crate) fn query_forms(
        &self,
        queries: ArrayView2<'_, T>,
        mut forms: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        let Some(query) = &self.query else {
            forms.assign(&queries);
            return Ok(());
        };
        match self.scorer.comparison {
            Comparison::Location => query.multiply(queries, ProductStart::Row(&self.bias), forms),
            Comparison::Multiplicative => {
                query.multiply(queries, ProductStart::Zero, forms.view_mut())?;
                for mut row in forms.rows_mut() {
                    vecmath::tanh(row.as_slice_mut().expect("forms side by side"));
                }
                Ok(())
            }
            Comparison::Additive | Comparison::Product => query.multiply(queries, ProductStart::Zero, forms),
        }
    }

    /// The forms of `keys` `[items, key_size]`, which lie side by side.
    pub(crate) fn key_forms<'a>(&self, keys: ArrayView2<'a, T>) -> Result<CowArray<'a, T, Ix2>, TensorError> {
        if self.scorer.comparison == Comparison::Product && self.key.is_none() {
            return Ok(keys.into());
        }
        let mut forms = Array2::zeros((keys.nrows(), self.key_form_size()));
        self.key_forms_into(keys, forms.view_mut())?;
        Ok(forms.into())
    }

    /// As [`Self::key_forms`], written to `forms`, whose rows are each side by side. Allocates nothing for few keys.
    pub(crate) fn key_forms_into(
        &self,
        keys: ArrayView2<'_, T>,
        mut forms: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        match (self.scorer.comparison, &self.key) {
            (Comparison::Location, _) => Ok(()),
            (_, None) => {
                forms.assign(&keys);
                Ok(())
            }
            (Comparison::Multiplicative, Some(key)) => {
                key.multiply(keys, ProductStart::Row(&self.bias), forms.view_mut())?;
                tanh_rows(forms);
                Ok(())
            }
            (_, Some(key)) => key.multiply(keys, ProductStart::Row(&self.bias), forms),
        }
    }
}

/// Values below which one thread computes a function of all of them.
const LEAST_VALUES: usize = 1 << 14;

fn tanh_rows<T: Element>(mut values: ArrayViewMut2<'_, T>) {
    match values.as_slice_mut() {
        Some(values) if values.len() >= LEAST_VALUES => {
            values.par_chunks_mut(LEAST_VALUES / 2).for_each(|part| vecmath::tanh(part));
        }
        _ => values.rows_mut().into_iter().for_each(|mut row| {
            vecmath::tanh(row.as_slice_mut().expect("forms side by side"));
        }),
    }
}

/// What takes the gradients of forms back to queries and keys.
pub(crate) struct ScoreBackward<'a, T> {
    attention: &'a Attention<T>,
    comparison: Comparison,
    /// W.
    query: Option<PackedMatrix<T>>,
}

impl<'a, T: Element> ScoreBackward<'a, T> {
    pub(crate) fn new(attention: &'a Attention<T>, packed: &PackedScore<T>) -> Result<Self, TensorError> {
        let query = attention.weight_query.as_ref().map(|weight| PackedMatrix::new(weight.view())).transpose()?;
        Ok(Self { attention, comparison: packed.scorer.comparison, query })
    }

    /// Adds the gradient of queries to `grad_queries`. `grad_forms` becomes the gradient of W q.
    pub(crate) fn queries(
        &self,
        forms: ArrayView2<'_, T>,
        mut grad_forms: ArrayViewMut2<'_, T>,
        mut grad_queries: ArrayViewMut2<'_, T>,
    ) -> Result<(), TensorError> {
        if self.comparison == Comparison::Multiplicative {
            for (mut grad, form) in grad_forms.rows_mut().into_iter().zip(forms.rows()) {
                vecmath::tanh_grad(form.as_slice().expect("rows"), grad.as_slice_mut().expect("rows"))?;
            }
        }
        match &self.query {
            Some(query) => query.multiply(grad_forms.view(), ProductStart::Output, grad_queries),
            None => {
                grad_queries += &grad_forms;
                Ok(())
            }
        }
    }

    /// Takes the gradient of the forms of `keys` back: adds that of the keys to `grad_keys` and writes those of U, W and b.
    /// `grad_query_forms` are those of W q of all `queries`.
    pub(crate) fn finish(
        &self,
        keys: ArrayView2<'_, T>,
        key_forms: ArrayView2<'_, T>,
        mut grad_key_forms: Array2<T>,
        mut grad_keys: ArrayViewMut2<'_, T>,
        queries: ArrayView2<'_, T>,
        grad_query_forms: ArrayView2<'_, T>,
        grad_vector: &[T],
    ) -> Result<Attention<T>, AttentionError> {
        let mut gradients = Attention::zeros(self.attention.config().clone())?;
        if self.comparison == Comparison::Multiplicative {
            for (mut grad, form) in grad_key_forms.rows_mut().into_iter().zip(key_forms.rows()) {
                vecmath::tanh_grad(form.as_slice().expect("rows"), grad.as_slice_mut().expect("rows"))?;
            }
        }
        match (&self.attention.weight_key, &mut gradients.weight_key) {
            (Some(weight), Some(gradient)) => {
                gemm(T::one(), grad_key_forms.view(), weight.view(), T::one(), grad_keys)?;
                weight_gradient(grad_key_forms.view(), keys, gradient.view_mut())?;
            }
            _ if self.comparison == Comparison::Product => grad_keys += &grad_key_forms,
            _ => {}
        }
        if let Some(gradient) = &mut gradients.weight_query {
            weight_gradient(grad_query_forms, queries, gradient.view_mut())?;
        }
        if let Some(bias) = &mut gradients.bias {
            let rows = if self.comparison == Comparison::Location { grad_query_forms } else { grad_key_forms.view() };
            add_rows(rows, bias.as_slice_mut().expect("a new array"));
        }
        if let Some(gradient) = &mut gradients.weight_score {
            gradient.iter_mut().zip(grad_vector).for_each(|(gradient, &value)| *gradient = value);
        }
        Ok(gradients)
    }
}
