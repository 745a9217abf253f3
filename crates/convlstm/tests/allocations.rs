//! What is allocated: nothing by a step of a stream, and by a training pass what its estimate says.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as ThreadCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use convlstm::{
    Cell, ConvRecurrent, GruCell, LayerConfig, LstmCell, MemoryEstimate, Peepholes, RecurrentConfig, TraceMemory,
};
use ndarray::{Array4, Array5};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;

/// The system's allocator, with a count of what is allocated on the threads that ask for it, and of the bytes in use.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static MOST_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Held by the test that counts.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread is counted: threads that start or end beside the test allocate for themselves.
    static COUNTED: ThreadCell<bool> = const { ThreadCell::new(false) };
}

fn count(size: usize) {
    if COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
    let bytes = BYTES.fetch_add(size, Ordering::SeqCst) + size;
    MOST_BYTES.fetch_max(bytes, Ordering::SeqCst);
}

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
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

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn check_that_allocations_are_counted() {
    let before = (ALLOCATIONS.load(Ordering::SeqCst), BYTES.load(Ordering::SeqCst));
    COUNTED.set(true);
    let values = std::hint::black_box(vec![1_u8; 100]);
    COUNTED.set(false);
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > before.0, "an allocation is counted");
    assert!(BYTES.load(Ordering::SeqCst) >= before.1 + values.len(), "{} bytes are counted", values.len());
}

fn check_steps<C: Cell>(config: RecurrentConfig<C>, batch: usize, size: [usize; 2], threads: usize) {
    let layers = ConvRecurrent::<f32, C>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
    let mut stream = layers.stream(batch, size, None).unwrap();
    let input = Array4::ones((batch, layers.config().input_channels, size[0], size[1]));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    // Warm: all threads have started, looked for work once, and have their buffers.
    let warm_from = Instant::now();
    let mut steps = 0;
    while steps < 50 || warm_from.elapsed() < Duration::from_millis(50) {
        pool.install(|| stream.step(input.view()).map(drop)).unwrap();
        steps += 1;
    }
    pool.broadcast(|_| COUNTED.set(true));
    let allocations = pool.install(|| {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        let mut sum = 0.0;
        for _ in 0..30 {
            sum += stream.step(input.view()).unwrap()[[0, 0, 0, 0]];
        }
        assert!(sum.is_finite());
        ALLOCATIONS.load(Ordering::SeqCst) - before
    });
    pool.broadcast(|_| COUNTED.set(false));
    assert_eq!(allocations, 0, "{:?}, batch {batch}, {size:?}, {threads} threads", layers.config());
}

/// Steps of small maps, which one thread takes, and of large ones, whose bands several share.
#[test]
fn a_warm_step_allocates_nothing() {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    check_that_allocations_are_counted();
    let peepholes = LstmCell { peepholes: Peepholes::PerChannel, ..LstmCell::default() };
    let normalised = LstmCell { normalisation_groups: Some(4), ..LstmCell::default() };
    let strided = LayerConfig { input_stride: [2, 2], ..LayerConfig::new(8, 3) };
    for (batch, size, threads) in [(1, [9, 7], 1), (3, [16, 16], 2), (1, [64, 64], 2), (2, [40, 70], 3)] {
        for cell in [peepholes.clone(), normalised.clone()] {
            let layers = vec![LayerConfig { cell, ..LayerConfig::new(16, 5) }, strided.clone()];
            check_steps(
                RecurrentConfig { input_channels: 3, layers, ..RecurrentConfig::default() },
                batch,
                size,
                threads,
            );
        }
        for reset_after in [true, false] {
            let layers = vec![LayerConfig { cell: GruCell { reset_after }, ..LayerConfig::new(16, 3) }];
            check_steps(
                RecurrentConfig { input_channels: 3, layers, ..RecurrentConfig::default() },
                batch,
                size,
                threads,
            );
        }
    }
    drop(turn);
}

/// The most bytes that a training pass has at a time, beside the clip and the gradient that it is given.
fn most_bytes<C: Cell>(config: &RecurrentConfig<C>, shape: [usize; 5]) -> usize {
    let clips = Array5::<f32>::ones(shape);
    let sizes = config.map_sizes([shape[3], shape[4]]).unwrap();
    let [height, width] = sizes[sizes.len() - 1];
    let grad_output = Array5::ones((shape[0], shape[1], config.output_channels(), height, width));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let before = BYTES.load(Ordering::SeqCst);
        MOST_BYTES.store(before, Ordering::SeqCst);
        let layers = ConvRecurrent::<f32, C>::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap();
        let (output, state, trace) = layers.forward_training(clips.view(), None, None).unwrap();
        let gradients = layers.backward(&trace, grad_output.view(), None).unwrap();
        let most = MOST_BYTES.load(Ordering::SeqCst) - before;
        drop((output, state, gradients));
        most
    })
}

#[test]
fn a_training_pass_takes_the_memory_of_its_estimate() {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let shape = [2, 8, 4, 48, 64];
    let check = |description: &str, estimate: MemoryEstimate, most: usize| {
        let ratio = most as f64 / estimate.total() as f64;
        println!("{description}: {most} bytes, estimate {} ({estimate}), ratio {ratio:.3}", estimate.total());
        assert!((0.9..=1.1).contains(&ratio), "{description}: {most} bytes, estimate {}", estimate.total());
    };
    for memory in [TraceMemory::Full, TraceMemory::RecomputeGates] {
        for bidirectional in [false, true] {
            let lstm = RecurrentConfig::<LstmCell> {
                input_channels: shape[2],
                layers: vec![LayerConfig::new(16, 3), LayerConfig::new(24, 3)],
                bidirectional,
                memory,
                ..RecurrentConfig::default()
            };
            let estimate = lstm.memory_estimate::<f32>(shape[0], shape[1], [shape[3], shape[4]], true).unwrap();
            let description = format!("LSTM, {memory:?}, bidirectional {bidirectional}");
            check(&description, estimate, most_bytes(&lstm, shape));
        }
        let gru = RecurrentConfig { memory, ..RecurrentConfig::<GruCell>::new(shape[2], 24, 3) };
        let estimate = gru.memory_estimate::<f32>(shape[0], shape[1], [shape[3], shape[4]], true).unwrap();
        check(&format!("GRU, {memory:?}"), estimate, most_bytes(&gru, shape));
    }
    drop(turn);
}
