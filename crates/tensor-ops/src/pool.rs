//! Work of many parts, on a thread of the pool.

/// Multiply-adds below which going over to another thread costs more than it can gain.
const LEAST_WORK: usize = 1 << 22;

/// Calls `work`, of about so many multiply-adds, on a thread of rayon's pool, if there are enough of them.
///
/// A thread outside the pool that shares work with it sleeps until all of it is done, and is woken up: dozens of
/// microseconds, each time. For a recurrence that shares every step, that is better paid once for all steps. Panics come
/// back to the caller.
///
/// ```
/// let sum = tensor_ops::on_pool(1 << 30, || (0..10).sum::<i32>());
/// assert_eq!(sum, 45);
/// ```
pub fn on_pool<R: Send>(multiply_adds: usize, work: impl FnOnce() -> R + Send) -> R {
    if multiply_adds < LEAST_WORK || rayon::current_thread_index().is_some() {
        return work();
    }
    rayon::scope(|_| work())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_work_goes_to_the_pool_and_stays_there() {
        let index = rayon::current_thread_index;
        assert_eq!(index(), None, "a thread of the tests");
        assert_eq!(on_pool(1, index), None);
        let (first, second) = on_pool(LEAST_WORK, || (index(), on_pool(LEAST_WORK, index)));
        assert!(first.is_some());
        assert_eq!(first, second);
    }
}
