//! Tables of cases.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `test` on every case and fails once, naming all cases that failed.
///
/// # Panics
/// If `test` panicked for at least one case, or there is none.
#[track_caller]
pub fn run_cases<C: Debug>(cases: impl IntoIterator<Item = C>, test: impl Fn(&C)) {
    let mut total = 0;
    let mut failed = Vec::new();
    for case in cases {
        total += 1;
        if catch_unwind(AssertUnwindSafe(|| test(&case))).is_err() {
            failed.push(format!("{case:?}"));
        }
    }
    assert!(total > 0, "a table without cases");
    assert!(failed.is_empty(), "{} of {total} cases failed:\n  {}", failed.len(), failed.join("\n  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "1 of 3 cases failed:\n  2")]
    fn all_cases_run_and_failures_are_named() {
        run_cases([1, 2, 3], |&case| assert_ne!(case, 2));
    }
}
