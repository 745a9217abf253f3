//! A step of a stream allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lstm::{Lstm, LstmConfig};
use ndarray::Array2;
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;

/// The system's allocator, with a count of what is allocated on the threads that ask for it.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is counted: threads that start or end beside the test allocate for themselves.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: granted by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: granted by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: granted by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn check_that_allocations_are_counted() {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    COUNTED.set(true);
    let values = std::hint::black_box(vec![1_u8; 100]);
    COUNTED.set(false);
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > before, "{} bytes are counted", values.len());
}

/// Steps of a small LSTM, which one thread takes, and of a large one, which several share.
#[test]
fn a_warm_step_allocates_nothing() {
    check_that_allocations_are_counted();
    for (features, hidden, batch, threads) in [(8, 16, 1, 1), (20, 33, 3, 2), (512, 512, 1, 2), (256, 300, 20, 3)] {
        let config = LstmConfig { layers: 2, peepholes: true, ..LstmConfig::new(features, hidden) };
        let lstm = Lstm::<f32>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
        let mut stream = lstm.stream(batch, None).unwrap();
        let input = Array2::ones((batch, features));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // Warm: all threads have started, and looked for work once.
        let warm_from = Instant::now();
        let mut steps = 0;
        while steps < 20 || warm_from.elapsed() < Duration::from_millis(20) {
            pool.install(|| lstm.step(input.view(), &mut stream).map(drop)).unwrap();
            steps += 1;
        }
        pool.broadcast(|_| COUNTED.set(true));
        let allocations = pool.install(|| {
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            let mut sum = 0.0;
            for _ in 0..50 {
                sum += lstm.step(input.view(), &mut stream).unwrap()[[0, 0]];
            }
            assert!(sum.is_finite());
            ALLOCATIONS.load(Ordering::SeqCst) - before
        });
        pool.broadcast(|_| COUNTED.set(false));
        assert_eq!(allocations, 0, "{features} features, {hidden} units, batch {batch}, {threads} threads");
    }
}
