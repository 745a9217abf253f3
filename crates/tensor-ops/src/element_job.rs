//! Kernels that are compiled in this crate, not again in every crate that uses them.

use std::any::TypeId;
use std::mem::{ManuallyDrop, transmute_copy};

use crate::Element;

/// Work on elements of type `T`, with an entry per element type that names it.
pub(crate) trait ElementJob<T: Element>: Sized {
    /// `Self` for elements of type `E`: `Of<T>` must be `Self`.
    type Of<E: Element>;

    fn run_f32(job: Self::Of<f32>);
    fn run_f64(job: Self::Of<f64>);
}

/// Runs `job` through the entry of its element type.
#[expect(unsafe_code, reason = "one type under two names")]
pub(crate) fn on_element_type<T: Element, J: ElementJob<T, Of<T> = J>>(job: J) {
    let job = ManuallyDrop::new(job);
    let element = TypeId::of::<T>();
    if element == TypeId::of::<f32>() {
        // SAFETY: T is f32, so J = Of<T> is Of<f32>; the original is not used again.
        J::run_f32(unsafe { transmute_copy(&job) });
    } else if element == TypeId::of::<f64>() {
        // SAFETY: T is f64, so J = Of<T> is Of<f64>; the original is not used again.
        J::run_f64(unsafe { transmute_copy(&job) });
    }
}
