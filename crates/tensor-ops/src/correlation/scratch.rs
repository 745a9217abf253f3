//! Buffers that a thread keeps from one piece of work to the next.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;

use crate::Element;

thread_local! {
    static BUFFERS: RefCell<HashMap<TypeId, Box<dyn Any>>> = RefCell::new(HashMap::new());
}

/// Calls `work` with a buffer of `len` elements of unspecified values, which the thread keeps for the next call.
///
/// ```
/// let sum: f32 = tensor_ops::with_scratch(3, |buffer| {
///     buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
///     buffer.iter().sum()
/// });
/// assert_eq!(sum, 6.0);
/// ```
pub fn with_scratch<T: Element, R>(len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let kept = BUFFERS.with_borrow_mut(|buffers| buffers.remove(&TypeId::of::<T>()));
    let mut buffer: Box<Vec<T>> = kept.and_then(|kept| kept.downcast().ok()).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, T::zero());
    }
    let result = work(&mut buffer[..len]);
    BUFFERS.with_borrow_mut(|buffers| buffers.insert(TypeId::of::<T>(), buffer));
    result
}
