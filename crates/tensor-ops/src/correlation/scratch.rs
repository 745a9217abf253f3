//! Buffers that a thread keeps from one piece of work to the next.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;

use crate::Element;

thread_local! {
    /// The buffers not in use, as `Vec<Vec<T>>` for each element type `T`.
    static BUFFERS: RefCell<HashMap<TypeId, Box<dyn Any>>> = RefCell::new(HashMap::new());
}

fn with_kept<T: Element, R>(work: impl FnOnce(&mut Vec<Vec<T>>) -> R) -> R {
    BUFFERS.with_borrow_mut(|buffers| {
        let kept = buffers.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(Vec::<Vec<T>>::new()));
        work(kept.downcast_mut().expect("the type of the key"))
    })
}

/// Calls `work` with a buffer of `len` elements of unspecified values, which the thread keeps for the next call. Calls
/// may be nested.
///
/// ```
/// let sum: f32 = tensor_ops::with_scratch(3, |buffer| {
///     buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
///     buffer.iter().sum()
/// });
/// assert_eq!(sum, 6.0);
/// ```
pub fn with_scratch<T: Element, R>(len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    if len == 0 {
        return work(&mut []);
    }
    let mut buffer = with_kept::<T, _>(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, T::zero());
    }
    let result = work(&mut buffer[..len]);
    with_kept(|kept| kept.push(buffer));
    result
}
