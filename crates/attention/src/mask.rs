//! Which keys a query attends to.

use ndarray::{ArrayView3, ArrayViewD, Ix3};
use tensor_ops::{TensorError, check_lengths};

use crate::error::invalid;

/// Which keys a query attends to; by default to all.
///
/// A key is attended to if all the conditions that are given keep it. A query that no key is kept for has weights of zero,
/// scores of −∞ and a context of zero. What the padding beyond the lengths holds, NaN included, changes nothing. What
/// `kept` and `causal` exclude is not read by the forward pass; training needs it to be finite.
///
/// ```
/// use attention::AttentionMask;
///
/// // Two clips of 7 and 4 frames; every frame attends to itself and those before it.
/// let lengths = [7, 4];
/// let mask = AttentionMask { causal: true, ..AttentionMask::of_lengths(&lengths) };
/// assert_eq!(mask.key_lengths, Some(&lengths[..]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct AttentionMask<'a> {
    /// The number of keys of every sequence; those beyond are padding.
    pub key_lengths: Option<&'a [usize]>,
    /// The number of queries of every sequence; those beyond are padding, and what they yield is zero.
    pub query_lengths: Option<&'a [usize]>,
    /// Whether query i attends to the keys 0 … i alone.
    pub causal: bool,
    /// True where a key is kept; broadcast to `[batch, queries, keys]`, as by [`tensor_ops::softmax`].
    pub kept: Option<ArrayViewD<'a, bool>>,
}

impl<'a> AttentionMask<'a> {
    /// The mask of sequences that attend to themselves: `lengths` are those of queries and of keys.
    pub fn of_lengths(lengths: &'a [usize]) -> Self {
        Self { key_lengths: Some(lengths), query_lengths: Some(lengths), ..Self::default() }
    }

    /// Checks the mask, and broadcasts what it has to `[batch, queries, keys]`.
    pub(crate) fn check(
        &self,
        operation: &'static str,
        [batch, queries, keys]: [usize; 3],
    ) -> Result<Option<ArrayView3<'_, bool>>, TensorError> {
        check_lengths(operation, self.key_lengths, batch, keys)?;
        check_lengths(operation, self.query_lengths, batch, queries)?;
        let Some(kept) = &self.kept else { return Ok(None) };
        let shape = [batch, queries, keys];
        match kept.broadcast(&shape[..]) {
            Some(kept) => Ok(Some(kept.into_dimensionality::<Ix3>().expect("three axes"))),
            None => Err(invalid(
                operation,
                "kept",
                "of a shape that can be broadcast to the weights",
                format!("shape {:?} for weights of shape {shape:?}", kept.shape()),
            )),
        }
    }
}
