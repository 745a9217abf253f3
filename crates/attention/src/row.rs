//! One query on its keys: scores, weights and context, and their gradients.
//!
//! The *form* of a query and of a key is what their comparison works on: a key's is computed once for a clip. With p the
//! form of the query and Pⱼ that of the key:
//!
//! ```text
//! eⱼ = s · p·Pⱼ               p = q, Pⱼ = kⱼ or U kⱼ
//! eⱼ = v·(p ∘ Pⱼ)             p = tanh(W q), Pⱼ = tanh(U kⱼ + b)
//! eⱼ = v·tanh(p + Pⱼ)         p = W q, Pⱼ = U kⱼ + b
//! eⱼ = pⱼ                     p = W q + b
//! ```
//!
//! Then a = softmax(e / τ) and c = Σⱼ aⱼ vⱼ.

use ndarray::ArrayView1;
use tensor_ops::{Element, TensorError, softmax_row, softmax_row_backward, vecmath};

use crate::vector::{add_scaled, add_weighted, dot};

/// How forms are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Product,
    Multiplicative,
    Additive,
    Location,
}

/// The comparison of forms with its constants.
#[derive(Clone, Debug)]
pub(crate) struct Scorer<T> {
    pub(crate) comparison: Comparison,
    /// v, where there is one.
    pub(crate) vector: Vec<T>,
    /// s.
    pub(crate) scale: T,
    /// 1/τ.
    pub(crate) inverse_temperature: T,
}

/// The operands of one query: slices of rows side by side.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a, T> {
    /// p.
    pub(crate) form: &'a [T],
    /// P, one key after another.
    pub(crate) keys: &'a [T],
    /// v, one value after another.
    pub(crate) values: &'a [T],
}

/// What one query yields; `scores` and `weights` have one entry per key.
pub(crate) struct Attended<'a, T> {
    pub(crate) scores: &'a mut [T],
    pub(crate) weights: &'a mut [T],
    /// The context is added to it.
    pub(crate) context: &'a mut [T],
    /// As long as a form.
    pub(crate) scratch: &'a mut [T],
}

/// The gradients of one query.
pub(crate) struct RowGradients<'a, T> {
    /// Of the context.
    pub(crate) context: &'a [T],
    /// Of the weights, besides those through the context.
    pub(crate) weights: Option<&'a [T]>,
    /// Of the form; added to.
    pub(crate) form: &'a mut [T],
    /// Of the forms of the keys; added to.
    pub(crate) keys: &'a mut [T],
    /// Of the values, where asked for; added to.
    pub(crate) values: Option<&'a mut [T]>,
    /// Of v; added to.
    pub(crate) vector: &'a mut [T],
    /// As long as the weights.
    pub(crate) scores: &'a mut [T],
    /// As long as a form.
    pub(crate) scratch: &'a mut [T],
}

impl<T: Element> Scorer<T> {
    /// Attends to the keys that `kept` says, or to all; a key that is not kept is not read.
    pub(crate) fn attend(&self, row: Operands<'_, T>, kept: Option<ArrayView1<'_, bool>>, out: Attended<'_, T>) {
        let Attended { scores, weights, context, scratch } = out;
        self.prepare(row.form, scratch);
        for (position, score) in scores.iter_mut().enumerate() {
            *score = match &kept {
                Some(kept) if !kept[position] => T::neg_infinity(),
                _ => self.score(row, position, scratch),
            };
        }
        for (weight, &score) in weights.iter_mut().zip(&*scores) {
            *weight = score * self.inverse_temperature;
        }
        softmax_row(weights);
        add_weighted(weights, row.values, context);
    }

    /// v ∘ p where that is what all keys are multiplied by.
    fn prepare(&self, form: &[T], scratch: &mut [T]) {
        if self.comparison == Comparison::Multiplicative {
            for ((scratch, &form), &vector) in scratch.iter_mut().zip(form).zip(&self.vector) {
                *scratch = vector * form;
            }
        }
    }

    fn score(&self, row: Operands<'_, T>, position: usize, scratch: &mut [T]) -> T {
        let size = row.form.len();
        match self.comparison {
            Comparison::Location => row.form[position],
            Comparison::Product => self.scale * dot(row.form, &row.keys[position * size..(position + 1) * size]),
            Comparison::Multiplicative => dot(scratch, &row.keys[position * size..(position + 1) * size]),
            Comparison::Additive => {
                self.activate(row, position, scratch);
                dot(&self.vector, scratch)
            }
        }
    }

    /// tanh(p + Pⱼ)
    fn activate(&self, row: Operands<'_, T>, position: usize, scratch: &mut [T]) {
        let key = &row.keys[position * row.form.len()..];
        for ((scratch, &form), &key) in scratch.iter_mut().zip(row.form).zip(key) {
            *scratch = form + key;
        }
        vecmath::tanh(scratch);
    }

    /// The gradients of [`Self::attend`], with δ for them:
    ///
    /// ```text
    /// δaⱼ += δc·vⱼ     δvⱼ = aⱼ δc     δeⱼ = aⱼ (δaⱼ − Σᵢ aᵢ δaᵢ) / τ
    /// ```
    pub(crate) fn attend_backward(
        &self,
        row: Operands<'_, T>,
        weights: &[T],
        gradients: RowGradients<'_, T>,
    ) -> Result<(), TensorError> {
        let RowGradients { context, weights: grad_weights, form, keys, values, vector, scores, scratch } = gradients;
        let width = context.len();
        for (position, (grad, &weight)) in scores.iter_mut().zip(weights).enumerate() {
            // A value of weight 0 may be one that is not kept.
            *grad = if weight == T::zero() {
                T::zero()
            } else {
                let through = dot(context, &row.values[position * width..(position + 1) * width]);
                grad_weights.map_or(through, |grad_weights| grad_weights[position] + through)
            };
        }
        if let Some(values) = values {
            for (value, &weight) in values.chunks_exact_mut(width).zip(weights) {
                if weight != T::zero() {
                    add_scaled(weight, context, value);
                }
            }
        }
        softmax_row_backward(weights, scores)?;
        let factor = self.inverse_temperature * self.scale;
        scores.iter_mut().for_each(|score| *score *= factor);
        self.score_backward(row, scores, form, keys, vector, scratch);
        Ok(())
    }

    /// The gradients of the forms and of v for those of the scores.
    fn score_backward(
        &self,
        row: Operands<'_, T>,
        grad_scores: &[T],
        form: &mut [T],
        keys: &mut [T],
        vector: &mut [T],
        scratch: &mut [T],
    ) {
        let size = row.form.len();
        match self.comparison {
            Comparison::Location => {
                form.iter_mut().zip(grad_scores).for_each(|(form, &grad)| *form += grad);
            }
            Comparison::Product => {
                add_weighted(grad_scores, row.keys, form);
                for (key, &grad) in keys.chunks_exact_mut(size).zip(grad_scores) {
                    add_scaled(grad, row.form, key);
                }
            }
            Comparison::Multiplicative => {
                self.prepare(row.form, scratch);
                for (key, &grad) in keys.chunks_exact_mut(size).zip(grad_scores) {
                    add_scaled(grad, scratch, key);
                }
                // Σⱼ δeⱼ Pⱼ, of which the gradients of v and p are multiples.
                scratch.fill(T::zero());
                add_weighted(grad_scores, row.keys, scratch);
                let sums = scratch.iter().zip(row.form).zip(&self.vector);
                for (((&sum, &value), &weight), (form, vector)) in sums.zip(form.iter_mut().zip(vector)) {
                    *vector += value * sum;
                    *form += weight * sum;
                }
            }
            Comparison::Additive => {
                for (position, (key, &grad)) in keys.chunks_exact_mut(size).zip(grad_scores).enumerate() {
                    if grad == T::zero() {
                        continue;
                    }
                    self.activate(row, position, scratch);
                    let outputs = form.iter_mut().zip(key).zip(vector.iter_mut());
                    for ((&value, &weight), ((form, key), vector)) in scratch.iter().zip(&self.vector).zip(outputs) {
                        *vector += grad * value;
                        let inner = grad * weight * ((T::one() - value) * (T::one() + value));
                        *form += inner;
                        *key += inner;
                    }
                }
            }
        }
    }
}
