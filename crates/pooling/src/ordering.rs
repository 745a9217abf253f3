//! The order of values in a maximum.

use tensor_ops::Element;

/// Whether `value` takes the place of `other`, which came first, as the larger one: a NaN is larger than all numbers.
#[inline(always)]
pub(crate) fn exceeds<T: Element>(value: T, other: T) -> bool {
    !(other >= value || other.is_nan())
}
