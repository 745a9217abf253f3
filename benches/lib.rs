//! What the benchmarks share.
//!
//! `RAYON_NUM_THREADS` sets the number of threads; without it all cores are used.

use std::time::Duration;

use criterion::Criterion;
use mimalloc::MiMalloc;

/// That of `vidrnn`: it keeps freed memory for the next step.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Criterion as the benchmarks use it: fewer samples than by default, since one run of a training step is long.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}
