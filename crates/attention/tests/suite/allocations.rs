//! A step of a stream allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use attention::{
    Mechanism, Score, Seq2Seq, Seq2SeqConfig, SpatialAttention, SpatialAttentionConfig, TemporalAttention,
    TemporalAttentionConfig,
};
use ndarray::{Array2, Array3, Array4};
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

fn check(name: &str, threads: usize, mut step: impl FnMut() -> f32 + Send) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    // Warm: all threads have started, and looked for work once.
    let warm_from = Instant::now();
    let mut steps = 0;
    while steps < 20 || warm_from.elapsed() < Duration::from_millis(20) {
        pool.install(&mut step);
        steps += 1;
    }
    pool.broadcast(|_| COUNTED.set(true));
    let allocations = pool.install(|| {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        let sum: f32 = (0..50).map(|_| step()).sum();
        assert!(sum.is_finite());
        ALLOCATIONS.load(Ordering::SeqCst) - before
    });
    pool.broadcast(|_| COUNTED.set(false));
    assert_eq!(allocations, 0, "{name}, {threads} threads");
}

/// Steps of small models, which one thread takes, and of large ones, which several share.
#[test]
fn a_warm_step_allocates_nothing() {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    COUNTED.set(true);
    let values = std::hint::black_box(vec![1_u8; 100]);
    COUNTED.set(false);
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > before, "{} bytes are counted", values.len());

    let mut rng = StdRng::seed_from_u64(1);
    for (size, batch, threads) in [(12, 1, 1), (256, 8, 2)] {
        let config = TemporalAttentionConfig {
            window: Some(6),
            frame_input: true,
            ..TemporalAttentionConfig::new(size, size, size)
        };
        let mut stream = TemporalAttention::<f32>::new(config, &mut rng).unwrap().stream(batch, None).unwrap();
        let frame = Array2::ones((batch, size));
        check("temporal", threads, || stream.step(frame.view()).unwrap()[[0, 0]]);

        for score in [Score::Location, Score::Additive] {
            let attention_size = if score == Score::Additive { size } else { 0 };
            let config = SpatialAttentionConfig { score, attention_size, ..SpatialAttentionConfig::new(3, size, size) };
            let mut stream = SpatialAttention::<f32>::new(config, &mut rng).unwrap().stream(batch, None).unwrap();
            let frame = Array4::ones((batch, 3, 3, size));
            check("spatial", threads, || stream.step(frame.view()).unwrap()[[0, 0]]);
        }
        for mechanism in [Mechanism::Luong { input_feeding: true }, Mechanism::Bahdanau] {
            let config = Seq2SeqConfig {
                source_features: 5,
                encoder_size: size,
                vocabulary: 9,
                embedding_size: size,
                hidden_size: size,
                mechanism,
                ..Seq2SeqConfig::default()
            };
            let model = Seq2Seq::<f32>::new(config, &mut rng).unwrap();
            let encoded = model.encode(Array3::ones((1, 20, 5)).view(), None).unwrap();
            let mut stream = model.decoder_stream(encoded, vec![0; batch]).unwrap();
            let tokens = vec![3; batch];
            check("decoder", threads, || stream.step(&tokens).unwrap()[[0, 0]]);
        }
    }
}
