//! How long the allocator of a program that trains keeps what is freed.

#![expect(unsafe_code, reason = "mimalloc has its options in C alone")]

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// `mi_option_purge_delay`, in milliseconds; the bindings have no name for it.
const PURGE_DELAY: mi_option_t = 15;

/// Longer than a step of most trainings.
const KEPT_FOR: c_long = 10_000;

/// Lets mimalloc keep freed memory for ten seconds where it is one by default, unless `MIMALLOC_PURGE_DELAY` in the
/// environment says how many milliseconds.
///
/// A training step of more than a second would otherwise give all its memory back and take it anew, page by page. It is for
/// programs whose global allocator is mimalloc, to be called before they start a thread; others it does nothing for.
///
/// ```
/// pipeline::allocator::keep_freed_memory();
/// ```
pub fn keep_freed_memory() {
    // SAFETY: sets a number that the allocator reads, before there are other threads to read it.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_FOR) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_delay() {
        let delay = || {
            // SAFETY: reads a number.
            unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
        };
        let before = delay();
        keep_freed_memory();
        match std::env::var_os("MIMALLOC_PURGE_DELAY") {
            Some(_) => assert_eq!(delay(), before, "the environment decides"),
            None => assert_eq!([before, delay()], [1000, KEPT_FOR], "the default of mimalloc, and longer"),
        }
    }
}
