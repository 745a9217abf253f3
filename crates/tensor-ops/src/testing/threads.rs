//! Runs under a given number of threads.

use crate::Element;
use crate::testing::assert_bits_equal;
use ndarray::ArrayD;

/// The numbers of threads under which results are compared.
pub const THREAD_COUNTS: [usize; 4] = [1, 2, 3, 8];

/// Runs `work` in a rayon pool of `threads` threads.
///
/// # Panics
/// If the pool cannot be made.
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    pool.install(work)
}

/// Asserts that the arrays that `work` returns have the same bits under all [`THREAD_COUNTS`].
///
/// # Panics
/// If they differ.
#[track_caller]
pub fn assert_independent_of_threads<T: Element>(work: impl Fn() -> Vec<ArrayD<T>> + Sync) {
    let reference = with_threads(THREAD_COUNTS[0], &work);
    for threads in &THREAD_COUNTS[1..] {
        let arrays = with_threads(*threads, &work);
        assert_eq!(arrays.len(), reference.len(), "{threads} threads: number of arrays");
        for (position, (array, expected)) in arrays.iter().zip(&reference).enumerate() {
            eprintln!("{threads} threads, array {position}");
            assert_bits_equal(array, expected);
        }
    }
}
