//! What is allocated: an allocator that counts, for the tests of steps that must not allocate.

#![expect(unsafe_code, reason = "an allocator passes every call on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static MOST_BYTES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is counted: threads that start or end beside the test allocate for themselves.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, with a count of the allocations on some threads, and of the bytes in use on all.
///
/// A test program that counts makes it its allocator:
///
/// ```
/// use tensor_ops::testing::{CountingAllocator, allocations_of_steps};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator;
///
/// assert_eq!(allocations_of_steps(1, 10, || ()), 0);
/// assert!(allocations_of_steps(1, 10, || drop(std::hint::black_box(vec![1_u8; 100]))) >= 10);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// The bytes that all threads have in use.
    pub fn bytes() -> usize {
        BYTES.load(Ordering::SeqCst)
    }

    /// The most bytes in use since this was called before, or since the start.
    pub fn take_most_bytes() -> usize {
        MOST_BYTES.swap(BYTES.load(Ordering::SeqCst), Ordering::SeqCst)
    }
}

fn count(size: usize) {
    // A thread that ends may allocate after its marks are gone.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
    let bytes = BYTES.fetch_add(size, Ordering::SeqCst) + size;
    MOST_BYTES.fetch_max(bytes, Ordering::SeqCst);
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: granted by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: granted by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: granted by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        BYTES.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: granted by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Calls of `step` before the count begins, at least.
const WARM_STEPS: usize = 50;
/// The time before the count begins, at least: all threads have started and looked for work once.
const WARM_TIME: Duration = Duration::from_millis(50);

/// The allocations of `steps` calls of `step` in a pool of `threads` threads, once it is warm. Programs that count nothing
/// because [`CountingAllocator`] is not their allocator are found out.
///
/// # Panics
/// If no allocation is counted at all, or the pool cannot be made.
pub fn allocations_of_steps(threads: usize, steps: usize, mut step: impl FnMut() + Send) -> usize {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    let started = Instant::now();
    let mut warm = 0;
    while warm < WARM_STEPS || started.elapsed() < WARM_TIME {
        pool.install(&mut step);
        warm += 1;
    }
    pool.broadcast(|_| COUNTED.set(true));
    let counted = |work: &mut (dyn FnMut() + Send)| {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        pool.install(&mut *work);
        ALLOCATIONS.load(Ordering::SeqCst) - before
    };
    let known = counted(&mut || drop(std::hint::black_box(vec![1_u8; 100])));
    let found = counted(&mut || (0..steps).for_each(|_| step()));
    pool.broadcast(|_| COUNTED.set(false));
    assert!(known > 0, "the program's allocator is no CountingAllocator");
    found
}
