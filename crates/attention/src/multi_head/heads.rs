//! The products of every head of every sequence, each a task of its own.

use ndarray::{Array2, Array4, ArrayView2, ArrayView3, ArrayViewMut2, Axis, Zip, s};
use rayon::prelude::*;
use tensor_ops::{Element, TensorError, gemm_serial, softmax_row, softmax_row_backward};

use crate::clips::Clips;

/// How rows are divided among sequences and features among heads.
pub(super) struct Heads<'a> {
    /// Of queries and of keys.
    pub(super) clips: &'a [Clips; 2],
    pub(super) heads: usize,
    pub(super) causal: bool,
}

/// A head of a sequence.
#[derive(Clone, Copy)]
struct Place {
    sequence: usize,
    /// Rows of queries and of keys: the first and their number.
    queries: (usize, usize),
    keys: (usize, usize),
    /// The features of the head.
    first: usize,
    features: usize,
}

impl Place {
    fn queries<'a, T>(&self, rows: &'a Array2<T>) -> ArrayView2<'a, T> {
        rows.slice(s![self.queries.0..self.queries.0 + self.queries.1, self.first..self.first + self.features])
    }

    fn keys<'a, T>(&self, rows: &'a Array2<T>) -> ArrayView2<'a, T> {
        rows.slice(s![self.keys.0..self.keys.0 + self.keys.1, self.first..self.first + self.features])
    }
}

impl Heads<'_> {
    /// All heads of all sequences, sequence by sequence.
    fn places(&self, embed_dim: usize) -> Vec<Place> {
        let [queries, keys] = self.clips;
        let features = embed_dim / self.heads;
        let place = |sequence: usize, head: usize| Place {
            sequence,
            queries: (queries.starts[sequence], queries.lengths[sequence]),
            keys: (keys.starts[sequence], keys.lengths[sequence]),
            first: head * features,
            features,
        };
        (0..queries.batch()).flat_map(|sequence| (0..self.heads).map(move |head| place(sequence, head))).collect()
    }

    /// Cuts `[rows, embed_dim]` into the heads of the sequences that `clips` lays out.
    fn cut<'a, T: Element>(&self, clips: &Clips, rows: &'a mut Array2<T>) -> Vec<ArrayViewMut2<'a, T>> {
        let features = rows.ncols() / self.heads;
        let mut parts = Vec::with_capacity(clips.batch() * self.heads);
        let mut rest = rows.view_mut();
        for &length in &clips.lengths {
            let (mut sequence, others) = rest.split_at(Axis(0), length);
            rest = others;
            for _ in 0..self.heads {
                let (head, others) = sequence.split_at(Axis(1), features);
                sequence = others;
                parts.push(head);
            }
        }
        parts
    }

    /// Writes A and A V.
    pub(super) fn forward<T: Element>(
        &self,
        [queries, keys, values]: &[Array2<T>; 3],
        kept: Option<ArrayView3<'_, bool>>,
        weights: &mut Array4<T>,
        contexts: &mut Array2<T>,
    ) -> Result<(), TensorError> {
        let places = self.places(queries.ncols());
        let contexts = self.cut(&self.clips[0], contexts);
        let (query_count, key_count) = (weights.dim().2, weights.dim().3);
        let weights = weights.as_slice_mut().expect("a new array").par_chunks_mut(query_count * key_count);
        (places, contexts).into_par_iter().zip(weights).try_for_each(|((place, context), weights)| {
            let mut weights = ArrayViewMut2::from_shape((query_count, key_count), weights).expect("one head");
            let mut weights = weights.slice_mut(s![..place.queries.1, ..place.keys.1]);
            let scale = T::from_f64(1.0 / (place.features as f64).sqrt());
            gemm_serial(scale, place.queries(queries), place.keys(keys).t(), T::zero(), weights.view_mut())?;
            for (query, mut row) in weights.rows_mut().into_iter().enumerate() {
                if let Some(kept) = kept {
                    let kept = kept.slice(s![place.sequence, query, ..place.keys.1]);
                    Zip::from(&mut row).and(&kept).for_each(|score, &kept| {
                        *score = if kept { *score } else { T::neg_infinity() };
                    });
                }
                if self.causal && query + 1 < place.keys.1 {
                    row.slice_mut(s![query + 1..]).fill(T::neg_infinity());
                }
                softmax_row(row.as_slice_mut().expect("keys side by side"));
            }
            gemm_serial(T::one(), weights.view(), place.keys(values), T::zero(), context)
        })
    }

    /// The gradients of Q, K and V, with δ for gradients: δV = Aᵀ δC, δA += δC Vᵀ, δS = A ∘ (δA − Σ A δA) / √d,
    /// δQ = δS K, δK = δSᵀ Q.
    pub(super) fn backward<T: Element>(
        &self,
        [queries, keys, values]: &[Array2<T>; 3],
        weights: &Array4<T>,
        grad_contexts: &Array2<T>,
        grad_weights: Option<ndarray::ArrayView4<'_, T>>,
    ) -> Result<[Array2<T>; 3], TensorError> {
        let mut gradients = [queries, keys, values].map(|rows| Array2::zeros(rows.dim()));
        let [grad_queries, grad_keys, grad_values] = &mut gradients;
        let parts = (
            self.places(queries.ncols()),
            self.cut(&self.clips[0], grad_queries),
            self.cut(&self.clips[1], grad_keys),
            self.cut(&self.clips[1], grad_values),
        );
        parts.into_par_iter().enumerate().try_for_each(|(index, (place, grad_query, grad_key, grad_value))| {
            let head = index % self.heads;
            let of_head = s![place.sequence, head, ..place.queries.1, ..place.keys.1];
            let (weights, grad_context) = (weights.slice(of_head), place.queries(grad_contexts));
            gemm_serial(T::one(), weights.t(), grad_context, T::zero(), grad_value)?;
            let mut grad_scores = match grad_weights {
                Some(grad) => grad.slice(of_head).as_standard_layout().into_owned(),
                None => Array2::zeros(weights.dim()),
            };
            let beta = if grad_weights.is_some() { T::one() } else { T::zero() };
            gemm_serial(T::one(), grad_context, place.keys(values).t(), beta, grad_scores.view_mut())?;
            for (weights, mut grad) in weights.rows().into_iter().zip(grad_scores.rows_mut()) {
                let weights = weights.to_slice().expect("keys side by side");
                softmax_row_backward(weights, grad.as_slice_mut().expect("a row of a new array"))?;
            }
            let scale = T::from_f64(1.0 / (place.features as f64).sqrt());
            gemm_serial(scale, grad_scores.view(), place.keys(keys), T::zero(), grad_query)?;
            gemm_serial(scale, grad_scores.t(), place.queries(queries), T::zero(), grad_key)
        })?;
        Ok(gradients)
    }
}
